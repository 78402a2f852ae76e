//! The OpenAI-compatible endpoint: the only room that knows HTTP and OpenAI's JSON.
//!
//! How a model computes, and which sequences share a batch, is not known here.

pub mod answer;
pub mod auth;
pub mod band;
pub mod budget;
pub mod error;
pub mod forget;
pub mod jobs;
pub mod layers;
pub mod metrics;
pub mod routes;
pub mod runs;
pub mod serve;
pub mod shelf;
pub mod spans;
pub mod sse;
pub mod track;
pub mod weight;
pub mod wire;

#[cfg(test)]
mod fixtures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bandmaster_text::{EngineHandle, LoadedModel};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes as at;

use answer::{Answers, Question};
use error::ApiError;
use layers::Notes;
use metrics::Metrics;
use runs::Runs;
use serve::Drain;
use shelf::{BAND, Shelf};

/// The end of the drain time that is reserved for streams to send their final error event.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The state shared by all routes.
pub struct App {
    pub shelf: Arc<Shelf>,
    pub runs: Arc<Runs>,
    /// Asked only for its statistics, which `/metrics` reports.
    pub engine: EngineHandle,
    pub metrics: Arc<Metrics>,
    pub ending: Ending,
    ready: AtomicBool,
}

/// Tells streams when the server shuts down and when they must stop.
#[derive(Debug, Clone)]
pub struct Ending {
    drain: Drain,
    /// Answers still running this long after the drain began are cut off.
    after: Duration,
}

impl Ending {
    #[must_use]
    pub fn new(drain: Drain, drain_time: Duration) -> Self {
        Self { drain, after: drain_time.saturating_sub(LAST_WORDS) }
    }

    /// Whether shutdown has begun, so that new requests are refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Waits until the moment when answers that are still running must stop.
    pub async fn cut(self) {
        self.drain.begun().await;
        tokio::time::sleep(self.after).await;
    }
}

impl App {
    /// Builds the state; requests are refused until [`App::set_ready`] is called.
    #[must_use]
    pub fn new(
        shelf: Shelf,
        runs: Runs,
        engine: EngineHandle,
        metrics: Arc<Metrics>,
        ending: Ending,
    ) -> Self {
        Self {
            shelf: Arc::new(shelf),
            runs: Arc::new(runs),
            engine,
            metrics,
            ending,
            ready: AtomicBool::new(false),
        }
    }

    /// Called once the models named at the start are loaded.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Refuses a request while the models named at the start are still loading.
    ///
    /// # Errors
    /// 503 until [`App::set_ready`] was called.
    pub fn check_ready(&self) -> Result<(), ApiError> {
        match self.is_ready() {
            true => Ok(()),
            false => Err(ApiError::unavailable("the models are loading: /health says when they are ready")),
        }
    }

    /// The id of the model that answers a request with `said` in its `model` field. If that is not the model that was
    /// asked for, a response header says so.
    ///
    /// # Errors
    /// 400 if no model was named and there are several to choose from.
    pub fn id(&self, notes: &Notes, said: Option<&str>, embeds: bool) -> Result<String, ApiError> {
        let meant = self.shelf.meant(said, embeds)?;
        if meant.instead {
            notes.answers_instead(&meant.id);
        }
        Ok(meant.id)
    }

    /// Records the fields of a question that the band ignores, since its strategies choose the sampling.
    pub fn name_unused(&self, notes: &Notes, id: &str, question: &Question) {
        if id.split(':').next() == Some(BAND) {
            let kwargs = (!question.rendering.variables.is_empty()).then_some("chat_template_kwargs");
            notes.ignored(question.draws.named.iter().copied().chain(kwargs).map(str::to_owned));
        }
    }

    /// Asks a model or the band. Returns the answers, and the model if it was not the band.
    ///
    /// # Errors
    /// 404 for an unknown model; 400 for a request that the model can't serve; 429 when the queue is full.
    pub async fn ask(
        &self,
        notes: &Notes,
        id: &str,
        question: Question,
    ) -> Result<(Answers, Option<Arc<LoadedModel>>), ApiError> {
        let (name, strategy) = match id.split_once(':') {
            Some((BAND, strategy)) => (BAND, Some(strategy)),
            _ => (id, None),
        };
        if name == BAND {
            return Ok((band::ask(&self.shelf, &self.runs, notes, strategy, question).await?, None));
        }
        let model = self.shelf.model(id).await?;
        let answers = answer::ask(Arc::clone(&model), question).await?;
        Ok((answers, Some(model)))
    }
}

/// Extractor for the [`Notes`] of the request.
pub struct Asker {
    pub notes: Notes,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let notes = parts.extensions.get::<Notes>().cloned();
        notes
            .map(|notes| Self { notes })
            .ok_or_else(|| ApiError::internal("the middleware did not run for this request"))
    }
}

/// The head of the OpenAPI document; routes and schemas are collected from their types.
#[derive(OpenApi)]
#[openapi(info(
    title = "Bandmaster",
    description = "OpenAI-compatible API for local models, one by one or together as a band",
    license(name = "MIT OR Apache-2.0")
))]
struct Description;

/// All routes, and the OpenAPI document that describes them at `/openapi.json`.
pub fn router(app: Arc<App>) -> Router {
    let (router, api) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(at!(routes::models::health))
        .routes(at!(routes::about::ping))
        .routes(at!(routes::about::version))
        .routes(at!(routes::about::props))
        .routes(at!(routes::about::tokenizer_info))
        .routes(at!(routes::models::metrics))
        .routes(at!(routes::models::models))
        .routes(at!(routes::models::model))
        .routes(at!(routes::chat::chat))
        .routes(at!(routes::completions::completions))
        .routes(at!(routes::infill::infill))
        .routes(at!(routes::responses::create))
        .routes(at!(routes::responses::show, routes::responses::remove))
        .routes(at!(routes::responses::input_items))
        .routes(at!(routes::responses::cancel))
        .routes(at!(routes::conversations::begin))
        .routes(at!(routes::conversations::show, routes::conversations::note, routes::conversations::remove))
        .routes(at!(routes::conversations::items, routes::conversations::append))
        .routes(at!(routes::conversations::item, routes::conversations::remove_item))
        .routes(at!(routes::embeddings::embeddings))
        .routes(at!(routes::tokens::tokenize))
        .routes(at!(routes::tokens::detokenize))
        .routes(at!(routes::tokens::apply_template))
        .routes(at!(routes::tokens::chat_input_tokens))
        .routes(at!(routes::runs::begin, routes::runs::list))
        .routes(at!(routes::runs::show))
        .routes(at!(routes::runs::events))
        .routes(at!(routes::runs::cancel))
        .routes(at!(routes::runs::answer))
        .routes(at!(routes::runs::resume))
        .routes(at!(routes::runs::fork))
        .routes(at!(routes::description))
        .split_for_parts();
    let api = routes::Description(serde_json::to_vec(&api).unwrap_or_default().into());
    router.layer(axum::Extension(api)).with_state(app)
}

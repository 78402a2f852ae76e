//! The OpenAI-compatible endpoint: the only room that knows HTTP and OpenAI's JSON.
//!
//! How a model computes, and who shares a step with whom, is not known here.

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

use crate::text::{EngineHandle, LoadedModel};

/// Of the drain time, what is left for streams to say that they end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What every route needs.
pub struct App {
    /// The models.
    pub shelf: Arc<Shelf>,
    /// The runs.
    pub runs: Arc<Runs>,
    /// For its numbers.
    pub engine: EngineHandle,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// When to end.
    pub ending: Ending,
    ready: AtomicBool,
}

/// The server's end, as streams see it.
#[derive(Debug, Clone)]
pub struct Ending {
    drain: Drain,
    /// How long after the drain began what still runs is cut.
    after: Duration,
}

impl Ending {
    /// With a drain that takes at most `drain_time`.
    #[must_use]
    pub fn new(drain: Drain, drain_time: Duration) -> Self {
        Self { drain, after: drain_time.saturating_sub(LAST_WORDS) }
    }

    /// Whether nobody new is taken.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Waits until what still runs must end.
    pub async fn cut(self) {
        self.drain.begun().await;
        tokio::time::sleep(self.after).await;
    }
}

impl App {
    /// Not ready yet.
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

    /// What was to be loaded first is.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether questions are taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Refuses questions while the models named at the start load.
    ///
    /// # Errors
    /// 503.
    pub fn check_ready(&self) -> Result<(), ApiError> {
        match self.is_ready() {
            true => Ok(()),
            false => Err(ApiError::unavailable("the models are loading: /health says when they are there")),
        }
    }

    /// The id of the model that a request means; where another one answers than was asked for, a header tells it.
    ///
    /// # Errors
    /// 400 where nothing was said and several could be meant.
    pub fn id(&self, notes: &Notes, said: Option<&str>, embeds: bool) -> Result<String, ApiError> {
        let meant = self.shelf.meant(said, embeds)?;
        if meant.instead {
            notes.answers_instead(&meant.id);
        }
        Ok(meant.id)
    }

    /// Names the fields of a question that the band takes and does not use: it samples as its strategies say.
    pub fn name_unused(&self, notes: &Notes, id: &str, question: &Question) {
        if id.split(':').next() == Some(BAND) {
            let kwargs = (!question.rendering.variables.is_empty()).then_some("chat_template_kwargs");
            notes.ignored(question.draws.named.iter().copied().chain(kwargs).map(str::to_owned));
        }
    }

    /// Asks a model, or the band, for the request with these notes. With the answers comes the model, where it is one.
    ///
    /// # Errors
    /// 404 for a model that isn't there; 400 for what can't be asked of it; 429 when the queue is full.
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

/// Who asks, as far as a route needs to know.
pub struct Asker {
    /// For what is learned of the request.
    pub notes: Notes,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let notes = parts.extensions.get::<Notes>().cloned();
        notes
            .map(|notes| Self { notes })
            .ok_or_else(|| ApiError::internal("the request came without its layers"))
    }
}

/// The description's head; routes and shapes come from their types.
#[derive(OpenApi)]
#[openapi(info(
    title = "Bandmaster",
    description = "Local models, one by one or as a band, in OpenAI's shapes",
    license(name = "MIT OR Apache-2.0")
))]
struct Description;

/// All routes, and their description at `/openapi.json`.
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
        .routes(at!(routes::description))
        .split_for_parts();
    let api = routes::Description(serde_json::to_vec(&api).unwrap_or_default().into());
    router.layer(axum::Extension(api)).with_state(app)
}

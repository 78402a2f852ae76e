//! The OpenAI-compatible endpoint: the only room that knows HTTP and OpenAI's JSON.
//!
//! How a model computes, and which sequences share a batch, is not known here.
#![warn(unreachable_pub)]

mod answer;
mod auth;
mod band;
mod budget;
mod charges;
mod error;
mod jobs;
mod layers;
mod metrics;
mod prompt_size;
mod registry;
mod retention;
mod routes;
mod run_models;
mod runs;
mod serve;
mod spans;
mod sse;
mod tracker;
mod usage;
mod wire;

#[cfg(test)]
mod fixtures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use bandmaster_text::{EngineHandle, LoadedModel};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes as at;

pub use auth::ApiKeys;
pub use budget::return_freed_memory;
pub use error::ApiError;
pub use layers::{Hosts, Layers, Origins, RequestContext, with_layers};
pub use metrics::Metrics;
pub use registry::{Alias, BAND, Loaders, ModelRegistry};
pub use retention::delete_old_responses;
pub use runs::Runs;
pub use serve::{BoundServer, Listen, bind, connections_within};
pub use spans::{OtlpEndpoint, SPAN_TARGET, SpanExport, SpanParent, traced};
pub use usage::Usage;
// Fuzzing reads bodies as the routes do.
pub use wire::body::parse as parse_body;
pub use wire::chat::ChatRequest;
pub use wire::completions::CompletionRequest;
pub use wire::responses::request::CreateResponse;

use answer::{Answers, Question};
use serve::ShutdownSignal;

/// The end of the drain time that is reserved for streams to send their final error event.
const DRAIN_RESERVE: Duration = Duration::from_millis(500);

/// The state shared by all routes.
pub struct App {
    pub models: Arc<ModelRegistry>,
    pub runs: Arc<Runs>,
    /// Asked only for its statistics, which `/metrics` reports.
    engine: EngineHandle,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    ready: AtomicBool,
}

/// Tells streams when the server shuts down and when they must stop.
#[derive(Debug, Clone)]
pub struct Shutdown {
    signal: ShutdownSignal,
    /// Answers still running this long after the signal are cut off.
    cut_after: Duration,
}

impl Shutdown {
    #[must_use]
    pub fn new(signal: ShutdownSignal, drain_time: Duration) -> Self {
        Self { signal, cut_after: drain_time.saturating_sub(DRAIN_RESERVE) }
    }

    /// Whether shutdown has begun, so that new requests are refused.
    fn is_draining(&self) -> bool {
        self.signal.is_set()
    }

    /// Waits until the moment when answers that are still running must stop.
    async fn deadline(self) {
        self.signal.wait().await;
        tokio::time::sleep(self.cut_after).await;
    }
}

impl App {
    /// Builds the state; requests are refused until [`App::set_ready`] is called.
    #[must_use]
    pub fn new(
        models: ModelRegistry,
        runs: Runs,
        engine: EngineHandle,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            models: Arc::new(models),
            runs: Arc::new(runs),
            engine,
            metrics,
            shutdown,
            ready: AtomicBool::new(false),
        }
    }

    /// Called once the models named at the start are loaded.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Refuses a request while the models named at the start are still loading.
    ///
    /// # Errors
    /// 503 until [`App::set_ready`] was called.
    fn check_ready(&self) -> Result<(), ApiError> {
        match self.is_ready() {
            true => Ok(()),
            false => Err(ApiError::unavailable("the models are loading: /health says when they are ready")),
        }
    }

    /// The id of the model that answers a request for the model `requested`. If another model answers in its place, a
    /// response header says so.
    ///
    /// # Errors
    /// 400 if no model was named and there are several to choose from.
    fn model_id(
        &self,
        context: &RequestContext,
        requested: Option<&str>,
        embeddings: bool,
    ) -> Result<String, ApiError> {
        let model = self.models.resolve(requested, embeddings)?;
        if model.substituted {
            context.set_substitute(&model.id);
        }
        Ok(model.id)
    }

    /// Records the fields of a question that the band ignores, since its strategies choose the sampling.
    fn report_ignored(&self, context: &RequestContext, id: &str, question: &Question) {
        if id.split(':').next() == Some(BAND) {
            let kwargs = (!question.rendering.variables.is_empty()).then_some("chat_template_kwargs");
            let fields = question.params.ignored_by_band.iter().copied().chain(kwargs);
            context.add_ignored(fields.map(str::to_owned));
        }
    }

    /// Asks a model or the band. Returns the answers, and the model if it was not the band.
    ///
    /// # Errors
    /// 404 for an unknown model; 400 for a request that the model can't serve; 429 when the queue is full.
    async fn ask(
        &self,
        context: &RequestContext,
        id: &str,
        question: Question,
    ) -> Result<(Answers, Option<Arc<LoadedModel>>), ApiError> {
        let (name, strategy) = match id.split_once(':') {
            Some((BAND, strategy)) => (BAND, Some(strategy)),
            _ => (id, None),
        };
        if name == BAND {
            return Ok((band::ask(&self.models, &self.runs, context, strategy, question).await?, None));
        }
        let model = self.models.model(id).await?;
        let answers = answer::ask(Arc::clone(&model), question).await?;
        Ok((answers, Some(model)))
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
        .routes(at!(
            routes::conversations::show,
            routes::conversations::update,
            routes::conversations::remove
        ))
        .routes(at!(routes::conversations::items, routes::conversations::append))
        .routes(at!(routes::conversations::item, routes::conversations::remove_item))
        .routes(at!(routes::embeddings::embeddings))
        .routes(at!(routes::tokens::tokenize))
        .routes(at!(routes::tokens::detokenize))
        .routes(at!(routes::tokens::apply_template))
        .routes(at!(routes::tokens::chat_input_tokens))
        .routes(at!(routes::runs::begin, routes::runs::list))
        .routes(at!(routes::runs::show, routes::runs::remove))
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

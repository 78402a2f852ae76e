//! `GET /health`, `GET /v1/models`, `GET /v1/models/{id}`, `GET /metrics`.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::App;
use crate::error::ApiError;
use crate::metrics::CONTENT_TYPE;
use crate::wire::models::{Health, Model, ModelList};
use crate::wire::refusals::NoModel;

/// Reports whether the server accepts requests.
#[utoipa::path(get, path = "/health", tag = "operations", responses(
    (status = 200, description = "Requests are accepted", body = Health),
    (status = 503, description = "The models are loading, or the server is shutting down", body = Health),
))]
pub(crate) async fn health(State(app): State<Arc<App>>) -> (StatusCode, Body<Health>) {
    let (code, status) = match (app.is_ready(), app.shutdown.is_draining()) {
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "loading"),
        (true, false) => (StatusCode::OK, "ok"),
    };
    (code, Body(Health { status }))
}

/// Lists the models that can be requested.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses(
    (status = 200, description = "All models", body = ModelList),
))]
pub(crate) async fn models(State(app): State<Arc<App>>) -> Body<ModelList> {
    Body(ModelList { object: "list", data: app.models.list() })
}

/// Describes one model.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models",
    params(("id" = String, Path, description = "The model's id")),
    responses(
        (status = 200, description = "The model", body = Model),
        NoModel,
    ))]
pub(crate) async fn model(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Body<Model>, ApiError> {
    let models = app.models.list();
    let available: Vec<String> = models.iter().map(|model| model.id.clone()).collect();
    let found = models.into_iter().find(|model| model.id == id);
    found.map(Body).ok_or_else(|| ApiError::no_model(&id, &available))
}

/// Returns metrics of the server and its engine, as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
))]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], app.metrics.render(&app.engine.stats()))
}

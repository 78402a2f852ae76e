//! `GET /ping`, `/version`, `/props`, `/tokenizer_info`: what clients of other servers request before they start.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use bandmaster_text::LoadedModel;

use super::models::health;
use super::parsed_query;
use crate::App;
use crate::error::ApiError;
use crate::layers::RequestContext;
use crate::wire::about::{ModelQuery, Props, TokenizerInfo, Version};
use crate::wire::models::Health;
use crate::wire::refusals::{BadQuery, Busy, NoModel};
use crate::wire::sampling::SamplingFields;

/// Same as `/health`, under vLLM's name.
#[utoipa::path(get, path = "/ping", tag = "operations", responses(
    (status = 200, description = "Requests are accepted", body = Health),
    (status = 503, description = "The models are loading, or the server is shutting down", body = Health),
))]
pub(crate) async fn ping(state: State<Arc<App>>) -> (StatusCode, Body<Health>) {
    health(state).await
}

/// Returns the server's version.
#[utoipa::path(get, path = "/version", tag = "operations", responses(
    (status = 200, description = "The version", body = Version),
))]
pub(crate) async fn version() -> Body<Version> {
    Body(Version { version: env!("CARGO_PKG_VERSION") })
}

/// Returns settings of a model and of the server, in llama-server's format. Loads the model if necessary.
#[utoipa::path(get, path = "/props", tag = "models", params(ModelQuery), responses(
    (status = 200, description = "The settings", body = Props),
    NoModel,
    BadQuery,
    Busy,
))]
pub(crate) async fn props(
    State(app): State<Arc<App>>,
    context: RequestContext,
    query: Result<Query<ModelQuery>, QueryRejection>,
) -> Result<Body<Props>, ApiError> {
    let (id, model) = model(&app, &context, parsed_query(query)?).await?;
    let defaults = SamplingFields::default().params(None, None)?.sampling;
    Ok(Body(Props::of(&id, &model, &defaults)))
}

/// Describes a model's tokenizer, for evaluation harnesses. Loads the model if necessary.
#[utoipa::path(get, path = "/tokenizer_info", tag = "tokens", params(ModelQuery), responses(
    (status = 200, description = "The tokenizer", body = TokenizerInfo),
    NoModel,
    BadQuery,
    Busy,
))]
pub(crate) async fn tokenizer_info(
    State(app): State<Arc<App>>,
    context: RequestContext,
    query: Result<Query<ModelQuery>, QueryRejection>,
) -> Result<Body<TokenizerInfo>, ApiError> {
    let (_, model) = model(&app, &context, parsed_query(query)?).await?;
    Ok(Body(TokenizerInfo::of(&model)))
}

async fn model(
    app: &Arc<App>,
    context: &RequestContext,
    query: ModelQuery,
) -> Result<(String, Arc<LoadedModel>), ApiError> {
    app.check_ready()?;
    let id = app.model_id(context, query.model.as_deref(), false)?;
    let model = app.models.model(&id).await?;
    Ok((id, model))
}

//! The routes, one file for each kind. The JSON of requests and responses is defined in `wire`; who answers is decided
//! by `registry` and `band`.

pub(crate) mod about;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod conversations;
pub(crate) mod embeddings;
pub(crate) mod infill;
pub(crate) mod models;
pub(crate) mod responses;
pub(crate) mod runs;
pub(crate) mod tokens;

#[cfg(test)]
mod tests;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::header;
use axum::response::IntoResponse;
use bandmaster_journal::Journal;

use super::App;
use super::error::ApiError;
use super::layers::RequestContext;

/// Returns this OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object),
))]
pub(crate) async fn description(Extension(Description(api)): Extension<Description>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], api)
}

/// The OpenAPI document, serialized once, since it may be requested often.
#[derive(Debug, Clone)]
pub(crate) struct Description(pub Bytes);

/// The query parameters of a request.
///
/// # Errors
/// 400 if they could not be parsed.
fn parsed_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|error| ApiError::unreadable(error.body_text()))
}

/// Reads from the record what the client may see.
async fn read<T: Send + 'static>(
    app: &App,
    context: &RequestContext,
    work: impl FnOnce(&Journal) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    app.runs.journal(&context.viewer()).read(work).await
}

/// Writes to the record as the client, who can only change what they may see.
async fn write<T: Send + 'static>(
    app: &App,
    context: &RequestContext,
    work: impl FnOnce(&Journal) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    app.runs.journal(&context.viewer()).write(work).await
}

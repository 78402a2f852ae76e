//! What can be asked: one file a kind of question. How questions and answers are written is the wire's; who answers, the
//! shelf's and the band's.

pub mod chat;
pub mod completions;
pub mod conversations;
pub mod embeddings;
pub mod models;
pub mod responses;
pub mod runs;
pub mod tokens;

use std::sync::Arc;

use axum::{Extension, Json};
use utoipa::openapi::OpenApi;

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object),
))]
pub async fn description(Extension(api): Extension<Arc<OpenApi>>) -> Json<OpenApi> {
    Json(OpenApi::clone(&api))
}

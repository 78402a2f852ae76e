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

use axum::Extension;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;

use super::App;
use super::error::ApiError;
use crate::journal::{Journal, JournalError};

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object),
))]
pub async fn description(Extension(Description(api)): Extension<Description>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], api)
}

/// The description as it is sent: written once, since anybody may ask for it as often as they like.
#[derive(Debug, Clone)]
pub struct Description(pub Bytes);

/// Asks the journal on a thread that may wait for the disk.
async fn journal<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Journal) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let journal = Arc::clone(app.runs.journal());
    let done = tokio::task::spawn_blocking(move || work(&journal)).await;
    done.map_err(|error| ApiError::internal(format!("the record can't be read: {error}")))?
}

/// The journal's errors are not the client's fault.
fn failed(error: JournalError) -> ApiError {
    ApiError::internal(error.to_string())
}

//! What can be asked: one file a kind of question. How questions and answers are written is the wire's; who answers, the
//! shelf's and the band's.

pub mod about;
pub mod chat;
pub mod completions;
pub mod conversations;
pub mod embeddings;
pub mod infill;
pub mod models;
pub mod responses;
pub mod runs;
pub mod tokens;

#[cfg(test)]
mod tests;

use axum::Extension;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;

use super::error::ApiError;
use super::{App, Asker};
use crate::journal::Journal;

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

/// Reads the record as whoever asks may see it.
async fn read<T: Send + 'static>(
    app: &App,
    asker: &Asker,
    work: impl FnOnce(&Journal) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    app.runs.desk(&asker.notes.viewer()).read(work).await
}

/// Writes the record for whoever asks, who can change only what he may see.
async fn write<T: Send + 'static>(
    app: &App,
    asker: &Asker,
    work: impl FnOnce(&Journal) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    app.runs.desk(&asker.notes.viewer()).write(work).await
}

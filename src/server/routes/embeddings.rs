//! `POST /v1/embeddings`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use bandmaster_text::EmbedError;

use crate::answer::Spent;
use crate::error::ApiError;
use crate::wire::body::Json;
use crate::wire::embeddings::{
    Embedding, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage, Encoding, Inputs, Vector,
};
use crate::wire::fields::Embedded;
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::{App, Asker, jobs};

/// Clients have given up after this time: OpenAI's wait ten minutes.
const DEADLINE: Duration = Duration::from_secs(600);

/// Computes embedding vectors of texts.
#[utoipa::path(post, path = "/v1/embeddings", tag = "embeddings", request_body = EmbeddingRequest, responses(
    (status = 200, description = "One vector for each input", body = EmbeddingResponse),
    NoModel,
    BadBody,
    Busy,
))]
pub async fn embeddings(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(Embedded(request)): Json<Embedded<EmbeddingRequest>>,
) -> Result<Body<EmbeddingResponse>, ApiError> {
    app.check_ready()?;
    let encoding = Encoding::read(request.encoding_format.as_deref())?;
    let id = app.id(&asker.notes, request.model.as_deref(), true)?;
    let inputs = request.input.inputs()?;
    let model = app.shelf.embedder(&id).await?;
    let ids = match inputs {
        Inputs::Texts(texts) => {
            jobs::check_size("input", texts.iter().map(String::len).sum())?;
            model.encode(texts).await.map_err(refused)?
        }
        Inputs::Tokens(lists) => lists,
    };
    let tokens: u64 = ids.iter().map(|ids| ids.len() as u64).sum();
    let vectors = model.embed_ids(&ids, Some(DEADLINE)).await.map_err(refused)?;
    asker.notes.answered_by(&id);
    asker.notes.charge(tokens);
    asker.notes.spent(Spent { prompt_tokens: tokens, ..Spent::default() });
    let data = vectors.into_iter().enumerate().map(|(index, vector)| {
        let embedding = Vector::of(vector, request.dimensions, encoding)?;
        Ok(Embedding { object: "embedding", index, embedding })
    });
    Ok(Body(EmbeddingResponse {
        object: "list",
        data: data.collect::<Result<_, ApiError>>()?,
        model: id,
        usage: EmbeddingUsage { prompt_tokens: tokens, total_tokens: tokens },
    }))
}

fn refused(error: EmbedError) -> ApiError {
    match error {
        EmbedError::Rejected(rejected) => ApiError::of_rejected(&rejected, "input"),
        EmbedError::UnknownToken { .. } | EmbedError::TooLong { .. } => {
            ApiError::invalid("input", error.to_string())
        }
        EmbedError::Stopped | EmbedError::Deadline(_) => ApiError::unavailable(error.to_string()),
        EmbedError::Tokenizer { .. } | EmbedError::Failed(_) => ApiError::internal(error.to_string()),
    }
}

//! `POST /v1/embeddings`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use bandmaster_text::EmbedError;

use crate::error::ApiError;
use crate::layers::RequestContext;
use crate::usage::Usage;
use crate::wire::body::Json;
use crate::wire::embeddings::{Embedding, EmbeddingRequest, EmbeddingResponse, Encoding, Inputs, Vector};
use crate::wire::fields::ForEmbeddings;
use crate::wire::refusals::{BadBody, Busy, NoModel};
use crate::{App, jobs};

/// Clients have given up after this time: OpenAI's wait ten minutes.
const DEADLINE: Duration = Duration::from_secs(600);

/// Computes embedding vectors of texts.
#[utoipa::path(post, path = "/v1/embeddings", tag = "embeddings", request_body = EmbeddingRequest, responses(
    (status = 200, description = "One vector for each input", body = EmbeddingResponse),
    NoModel,
    BadBody,
    Busy,
))]
pub(crate) async fn embeddings(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(ForEmbeddings(request)): Json<ForEmbeddings<EmbeddingRequest>>,
) -> Result<Body<EmbeddingResponse>, ApiError> {
    app.check_ready()?;
    let encoding = Encoding::read(request.encoding_format.as_deref())?;
    let id = app.model_id(&context, request.model.as_deref(), true)?;
    let inputs = request.input.inputs()?;
    let model = app.models.embedder(&id).await?;
    let ids = match inputs {
        Inputs::Texts(texts) => {
            jobs::check_size("input", texts.iter().map(String::len).sum())?;
            model.encode(texts).await.map_err(refused)?
        }
        Inputs::Tokens(lists) => lists,
    };
    let tokens: u64 = ids.iter().map(|ids| ids.len() as u64).sum();
    let vectors = model.embed_ids(&ids, Some(DEADLINE)).await.map_err(refused)?;
    context.set_model(&id);
    context.charge_total(tokens);
    let usage = Usage { prompt_tokens: tokens, ..Usage::default() };
    context.set_usage(usage);
    let data = vectors.into_iter().enumerate().map(|(index, vector)| {
        let embedding = Vector::of(vector, request.dimensions, encoding)?;
        Ok(Embedding { object: "embedding", index, embedding })
    });
    Ok(Body(EmbeddingResponse {
        object: "list",
        data: data.collect::<Result<_, ApiError>>()?,
        model: id,
        usage: usage.into(),
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

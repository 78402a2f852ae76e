//! `POST /tokenize`, `/detokenize`, `/apply-template`, and `/v1/chat/completions/input_tokens`.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use bandmaster_text::{Cancellation, LoadedModel, Prompt, RenderLimits};

use crate::error::ApiError;
use crate::layers::RequestContext;
use crate::wire::body::Json;
use crate::wire::fields::WithoutGeneration;
use crate::wire::refusals::{BadBody, NoModel};
use crate::wire::tokens::{
    Conversation, DetokenizeRequest, DetokenizeResponse, InputTokens, Piece, TemplateRequest,
    TemplateResponse, TokenOutput, TokenizeInput, TokenizeRequest, TokenizeResponse,
};
use crate::{App, jobs};

/// Converts a text or a conversation to tokens.
#[utoipa::path(post, path = "/tokenize", tag = "tokens", request_body = TokenizeRequest, responses(
    (status = 200, description = "The tokens", body = TokenizeResponse),
    NoModel,
    BadBody,
))]
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(WithoutGeneration(request)): Json<WithoutGeneration<TokenizeRequest>>,
) -> Result<Body<TokenizeResponse>, ApiError> {
    let id = app.model_id(&context, request.model.as_deref(), false)?;
    let (with_pieces, with_strings) =
        (request.with_pieces == Some(true), request.return_token_strs == Some(true));
    let input = request.input()?;
    let bytes = input.check()?;
    let model = app.models.model(&id).await?;
    let tokens = jobs::run(bytes, move |cancellation| {
        let tokenizer = model.tokenizer();
        let ids = match input {
            TokenizeInput::Text { text, parse_special, add_special } => {
                let ids = tokenizer.encode_cancellable(&text, parse_special, cancellation);
                let ids = ids.ok_or_else(ApiError::client_left)?;
                if add_special { tokenizer.with_bos_eos(ids) } else { ids }
            }
            TokenizeInput::Conversation(conversation) => prompt(&model, &conversation, cancellation)?.ids,
        };
        let text = |&id: &u32| String::from_utf8_lossy(tokenizer.decode_bytes(id)).into_owned();
        let output = |&id: &u32| match with_pieces {
            false => TokenOutput::Id(id),
            true => TokenOutput::Piece { id, piece: piece(tokenizer.decode_bytes(id)) },
        };
        Ok(TokenizeResponse {
            tokens: ids.iter().map(output).collect(),
            count: ids.len(),
            max_model_len: model.context_tokens(),
            token_strs: with_strings.then(|| ids.iter().map(text).collect()),
        })
    });
    tokens.await.map(Body)
}

fn prompt(
    model: &LoadedModel,
    conversation: &Conversation,
    cancellation: &Cancellation,
) -> Result<Prompt, ApiError> {
    let limits = RenderLimits { bytes_max: jobs::TEXT_BYTES_MAX, cancellation: cancellation.clone() };
    let prompt =
        model.rendered_prompt(&conversation.messages, &conversation.tools, &conversation.rendering, &limits);
    prompt.map_err(|error| ApiError::of_session(&error, "messages", "messages"))
}

fn piece(bytes: &[u8]) -> Piece {
    match std::str::from_utf8(bytes) {
        Ok(text) => Piece::Text(text.to_owned()),
        Err(_) => Piece::Bytes(bytes.to_vec()),
    }
}

/// Converts tokens to text.
#[utoipa::path(post, path = "/detokenize", tag = "tokens", request_body = DetokenizeRequest, responses(
    (status = 200, description = "The text", body = DetokenizeResponse),
    NoModel,
    BadBody,
))]
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(WithoutGeneration(request)): Json<WithoutGeneration<DetokenizeRequest>>,
) -> Result<Body<DetokenizeResponse>, ApiError> {
    let id = app.model_id(&context, request.model.as_deref(), false)?;
    let model = app.models.model(&id).await?;
    if let Some((at, unknown)) = (0..).zip(&request.tokens).find(|(_, id)| **id as usize >= model.vocab()) {
        let message = format!("token {unknown} is not in the vocabulary of {id} ({} tokens)", model.vocab());
        return Err(ApiError::invalid(format!("tokens[{at}]"), message));
    }
    let content = jobs::run(size_of_val(request.tokens.as_slice()), move |cancellation| {
        let mut bytes: Vec<u8> = Vec::new();
        for ids in request.tokens.chunks(1 << 12) {
            bytes.extend(ids.iter().flat_map(|&id| model.tokenizer().decode_bytes(id)));
            jobs::check_size("tokens", bytes.len())?;
            if cancellation.is_cancelled() {
                return Err(ApiError::client_left());
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    let content = content.await?;
    Ok(Body(DetokenizeResponse { prompt: content.clone(), content }))
}

/// Renders a conversation as a prompt with the model's chat template.
#[utoipa::path(post, path = "/apply-template", tag = "tokens", request_body = TemplateRequest, responses(
    (status = 200, description = "The prompt", body = TemplateResponse),
    NoModel,
    BadBody,
))]
pub(crate) async fn apply_template(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(WithoutGeneration(request)): Json<WithoutGeneration<TemplateRequest>>,
) -> Result<Body<TemplateResponse>, ApiError> {
    Ok(Body(TemplateResponse { prompt: rendered(&app, &context, request).await?.text }))
}

/// Counts the tokens of a conversation's prompt, as in llama-server.
#[utoipa::path(post, path = "/v1/chat/completions/input_tokens", tag = "tokens", request_body = TemplateRequest,
    responses(
        (status = 200, description = "The number of tokens", body = InputTokens),
        NoModel,
        BadBody,
    )
)]
pub(crate) async fn chat_input_tokens(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Json(WithoutGeneration(request)): Json<WithoutGeneration<TemplateRequest>>,
) -> Result<Body<InputTokens>, ApiError> {
    Ok(Body(InputTokens { input_tokens: rendered(&app, &context, request).await?.ids.len() }))
}

async fn rendered(app: &App, context: &RequestContext, request: TemplateRequest) -> Result<Prompt, ApiError> {
    let id = app.model_id(context, request.model.as_deref(), false)?;
    let conversation = request.conversation()?;
    let model = app.models.model(&id).await?;
    let bytes = conversation.check()?;
    jobs::run(bytes, move |cancellation| prompt(&model, &conversation, cancellation)).await
}

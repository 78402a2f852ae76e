//! `POST /tokenize`, `/detokenize`, `/apply-template`, and `/v1/chat/completions/input_tokens`.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use bandmaster_text::{Cancellation, LoadedModel, Prompt, RenderLimits};

use crate::error::ApiError;
use crate::wire::body::Json;
use crate::wire::fields::Unanswered;
use crate::wire::refusals::{BadBody, NoModel};
use crate::wire::tokens::{
    Chat, Cut, DetokenizeRequest, DetokenizeResponse, InputTokens, Piece, TemplateRequest, TemplateResponse,
    TokenTold, TokenizeRequest, TokenizeResponse,
};
use crate::{App, Asker, jobs};

/// Converts a text or a conversation to tokens.
#[utoipa::path(post, path = "/tokenize", tag = "tokens", request_body = TokenizeRequest, responses(
    (status = 200, description = "The tokens", body = TokenizeResponse),
    NoModel,
    BadBody,
))]
pub async fn tokenize(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(Unanswered(request)): Json<Unanswered<TokenizeRequest>>,
) -> Result<Body<TokenizeResponse>, ApiError> {
    let id = app.id(&asker.notes, request.model.as_deref(), false)?;
    let (pieces, strings) = (request.with_pieces == Some(true), request.return_token_strs == Some(true));
    let cut = request.cut()?;
    let bytes = cut.check()?;
    let model = app.shelf.model(&id).await?;
    let tokens = jobs::run(bytes, move |cancellation| {
        let tokenizer = model.tokenizer();
        let ids = match cut {
            Cut::Text { text, special, framed } => {
                let ids = tokenizer.encode_cancellable(&text, special, cancellation);
                let ids = ids.ok_or_else(ApiError::left)?;
                if framed { tokenizer.with_bos_eos(ids) } else { ids }
            }
            Cut::Chat(chat) => prompt(&model, &chat, cancellation)?.ids,
        };
        let text = |&id: &u32| String::from_utf8_lossy(tokenizer.decode_bytes(id)).into_owned();
        let told = |&id: &u32| match pieces {
            false => TokenTold::Id(id),
            true => TokenTold::Piece { id, piece: piece(tokenizer.decode_bytes(id)) },
        };
        Ok(TokenizeResponse {
            tokens: ids.iter().map(told).collect(),
            count: ids.len(),
            max_model_len: model.context_tokens(),
            token_strs: strings.then(|| ids.iter().map(text).collect()),
        })
    });
    tokens.await.map(Body)
}

fn prompt(model: &LoadedModel, chat: &Chat, cancellation: &Cancellation) -> Result<Prompt, ApiError> {
    let limits = RenderLimits { bytes_max: jobs::TEXT_BYTES_MAX, cancellation: cancellation.clone() };
    let prompt = model.rendered_prompt(&chat.messages, &chat.tools, &chat.rendering, &limits);
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
pub async fn detokenize(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(Unanswered(request)): Json<Unanswered<DetokenizeRequest>>,
) -> Result<Body<DetokenizeResponse>, ApiError> {
    let id = app.id(&asker.notes, request.model.as_deref(), false)?;
    let model = app.shelf.model(&id).await?;
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
                return Err(ApiError::left());
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
pub async fn apply_template(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(Unanswered(request)): Json<Unanswered<TemplateRequest>>,
) -> Result<Body<TemplateResponse>, ApiError> {
    Ok(Body(TemplateResponse { prompt: rendered(&app, &asker, request).await?.text }))
}

/// Counts the tokens of a conversation's prompt, as in llama-server.
#[utoipa::path(post, path = "/v1/chat/completions/input_tokens", tag = "tokens", request_body = TemplateRequest,
    responses(
        (status = 200, description = "The number of tokens", body = InputTokens),
        NoModel,
        BadBody,
    )
)]
pub async fn chat_input_tokens(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(Unanswered(request)): Json<Unanswered<TemplateRequest>>,
) -> Result<Body<InputTokens>, ApiError> {
    Ok(Body(InputTokens { input_tokens: rendered(&app, &asker, request).await?.ids.len() }))
}

async fn rendered(app: &App, asker: &Asker, request: TemplateRequest) -> Result<Prompt, ApiError> {
    let id = app.id(&asker.notes, request.model.as_deref(), false)?;
    let chat = request.chat()?;
    let model = app.shelf.model(&id).await?;
    let bytes = chat.check()?;
    jobs::run(bytes, move |cancellation| prompt(&model, &chat, cancellation)).await
}

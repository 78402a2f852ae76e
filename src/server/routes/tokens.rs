//! `POST /tokenize`, `/detokenize`, `/apply-template`.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;

use crate::server::error::ApiError;
use crate::server::wire::body::Json;
use crate::server::wire::refusals::{BadBody, NoModel};
use crate::server::wire::tokens::{
    DetokenizeRequest, DetokenizeResponse, Piece, TemplateRequest, TemplateResponse, TokenTold,
    TokenizeRequest, TokenizeResponse,
};
use crate::server::wire::tools::tools;
use crate::server::{App, jobs};

/// Cuts a text into tokens.
#[utoipa::path(post, path = "/tokenize", tag = "tokens", request_body = TokenizeRequest, responses(
    (status = 200, description = "The ids", body = TokenizeResponse),
    NoModel,
    BadBody,
))]
pub async fn tokenize(
    State(app): State<Arc<App>>,
    Json(request): Json<TokenizeRequest>,
) -> Result<Body<TokenizeResponse>, ApiError> {
    let id = app.shelf.id(request.model.as_deref(), false)?;
    jobs::check_size("content", request.content.len())?;
    let model = app.shelf.model(&id).await?;
    let tokens = jobs::run(request.content.len(), move |waited| {
        let tokenizer = model.tokenizer();
        let special = request.parse_special.unwrap_or(true);
        let ids = tokenizer.encode_while(&request.content, special, &|| waited.goes_on());
        let mut ids = ids.ok_or_else(jobs::left)?;
        if request.add_special.unwrap_or(false) {
            ids = tokenizer.framed(ids);
        }
        let told = |id: u32| match request.with_pieces.unwrap_or(false) {
            false => TokenTold::Id(id),
            true => TokenTold::Piece { id, piece: piece(tokenizer.decode_bytes(id)) },
        };
        Ok(ids.into_iter().map(told).collect())
    });
    let tokens = tokens.await?;
    Ok(Body(TokenizeResponse { tokens }))
}

fn piece(bytes: &[u8]) -> Piece {
    match std::str::from_utf8(bytes) {
        Ok(text) => Piece::Text(text.to_owned()),
        Err(_) => Piece::Bytes(bytes.to_vec()),
    }
}

/// Makes text of tokens.
#[utoipa::path(post, path = "/detokenize", tag = "tokens", request_body = DetokenizeRequest, responses(
    (status = 200, description = "The text", body = DetokenizeResponse),
    NoModel,
    BadBody,
))]
pub async fn detokenize(
    State(app): State<Arc<App>>,
    Json(request): Json<DetokenizeRequest>,
) -> Result<Body<DetokenizeResponse>, ApiError> {
    let id = app.shelf.id(request.model.as_deref(), false)?;
    let model = app.shelf.model(&id).await?;
    if let Some((at, unknown)) = (0..).zip(&request.tokens).find(|(_, id)| **id as usize >= model.vocab()) {
        let message = format!("token {unknown} is not one of {id}'s {}", model.vocab());
        return Err(ApiError::invalid(format!("tokens[{at}]"), message));
    }
    let content = jobs::run(size_of_val(request.tokens.as_slice()), move |waited| {
        let mut bytes: Vec<u8> = Vec::new();
        for ids in request.tokens.chunks(1 << 12) {
            bytes.extend(ids.iter().flat_map(|&id| model.tokenizer().decode_bytes(id)));
            jobs::check_size("tokens", bytes.len())?;
            if !waited.goes_on() {
                return Err(jobs::left());
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    Ok(Body(DetokenizeResponse { content: content.await? }))
}

/// Makes a prompt of a conversation.
#[utoipa::path(post, path = "/apply-template", tag = "tokens", request_body = TemplateRequest, responses(
    (status = 200, description = "The prompt", body = TemplateResponse),
    NoModel,
    BadBody,
))]
pub async fn apply_template(
    State(app): State<Arc<App>>,
    Json(request): Json<TemplateRequest>,
) -> Result<Body<TemplateResponse>, ApiError> {
    let id = app.shelf.id(request.model.as_deref(), false)?;
    let messages = (0..).zip(request.messages).map(|(at, message)| message.read(&format!("messages[{at}]")));
    let messages = messages.collect::<Result<Vec<_>, _>>()?;
    let tools = tools(request.tools.unwrap_or_default())?;
    let model = app.shelf.model(&id).await?;
    let bytes = messages.iter().map(|message| message.content.len()).sum();
    jobs::check_size("messages", bytes)?;
    let rendered = jobs::run(bytes, move |_| {
        let rendered = model.chat_prompt(&messages, &tools);
        rendered.map_err(|error| ApiError::of_session(&error, "messages", "messages"))
    });
    let prompt = rendered.await?.text;
    Ok(Body(TemplateResponse { prompt }))
}

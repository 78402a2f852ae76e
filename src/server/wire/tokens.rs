//! `/tokenize`, `/detokenize` and `/apply-template`, in llama-server's shapes with the model's name.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chat::{ChatMessage, MessageShape};
use super::tools::ToolGiven;

/// A text to be cut into tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizeRequest {
    /// A model's id. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The text.
    pub content: String,
    /// Whether the tokens that open and close a sequence are added.
    pub add_special: Option<bool>,
    /// Whether the texts of control tokens become these.
    pub parse_special: Option<bool>,
    /// Whether each token's text is told beside its id.
    pub with_pieces: Option<bool>,
}

/// Token ids, with their texts where asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenizeResponse {
    /// The tokens.
    pub tokens: Vec<TokenTold>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TokenTold {
    /// Its id.
    Id(u32),
    /// Its id and its text.
    Piece {
        /// The id.
        id: u32,
        /// The text, or its bytes where they are no UTF-8.
        piece: Piece,
    },
}

/// A token's text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Piece {
    /// Text.
    Text(String),
    /// Bytes that are no whole characters.
    Bytes(Vec<u8>),
}

/// Ids to be made text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DetokenizeRequest {
    /// A model's id. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The ids.
    pub tokens: Vec<u32>,
}

/// The text of ids, control tokens included.
#[derive(Debug, Serialize, ToSchema)]
pub struct DetokenizeResponse {
    /// The text.
    pub content: String,
}

/// A conversation to be made a prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateRequest {
    /// A model's id. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The conversation.
    #[schema(value_type = Vec<MessageShape>)]
    pub messages: Vec<ChatMessage>,
    /// What the model may call.
    pub tools: Option<Vec<ToolGiven>>,
}

/// The prompt, up to where the answer begins.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateResponse {
    /// The text.
    pub prompt: String,
}

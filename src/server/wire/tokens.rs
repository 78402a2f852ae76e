//! `/tokenize`, `/detokenize` and `/apply-template`, in llama-server's shapes and in vLLM's.

use bandmaster_text::{Message, RenderOptions, Tool};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::chat::{ChatMessage, MessageShape, read_messages, rendering};
use super::fields::Free;
use super::tools::{ToolInput, tools};
use crate::error::ApiError;
use crate::jobs;
use crate::prompt_size::PromptSize;

/// A text or conversation to tokenize: exactly one of `content`, `prompt` and `messages`.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct TokenizeRequest {
    /// Model id. If omitted, the server uses the first one it was started with, or the only one installed.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// Text to tokenize, in llama-server's field.
    pub content: Option<String>,
    /// Text to tokenize, in vLLM's field.
    pub prompt: Option<String>,
    /// Conversation whose prompt is tokenized.
    #[schema(value_type = Option<Vec<MessageShape>>)]
    pub messages: Option<Vec<ChatMessage>>,
    /// For a conversation: functions that the model may call.
    pub tools: Option<Vec<ToolInput>>,
    /// For a conversation: if `false`, no turn is opened for the answer.
    pub add_generation_prompt: Option<bool>,
    /// For a conversation: leave the last message open.
    pub continue_final_message: Option<bool>,
    /// For a conversation: variables for the chat template.
    #[schema(value_type = Option<Object>)]
    pub chat_template_kwargs: Option<Free>,
    /// Whether tokens that open and close a sequence are added; by default only for `prompt`.
    pub add_special: Option<bool>,
    /// vLLM's name for `add_special`; overrides it.
    pub add_special_tokens: Option<bool>,
    /// Whether text that spells a control token becomes that token; true by default.
    pub parse_special: Option<bool>,
    /// Return each token's text beside its id.
    pub with_pieces: Option<bool>,
    /// Return the tokens' texts as a list.
    pub return_token_strs: Option<bool>,
}

/// What is to be tokenized.
#[derive(Debug)]
pub(crate) enum TokenizeInput {
    Text {
        text: String,
        /// Whether text that spells a control token becomes that token.
        parse_special: bool,
        /// Whether tokens that open and close a sequence are added.
        add_special: bool,
    },
    Conversation(Conversation),
}

impl TokenizeInput {
    /// Refuses input too large for a request that generates nothing. Returns its size in bytes.
    ///
    /// # Errors
    /// 400 or 413 with the field and the limit.
    pub(crate) fn check(&self) -> Result<usize, ApiError> {
        match self {
            Self::Text { text, .. } => jobs::check_size("content", text.len()).map(|()| text.len()),
            Self::Conversation(conversation) => conversation.check(),
        }
    }
}

/// A conversation that is rendered but not answered.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
    pub rendering: RenderOptions,
}

impl Conversation {
    /// Refuses input too large for a request that generates nothing. Returns its size in bytes.
    ///
    /// # Errors
    /// 400 or 413 with the field and the limit.
    pub(crate) fn check(&self) -> Result<usize, ApiError> {
        PromptSize::of(&self.messages, &self.tools, &self.rendering.variables).check_without_model()
    }

    fn read(
        messages: Vec<ChatMessage>,
        tools_given: Option<Vec<ToolInput>>,
        continues: Option<bool>,
        opens: Option<bool>,
        variables: Option<Free>,
    ) -> Result<Self, ApiError> {
        let messages = read_messages(messages)?;
        let tools = tools(tools_given.unwrap_or_default())?;
        let variables = variables.unwrap_or_default();
        let rendering = rendering(messages.last(), continues, opens, variables, None)?;
        Ok(Self { messages, tools, rendering })
    }
}

impl TokenizeRequest {
    /// What is to be tokenized.
    ///
    /// # Errors
    /// 400 if none or several of `content`, `prompt` and `messages` are given.
    pub(crate) fn input(self) -> Result<TokenizeInput, ApiError> {
        let add_special = self.add_special_tokens.or(self.add_special);
        let parse_special = self.parse_special.unwrap_or(true);
        match (self.content, self.prompt, self.messages) {
            (Some(text), None, None) => {
                Ok(TokenizeInput::Text { text, parse_special, add_special: add_special.unwrap_or(false) })
            }
            (None, Some(text), None) => {
                Ok(TokenizeInput::Text { text, parse_special, add_special: add_special.unwrap_or(true) })
            }
            (None, None, Some(messages)) => Ok(TokenizeInput::Conversation(Conversation::read(
                messages,
                self.tools,
                self.continue_final_message,
                self.add_generation_prompt,
                self.chat_template_kwargs,
            )?)),
            (None, None, None) => {
                Err(ApiError::invalid("content", "content is missing: give content, prompt or messages"))
            }
            _ => Err(ApiError::invalid("content", "give one of content, prompt and messages")),
        }
    }
}

/// Tokens of a text or a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenizeResponse {
    /// Token ids, with texts if `with_pieces` was set.
    pub tokens: Vec<TokenOutput>,
    /// Length of the list `tokens`.
    pub count: usize,
    /// Context length: maximum number of tokens in prompt and answer together.
    pub max_model_len: usize,
    /// Texts of the tokens, only with `return_token_strs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_strs: Option<Vec<String>>,
}

/// A token's id, alone or with its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenTold)]
#[serde(untagged)]
pub(crate) enum TokenOutput {
    /// Id of the token.
    Id(u32),
    /// Id and text of the token.
    Piece {
        /// Id of the token.
        id: u32,
        /// Text of the token, or its bytes if they are not UTF-8.
        piece: Piece,
    },
}

/// Text or bytes of a token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Piece {
    /// Text of the token.
    Text(String),
    /// Bytes that are not whole characters.
    Bytes(Vec<u8>),
}

/// Token ids to turn into text.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct DetokenizeRequest {
    /// Model id. If omitted, the server uses the first one it was started with, or the only one installed.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The token ids, in order.
    pub tokens: Vec<u32>,
}

/// Text of the tokens, control tokens included.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetokenizeResponse {
    /// Text of the tokens.
    pub content: String,
    /// The same text, under vLLM's name.
    pub prompt: String,
}

/// A conversation to render as a prompt.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct TemplateRequest {
    /// Model id. If omitted, the server uses the first one it was started with, or the only one installed.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The conversation, oldest message first.
    #[schema(value_type = Vec<MessageShape>)]
    pub messages: Vec<ChatMessage>,
    /// Functions that the model may call.
    pub tools: Option<Vec<ToolInput>>,
    /// If `false`, no turn is opened for the answer.
    pub add_generation_prompt: Option<bool>,
    /// Leave the last message open.
    pub continue_final_message: Option<bool>,
    /// Variables for the chat template.
    #[schema(value_type = Option<Object>)]
    pub chat_template_kwargs: Option<Free>,
    /// Documents, passed to the chat template as the variable `documents`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub documents: Option<Value>,
}

impl TemplateRequest {
    /// The conversation to render.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub(crate) fn conversation(self) -> Result<Conversation, ApiError> {
        let mut variables = self.chat_template_kwargs.unwrap_or_default();
        variables.extend(self.documents.map(|documents| ("documents".to_owned(), documents)));
        Conversation::read(
            self.messages,
            self.tools,
            self.continue_final_message,
            self.add_generation_prompt,
            Some(variables),
        )
    }
}

/// Length of a conversation's prompt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InputTokens {
    /// Tokens of the prompt, including those that open the turn of the answer.
    pub input_tokens: usize,
}

/// The prompt, up to where the answer begins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateResponse {
    /// Text of the prompt.
    pub prompt: String,
}

//! `/tokenize`, `/detokenize` and `/apply-template`, in llama-server's shapes and in vLLM's.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::chat::{ChatMessage, MessageShape, read_messages, rendering};
use super::fields::Free;
use super::tools::{ToolGiven, tools};
use crate::server::error::ApiError;
use crate::server::jobs;
use crate::server::weight::Weight;
use crate::text::{Message, Rendering, Tool};

/// A text to be cut into tokens, or a conversation.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct TokenizeRequest {
    /// A model's id. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The text.
    pub content: Option<String>,
    /// The same under vLLM's name: tokens that open and close a sequence are then added unless said otherwise.
    pub prompt: Option<String>,
    /// A conversation instead of a text: its prompt is cut.
    #[schema(value_type = Option<Vec<MessageShape>>)]
    pub messages: Option<Vec<ChatMessage>>,
    /// Of a conversation: what the model may call.
    pub tools: Option<Vec<ToolGiven>>,
    /// Of a conversation: `false` opens no turn for the answer.
    pub add_generation_prompt: Option<bool>,
    /// Of a conversation: the last message stays open.
    pub continue_final_message: Option<bool>,
    /// Of a conversation: variables for the chat template.
    #[schema(value_type = Option<Object>)]
    pub chat_template_kwargs: Option<Free>,
    /// Whether the tokens that open and close a sequence are added.
    pub add_special: Option<bool>,
    /// The same under vLLM's name.
    pub add_special_tokens: Option<bool>,
    /// Whether the texts of control tokens become these.
    pub parse_special: Option<bool>,
    /// Whether each token's text is told beside its id.
    pub with_pieces: Option<bool>,
    /// Whether the tokens' texts are told as a list.
    pub return_token_strs: Option<bool>,
}

/// What is to be cut.
#[derive(Debug)]
pub enum Cut {
    /// A text.
    Text {
        /// The text that is cut into tokens.
        text: String,
        /// Whether the texts of control tokens become these.
        special: bool,
        /// Whether the tokens that open and close a sequence are added.
        framed: bool,
    },
    /// A conversation.
    Chat(Chat),
}

impl Cut {
    /// Refuses what is too much to be only looked at. Gives its bytes.
    ///
    /// # Errors
    /// 400 or 413 with the field and the limit.
    pub fn check(&self) -> Result<usize, ApiError> {
        match self {
            Self::Text { text, .. } => jobs::check_size("content", text.len()).map(|()| text.len()),
            Self::Chat(chat) => chat.check(),
        }
    }
}

/// A conversation that is rendered and not answered.
#[derive(Debug)]
pub struct Chat {
    /// Its messages.
    pub messages: Vec<Message>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// How it becomes a prompt.
    pub rendering: Rendering,
}

impl Chat {
    /// Refuses what is too much to be only looked at. Gives its bytes.
    ///
    /// # Errors
    /// 400 or 413 with the field and the limit.
    pub fn check(&self) -> Result<usize, ApiError> {
        Weight::of(&self.messages, &self.tools, &self.rendering.variables).check_looked_at()
    }

    fn read(
        messages: Vec<ChatMessage>,
        given: Option<Vec<ToolGiven>>,
        continues: Option<bool>,
        opens: Option<bool>,
        variables: Option<Free>,
    ) -> Result<Self, ApiError> {
        let messages = read_messages(messages)?;
        let tools = tools(given.unwrap_or_default())?;
        let variables = variables.unwrap_or_default();
        let rendering = rendering(messages.last(), continues, opens, variables, None)?;
        Ok(Self { messages, tools, rendering })
    }
}

impl TokenizeRequest {
    /// What is to be cut.
    ///
    /// # Errors
    /// 400 for nothing, or two things.
    pub fn cut(self) -> Result<Cut, ApiError> {
        let framed = self.add_special_tokens.or(self.add_special);
        let special = self.parse_special.unwrap_or(true);
        match (self.content, self.prompt, self.messages) {
            (Some(text), None, None) => Ok(Cut::Text { text, special, framed: framed.unwrap_or(false) }),
            (None, Some(text), None) => Ok(Cut::Text { text, special, framed: framed.unwrap_or(true) }),
            (None, None, Some(messages)) => Ok(Cut::Chat(Chat::read(
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

/// Token ids, with their texts where asked for.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenizeResponse {
    /// The tokens.
    pub tokens: Vec<TokenTold>,
    /// How many they are.
    pub count: usize,
    /// Tokens that a prompt and its answer may have together.
    pub max_model_len: usize,
    /// Their texts, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_strs: Option<Vec<String>>,
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
    /// The same under vLLM's name.
    pub prompt: String,
}

/// A conversation to be made a prompt.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TemplateRequest {
    /// A model's id. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The conversation.
    #[schema(value_type = Vec<MessageShape>)]
    pub messages: Vec<ChatMessage>,
    /// What the model may call.
    pub tools: Option<Vec<ToolGiven>>,
    /// `false` opens no turn for the answer.
    pub add_generation_prompt: Option<bool>,
    /// The last message stays open.
    pub continue_final_message: Option<bool>,
    /// Variables for the chat template.
    #[schema(value_type = Option<Object>)]
    pub chat_template_kwargs: Option<Free>,
    /// Texts for templates that show documents.
    #[schema(value_type = Option<Vec<Object>>)]
    pub documents: Option<Value>,
}

impl TemplateRequest {
    /// The conversation.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn chat(self) -> Result<Chat, ApiError> {
        let mut variables = self.chat_template_kwargs.unwrap_or_default();
        variables.extend(self.documents.map(|documents| ("documents".to_owned(), documents)));
        Chat::read(
            self.messages,
            self.tools,
            self.continue_final_message,
            self.add_generation_prompt,
            Some(variables),
        )
    }
}

/// How long a conversation's prompt is.
#[derive(Debug, Serialize, ToSchema)]
pub struct InputTokens {
    /// Tokens of the prompt, with what opens the turn of the answer.
    pub input_tokens: usize,
}

/// The prompt, up to where the answer begins.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateResponse {
    /// The text.
    pub prompt: String,
}

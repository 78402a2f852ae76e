//! The response object: an answer and the settings that it was requested with.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Metadata;
use super::items::Item;
use super::settings::{FunctionTool, ResponseToolChoice, TextFormat};
use crate::error::{ApiError, INVALID_REQUEST, RATE_LIMIT};
use crate::usage::Usage;

/// An answer and the settings that it was requested with.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Response {
    /// Id of the response, `resp_…`.
    pub id: String,
    /// Object type, always `response`.
    pub object: &'static str,
    /// Creation time, in seconds since 1970.
    pub created_at: u64,
    /// When the answer was complete, in seconds since 1970; null if it isn't.
    pub completed_at: Option<u64>,
    /// Status of the answer.
    pub status: ResponseStatus,
    /// Always false: there are no background responses.
    pub background: bool,
    /// Why the answer failed, otherwise null.
    pub error: Option<ResponseError>,
    /// Why the answer is incomplete, otherwise null.
    pub incomplete_details: Option<IncompleteDetails>,
    /// Instructions placed before the conversation.
    pub instructions: Option<String>,
    /// Maximum number of tokens; null if only the context limits the answer.
    pub max_output_tokens: Option<u32>,
    /// As requested; has no effect.
    pub max_tool_calls: Option<u32>,
    /// Id of the model that answers.
    pub model: String,
    /// Items of the answer.
    pub output: Vec<Item>,
    /// Whether one answer may hold several tool calls.
    pub parallel_tool_calls: bool,
    /// Id of the response that this one continues.
    pub previous_response_id: Option<String>,
    /// Conversation that the answer is appended to; null if there is none or that failed.
    pub conversation: Option<ConversationRef>,
    /// As requested; has no effect.
    pub prompt_cache_key: Option<String>,
    /// Reasoning settings as requested; they have no effect.
    pub reasoning: ReasoningSettings,
    /// As requested; has no effect.
    pub safety_identifier: Option<String>,
    /// Service tier, always `default`.
    pub service_tier: &'static str,
    /// Whether the response is stored and can be retrieved by its id.
    pub store: bool,
    /// Sampling temperature as requested; 1 by default.
    pub temperature: f64,
    /// Format of the text.
    pub text: TextSettings,
    /// Whether the model may call a tool, must call one, or must not.
    pub tool_choice: ResponseToolChoice,
    /// Functions that the model may call.
    pub tools: Vec<FunctionTool>,
    /// Number of most likely alternatives returned with each token.
    pub top_logprobs: u32,
    /// Value of `top_p` as requested; 1 by default.
    pub top_p: f64,
    /// Always `disabled`: input that doesn't fit the context is refused.
    pub truncation: &'static str,
    /// Token counts; absent until the answer has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<ResponseUsage>,
    /// As requested; has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Metadata that the client attached.
    pub metadata: Metadata,
}

/// Status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// The answer is still being generated.
    InProgress,
    /// The answer is complete.
    Completed,
    /// The answer was cut off: see `incomplete_details`.
    Incomplete,
    /// The answer failed: see `error`.
    Failed,
}

/// Why an answer failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseError {
    /// `server_error`, `rate_limit_exceeded` or `invalid_prompt`.
    pub code: &'static str,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// Why an answer is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct IncompleteDetails {
    /// Always `max_output_tokens`, also at the end of the context or of a run's budget.
    pub reason: &'static str,
}

/// The id of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConversationRef {
    /// Id of the conversation, `conv_…`.
    pub id: String,
}

/// Reasoning settings, as requested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ReasoningSaid)]
pub struct ReasoningSettings {
    /// As requested; has no effect.
    pub effort: Option<String>,
    /// Always null: reasoning is not summarized.
    pub summary: Option<String>,
}

/// Settings of the answer's text.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = TextSaid)]
pub struct TextSettings {
    /// Format of the text.
    pub format: TextFormat,
    /// Always `medium`: there is no such setting.
    pub verbosity: &'static str,
}

/// Token counts of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseUsage {
    /// Number of prompt tokens.
    pub input_tokens: u64,
    /// Breakdown of the prompt tokens.
    pub input_tokens_details: InputTokensDetails,
    /// Number of generated tokens.
    pub output_tokens: u64,
    /// Breakdown of the generated tokens.
    pub output_tokens_details: OutputTokensDetails,
    /// Sum of input and output tokens.
    pub total_tokens: u64,
}

/// Breakdown of the prompt tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct InputTokensDetails {
    /// Prompt tokens taken from the prefix cache.
    pub cached_tokens: u64,
    /// Always 0: writing to the cache costs nothing.
    pub cache_write_tokens: u64,
}

/// Breakdown of the generated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutputTokensDetails {
    /// Approximate number of tokens spent on reasoning, for models whose template marks it.
    pub reasoning_tokens: u64,
}

impl From<Usage> for ResponseUsage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputTokensDetails {
                cached_tokens: usage.cached_tokens,
                cache_write_tokens: 0,
            },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputTokensDetails { reasoning_tokens: usage.reasoning_tokens },
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
        }
    }
}

impl From<&ApiError> for ResponseError {
    fn from(error: &ApiError) -> Self {
        let code = match error.kind {
            INVALID_REQUEST => "invalid_prompt",
            RATE_LIMIT => "rate_limit_exceeded",
            _ => "server_error",
        };
        Self { code, message: error.message.clone() }
    }
}

/// Confirms that an object was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deleted {
    /// Id of the deleted object.
    pub id: String,
    /// Object type: `response`, `conversation.deleted` or `run.deleted`.
    pub object: &'static str,
    /// Always true, since errors have another form.
    pub deleted: bool,
}

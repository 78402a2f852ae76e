//! The response object: an answer with everything that was asked for beside it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Metadata;
use super::items::Item;
use super::said::{FormatGiven, FunctionTool, ToolChoiceSaid};
use crate::server::answer::Spent;
use crate::server::error::{ApiError, INVALID_REQUEST, RATE_LIMIT};

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Response {
    /// `resp_…`.
    pub id: String,
    /// `response`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    /// When it was whole, seconds since 1970.
    pub completed_at: Option<u64>,
    /// Where it stands.
    pub status: ResponseStatus,
    /// Never: an answer is there, or streams.
    pub background: bool,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Why it is not whole.
    pub incomplete_details: Option<IncompleteDetails>,
    /// What stood before the conversation.
    pub instructions: Option<String>,
    /// Most tokens of the answer.
    pub max_output_tokens: Option<u32>,
    /// As it was asked for; without effect.
    pub max_tool_calls: Option<u32>,
    /// The model's id.
    pub model: String,
    /// What was answered.
    pub output: Vec<Item>,
    /// Whether several calls may come at once.
    pub parallel_tool_calls: bool,
    /// The answer that this one goes on from.
    pub previous_response_id: Option<String>,
    /// The conversation it belongs to.
    pub conversation: Option<ConversationRef>,
    /// As it was asked for; without effect.
    pub prompt_cache_key: Option<String>,
    /// How it was to think: models here have no such setting.
    pub reasoning: ReasoningSaid,
    /// As it was asked for; without effect.
    pub safety_identifier: Option<String>,
    /// `default`.
    pub service_tier: &'static str,
    /// Whether it is kept and can be asked for by its id.
    pub store: bool,
    /// How its tokens were drawn.
    pub temperature: f64,
    /// What the text must be.
    pub text: TextSaid,
    /// Whether tools may or must be called.
    pub tool_choice: ToolChoiceSaid,
    /// What the model may call.
    pub tools: Vec<FunctionTool>,
    /// Alternatives told with each token.
    pub top_logprobs: u32,
    /// How its tokens were drawn.
    pub top_p: f64,
    /// `disabled`: what doesn't fit is refused.
    pub truncation: &'static str,
    /// What it cost; not yet there while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<ResponseUsage>,
    /// As it was given; without effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The client's notes.
    pub metadata: Metadata,
}

/// Where an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseStatus {
    /// More comes.
    InProgress,
    /// Whole.
    Completed,
    /// Cut off: see `incomplete_details`.
    Incomplete,
    /// Broken: see `error`.
    Failed,
}

/// Why an answer failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseError {
    /// `server_error`, `rate_limit_exceeded` or `invalid_prompt`.
    pub code: &'static str,
    /// What, where and what now.
    pub message: String,
}

/// Why an answer is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct IncompleteDetails {
    /// `max_output_tokens`: that, or the end of the context, or a run's budget.
    pub reason: &'static str,
}

/// A conversation's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConversationRef {
    /// `conv_…`.
    pub id: String,
}

/// How it was to think.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasoningSaid {
    /// `none` where that was said.
    pub effort: Option<String>,
    /// Never.
    pub summary: Option<String>,
}

/// What the text must be.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TextSaid {
    /// Its format.
    pub format: FormatGiven,
    /// `medium`.
    pub verbosity: &'static str,
}

/// Tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResponseUsage {
    /// Of the prompt.
    pub input_tokens: u64,
    /// Where they came from.
    pub input_tokens_details: InputTokensDetails,
    /// Generated.
    pub output_tokens: u64,
    /// What they were for.
    pub output_tokens_details: OutputTokensDetails,
    /// Both.
    pub total_tokens: u64,
}

/// Where prompt tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct InputTokensDetails {
    /// Found in the cache.
    pub cached_tokens: u64,
    /// Always 0: nothing is paid for keeping them.
    pub cache_write_tokens: u64,
}

/// What generated tokens were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutputTokensDetails {
    /// Spent on reasoning: of a model whose template marks it, about so many.
    pub reasoning_tokens: u64,
}

impl From<Spent> for ResponseUsage {
    fn from(spent: Spent) -> Self {
        Self {
            input_tokens: spent.prompt_tokens,
            input_tokens_details: InputTokensDetails {
                cached_tokens: spent.cached_tokens,
                cache_write_tokens: 0,
            },
            output_tokens: spent.completion_tokens,
            output_tokens_details: OutputTokensDetails { reasoning_tokens: spent.reasoning_tokens },
            total_tokens: spent.prompt_tokens + spent.completion_tokens,
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

/// That something was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Of what was removed.
    pub id: String,
    /// `response` or `conversation.deleted`.
    pub object: &'static str,
    /// `true`.
    pub deleted: bool,
}

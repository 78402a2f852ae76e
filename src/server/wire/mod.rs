//! The JSON of requests and responses: what a body may contain, how it becomes a question for a model, and how answers
//! are written. Who answers is not known here.

pub(crate) mod about;
pub(crate) mod body;
pub(crate) mod chat;
pub(crate) mod chat_response;
pub(crate) mod common;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod fields;
pub(crate) mod format;
pub(crate) mod infill;
pub(crate) mod models;
pub(crate) mod refusals;
pub(crate) mod responses;
pub(crate) mod runs;
pub(crate) mod sampling;
pub(crate) mod tokens;
pub(crate) mod tools;

use serde::Serialize;
use utoipa::ToSchema;

use crate::usage::Usage;

/// Token counts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct CompletionUsage {
    /// Tokens in the prompt, counted once for all choices.
    pub prompt_tokens: u64,
    /// Generated tokens, all choices together.
    pub completion_tokens: u64,
    /// Sum of prompt and completion tokens.
    pub total_tokens: u64,
    /// Breakdown of the prompt tokens.
    pub prompt_tokens_details: PromptTokensDetails,
    /// Breakdown of the generated tokens.
    pub completion_tokens_details: CompletionTokensDetails,
}

/// Breakdown of the prompt tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct PromptTokensDetails {
    /// Prompt tokens taken from the prefix cache.
    pub cached_tokens: u64,
}

/// Breakdown of the generated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct CompletionTokensDetails {
    /// Approximate number of tokens spent on reasoning, for models whose template marks it.
    pub reasoning_tokens: u64,
}

impl From<Usage> for CompletionUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: usage.reasoning_tokens },
        }
    }
}

#[must_use]
pub(crate) fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// 64 unpredictable bits, from the random keys with which the standard library seeds its hashers.
#[must_use]
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u64(unix_seconds());
    hasher.finish()
}

/// A fresh id: `prefix` and 24 random hex digits.
#[must_use]
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}{:016x}{:08x}", random_u64(), random_u64() as u32)
}

//! The tokens and the time that answers took: one shape for answers, metrics, traces and rate limits. `wire` has the
//! JSON objects that are made of it.

use std::time::Duration;

use bandmaster_orchestrator::TokenUsage;

/// Tokens and time that answers took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: u64,
    /// Prompt tokens that came from the prefix cache.
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    /// Part of the completion spent on reasoning; approximate.
    pub reasoning_tokens: u64,
    /// From the request to the first token.
    pub prompt_time: Duration,
    /// From the first token to the end.
    pub answer_time: Duration,
}

impl Usage {
    /// Adds another answer to the same prompt. The prompt is not counted again; the longest times count.
    pub fn add_choice(&mut self, other: Self) {
        // Later answers find in the cache what the first computed, so the lowest count is the true one.
        let first = self.prompt_tokens == 0;
        self.cached_tokens =
            if first { other.cached_tokens } else { self.cached_tokens.min(other.cached_tokens) };
        self.prompt_tokens = self.prompt_tokens.max(other.prompt_tokens);
        self.completion_tokens += other.completion_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
        self.prompt_time = self.prompt_time.max(other.prompt_time);
        self.answer_time = self.answer_time.max(other.answer_time);
    }

    /// This usage and the tokens of `earlier` calls that led to it.
    #[must_use]
    pub fn with_tokens_of(self, earlier: Self) -> Self {
        Self {
            prompt_tokens: earlier.prompt_tokens + self.prompt_tokens,
            cached_tokens: earlier.cached_tokens + self.cached_tokens,
            completion_tokens: earlier.completion_tokens + self.completion_tokens,
            ..self
        }
    }

    /// Tokens that were computed, which are those that an API key is charged for.
    #[must_use]
    pub fn computed_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_sub(self.cached_tokens) + self.completion_tokens
    }
}

impl From<TokenUsage> for Usage {
    fn from(tokens: TokenUsage) -> Self {
        Self {
            prompt_tokens: tokens.prompt_tokens,
            cached_tokens: tokens.prompt_tokens_details.cached_tokens,
            completion_tokens: tokens.completion_tokens,
            ..Self::default()
        }
    }
}

//! What chat completions and completions share: number and length of answers, streaming, and what is returned with
//! them.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::fields::object;
use super::sampling::{SamplingFields, TokenLimit, token_limit};
use crate::answer::SamplingParams;
use crate::error::ApiError;
use crate::usage::Usage;

/// Largest `n`, the number of answers to one question.
const CHOICES_MAX: u32 = 128;
/// Most alternatives to return with the log-probability of a token.
pub(crate) const TOP_LOGPROBS_MAX: u32 = 20;

/// Fields shared by chat completions and completions.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = Common)]
pub struct CommonFields {
    /// Model id, or `bandmaster` for the whole band. If omitted, the server uses the first one it was started with, or
    /// the only one installed.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// Stream the answer as server-sent events.
    pub stream: Option<bool>,
    /// Options for a streamed answer.
    #[serde(default, deserialize_with = "object")]
    pub stream_options: Option<StreamOptions>,
    /// Number of answers to generate; 1 by default.
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<u32>,
    /// At most `n`, because every generated answer is returned.
    #[schema(minimum = 1, maximum = 128)]
    pub best_of: Option<u32>,
    /// Maximum number of tokens to generate; -1 means as many as fit the context (default in chats; 16 in completions).
    #[schema(minimum = -1)]
    pub max_tokens: Option<i64>,
    /// llama.cpp's name for `max_tokens`, used if that is absent.
    #[schema(minimum = -1)]
    pub n_predict: Option<i64>,
    /// llama.cpp's field for log-probabilities with this many alternatives.
    #[schema(minimum = 0, maximum = 20)]
    pub n_probs: Option<u32>,
    /// Return the token ids of prompt and answer.
    pub return_token_ids: Option<bool>,
    /// In log-probabilities, write tokens as `token_id:ID`.
    pub return_tokens_as_token_ids: Option<bool>,
    /// Return `timings`, the durations and rates of prompt and answer.
    pub timings_per_token: Option<bool>,
    /// Id of the end user. Accepted for compatibility; has no effect.
    pub user: Option<String>,
}

/// Options for a streamed answer.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Whether a last chunk holds the token counts.
    #[serde(default)]
    pub include_usage: Option<bool>,
    /// Accepted for compatibility; has no effect.
    #[serde(default)]
    pub include_obfuscation: Option<bool>,
}

/// What is returned beside the answers' text.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputOptions {
    pub scores: bool,
    pub token_ids: bool,
    /// Write tokens in log-probabilities as `token_id:ID`.
    pub tokens_as_ids: bool,
    pub timings: bool,
    /// Whether a stream ends with a chunk of token counts.
    pub usage: bool,
}

impl CommonFields {
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.stream == Some(true)
    }

    /// Number of answers to generate.
    ///
    /// # Errors
    /// 400 for too many, and where more would be generated than returned.
    pub fn choices(&self) -> Result<u32, ApiError> {
        let choices = self.n.unwrap_or(1);
        if !(1..=CHOICES_MAX).contains(&choices) {
            return Err(ApiError::invalid(
                "n",
                format!("n is {choices}: it must be between 1 and {CHOICES_MAX}"),
            ));
        }
        if self.best_of.is_some_and(|best| best > choices) {
            return Err(ApiError::unsupported(
                "best_of",
                "best_of is larger than n, which is not supported: every answer that is generated is returned",
            ));
        }
        Ok(choices)
    }

    /// Maximum number of tokens, and the name of the field that sets it. `newer` is `max_completion_tokens`.
    ///
    /// # Errors
    /// 400 for a number below -1.
    pub fn token_limit(&self, newer: Option<i64>) -> Result<(TokenLimit, &'static str), ApiError> {
        token_limit(&[
            ("max_completion_tokens", newer),
            ("max_tokens", self.max_tokens),
            ("n_predict", self.n_predict),
        ])
    }

    /// How tokens are sampled and reported. `logprobs` is the number of alternatives by the route's own fields.
    ///
    /// # Errors
    /// 400 with the field.
    pub fn params(
        &self,
        sampling: SamplingFields,
        tokens_max: Option<u32>,
        logprobs: Option<u32>,
    ) -> Result<SamplingParams, ApiError> {
        let probs = self.n_probs.filter(|&probs| probs > 0);
        if let Some(probs) = probs.filter(|&probs| probs > TOP_LOGPROBS_MAX) {
            let message = format!("n_probs is {probs}: it must be between 0 and {TOP_LOGPROBS_MAX}");
            return Err(ApiError::invalid("n_probs", message));
        }
        let params = sampling.params(tokens_max, logprobs.max(probs))?;
        Ok(SamplingParams { token_ids: self.return_token_ids == Some(true), ..params })
    }

    /// What to return beside answers sampled with `params`.
    #[must_use]
    pub fn options(&self, params: &SamplingParams) -> OutputOptions {
        let wants_usage = self.stream_options.is_some_and(|options| options.include_usage == Some(true));
        OutputOptions {
            scores: params.top_logprobs.is_some(),
            token_ids: params.token_ids,
            tokens_as_ids: self.return_tokens_as_token_ids == Some(true),
            timings: self.timings_per_token == Some(true),
            usage: self.is_streamed() && wants_usage,
        }
    }
}

/// Reads a number of alternatives; `true` counts as 1, `false` as none.
///
/// # Errors
/// If the value has another type.
pub(crate) fn count_or_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number from 0 to 20")]
    enum CountOrFlag {
        Count(u32),
        Flag(bool),
    }
    Ok(match Option::<CountOrFlag>::deserialize(deserializer)? {
        Some(CountOrFlag::Count(count)) => Some(count),
        Some(CountOrFlag::Flag(true)) => Some(1),
        Some(CountOrFlag::Flag(false)) | None => None,
    })
}

/// Durations and rates of prompt and answer, in llama-server's shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct Timings {
    /// Prompt tokens taken from the prefix cache.
    pub cache_n: u64,
    /// Prompt tokens that were computed.
    pub prompt_n: u64,
    /// Time to first token in milliseconds, waiting included.
    pub prompt_ms: f64,
    /// Milliseconds per computed prompt token.
    pub prompt_per_token_ms: f64,
    /// Computed prompt tokens per second.
    pub prompt_per_second: f64,
    /// Number of generated tokens.
    pub predicted_n: u64,
    /// Milliseconds from the first token to the last.
    pub predicted_ms: f64,
    /// Milliseconds per generated token.
    pub predicted_per_token_ms: f64,
    /// Generated tokens per second.
    pub predicted_per_second: f64,
}

impl From<Usage> for Timings {
    fn from(usage: Usage) -> Self {
        let per = |ms: f64, tokens: u64| if tokens == 0 { 0.0 } else { ms / tokens as f64 };
        let rate = |ms: f64, tokens: u64| if ms > 0.0 { tokens as f64 * 1e3 / ms } else { 0.0 };
        let prompt_n = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
        let prompt_ms = usage.prompt_time.as_secs_f64() * 1e3;
        let (predicted_n, predicted_ms) = (usage.completion_tokens, usage.answer_time.as_secs_f64() * 1e3);
        Self {
            cache_n: usage.cached_tokens,
            prompt_n,
            prompt_ms,
            prompt_per_token_ms: per(prompt_ms, prompt_n),
            prompt_per_second: rate(prompt_ms, prompt_n),
            predicted_n,
            predicted_ms,
            predicted_per_token_ms: per(predicted_ms, predicted_n),
            predicted_per_second: rate(predicted_ms, predicted_n),
        }
    }
}

//! What chat completions and completions are both asked for: how many answers, how long, how they are sent, and what is told with
//! them.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::fields::object;
use super::sampling::{Given, Most, most_tokens};
use crate::server::answer::{Draws, Spent};
use crate::server::error::ApiError;

/// Answers to one question.
const CHOICES_MAX: u32 = 128;
const TOP_LOGPROBS_MAX: u32 = 20;

/// The fields of both.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Common {
    /// A model's id, or `bandmaster` for the whole band. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// Send the answer as server-sent events.
    pub stream: Option<bool>,
    /// Of a stream.
    #[serde(default, deserialize_with = "object")]
    pub stream_options: Option<StreamOptions>,
    /// Number of answers to the same question.
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<u32>,
    /// At most `n`: every answer that is generated is returned.
    #[schema(minimum = 1, maximum = 128)]
    pub best_of: Option<u32>,
    /// Most tokens of an answer; -1 for as many as the context has room for.
    #[schema(minimum = -1)]
    pub max_tokens: Option<i64>,
    /// The same under llama.cpp's name.
    #[schema(minimum = -1)]
    pub n_predict: Option<i64>,
    /// Log-probabilities with this many alternatives, under llama.cpp's name.
    #[schema(minimum = 0, maximum = 20)]
    pub n_probs: Option<u32>,
    /// Return the ids of the prompt's and the answer's tokens.
    pub return_token_ids: Option<bool>,
    /// Write tokens of log-probabilities as `token_id:ID`.
    pub return_tokens_as_token_ids: Option<bool>,
    /// Return `timings`: how long prompt and answer took.
    pub timings_per_token: Option<bool>,
    /// Without effect: whose question it is.
    pub user: Option<String>,
}

/// Of a stream.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Whether a last chunk tells the tokens.
    #[serde(default)]
    pub include_usage: Option<bool>,
    /// Without effect.
    #[serde(default)]
    pub include_obfuscation: Option<bool>,
}

/// What is told with the answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Telling {
    /// Log-probabilities.
    pub scores: bool,
    /// Ids of tokens.
    pub token_ids: bool,
    /// Tokens of log-probabilities as `token_id:ID`.
    pub tokens_as_ids: bool,
    /// Times.
    pub timings: bool,
    /// A stream's last chunk with the tokens.
    pub usage: bool,
}

impl Common {
    /// Whether the answer streams, and whether its last chunk tells the tokens.
    #[must_use]
    pub fn streams(&self) -> Option<bool> {
        let usage = self.stream_options.is_some_and(|options| options.include_usage == Some(true));
        (self.stream == Some(true)).then_some(usage)
    }

    /// Answers to the question.
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

    /// The most tokens, with the name of the field that says so; `newer` is the field that goes before others.
    ///
    /// # Errors
    /// 400 for a number below -1.
    pub fn most_tokens(&self, newer: Option<i64>) -> Result<(Most, &'static str), ApiError> {
        most_tokens(&[
            ("max_completion_tokens", newer),
            ("max_tokens", self.max_tokens),
            ("n_predict", self.n_predict),
        ])
    }

    /// How tokens are sampled, and what is told of them. `logprobs` are the alternatives asked for under the route's own names.
    ///
    /// # Errors
    /// 400 with the field.
    pub fn draws(
        &self,
        sampling: Given,
        max_tokens: Option<u32>,
        logprobs: Option<u32>,
    ) -> Result<Draws, ApiError> {
        let probs = self.n_probs.filter(|&probs| probs > 0);
        if let Some(probs) = probs.filter(|&probs| probs > TOP_LOGPROBS_MAX) {
            let message = format!("n_probs is {probs}: it must be between 0 and {TOP_LOGPROBS_MAX}");
            return Err(ApiError::invalid("n_probs", message));
        }
        let draws = sampling.draws(max_tokens, logprobs.max(probs))?;
        Ok(Draws { token_ids: self.return_token_ids == Some(true), ..draws })
    }

    /// What is told with the answers that `draws` gives.
    #[must_use]
    pub fn telling(&self, draws: &Draws) -> Telling {
        Telling {
            scores: draws.top_logprobs.is_some(),
            token_ids: draws.token_ids,
            tokens_as_ids: self.return_tokens_as_token_ids == Some(true),
            timings: self.timings_per_token == Some(true),
            usage: self.streams() == Some(true),
        }
    }
}

/// Alternatives that are asked for as a number; `true` and `false` are taken for one and none.
///
/// # Errors
/// Of another type.
pub fn count_or_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number from 0 to 20")]
    enum Given {
        Count(u32),
        Flag(bool),
    }
    Ok(match Option::<Given>::deserialize(deserializer)? {
        Some(Given::Count(count)) => Some(count),
        Some(Given::Flag(true)) => Some(1),
        Some(Given::Flag(false)) | None => None,
    })
}

/// How long prompt and answer took, in llama-server's shape.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Timings {
    /// Prompt tokens found in the cache.
    pub cache_n: u64,
    /// Prompt tokens computed.
    pub prompt_n: u64,
    /// Milliseconds to the first token, waiting included.
    pub prompt_ms: f64,
    /// The same for each token.
    pub prompt_per_token_ms: f64,
    /// Tokens a second.
    pub prompt_per_second: f64,
    /// Tokens generated.
    pub predicted_n: u64,
    /// Milliseconds from the first token to the last.
    pub predicted_ms: f64,
    /// The same for each token.
    pub predicted_per_token_ms: f64,
    /// Tokens a second.
    pub predicted_per_second: f64,
}

impl From<Spent> for Timings {
    fn from(spent: Spent) -> Self {
        let per = |ms: f64, tokens: u64| if tokens == 0 { 0.0 } else { ms / tokens as f64 };
        let rate = |ms: f64, tokens: u64| if ms > 0.0 { tokens as f64 * 1e3 / ms } else { 0.0 };
        let prompt_n = spent.prompt_tokens.saturating_sub(spent.cached_tokens);
        let prompt_ms = spent.prompt_time.as_secs_f64() * 1e3;
        let (predicted_n, predicted_ms) = (spent.completion_tokens, spent.answer_time.as_secs_f64() * 1e3);
        Self {
            cache_n: spent.cached_tokens,
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

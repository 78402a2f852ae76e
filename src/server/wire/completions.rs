//! `/v1/completions`: a prompt as it is, `echo` and log-probabilities included, so that evaluation harnesses work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Usage;
use super::chat::{StreamOptions, object};
use super::sampling::{Given, Stop, stops};
use crate::server::answer::{Draws, Finish};
use crate::server::error::ApiError;
use crate::text::{LoadedModel, Prompt, Score};

/// OpenAI's default.
const MAX_TOKENS_DEFAULT: u32 = 16;
const LOGPROBS_MAX: u32 = 20;
const PROMPTS_MAX: usize = 2048;
const CHOICES_MAX: u32 = 128;

/// A request for a completion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// A model's id. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// One prompt or several, each a text or token ids.
    #[schema(required = true, value_type = PromptGiven)]
    pub prompt: Option<PromptGiven>,
    /// Most tokens of a completion; 0 with `echo` only scores the prompt.
    pub max_tokens: Option<u32>,
    /// Least tokens of a completion.
    pub min_tokens: Option<u32>,
    /// Whether the completion goes on to its most tokens.
    pub ignore_eos: Option<bool>,
    /// Completions of each prompt.
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<u32>,
    /// So many are drawn and the `n` best told: only `n` itself.
    #[schema(minimum = 1, maximum = 128)]
    pub best_of: Option<u32>,
    /// Whether the prompt is told again.
    pub echo: Option<bool>,
    /// So many alternatives with each token's log-probability.
    #[schema(minimum = 0, maximum = 20)]
    pub logprobs: Option<u32>,
    /// Whether it comes as server-sent events.
    pub stream: Option<bool>,
    /// Of a stream.
    #[serde(default, deserialize_with = "object")]
    pub stream_options: Option<StreamOptions>,
    /// Strings before which it ends.
    pub stop: Option<Stop>,
    /// 0 takes the most likely token.
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f32>,
    /// Keeps the most likely tokens that together have this probability.
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f32>,
    /// Keeps so many tokens.
    #[schema(minimum = -1, maximum = 1_000_000)]
    pub top_k: Option<i64>,
    /// Drops tokens less likely than this share of the most likely.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f32>,
    /// Makes tokens seen less likely; 1 is off.
    #[schema(minimum = 0.01, maximum = 100)]
    pub repetition_penalty: Option<f32>,
    /// Subtracted from tokens generated before.
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f32>,
    /// Subtracted from them as often as they were.
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f32>,
    /// Token id to what is added to its logit.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// The same seed and request give the same answer.
    pub seed: Option<i64>,
    /// Without effect: whose question it is.
    pub user: Option<String>,
    #[schema(ignore)]
    suffix: Option<Value>,
}

/// One prompt or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text, token ids, or a list of either")]
pub enum PromptGiven {
    /// A text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Texts.
    Texts(Vec<String>),
    /// Several prompts of token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// What is asked.
#[derive(Debug)]
pub struct CompletionQuestion {
    /// The prompts.
    pub prompts: PromptGiven,
    /// How each is completed.
    pub draws: Draws,
    /// Completions of each.
    pub choices: u32,
    /// Whether the prompt is told again.
    pub echo: bool,
}

impl CompletionRequest {
    /// Whether it streams, and whether the last chunk tells the tokens.
    #[must_use]
    pub fn streams(&self) -> Option<bool> {
        let usage = self.stream_options.is_some_and(|options| options.include_usage == Some(true));
        (self.stream == Some(true)).then_some(usage)
    }

    /// What is asked.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn question(self) -> Result<CompletionQuestion, ApiError> {
        if self.suffix.is_some_and(|suffix| suffix.as_str() != Some("")) {
            return Err(ApiError::unsupported(
                "suffix",
                "suffix is not supported: the prompt is continued, not filled in",
            ));
        }
        let choices = self.n.unwrap_or(1);
        if !(1..=CHOICES_MAX).contains(&choices) {
            return Err(ApiError::invalid(
                "n",
                format!("n is {choices}: it must be between 1 and {CHOICES_MAX}"),
            ));
        }
        if self.best_of.is_some_and(|best| best != choices) {
            return Err(ApiError::unsupported(
                "best_of",
                "best_of is not supported beyond n: nothing is thrown away here",
            ));
        }
        if self.logprobs.is_some_and(|top| top > LOGPROBS_MAX) {
            return Err(ApiError::invalid(
                "logprobs",
                format!("logprobs must be between 0 and {LOGPROBS_MAX}"),
            ));
        }
        let echo = self.echo.unwrap_or(false);
        let max_tokens = self.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT);
        if max_tokens == 0 && !echo {
            return Err(ApiError::invalid(
                "max_tokens",
                "max_tokens is 0: that asks for nothing unless echo is true",
            ));
        }
        let sampling = Given {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias,
            seed: self.seed,
        };
        Ok(CompletionQuestion {
            prompts: self.prompt.ok_or_else(|| ApiError::invalid("prompt", "prompt is missing"))?,
            draws: Draws {
                sampling: sampling.sampling()?,
                max_tokens: Some(max_tokens),
                min_tokens: self.min_tokens.unwrap_or(0),
                ignore_eos: self.ignore_eos.unwrap_or(false),
                stop: stops(self.stop)?,
                top_logprobs: self.logprobs,
            },
            choices,
            echo,
        })
    }
}

impl PromptGiven {
    /// Bytes of all texts; of tokens, as many as they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
            Self::Tokens(ids) => size_of_val(ids.as_slice()),
            Self::TokenLists(lists) => lists.iter().map(|ids| size_of_val(ids.as_slice())).sum(),
        }
    }

    /// Bytes of the longest text.
    #[must_use]
    pub fn longest_text(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(String::len).max().unwrap_or(0),
            Self::Tokens(_) | Self::TokenLists(_) => 0,
        }
    }

    /// The prompts as a model reads them.
    ///
    /// # Errors
    /// 400 for none, too many, or tokens that the model doesn't have.
    pub fn prompts(self, model: &LoadedModel) -> Result<Vec<Prompt>, ApiError> {
        let of_tokens = |ids: Vec<u32>| {
            if let Some(unknown) = ids.iter().find(|&&id| id as usize >= model.vocab()) {
                let message =
                    format!("prompt: token {unknown} is not one of {}'s {}", model.name(), model.vocab());
                return Err(ApiError::invalid("prompt", message));
            }
            Ok(Prompt { text: model.tokenizer().decode(&ids), ids })
        };
        let prompts = match self {
            Self::Text(text) => vec![model.text_prompt(text)],
            Self::Texts(texts) => texts.into_iter().map(|text| model.text_prompt(text)).collect(),
            Self::Tokens(ids) => vec![of_tokens(ids)?],
            Self::TokenLists(lists) => lists.into_iter().map(of_tokens).collect::<Result<Vec<_>, _>>()?,
        };
        if prompts.is_empty() || prompts.len() > PROMPTS_MAX {
            let message = format!("{} prompts: give 1 to {PROMPTS_MAX}", prompts.len());
            return Err(ApiError::invalid("prompt", message));
        }
        if prompts.iter().any(|prompt| prompt.ids.is_empty()) {
            return Err(ApiError::invalid(
                "prompt",
                "the prompt is empty: the model needs something to go on from",
            ));
        }
        Ok(prompts)
    }
}

/// A completion, or a chunk of a stream of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompletionResponse {
    /// `cmpl-…`.
    pub id: String,
    /// `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's id.
    pub model: String,
    /// The program and its version.
    pub system_fingerprint: &'static str,
    /// The completions.
    pub choices: Vec<CompletionChoice>,
    /// What it cost; in a stream where asked for: in the last chunk, null before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    pub usage: Option<Option<Usage>>,
}

/// One completion.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompletionChoice {
    /// Its number: prompts in order, the completions of each together.
    pub index: u32,
    /// The text.
    pub text: String,
    /// Scores of its tokens.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why it ended; nothing in a chunk before the last.
    pub finish_reason: Option<Finish>,
}

/// Scores of tokens, a list each of the same length.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// Their log-probabilities; none for the first of an echoed prompt.
    pub token_logprobs: Vec<Option<f32>>,
    /// The most likely tokens in their place.
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where each begins, in characters from the beginning of the text.
    pub text_offset: Vec<usize>,
}

impl CompletionLogprobs {
    /// Of tokens whose text begins at character `offset`; moves it on behind them.
    #[must_use]
    pub fn of(model: &LoadedModel, scores: &[Score], offset: &mut usize) -> Self {
        let mut all = Self::default();
        let text = |id: u32| String::from_utf8_lossy(model.tokenizer().decode_bytes(id)).into_owned();
        for score in scores {
            let token = text(score.id);
            all.text_offset.push(*offset);
            *offset += token.chars().count();
            all.tokens.push(token);
            all.token_logprobs.push(score.logprob);
            let top = score.top.iter().map(|&(id, logprob)| (text(id), logprob));
            all.top_logprobs.push(score.logprob.map(|_| top.collect()));
        }
        all
    }
}

//! `/v1/completions`: continues a raw prompt. Has `echo` with log-probabilities, so that evaluation harnesses work.

use std::collections::BTreeMap;

use bandmaster_text::{Cancellation, FillIn, LoadedModel, Prompt, Score, SessionError, TokenOffsets};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CompletionUsage;
use super::common::{CommonFields, OutputOptions, TOP_LOGPROBS_MAX, Timings, count_or_flag};
use super::fields::{Body, Fields};
use super::format::FormatFields;
use super::sampling::{SamplingFields, TokenLimit};
use crate::answer::{Finish, Format, SamplingParams};
use crate::error::ApiError;

/// Default of `max_tokens`, the same as OpenAI's.
const MAX_TOKENS_DEFAULT: u32 = 16;
const PROMPTS_MAX: usize = 2048;

/// A request for a completion.
#[derive(Debug, ToSchema)]
pub struct CompletionRequest {
    /// Fields shared with chat completions.
    #[serde(flatten)]
    pub common: CommonFields,
    /// Sampling parameters and stop conditions.
    #[serde(flatten)]
    pub sampling: SamplingFields,
    /// Format that the completion must have.
    #[serde(flatten)]
    pub format: FormatFields,
    /// Fields that only completions have.
    #[serde(flatten)]
    pub own: CompletionFields,
}

impl Body for CompletionRequest {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let (common, sampling, format) = (fields.part()?, fields.part()?, fields.part()?);
        Ok(Self { common, sampling, format, own: fields.rest()? })
    }
}

/// Fields that only completions have.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CompletionAsked)]
pub struct CompletionFields {
    /// One prompt or several, each a text or token ids.
    #[schema(required = true, value_type = PromptInput)]
    pub prompt: Option<PromptInput>,
    /// Text that follows the completion. Needs a model with fill-in-the-middle tokens.
    pub suffix: Option<String>,
    /// Return the prompt in front of the completion.
    pub echo: Option<bool>,
    /// Return log-probabilities with this many alternatives per token.
    #[serde(default, deserialize_with = "count_or_flag")]
    #[schema(minimum = 0, maximum = 20, value_type = Option<u32>)]
    pub logprobs: Option<u32>,
    /// Whether the tokens that open and close the model's sequences are added to a text prompt; true by default.
    pub add_special_tokens: Option<bool>,
}

/// One prompt or several, as text or token ids.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PromptGiven)]
#[serde(untagged, expecting = "expected a text, token ids, or a list of either")]
pub enum PromptInput {
    /// One prompt as text.
    Text(String),
    /// One prompt as token ids.
    Tokens(Vec<u32>),
    /// Several prompts as text.
    Texts(Vec<String>),
    /// Several prompts as token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// A request after its checks.
#[derive(Debug)]
pub struct CompletionQuestion {
    pub prompts: PromptInput,
    pub suffix: Option<String>,
    /// Whether tokens that open and close a sequence are added to text prompts.
    pub add_special: bool,
    pub params: SamplingParams,
    pub format: Format,
    /// The field that sets `format`, for errors.
    pub format_field: &'static str,
    /// Number of completions per prompt.
    pub choices: u32,
    pub echo: bool,
    pub options: OutputOptions,
}

impl CompletionRequest {
    /// Checks the request and fills in defaults.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn question(self) -> Result<CompletionQuestion, ApiError> {
        let Self { common, sampling, format, own } = self;
        let choices = common.choices()?;
        if own.logprobs.is_some_and(|top| top > TOP_LOGPROBS_MAX) {
            return Err(ApiError::invalid(
                "logprobs",
                format!("logprobs must be between 0 and {TOP_LOGPROBS_MAX}"),
            ));
        }
        let tokens_max = match common.token_limit(None)?.0 {
            TokenLimit::Unset => Some(MAX_TOKENS_DEFAULT),
            TokenLimit::Unlimited => None,
            TokenLimit::Tokens(tokens) => Some(tokens),
        };
        let params = common.params(sampling, tokens_max, own.logprobs)?;
        let suffix = own.suffix.filter(|suffix| !suffix.is_empty());
        let echo = own.echo.unwrap_or(false);
        if suffix.is_some() && echo {
            return Err(ApiError::unsupported(
                "echo",
                "echo can't be used together with suffix: the prompt is not one text",
            ));
        }
        let (format, format_field) = format.read()?;
        Ok(CompletionQuestion {
            prompts: own.prompt.ok_or_else(|| ApiError::invalid("prompt", "prompt is missing"))?,
            suffix,
            add_special: own.add_special_tokens.unwrap_or(true),
            options: common.options(&params),
            params,
            format,
            format_field,
            choices,
            echo,
        })
    }
}

/// The error for a model without fill-in-the-middle tokens; `field` is the one that needs them.
#[must_use]
pub(crate) fn no_fill_in_tokens(field: &str, model: &LoadedModel) -> ApiError {
    let message =
        format!("{field} is not supported by {}: its vocabulary has no fill-in marks", model.name());
    ApiError::unsupported(field, message)
}

impl PromptInput {
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Text(_) | Self::Tokens(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::TokenLists(lists) => lists.len(),
        }
    }

    /// Bytes of all prompts; token ids count with their size in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
            Self::Tokens(ids) => size_of_val(ids.as_slice()),
            Self::TokenLists(lists) => lists.iter().map(|ids| size_of_val(ids.as_slice())).sum(),
        }
    }

    /// Bytes of the longest text prompt.
    #[must_use]
    pub fn longest_text(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(String::len).max().unwrap_or(0),
            Self::Tokens(_) | Self::TokenLists(_) => 0,
        }
    }
}

impl CompletionQuestion {
    /// Bytes of all prompts, with the suffix for each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let suffix = self.suffix.as_ref().map_or(0, String::len);
        self.prompts.bytes().saturating_add(suffix.saturating_mul(self.prompts.count()))
    }

    /// Bytes of the longest text that becomes one prompt, suffix included.
    #[must_use]
    pub fn longest_text(&self) -> usize {
        self.prompts.longest_text() + self.suffix.as_ref().map_or(0, String::len)
    }

    /// Encodes the prompts for the model.
    ///
    /// # Errors
    /// 400 for no prompt, an empty one, too many, unknown tokens, and a suffix if the model can't fill in.
    pub fn prompts(&self, model: &LoadedModel, cancellation: &Cancellation) -> Result<Vec<Prompt>, ApiError> {
        let count = self.prompts.count();
        if !(1..=PROMPTS_MAX).contains(&count) {
            let message = format!("{count} prompts: give 1 to {PROMPTS_MAX}");
            return Err(ApiError::invalid("prompt", message));
        }
        let refused = |error: SessionError| ApiError::of_session(&error, "prompt", self.format_field);
        let of_text = |text: &String| match &self.suffix {
            Some(suffix) => {
                let fill = FillIn { prefix: text.clone(), suffix: suffix.clone(), ..FillIn::default() };
                let prompt = model.fill_prompt(&fill, cancellation).map_err(refused)?;
                prompt.ok_or_else(|| no_fill_in_tokens("suffix", model))
            }
            None if self.add_special => model.text_prompt(text.clone(), cancellation).map_err(refused),
            None => {
                let ids = model.tokenizer().encode_cancellable(text, true, cancellation);
                Ok(Prompt { ids: ids.ok_or_else(ApiError::client_left)?, text: text.clone() })
            }
        };
        let of_tokens = |ids: &Vec<u32>| {
            if self.suffix.is_some() {
                return Err(ApiError::invalid("prompt", "prompt must be a text if suffix is given"));
            }
            if let Some(unknown) = ids.iter().find(|&&id| id as usize >= model.vocab()) {
                let message = format!(
                    "prompt: token {unknown} is not in the vocabulary of {} ({} tokens)",
                    model.name(),
                    model.vocab()
                );
                return Err(ApiError::invalid("prompt", message));
            }
            Ok(Prompt { text: model.tokenizer().decode(ids), ids: ids.clone() })
        };
        let prompts = match &self.prompts {
            PromptInput::Text(text) => vec![of_text(text)?],
            PromptInput::Texts(texts) => texts.iter().map(of_text).collect::<Result<Vec<_>, _>>()?,
            PromptInput::Tokens(ids) => vec![of_tokens(ids)?],
            PromptInput::TokenLists(lists) => lists.iter().map(of_tokens).collect::<Result<Vec<_>, _>>()?,
        };
        if prompts.iter().any(|prompt| prompt.ids.is_empty()) {
            return Err(ApiError::invalid(
                "prompt",
                "the prompt is empty: the model needs at least one token",
            ));
        }
        Ok(prompts)
    }
}

/// Completions, or a chunk of a stream of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionResponse {
    /// Id of the request's completions, `cmpl-…`.
    pub id: String,
    /// Object type, always `text_completion`.
    pub object: &'static str,
    /// Creation time, in seconds since 1970.
    pub created: u64,
    /// Id of the model that answered.
    pub model: String,
    /// Name and version of the program.
    pub system_fingerprint: &'static str,
    /// The completions; in a chunk, their new pieces.
    pub choices: Vec<CompletionChoice>,
    /// Token counts. In a stream only with `stream_options.include_usage`: in the last chunk, null before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CompletionUsage>)]
    pub usage: Option<Option<CompletionUsage>>,
    /// Durations and rates, only with `timings_per_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// A completion of a prompt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CompletionChoice {
    /// Number of the completion, from 0. Those of one prompt follow each other.
    pub index: u32,
    /// Text of the completion, after the prompt with `echo`.
    pub text: String,
    /// Log-probabilities of its tokens, if requested.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why the completion ended; null in a chunk before its last.
    pub finish_reason: Option<Finish>,
    /// Token ids of the prompt, only with `return_token_ids`; in a stream, in the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
    /// Token ids of the completion, only with `return_token_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// Log-probabilities of tokens, as lists of the same length.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct CompletionLogprobs {
    /// Texts of the tokens, or `token_id:ID` if requested.
    pub tokens: Vec<String>,
    /// Log-probabilities of the tokens; null for the first of an echoed prompt.
    pub token_logprobs: Vec<Option<f32>>,
    /// Most likely tokens at each position.
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where each token begins, in characters from the start of the text.
    pub text_offset: Vec<usize>,
}

impl CompletionLogprobs {
    /// Log-probabilities of the next tokens of a text.
    #[must_use]
    pub(crate) fn of(
        model: &LoadedModel,
        scores: &[Score],
        offsets: &mut TokenOffsets,
        as_ids: bool,
    ) -> Self {
        let mut all = Self::default();
        let text = |id: u32| String::from_utf8_lossy(model.tokenizer().decode_bytes(id)).into_owned();
        let name = |id: u32| if as_ids { format!("token_id:{id}") } else { text(id) };
        for score in scores {
            all.text_offset.push(offsets.push(score.id));
            all.tokens.push(name(score.id));
            all.token_logprobs.push(score.logprob);
            let top = score.top.iter().map(|&(id, logprob)| (name(id), logprob));
            all.top_logprobs.push(score.logprob.map(|_| top.collect()));
        }
        all
    }
}

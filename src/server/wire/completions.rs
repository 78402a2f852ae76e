//! `/v1/completions`: a prompt as it is, `echo` and log-probabilities included, so that evaluation harnesses work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Usage;
use super::common::{Common, Telling, Timings, count_or_flag};
use super::fields::{Body, Fields};
use super::sampling::{Given, Most};
use super::shape::ShapeGiven;
use crate::server::answer::{Draws, Finish, Format};
use crate::server::error::ApiError;
use crate::text::{FillIn, LoadedModel, Prompt, Score, SessionError, TokenOffsets, Waited};

/// OpenAI's default.
const MAX_TOKENS_DEFAULT: u32 = 16;
const LOGPROBS_MAX: u32 = 20;
const PROMPTS_MAX: usize = 2048;

/// A request for a completion.
#[derive(Debug, ToSchema)]
pub struct CompletionRequest {
    /// What every completion is asked for.
    #[serde(flatten)]
    pub common: Common,
    /// How tokens are sampled.
    #[serde(flatten)]
    pub sampling: Given,
    /// What the completion must be.
    #[serde(flatten)]
    pub shape: ShapeGiven,
    /// What is asked.
    #[serde(flatten)]
    pub asked: CompletionAsked,
}

impl Body for CompletionRequest {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let (common, sampling, shape) = (fields.part()?, fields.part()?, fields.part()?);
        Ok(Self { common, sampling, shape, asked: fields.rest()? })
    }
}

/// What only a completion has.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CompletionAsked {
    /// One prompt or several, each a text or token ids.
    #[schema(required = true, value_type = PromptGiven)]
    pub prompt: Option<PromptGiven>,
    /// What follows what is generated, for models with fill-in marks.
    pub suffix: Option<String>,
    /// Return the prompt in front of the completion.
    pub echo: Option<bool>,
    /// Log-probabilities with this many alternatives each.
    #[serde(default, deserialize_with = "count_or_flag")]
    #[schema(minimum = 0, maximum = 20, value_type = Option<u32>)]
    pub logprobs: Option<u32>,
    /// `false` leaves out the token that opens a sequence.
    pub add_special_tokens: Option<bool>,
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
    /// What follows what is filled in.
    pub suffix: Option<String>,
    /// Whether the token that opens a sequence is added.
    pub framed: bool,
    /// How each is completed.
    pub draws: Draws,
    /// What it must be.
    pub format: Format,
    /// The field that says so.
    pub format_field: &'static str,
    /// Completions of each.
    pub choices: u32,
    /// Whether the prompt is told again.
    pub echo: bool,
    /// What is told with them.
    pub telling: Telling,
}

impl CompletionRequest {
    /// What is asked.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn question(self) -> Result<CompletionQuestion, ApiError> {
        let Self { common, sampling, shape, asked } = self;
        let choices = common.choices()?;
        if asked.logprobs.is_some_and(|top| top > LOGPROBS_MAX) {
            return Err(ApiError::invalid(
                "logprobs",
                format!("logprobs must be between 0 and {LOGPROBS_MAX}"),
            ));
        }
        let max_tokens = match common.most_tokens(None)?.0 {
            Most::Unsaid => Some(MAX_TOKENS_DEFAULT),
            Most::Room => None,
            Most::Tokens(tokens) => Some(tokens),
        };
        let draws = common.draws(sampling, max_tokens, asked.logprobs)?;
        let suffix = asked.suffix.filter(|suffix| !suffix.is_empty());
        let echo = asked.echo.unwrap_or(false);
        if suffix.is_some() && echo {
            return Err(ApiError::unsupported(
                "echo",
                "echo can't be beside suffix: the prompt is not one text",
            ));
        }
        let (format, format_field) = shape.read()?;
        Ok(CompletionQuestion {
            prompts: asked.prompt.ok_or_else(|| ApiError::invalid("prompt", "prompt is missing"))?,
            suffix,
            framed: asked.add_special_tokens.unwrap_or(true),
            telling: common.telling(&draws),
            draws,
            format,
            format_field,
            choices,
            echo,
        })
    }
}

/// What can't be filled in by a model.
#[must_use]
pub fn no_marks(field: &str, model: &LoadedModel) -> ApiError {
    let message =
        format!("{field} is not supported by {}: its vocabulary has no fill-in marks", model.name());
    ApiError::unsupported(field, message)
}

impl PromptGiven {
    /// How many prompts there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Text(_) | Self::Tokens(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::TokenLists(lists) => lists.len(),
        }
    }

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
}

impl CompletionQuestion {
    /// Bytes that are read, the suffix with every prompt.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let suffix = self.suffix.as_ref().map_or(0, String::len);
        self.prompts.bytes().saturating_add(suffix.saturating_mul(self.prompts.count()))
    }

    /// Bytes of the longest text that becomes one prompt.
    #[must_use]
    pub fn longest_text(&self) -> usize {
        self.prompts.longest_text() + self.suffix.as_ref().map_or(0, String::len)
    }

    /// The prompts as a model reads them.
    ///
    /// # Errors
    /// 400 for none, too many, tokens that the model doesn't have, and a suffix where it can't fill in.
    pub fn prompts(&self, model: &LoadedModel, waited: &Waited) -> Result<Vec<Prompt>, ApiError> {
        let count = self.prompts.count();
        if !(1..=PROMPTS_MAX).contains(&count) {
            let message = format!("{count} prompts: give 1 to {PROMPTS_MAX}");
            return Err(ApiError::invalid("prompt", message));
        }
        let refused = |error: SessionError| ApiError::of_session(&error, "prompt", self.format_field);
        let of_text = |text: &String| match &self.suffix {
            Some(suffix) => {
                let fill = FillIn { prefix: text.clone(), suffix: suffix.clone(), ..FillIn::default() };
                let prompt = model.fill_prompt(&fill, waited).map_err(refused)?;
                prompt.ok_or_else(|| no_marks("suffix", model))
            }
            None if self.framed => model.text_prompt(text.clone(), waited).map_err(refused),
            None => {
                let ids = model.tokenizer().encode_while(text, true, &|| waited.goes_on());
                Ok(Prompt { ids: ids.ok_or_else(ApiError::left)?, text: text.clone() })
            }
        };
        let of_tokens = |ids: &Vec<u32>| {
            if self.suffix.is_some() {
                return Err(ApiError::invalid("prompt", "prompt must be a text where there is a suffix"));
            }
            if let Some(unknown) = ids.iter().find(|&&id| id as usize >= model.vocab()) {
                let message =
                    format!("prompt: token {unknown} is not one of {}'s {}", model.name(), model.vocab());
                return Err(ApiError::invalid("prompt", message));
            }
            Ok(Prompt { text: model.tokenizer().decode(ids), ids: ids.clone() })
        };
        let prompts = match &self.prompts {
            PromptGiven::Text(text) => vec![of_text(text)?],
            PromptGiven::Texts(texts) => texts.iter().map(of_text).collect::<Result<Vec<_>, _>>()?,
            PromptGiven::Tokens(ids) => vec![of_tokens(ids)?],
            PromptGiven::TokenLists(lists) => lists.iter().map(of_tokens).collect::<Result<Vec<_>, _>>()?,
        };
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
    /// How long it took, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
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
    /// Ids of the prompt's tokens, where asked for; in a stream in its first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
    /// Ids of the completion's tokens, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
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
    /// Of the next tokens of a text.
    #[must_use]
    pub fn of(model: &LoadedModel, scores: &[Score], offsets: &mut TokenOffsets, as_ids: bool) -> Self {
        let mut all = Self::default();
        let text = |id: u32| String::from_utf8_lossy(model.tokenizer().decode_bytes(id)).into_owned();
        let told = |id: u32| if as_ids { format!("token_id:{id}") } else { text(id) };
        for score in scores {
            all.text_offset.push(offsets.push(score.id));
            all.tokens.push(told(score.id));
            all.token_logprobs.push(score.logprob);
            let top = score.top.iter().map(|&(id, logprob)| (told(id), logprob));
            all.top_logprobs.push(score.logprob.map(|_| top.collect()));
        }
        all
    }
}

//! `/infill`, in llama-server's shape: text between a prefix and a suffix.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::common::Timings;
use super::fields::{Body, Fields};
use super::sampling::{Given, Most, most_tokens};
use crate::server::answer::{Draws, Finish};
use crate::server::error::ApiError;
use crate::text::FillIn;

/// Other files of one request.
const FILES_MAX: usize = 256;

/// Between what something is to be filled in.
#[derive(Debug, ToSchema)]
pub struct InfillRequest {
    /// How tokens are sampled.
    #[serde(flatten)]
    pub sampling: Given,
    /// What is asked.
    #[serde(flatten)]
    pub asked: InfillAsked,
}

impl Body for InfillRequest {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self { sampling: fields.part()?, asked: fields.rest()? })
    }
}

/// What only filling in has.
#[derive(Debug, Deserialize, ToSchema)]
pub struct InfillAsked {
    /// A model's id. May be left out where the server was given one.
    pub model: Option<String>,
    /// What stands before.
    pub input_prefix: Option<String>,
    /// What stands after.
    pub input_suffix: Option<String>,
    /// Other files that help.
    #[schema(max_items = 256)]
    pub input_extra: Option<Vec<ExtraFile>>,
    /// The beginning of what is filled in.
    pub prompt: Option<String>,
    /// Most tokens; -1 for as many as the context has room for, 0 only reads the prompt into the cache.
    #[schema(minimum = -1)]
    pub n_predict: Option<i64>,
    /// The same under OpenAI's name.
    #[schema(minimum = -1)]
    pub max_tokens: Option<i64>,
    /// Send what is generated as server-sent events.
    pub stream: Option<bool>,
    /// Return only these fields of the answer; `timings/prompt_n` is a field of `timings`.
    pub response_fields: Option<Vec<String>>,
}

/// Another file.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ExtraFile {
    /// Its name.
    pub filename: Option<String>,
    /// Its text.
    pub text: String,
}

/// What is asked.
#[derive(Debug)]
pub struct InfillQuestion {
    /// Between what.
    pub fill: FillIn,
    /// How.
    pub draws: Draws,
    /// The fields that are told; all unless said.
    pub fields: Option<Vec<String>>,
}

impl InfillRequest {
    /// What is asked.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn question(self) -> Result<InfillQuestion, ApiError> {
        let Self { sampling, asked } = self;
        let files = asked.input_extra.unwrap_or_default();
        if files.len() > FILES_MAX {
            let message = format!("{} files in input_extra: {FILES_MAX} at most", files.len());
            return Err(ApiError::invalid("input_extra", message));
        }
        let most = most_tokens(&[("n_predict", asked.n_predict), ("max_tokens", asked.max_tokens)])?.0;
        let max_tokens = match most {
            Most::Tokens(tokens) => Some(tokens),
            Most::Unsaid | Most::Room => None,
        };
        let name = |file: ExtraFile| (file.filename.unwrap_or_else(|| "file".to_owned()), file.text);
        Ok(InfillQuestion {
            fill: FillIn {
                prefix: asked.input_prefix.unwrap_or_default(),
                suffix: asked.input_suffix.unwrap_or_default(),
                begun: asked.prompt.unwrap_or_default(),
                files: files.into_iter().map(name).collect(),
            },
            draws: sampling.draws(max_tokens, None)?,
            fields: asked.response_fields.filter(|fields| !fields.is_empty()),
        })
    }
}

/// What was filled in; of a stream what is new, and at its end the rest.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct InfillResponse {
    /// 0: there is one answer.
    pub index: u32,
    /// The text.
    pub content: String,
    /// Always empty.
    pub tokens: Vec<u32>,
    /// Whether it has ended.
    pub stop: bool,
    /// What is known at the end.
    #[serde(flatten)]
    pub end: Option<InfillEnd>,
}

/// What is known at the end.
#[derive(Debug, Serialize, ToSchema)]
pub struct InfillEnd {
    /// The model's id.
    pub model: String,
    /// Tokens generated.
    pub tokens_predicted: u64,
    /// Tokens of the prompt.
    pub tokens_evaluated: u64,
    /// Of them, found in the cache.
    pub tokens_cached: u64,
    /// Never: a prompt is not cut.
    pub truncated: bool,
    /// `eos` when the model or a stop string ended it, `limit` when it had its most tokens.
    pub stop_type: &'static str,
    /// Settings that clients look at.
    pub generation_settings: InfillSettings,
    /// How long it took.
    pub timings: Timings,
}

/// Settings that clients look at.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct InfillSettings {
    /// Tokens that prompt and answer may have together.
    pub n_ctx: usize,
    /// Most tokens of the answer; -1 for as many as there is room for.
    pub n_predict: i64,
    /// Sampling temperature.
    pub temperature: f32,
}

/// Why it ended, in llama-server's words.
#[must_use]
pub fn stop_type(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "limit",
        Finish::Stop | Finish::ToolCalls => "eos",
    }
}

impl InfillResponse {
    /// As it is sent: whole, or the fields that were asked for, under the names they were asked for with.
    #[must_use]
    pub fn told(&self, fields: Option<&[String]>) -> Value {
        let whole = serde_json::to_value(self).unwrap_or_default();
        let Some(fields) = fields else { return whole };
        let found = |field: &String| {
            let value = field.split('/').try_fold(&whole, |value, key| value.get(key))?;
            Some((field.clone(), value.clone()))
        };
        Value::Object(fields.iter().filter_map(found).collect::<Map<_, _>>())
    }
}

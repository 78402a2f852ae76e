//! `/infill`, in llama-server's shape: generates the text between a prefix and a suffix.

use bandmaster_text::FillIn;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::common::Timings;
use super::fields::{Body, Fields};
use super::sampling::{SamplingFields, TokenLimit, token_limit};
use crate::answer::{Finish, SamplingParams};
use crate::error::ApiError;

/// Limit on `input_extra`, the other files of a request.
const FILES_MAX: usize = 256;

/// A request for the text between a prefix and a suffix.
#[derive(Debug, ToSchema)]
pub(crate) struct InfillRequest {
    /// Sampling parameters and stop conditions.
    #[serde(flatten)]
    pub sampling: SamplingFields,
    /// Fields that only `/infill` has.
    #[serde(flatten)]
    pub own: InfillFields,
}

impl Body for InfillRequest {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self { sampling: fields.part()?, own: fields.rest()? })
    }
}

/// Fields that only `/infill` has.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InfillAsked)]
pub(crate) struct InfillFields {
    /// Model id. If omitted, the server uses the first one it was started with, or the only one installed.
    pub model: Option<String>,
    /// Text before the gap.
    pub input_prefix: Option<String>,
    /// Text after the gap.
    pub input_suffix: Option<String>,
    /// Other files, as context.
    #[schema(max_items = 256)]
    pub input_extra: Option<Vec<ExtraFile>>,
    /// Beginning of the text in the gap, which the answer continues.
    pub prompt: Option<String>,
    /// Maximum number of tokens to generate; -1 means as many as fit the context, 0 only fills the prefix cache.
    #[schema(minimum = -1)]
    pub n_predict: Option<i64>,
    /// OpenAI's name for `n_predict`, used if that is absent.
    #[schema(minimum = -1)]
    pub max_tokens: Option<i64>,
    /// Stream the answer as server-sent events.
    pub stream: Option<bool>,
    /// Return only these fields of the answer or of a stream's last event. `timings/prompt_n` is a field of `timings`.
    pub response_fields: Option<Vec<String>>,
}

/// Another file, as context.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ExtraFile {
    /// Name of the file; `file` by default.
    pub filename: Option<String>,
    /// Content of the file.
    pub text: String,
}

/// A request after its checks.
#[derive(Debug)]
pub(crate) struct InfillQuestion {
    pub fill: FillIn,
    pub params: SamplingParams,
    /// Fields of the answer to return; `None` returns all.
    pub fields: Option<Vec<String>>,
}

impl InfillRequest {
    /// Checks the request and fills in defaults.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub(crate) fn question(self) -> Result<InfillQuestion, ApiError> {
        let Self { sampling, own } = self;
        let files = own.input_extra.unwrap_or_default();
        if files.len() > FILES_MAX {
            let message = format!("{} files in input_extra: {FILES_MAX} at most", files.len());
            return Err(ApiError::invalid("input_extra", message));
        }
        let limit = token_limit(&[("n_predict", own.n_predict), ("max_tokens", own.max_tokens)])?.0;
        let tokens_max = match limit {
            TokenLimit::Tokens(tokens) => Some(tokens),
            TokenLimit::Unset | TokenLimit::Unlimited => None,
        };
        let name = |file: ExtraFile| (file.filename.unwrap_or_else(|| "file".to_owned()), file.text);
        Ok(InfillQuestion {
            fill: FillIn {
                prefix: own.input_prefix.unwrap_or_default(),
                suffix: own.input_suffix.unwrap_or_default(),
                begun: own.prompt.unwrap_or_default(),
                files: files.into_iter().map(name).collect(),
            },
            params: sampling.params(tokens_max, None)?,
            fields: own.response_fields.filter(|fields| !fields.is_empty()),
        })
    }
}

/// The text in the gap. In a stream: its next piece, and at the end the other fields.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct InfillResponse {
    /// Always 0: there is one answer.
    pub index: u32,
    /// Text in the gap; in a stream, its next piece.
    pub content: String,
    /// Always empty: token ids are not returned.
    pub tokens: Vec<u32>,
    /// Whether the answer has ended.
    pub stop: bool,
    /// Fields that are known at the end.
    #[serde(flatten)]
    pub end: Option<InfillEnd>,
}

/// Fields that are known at the end of the answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InfillEnd {
    /// Id of the model that answered.
    pub model: String,
    /// Number of generated tokens.
    pub tokens_predicted: u64,
    /// Number of prompt tokens.
    pub tokens_evaluated: u64,
    /// Prompt tokens taken from the prefix cache.
    pub tokens_cached: u64,
    /// Always false: prompts are never truncated.
    pub truncated: bool,
    /// `eos` if the model or a stop sequence ended the answer, `limit` if it reached its maximum length.
    pub stop_type: &'static str,
    /// Settings that applied to the request.
    pub generation_settings: InfillSettings,
    /// Durations and rates of prompt and answer.
    pub timings: Timings,
}

/// Settings that applied to the request.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct InfillSettings {
    /// Context length: maximum number of tokens in prompt and answer together.
    pub n_ctx: usize,
    /// Maximum number of tokens to generate; -1 means as many as fit the context.
    pub n_predict: i64,
    /// Sampling temperature that was used.
    pub temperature: f32,
}

/// Why the answer ended, in llama-server's terms.
#[must_use]
pub(crate) fn stop_type(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "limit",
        Finish::Stop | Finish::ToolCalls => "eos",
    }
}

impl InfillResponse {
    /// The JSON to send: all fields, or those in `fields`, under the names by which they were requested.
    #[must_use]
    pub(crate) fn json(&self, fields: Option<&[String]>) -> Value {
        let whole = serde_json::to_value(self).unwrap_or_default();
        let Some(fields) = fields else { return whole };
        let found = |field: &String| {
            let value = field.split('/').try_fold(&whole, |value, key| value.get(key))?;
            Some((field.clone(), value.clone()))
        };
        Value::Object(fields.iter().filter_map(found).collect::<Map<_, _>>())
    }
}

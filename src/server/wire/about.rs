//! What the server says about itself, in the shapes of llama-server (`/props`) and vLLM (`/tokenizer_info`,
//! `/version`).

use bandmaster_text::{LoadedModel, Sampling};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The model that is asked about.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ModelQuery {
    /// Model id. If omitted, the server uses the first one it was started with, or the only one installed.
    pub model: Option<String>,
}

/// Version of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// Release version, such as `0.1.0`.
    pub version: &'static str,
}

/// Properties of a model and its server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Props {
    /// Defaults for fields that a request omits.
    pub default_generation_settings: DefaultSettings,
    /// Id of the model.
    pub model_alias: String,
    /// Same as `model_alias`: clients are not told where the file is.
    pub model_path: String,
    /// The model's chat template; empty if there is none.
    pub chat_template: String,
    /// Text of the beginning-of-sequence token; empty if there is none.
    pub bos_token: String,
    /// Text of the end-of-sequence token; empty if there is none.
    pub eos_token: String,
    /// Kinds of input besides text that the model reads.
    pub modalities: Modalities,
    /// Name and version of the program.
    pub build_info: &'static str,
    /// Always false: models are not put to sleep.
    pub is_sleeping: bool,
}

/// Defaults for fields that a request omits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DefaultSettings {
    /// Context length: maximum number of tokens in prompt and answer together.
    pub n_ctx: usize,
    /// Sampling parameters used by default.
    pub params: DefaultParams,
}

/// Sampling parameters used where a request omits them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DefaultParams {
    /// Maximum number of tokens to generate; -1 means as many as fit the context.
    pub n_predict: i64,
    /// Sampling temperature; at 0 the most likely token is always taken.
    pub temperature: f32,
    /// Number of most likely tokens that are kept; 0 keeps all.
    pub top_k: u32,
    /// Total probability of the most likely tokens that are kept; 1 keeps all.
    pub top_p: f32,
    /// Tokens less likely than this fraction of the most likely one are dropped; 0 drops none.
    pub min_p: f32,
    /// Penalty on tokens that occurred before; 1 turns it off.
    pub repeat_penalty: f32,
    /// Subtracted once from the logits of tokens already generated; 0 turns it off.
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens already generated, once per occurrence; 0 turns it off.
    pub frequency_penalty: f32,
}

/// Kinds of input besides text that a model reads.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Modalities {
    /// Whether it reads images; always false.
    pub vision: bool,
    /// Whether it reads audio; always false.
    pub audio: bool,
}

impl Props {
    /// Describes a loaded model. `defaults` holds the default sampling parameters.
    #[must_use]
    pub(crate) fn of(id: &str, model: &LoadedModel, defaults: &Sampling) -> Self {
        let TokenizerInfo { bos_token, eos_token, chat_template, .. } = TokenizerInfo::of(model);
        Self {
            default_generation_settings: DefaultSettings {
                n_ctx: model.context_tokens(),
                params: DefaultParams {
                    n_predict: -1,
                    temperature: defaults.temperature,
                    top_k: defaults.top_k,
                    top_p: defaults.top_p,
                    min_p: defaults.min_p,
                    repeat_penalty: defaults.repetition_penalty,
                    presence_penalty: defaults.presence_penalty,
                    frequency_penalty: defaults.frequency_penalty,
                },
            },
            model_alias: id.to_owned(),
            model_path: id.to_owned(),
            chat_template: chat_template.unwrap_or_default(),
            bos_token: bos_token.unwrap_or_default(),
            eos_token: eos_token.unwrap_or_default(),
            modalities: Modalities { vision: false, audio: false },
            build_info: super::chat_response::FINGERPRINT,
            is_sleeping: false,
        }
    }
}

/// A tokenizer, under the names of transformers' `tokenizer_config.json`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenizerInfo {
    /// Always `BandmasterTokenizer`, whatever the model.
    pub tokenizer_class: &'static str,
    /// Text of the beginning-of-sequence token.
    pub bos_token: Option<String>,
    /// Text of the end-of-sequence token.
    pub eos_token: Option<String>,
    /// Text of the padding token: the same as `eos_token`, since prompts are not padded.
    pub pad_token: Option<String>,
    /// Whether the beginning-of-sequence token is added to prompts.
    pub add_bos_token: bool,
    /// Context length: maximum number of tokens in prompt and answer together.
    pub model_max_length: usize,
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// The chat template; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
}

impl TokenizerInfo {
    #[must_use]
    pub(crate) fn of(model: &LoadedModel) -> Self {
        let tokenizer = model.tokenizer();
        let text = |id: u32| String::from_utf8_lossy(tokenizer.decode_bytes(id)).into_owned();
        let eos_token = tokenizer.eos().map(text);
        Self {
            tokenizer_class: "BandmasterTokenizer",
            bos_token: tokenizer.bos().map(text),
            pad_token: eos_token.clone(),
            eos_token,
            add_bos_token: tokenizer.add_bos(),
            model_max_length: model.context_tokens(),
            vocab_size: tokenizer.vocab_size(),
            chat_template: model.template().map(|template| template.source().to_owned()),
        }
    }
}

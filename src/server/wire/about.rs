//! What a server says of itself, in the shapes of llama-server (`/props`) and vLLM (`/tokenizer_info`, `/version`).

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::text::{LoadedModel, Sampling};

/// Which model is asked about.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfModel {
    /// A model's id. May be left out where the server was given one.
    pub model: Option<String>,
}

/// The program's version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// As released, such as `0.1.0`.
    pub version: &'static str,
}

/// What a model and its server are like.
#[derive(Debug, Serialize, ToSchema)]
pub struct Props {
    /// What holds where a request says nothing.
    pub default_generation_settings: DefaultSettings,
    /// The model's id.
    pub model_alias: String,
    /// The model's id again: clients are not told where its file is.
    pub model_path: String,
    /// The model's chat template; empty where it has none.
    pub chat_template: String,
    /// Text of the token that opens a sequence.
    pub bos_token: String,
    /// Text of the token that closes one.
    pub eos_token: String,
    /// Which inputs besides text the model reads; there are none.
    pub modalities: Modalities,
    /// The program and its version.
    pub build_info: &'static str,
    /// Always false: a model is not put to sleep.
    pub is_sleeping: bool,
}

/// What holds where a request says nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct DefaultSettings {
    /// Tokens that prompt and answer may have together.
    pub n_ctx: usize,
    /// How tokens are sampled.
    pub params: DefaultParams,
}

/// How tokens are sampled where a request says nothing.
#[derive(Debug, Serialize, ToSchema)]
pub struct DefaultParams {
    /// Most tokens of an answer; -1 is as many as the context has room for.
    pub n_predict: i64,
    /// Sampling temperature.
    pub temperature: f32,
    /// So many of the most likely tokens are kept; 0 keeps all.
    pub top_k: u32,
    /// The most likely tokens that have this probability together are kept; 1 keeps all.
    pub top_p: f32,
    /// Tokens less likely than this share of the most likely one are dropped; 0 drops none.
    pub min_p: f32,
    /// How much less likely repeated tokens become; 1 is off.
    pub repeat_penalty: f32,
    /// Subtracted from the logits of tokens that were generated; 0 is off.
    pub presence_penalty: f32,
    /// The same for every time a token was generated; 0 is off.
    pub frequency_penalty: f32,
}

/// Kinds of input other than text that a model reads.
#[derive(Debug, Serialize, ToSchema)]
pub struct Modalities {
    /// Whether it reads images: no model here does.
    pub vision: bool,
    /// Whether it reads sound: no model here does.
    pub audio: bool,
}

impl Props {
    /// Of a loaded model, where requests that say nothing sample as `usual` says.
    #[must_use]
    pub fn of(id: &str, model: &LoadedModel, usual: &Sampling) -> Self {
        let TokenizerInfo { bos_token, eos_token, chat_template, .. } = TokenizerInfo::of(model);
        Self {
            default_generation_settings: DefaultSettings {
                n_ctx: model.context_tokens(),
                params: DefaultParams {
                    n_predict: -1,
                    temperature: usual.temperature,
                    top_k: usual.top_k,
                    top_p: usual.top_p,
                    min_p: usual.min_p,
                    repeat_penalty: usual.repetition_penalty,
                    presence_penalty: usual.presence_penalty,
                    frequency_penalty: usual.frequency_penalty,
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

/// A tokenizer, with the names of transformers' `tokenizer_config.json`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenizerInfo {
    /// The same name for every model here.
    pub tokenizer_class: &'static str,
    /// Text of the token that opens a sequence.
    pub bos_token: Option<String>,
    /// Text of the token that closes one.
    pub eos_token: Option<String>,
    /// Text of the token for padding. Prompts are not padded here, so it is the closing one.
    pub pad_token: Option<String>,
    /// Whether a prompt is opened with the opening token.
    pub add_bos_token: bool,
    /// Tokens that prompt and answer may have together.
    pub model_max_length: usize,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// The chat template, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
}

impl TokenizerInfo {
    /// Of a loaded model.
    #[must_use]
    pub fn of(model: &LoadedModel) -> Self {
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

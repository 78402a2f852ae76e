//! Request and response bodies of `/v1/embeddings`.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::usage::Usage;

/// Inputs of one request; OpenAI has the same limit.
const INPUTS_MAX: usize = 2048;

/// A request for embeddings.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct EmbeddingRequest {
    /// Embedding model's id. If omitted, the server uses the first one it was started with, or the only one installed.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// One input or several, each a text or token ids of the model's own vocabulary.
    pub input: EmbeddingInput,
    /// `float` or `base64`; `float` by default.
    #[schema(pattern = "^(float|base64)$")]
    pub encoding_format: Option<String>,
    /// Return only this many leading numbers of each vector, scaled to length 1 again.
    #[schema(minimum = 1)]
    pub dimensions: Option<usize>,
    /// Id of the end user. Accepted for compatibility; has no effect.
    #[serde(rename = "user")]
    _user: Option<String>,
}

/// One input or several, as text or token ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text, token ids, or a list of either")]
pub(crate) enum EmbeddingInput {
    /// One input as text.
    Text(String),
    /// One input as token ids.
    Tokens(Vec<u32>),
    /// Several inputs as text.
    Texts(Vec<String>),
    /// Several inputs as token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// The inputs as lists, one item per vector.
#[derive(Debug)]
pub(crate) enum Inputs {
    Texts(Vec<String>),
    Tokens(Vec<Vec<u32>>),
}

impl EmbeddingInput {
    /// The inputs as lists.
    ///
    /// # Errors
    /// 400 for none, too many, or an empty one.
    pub(crate) fn inputs(self) -> Result<Inputs, ApiError> {
        let inputs = match self {
            Self::Text(text) => Inputs::Texts(vec![text]),
            Self::Texts(texts) => Inputs::Texts(texts),
            Self::Tokens(ids) => Inputs::Tokens(vec![ids]),
            Self::TokenLists(lists) => Inputs::Tokens(lists),
        };
        let (count, empty) = match &inputs {
            Inputs::Texts(texts) => (texts.len(), texts.iter().any(String::is_empty)),
            Inputs::Tokens(lists) => (lists.len(), lists.iter().any(Vec::is_empty)),
        };
        match (count, empty) {
            (0, _) | (_, true) => {
                Err(ApiError::invalid("input", "input is empty: give at least one text, none of them empty"))
            }
            (count, _) if count > INPUTS_MAX => Err(ApiError::invalid(
                "input",
                format!("{count} inputs: {INPUTS_MAX} at most in one request"),
            )),
            _ => Ok(inputs),
        }
    }
}

/// Encoding of the vectors in the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Float,
    /// Little-endian 32-bit floats in base 64.
    Base64,
}

impl Encoding {
    /// Reads `encoding_format`; absent means `float`.
    ///
    /// # Errors
    /// 400 for any other name.
    pub(crate) fn read(name: Option<&str>) -> Result<Self, ApiError> {
        match name {
            None | Some("float") => Ok(Self::Float),
            Some("base64") => Ok(Self::Base64),
            Some(other) => {
                let message = format!("encoding_format is {other:?}: it must be float or base64");
                Err(ApiError::invalid("encoding_format", message))
            }
        }
    }
}

/// Vectors of the inputs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingResponse {
    /// Object type, always `list`.
    pub object: &'static str,
    /// One vector per input, in order.
    pub data: Vec<Embedding>,
    /// Id of the model that answered.
    pub model: String,
    /// Token counts of the request.
    pub usage: EmbeddingUsage,
}

/// Token counts of the inputs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingUsage {
    /// Tokens of all inputs, including those that open and close a text.
    pub prompt_tokens: u64,
    /// The same as `prompt_tokens`.
    pub total_tokens: u64,
}

impl From<Usage> for EmbeddingUsage {
    fn from(usage: Usage) -> Self {
        Self { prompt_tokens: usage.prompt_tokens, total_tokens: usage.prompt_tokens }
    }
}

/// The vector of one input.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Embedding {
    /// Object type, always `embedding`.
    pub object: &'static str,
    /// Number of the input, from 0.
    pub index: usize,
    /// The vector in the requested encoding.
    pub embedding: Vector,
}

/// A vector in the requested encoding.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    /// Numbers, for the encoding `float`.
    Float(Vec<f32>),
    /// Little-endian 32-bit floats in base 64.
    Base64(String),
}

impl Vector {
    /// The first `dimensions` numbers, scaled to length 1, in the requested encoding.
    ///
    /// # Errors
    /// 400 where the vector has fewer.
    pub(crate) fn of(
        mut vector: Vec<f32>,
        dimensions: Option<usize>,
        encoding: Encoding,
    ) -> Result<Self, ApiError> {
        if let Some(wanted) = dimensions {
            if wanted == 0 || wanted > vector.len() {
                let message = format!("dimensions is {wanted}: the model's vectors have {}", vector.len());
                return Err(ApiError::invalid("dimensions", message));
            }
            vector.truncate(wanted);
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            vector.iter_mut().for_each(|x| *x /= length);
        }
        Ok(match encoding {
            Encoding::Float => Self::Float(vector),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Self::Base64(base64::engine::general_purpose::STANDARD.encode(bytes))
            }
        })
    }
}

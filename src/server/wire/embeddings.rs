//! `/v1/embeddings`.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server::error::ApiError;

/// OpenAI's limit.
const INPUTS_MAX: usize = 2048;

/// A request for embeddings.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbeddingRequest {
    /// An embedding model's id. May be left out where there is only one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// One text or several, or token ids of the model's own vocabulary.
    pub input: EmbeddingInput,
    /// `float` or `base64`.
    #[schema(pattern = "^(float|base64)$")]
    pub encoding_format: Option<String>,
    /// So many leading numbers of each vector, scaled to length 1 again.
    #[schema(minimum = 1)]
    pub dimensions: Option<usize>,
    /// Without effect: whose question it is.
    pub user: Option<String>,
}

/// What is embedded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text, token ids, or a list of either")]
pub enum EmbeddingInput {
    /// A text.
    Text(String),
    /// Token ids.
    Tokens(Vec<u32>),
    /// Texts.
    Texts(Vec<String>),
    /// Several lists of token ids.
    TokenLists(Vec<Vec<u32>>),
}

/// What is embedded, one a vector.
#[derive(Debug)]
pub enum Inputs {
    /// Texts.
    Texts(Vec<String>),
    /// Token ids.
    Tokens(Vec<Vec<u32>>),
}

impl EmbeddingInput {
    /// As lists.
    ///
    /// # Errors
    /// 400 for none, too many, or an empty one.
    pub fn inputs(self) -> Result<Inputs, ApiError> {
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

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Numbers.
    Float,
    /// Little-endian 32-bit floats in base 64.
    Base64,
}

impl Encoding {
    /// Reads the name.
    ///
    /// # Errors
    /// 400 for another.
    pub fn read(name: Option<&str>) -> Result<Self, ApiError> {
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

/// The vectors.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingResponse {
    /// `list`.
    pub object: &'static str,
    /// One an input, in order.
    pub data: Vec<Embedding>,
    /// The model's id.
    pub model: String,
    /// What it cost.
    pub usage: EmbeddingUsage,
}

/// Tokens of the inputs.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingUsage {
    /// Those that open and close a text included.
    pub prompt_tokens: u64,
    /// The same.
    pub total_tokens: u64,
}

/// One vector.
#[derive(Debug, Serialize, ToSchema)]
pub struct Embedding {
    /// `embedding`.
    pub object: &'static str,
    /// Number of the input.
    pub index: usize,
    /// The vector.
    pub embedding: Vector,
}

/// A vector as it was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    /// Numbers.
    Float(Vec<f32>),
    /// Base 64.
    Base64(String),
}

impl Vector {
    /// The first `dimensions` numbers, scaled to length 1, as asked for.
    ///
    /// # Errors
    /// 400 where the vector has fewer.
    pub fn of(mut vector: Vec<f32>, dimensions: Option<usize>, encoding: Encoding) -> Result<Self, ApiError> {
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

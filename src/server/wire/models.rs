//! `/v1/models` and `/health`.

use serde::Serialize;
use utoipa::ToSchema;

/// A model that requests can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Model {
    /// Id to give as `model`.
    pub id: String,
    /// Object type, always `model`.
    pub object: &'static str,
    /// When the model's file was last modified, in seconds since 1970; 0 if unknown.
    pub created: u64,
    /// `local`, or `bandmaster` for the band.
    pub owned_by: String,
    /// Kind of model: `chat`, `embeddings` or `band`.
    pub kind: &'static str,
    /// Whether the model is loaded.
    pub loaded: bool,
    /// Context length: maximum number of tokens in prompt and answer together. Only for loaded chat models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<usize>,
}

/// The models that requests can name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    /// Object type, always `list`.
    pub object: &'static str,
    /// The models, aliases included.
    pub data: Vec<Model>,
}

/// Whether the server accepts requests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, `loading` before the first models are loaded, or `draining` while the server ends.
    pub status: &'static str,
}

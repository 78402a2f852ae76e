//! `/v1/models` and `/health`.

use serde::Serialize;
use utoipa::ToSchema;

/// A model that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Model {
    /// Its id.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// Seconds since 1970: when its file came.
    pub created: u64,
    /// Where it came from.
    pub owned_by: String,
    /// `chat`, `embeddings` or `band`.
    pub kind: &'static str,
    /// Whether it is loaded.
    pub loaded: bool,
    /// Tokens that a prompt and its answer may have together, once it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<usize>,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelList {
    /// `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<Model>,
}

/// Whether requests are taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, `loading` or `draining`.
    pub status: &'static str,
}

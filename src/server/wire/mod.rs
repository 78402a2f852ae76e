//! OpenAI's shapes: what bodies may say, what is made of them, and how answers are written. Who answers is not known here.

pub mod body;
pub mod chat;
pub mod chat_response;
pub mod completions;
pub mod embeddings;
pub mod models;
pub mod refusals;
pub mod responses;
pub mod runs;
pub mod sampling;
pub mod tokens;
pub mod tools;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::server::answer::{Format, Spent};
use crate::server::error::ApiError;

/// A JSON object, and one that fits `schema` where one is given, in the field `at`.
fn object_format(schema: Option<Value>, at: &str) -> Result<Format, ApiError> {
    let mut schema = match schema {
        None | Some(Value::Null) => return Ok(Format::JsonObject),
        Some(Value::Object(schema)) => schema,
        Some(_) => return Err(ApiError::invalid(at, format!("{at} must be a JSON schema, an object"))),
    };
    let kind = schema.entry("type").or_insert_with(|| "object".into());
    let has_object = kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"));
    if has_object {
        *kind = "object".into();
    }
    if kind != "object" {
        let message =
            format!("{at}.type is {kind}: a json_object is an object; json_schema takes any schema");
        return Err(ApiError::invalid(format!("{at}.type"), message));
    }
    Ok(Format::Schema(schema.into()))
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Usage {
    /// Tokens of the prompt, counted once for all choices.
    pub prompt_tokens: u64,
    /// Tokens generated, all choices together.
    pub completion_tokens: u64,
    /// Both.
    pub total_tokens: u64,
    /// Where prompt tokens came from.
    pub prompt_tokens_details: PromptTokensDetails,
    /// What generated tokens were for.
    pub completion_tokens_details: CompletionTokensDetails,
}

/// Where prompt tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct PromptTokensDetails {
    /// Found in the cache.
    pub cached_tokens: u64,
}

/// What generated tokens were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct CompletionTokensDetails {
    /// Spent on reasoning: of a model whose template marks it, about so many.
    pub reasoning_tokens: u64,
}

impl From<Spent> for Usage {
    fn from(spent: Spent) -> Self {
        Self {
            prompt_tokens: spent.prompt_tokens,
            completion_tokens: spent.completion_tokens,
            total_tokens: spent.prompt_tokens + spent.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: spent.cached_tokens },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: spent.reasoning_tokens },
        }
    }
}

/// Seconds since 1970.
#[must_use]
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// 64 bits that nobody can foresee: the standard library seeds its hashers so.
#[must_use]
pub fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u64(unix_seconds());
    hasher.finish()
}

/// `chatcmpl-4f3a…`, never used before.
#[must_use]
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}{:016x}{:08x}", random_u64(), random_u64() as u32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_json_object_may_come_with_its_schema() {
        let read = |schema| object_format(schema, "response_format.schema");
        assert_eq!(read(None).unwrap(), Format::JsonObject);
        assert_eq!(read(Some(json!(null))).unwrap(), Format::JsonObject);
        let listed = json!({"properties": {"a": {"type": "integer"}}, "type": "object"});
        assert_eq!(read(Some(listed.clone())).unwrap(), Format::Schema(listed));
        for schema in [json!({}), json!({"type": ["null", "object"]})] {
            assert_eq!(read(Some(schema)).unwrap(), Format::Schema(json!({"type": "object"})));
        }
        for schema in [json!({"type": "array"}), json!(3), json!("object")] {
            assert!(read(Some(schema)).is_err());
        }
    }
}

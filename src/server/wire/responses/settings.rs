//! What a request says and its response repeats: functions, tool choice, and format of the text.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::wire::fields::NameOr;

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionTool {
    /// Type of the tool. `function` is the default and the only one.
    #[serde(rename = "type", default = "function")]
    #[schema(pattern = "^function$")]
    pub kind: String,
    /// The name by which the model calls the function.
    #[serde(default)]
    #[schema(required, pattern = "^[a-zA-Z0-9_.-]{1,64}$")]
    pub name: String,
    /// What the function does, for the model to read.
    pub description: Option<String>,
    /// JSON schema of the arguments, of type `object`.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Whether a keyword of the schema that can't be enforced is an error; otherwise it is ignored.
    pub strict: Option<bool>,
}

fn function() -> String {
    "function".to_owned()
}

/// `none`, `auto`, `required`, or a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ToolChoiceSaid)]
#[serde(untagged)]
pub enum ResponseToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// The model must call this function.
    Named {
        /// `function`, the only kind there is.
        #[serde(rename = "type")]
        kind: String,
        /// The name of the function that must be called.
        name: Option<String>,
    },
}

impl<'de> Deserialize<'de> for ResponseToolChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "type", default = "function")]
            kind: String,
            name: Option<String>,
        }
        Ok(match NameOr::deserialize(deserializer)? {
            NameOr::Name(mode) => Self::Mode(mode),
            NameOr::Object(Named { kind, name }) => Self::Named { kind, name },
        })
    }
}

/// Format that the text of the answer must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FormatGiven)]
pub struct TextFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(text|json_object|json_schema)$")]
    pub kind: String,
    /// Name of the schema, required for `json_schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Purpose of the schema; has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema that the text must fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// Accepted for compatibility: answers always fit the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

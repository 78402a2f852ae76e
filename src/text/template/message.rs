//! The parts of a conversation: turns, tools, calls. How a model reads them is not known here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    /// May be empty if there are tool calls.
    pub content: String,
    /// The calls that the model made in this turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The id of the call that this message is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// One call of a tool. Serialized as OpenAI's object, but with the arguments as an object instead of a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WireCall", into = "WireCall")]
pub struct ToolCall {
    /// Connects the result with the call.
    pub id: String,
    pub name: String,
    /// A JSON object that matches the tool's parameters.
    pub arguments: Value,
}

/// A tool that the model may call. Serialized as OpenAI's object without `strict`, which does not concern the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// JSON schema of the arguments; null or `{}` for a tool without parameters.
    pub parameters: Value,
    /// Whether parameters that can't be enforced exactly are refused instead of loosened.
    pub strict: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct WireCall {
    #[serde(default)]
    id: String,
    #[serde(rename = "type", default = "function")]
    kind: String,
    function: WireFunction,
}

#[derive(Clone, Serialize, Deserialize)]
struct WireFunction {
    name: String,
    arguments: Value,
}

fn function() -> String {
    "function".into()
}

impl From<WireCall> for ToolCall {
    fn from(call: WireCall) -> Self {
        Self { id: call.id, name: call.function.name, arguments: call.function.arguments }
    }
}

impl From<ToolCall> for WireCall {
    fn from(call: ToolCall) -> Self {
        let function = WireFunction { name: call.name, arguments: call.arguments };
        Self { id: call.id, kind: self::function(), function }
    }
}

impl Serialize for Tool {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            function: Function<'a>,
        }
        #[derive(Serialize)]
        struct Function<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            parameters: &'a Value,
        }
        let function = Function {
            name: &self.name,
            description: self.description.as_deref(),
            parameters: &self.parameters,
        };
        Wire { kind: "function", function }.serialize(serializer)
    }
}

impl Message {
    /// A turn without calls.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// The same turn with `f` applied to every text that a template may print.
    #[must_use]
    pub(crate) fn map_text(&self, f: &mut dyn FnMut(&str) -> String) -> Self {
        Self {
            role: self.role,
            content: f(&self.content),
            tool_calls: self
                .tool_calls
                .iter()
                .map(|call| ToolCall {
                    id: f(&call.id),
                    name: f(&call.name),
                    arguments: map_strings(&call.arguments, f),
                })
                .collect(),
            tool_call_id: self.tool_call_id.as_deref().map(f),
        }
    }
}

impl Tool {
    /// The same tool with `f` applied to every text that a template may print.
    #[must_use]
    pub(crate) fn map_text(&self, f: &mut dyn FnMut(&str) -> String) -> Self {
        Self {
            name: f(&self.name),
            description: self.description.as_deref().map(&mut *f),
            parameters: map_strings(&self.parameters, f),
            strict: self.strict,
        }
    }
}

/// `value` with `f` applied to every string and every key.
pub(crate) fn map_strings(value: &Value, f: &mut dyn FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(f(text)),
        Value::Array(items) => items.iter().map(|item| map_strings(item, f)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (f(key), map_strings(value, f))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

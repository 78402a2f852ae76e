//! What a conversation is made of: turns, tools, calls. How a model reads them is not known here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sets the rules.
    System,
    /// Asks.
    User,
    /// The model.
    Assistant,
    /// What a tool gave back.
    Tool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; may be empty beside calls.
    pub content: String,
    /// What the model called in this turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The call that this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// One call of a tool. Reads and writes as OpenAI's object, with the arguments as an object and not as a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WireCall", into = "WireCall")]
pub struct ToolCall {
    /// Ties the result to the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// An object, by the tool's parameters.
    pub arguments: Value,
}

/// A tool that the model may call. Writes as OpenAI's object without `strict`, which is no business of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// By what it is called.
    pub name: String,
    /// What it is good for.
    pub description: Option<String>,
    /// JSON schema of the arguments' object; null or `{}` for any.
    pub parameters: Value,
    /// Whether a schema that can't be enforced to the letter is refused rather than loosened.
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
    pub fn map_text(&self, f: &mut dyn FnMut(&str) -> String) -> Self {
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
    pub fn map_text(&self, f: &mut dyn FnMut(&str) -> String) -> Self {
        Self {
            name: f(&self.name),
            description: self.description.as_deref().map(&mut *f),
            parameters: map_strings(&self.parameters, f),
            strict: self.strict,
        }
    }
}

/// `value` with `f` applied to every string and every key.
pub(in crate::text) fn map_strings(value: &Value, f: &mut dyn FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(f(text)),
        Value::Array(items) => items.iter().map(|item| map_strings(item, f)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (f(key), map_strings(value, f))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

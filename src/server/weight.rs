//! What a conversation weighs before it becomes a prompt: its texts, and what stands beside them as JSON. Every route that
//! makes a prompt asks here, so that nothing goes in unweighed. How a prompt is made is not known here.

/// Refuses what is longer than any prompt of the model, before it is cut into tokens.
///
/// # Errors
/// 400 naming the field and the limit.
pub fn check_prompt_bytes(model: &LoadedModel, field: &str, bytes: usize) -> Result<(), ApiError> {
    let (bytes_max, context_tokens) = (model.prompt_bytes_max(), model.context_tokens());
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!(
        "{field}: {bytes} bytes of text and values are longer than the context of {context_tokens} tokens, which holds {bytes_max} at most"
    );
    Err(ApiError::invalid(field, message).code("context_length_exceeded"))
}

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::error::ApiError;
use super::jobs;
use crate::text::{LoadedModel, Message, Tool};

/// What a message adds, and each value of JSON and each name in it. A prompt that shows it has a token for it, and tokens
/// have so many bytes at most or more.
const VALUE_BYTES: usize = 16;
/// Values of JSON in tools, arguments of calls, variables and documents together. Each takes a hundred bytes of memory
/// and more, several times while it becomes a prompt.
pub const VALUES_MAX: usize = 65_536;

/// What a conversation weighs, by the fields that hold it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    messages: usize,
    tools: usize,
    variables: usize,
    documents: usize,
    values: usize,
}

impl Weight {
    /// Of a conversation, the tools beside it, and the variables of the template, `documents` among them.
    #[must_use]
    pub fn of(messages: &[Message], tools: &[Tool], variables: &Map<String, Value>) -> Self {
        let mut weight = Self::default();
        for message in messages {
            let id = message.tool_call_id.as_ref().map_or(0, String::len);
            weight.messages += VALUE_BYTES + message.content.len() + id;
            for call in &message.tool_calls {
                let (bytes, values) = of_value(&call.arguments);
                weight.messages += VALUE_BYTES + call.id.len() + call.name.len() + bytes;
                weight.values += values;
            }
        }
        for tool in tools {
            let (bytes, values) = of_value(&tool.parameters);
            let description = tool.description.as_ref().map_or(0, String::len);
            weight.tools += VALUE_BYTES + tool.name.len() + description + bytes;
            weight.values += values;
        }
        for (name, value) in variables {
            let (bytes, values) = of_value(value);
            let field = if name == "documents" { &mut weight.documents } else { &mut weight.variables };
            *field += VALUE_BYTES + name.len() + bytes;
            weight.values += values;
        }
        weight
    }

    /// The sum over all fields, in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.messages + self.tools + self.variables + self.documents
    }

    /// The field that weighs the most.
    #[must_use]
    pub fn field(self) -> &'static str {
        let fields = [
            (self.messages, "messages"),
            (self.tools, "tools"),
            (self.variables, "chat_template_kwargs"),
            (self.documents, "documents"),
        ];
        fields.into_iter().rev().max_by_key(|(bytes, _)| *bytes).map_or("messages", |(_, field)| field)
    }

    fn check_values(self) -> Result<(), ApiError> {
        if self.values <= VALUES_MAX {
            return Ok(());
        }
        let message = format!(
            "tools, arguments of calls, documents and chat_template_kwargs hold {} values of JSON together: {VALUES_MAX} at most, so send fewer",
            self.values
        );
        Err(ApiError::invalid(self.field(), message))
    }

    /// Refuses what can't become a prompt of the model. Gives the bytes.
    ///
    /// # Errors
    /// 400 naming the field that weighs the most, and the limit.
    pub fn check(self, model: &LoadedModel) -> Result<usize, ApiError> {
        self.check_values()?;
        check_prompt_bytes(model, self.field(), self.bytes())?;
        Ok(self.bytes())
    }

    /// Refuses what is too much to be only looked at. Gives the bytes.
    ///
    /// # Errors
    /// 400 or 413 naming the field that weighs the most, and the limit.
    pub fn check_looked_at(self) -> Result<usize, ApiError> {
        self.check_values()?;
        jobs::check_size(self.field(), self.bytes())?;
        Ok(self.bytes())
    }
}

/// What a value weighs, and how many it is.
fn of_value(value: &Value) -> (usize, usize) {
    let sum = |(bytes, values): (usize, usize), (more_bytes, more_values): (usize, usize)| {
        (bytes + more_bytes, values + more_values)
    };
    match value {
        Value::String(text) => (VALUE_BYTES + text.len(), 1),
        Value::Array(items) => items.iter().map(of_value).fold((VALUE_BYTES, 1), sum),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| sum((VALUE_BYTES + name.len(), 1), of_value(value));
            fields.iter().map(field).fold((VALUE_BYTES, 1), sum)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => (VALUE_BYTES, 1),
    }
}

//! Measures the size of a conversation, its texts and the JSON beside them, before it becomes a prompt. Every route
//! that renders a prompt checks it here, so that no input goes unmeasured. How a prompt is rendered is not known here.

#[cfg(test)]
mod tests;

use bandmaster_text::{LoadedModel, Message, Tool};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::jobs;

/// Counted for every message, JSON value and field name, on top of its text. Each takes at least one token in a prompt,
/// and the model's limit in bytes allows at least this many bytes for a token.
const VALUE_BYTES: usize = 16;
/// Most JSON values in tools, arguments of calls, variables and documents together. Each takes over a hundred bytes of
/// memory, and is copied several times while a prompt is rendered.
const VALUES_MAX: usize = 65_536;

/// Refuses text that is longer than any prompt of the model can be, before it is tokenized.
///
/// # Errors
/// 400 naming the field and the limit.
pub(crate) fn check_prompt_bytes(model: &LoadedModel, field: &str, bytes: usize) -> Result<(), ApiError> {
    let (bytes_max, context_tokens) = (model.prompt_bytes_max(), model.context_tokens());
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!(
        "{field}: {bytes} bytes of text and values are longer than the context of {context_tokens} tokens, which holds at most {bytes_max} bytes"
    );
    Err(ApiError::invalid(field, message).code("context_length_exceeded"))
}

/// The size of a conversation in bytes, by request field, and its number of JSON values.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PromptSize {
    messages: usize,
    tools: usize,
    variables: usize,
    documents: usize,
    values: usize,
}

impl PromptSize {
    /// Measures a conversation, its tools, and the template's variables, which include `documents`.
    #[must_use]
    pub(crate) fn of(messages: &[Message], tools: &[Tool], variables: &Map<String, Value>) -> Self {
        let mut size = Self::default();
        for message in messages {
            let id = message.tool_call_id.as_ref().map_or(0, String::len);
            size.messages += VALUE_BYTES + message.content.len() + id;
            for call in &message.tool_calls {
                let (bytes, values) = of_value(&call.arguments);
                size.messages += VALUE_BYTES + call.id.len() + call.name.len() + bytes;
                size.values += values;
            }
        }
        for tool in tools {
            let (bytes, values) = of_value(&tool.parameters);
            let description = tool.description.as_ref().map_or(0, String::len);
            size.tools += VALUE_BYTES + tool.name.len() + description + bytes;
            size.values += values;
        }
        for (name, value) in variables {
            let (bytes, values) = of_value(value);
            let field = if name == "documents" { &mut size.documents } else { &mut size.variables };
            *field += VALUE_BYTES + name.len() + bytes;
            size.values += values;
        }
        size
    }

    #[must_use]
    pub(crate) fn bytes(self) -> usize {
        self.messages + self.tools + self.variables + self.documents
    }

    /// The name of the largest field, for errors.
    #[must_use]
    pub(crate) fn field(self) -> &'static str {
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
            "tools, arguments of calls, documents and chat_template_kwargs contain {} JSON values together, but at most {VALUES_MAX} are allowed: send fewer",
            self.values
        );
        Err(ApiError::invalid(self.field(), message))
    }

    /// Refuses what is too large for a prompt of the model. Returns the size in bytes.
    ///
    /// # Errors
    /// 400 naming the largest field and the limit.
    pub(crate) fn check(self, model: &LoadedModel) -> Result<usize, ApiError> {
        self.check_values()?;
        check_prompt_bytes(model, self.field(), self.bytes())?;
        Ok(self.bytes())
    }

    /// As [`PromptSize::check`], for requests that run no model on the whole conversation, such as tokenizing it: the
    /// limit is [`jobs::TEXT_BYTES_MAX`] instead of the model's.
    ///
    /// # Errors
    /// 400 or 413 naming the largest field and the limit.
    pub(crate) fn check_without_model(self) -> Result<usize, ApiError> {
        self.check_values()?;
        jobs::check_size(self.field(), self.bytes())?;
        Ok(self.bytes())
    }
}

/// The size of a value in bytes, and how many values it contains, itself included.
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

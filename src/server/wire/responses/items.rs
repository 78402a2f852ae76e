//! Items, of which inputs, outputs and conversations are lists: how clients send them, how they are stored and
//! returned, and how a model reads them.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use bandmaster_journal::StoredItem;
use bandmaster_text::{Message, Role, ToolCall};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::TextOr;
use crate::error::ApiError;
use crate::wire::chat_response::TokenLogprob;
use crate::wire::new_id;
use crate::wire::tools::read_arguments;

/// An item sent by a client. A message needs no `type`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ItemGiven)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputItem {
    /// A message of the conversation.
    Message {
        /// Id of the item, if it has one.
        id: Option<String>,
        /// Role of the author.
        role: ItemRole,
        /// Text, or a list of text parts.
        content: TextOr<InputPart>,
    },
    /// A tool call of an earlier answer.
    FunctionCall {
        /// Id of the item, if it has one.
        id: Option<String>,
        /// Id that ties the result to the call.
        call_id: String,
        /// Name of the function.
        name: String,
        /// Arguments, a JSON object as a string.
        arguments: String,
    },
    /// The result of a tool call.
    FunctionCallOutput {
        /// Id of the item, if it has one.
        id: Option<String>,
        /// The `call_id` of the call.
        call_id: String,
        /// Result of the call, as text.
        output: TextOr<InputPart>,
    },
    /// Reasoning of an earlier answer. Accepted, but not shown to the model.
    Reasoning {
        /// Id of the item.
        id: Option<String>,
    },
    /// A reference to a stored item.
    ItemReference {
        /// Id of the stored item.
        id: String,
    },
}

/// Role of a message's author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemRole {
    /// The person who asks.
    User,
    /// The model that answers.
    Assistant,
    /// Rules for the model.
    System,
    /// Newer name of `system`.
    Developer,
}

/// A part of a text, sent by a client.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = PartGiven)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputPart {
    /// Text of an input.
    InputText {
        /// Text of the part.
        text: String,
    },
    /// Text of an answer.
    OutputText {
        /// Text of the part.
        text: String,
    },
    /// A refusal in an answer.
    Refusal {
        /// Text of the part.
        refusal: String,
    },
    /// Reasoning of a model.
    ReasoningText {
        /// Text of the part.
        text: String,
    },
}

/// A part with the fields of all kinds.
#[derive(Deserialize)]
struct AnyPart {
    #[serde(rename = "type")]
    kind: Option<PartKind>,
    text: Option<String>,
    refusal: Option<String>,
    // An answer's parts have these too when they are sent back.
    #[serde(rename = "annotations")]
    _annotations: Option<Value>,
    #[serde(rename = "logprobs")]
    _logprobs: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PartKind {
    #[serde(alias = "text")]
    InputText,
    OutputText,
    Refusal,
    ReasoningText,
}

// Through a struct, so that unknown fields are noticed by name.
impl<'de> Deserialize<'de> for InputPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let AnyPart { kind, text, refusal, .. } = AnyPart::deserialize(deserializer)?;
        let kind = kind.unwrap_or(PartKind::InputText);
        let text = text.ok_or_else(|| de::Error::missing_field("text"));
        Ok(match kind {
            PartKind::InputText => Self::InputText { text: text? },
            PartKind::OutputText => Self::OutputText { text: text? },
            PartKind::ReasoningText => Self::ReasoningText { text: text? },
            PartKind::Refusal => {
                Self::Refusal { refusal: refusal.ok_or_else(|| de::Error::missing_field("refusal"))? }
            }
        })
    }
}

/// An item with the fields of all kinds.
#[derive(Deserialize)]
struct AnyItem {
    #[serde(rename = "type")]
    kind: Option<ItemKind>,
    id: Option<String>,
    role: Option<ItemRole>,
    content: Option<TextOr<InputPart>>,
    call_id: Option<String>,
    name: Option<String>,
    arguments: Option<Value>,
    output: Option<TextOr<InputPart>>,
    // An answer's items have these too when they are sent back.
    #[serde(rename = "status")]
    _status: Option<Value>,
    #[serde(rename = "summary")]
    _summary: Option<Value>,
    #[serde(rename = "encrypted_content")]
    _encrypted_content: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ItemKind {
    Message,
    FunctionCall,
    FunctionCallOutput,
    Reasoning,
    ItemReference,
}

// Through a struct of all fields: serde's tagged enums need a `type`, and their errors lose the path.
impl<'de> Deserialize<'de> for InputItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn need<T, E: de::Error>(value: Option<T>, field: &'static str) -> Result<T, E> {
            value.ok_or_else(|| E::missing_field(field))
        }
        let item = AnyItem::deserialize(deserializer)?;
        let id = item.id;
        let kind = item.kind.unwrap_or(match (item.role, &id) {
            (None, Some(_)) => ItemKind::ItemReference,
            _ => ItemKind::Message,
        });
        Ok(match kind {
            ItemKind::Message => {
                let content = item.content.unwrap_or_else(|| TextOr::Text(String::new()));
                Self::Message { id, role: need(item.role, "role")?, content }
            }
            ItemKind::FunctionCall => Self::FunctionCall {
                id,
                call_id: need(item.call_id, "call_id")?,
                name: need(item.name, "name")?,
                arguments: match item.arguments {
                    None | Some(Value::Null) => "{}".to_owned(),
                    Some(Value::String(text)) => text,
                    Some(arguments) => arguments.to_string(),
                },
            },
            ItemKind::FunctionCallOutput => Self::FunctionCallOutput {
                id,
                call_id: need(item.call_id, "call_id")?,
                output: item.output.unwrap_or_else(|| TextOr::Text(String::new())),
            },
            ItemKind::Reasoning => Self::Reasoning { id },
            ItemKind::ItemReference => Self::ItemReference { id: need(id, "id")? },
        })
    }
}

/// An item as it is stored and returned.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// A message of the conversation.
    Message {
        /// Id of the item, `msg_…`.
        id: String,
        /// Whether the item is complete.
        status: ItemStatus,
        /// Role of the author.
        role: ItemRole,
        /// Text of the message, in parts.
        content: Vec<ItemPart>,
    },
    /// A tool call of an answer.
    FunctionCall {
        /// Id of the item, `fc_…`.
        id: String,
        /// Whether the item is complete.
        status: ItemStatus,
        /// Id that ties the result to the call.
        call_id: String,
        /// Name of the function.
        name: String,
        /// Arguments, a JSON object as a string.
        arguments: String,
    },
    /// The result of a tool call.
    FunctionCallOutput {
        /// Id of the item, `fco_…`.
        id: String,
        /// Whether the item is complete.
        status: ItemStatus,
        /// The `call_id` of the call.
        call_id: String,
        /// Result of the call, as text.
        output: TextOr<ItemPart>,
    },
    /// Reasoning of the model. If the band answers, the progress of its run.
    Reasoning {
        /// Id of the item, `rs_…`.
        id: String,
        /// Whether the item is complete.
        status: ItemStatus,
        /// Always empty: reasoning is not summarized.
        summary: Vec<ItemPart>,
        /// Text of the reasoning, in parts.
        content: Vec<ItemPart>,
    },
}

/// Whether an item is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// The item is still being generated.
    InProgress,
    /// The item is complete.
    Completed,
    /// The item was cut off.
    Incomplete,
}

/// A part of an item's text.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ItemPart {
    /// Text of an input.
    InputText {
        /// Text of the part.
        text: String,
    },
    /// Text of an answer.
    OutputText {
        /// Text of the part.
        text: String,
        /// Always empty: models here cite nothing.
        #[schema(value_type = Vec<Object>)]
        annotations: [(); 0],
        /// Log-probabilities of the tokens, if requested.
        logprobs: Vec<TokenLogprob>,
    },
    /// A refusal in an answer.
    Refusal {
        /// Text of the part.
        refusal: String,
    },
    /// Reasoning of a model.
    ReasoningText {
        /// Text of the part.
        text: String,
    },
}

impl ItemPart {
    #[must_use]
    pub fn output(text: String, logprobs: Vec<TokenLogprob>) -> Self {
        Self::OutputText { text, annotations: [], logprobs }
    }
}

impl From<String> for InputPart {
    fn from(text: String) -> Self {
        Self::InputText { text }
    }
}

impl From<String> for InputItem {
    fn from(text: String) -> Self {
        Self::user_message(text)
    }
}

impl InputPart {
    fn text(&self) -> &str {
        match self {
            Self::InputText { text } | Self::OutputText { text } | Self::ReasoningText { text } => text,
            Self::Refusal { refusal } => refusal,
        }
    }
}

impl TextOr<InputPart> {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(parts) => parts.iter().map(InputPart::text).collect(),
        }
    }

    /// The parts as they are stored. `is_output` is for the assistant's text.
    fn into_parts(self, is_output: bool) -> Vec<ItemPart> {
        let stored = |part| match part {
            InputPart::Refusal { refusal } => ItemPart::Refusal { refusal },
            InputPart::ReasoningText { text } => ItemPart::ReasoningText { text },
            InputPart::InputText { text } | InputPart::OutputText { text } if is_output => {
                ItemPart::output(text, Vec::new())
            }
            InputPart::InputText { text } | InputPart::OutputText { text } => ItemPart::InputText { text },
        };
        match self {
            Self::Text(text) => vec![stored(InputPart::InputText { text })],
            Self::List(parts) => parts.into_iter().map(stored).collect(),
        }
    }
}

impl InputItem {
    /// A message of the user.
    #[must_use]
    pub fn user_message(text: String) -> Self {
        Self::Message { id: None, role: ItemRole::User, content: TextOr::Text(text) }
    }

    /// The item as it is stored, under its own id unless that is in `used_ids`. `None` for reasoning, which is
    /// dropped, and for references, which must have been resolved before.
    #[must_use]
    pub fn into_item(self, used_ids: &mut HashSet<String>) -> Option<Item> {
        let mut unique_id = |id: Option<String>, prefix: &str| {
            let own = id.filter(|id| !id.is_empty() && !used_ids.contains(id));
            let id = own.unwrap_or_else(|| new_id(prefix));
            used_ids.insert(id.clone());
            id
        };
        let status = ItemStatus::Completed;
        Some(match self {
            Self::Message { id, role, content } => Item::Message {
                id: unique_id(id, "msg_"),
                status,
                role,
                content: content.into_parts(role == ItemRole::Assistant),
            },
            Self::FunctionCall { id, call_id, name, arguments } => {
                Item::FunctionCall { id: unique_id(id, "fc_"), status, call_id, name, arguments }
            }
            Self::FunctionCallOutput { id, call_id, output } => {
                let output = match output {
                    TextOr::Text(text) => TextOr::Text(text),
                    parts => TextOr::List(parts.into_parts(false)),
                };
                Item::FunctionCallOutput { id: unique_id(id, "fco_"), status, call_id, output }
            }
            Self::Reasoning { .. } | Self::ItemReference { .. } => return None,
        })
    }
}

impl Item {
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::FunctionCallOutput { id, .. }
            | Self::Reasoning { id, .. } => id,
        }
    }

    /// The item as the journal stores it.
    #[must_use]
    pub fn document(&self) -> StoredItem {
        let body = serde_json::to_value(self).expect("an item has string keys and numbers that JSON knows");
        StoredItem { id: self.id().to_owned(), body }
    }
}

/// Messages for the model: `instructions` first, then the items in order.
///
/// # Errors
/// 400 if there are no items.
pub(crate) fn messages(instructions: Option<&str>, items: &[InputItem]) -> Result<Vec<Message>, ApiError> {
    if items.is_empty() {
        return Err(ApiError::invalid("input", "input is missing: give at least one item"));
    }
    let mut messages: Vec<Message> = Vec::new();
    if let Some(rules) = instructions.filter(|rules| !rules.is_empty()) {
        messages.push(Message::new(Role::System, rules));
    }
    for item in items {
        match item {
            InputItem::Message { role, content, .. } => add_message(&mut messages, *role, content.text()),
            InputItem::FunctionCall { call_id, name, arguments, .. } => {
                let arguments = read_arguments(arguments.clone());
                let call = ToolCall { id: call_id.clone(), name: name.clone(), arguments };
                // To a model, text and calls of one turn are one message.
                match messages.last_mut().filter(|last| last.role == Role::Assistant) {
                    Some(last) => last.tool_calls.push(call),
                    None => {
                        let calls = vec![call];
                        messages.push(Message { tool_calls: calls, ..Message::new(Role::Assistant, "") });
                    }
                }
            }
            InputItem::FunctionCallOutput { call_id, output, .. } => {
                let result = Message::new(Role::Tool, output.text());
                messages.push(Message { tool_call_id: Some(call_id.clone()), ..result });
            }
            InputItem::Reasoning { .. } | InputItem::ItemReference { .. } => {}
        }
    }
    Ok(messages)
}

fn add_message(messages: &mut Vec<Message>, role: ItemRole, text: String) {
    let role = match role {
        ItemRole::User => Role::User,
        ItemRole::Assistant => Role::Assistant,
        ItemRole::System | ItemRole::Developer => Role::System,
    };
    match messages.as_mut_slice() {
        // Many templates allow one system message, at the beginning.
        [only] if role == Role::System && only.role == Role::System => {
            only.content.push_str("\n\n");
            only.content.push_str(&text);
        }
        // Text behind a call, in the same turn.
        [.., last] if role == Role::Assistant && !last.tool_calls.is_empty() => last.content.push_str(&text),
        _ => messages.push(Message::new(role, text)),
    }
}

/// Which page of a list to return.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Return items after the one with this id.
    pub after: Option<String>,
    /// Maximum number of items to return; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// Order of the list; `desc`, latest first, by default.
    #[param(inline)]
    pub order: Option<Order>,
}

/// Order of a list of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Oldest items come first.
    Asc,
    /// Latest items come first.
    Desc,
}

/// A page of a list of items.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct ItemList {
    /// Object type, always `list`.
    pub object: &'static str,
    /// Items of this page.
    #[schema(value_type = Vec<Item>)]
    pub data: Vec<Value>,
    /// Id of the first item; empty if there are none.
    pub first_id: String,
    /// Id of the last item; empty if there are none.
    pub last_id: String,
    /// Whether more items follow.
    pub has_more: bool,
}

impl ItemList {
    /// A page of all these items.
    #[must_use]
    pub(crate) fn all(items: Vec<StoredItem>) -> Self {
        let id = |item: Option<&StoredItem>| item.map(|item| item.id.clone()).unwrap_or_default();
        Self {
            object: "list",
            first_id: id(items.first()),
            last_id: id(items.last()),
            data: items.into_iter().map(|item| item.body).collect(),
            has_more: false,
        }
    }

    /// The requested page of `items`, which are in order of age, oldest first.
    ///
    /// # Errors
    /// 400 with the parameter that is wrong.
    pub(crate) fn page(mut items: Vec<StoredItem>, paging: &Paging) -> Result<Self, ApiError> {
        const LIMIT: u32 = 20;
        const LIMIT_MAX: u32 = 100;
        let limit = paging.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let message = format!("limit is {limit}: it must be between 1 and {LIMIT_MAX}");
            return Err(ApiError::invalid("limit", message));
        }
        if paging.order != Some(Order::Asc) {
            items.reverse();
        }
        if let Some(after) = &paging.after {
            let at = items.iter().rposition(|item| item.id == *after).ok_or_else(|| {
                ApiError::invalid("after", format!("after is {after:?}: no item here has this id"))
            })?;
            items.drain(..=at);
        }
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Ok(Self { has_more: more, ..Self::all(items) })
    }
}

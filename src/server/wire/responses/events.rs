//! Builds a response while the answer arrives: its parts become items, and each step becomes an event of the stream.

#[cfg(test)]
mod tests;

use std::mem;

use bandmaster_text::Part;
use serde::Serialize;
use utoipa::ToSchema;

use super::items::{Item, ItemPart, ItemRole, ItemStatus};
use super::object::{IncompleteDetails, Response, ResponseError, ResponseStatus};
use crate::answer::Finish;
use crate::error::ApiError;
use crate::usage::Usage;
use crate::wire::chat_response::TokenLogprob;
use crate::wire::{new_id, unix_seconds};

/// An event of a streamed response.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ResponseEvent {
    /// Type of the event, such as `response.created` or `response.output_text.delta`.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// Position in the stream, from 0.
    pub sequence_number: u64,
    /// Fields that depend on the type.
    #[serde(flatten)]
    pub body: EventBody,
}

/// Fields of an event that depend on its type.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum EventBody {
    /// The response so far, or at its end.
    Response {
        /// The response as it stands.
        response: Box<Response>,
    },
    /// An item begins or ends.
    Item {
        /// Position of the item in `output`.
        output_index: u32,
        /// The item as it stands.
        item: Item,
    },
    /// A part of an item begins or ends.
    Part {
        /// Id of the item.
        item_id: String,
        /// Position of the item in `output`.
        output_index: u32,
        /// Position of the part in the item.
        content_index: u32,
        /// The part as it stands.
        part: ItemPart,
    },
    /// More of a text.
    TextDelta {
        /// Id of the item.
        item_id: String,
        /// Position of the item in `output`.
        output_index: u32,
        /// Position of the part in the item.
        content_index: u32,
        /// More of the text.
        delta: String,
        /// Log-probabilities of the new tokens; absent for reasoning.
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<TokenLogprob>>,
    },
    /// A text is complete.
    TextDone {
        /// Id of the item.
        item_id: String,
        /// Position of the item in `output`.
        output_index: u32,
        /// Position of the part in the item.
        content_index: u32,
        /// The text as a whole.
        text: String,
        /// Log-probabilities of all its tokens; absent for reasoning.
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Vec<TokenLogprob>>,
    },
    /// More of a call's arguments.
    ArgumentsDelta {
        /// Id of the item.
        item_id: String,
        /// Position of the item in `output`.
        output_index: u32,
        /// More of the arguments.
        delta: String,
    },
    /// A call's arguments are complete.
    ArgumentsDone {
        /// Id of the item.
        item_id: String,
        /// Position of the item in `output`.
        output_index: u32,
        /// Name of the function.
        name: String,
        /// The arguments as a whole.
        arguments: String,
    },
}

/// A response whose answer is still arriving.
#[derive(Debug, Clone)]
pub(crate) struct ResponseBuilder {
    response: Response,
    sequence: u64,
    open: Option<OpenItem>,
    /// Log-probabilities of tokens whose text has not arrived yet.
    pending_logprobs: Vec<TokenLogprob>,
    events: Vec<ResponseEvent>,
}

/// The item that is being written.
#[derive(Debug, Clone)]
struct OpenItem {
    id: String,
    kind: Kind,
    text: String,
    logprobs: Vec<TokenLogprob>,
}

#[derive(Debug, Clone)]
enum Kind {
    Message,
    Reasoning,
    Call { call_id: String, name: String },
}

impl OpenItem {
    fn new(kind: Kind) -> Self {
        let prefix = match kind {
            Kind::Message => "msg_",
            Kind::Reasoning => "rs_",
            Kind::Call { .. } => "fc_",
        };
        Self { id: new_id(prefix), kind, text: String::new(), logprobs: Vec::new() }
    }

    /// The text as a part of the item; `None` for a call.
    fn part(&self) -> Option<ItemPart> {
        match self.kind {
            Kind::Message => Some(ItemPart::output(self.text.clone(), self.logprobs.clone())),
            Kind::Reasoning => Some(ItemPart::ReasoningText { text: self.text.clone() }),
            Kind::Call { .. } => None,
        }
    }

    fn item(&self, status: ItemStatus) -> Item {
        let id = self.id.clone();
        let content = match status {
            ItemStatus::InProgress => Vec::new(),
            _ => self.part().into_iter().collect(),
        };
        match &self.kind {
            Kind::Message => Item::Message { id, status, role: ItemRole::Assistant, content },
            Kind::Reasoning => Item::Reasoning { id, status, summary: Vec::new(), content },
            Kind::Call { call_id, name } => Item::FunctionCall {
                id,
                status,
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: self.text.clone(),
            },
        }
    }
}

impl ResponseBuilder {
    /// Starts with a response that has no output.
    #[must_use]
    pub(crate) fn new(response: Response) -> Self {
        Self { response, sequence: 0, open: None, pending_logprobs: Vec::new(), events: Vec::new() }
    }

    /// The first events, sent before there is any output.
    pub(crate) fn opening(&mut self) -> Vec<ResponseEvent> {
        self.push_response("response.created");
        self.push_response("response.in_progress");
        mem::take(&mut self.events)
    }

    /// Adds parts of the answer, with log-probabilities if requested. Returns the new events.
    pub(crate) fn push(&mut self, parts: Vec<Part>, scores: Vec<TokenLogprob>) -> Vec<ResponseEvent> {
        self.pending_logprobs.extend(scores);
        for part in parts {
            match part {
                Part::Content(text) => {
                    if !matches!(self.open, Some(OpenItem { kind: Kind::Message, .. })) {
                        self.begin(Kind::Message);
                    }
                    self.add(text);
                }
                Part::Reasoning(text) => {
                    if !matches!(self.open, Some(OpenItem { kind: Kind::Reasoning, .. })) {
                        self.begin(Kind::Reasoning);
                    }
                    self.add(text);
                }
                Part::CallBegin { name, .. } => self.begin(Kind::Call { call_id: new_id("call_"), name }),
                Part::CallArguments { text, .. } => self.add(text),
            }
        }
        mem::take(&mut self.events)
    }

    /// Ends the answer. The response is then final; [`ResponseBuilder::final_event`] gives the event that says so.
    pub(crate) fn end(&mut self, finish: Finish, usage: Usage) -> Vec<ResponseEvent> {
        if self.response.output.is_empty() && self.open.is_none() {
            // Clients that look for the answer's text find one, empty.
            self.begin(Kind::Message);
        }
        let cut = finish == Finish::Length;
        self.close(if cut { ItemStatus::Incomplete } else { ItemStatus::Completed });
        self.response.usage = Some(usage.into());
        if cut {
            self.response.status = ResponseStatus::Incomplete;
            self.response.incomplete_details = Some(IncompleteDetails { reason: "max_output_tokens" });
        } else {
            self.response.status = ResponseStatus::Completed;
            self.response.completed_at = Some(unix_seconds());
        }
        mem::take(&mut self.events)
    }

    /// Ends an answer that failed.
    pub(crate) fn fail(&mut self, error: &ApiError) -> Vec<ResponseEvent> {
        self.close(ItemStatus::Incomplete);
        self.response.status = ResponseStatus::Failed;
        self.response.error = Some(ResponseError::from(error));
        self.response.store = false;
        mem::take(&mut self.events)
    }

    /// The last event, with the final response.
    pub(crate) fn final_event(&mut self) -> Vec<ResponseEvent> {
        self.push_response(match self.response.status {
            ResponseStatus::Failed => "response.failed",
            ResponseStatus::Incomplete => "response.incomplete",
            ResponseStatus::InProgress | ResponseStatus::Completed => "response.completed",
        });
        mem::take(&mut self.events)
    }

    #[must_use]
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }

    /// Records that the response could not be stored.
    pub(crate) fn mark_not_stored(&mut self) {
        self.response.store = false;
    }

    /// Records that the answer could not be appended to its conversation.
    pub(crate) fn mark_not_appended(&mut self) {
        self.response.conversation = None;
    }

    #[must_use]
    pub(crate) fn into_response(self) -> Response {
        self.response
    }

    fn push_event(&mut self, name: &'static str, body: EventBody) {
        self.events.push(ResponseEvent { name, sequence_number: self.sequence, body });
        self.sequence += 1;
    }

    fn push_response(&mut self, name: &'static str) {
        self.push_event(name, EventBody::Response { response: Box::new(self.response.clone()) });
    }

    /// Position in `output` of the item that is being written.
    fn output_index(&self) -> u32 {
        self.response.output.len() as u32
    }

    fn begin(&mut self, kind: Kind) {
        if !matches!(kind, Kind::Message) {
            // The tokens so far belong to no text.
            self.pending_logprobs.clear();
        }
        self.close(ItemStatus::Completed);
        let (open, output_index) = (OpenItem::new(kind), self.output_index());
        let item = open.item(ItemStatus::InProgress);
        self.push_event("response.output_item.added", EventBody::Item { output_index, item });
        if let Some(part) = open.part() {
            let body = EventBody::Part { item_id: open.id.clone(), output_index, content_index: 0, part };
            self.push_event("response.content_part.added", body);
        }
        self.open = Some(open);
    }

    fn add(&mut self, delta: String) {
        let output_index = self.output_index();
        let Some(open) = self.open.as_mut().filter(|_| !delta.is_empty()) else { return };
        open.text.push_str(&delta);
        let item_id = open.id.clone();
        let scores = mem::take(&mut self.pending_logprobs);
        let text = |delta, logprobs| EventBody::TextDelta {
            item_id: item_id.clone(),
            output_index,
            content_index: 0,
            delta,
            logprobs,
        };
        let (name, body) = match open.kind {
            Kind::Message => {
                open.logprobs.extend(scores.iter().cloned());
                ("response.output_text.delta", text(delta, Some(scores)))
            }
            Kind::Reasoning => ("response.reasoning_text.delta", text(delta, None)),
            Kind::Call { .. } => (
                "response.function_call_arguments.delta",
                EventBody::ArgumentsDelta { item_id, output_index, delta },
            ),
        };
        self.push_event(name, body);
    }

    fn close(&mut self, status: ItemStatus) {
        let Some(mut open) = self.open.take() else { return };
        let (output_index, content_index, item_id) = (self.output_index(), 0, open.id.clone());
        let text = |open: &OpenItem, logprobs| EventBody::TextDone {
            item_id: item_id.clone(),
            output_index,
            content_index,
            text: open.text.clone(),
            logprobs,
        };
        let (name, body) = match &open.kind {
            Kind::Message => {
                open.logprobs.append(&mut self.pending_logprobs);
                ("response.output_text.done", text(&open, Some(open.logprobs.clone())))
            }
            Kind::Reasoning => ("response.reasoning_text.done", text(&open, None)),
            Kind::Call { name, .. } => (
                "response.function_call_arguments.done",
                EventBody::ArgumentsDone {
                    item_id: item_id.clone(),
                    output_index,
                    name: name.clone(),
                    arguments: open.text.clone(),
                },
            ),
        };
        self.push_event(name, body);
        if let Some(part) = open.part() {
            let body = EventBody::Part { item_id, output_index, content_index, part };
            self.push_event("response.content_part.done", body);
        }
        let item = open.item(status);
        self.push_event("response.output_item.done", EventBody::Item { output_index, item: item.clone() });
        self.response.output.push(item);
    }
}

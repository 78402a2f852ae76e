//! Finds out what a template can show, when the model loads: renders short conversations and looks for their words in
//! the result.

use serde_json::{Value, json};

use super::{ChatTemplate, Message, RenderContext, RenderLimits, Role, TemplateError, ToolStyle, Variables};

const MARK: &str = "message-mark";

/// Roles whose messages a template reads as a list of typed parts. Given plain text, such a template would iterate over
/// the letters and show none of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ContentForms {
    system: bool,
    user: bool,
    assistant: bool,
    pub(super) tool: bool,
}

impl ContentForms {
    fn of_mut(&mut self, role: Role) -> &mut bool {
        match role {
            Role::System => &mut self.system,
            Role::User => &mut self.user,
            Role::Assistant => &mut self.assistant,
            Role::Tool => &mut self.tool,
        }
    }

    /// Puts the contents of `messages` into the form that the template reads.
    pub(super) fn apply(self, messages: &mut Value) {
        if self == Self::default() {
            return;
        }
        for message in messages.as_array_mut().into_iter().flatten() {
            let as_parts = match message["role"].as_str() {
                Some("system") => self.system,
                Some("user") => self.user,
                Some("assistant") => self.assistant,
                _ => self.tool,
            };
            let content = &mut message["content"];
            if as_parts && content.is_string() {
                *content = match content.take() {
                    Value::String(text) if text.is_empty() => json!([]),
                    text => json!([{"type": "text", "text": text}]),
                };
            }
        }
    }
}

impl ChatTemplate {
    /// Sets everything that is found out by trying.
    pub(super) fn probe(&mut self) -> Result<(), TemplateError> {
        self.probe_user()?;
        let question = || Message::new(Role::User, "question");
        let system = [Message::new(Role::System, MARK), question()];
        self.places_system = self.finds_form(Role::System, &system);
        let answer = [question(), Message::new(Role::Assistant, MARK), question()];
        self.finds_form(Role::Assistant, &answer);
        let late = [
            question(),
            Message::new(Role::Assistant, "answer"),
            Message::new(Role::System, MARK),
            question(),
        ];
        self.places_late_system = self.places_system && self.shows(&late);
        self.forms.tool = self.forms.user;
        self.tools = ToolStyle::of(self);
        if self.tools == ToolStyle::Text {
            self.forms.tool = !self.forms.user;
            self.tools = ToolStyle::of(self);
            self.forms.tool &= self.tools != ToolStyle::Text;
        }
        Ok(())
    }

    /// Checks that the question appears in the prompt. Without this, the model would answer a prompt that lacks it.
    fn probe_user(&mut self) -> Result<(), TemplateError> {
        let asked = Message::new(Role::User, MARK);
        let conversations = [
            vec![asked.clone()],
            vec![Message::new(Role::System, "rule"), asked.clone()],
            vec![Message::new(Role::User, "question"), Message::new(Role::Assistant, "answer"), asked],
        ];
        if conversations.iter().any(|conversation| self.finds_form(Role::User, conversation)) {
            return Ok(());
        }
        match self.trial(&conversations[0]) {
            Ok(_) => Err(TemplateError::HidesUserMessage),
            Err(TemplateError::Refused(reason) | TemplateError::LimitExceeded(reason)) => {
                Err(TemplateError::Unusable(reason))
            }
            Err(error) => Err(error),
        }
    }

    /// Tries both forms for messages of `role`, text first, and keeps one that shows the mark. Returns whether there is
    /// one.
    fn finds_form(&mut self, role: Role, messages: &[Message]) -> bool {
        for as_parts in [false, true] {
            *self.forms.of_mut(role) = as_parts;
            if self.shows(messages) {
                return true;
            }
        }
        *self.forms.of_mut(role) = false;
        false
    }

    /// Whether the mark in `messages` appears in the prompt.
    fn shows(&self, messages: &[Message]) -> bool {
        self.trial(messages).is_ok_and(|prompt| prompt.contains(MARK))
    }

    fn trial(&self, messages: &[Message]) -> Result<String, TemplateError> {
        self.render_as_given(messages, &[], &RenderContext::trial(&Variables::new(), &RenderLimits::none()))
    }
}

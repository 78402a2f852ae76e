//! Rearranges conversations for templates that want the system message first and alternating turns of user and
//! assistant. Messages are merged and moved, so that nothing is lost.

use super::{Message, Role};

/// The conversation in that order; `None` if it has it already.
pub(super) fn by_turns(messages: &[Message]) -> Option<Vec<Message>> {
    let mut out: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    let mut alone = true;
    for message in with_system_first(messages) {
        if alone && !matches!(message.role, Role::System | Role::User) {
            out.push(Message::new(Role::User, ""));
        }
        alone &= message.role == Role::System;
        match out.last_mut().filter(|last| last.role == message.role && last.role != Role::Tool) {
            Some(last) => {
                add(&mut last.content, &message.content);
                last.tool_calls.extend(message.tool_calls);
            }
            None => out.push(message),
        }
    }
    (out != messages).then_some(out)
}

/// Whether a system message follows another turn.
pub(super) fn has_late_system(messages: &[Message]) -> bool {
    let mut rest = messages.iter().skip_while(|message| message.role == Role::System);
    rest.any(|message| message.role == Role::System)
}

/// Moves system messages that are not at the beginning in front of the next user message.
pub(super) fn with_system_first(messages: &[Message]) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::with_capacity(messages.len());
    let mut moved = String::new();
    let mut late = false;
    for message in messages {
        late |= message.role != Role::System;
        match message.role {
            Role::System if late => add(&mut moved, &message.content),
            Role::User if !moved.is_empty() => {
                let mut content = std::mem::take(&mut moved);
                add(&mut content, &message.content);
                out.push(Message { content, ..message.clone() });
            }
            _ => out.push(message.clone()),
        }
    }
    if !moved.is_empty() {
        out.push(Message::new(Role::User, moved));
    }
    out
}

fn add(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

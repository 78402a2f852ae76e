//! How tools get into a prompt: what a template can show, and a description in words for templates that can't.

use std::collections::HashMap;

use super::{ChatTemplate, Message, RenderContext, RenderLimits, Role, Tool, ToolCall, Variables, json};

/// How tools, calls and results get into a prompt. All three use the same style, so that the model never reads of one
/// syntax and sees another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolStyle {
    /// As text in Hermes' syntax, because the template drops or refuses some of them.
    Text,
    /// The template writes them.
    Shown {
        /// The template appends arguments to text, so they must be strings.
        string_arguments: bool,
        /// The template refuses ids that don't have nine letters or digits (Mistral).
        short_ids: bool,
    },
}

impl ToolStyle {
    /// Finds the style by rendering a conversation with one call and its result.
    pub(super) fn of(template: &ChatTemplate) -> Self {
        const LONG: &str = "call_mark00001";
        const SHORT: &str = "mark00001";
        for (id, short_ids) in [(LONG, false), (SHORT, true)] {
            for string_arguments in [false, true] {
                let style = Self::Shown { string_arguments, short_ids };
                if shows(template, style, id) {
                    return style;
                }
            }
        }
        Self::Text
    }

    /// The conversation as it is given to the template.
    pub(super) fn messages(self, messages: &[Message], tools: &[Tool]) -> Vec<Message> {
        let Self::Shown { string_arguments, short_ids } = self else { return as_text(messages, tools) };
        let mut messages = messages.to_vec();
        if string_arguments {
            with_string_arguments(&mut messages);
        }
        if short_ids {
            with_short_ids(&mut messages);
        }
        messages
    }

    /// The tools that are given to the template.
    pub(super) fn tools(self, tools: &[Tool]) -> &[Tool] {
        if self == Self::Text { &[] } else { tools }
    }
}

fn shows(template: &ChatTemplate, style: ToolStyle, id: &str) -> bool {
    let tool = Tool {
        name: "tool_mark".into(),
        description: Some("tool-description".into()),
        parameters: serde_json::json!({"type": "object", "properties": {"key_mark": {"type": "string"}}}),
        strict: false,
    };
    let call = ToolCall {
        id: id.into(),
        name: "tool_mark".into(),
        arguments: serde_json::json!({"key_mark": "argument_mark"}),
    };
    let asked = Message::new(Role::User, "user-message");
    let called = Message { tool_calls: vec![call], ..Message::new(Role::Assistant, "") };
    let result = Message { tool_call_id: Some(id.into()), ..Message::new(Role::Tool, "result_mark") };
    let (none, any) = (Variables::new(), RenderLimits::none());
    let written = |messages: &[Message], tools: &[Tool]| {
        let context = RenderContext::trial(&none, &any);
        template.render_in(style, messages, tools, &context).unwrap_or_default()
    };
    let history = written(&[asked.clone(), called, result], std::slice::from_ref(&tool));
    // Escaped quotes would mean that the arguments were encoded as a string twice.
    let argument = ["\"argument_mark\"", "'argument_mark'", ">\nargument_mark", ">argument_mark"];
    written(&[asked], &[tool]).contains("tool_mark")
        && argument.iter().any(|mark| history.contains(mark))
        && history.contains("result_mark")
}

/// Replaces arguments by their JSON text. [`ToolCall`] then serializes to what OpenAI's clients send.
fn with_string_arguments(messages: &mut [Message]) {
    for call in messages.iter_mut().flat_map(|message| &mut message.tool_calls) {
        call.arguments = json::python_json(&call.arguments).into();
    }
}

/// Replaces ids by nine digits, counted in order of appearance.
fn with_short_ids(messages: &mut [Message]) {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut short = |id: &mut String| {
        let next = format!("{:09}", seen.len() + 1);
        *id = seen.entry(std::mem::take(id)).or_insert(next).clone();
    };
    for message in messages {
        message.tool_calls.iter_mut().for_each(|call| short(&mut call.id));
        message.tool_call_id.iter_mut().for_each(&mut short);
    }
}

/// The same conversation in plain turns: tools are described to the model, calls and results stand between tags.
fn as_text(messages: &[Message], tools: &[Tool]) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    let mut after_result = false;
    for message in messages {
        let is_result = message.role == Role::Tool;
        if is_result {
            let text = format!("<tool_response>\n{}\n</tool_response>", message.content);
            match out.last_mut().filter(|_| after_result) {
                Some(results) => results.content = format!("{}\n{text}", results.content),
                None => out.push(Message::new(Role::User, text)),
            }
        } else {
            out.push(Message::new(message.role, with_calls(message)));
        }
        after_result = is_result;
    }
    if !tools.is_empty() {
        let words = description(tools);
        match out.first_mut().filter(|message| message.role == Role::System) {
            Some(system) => system.content = format!("{}\n\n{words}", system.content),
            None => out.insert(0, Message::new(Role::System, words)),
        }
    }
    out
}

fn with_calls(message: &Message) -> String {
    let calls = message.tool_calls.iter().map(|call| {
        let call = serde_json::json!({"name": call.name, "arguments": call.arguments});
        format!("<tool_call>\n{}\n</tool_call>", json::python_json(&call))
    });
    let content = Some(message.content.clone()).filter(|content| !content.is_empty());
    content.into_iter().chain(calls).collect::<Vec<_>>().join("\n")
}

/// The description of tools for a model whose template has none. It uses Hermes' syntax, which most models have seen.
fn description(tools: &[Tool]) -> String {
    let listed: Vec<String> = tools.iter().map(json::python_json).collect();
    format!(
        "You can call functions. They are listed here, one JSON object a line:\n<tools>\n{}\n</tools>\n\
         To call one, answer with its name and its arguments as a JSON object between these tags, and nothing after them:\n\
         <tool_call>\n{{\"name\": \"function name\", \"arguments\": {{\"argument\": \"value\"}}}}\n</tool_call>\n\
         What it gives back then comes between <tool_response> and </tool_response>. When no function helps, answer in words.",
        listed.join("\n")
    )
}

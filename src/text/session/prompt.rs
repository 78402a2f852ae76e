//! What a model reads of a conversation or a text. What it answers is the session's.

use serde_json::{Map, Value};

use super::{LoadedModel, SessionError};
use crate::text::template::map_strings;
use crate::text::{ChatTemplate, Message, TemplateError, Tool};

/// Characters that no standard gives a meaning.
const PRIVATE_CHARACTERS: std::ops::RangeInclusive<char> = '\u{F0000}'..='\u{FFFFD}';

/// What a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// As text.
    pub text: String,
    /// As tokens.
    pub ids: Vec<u32>,
}

/// How a conversation becomes a prompt, beyond its messages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rendering {
    /// The last message stays open, and the answer continues it.
    pub continues: bool,
    /// The prompt ends behind the last message: no turn is opened for the answer.
    pub closed: bool,
    /// Variables for the template, such as `enable_thinking`.
    pub variables: Map<String, Value>,
}

impl LoadedModel {
    /// Tokens of the prompt for `messages`.
    ///
    /// # Errors
    /// As [`LoadedModel::chat_prompt`].
    pub fn prompt_tokens(&self, messages: &[Message]) -> Result<usize, SessionError> {
        Ok(self.chat_prompt(messages, &[])?.ids.len())
    }

    /// A text as the model reads it, the texts of control tokens being these.
    #[must_use]
    pub fn text_prompt(&self, text: String) -> Prompt {
        Prompt { ids: self.tokenizer.encode_prompt(&text), text }
    }

    /// The prompt for `messages` by the model's chat template, up to where the answer begins. What a message or a tool says
    /// is text: it can't open or close a turn.
    ///
    /// # Errors
    /// [`SessionError::Template`] when the model has no chat template or it refuses the messages.
    pub fn chat_prompt(&self, messages: &[Message], tools: &[Tool]) -> Result<Prompt, SessionError> {
        self.rendered_prompt(messages, tools, &Rendering::default())
    }

    /// The same, rendered as `how` says.
    ///
    /// # Errors
    /// As [`LoadedModel::chat_prompt`].
    pub fn rendered_prompt(
        &self,
        messages: &[Message],
        tools: &[Tool],
        how: &Rendering,
    ) -> Result<Prompt, SessionError> {
        let template = self.template.as_ref().ok_or(TemplateError::Missing)?;
        let mut seen = String::new();
        let mut keep = |text: &str| {
            seen.extend(text.chars().filter(|c| PRIVATE_CHARACTERS.contains(c)));
            String::new()
        };
        messages.iter().for_each(|message| drop(message.map_text(&mut keep)));
        tools.iter().for_each(|tool| drop(tool.map_text(&mut keep)));
        how.variables.values().for_each(|value| drop(map_strings(value, &mut keep)));
        let mut free = PRIVATE_CHARACTERS.filter(|mark| !seen.contains(*mark));
        let mut mark = || free.next().expect("no prompt holds all 65,534 of them");
        let (mark, end) = (mark(), mark());
        let mut guard = |text: &str| self.tokenizer.guard(text, mark);
        let messages: Vec<Message> = messages.iter().map(|message| message.map_text(&mut guard)).collect();
        let tools: Vec<Tool> = tools.iter().map(|tool| tool.map_text(&mut guard)).collect();
        let guarded =
            how.variables.iter().map(|(name, value)| (name.clone(), map_strings(value, &mut guard)));
        let how = Rendering { variables: guarded.collect(), ..*how };
        let rendered = rendered(template, messages, &tools, &how, end)?;
        let ids = self.tokenizer.encode_guarded(&rendered, mark);
        Ok(Prompt { text: rendered.replace(mark, ""), ids })
    }
}

/// What the template writes. A last message that stays open is cut where its content ends, which is told by the mark `end` in its
/// place; where a template doesn't show it, the content follows the opening of a new turn.
fn rendered(
    template: &ChatTemplate,
    mut messages: Vec<Message>,
    tools: &[Tool],
    how: &Rendering,
    end: char,
) -> Result<String, TemplateError> {
    let render =
        |messages: &[Message], opens: bool| template.render_with(messages, tools, opens, &how.variables);
    let Some(last) = messages.last_mut().filter(|_| how.continues) else {
        return render(&messages, !how.closed);
    };
    let content = std::mem::replace(&mut last.content, end.to_string());
    let shown = render(&messages, false)?;
    if let Some(at) = shown.rfind(end) {
        return Ok(shown[..at].to_owned() + &content);
    }
    messages.pop();
    Ok(render(&messages, true)? + &content)
}

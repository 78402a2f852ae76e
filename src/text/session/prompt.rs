//! What a model reads of a conversation or a text. What it answers is the session's.

use serde_json::{Map, Value};

use super::{LoadedModel, SessionError};
use crate::text::template::map_strings;
use crate::text::{Allowance, ChatTemplate, Message, TemplateError, Tool, Waited};

/// Characters that no standard gives a meaning.
const PRIVATE_CHARACTERS: std::ops::RangeInclusive<char> = '\u{F0000}'..='\u{FFFFD}';
/// A text in which a mark of four bytes stands behind each character is so many times as long.
const MARKED_TIMES: usize = 5;

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
    ///
    /// # Errors
    /// [`SessionError::Ended`] when nobody waits for it any more.
    pub fn text_prompt(&self, text: String, waited: &Waited) -> Result<Prompt, SessionError> {
        let ids = self.tokenizer.encode_while(&text, true, &|| waited.goes_on());
        Ok(Prompt { ids: self.tokenizer.framed(ids.ok_or(SessionError::Ended)?), text })
    }

    /// The prompt for `messages` by the model's chat template, up to where the answer begins. What a message or a tool says
    /// is text: it can't open or close a turn.
    ///
    /// # Errors
    /// [`SessionError::Template`] when the model has no chat template or it refuses the messages.
    pub fn chat_prompt(&self, messages: &[Message], tools: &[Tool]) -> Result<Prompt, SessionError> {
        self.rendered_prompt(messages, tools, &Rendering::default(), &self.allowance(Waited::default()))
    }

    /// What making a prompt that the model can read may take.
    #[must_use]
    pub fn allowance(&self, waited: Waited) -> Allowance {
        // What a template writes between the turns are control tokens, whose texts may be the longest.
        let bytes_max = self.context_tokens.saturating_mul(self.tokenizer.any_token_bytes_max());
        Allowance { bytes_max, waited }
    }

    /// The same, rendered as `how` says, within an allowance.
    ///
    /// # Errors
    /// As [`LoadedModel::chat_prompt`], and where it takes more than is allowed.
    pub fn rendered_prompt(
        &self,
        messages: &[Message],
        tools: &[Tool],
        how: &Rendering,
        allowance: &Allowance,
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
        let mut is_guarded = false;
        let mut guard = |text: &str| {
            let guarded = self.tokenizer.guard(text, mark);
            is_guarded |= guarded.len() > text.len();
            guarded
        };
        let messages: Vec<Message> = messages.iter().map(|message| message.map_text(&mut guard)).collect();
        let tools: Vec<Tool> = tools.iter().map(|tool| tool.map_text(&mut guard)).collect();
        let guarded =
            how.variables.iter().map(|(name, value)| (name.clone(), map_strings(value, &mut guard)));
        let how = Rendering { variables: guarded.collect(), ..*how };
        let bytes_max = allowance.bytes_max;
        // Until the marks are gone the text may be longer than the prompt.
        let with_marks = if is_guarded { bytes_max.saturating_mul(MARKED_TIMES) } else { bytes_max };
        let within = Allowance { bytes_max: with_marks, ..allowance.clone() };
        let rendered = rendered(template, messages, &tools, &how, end, &within)?;
        let text = rendered.replace(mark, "");
        if text.len() > bytes_max {
            return Err(TemplateError::TooLong { bytes_max }.into());
        }
        let goes_on = || allowance.waited.goes_on();
        let ids = self.tokenizer.encode_guarded(&rendered, mark, &goes_on).ok_or(SessionError::Ended)?;
        Ok(Prompt { text, ids })
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
    allowance: &Allowance,
) -> Result<String, TemplateError> {
    let render = |messages: &[Message], opens: bool| {
        template.render_with(messages, tools, opens, &how.variables, allowance)
    };
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

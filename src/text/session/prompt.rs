//! Makes the prompt that a model reads from a conversation or a text.

use serde_json::{Map, Value};

use super::{LoadedModel, SessionError};
use crate::template::map_strings;
use crate::{Allowance, ChatTemplate, Message, TemplateError, Tool, Waited};

/// Private-use characters: no standard gives them a meaning.
const PRIVATE_CHARACTERS: std::ops::RangeInclusive<char> = '\u{F0000}'..='\u{FFFFD}';
/// How many times as long a text becomes if a mark of four bytes follows each character of one byte.
const MARKED_TIMES: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub text: String,
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
    /// The number of tokens of the prompt for `messages`.
    ///
    /// # Errors
    /// As [`LoadedModel::chat_prompt`].
    pub fn prompt_tokens(&self, messages: &[Message]) -> Result<usize, SessionError> {
        Ok(self.chat_prompt(messages, &[])?.ids.len())
    }

    /// A prompt of plain text, without a template. The names of control tokens in it become control tokens.
    ///
    /// # Errors
    /// [`SessionError::Ended`] when nobody waits for it any more.
    pub fn text_prompt(&self, text: String, waited: &Waited) -> Result<Prompt, SessionError> {
        let ids = self.tokenizer.encode_while(&text, true, &|| waited.goes_on());
        Ok(Prompt { ids: self.tokenizer.framed(ids.ok_or(SessionError::Ended)?), text })
    }

    /// The prompt for `messages` by the model's chat template, up to where the answer begins. Names of control tokens
    /// in messages and tools stay plain text, so they can't open or close a turn.
    ///
    /// # Errors
    /// [`SessionError::Template`] when the model has no chat template or it refuses the messages.
    pub fn chat_prompt(&self, messages: &[Message], tools: &[Tool]) -> Result<Prompt, SessionError> {
        self.rendered_prompt(messages, tools, &Rendering::default(), &self.allowance(Waited::default()))
    }

    /// The limits for rendering a prompt that still fits into the context.
    #[must_use]
    pub fn allowance(&self, waited: Waited) -> Allowance {
        // A template writes control tokens between the turns, and their names may be the longest.
        let bytes_max = self.context_tokens.saturating_mul(self.tokenizer.any_token_bytes_max());
        Allowance { bytes_max, waited }
    }

    /// The same, rendered as `how` says, within the limits of `allowance`.
    ///
    /// # Errors
    /// As [`LoadedModel::chat_prompt`], and when a limit is exceeded.
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
        // The text is longer while it contains the marks.
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

/// Renders the template. If the last message stays open, its content is replaced by the mark `end`, and the text is cut
/// there. If the template doesn't show that content, it is written after the opening of a new turn.
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

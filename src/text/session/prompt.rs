//! Makes the prompt that a model reads from a conversation or a text.

use serde_json::{Map, Value};

use super::{LoadedModel, SessionError};
use crate::template::map_strings;
use crate::{Cancellation, ChatTemplate, Message, RenderLimits, TemplateError, Tool};

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
pub struct RenderOptions {
    /// The last message stays open, and the answer continues it.
    pub continue_final_message: bool,
    /// The prompt ends behind the last message: no turn is opened for the answer.
    pub no_generation_prompt: bool,
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
    /// [`SessionError::Cancelled`].
    pub fn text_prompt(&self, text: String, cancellation: &Cancellation) -> Result<Prompt, SessionError> {
        let ids = self.shared.tokenizer.encode_cancellable(&text, true, cancellation);
        Ok(Prompt { ids: self.shared.tokenizer.with_bos_eos(ids.ok_or(SessionError::Cancelled)?), text })
    }

    /// The prompt for `messages` by the model's chat template, up to where the answer begins. Names of control tokens
    /// in messages and tools stay plain text, so they can't open or close a turn.
    ///
    /// # Errors
    /// [`SessionError::Template`] when the model has no chat template or it refuses the messages.
    pub fn chat_prompt(&self, messages: &[Message], tools: &[Tool]) -> Result<Prompt, SessionError> {
        self.rendered_prompt(
            messages,
            tools,
            &RenderOptions::default(),
            &self.render_limits(Cancellation::default()),
        )
    }

    /// The limits for rendering a prompt that still fits into the context.
    #[must_use]
    pub fn render_limits(&self, cancellation: Cancellation) -> RenderLimits {
        // A template writes control tokens between the turns, and their names may be the longest.
        let bytes_max = self.context_tokens.saturating_mul(self.shared.tokenizer.any_token_bytes_max());
        RenderLimits { bytes_max, cancellation }
    }

    /// The same, rendered as `options` say, within `limits`.
    ///
    /// # Errors
    /// As [`LoadedModel::chat_prompt`], and when a limit is exceeded.
    pub fn rendered_prompt(
        &self,
        messages: &[Message],
        tools: &[Tool],
        options: &RenderOptions,
        limits: &RenderLimits,
    ) -> Result<Prompt, SessionError> {
        let template = self.template.as_ref().ok_or(TemplateError::Missing)?;
        let mut seen = String::new();
        let mut keep = |text: &str| {
            seen.extend(text.chars().filter(|c| PRIVATE_CHARACTERS.contains(c)));
            String::new()
        };
        messages.iter().for_each(|message| drop(message.map_text(&mut keep)));
        tools.iter().for_each(|tool| drop(tool.map_text(&mut keep)));
        options.variables.values().for_each(|value| drop(map_strings(value, &mut keep)));
        let mut free = PRIVATE_CHARACTERS.filter(|mark| !seen.contains(*mark));
        let mut mark = || free.next().expect("no prompt holds all 65,534 of them");
        let (mark, end) = (mark(), mark());
        let mut is_guarded = false;
        let mut guard = |text: &str| {
            let guarded = self.shared.tokenizer.guard(text, mark);
            is_guarded |= guarded.len() > text.len();
            guarded
        };
        let messages: Vec<Message> = messages.iter().map(|message| message.map_text(&mut guard)).collect();
        let tools: Vec<Tool> = tools.iter().map(|tool| tool.map_text(&mut guard)).collect();
        let guarded =
            options.variables.iter().map(|(name, value)| (name.clone(), map_strings(value, &mut guard)));
        let options = RenderOptions { variables: guarded.collect(), ..*options };
        let bytes_max = limits.bytes_max;
        // The text is longer while it contains the marks.
        let with_marks = if is_guarded { bytes_max.saturating_mul(MARKED_TIMES) } else { bytes_max };
        let within = RenderLimits { bytes_max: with_marks, ..limits.clone() };
        let rendered = rendered(template, messages, &tools, &options, end, &within)?;
        let text = rendered.replace(mark, "");
        if text.len() > bytes_max {
            return Err(TemplateError::TooLong { bytes_max }.into());
        }
        let ids = self
            .shared
            .tokenizer
            .encode_guarded(&rendered, mark, &limits.cancellation)
            .ok_or(SessionError::Cancelled)?;
        Ok(Prompt { text, ids })
    }
}

/// Renders the template. If the last message stays open, its content is replaced by the mark `end`, and the text is cut
/// there. If the template doesn't show that content, it is written after the opening of a new turn.
fn rendered(
    template: &ChatTemplate,
    mut messages: Vec<Message>,
    tools: &[Tool],
    options: &RenderOptions,
    end: char,
    limits: &RenderLimits,
) -> Result<String, TemplateError> {
    let render = |messages: &[Message], opens: bool| {
        template.render_with(messages, tools, opens, &options.variables, limits)
    };
    let Some(last) = messages.last_mut().filter(|_| options.continue_final_message) else {
        return render(&messages, !options.no_generation_prompt);
    };
    let content = std::mem::replace(&mut last.content, end.to_string());
    let shown = render(&messages, false)?;
    if let Some(at) = shown.rfind(end) {
        return Ok(shown[..at].to_owned() + &content);
    }
    messages.pop();
    Ok(render(&messages, true)? + &content)
}

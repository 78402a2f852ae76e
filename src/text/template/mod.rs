//! Chat templates: messages to the prompt that a model was trained on, like Hugging Face's `apply_chat_template`.
//!
//! A template is a program from the model's file, so it runs on limited fuel and sees only the messages and the tools.
//! What it can show is found out by trying when the model loads; the rest is written as text.

mod alternate;
mod json;
mod message;
mod probe;
#[cfg(test)]
mod tests;
mod tools;

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use bandmaster_models::gguf::{Gguf, GgufError};
use serde_json::Value;

pub(super) use message::map_strings;
pub use message::{Message, Role, Tool, ToolCall};
use probe::ContentForms;
use tools::ToolStyle;

use super::Cancellation;
use super::jinja::{self, Limits, Template};
use super::tokenizer::Tokenizer;

/// Steps of one rendering, in addition to one for each byte of the conversation: a second at most.
const FUEL: u64 = 20_000_000;
/// The same for the short conversations that find out what a template can show.
const TRIAL_FUEL: u64 = FUEL / 20;
/// Memory of one rendering, in addition to `RENDER_COPIES` times the conversation.
const RENDER_BYTES: usize = 64 << 20;
/// Templates copy what they trim, split and join.
const RENDER_COPIES: usize = 8;
/// Rough memory of a JSON value in addition to its text.
const NODE_BYTES: usize = 128;

/// For files without a template whose vocabulary has ChatML's tokens.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\
     {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(
        "the model has no chat template and no ChatML tokens, so it was not trained to follow a conversation: use the instruction-tuned version of it"
    )]
    Missing,
    #[error("the model's chat template does not parse: {0}")]
    Syntax(String),
    #[error(
        "the model's chat template does not show what a user says, neither as text nor as a list of parts: use another version of the model"
    )]
    HidesUserMessage,
    #[error("the model's chat template fails for a single question: {0}")]
    Unusable(String),
    /// The template raised an exception, or used something undefined.
    #[error("the model's chat template refuses the messages: {0}")]
    Refused(String),
    /// The rendering exceeded its limits.
    #[error("the model's chat template exceeds a limit with these messages: {0}")]
    LimitExceeded(String),
    #[error(
        "the prompt that the model's chat template makes has more than {bytes_max} bytes, which is the limit: shorten the conversation"
    )]
    TooLong { bytes_max: usize },
    #[error("the request was cancelled")]
    Cancelled,
}

/// The limits for making a prompt.
#[derive(Debug, Clone)]
pub struct RenderLimits {
    /// Bytes of the prompt's text.
    pub bytes_max: usize,
    /// Tells when the request was cancelled.
    pub cancellation: Cancellation,
}

impl RenderLimits {
    /// No limits.
    #[must_use]
    pub fn none() -> Self {
        Self { bytes_max: usize::MAX, cancellation: Cancellation::default() }
    }
}

impl From<jinja::Error> for TemplateError {
    fn from(error: jinja::Error) -> Self {
        match error {
            jinja::Error::Syntax { .. } | jinja::Error::Unsupported { .. } => Self::Syntax(error.to_string()),
            jinja::Error::Limit(what) => Self::LimitExceeded(what),
            jinja::Error::TooLong => Self::LimitExceeded(error.to_string()),
            jinja::Error::Cancelled => Self::Cancelled,
            jinja::Error::Raised(_) | jinja::Error::Failed { .. } => Self::Refused(error.to_string()),
        }
    }
}

#[derive(Debug)]
pub struct ChatTemplate {
    template: Template,
    bos_token: String,
    eos_token: String,
    /// The template as it came from the file.
    source: String,
    /// The forms in which the template reads the contents of messages.
    forms: ContentForms,
    /// Whether the template shows a system message. If not, its text goes in front of the first user message.
    places_system: bool,
    /// Whether it also shows one after other turns. If not, its text goes in front of the next user message.
    places_late_system: bool,
    tools: ToolStyle,
}

/// Variables that a client sets, such as `enable_thinking`.
type Variables = serde_json::Map<String, Value>;

/// What a rendering needs in addition to the conversation and the tools.
struct RenderContext<'a> {
    /// Whether the prompt ends where the model's next turn begins.
    add_generation_prompt: bool,
    fuel: u64,
    limits: &'a RenderLimits,
    variables: &'a Variables,
}

impl RenderContext<'_> {
    /// For finding out what a template can show.
    fn trial<'a>(variables: &'a Variables, limits: &'a RenderLimits) -> RenderContext<'a> {
        RenderContext { add_generation_prompt: true, fuel: TRIAL_FUEL, limits, variables }
    }
}

impl ChatTemplate {
    /// The template of a file, or ChatML if the file has none and `tokenizer` has ChatML's tokens.
    ///
    /// # Errors
    /// [`TemplateError`] when there is neither, or the template can't be used.
    pub fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let chatml = ["<|im_start|>", "<|im_end|>"];
        let source = match gguf.value::<&str>("tokenizer.chat_template")? {
            Some(source) => source,
            None if chatml.iter().all(|text| tokenizer.special_token(text).is_some()) => CHATML,
            None => return Err(TemplateError::Missing),
        };
        let text_of = |id: Option<u32>| {
            let bytes = id.map_or(&[][..], |id| tokenizer.decode_bytes(id));
            String::from_utf8_lossy(bytes).into_owned()
        };
        Self::new(source, text_of(tokenizer.bos()), text_of(tokenizer.eos()))
    }

    /// Parses a template and finds out what it can show. `bos_token` and `eos_token` are texts that it may use.
    ///
    /// # Errors
    /// [`TemplateError`] when it is not Jinja, is not supported, or does not show the user's question.
    pub fn new(source: &str, bos_token: String, eos_token: String) -> Result<Self, TemplateError> {
        jinja::on_own_stack(|| {
            // Reading the source may hit a limit, but that is no refusal of messages.
            let template =
                Template::parse(source).map_err(|error| TemplateError::Syntax(error.to_string()))?;
            let source = source.to_owned();
            let mut template = Self {
                template,
                bos_token,
                eos_token,
                source,
                forms: ContentForms::default(),
                places_system: true,
                places_late_system: true,
                tools: ToolStyle::Text,
            };
            template.probe()?;
            Ok(template)
        })?
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the template itself writes tools, calls and results. Otherwise they are written as text in Hermes'
    /// syntax.
    pub fn shows_tools(&self) -> bool {
        self.tools != ToolStyle::Text
    }

    /// The prompt for `messages` and for a model that may call `tools`. With `add_generation_prompt` it ends where the
    /// model's next turn begins.
    ///
    /// # Errors
    /// [`TemplateError::Refused`].
    pub fn render(
        &self,
        messages: &[Message],
        tools: &[Tool],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        self.render_with(messages, tools, add_generation_prompt, &Variables::new(), &RenderLimits::none())
    }

    /// The same with a client's own variables, which can't replace the standard ones, and
    /// within `limits`.
    ///
    /// # Errors
    /// [`TemplateError::Refused`], and other variants when a limit is exceeded.
    pub(crate) fn render_with(
        &self,
        messages: &[Message],
        tools: &[Tool],
        add_generation_prompt: bool,
        variables: &Variables,
        limits: &RenderLimits,
    ) -> Result<String, TemplateError> {
        let context = RenderContext { add_generation_prompt, fuel: FUEL, limits, variables };
        jinja::on_own_stack(|| self.render_in(self.tools, messages, tools, &context))?
    }

    fn render_in(
        &self,
        style: ToolStyle,
        messages: &[Message],
        tools: &[Tool],
        context: &RenderContext,
    ) -> Result<String, TemplateError> {
        let speaks_of_tools =
            |message: &Message| !message.tool_calls.is_empty() || message.role == Role::Tool;
        let mut messages = Cow::Borrowed(messages);
        let mut tools = tools;
        if !tools.is_empty() || messages.iter().any(speaks_of_tools) {
            messages = style.messages(&messages, tools).into();
            tools = style.tools(tools);
        }
        if !self.places_system {
            messages = without_system(&messages).into();
        } else if !self.places_late_system && alternate::has_late_system(&messages) {
            messages = alternate::with_system_first(&messages).into();
        }
        let rendered = self.render_as_given(&messages, tools, context);
        let Err(TemplateError::Refused(_)) = rendered else { return rendered };
        // Many templates raise an exception when turns don't alternate.
        let Some(by_turns) = alternate::by_turns(&messages) else { return rendered };
        self.render_as_given(&by_turns, tools, context).or(rendered)
    }

    fn render_as_given(
        &self,
        messages: &[Message],
        tools: &[Tool],
        context: &RenderContext,
    ) -> Result<String, TemplateError> {
        let unwritten = |error: serde_json::Error| TemplateError::Refused(error.to_string());
        let mut messages: Value = serde_json::to_value(messages).map_err(unwritten)?;
        self.forms.apply(&mut messages);
        let tools = match tools {
            [] => Value::Null,
            tools => serde_json::to_value(tools).map_err(unwritten)?,
        };
        let given: usize = context.variables.values().map(weight).sum();
        let weight = weight(&messages) + weight(&tools) + given;
        let mut variables = vec![
            ("messages", messages),
            ("tools", tools),
            ("add_generation_prompt", context.add_generation_prompt.into()),
            ("bos_token", self.bos_token.as_str().into()),
            ("eos_token", self.eos_token.as_str().into()),
        ];
        let own = variables.len();
        for (name, value) in context.variables {
            if variables[..own].iter().all(|(known, _)| known != name) {
                variables.push((name.as_str(), value.clone()));
            }
        }
        if !context.variables.contains_key("documents") {
            variables.push(("documents", Value::Null));
        }
        let limits = Limits {
            fuel: context.fuel.saturating_add(weight as u64),
            bytes: RENDER_BYTES.saturating_add(weight.saturating_mul(RENDER_COPIES)),
            written_bytes: context.limits.bytes_max,
            cancellation: context.limits.cancellation.clone(),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.template.render(&variables, now, &limits).map_err(|error| match error {
            jinja::Error::TooLong => TemplateError::TooLong { bytes_max: context.limits.bytes_max },
            error => error.into(),
        })
    }
}

/// Rough memory of a value.
fn weight(value: &Value) -> usize {
    NODE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(weight).sum(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| NODE_BYTES + key.len() + weight(value)).sum()
            }
            _ => 0,
        }
}

/// The same conversation with the system messages' texts in front of the first user message.
fn without_system(messages: &[Message]) -> Vec<Message> {
    let (system, mut rest): (Vec<Message>, Vec<Message>) =
        messages.iter().cloned().partition(|message| message.role == Role::System);
    let system: Vec<String> = system.into_iter().map(|message| message.content).collect();
    let system = system.join("\n\n");
    match rest.iter_mut().find(|message| message.role == Role::User) {
        _ if system.is_empty() => {}
        Some(first) => first.content = format!("{system}\n\n{}", first.content),
        None => rest.insert(0, Message::new(Role::User, system)),
    }
    rest
}

//! Chat templates: messages to the prompt a model was trained on, rendered as Hugging Face's `apply_chat_template` does.
//!
//! A template is a program from the model's file, so it runs on fuel and sees nothing but the messages and the tools. What
//! it can show is found out by trying, when the model loads; what it can't is written as text.

mod alternate;
mod functions;
mod message;
#[cfg(test)]
mod tests;
mod tools;

use std::borrow::Cow;

use bandmaster_models::gguf::{Gguf, GgufError};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};

pub(super) use message::map_strings;
pub use message::{Message, Role, Tool, ToolCall};
use tools::ToolStyle;

use super::tokenizer::Tokenizer;

/// Instructions one rendering may take: some hundred thousand messages' worth, and a second at most.
const FUEL: u64 = 20_000_000;
/// The same while it is found out what a template can show: those messages are short.
const TRIAL_FUEL: u64 = FUEL / 20;
const NAME: &str = "chat";

/// For files without a template whose vocabulary has the tokens.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}\
     {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A template that isn't there, doesn't parse, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Metadata of the wrong type.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A base model.
    #[error(
        "the model has no chat template and no ChatML tokens, so it was not trained to follow a conversation: use the instruction-tuned version of it"
    )]
    Missing,
    /// Not Jinja, or Jinja that isn't known here.
    #[error("the model's chat template does not parse: {0}")]
    Syntax(String),
    /// The template raised an exception, used up its fuel, or met something undefined.
    #[error("the model's chat template refuses the messages: {0}")]
    Refused(String),
}

/// A model's chat template, parsed.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    /// As it came from the file.
    source: String,
    /// Whether the template places a system message; otherwise its text goes in front of the first user message.
    places_system: bool,
    /// Whether it places one behind other turns, too; otherwise its text goes in front of the user message that follows.
    places_late_system: bool,
    tools: ToolStyle,
}

/// Variables that a client sets, such as `enable_thinking`.
type Variables = serde_json::Map<String, serde_json::Value>;

impl ChatTemplate {
    /// The template of a file, or ChatML where the file has none and `tokenizer` has its tokens.
    ///
    /// # Errors
    /// [`TemplateError`] when there is neither, or the template doesn't parse.
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

    /// Parses a template; `bos_token` and `eos_token` are the texts it may use.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`].
    pub fn new(source: &str, bos_token: String, eos_token: String) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| TemplateError::Syntax(e.to_string()))?);
        environment.set_fuel(Some(TRIAL_FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        functions::register(&mut environment);
        environment
            .add_template_owned(NAME, functions::without_training_marks(source))
            .map_err(|e| TemplateError::Syntax(e.to_string()))?;
        let source = source.to_owned();
        let (places_system, places_late_system, tools) = (true, true, ToolStyle::Text);
        let mut template =
            Self { environment, bos_token, eos_token, source, places_system, places_late_system, tools };
        template.places_system = template.shows_system();
        template.places_late_system = template.places_system && template.shows_late_system();
        template.tools = ToolStyle::of(&template);
        template.environment.set_fuel(Some(FUEL));
        Ok(template)
    }

    /// The template as it came from the model's file.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether tools, calls and results come out as the template writes them; otherwise they are written as text, in
    /// Hermes' form.
    pub fn shows_tools(&self) -> bool {
        self.tools != ToolStyle::Text
    }

    /// Tries whether a system message comes out again: some templates raise an exception, some drop it silently.
    fn shows_system(&self) -> bool {
        const MARK: &str = "system-message-mark";
        let messages = [Message::new(Role::System, MARK), Message::new(Role::User, "user-message")];
        self.render_as_given(&messages, &[], true, &Variables::new())
            .is_ok_and(|prompt| prompt.contains(MARK))
    }

    /// The same of one that stands behind other turns.
    fn shows_late_system(&self) -> bool {
        const MARK: &str = "system-message-mark";
        let (asked, answered) =
            (Message::new(Role::User, "user-message"), Message::new(Role::Assistant, "answer"));
        let messages = [asked.clone(), answered, Message::new(Role::System, MARK), asked];
        self.render_as_given(&messages, &[], true, &Variables::new())
            .is_ok_and(|prompt| prompt.contains(MARK))
    }

    /// The prompt for `messages`; with `add_generation_prompt` it ends where the model's next turn begins. `tools` are
    /// what the model may call.
    ///
    /// # Errors
    /// [`TemplateError::Refused`].
    pub fn render(
        &self,
        messages: &[Message],
        tools: &[Tool],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        self.render_with(messages, tools, add_generation_prompt, &Variables::new())
    }

    /// The same with variables of a client's own, which can't hide what every template is given.
    ///
    /// # Errors
    /// [`TemplateError::Refused`].
    pub fn render_with(
        &self,
        messages: &[Message],
        tools: &[Tool],
        add_generation_prompt: bool,
        variables: &Variables,
    ) -> Result<String, TemplateError> {
        self.render_in(self.tools, messages, tools, add_generation_prompt, variables)
    }

    fn render_in(
        &self,
        style: ToolStyle,
        messages: &[Message],
        tools: &[Tool],
        add_generation_prompt: bool,
        variables: &Variables,
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
        let rendered = self.render_as_given(&messages, tools, add_generation_prompt, variables);
        let Err(TemplateError::Refused(_)) = rendered else { return rendered };
        // Many templates raise an exception where turns don't alternate.
        let Some(by_turns) = alternate::by_turns(&messages) else { return rendered };
        self.render_as_given(&by_turns, tools, add_generation_prompt, variables).or(rendered)
    }

    fn render_as_given(
        &self,
        messages: &[Message],
        tools: &[Tool],
        add_generation_prompt: bool,
        variables: &Variables,
    ) -> Result<String, TemplateError> {
        let tools = if tools.is_empty() { Value::from(()) } else { Serde(tools).into() };
        let values = context! {
            messages => Serde(messages),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
            tools => tools,
            ..context! { ..Value::from(Serde(variables)), ..context! { documents => () } }
        };
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(values))
            .map_err(|e| TemplateError::Refused(functions::reason(&e)))
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

//! `/v1/chat/completions`: what a request says, and what becomes of it.

use std::collections::{HashSet, VecDeque};

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::common::{Common, Telling};
use super::fields::{Body, Fields, Free};
use super::responses::TextOr;
use super::sampling::{Given, Most};
use super::shape::ShapeGiven;
use super::tools::{CallGiven, FunctionCalled, ToolChoiceGiven, ToolGiven, choice, tools};
use crate::server::answer::Question;
use crate::server::error::ApiError;
use crate::text::{Message, Rendering, Role, ToolCall};

/// A request for a chat completion.
#[derive(Debug, ToSchema)]
pub struct ChatRequest {
    /// What every completion is asked for.
    #[serde(flatten)]
    pub common: Common,
    /// How tokens are sampled.
    #[serde(flatten)]
    pub sampling: Given,
    /// What the answer must be.
    #[serde(flatten)]
    pub shape: ShapeGiven,
    /// What is asked.
    #[serde(flatten)]
    pub asked: ChatAsked,
}

impl Body for ChatRequest {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let (common, sampling, shape) = (fields.part()?, fields.part()?, fields.part()?);
        Ok(Self { common, sampling, shape, asked: fields.rest()? })
    }
}

/// What only a chat has.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatAsked {
    /// The conversation.
    #[schema(min_items = 1, value_type = Vec<MessageShape>)]
    pub messages: Vec<ChatMessage>,
    /// Most tokens of an answer; -1 for as many as the context has room for.
    #[schema(minimum = -1)]
    pub max_completion_tokens: Option<i64>,
    /// Return log-probabilities.
    pub logprobs: Option<bool>,
    /// With this many alternatives each.
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// What the model may call.
    pub tools: Option<Vec<ToolGiven>>,
    /// Whether the model may call a tool, must call one, or must not.
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<ToolChoiceGiven>,
    /// Whether several calls may come at once.
    pub parallel_tool_calls: Option<bool>,
    /// Continue the last message instead of opening a new turn.
    pub continue_final_message: Option<bool>,
    /// `false` opens no turn for the answer; a last message of the assistant is then continued.
    pub add_generation_prompt: Option<bool>,
    /// Variables for the model's chat template, such as `enable_thinking`.
    #[schema(value_type = Option<Object>)]
    pub chat_template_kwargs: Option<Free>,
    /// Texts for templates that show documents.
    #[schema(value_type = Option<Vec<Object>>)]
    pub documents: Option<Value>,
    /// Without effect.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// Without effect: nothing is stored.
    pub store: Option<bool>,
    /// Without effect.
    pub service_tier: Option<String>,
    /// Without effect.
    pub safety_identifier: Option<String>,
    /// Without effect: the cache finds prefixes by itself.
    pub prompt_cache_key: Option<String>,
    /// Without effect.
    pub prompt_cache_retention: Option<String>,
    /// Without effect: a guess at the answer, to speed it up.
    #[schema(value_type = Option<Object>)]
    pub prediction: Option<Value>,
}

/// What a turn may be, for the description: which fields it has depends on who speaks. What is read is a [`ChatMessage`], whose
/// errors name the field.
#[derive(ToSchema)]
#[schema(as = ChatMessage)]
#[serde(untagged)]
pub enum MessageShape {
    /// Of who sets the rules or asks.
    Said {
        /// Who.
        #[schema(pattern = "^(system|developer|user)$")]
        role: String,
        /// What is said.
        content: Option<TextOr<ContentPart>>,
    },
    /// Of the model.
    Answered {
        /// The model.
        #[schema(pattern = "^assistant$")]
        role: String,
        /// What it said.
        content: Option<TextOr<ContentPart>>,
        /// What it called.
        tool_calls: Option<Vec<CallGiven>>,
    },
    /// Of a tool.
    Returned {
        /// The tool.
        #[schema(pattern = "^(tool|function)$")]
        role: String,
        /// What it gave back.
        content: Option<TextOr<ContentPart>>,
        /// Of which call this is the result; the first without a result unless said.
        tool_call_id: Option<String>,
    },
}

/// A turn of the conversation.
#[derive(Debug, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: RoleGiven,
    /// What is said.
    pub content: Option<TextOr<ContentPart>>,
    /// Of an assistant's turn: what it called.
    pub tool_calls: Option<Vec<CallGiven>>,
    /// The same in OpenAI's older form.
    pub function_call: Option<FunctionCalled>,
    /// Of a tool's turn: which call this is the result of.
    pub tool_call_id: Option<String>,
    /// Of an assistant's turn: what it refused.
    pub refusal: Option<String>,
    /// Of a last turn: whether the answer continues it, as Mistral and DeepSeek say it.
    pub prefix: Option<bool>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleGiven {
    /// Sets the rules.
    System,
    /// The same under a newer name.
    Developer,
    /// Asks.
    User,
    /// The model.
    Assistant,
    /// What a tool gave back.
    Tool,
    /// The same under its older name.
    Function,
}

/// A part of a message.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ContentPart {
    /// `text`, unless said otherwise.
    #[serde(rename = "type", default = "text_kind")]
    #[schema(pattern = "^text$")]
    pub kind: String,
    /// The text.
    #[schema(required = true, value_type = String)]
    pub text: Option<String>,
    /// What was refused.
    pub refusal: Option<String>,
}

impl ChatRequest {
    /// What is asked, and what is told with the answers.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn question(self) -> Result<(Question, Telling), ApiError> {
        let Self { common, sampling, shape, asked } = self;
        let choices = common.choices()?;
        let max_tokens = match common.most_tokens(asked.max_completion_tokens)? {
            (Most::Unsaid | Most::Room, _) => None,
            (Most::Tokens(0), field) => {
                return Err(ApiError::invalid(field, format!("{field} is 0: it must be at least 1")));
            }
            (Most::Tokens(tokens), _) => Some(tokens),
        };
        let logprobs = top_logprobs(asked.logprobs, asked.top_logprobs)?;
        let draws = common.draws(sampling, max_tokens, logprobs)?;
        let tools = tools(asked.tools.unwrap_or_default())?;
        let (format, format_field) = shape.read()?;
        let prefix = asked.messages.last().is_some_and(|message| message.prefix == Some(true));
        let messages = read_messages(asked.messages)?;
        let rendering = rendering(
            messages.last(),
            asked.continue_final_message.or(prefix.then_some(true)),
            asked.add_generation_prompt,
            asked.chat_template_kwargs.unwrap_or_default(),
            asked.documents,
        )?;
        let telling = common.telling(&draws);
        let question = Question {
            messages,
            choice: choice(asked.tool_choice, &tools)?,
            tools,
            parallel: asked.parallel_tool_calls.unwrap_or(true),
            format,
            format_field,
            rendering,
            draws,
            choices,
        };
        Ok((question, telling))
    }
}

/// How a conversation that ends with `last` becomes a prompt.
///
/// # Errors
/// 400 for wishes that contradict each other.
pub fn rendering(
    last: Option<&Message>,
    continues: Option<bool>,
    opens: Option<bool>,
    mut variables: Free,
    documents: Option<Value>,
) -> Result<Rendering, ApiError> {
    if continues == Some(true) && opens == Some(true) {
        let message = "continue_final_message and add_generation_prompt are both true: the answer either continues the last message or opens a turn";
        return Err(ApiError::invalid("continue_final_message", message));
    }
    if let Some(documents) = documents {
        variables.insert("documents".to_owned(), documents);
    }
    let answered = last.is_some_and(|message| message.role == Role::Assistant);
    let continues = continues.unwrap_or(opens == Some(false) && answered);
    Ok(Rendering { continues, closed: opens == Some(false), variables })
}

fn top_logprobs(wanted: Option<bool>, top: Option<u32>) -> Result<Option<u32>, ApiError> {
    const MAX: u32 = 20;
    match (wanted.unwrap_or(false), top) {
        (_, Some(top)) if top > MAX => Err(ApiError::invalid(
            "top_logprobs",
            format!("top_logprobs is {top}: it must be between 0 and {MAX}"),
        )),
        (false, Some(top)) if top > 0 => {
            Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true"))
        }
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

/// A conversation as a model reads it: a tool's result without an id belongs to the first call that has none.
///
/// # Errors
/// 400 with the field that can't be used.
pub fn read_messages(given: Vec<ChatMessage>) -> Result<Vec<Message>, ApiError> {
    if given.is_empty() {
        return Err(ApiError::invalid("messages", "messages is empty: say something"));
    }
    let mut open = Open::default();
    let mut messages = Vec::with_capacity(given.len());
    for (at, message) in given.into_iter().enumerate() {
        let mut message = message.read(&format!("messages[{at}]"))?;
        if message.role == Role::Tool {
            match &message.tool_call_id {
                Some(id) => open.answer(id),
                None => message.tool_call_id = open.next().filter(|id| !id.is_empty()),
            }
        } else {
            open = Open::of(&message.tool_calls);
        }
        messages.push(message);
    }
    Ok(messages)
}

/// Calls of a turn that wait for their results.
#[derive(Default)]
struct Open {
    /// Ids of the calls, in the order they were made.
    ids: VecDeque<String>,
    /// Those whose results were given with the id.
    answered: HashSet<String>,
}

impl Open {
    fn of(calls: &[ToolCall]) -> Self {
        Self { ids: calls.iter().map(|call| call.id.clone()).collect(), answered: HashSet::new() }
    }

    fn answer(&mut self, id: &str) {
        self.answered.insert(id.to_owned());
    }

    /// The first that still waits.
    fn next(&mut self) -> Option<String> {
        while let Some(id) = self.ids.pop_front() {
            if !self.answered.contains(&id) {
                return Some(id);
            }
        }
        None
    }
}

impl From<String> for ContentPart {
    fn from(text: String) -> Self {
        Self { kind: text_kind(), text: Some(text), refusal: None }
    }
}

fn text_kind() -> String {
    "text".to_owned()
}

impl TextOr<ContentPart> {
    /// The text of it.
    ///
    /// # Errors
    /// 400 for a part that is no text.
    pub fn text(self, field: &str) -> Result<String, ApiError> {
        let parts = match self {
            Self::Text(text) => return Ok(text),
            Self::List(parts) => parts,
        };
        let mut whole = String::new();
        for (at, part) in parts.into_iter().enumerate() {
            match (part.kind.as_str(), part.text, part.refusal) {
                ("text" | "input_text" | "output_text", Some(text), _) => whole.push_str(&text),
                ("refusal", _, Some(text)) => whole.push_str(&text),
                (kind, ..) => {
                    let field = format!("{field}[{at}]");
                    let message =
                        format!("{field} is a part of type {kind:?}: the models here read text alone");
                    return Err(ApiError::invalid(field, message));
                }
            }
        }
        Ok(whole)
    }
}

impl ChatMessage {
    /// As the model reads it. What is missing is empty.
    fn read(self, field: &str) -> Result<Message, ApiError> {
        let role = match self.role {
            RoleGiven::System | RoleGiven::Developer => Role::System,
            RoleGiven::User => Role::User,
            RoleGiven::Assistant => Role::Assistant,
            RoleGiven::Tool | RoleGiven::Function => Role::Tool,
        };
        let content = match (self.content, self.refusal) {
            (Some(content), _) => content.text(&format!("{field}.content"))?,
            (None, refusal) => refusal.unwrap_or_default(),
        };
        let old = self.function_call.map(|function| CallGiven { id: None, function });
        let calls = self.tool_calls.unwrap_or_default().into_iter().chain(old);
        let call = |call: CallGiven| ToolCall {
            id: call.id.unwrap_or_default(),
            name: call.function.name.clone(),
            arguments: call.function.arguments(),
        };
        Ok(Message {
            tool_calls: calls.map(call).collect(),
            tool_call_id: self.tool_call_id.filter(|id| !id.is_empty()),
            ..Message::new(role, content)
        })
    }
}

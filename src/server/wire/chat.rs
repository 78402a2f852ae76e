//! `/v1/chat/completions`: the request body, and how it becomes a question for a model.

use std::collections::{HashSet, VecDeque};

use bandmaster_text::{Message, RenderOptions, Role, ToolCall};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::common::{CommonFields, OutputOptions, TOP_LOGPROBS_MAX};
use super::fields::{Body, Fields, Free};
use super::format::FormatFields;
use super::responses::TextOr;
use super::sampling::{SamplingFields, TokenLimit};
use super::tools::{FunctionCallInput, ToolCallInput, ToolChoiceInput, ToolInput, choice, tools};
use crate::answer::Question;
use crate::error::ApiError;

/// A request for a chat completion.
#[derive(Debug, ToSchema)]
pub struct ChatRequest {
    /// Fields shared with completions.
    #[serde(flatten)]
    pub common: CommonFields,
    /// Sampling parameters and stop conditions.
    #[serde(flatten)]
    pub sampling: SamplingFields,
    /// Format that the answer must have.
    #[serde(flatten)]
    pub format: FormatFields,
    /// Fields that only chat completions have.
    #[serde(flatten)]
    pub own: ChatFields,
}

impl Body for ChatRequest {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        let (common, sampling, format) = (fields.part()?, fields.part()?, fields.part()?);
        Ok(Self { common, sampling, format, own: fields.rest()? })
    }
}

/// Fields that only chat completions have.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChatAsked)]
pub struct ChatFields {
    /// The conversation, oldest message first.
    #[schema(min_items = 1, value_type = Vec<MessageShape>)]
    pub messages: Vec<ChatMessage>,
    /// Maximum number of tokens to generate; -1 means as many as fit the context. Overrides `max_tokens`.
    #[schema(minimum = -1)]
    pub max_completion_tokens: Option<i64>,
    /// Return the log-probability of each generated token.
    pub logprobs: Option<bool>,
    /// Number of most likely alternatives to return with each token. Needs `logprobs`.
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// Functions that the model may call.
    pub tools: Option<Vec<ToolInput>>,
    /// Whether the model may call a tool, must call one, or must not.
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<ToolChoiceInput>,
    /// Whether one answer may hold several tool calls; true by default.
    pub parallel_tool_calls: Option<bool>,
    /// Continue the last message instead of opening a new turn.
    pub continue_final_message: Option<bool>,
    /// If `false`, no turn is opened for the answer; a last message of the assistant is then continued.
    pub add_generation_prompt: Option<bool>,
    /// Variables for the model's chat template, such as `enable_thinking`.
    #[schema(value_type = Option<Object>)]
    pub chat_template_kwargs: Option<Free>,
    /// Documents, passed to the chat template as the variable `documents`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub documents: Option<Value>,
    /// Accepted for compatibility; has no effect.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// Accepted for compatibility; chat completions are not stored.
    pub store: Option<bool>,
    /// Accepted for compatibility; has no effect.
    pub service_tier: Option<String>,
    /// Accepted for compatibility; has no effect.
    pub safety_identifier: Option<String>,
    /// Accepted for compatibility; the prefix cache finds prefixes by itself.
    pub prompt_cache_key: Option<String>,
    /// Accepted for compatibility; has no effect.
    pub prompt_cache_retention: Option<String>,
    /// Predicted answer. Accepted for compatibility; has no effect.
    #[schema(value_type = Option<Object>)]
    pub prediction: Option<Value>,
}

/// A message of the conversation. Its fields depend on its role.
// What is read is a [`ChatMessage`], whose errors name the field.
#[expect(dead_code, reason = "only the API description uses it")]
#[derive(ToSchema)]
#[schema(as = ChatMessage)]
#[serde(untagged)]
pub(crate) enum MessageShape {
    /// A system, developer or user message.
    Input {
        /// Role of the author.
        #[schema(pattern = "^(system|developer|user)$")]
        role: String,
        /// Text, or a list of text parts.
        content: Option<TextOr<ContentPart>>,
    },
    /// An earlier answer of the model.
    Assistant {
        /// Role of the author, always `assistant`.
        #[schema(pattern = "^assistant$")]
        role: String,
        /// Text, or a list of text parts.
        content: Option<TextOr<ContentPart>>,
        /// Tool calls of this answer.
        tool_calls: Option<Vec<ToolCallInput>>,
    },
    /// The result of a tool call.
    ToolResult {
        /// Role of the author; `function` is the older form.
        #[schema(pattern = "^(tool|function)$")]
        role: String,
        /// Result of the call, as text.
        content: Option<TextOr<ContentPart>>,
        /// Id of the call. If absent, the first call without a result is meant.
        tool_call_id: Option<String>,
    },
}

/// A message of the conversation, as it is read.
#[derive(Debug, Deserialize)]
pub struct ChatMessage {
    pub role: ChatRole,
    pub content: Option<TextOr<ContentPart>>,
    pub tool_calls: Option<Vec<ToolCallInput>>,
    /// A tool call in OpenAI's older form.
    pub function_call: Option<FunctionCallInput>,
    pub tool_call_id: Option<String>,
    /// Read as the content where there is none.
    pub refusal: Option<String>,
    /// Whether the answer continues this message: the field of Mistral and DeepSeek, read only in the last message.
    pub prefix: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    System,
    /// Newer name of `System`.
    Developer,
    User,
    Assistant,
    Tool,
    /// Older name of `Tool`.
    Function,
}

/// A part of a message's content.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ContentPart {
    /// Type of the part; `text` by default.
    #[serde(rename = "type", default = "text_kind")]
    #[schema(pattern = "^text$")]
    pub kind: String,
    /// Text of the part.
    #[schema(required = true, value_type = String)]
    pub text: Option<String>,
    /// Text of a refusal, in parts of the type `refusal`.
    pub refusal: Option<String>,
}

impl ChatRequest {
    /// The question for the model, and what to return beside the answers.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn question(self) -> Result<(Question, OutputOptions), ApiError> {
        let Self { common, sampling, format, own } = self;
        let choices = common.choices()?;
        let tokens_max = match common.token_limit(own.max_completion_tokens)? {
            (TokenLimit::Unset | TokenLimit::Unlimited, _) => None,
            (TokenLimit::Tokens(0), field) => {
                return Err(ApiError::invalid(field, format!("{field} is 0: it must be at least 1")));
            }
            (TokenLimit::Tokens(tokens), _) => Some(tokens),
        };
        let logprobs = top_logprobs(own.logprobs, own.top_logprobs)?;
        let params = common.params(sampling, tokens_max, logprobs)?;
        let tools = tools(own.tools.unwrap_or_default())?;
        let (format, format_field) = format.read()?;
        let prefix = own.messages.last().is_some_and(|message| message.prefix == Some(true));
        let messages = read_messages(own.messages)?;
        let rendering = rendering(
            messages.last(),
            own.continue_final_message.or(prefix.then_some(true)),
            own.add_generation_prompt,
            own.chat_template_kwargs.unwrap_or_default(),
            own.documents,
        )?;
        let options = common.options(&params);
        let question = Question {
            messages,
            choice: choice(own.tool_choice, &tools)?,
            tools,
            parallel: own.parallel_tool_calls.unwrap_or(true),
            format,
            format_field,
            rendering,
            params,
            choices,
        };
        Ok((question, options))
    }
}

/// How a conversation whose last message is `last` becomes a prompt.
///
/// # Errors
/// 400 if `continues` and `opens` are both true.
pub(crate) fn rendering(
    last: Option<&Message>,
    continues: Option<bool>,
    opens: Option<bool>,
    mut variables: Free,
    documents: Option<Value>,
) -> Result<RenderOptions, ApiError> {
    if continues == Some(true) && opens == Some(true) {
        let message = "continue_final_message and add_generation_prompt are both true: the answer either continues the last message or starts a new turn";
        return Err(ApiError::invalid("continue_final_message", message));
    }
    if let Some(documents) = documents {
        variables.insert("documents".to_owned(), documents);
    }
    let is_answered = last.is_some_and(|message| message.role == Role::Assistant);
    let continues = continues.unwrap_or(opens == Some(false) && is_answered);
    Ok(RenderOptions {
        continue_final_message: continues,
        no_generation_prompt: opens == Some(false),
        variables,
    })
}

fn top_logprobs(wanted: Option<bool>, top: Option<u32>) -> Result<Option<u32>, ApiError> {
    match (wanted.unwrap_or(false), top) {
        (_, Some(top)) if top > TOP_LOGPROBS_MAX => Err(ApiError::invalid(
            "top_logprobs",
            format!("top_logprobs is {top}: it must be between 0 and {TOP_LOGPROBS_MAX}"),
        )),
        (false, Some(top)) if top > 0 => {
            Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true"))
        }
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

/// Converts messages for the model. A tool result without an id belongs to the first call without a result.
///
/// # Errors
/// 400 with the field that can't be used.
pub(crate) fn read_messages(given: Vec<ChatMessage>) -> Result<Vec<Message>, ApiError> {
    if given.is_empty() {
        return Err(ApiError::invalid("messages", "messages is empty: give at least one message"));
    }
    let mut unanswered = UnansweredCalls::default();
    let mut messages = Vec::with_capacity(given.len());
    for (at, message) in given.into_iter().enumerate() {
        let mut message = message.read(&format!("messages[{at}]"))?;
        if message.role == Role::Tool {
            match &message.tool_call_id {
                Some(id) => unanswered.answer(id),
                None => message.tool_call_id = unanswered.next().filter(|id| !id.is_empty()),
            }
        } else {
            unanswered = UnansweredCalls::of(&message.tool_calls);
        }
        messages.push(message);
    }
    Ok(messages)
}

/// Calls of a turn that still wait for their results.
#[derive(Default)]
struct UnansweredCalls {
    /// Ids of the calls, in the order they were made.
    ids: VecDeque<String>,
    /// Calls whose results were given with their id.
    answered_ids: HashSet<String>,
}

impl UnansweredCalls {
    fn of(calls: &[ToolCall]) -> Self {
        Self { ids: calls.iter().map(|call| call.id.clone()).collect(), answered_ids: HashSet::new() }
    }

    fn answer(&mut self, id: &str) {
        self.answered_ids.insert(id.to_owned());
    }

    /// Takes the first call that still waits.
    fn next(&mut self) -> Option<String> {
        while let Some(id) = self.ids.pop_front() {
            if !self.answered_ids.contains(&id) {
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
    /// The text, parts joined.
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
                        format!("{field} is a part of type {kind:?}: the models here read only text");
                    return Err(ApiError::invalid(field, message));
                }
            }
        }
        Ok(whole)
    }
}

impl ChatMessage {
    /// Converts the message for the model; missing fields become empty.
    fn read(self, field: &str) -> Result<Message, ApiError> {
        let role = match self.role {
            ChatRole::System | ChatRole::Developer => Role::System,
            ChatRole::User => Role::User,
            ChatRole::Assistant => Role::Assistant,
            ChatRole::Tool | ChatRole::Function => Role::Tool,
        };
        let content = match (self.content, self.refusal) {
            (Some(content), _) => content.text(&format!("{field}.content"))?,
            (None, refusal) => refusal.unwrap_or_default(),
        };
        let old = self.function_call.map(|function| ToolCallInput { id: None, function });
        let calls = self.tool_calls.unwrap_or_default().into_iter().chain(old);
        let call = |call: ToolCallInput| ToolCall {
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

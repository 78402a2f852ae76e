//! `/v1/chat/completions`: what a request says, and what becomes of it.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::object_format;
use super::sampling::{Given, Stop, stops};
use super::tools::{CallGiven, ToolChoiceGiven, ToolGiven, choice, read_arguments, tools};
use crate::server::answer::{Draws, Format, Question};
use crate::server::error::ApiError;
use crate::text::{Message, Role, ToolCall};

/// Answers to one question.
const CHOICES_MAX: u32 = 128;

/// A request for a chat completion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// A model's id, or `bandmaster` for the whole band. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// The conversation.
    #[schema(min_items = 1, value_type = Vec<MessageShape>)]
    pub messages: Vec<ChatMessage>,
    /// Whether the answer comes as server-sent events.
    pub stream: Option<bool>,
    /// Of a stream.
    #[serde(default, deserialize_with = "object")]
    pub stream_options: Option<StreamOptions>,
    /// Answers to the same question.
    #[schema(minimum = 1, maximum = 128)]
    pub n: Option<u32>,
    /// Most tokens of an answer.
    #[schema(minimum = 1)]
    pub max_completion_tokens: Option<u32>,
    /// The same under its older name.
    #[schema(minimum = 1)]
    pub max_tokens: Option<u32>,
    /// Least tokens of an answer.
    pub min_tokens: Option<u32>,
    /// Whether the answer goes on to its most tokens.
    pub ignore_eos: Option<bool>,
    /// Strings before which the answer ends.
    pub stop: Option<Stop>,
    /// 0 takes the most likely token.
    #[schema(minimum = 0, maximum = 2)]
    pub temperature: Option<f32>,
    /// Keeps the most likely tokens that together have this probability.
    #[schema(minimum = 0, maximum = 1)]
    pub top_p: Option<f32>,
    /// Keeps so many tokens.
    #[schema(minimum = -1, maximum = 1_000_000)]
    pub top_k: Option<i64>,
    /// Drops tokens less likely than this share of the most likely.
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f32>,
    /// Makes tokens seen less likely; 1 is off.
    #[schema(minimum = 0.01, maximum = 100)]
    pub repetition_penalty: Option<f32>,
    /// Subtracted from tokens generated before.
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f32>,
    /// Subtracted from them as often as they were.
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f32>,
    /// Token id to what is added to its logit.
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// The same seed and request give the same answer.
    pub seed: Option<i64>,
    /// Whether log-probabilities are told.
    pub logprobs: Option<bool>,
    /// So many alternatives with each.
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// What the answer must be.
    pub response_format: Option<ResponseFormat>,
    /// What the model may call.
    pub tools: Option<Vec<ToolGiven>>,
    /// Whether it may or must.
    pub tool_choice: Option<ToolChoiceGiven>,
    /// Whether several calls may come at once.
    pub parallel_tool_calls: Option<bool>,
    /// Without effect: whose question it is.
    pub user: Option<String>,
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
    /// Only `["text"]`.
    #[schema(max_items = 0)]
    pub modalities: Option<Vec<String>>,
    /// Only `none`.
    #[schema(pattern = "^none$")]
    pub reasoning_effort: Option<String>,
    /// Only `medium`.
    #[schema(pattern = "^medium$")]
    pub verbosity: Option<String>,
    /// Not supported.
    #[schema(ignore)]
    audio: Option<Value>,
    #[schema(ignore)]
    web_search_options: Option<Value>,
    #[schema(ignore)]
    functions: Option<Value>,
    #[schema(ignore)]
    function_call: Option<Value>,
    #[schema(ignore)]
    moderation: Option<Value>,
}

/// An object and nothing else: serde takes lists for structs as well.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let fields: Option<Map<String, Value>> = Option::deserialize(deserializer)?;
    let read = |fields| T::deserialize(Value::Object(fields)).map_err(D::Error::custom);
    fields.map(read).transpose()
}

/// Of a stream.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Whether a last chunk tells the tokens.
    #[serde(default)]
    pub include_usage: Option<bool>,
    /// Without effect.
    #[serde(default)]
    pub include_obfuscation: Option<bool>,
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
        content: Content,
    },
    /// Of the model.
    Answered {
        /// The model.
        #[schema(pattern = "^assistant$")]
        role: String,
        /// What it said.
        content: Option<Content>,
        /// What it called.
        tool_calls: Option<Vec<CallGiven>>,
    },
    /// Of a tool.
    Returned {
        /// The tool.
        #[schema(pattern = "^tool$")]
        role: String,
        /// What it gave back.
        content: Content,
        /// Of which call this is the result.
        tool_call_id: String,
    },
}

/// A turn of the conversation.
#[derive(Debug, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: RoleGiven,
    /// What is said.
    pub content: Option<Content>,
    /// Of an assistant's turn: what it called.
    pub tool_calls: Option<Vec<CallGiven>>,
    /// Of a tool's turn: which call this is the result of.
    pub tool_call_id: Option<String>,
    /// Of an assistant's turn: what it refused.
    pub refusal: Option<String>,
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
}

/// A text, or parts of one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a list of parts")]
pub enum Content {
    /// A text.
    Text(String),
    /// Parts; only text is read.
    Parts(Vec<ContentPart>),
}

/// A part of a message.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ContentPart {
    /// `text`.
    #[serde(rename = "type")]
    #[schema(pattern = "^text$")]
    pub kind: String,
    /// The text.
    #[schema(required = true, value_type = String)]
    pub text: Option<String>,
    /// What was refused.
    pub refusal: Option<String>,
}

/// What the answer must be.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(text|json_object|json_schema)$")]
    pub kind: String,
    /// The schema, for `json_schema`.
    pub json_schema: Option<NamedSchema>,
    /// The schema as llama.cpp takes it: beside `json_object`, or unnamed beside `json_schema`.
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
}

/// A schema.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NamedSchema {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The schema.
    #[schema(required = true, value_type = Object)]
    pub schema: Option<Value>,
    /// Answers fit the schema in any case.
    pub strict: Option<bool>,
}

impl ChatRequest {
    /// Whether the answer streams, and whether its last chunk tells the tokens.
    #[must_use]
    pub fn streams(&self) -> Option<bool> {
        let usage = self.stream_options.is_some_and(|options| options.include_usage == Some(true));
        (self.stream == Some(true)).then_some(usage)
    }

    /// What is asked.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn question(self) -> Result<Question, ApiError> {
        self.check_supported()?;
        if self.messages.is_empty() {
            return Err(ApiError::invalid("messages", "messages is empty: say something"));
        }
        let choices = self.n.unwrap_or(1);
        if !(1..=CHOICES_MAX).contains(&choices) {
            return Err(ApiError::invalid(
                "n",
                format!("n is {choices}: it must be between 1 and {CHOICES_MAX}"),
            ));
        }
        let draws = Draws {
            max_tokens: most_tokens(self.max_completion_tokens, self.max_tokens)?,
            min_tokens: self.min_tokens.unwrap_or(0),
            ignore_eos: self.ignore_eos.unwrap_or(false),
            stop: stops(self.stop)?,
            top_logprobs: top_logprobs(self.logprobs, self.top_logprobs)?,
            sampling: Given {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                min_p: self.min_p,
                repetition_penalty: self.repetition_penalty,
                presence_penalty: self.presence_penalty,
                frequency_penalty: self.frequency_penalty,
                logit_bias: self.logit_bias,
                seed: self.seed,
            }
            .sampling()?,
        };
        let tools = tools(self.tools.unwrap_or_default())?;
        let messages = (0..).zip(self.messages).map(|(at, message)| message.read(&format!("messages[{at}]")));
        Ok(Question {
            messages: messages.collect::<Result<_, _>>()?,
            choice: choice(self.tool_choice, &tools)?,
            tools,
            parallel: self.parallel_tool_calls.unwrap_or(true),
            format: self.response_format.map_or(Ok(Format::Text), ResponseFormat::read)?,
            draws,
            choices,
        })
    }

    fn check_supported(&self) -> Result<(), ApiError> {
        let refuse = |field: &str, why: &str| {
            Err(ApiError::unsupported(field, format!("{field} is not supported: {why}")))
        };
        let is = |given: &Option<String>, known: &str| given.as_ref().is_none_or(|given| given == known);
        if self.audio.is_some()
            || self.modalities.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| kind != "text"))
        {
            let field = if self.audio.is_some() { "audio" } else { "modalities" };
            return refuse(field, "the models here read and write text");
        }
        if self.web_search_options.is_some() {
            return refuse("web_search_options", "nothing here reaches the web");
        }
        if self.functions.is_some() || self.function_call.is_some() {
            let field = if self.functions.is_some() { "functions" } else { "function_call" };
            return refuse(field, "use tools and tool_choice");
        }
        if self.moderation.is_some() {
            return refuse("moderation", "no moderation model is here");
        }
        if !is(&self.reasoning_effort, "none") {
            return refuse("reasoning_effort", "the models here have no such setting (\"none\" is taken)");
        }
        if !is(&self.verbosity, "medium") {
            return refuse("verbosity", "the models here have no such setting (\"medium\" is taken)");
        }
        Ok(())
    }
}

/// One of two names for the most tokens of an answer.
fn most_tokens(new: Option<u32>, old: Option<u32>) -> Result<Option<u32>, ApiError> {
    let field = if new.is_some() { "max_completion_tokens" } else { "max_tokens" };
    match new.or(old) {
        Some(0) => Err(ApiError::invalid(field, format!("{field} is 0: it must be at least 1"))),
        tokens => Ok(tokens),
    }
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

impl ResponseFormat {
    fn read(self) -> Result<Format, ApiError> {
        match self.kind.as_str() {
            "text" => Ok(Format::Text),
            "json_object" => object_format(self.schema, "response_format.schema"),
            "json_schema" => {
                let schema = self.json_schema.and_then(|named| named.schema).or(self.schema);
                schema.map(Format::Schema).ok_or_else(|| {
                    ApiError::invalid(
                        "response_format.json_schema.schema",
                        "response_format has no json_schema.schema",
                    )
                })
            }
            other => {
                let message =
                    format!("response_format is {other:?}: it must be text, json_object or json_schema");
                Err(ApiError::invalid("response_format.type", message))
            }
        }
    }
}

impl Content {
    /// The text of it.
    ///
    /// # Errors
    /// 400 for a part that is no text.
    pub fn text(self, field: &str) -> Result<String, ApiError> {
        let parts = match self {
            Self::Text(text) => return Ok(text),
            Self::Parts(parts) => parts,
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
    /// As the model reads it.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn read(self, field: &str) -> Result<Message, ApiError> {
        let role = match self.role {
            RoleGiven::System | RoleGiven::Developer => Role::System,
            RoleGiven::User => Role::User,
            RoleGiven::Assistant => Role::Assistant,
            RoleGiven::Tool => Role::Tool,
        };
        let calls = self.tool_calls.unwrap_or_default();
        if role == Role::Tool && self.tool_call_id.is_none() {
            let field = format!("{field}.tool_call_id");
            return Err(ApiError::invalid(
                &field,
                format!("{field} is missing: say which call this is the result of"),
            ));
        }
        let content = match (self.content, self.refusal) {
            (Some(content), _) => content.text(&format!("{field}.content"))?,
            (None, Some(refusal)) => refusal,
            (None, None) if role == Role::Assistant => String::new(),
            (None, None) => {
                return Err(ApiError::invalid(
                    format!("{field}.content"),
                    format!("{field}.content is missing"),
                ));
            }
        };
        let call = |call: CallGiven| ToolCall {
            id: call.id.unwrap_or_default(),
            name: call.function.name,
            arguments: read_arguments(call.function.arguments),
        };
        Ok(Message {
            tool_calls: calls.into_iter().map(call).collect(),
            tool_call_id: self.tool_call_id,
            ..Message::new(role, content)
        })
    }
}

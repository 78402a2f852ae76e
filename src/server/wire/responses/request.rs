//! `POST /v1/responses`: what a request says, and what becomes of it.

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::items::ItemGiven;
use super::object::{ConversationRef, ReasoningSaid, Response, ResponseStatus, TextSaid};
use super::said::{FormatGiven, FunctionTool, ToolChoiceSaid};
use super::{Metadata, TextOr, check_metadata};
use crate::server::answer::{Format, Question};
use crate::server::error::ApiError;
use crate::server::wire::fields::{Body, Fields, NameOr, is_empty};
use crate::server::wire::sampling::{Given, Most, most_tokens};
use crate::server::wire::shape::ShapeGiven;
use crate::server::wire::tools::{FunctionGiven, ToolGiven, check_choice, tools};
use crate::server::wire::{new_id, unix_seconds};
use crate::text::{Rendering, Tool, ToolChoice};

const TOP_LOGPROBS_MAX: u32 = 20;
const LOGPROBS: &str = "message.output_text.logprobs";
/// What may be wished to be told: but for the first, of things that don't occur here.
const INCLUDES: [&str; 8] = [
    LOGPROBS,
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
];

/// A request for an answer.
#[derive(Debug, ToSchema)]
pub struct CreateResponse {
    /// How tokens are sampled.
    #[serde(flatten)]
    pub sampling: Given,
    /// What the answer must be, under the names of other servers.
    #[serde(flatten)]
    pub shape: ShapeGiven,
    /// What is asked.
    #[serde(flatten)]
    pub asked: ResponseAsked,
}

impl Body for CreateResponse {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self { sampling: fields.part()?, shape: fields.part()?, asked: fields.rest()? })
    }
}

/// What only a response has.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResponseAsked {
    /// A model's id, or `bandmaster` for the whole band. May be left out where the server was given one.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// What is said: a text, or items.
    #[schema(required = true, value_type = TextOr<ItemGiven>)]
    pub input: Option<TextOr<ItemGiven>>,
    /// What stands before the conversation; holds for this answer alone.
    pub instructions: Option<String>,
    /// The answer that the conversation goes on from.
    pub previous_response_id: Option<String>,
    /// The conversation that goes on: input and output are appended to it.
    #[schema(value_type = Option<Object>)]
    pub conversation: Option<ConversationGiven>,
    /// Whether the answer is kept; `true` unless said.
    pub store: Option<bool>,
    /// Whether the answer comes as server-sent events.
    pub stream: Option<bool>,
    /// Of a stream; without effect.
    pub stream_options: Option<ResponseStreamOptions>,
    /// What the model may call.
    #[schema(max_items = 128)]
    pub tools: Option<Vec<FunctionTool>>,
    /// Whether it may or must.
    pub tool_choice: Option<ToolChoiceSaid>,
    /// Whether several calls may come at once.
    pub parallel_tool_calls: Option<bool>,
    /// Without effect: it counts tools that OpenAI runs.
    pub max_tool_calls: Option<u32>,
    /// What the text must be.
    pub text: Option<TextGiven>,
    /// Most tokens of the answer; -1 for as many as the context has room for.
    #[schema(minimum = -1)]
    pub max_output_tokens: Option<i64>,
    /// Alternatives told with each token, where `include` asks for log-probabilities.
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// `message.output_text.logprobs` tells log-probabilities.
    pub include: Option<Vec<String>>,
    /// Notes, kept with the answer.
    pub metadata: Option<Metadata>,
    /// Without effect: whose question it is.
    pub user: Option<String>,
    /// Without effect.
    pub safety_identifier: Option<String>,
    /// Without effect: the cache finds prefixes by itself.
    pub prompt_cache_key: Option<String>,
    /// Without effect.
    pub prompt_cache_retention: Option<String>,
    /// Without effect.
    #[schema(value_type = Option<Object>)]
    pub prompt_cache_options: Option<Value>,
    /// Without effect.
    pub service_tier: Option<String>,
    /// Without effect: what doesn't fit the context is refused.
    pub truncation: Option<String>,
    /// Only `false`.
    pub background: Option<bool>,
    /// Models here have no such setting.
    pub reasoning: Option<ReasoningGiven>,
    /// Not supported.
    #[schema(ignore)]
    prompt: Option<Value>,
    #[schema(ignore)]
    moderation: Option<Value>,
    #[schema(ignore)]
    context_management: Option<Value>,
}

/// A conversation's id, or an object with it.
pub type ConversationGiven = NameOr<ConversationRef>;

/// Of a stream.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResponseStreamOptions {
    /// Without effect.
    pub include_obfuscation: Option<bool>,
}

/// What the text must be.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct TextGiven {
    /// Its format.
    pub format: Option<FormatGiven>,
    /// Without effect: models here have no such setting.
    pub verbosity: Option<String>,
}

/// How it is to think.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct ReasoningGiven {
    /// Without effect: models here have no such setting.
    pub effort: Option<String>,
    /// Without effect: reasoning is told as it is.
    pub summary: Option<String>,
    /// The same under its older name.
    pub generate_summary: Option<String>,
}

/// What stood before what is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// An answer and what it goes on from.
    Answer(String),
    /// A conversation.
    Conversation(String),
}

/// What is asked, but for the conversation, which is to be looked up.
#[derive(Debug)]
pub struct Asked {
    /// What stood before.
    pub before: Before,
    /// What is new.
    pub input: Vec<ItemGiven>,
    /// The question, without messages yet.
    pub question: Question,
    /// The answer, of which nothing has come.
    pub response: Response,
    /// Fields that were taken without effect.
    pub ignored: Vec<&'static str>,
}

impl CreateResponse {
    /// Reads a request to the model with the id `model`.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn understood(self, model: String) -> Result<Asked, ApiError> {
        self.asked.read(self.sampling, self.shape, model)
    }
}

impl ResponseAsked {
    fn read(mut self, sampling: Given, shape: ShapeGiven, model: String) -> Result<Asked, ApiError> {
        self.check_supported()?;
        let ignored = self.hints();
        let most = match most_tokens(&[("max_output_tokens", self.max_output_tokens)])?.0 {
            Most::Tokens(0) => {
                let message = "max_output_tokens is 0: it must be at least 1";
                return Err(ApiError::invalid("max_output_tokens", message));
            }
            Most::Tokens(tokens) => Some(tokens),
            Most::Unsaid | Most::Room => None,
        };
        let said = (sampling.temperature.unwrap_or(1.0), sampling.top_p.unwrap_or(1.0));
        let top = top_logprobs(self.include.as_deref().unwrap_or_default(), self.top_logprobs)?;
        let draws = sampling.draws(most, top)?;
        let given = self.tools.take().unwrap_or_default();
        let tools = flat_tools(&given)?;
        let choice = choice(self.tool_choice.as_ref(), &tools)?;
        let format = self.text.take().unwrap_or_default().format.unwrap_or_else(FormatGiven::text);
        let before = self.before()?;
        let input = match self.input.take() {
            None => Vec::new(),
            Some(TextOr::List(items)) => items,
            Some(TextOr::Text(text)) => vec![ItemGiven::said(text)],
        };
        // The route calls it by its own name.
        let (shaped, field) = match (shape.read()?, format.clone().read()?) {
            ((Format::Text, _), own) => (own, "response_format"),
            ((other, field), Format::Text) => (other, field),
            ((_, field), _) => {
                let message =
                    format!("text.format and {field} both say what the answer must be: give one of them");
                return Err(ApiError::invalid(field, message));
            }
        };
        let question = Question {
            messages: Vec::new(),
            tools,
            choice,
            parallel: self.parallel_tool_calls.unwrap_or(true),
            format: shaped,
            format_field: field,
            rendering: Rendering::default(),
            draws,
            choices: 1,
        };
        let response = Response { max_output_tokens: most, ..self.answer(model, &before, given, format)? };
        let response = Response { temperature: said.0, top_p: said.1, ..response };
        Ok(Asked { before, input, question, response, ignored })
    }

    /// Names of fields that are hints which nothing here can follow.
    fn hints(&self) -> Vec<&'static str> {
        let is = |given: Option<&String>, usual: &str| given.is_none_or(|given| given == usual);
        let (text, reasoning) = (self.text.as_ref(), self.reasoning.as_ref());
        let hints = [
            ("truncation", is(self.truncation.as_ref(), "disabled")),
            ("text.verbosity", is(text.and_then(|text| text.verbosity.as_ref()), "medium")),
            ("reasoning.effort", is(reasoning.and_then(|reasoning| reasoning.effort.as_ref()), "none")),
            ("reasoning.summary", reasoning.is_none_or(|reasoning| reasoning.summary.is_none())),
            (
                "reasoning.generate_summary",
                reasoning.is_none_or(|reasoning| reasoning.generate_summary.is_none()),
            ),
        ];
        hints.into_iter().filter(|(_, usual)| !usual).map(|(name, _)| name).collect()
    }

    fn before(&mut self) -> Result<Before, ApiError> {
        let previous = self.previous_response_id.take().filter(|id| !id.is_empty());
        match (previous, self.conversation.take()) {
            (Some(_), Some(_)) => {
                let message = "conversation and previous_response_id both say what stood before: give one";
                Err(ApiError::invalid("conversation", message))
            }
            (Some(id), None) => Ok(Before::Answer(id)),
            (None, Some(NameOr::Name(id) | NameOr::Object(ConversationRef { id }))) if !id.is_empty() => {
                Ok(Before::Conversation(id))
            }
            (None, _) => Ok(Before::Nothing),
        }
    }

    /// The answer, of which nothing has come.
    fn answer(
        self,
        model: String,
        before: &Before,
        tools: Vec<FunctionTool>,
        format: FormatGiven,
    ) -> Result<Response, ApiError> {
        let (previous_response_id, conversation) = match before.clone() {
            Before::Nothing => (None, None),
            Before::Answer(id) => (Some(id), None),
            Before::Conversation(id) => (None, Some(ConversationRef { id })),
        };
        Ok(Response {
            id: new_id("resp_"),
            object: "response",
            created_at: unix_seconds(),
            completed_at: None,
            status: ResponseStatus::InProgress,
            background: false,
            error: None,
            incomplete_details: None,
            instructions: self.instructions,
            max_output_tokens: None,
            max_tool_calls: self.max_tool_calls,
            model,
            output: Vec::new(),
            parallel_tool_calls: self.parallel_tool_calls.unwrap_or(true),
            previous_response_id,
            conversation,
            prompt_cache_key: self.prompt_cache_key,
            reasoning: ReasoningSaid {
                effort: self.reasoning.and_then(|reasoning| reasoning.effort),
                summary: None,
            },
            safety_identifier: self.safety_identifier,
            service_tier: "default",
            store: self.store.unwrap_or(true),
            temperature: 1.0,
            text: TextSaid { format, verbosity: "medium" },
            tool_choice: self.tool_choice.unwrap_or_else(|| ToolChoiceSaid::Mode("auto".into())),
            tools,
            top_logprobs: self.top_logprobs.unwrap_or(0),
            top_p: 1.0,
            truncation: "disabled",
            usage: None,
            user: self.user,
            metadata: check_metadata(self.metadata)?,
        })
    }

    fn check_supported(&self) -> Result<(), ApiError> {
        let refuse = |field: &str, why: &str| {
            Err(ApiError::unsupported(field, format!("{field} is not supported: {why}")))
        };
        if self.background == Some(true) {
            return refuse("background", "an answer is waited for, or streams; POST /v1/runs works alone");
        }
        let asks = |value: &Option<Value>| value.as_ref().is_some_and(|value| !is_empty(value));
        if asks(&self.prompt) {
            return refuse("prompt", "no prompts are kept here: send instructions and input");
        }
        if asks(&self.moderation) {
            return refuse("moderation", "no moderation model is here");
        }
        if asks(&self.context_management) {
            return refuse(
                "context_management",
                "nothing is left out: what doesn't fit the context is refused",
            );
        }
        Ok(())
    }
}

fn top_logprobs(include: &[String], top: Option<u32>) -> Result<Option<u32>, ApiError> {
    for (at, wish) in include.iter().enumerate() {
        if !INCLUDES.contains(&wish.as_str()) {
            let message = format!("include[{at}] is {wish:?}: known are {}", INCLUDES.join(", "));
            return Err(ApiError::invalid(format!("include[{at}]"), message));
        }
    }
    let told = include.iter().any(|wish| wish == LOGPROBS);
    match top {
        Some(top) if top > TOP_LOGPROBS_MAX => Err(ApiError::invalid(
            "top_logprobs",
            format!("top_logprobs is {top}: it must be between 0 and {TOP_LOGPROBS_MAX}"),
        )),
        Some(top) if top > 0 && !told => {
            Err(ApiError::invalid("top_logprobs", format!("top_logprobs needs {LOGPROBS} among include")))
        }
        top => Ok(told.then_some(top.unwrap_or(0))),
    }
}

/// The same checks as for chat's tools, whose function is an object of its own.
fn flat_tools(given: &[FunctionTool]) -> Result<Vec<Tool>, ApiError> {
    let nested = |tool: &FunctionTool| ToolGiven {
        kind: Some(tool.kind.clone()),
        function: Some(FunctionGiven {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            strict: tool.strict,
        }),
        ..ToolGiven::default()
    };
    tools(given.iter().map(nested).collect()).map_err(|error| {
        let param = error.param.map(|param| param.replace(".function.", "."));
        ApiError { param, ..error }
    })
}

fn choice(given: Option<&ToolChoiceSaid>, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let refuse = |what: &str| {
        let message = format!("tool_choice is {what:?}: it must be none, auto, required or a function");
        Err(ApiError::invalid("tool_choice", message))
    };
    let choice = match given {
        None if tools.is_empty() => ToolChoice::None,
        None => ToolChoice::Auto,
        Some(ToolChoiceSaid::Mode(mode)) => match mode.as_str() {
            "none" => ToolChoice::None,
            "auto" if tools.is_empty() => ToolChoice::None,
            "auto" => ToolChoice::Auto,
            "required" | "any" => ToolChoice::Required,
            other => return refuse(other),
        },
        Some(ToolChoiceSaid::Named { kind, name }) => match name.clone().filter(|_| kind == "function") {
            Some(name) => ToolChoice::Named(name),
            None => return refuse(kind),
        },
    };
    check_choice(&choice, tools)?;
    Ok(choice)
}

impl FormatGiven {
    fn text() -> Self {
        Self { kind: "text".into(), name: None, description: None, schema: None, strict: None }
    }

    fn read(self) -> Result<Format, ApiError> {
        match self.kind.as_str() {
            "text" => Ok(Format::Text),
            "json_object" => Ok(self.schema.map_or(Format::JsonObject, Format::Schema)),
            "json_schema" if self.name.is_none() => {
                Err(ApiError::invalid("text.format.name", "text.format.name is missing"))
            }
            "json_schema" => match self.schema {
                Some(schema) if schema.is_object() => Ok(Format::Schema(schema)),
                Some(_) => Err(ApiError::invalid(
                    "text.format.schema",
                    "text.format.schema must be a JSON schema, an object",
                )),
                None => Err(ApiError::invalid("text.format.schema", "text.format.schema is missing")),
            },
            other => {
                let message =
                    format!("text.format.type is {other:?}: it must be text, json_object or json_schema");
                Err(ApiError::invalid("text.format.type", message))
            }
        }
    }
}

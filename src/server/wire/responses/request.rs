//! `POST /v1/responses`: the request body, and how it becomes a question for a model.

#[cfg(test)]
mod tests;

use bandmaster_text::{RenderOptions, Tool, ToolChoice};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::items::InputItem;
use super::object::{ConversationRef, ReasoningSettings, Response, ResponseStatus, TextSettings};
use super::settings::{FunctionTool, ResponseToolChoice, TextFormat};
use super::{Metadata, TextOr, check_metadata};
use crate::answer::{Format, Question};
use crate::error::ApiError;
use crate::wire::common::TOP_LOGPROBS_MAX;
use crate::wire::fields::{Body, Fields, NameOr, is_empty};
use crate::wire::format::FormatFields;
use crate::wire::sampling::{SamplingFields, TokenLimit, token_limit};
use crate::wire::tools::{FunctionInput, ToolInput, check_choice, choice_of_mode, tools, unknown_choice};
use crate::wire::{new_id, unix_seconds};

const LOGPROBS: &str = "message.output_text.logprobs";
/// Accepted values of `include`. All but the first concern things that don't occur here.
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

/// A request for a response.
#[derive(Debug, ToSchema)]
pub struct CreateResponse {
    /// Sampling parameters and stop conditions.
    #[serde(flatten)]
    pub sampling: SamplingFields,
    /// Format that the answer must have, under the names of other servers.
    #[serde(flatten)]
    pub format: FormatFields,
    /// Fields that only responses have.
    #[serde(flatten)]
    pub own: ResponseFields,
}

impl Body for CreateResponse {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        Ok(Self { sampling: fields.part()?, format: fields.part()?, own: fields.rest()? })
    }
}

/// Fields that only responses have.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ResponseAsked)]
pub struct ResponseFields {
    /// Model id, or `bandmaster` for the whole band. If omitted, the server uses the first one it was started with, or
    /// the only one installed.
    #[schema(required = true, value_type = String)]
    pub model: Option<String>,
    /// Input: a text, or a list of items.
    #[schema(required = true, value_type = TextOr<InputItem>)]
    pub input: Option<TextOr<InputItem>>,
    /// Instructions placed before the conversation, for this response only.
    pub instructions: Option<String>,
    /// Id of the response to continue.
    pub previous_response_id: Option<String>,
    /// Conversation to continue. Input and output are appended to it.
    #[schema(value_type = Option<Object>)]
    pub conversation: Option<ConversationField>,
    /// Whether the response is stored; true by default.
    pub store: Option<bool>,
    /// Stream the response as server-sent events.
    pub stream: Option<bool>,
    /// Stream options. Accepted for compatibility; they have no effect.
    pub stream_options: Option<ResponseStreamOptions>,
    /// Functions that the model may call.
    #[schema(max_items = 128)]
    pub tools: Option<Vec<FunctionTool>>,
    /// Whether the model may call a tool, must call one, or must not.
    pub tool_choice: Option<ResponseToolChoice>,
    /// Whether one answer may hold several tool calls; true by default.
    pub parallel_tool_calls: Option<bool>,
    /// Limit on OpenAI's built-in tools. Accepted for compatibility; has no effect.
    pub max_tool_calls: Option<u32>,
    /// Settings of the answer's text.
    pub text: Option<TextFields>,
    /// Maximum number of tokens to generate; -1 means as many as fit the context.
    #[schema(minimum = -1)]
    pub max_output_tokens: Option<i64>,
    /// Number of most likely alternatives to return with each token, if `include` asks for log-probabilities.
    #[schema(minimum = 0, maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// Additional output. `message.output_text.logprobs` returns log-probabilities; other values have no effect.
    pub include: Option<Vec<String>>,
    /// Metadata to store with the response.
    pub metadata: Option<Metadata>,
    /// Id of the end user. Accepted for compatibility; has no effect.
    pub user: Option<String>,
    /// Accepted for compatibility; has no effect.
    pub safety_identifier: Option<String>,
    /// Accepted for compatibility; the prefix cache finds prefixes by itself.
    pub prompt_cache_key: Option<String>,
    /// Accepted for compatibility; has no effect.
    pub prompt_cache_retention: Option<String>,
    /// Accepted for compatibility; has no effect.
    #[schema(value_type = Option<Object>)]
    pub prompt_cache_options: Option<Value>,
    /// Accepted for compatibility; has no effect.
    pub service_tier: Option<String>,
    /// Accepted for compatibility; input that doesn't fit the context is always refused.
    pub truncation: Option<String>,
    /// Only `false` is supported.
    pub background: Option<bool>,
    /// Reasoning settings. Accepted for compatibility; they have no effect.
    pub reasoning: Option<ReasoningFields>,
    /// Listed, like the next two, only so that it is refused.
    #[schema(ignore)]
    prompt: Option<Value>,
    #[schema(ignore)]
    moderation: Option<Value>,
    #[schema(ignore)]
    context_management: Option<Value>,
}

/// A conversation's id, or an object with it.
pub(crate) type ConversationField = NameOr<ConversationRef>;

/// Options for a streamed response.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResponseStreamOptions {
    /// Accepted for compatibility; has no effect.
    pub include_obfuscation: Option<bool>,
}

/// Settings of the answer's text.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = TextGiven)]
pub struct TextFields {
    /// Format of the text.
    pub format: Option<TextFormat>,
    /// Accepted for compatibility; has no effect.
    pub verbosity: Option<String>,
}

/// Reasoning settings, none of which has an effect.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ReasoningGiven)]
pub struct ReasoningFields {
    /// Accepted for compatibility; has no effect.
    pub effort: Option<String>,
    /// Accepted for compatibility; reasoning is not summarized.
    pub summary: Option<String>,
    /// Older name of `summary`.
    pub generate_summary: Option<String>,
}

/// What the input continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuation {
    Nothing,
    /// The response with this id.
    Response(String),
    /// The conversation with this id.
    Conversation(String),
}

/// A request after its checks. Earlier messages are still to be looked up.
#[derive(Debug)]
pub struct CheckedRequest {
    pub continues: Continuation,
    pub input: Vec<InputItem>,
    /// The question, still without messages.
    pub question: Question,
    /// The response object, still without output.
    pub response: Response,
    /// Names of fields that were accepted without effect.
    pub ignored: Vec<&'static str>,
}

impl CreateResponse {
    /// Checks the request; `model` is the id of the model that answers.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn check(self, model: String) -> Result<CheckedRequest, ApiError> {
        self.own.read(self.sampling, self.format, model)
    }
}

impl ResponseFields {
    fn read(
        mut self,
        sampling: SamplingFields,
        format_fields: FormatFields,
        model: String,
    ) -> Result<CheckedRequest, ApiError> {
        self.check_supported()?;
        let ignored = self.ignored_hints();
        let tokens_max = match token_limit(&[("max_output_tokens", self.max_output_tokens)])?.0 {
            TokenLimit::Tokens(0) => {
                let message = "max_output_tokens is 0: it must be at least 1";
                return Err(ApiError::invalid("max_output_tokens", message));
            }
            TokenLimit::Tokens(tokens) => Some(tokens),
            TokenLimit::Unset | TokenLimit::Unlimited => None,
        };
        let (temperature, top_p) = (sampling.temperature.unwrap_or(1.0), sampling.top_p.unwrap_or(1.0));
        let top = top_logprobs(self.include.as_deref().unwrap_or_default(), self.top_logprobs)?;
        let params = sampling.params(tokens_max, top)?;
        let tools_given = self.tools.take().unwrap_or_default();
        let tools = flat_tools(&tools_given)?;
        let choice = choice(self.tool_choice.as_ref(), &tools)?;
        let format = self.text.take().unwrap_or_default().format.unwrap_or_else(TextFormat::text);
        let continues = self.continues()?;
        let input = match self.input.take() {
            None => Vec::new(),
            Some(TextOr::List(items)) => items,
            Some(TextOr::Text(text)) => vec![InputItem::user_message(text)],
        };
        // The route renames `response_format` to its own `text.format`.
        let (answer_format, field) = match (format_fields.read()?, format.clone().read()?) {
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
            format: answer_format,
            format_field: field,
            rendering: RenderOptions::default(),
            params,
            choices: 1,
        };
        let response = Response {
            max_output_tokens: tokens_max,
            ..self.answer(model, &continues, tools_given, format)?
        };
        let response = Response { temperature, top_p, ..response };
        Ok(CheckedRequest { continues, input, question, response, ignored })
    }

    /// Names of fields that are hints without effect here.
    fn ignored_hints(&self) -> Vec<&'static str> {
        let is = |given: Option<&String>, default: &str| given.is_none_or(|given| given == default);
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
        hints.into_iter().filter(|(_, default)| !default).map(|(name, _)| name).collect()
    }

    fn continues(&mut self) -> Result<Continuation, ApiError> {
        let previous = self.previous_response_id.take().filter(|id| !id.is_empty());
        match (previous, self.conversation.take()) {
            (Some(_), Some(_)) => {
                let message =
                    "conversation and previous_response_id both give the earlier messages: give one of them";
                Err(ApiError::invalid("conversation", message))
            }
            (Some(id), None) => Ok(Continuation::Response(id)),
            (None, Some(NameOr::Name(id) | NameOr::Object(ConversationRef { id }))) if !id.is_empty() => {
                Ok(Continuation::Conversation(id))
            }
            (None, _) => Ok(Continuation::Nothing),
        }
    }

    /// The response object, still without output.
    fn answer(
        self,
        model: String,
        continues: &Continuation,
        tools: Vec<FunctionTool>,
        format: TextFormat,
    ) -> Result<Response, ApiError> {
        let (previous_response_id, conversation) = match continues.clone() {
            Continuation::Nothing => (None, None),
            Continuation::Response(id) => (Some(id), None),
            Continuation::Conversation(id) => (None, Some(ConversationRef { id })),
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
            reasoning: ReasoningSettings {
                effort: self.reasoning.and_then(|reasoning| reasoning.effort),
                summary: None,
            },
            safety_identifier: self.safety_identifier,
            service_tier: "default",
            store: self.store.unwrap_or(true),
            temperature: 1.0,
            text: TextSettings { format, verbosity: "medium" },
            tool_choice: self.tool_choice.unwrap_or_else(|| ResponseToolChoice::Mode("auto".into())),
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
            return refuse(
                "background",
                "the client waits for the answer or streams it; POST /v1/runs runs in the background",
            );
        }
        let asks = |value: &Option<Value>| value.as_ref().is_some_and(|value| !is_empty(value));
        if asks(&self.prompt) {
            return refuse("prompt", "prompts are not stored here: send instructions and input");
        }
        if asks(&self.moderation) {
            return refuse("moderation", "there is no moderation model here");
        }
        if asks(&self.context_management) {
            return refuse(
                "context_management",
                "input is never shortened: a request that does not fit the context is refused",
            );
        }
        Ok(())
    }
}

fn top_logprobs(include: &[String], top: Option<u32>) -> Result<Option<u32>, ApiError> {
    for (at, wish) in include.iter().enumerate() {
        if !INCLUDES.contains(&wish.as_str()) {
            let message = format!("include[{at}] is {wish:?}: the known values are {}", INCLUDES.join(", "));
            return Err(ApiError::invalid(format!("include[{at}]"), message));
        }
    }
    let wants_logprobs = include.iter().any(|wish| wish == LOGPROBS);
    match top {
        Some(top) if top > TOP_LOGPROBS_MAX => Err(ApiError::invalid(
            "top_logprobs",
            format!("top_logprobs is {top}: it must be between 0 and {TOP_LOGPROBS_MAX}"),
        )),
        Some(top) if top > 0 && !wants_logprobs => {
            Err(ApiError::invalid("top_logprobs", format!("top_logprobs needs {LOGPROBS} in include")))
        }
        top => Ok(wants_logprobs.then_some(top.unwrap_or(0))),
    }
}

/// The same checks as for chat's tools, in which the function is an object of its own.
fn flat_tools(given: &[FunctionTool]) -> Result<Vec<Tool>, ApiError> {
    let nested = |tool: &FunctionTool| ToolInput {
        kind: Some(tool.kind.clone()),
        function: Some(FunctionInput {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            strict: tool.strict,
        }),
        ..ToolInput::default()
    };
    tools(given.iter().map(nested).collect()).map_err(|error| {
        let param = error.param.map(|param| param.replace(".function.", "."));
        ApiError { param, ..error }
    })
}

fn choice(given: Option<&ResponseToolChoice>, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let choice = match given {
        None => choice_of_mode("auto", tools)?,
        Some(ResponseToolChoice::Mode(mode)) => choice_of_mode(mode, tools)?,
        Some(ResponseToolChoice::Named { kind, name }) => match name.clone().filter(|_| kind == "function") {
            Some(name) => ToolChoice::Named(name),
            None => return Err(unknown_choice(kind)),
        },
    };
    check_choice(&choice, tools)?;
    Ok(choice)
}

impl TextFormat {
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

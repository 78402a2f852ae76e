//! Tools, tool calls and tool choices in chat requests.

use bandmaster_text::{Tool, ToolChoice};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::fields::NameOr;
use crate::error::ApiError;

/// Tools of one request. A body with more is refused before it is parsed.
pub(crate) const TOOLS_MAX: usize = 128;

/// A tool call of an earlier answer.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CallGiven)]
pub struct ToolCallInput {
    /// Id of the call.
    pub id: Option<String>,
    /// Function that was called.
    pub function: FunctionCallInput,
}

/// A called function and its arguments.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FunctionCalled)]
pub struct FunctionCallInput {
    /// Name of the function.
    pub name: String,
    /// Arguments: a JSON object, as it is or as a string. Empty by default.
    #[schema(value_type = Option<String>)]
    pub arguments: Option<Value>,
}

impl FunctionCallInput {
    /// The arguments as JSON.
    #[must_use]
    pub fn arguments(self) -> Value {
        match self.arguments {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(Value::String(text)) => read_arguments(text),
            Some(arguments) => arguments,
        }
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[schema(as = ToolGiven)]
pub struct ToolInput {
    /// Type of the tool. `function` is the default and the only one.
    #[serde(rename = "type")]
    #[schema(pattern = "^function$")]
    pub kind: Option<String>,
    /// Function that may be called.
    #[schema(required = true, value_type = FunctionInput)]
    pub function: Option<FunctionInput>,
    /// From here on, a function's fields in the tool itself, as `/v1/responses` writes them.
    #[schema(ignore)]
    pub name: Option<String>,
    #[schema(ignore)]
    pub description: Option<String>,
    #[schema(ignore)]
    pub parameters: Option<Value>,
    #[schema(ignore)]
    pub strict: Option<bool>,
}

/// A function that the model may call.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = FunctionGiven)]
pub struct FunctionInput {
    /// Name of the function: up to 64 letters, digits, `_`, `-` and `.`.
    #[schema(pattern = "^[a-zA-Z0-9_.-]{1,64}$")]
    pub name: String,
    /// What the function does, for the model to read.
    pub description: Option<String>,
    /// JSON schema of the arguments, of type `object`.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Whether a keyword of the schema that can't be enforced is an error; otherwise it is ignored.
    pub strict: Option<bool>,
}

/// `none`, `auto`, `required`, or a function.
pub(crate) type ToolChoiceInput = NameOr<NamedTool>;

/// The function that must be called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct NamedTool {
    /// `function`, or a mode such as `auto`.
    #[serde(rename = "type")]
    #[schema(pattern = "^function$")]
    pub kind: Option<String>,
    /// Function that must be called.
    pub function: Option<NamedFunction>,
    /// Name of the function, in the form of `/v1/responses`.
    pub name: Option<String>,
}

/// A function by its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub struct NamedFunction {
    /// Name of the function.
    pub name: String,
}

/// Checks tools: their names must be valid and unique, their schemas of type `object`.
///
/// # Errors
/// 400 with the field of the one that can't be used.
pub(crate) fn tools(given: Vec<ToolInput>) -> Result<Vec<Tool>, ApiError> {
    let mut tools: Vec<Tool> = Vec::with_capacity(given.len());
    for (at, tool) in given.into_iter().enumerate() {
        let field = format!("tools[{at}]");
        let kind = tool.kind.unwrap_or_else(|| "function".to_owned());
        if kind != "function" {
            let message = format!("{field} is of type {kind:?}: only functions can be called");
            return Err(ApiError::invalid(format!("{field}.type"), message));
        }
        let flat = tool.name.map(|name| FunctionInput {
            name,
            description: tool.description,
            parameters: tool.parameters,
            strict: tool.strict,
        });
        let Some(function) = tool.function.or(flat) else {
            let message = format!("{field} has no function: describe the function");
            return Err(ApiError::invalid(format!("{field}.function"), message));
        };
        tools.push(named_tool(&field, function, &tools)?);
    }
    Ok(tools)
}

/// Checks a function. Its name must differ from those of `others`.
///
/// # Errors
/// 400 with the field.
pub(crate) fn named_tool(field: &str, function: FunctionInput, others: &[Tool]) -> Result<Tool, ApiError> {
    let name = function.name;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
        let message =
            format!("{field}: {name:?} is not a valid name: use up to 64 letters, digits, _, - and .");
        return Err(ApiError::invalid(format!("{field}.function.name"), message));
    }
    if others.iter().any(|other| other.name == name) {
        return Err(ApiError::invalid(
            format!("{field}.function.name"),
            format!("{field}: {name} is given twice"),
        ));
    }
    let parameters = function.parameters.unwrap_or_else(|| Value::Object(Map::new()));
    let kind = parameters.get("type").unwrap_or(&Value::Null);
    let of_object = kind.is_null()
        || *kind == "object"
        || kind.as_array().is_some_and(|kinds| kinds.contains(&"object".into()));
    if !parameters.is_object() || !of_object {
        let message = format!("{field}: parameters must be a JSON schema of type object");
        return Err(ApiError::invalid(format!("{field}.function.parameters"), message));
    }
    Ok(Tool { name, description: function.description, parameters, strict: function.strict.unwrap_or(false) })
}

/// Reads `tool_choice`. Absent, it is `auto` if there are tools, else `none`.
///
/// # Errors
/// 400 for an unknown choice, and for a tool that isn't there.
pub(crate) fn choice(given: Option<ToolChoiceInput>, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let choice = match given {
        None => choice_of_mode("auto", tools)?,
        Some(NameOr::Name(mode)) => choice_of_mode(&mode, tools)?,
        Some(NameOr::Object(named)) => {
            let name = named.function.map(|function| function.name).or(named.name);
            match (named.kind.as_deref().unwrap_or("function"), name) {
                ("function", Some(name)) => ToolChoice::Named(name),
                ("none" | "auto" | "required" | "any", None) => {
                    choice_of_mode(&named.kind.unwrap_or_default(), tools)?
                }
                ("function", None) => {
                    return Err(ApiError::invalid("tool_choice", "tool_choice names no function"));
                }
                (kind, _) => {
                    let message = format!("tool_choice is of type {kind:?}: only a function can be chosen");
                    return Err(ApiError::invalid("tool_choice", message));
                }
            }
        }
    };
    check_choice(&choice, tools)?;
    Ok(choice)
}

/// Reads a mode of `tool_choice`. Without tools there is nothing to choose, so that `auto` is `none`.
///
/// # Errors
/// 400 for an unknown mode.
pub(crate) fn choice_of_mode(mode: &str, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    match mode {
        "none" => Ok(ToolChoice::None),
        "auto" if tools.is_empty() => Ok(ToolChoice::None),
        "auto" => Ok(ToolChoice::Auto),
        "required" | "any" => Ok(ToolChoice::Required),
        other => Err(unknown_choice(other)),
    }
}

/// The error for a `tool_choice` that is neither a mode nor a function.
#[must_use]
pub(crate) fn unknown_choice(choice: &str) -> ApiError {
    let message = format!("tool_choice is {choice:?}: it must be none, auto, required or a function");
    ApiError::invalid("tool_choice", message)
}

/// Refuses the choice of a tool that isn't there.
///
/// # Errors
/// 400 with the field.
pub(crate) fn check_choice(choice: &ToolChoice, tools: &[Tool]) -> Result<(), ApiError> {
    match choice {
        ToolChoice::Required if tools.is_empty() => {
            Err(ApiError::invalid("tool_choice", "tool_choice is required, but there are no tools"))
        }
        ToolChoice::Named(name) if tools.iter().all(|tool| tool.name != *name) => Err(ApiError::invalid(
            "tool_choice",
            format!("tool_choice names {name:?}, which is not among the tools"),
        )),
        _ => Ok(()),
    }
}

/// Maximum number of JSON values in arguments that are parsed. The values of a body are counted before it is parsed;
/// those inside a text are not.
const ARGUMENT_VALUES_MAX: usize = 20_000;

/// Parses arguments that a model wrote. What isn't JSON, or has more values than any call needs, stays text.
#[must_use]
pub(crate) fn read_arguments(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    if text.bytes().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count() > ARGUMENT_VALUES_MAX {
        return Value::String(text);
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

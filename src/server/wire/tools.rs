//! Tools, calls and choices of them, as chat requests say it.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::server::error::ApiError;
use crate::text::{Tool, ToolChoice};

const TOOLS_MAX: usize = 128;

/// A call that was made.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CallGiven {
    /// Its id.
    pub id: Option<String>,
    /// The function.
    pub function: FunctionCalled,
}

/// A function with its arguments.
#[derive(Debug, Deserialize, ToSchema)]
pub struct FunctionCalled {
    /// Its name.
    pub name: String,
    /// A JSON object, as a string.
    pub arguments: String,
}

/// A tool.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct ToolGiven {
    /// `function`.
    #[serde(rename = "type")]
    #[schema(pattern = "^function$")]
    pub kind: String,
    /// The function.
    #[schema(required = true, value_type = FunctionGiven)]
    pub function: Option<FunctionGiven>,
}

/// A function that can be called.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct FunctionGiven {
    /// Its name.
    #[schema(pattern = "^[a-zA-Z0-9_.-]{1,64}$")]
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Arguments fit the schema in any case.
    pub strict: Option<bool>,
}

/// `none`, `auto`, `required`, or a function.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected none, auto, required or a function")]
pub enum ToolChoiceGiven {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// One function.
    Named(NamedTool),
}

/// The tool that must be called.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NamedTool {
    /// `function`.
    #[serde(rename = "type")]
    #[schema(pattern = "^function$")]
    pub kind: String,
    /// Which.
    pub function: Option<NamedFunction>,
}

/// Its function.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NamedFunction {
    /// Its name.
    pub name: String,
}

/// Tools that can be shown to a model and called by name.
///
/// # Errors
/// 400 with the field of the one that can't be used.
pub fn tools(given: Vec<ToolGiven>) -> Result<Vec<Tool>, ApiError> {
    if given.len() > TOOLS_MAX {
        return Err(ApiError::invalid("tools", format!("{} tools: {TOOLS_MAX} at most", given.len())));
    }
    let mut tools: Vec<Tool> = Vec::with_capacity(given.len());
    for (at, tool) in given.into_iter().enumerate() {
        let field = format!("tools[{at}]");
        let function = tool.function.filter(|_| tool.kind == "function");
        let Some(function) = function else {
            let message = format!("{field} is of type {:?}: only functions can be called", tool.kind);
            return Err(ApiError::invalid(format!("{field}.type"), message));
        };
        tools.push(named_tool(&field, function, &tools)?);
    }
    Ok(tools)
}

/// A function as a tool; names are unique.
///
/// # Errors
/// 400 with the field.
pub fn named_tool(field: &str, function: FunctionGiven, others: &[Tool]) -> Result<Tool, ApiError> {
    let name = function.name;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
        let message = format!("{field}: {name:?} is no name: up to 64 letters, digits, _, - and .");
        return Err(ApiError::invalid(format!("{field}.function.name"), message));
    }
    if others.iter().any(|other| other.name == name) {
        return Err(ApiError::invalid(
            format!("{field}.function.name"),
            format!("{field}: {name} is there twice"),
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

/// What is chosen; the model's own will where nothing is said and there are tools.
///
/// # Errors
/// 400 for what is no choice, and for a tool that isn't there.
pub fn choice(given: Option<ToolChoiceGiven>, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let choice = match given {
        None => return Ok(if tools.is_empty() { ToolChoice::None } else { ToolChoice::Auto }),
        Some(ToolChoiceGiven::Mode(mode)) => match mode.as_str() {
            "none" => ToolChoice::None,
            "auto" => ToolChoice::Auto,
            "required" | "any" => ToolChoice::Required,
            other => {
                let message =
                    format!("tool_choice is {other:?}: it must be none, auto, required or a function");
                return Err(ApiError::invalid("tool_choice", message));
            }
        },
        Some(ToolChoiceGiven::Named(named)) => match named.function.filter(|_| named.kind == "function") {
            Some(function) => ToolChoice::Named(function.name),
            None => {
                let message =
                    format!("tool_choice is of type {:?}: only a function can be chosen", named.kind);
                return Err(ApiError::invalid("tool_choice", message));
            }
        },
    };
    check_choice(&choice, tools)?;
    Ok(choice)
}

/// Refuses the choice of a tool that isn't there.
///
/// # Errors
/// 400 with the field.
pub fn check_choice(choice: &ToolChoice, tools: &[Tool]) -> Result<(), ApiError> {
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

/// Arguments as the model wrote them: JSON where they are, else the text itself.
#[must_use]
pub fn read_arguments(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

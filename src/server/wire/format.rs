//! Formats of an answer, under the names of several servers: OpenAI's `response_format`, llama.cpp's `json_schema` and
//! `grammar`, vLLM's `structured_outputs` and `guided_*`, SGLang's `regex` and `ebnf`, TGI's `grammar` objects. All are
//! read here, and only one of them may be given.

use bandmaster_text::ClientGrammar;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{NameOr, is_empty};
use crate::answer::Format;
use crate::error::ApiError;

/// Fields that set the format of the answer. Only one may be given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ShapeGiven)]
pub struct FormatFields {
    /// Format that the answer must have.
    pub response_format: Option<ResponseFormat>,
    /// The answer is JSON that fits this schema.
    #[schema(value_type = Option<Object>)]
    pub json_schema: Option<Value>,
    /// The answer fits this grammar: GBNF (rules `name ::= …`, from `root`) or Lark (rules `name: …`, from `start`).
    #[schema(value_type = Option<String>)]
    pub grammar: Option<NameOr<TypedGrammar>>,
    /// The whole answer fits this regular expression.
    pub regex: Option<String>,
    /// The answer fits this grammar: SGLang's name for `grammar`.
    pub ebnf: Option<String>,
    /// The answer is JSON that fits this schema.
    #[schema(value_type = Option<Object>)]
    pub guided_json: Option<Value>,
    /// The answer is a JSON object.
    pub guided_json_object: Option<bool>,
    /// The whole answer fits this regular expression.
    pub guided_regex: Option<String>,
    /// The answer is one of these texts.
    pub guided_choice: Option<Vec<String>>,
    /// The answer fits this grammar.
    pub guided_grammar: Option<String>,
    /// One of the formats above, as vLLM writes them.
    pub structured_outputs: Option<StructuredOutputs>,
}

/// Format that the answer must have.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResponseFormat {
    /// `text`, `json_object`, `json_schema`, `grammar` or `regex`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(text|json_object|json_schema|json|grammar|regex)$")]
    pub kind: String,
    /// Schema, for the type `json_schema`.
    pub json_schema: Option<NamedSchema>,
    /// The schema itself, llama.cpp's form for `json_object` and `json_schema`.
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// TGI's name for `schema`. For `grammar` and `regex`, their text.
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
    /// Grammar, for the type `grammar`.
    pub grammar: Option<String>,
    /// Regular expression, for the type `regex`.
    pub regex: Option<String>,
    /// Another name for `regex`.
    pub pattern: Option<String>,
}

/// A JSON schema with its name.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NamedSchema {
    /// Name of the schema. Accepted for compatibility; has no effect.
    pub name: Option<String>,
    /// Purpose of the schema. Accepted for compatibility; has no effect.
    pub description: Option<String>,
    /// The JSON schema itself.
    #[schema(required = true, value_type = Object)]
    pub schema: Option<Value>,
    /// Accepted for compatibility: answers always fit the schema.
    pub strict: Option<bool>,
}

/// A grammar with its type.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
pub struct TypedGrammar {
    /// `json`, `regex`, `lark`, `gbnf` or `choice`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Regular expression, grammar, schema, or list of choices, as `type` says.
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
}

/// vLLM's formats. Only one may be given.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct StructuredOutputs {
    /// The answer is JSON that fits this schema.
    #[schema(value_type = Option<Object>)]
    pub json: Option<Value>,
    /// The whole answer fits this regular expression.
    pub regex: Option<String>,
    /// The answer is one of these texts.
    pub choice: Option<Vec<String>>,
    /// The answer fits this grammar.
    pub grammar: Option<String>,
    /// The answer is a JSON object.
    pub json_object: Option<bool>,
    /// Listed only so that it is refused.
    #[schema(ignore)]
    structural_tag: Option<Value>,
    /// Listed only so that it is refused.
    #[schema(ignore)]
    whitespace_pattern: Option<String>,
}

impl FormatFields {
    /// The one format that is given, and the field that gives it.
    ///
    /// # Errors
    /// 400 if two are given, and for one that can't be used.
    pub fn read(self) -> Result<(Format, &'static str), ApiError> {
        let outputs = self.structured_outputs.unwrap_or_default();
        if outputs.structural_tag.is_some_and(|tag| !is_empty(&tag)) {
            let field = "structured_outputs.structural_tag";
            return Err(ApiError::unsupported(
                field,
                format!("{field} is not supported: use tools or grammar"),
            ));
        }
        if outputs.whitespace_pattern.is_some_and(|pattern| !pattern.is_empty()) {
            let field = "structured_outputs.whitespace_pattern";
            let message =
                format!("{field} is not supported: JSON is written on one line, with a space after , and :");
            return Err(ApiError::unsupported(field, message));
        }
        let regex =
            |text: Option<String>| non_blank(text).map(ClientGrammar::Regex).map(Format::ClientGrammar);
        let grammar =
            |text: Option<String>| non_blank(text).map(ClientGrammar::detect).map(Format::ClientGrammar);
        let choice = |choices: Option<Vec<String>>| {
            choices
                .filter(|choices| !choices.is_empty())
                .map(ClientGrammar::Choice)
                .map(Format::ClientGrammar)
        };
        let object = |wanted: Option<bool>| (wanted == Some(true)).then_some(Format::JsonObject);
        let given = [
            ("response_format", self.response_format.map_or(Ok(None), ResponseFormat::read)?),
            (
                "json_schema",
                self.json_schema.map(|given| schema("json_schema", given)).transpose()?.flatten(),
            ),
            ("grammar", self.grammar.map_or(Ok(None), typed)?),
            ("regex", regex(self.regex)),
            ("ebnf", grammar(self.ebnf)),
            (
                "guided_json",
                self.guided_json.map(|given| schema("guided_json", given)).transpose()?.flatten(),
            ),
            ("guided_json_object", object(self.guided_json_object)),
            ("guided_regex", regex(self.guided_regex)),
            ("guided_choice", choice(self.guided_choice)),
            ("guided_grammar", grammar(self.guided_grammar)),
            (
                "structured_outputs.json",
                outputs.json.map(|given| schema("structured_outputs.json", given)).transpose()?.flatten(),
            ),
            ("structured_outputs.regex", regex(outputs.regex)),
            ("structured_outputs.choice", choice(outputs.choice)),
            ("structured_outputs.grammar", grammar(outputs.grammar)),
            ("structured_outputs.json_object", object(outputs.json_object)),
        ];
        let mut given = given.into_iter().filter_map(|(field, format)| Some((field, format?)));
        let Some((field, format)) = given.next() else { return Ok((Format::Text, "response_format")) };
        if let Some((other, _)) = given.next() {
            let message = format!("{field} and {other} both say what the answer must be: give one of them");
            return Err(ApiError::invalid(other, message));
        }
        Ok((format, field))
    }
}

/// `None` for a blank text.
fn non_blank(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// Reads a schema, or a text that holds one. A blank text is no schema.
fn schema(field: &str, given: Value) -> Result<Option<Format>, ApiError> {
    let schema = match given {
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => serde_json::from_str(&text)
            .map_err(|error| ApiError::invalid(field, format!("{field} is not a JSON schema: {error}")))?,
        schema => schema,
    };
    Ok(Some(Format::Schema(schema)))
}

/// Reads a grammar, or an object with its type.
fn typed(given: NameOr<TypedGrammar>) -> Result<Option<Format>, ApiError> {
    let given = match given {
        NameOr::Name(text) => {
            return Ok(non_blank(Some(text)).map(ClientGrammar::detect).map(Format::ClientGrammar));
        }
        NameOr::Object(given) => given,
    };
    let value = given.value.unwrap_or_default();
    let text = || {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| ApiError::invalid("grammar.value", "grammar.value must be a text"))
    };
    let grammar = match given.kind.as_str() {
        "json" | "json_object" | "json_schema" => return schema("grammar.value", value),
        "regex" => ClientGrammar::Regex(text()?),
        "lark" => ClientGrammar::Lark(text()?),
        "gbnf" | "ebnf" => ClientGrammar::Gbnf(text()?),
        "choice" => ClientGrammar::Choice(
            serde_json::from_value(value)
                .map_err(|_| ApiError::invalid("grammar.value", "grammar.value must be a list of texts"))?,
        ),
        other => {
            let message = format!("grammar.type is {other:?}: it must be json, regex, lark, gbnf or choice");
            return Err(ApiError::invalid("grammar.type", message));
        }
    };
    Ok(Some(Format::ClientGrammar(grammar)))
}

impl ResponseFormat {
    fn read(self) -> Result<Option<Format>, ApiError> {
        let missing = |field: &str| {
            let message = format!("response_format has no {field}");
            ApiError::invalid(format!("response_format.{field}"), message)
        };
        let own = self.schema.or(self.value);
        match self.kind.as_str() {
            "text" => Ok(None),
            "json_object" | "json" => Ok(Some(match own {
                Some(schema) if schema.as_object().is_none_or(|fields| !fields.is_empty()) => {
                    Format::Schema(schema)
                }
                _ => Format::JsonObject,
            })),
            "json_schema" => {
                let schema = self.json_schema.and_then(|named| named.schema).or(own);
                schema.map(Format::Schema).map(Some).ok_or_else(|| missing("json_schema.schema"))
            }
            "grammar" => {
                let grammar = self.grammar.or(own.and_then(|own| own.as_str().map(str::to_owned)));
                let grammar = non_blank(grammar).ok_or_else(|| missing("grammar"))?;
                Ok(Some(Format::ClientGrammar(ClientGrammar::detect(grammar))))
            }
            "regex" => {
                let own = own.and_then(|own| own.as_str().map(str::to_owned));
                let regex = non_blank(self.regex.or(self.pattern).or(own)).ok_or_else(|| missing("regex"))?;
                Ok(Some(Format::ClientGrammar(ClientGrammar::Regex(regex))))
            }
            other => {
                let message = format!(
                    "response_format is {other:?}: it must be text, json_object, json_schema, grammar or regex"
                );
                Err(ApiError::invalid("response_format.type", message))
            }
        }
    }
}

//! Reads a schema keyword by keyword, as the first step from a schema to a grammar. Each keyword is enforced, ignored
//! because it says nothing about values, or refused with its location. The result is canonical: it has only keywords
//! that can be enforced, exact numbers, and references to plain names.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::references::{Location, References, base_of, below};
use super::{cost, formats, numbers, property_names};
use crate::grammar::{GrammarError, regexes};

const DEPTH_MAX: usize = 64;
/// Total bytes of a schema's names and texts. It bounds the pointers, which contain every name on the way.
const BYTES_MAX: usize = 256 << 10;
/// Number of a schema's values of any kind.
const PARTS_MAX: usize = 20_000;
/// Upper limits above this become this: no answer has more characters, items or properties.
const UPPER_LIMIT_MAX: u64 = 1 << 20;
/// Lower limits above this can't be met by any answer.
const LOWER_LIMIT_MAX: u64 = 1 << 16;

const DEFS: &str = "#/$defs/";
const TYPES: &[&str] = &["null", "boolean", "object", "array", "number", "string", "integer"];
/// Keywords that restrict values but can't be enforced, at least not in all their uses.
const UNENFORCED: &[&str] = &[
    "if",
    "not",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "$dynamicRef",
    "$recursiveRef",
];

fn refused(location: &str, problem: impl std::fmt::Display) -> GrammarError {
    GrammarError::Schema(format!("{location}: {problem}"))
}

/// `schema` in canonical form, with the parts it refers to under `$defs`. With `lenient`, what can't be enforced is
/// left out instead of refused.
///
/// # Errors
/// [`GrammarError::Schema`] with the location that is not a schema or can't be enforced.
pub(super) fn canonical(schema: &Value, lenient: bool) -> Result<Value, GrammarError> {
    let mut parts = 0;
    check_size(schema, 0, &mut parts, &mut 0)?;
    let references = References::new(schema);
    let root = references.root();
    let definition_refs = HashMap::from([("#".to_owned(), "#".to_owned())]);
    let mut reader = Reader {
        references: &references,
        lenient,
        is_old_draft: is_old_draft(schema),
        definition_refs,
        pending: Vec::new(),
    };
    let mut made = reader.schema(&root)?;
    let mut defs = Map::new();
    while let Some((name, location)) = reader.pending.pop() {
        let part = reader.schema(&location)?;
        defs.insert(name, part);
    }
    if !defs.is_empty()
        && let Value::Object(made) = &mut made
    {
        made.insert("$defs".into(), defs.into());
    }
    Ok(made)
}

/// Whether the schema follows a draft before 2020-12, which write tuples in another way.
fn is_old_draft(schema: &Value) -> bool {
    let says = schema.get("$schema").and_then(Value::as_str).unwrap_or_default();
    ["draft-04", "draft-06", "draft-07", "2019-09"].iter().any(|draft| says.contains(draft))
}

fn check_size(value: &Value, depth: usize, parts: &mut usize, bytes: &mut usize) -> Result<(), GrammarError> {
    *parts += 1;
    *bytes += match value {
        Value::String(text) => text.len(),
        Value::Object(fields) => fields.keys().map(String::len).sum(),
        _ => 0,
    };
    if *bytes > BYTES_MAX {
        return Err(GrammarError::Schema(format!("its names and texts have more than {BYTES_MAX} bytes")));
    }
    if depth > DEPTH_MAX {
        return Err(GrammarError::Schema(format!("it nests deeper than {DEPTH_MAX} levels")));
    }
    if *parts > PARTS_MAX {
        return Err(GrammarError::Schema(format!("it has more than {PARTS_MAX} parts")));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_size(item, depth + 1, parts, bytes)),
        Value::Object(fields) => {
            if let Some(values) = fields.get("enum").and_then(Value::as_array).map(Vec::len)
                && values > cost::VALUES_MAX
            {
                return Err(GrammarError::Schema(cost::too_many_values(values)));
            }
            fields.values().try_for_each(|value| check_size(value, depth + 1, parts, bytes))
        }
        _ => Ok(()),
    }
}

struct Reader<'a> {
    references: &'a References<'a>,
    lenient: bool,
    is_old_draft: bool,
    /// References to the parts that were referred to, by pointer.
    definition_refs: HashMap<String, String>,
    /// Parts that were referred to and have not been read yet.
    pending: Vec<(String, Location<'a>)>,
}

impl<'a> Reader<'a> {
    fn schema(&mut self, location: &Location<'a>) -> Result<Value, GrammarError> {
        let node = match location.value {
            Value::Bool(all) => return Ok(if *all { json!({}) } else { json!(false) }),
            Value::Object(node) => node,
            other => {
                let other: String = other.to_string().chars().take(40).collect();
                return Err(refused(
                    &location.pointer,
                    format_args!("it is `{other}` and must be an object"),
                ));
            }
        };
        let location = Location { base: base_of(location.value, &location.base), ..location.clone() };
        let mut out = Map::new();
        for (key, value) in node {
            match self.keyword(&location, node, key, value) {
                Ok(Some((key, value))) => drop(out.insert(key.into(), value)),
                Ok(None) => {}
                Err(Problem::Unenforceable(_)) if self.lenient => {}
                Err(Problem::Unenforceable(problem)) => {
                    return Err(refused(&below(&location.pointer, key), problem));
                }
                Err(Problem::Invalid(problem)) => {
                    return Err(refused(&below(&location.pointer, key), problem));
                }
                Err(Problem::Nested(error)) => return Err(error),
            }
        }
        if out.contains_key("not") {
            return Ok(json!(false));
        }
        let at = |key: &str, problem: String| refused(&below(&location.pointer, key), problem);
        match numbers::narrow(&mut out, node) {
            Err(("multipleOf", _)) if self.lenient => {
                out.shift_remove("multipleOf");
                numbers::narrow(&mut out, node).map_err(|(key, problem)| at(key, problem))?;
            }
            narrowed => narrowed.map_err(|(key, problem)| at(key, problem))?,
        }
        formats::rewrite(&mut out);
        match property_names::rewrite(&mut out) {
            Err(problem) if !self.lenient => return Err(at("propertyNames", problem)),
            _ => {}
        }
        match property_names::rewrite_counts(&mut out) {
            Err((key, _)) if self.lenient => drop(out.shift_remove(key)),
            Err((key, problem)) => return Err(at(key, problem)),
            Ok(()) => {}
        }
        Ok(out.into())
    }

    /// The enforced form of a keyword; `None` when it says nothing about values.
    fn keyword<'k>(
        &mut self,
        location: &Location<'a>,
        node: &'a Map<String, Value>,
        key: &'k str,
        value: &'a Value,
    ) -> Result<Option<(&'k str, Value)>, Problem> {
        let made = match key {
            "const" if value.is_null() => Value::Null,
            _ if value.is_null() => return Ok(None),
            "type" => types(value)?,
            "const" => exact_constant(value)?,
            "enum" => {
                let values = value.as_array().ok_or_else(|| invalid(value, "a list of values"))?;
                if values.is_empty() {
                    return Err(Problem::Invalid("it is empty, so nothing fits it".into()));
                }
                values.iter().map(exact_constant).collect::<Result<Vec<_>, _>>()?.into()
            }
            "$ref" => self.reference(location, value)?,
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => self.list(location, key, value)?,
            "items" if value.is_array() => {
                return Ok(Some(("prefixItems", self.list(location, key, value)?)));
            }
            "items" if self.is_old_draft && node.contains_key("prefixItems") => {
                return Err(Problem::Unenforceable(
                    "before draft 2020-12, it can't be used together with `prefixItems`".into(),
                ));
            }
            "additionalItems" => match node.get("items") {
                Some(Value::Array(_)) => return Ok(Some(("items", self.one(location, key, value)?))),
                _ => return Ok(None),
            },
            "items" | "additionalProperties" => self.one(location, key, value)?,
            "properties" | "patternProperties" => self.named(location, key, value)?,
            "required" => name_list(value)?,
            "minItems" | "minLength" | "minProperties" => lower_limit(value)?,
            "maxItems" | "maxLength" | "maxProperties" => count(value)?.min(UPPER_LIMIT_MAX).into(),
            "pattern" => regexes::exact_regex(&text(value)?).map_err(Problem::Unenforceable)?.into(),
            "format" => text(value)?.into(),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                if !(value.is_number() || key.starts_with('e') && value.is_boolean()) {
                    return Err(invalid(value, "a number"));
                }
                value.clone()
            }
            "multipleOf" => numbers::multiple(value).map_err(|problem| match value.is_number() {
                true => Problem::Unenforceable(problem),
                false => Problem::Invalid(problem),
            })?,
            key if UNENFORCED.contains(&key) => {
                return self
                    .unenforced(location, node, key, value)
                    .map(|made| made.map(|value| (key, value)));
            }
            _ => return Ok(None),
        };
        Ok(Some((key, made)))
    }

    /// Keywords that can be enforced only in some of their uses.
    fn unenforced(
        &mut self,
        location: &Location<'a>,
        node: &'a Map<String, Value>,
        key: &str,
        value: &'a Value,
    ) -> Result<Option<Value>, Problem> {
        let nothing = |value: &Value| *value == json!({}) || *value == json!(true);
        match key {
            "if" if !node.contains_key("then") && !node.contains_key("else") => Ok(None),
            "not" if *value == json!(false) => Ok(None),
            // Nothing matches.
            "not" if nothing(value) => Ok(Some(json!({}))),
            "uniqueItems" if *value == json!(false) => Ok(None),
            "uniqueItems" if node.get("maxItems").and_then(Value::as_u64).is_some_and(|most| most < 2) => {
                Ok(None)
            }
            "unevaluatedItems" | "unevaluatedProperties" if nothing(value) => Ok(None),
            "unevaluatedProperties" if node.get("additionalProperties") == Some(&json!(false)) => Ok(None),
            "propertyNames" if nothing(value) => Ok(None),
            // `property_names::rewrite` rewrites it once the other keywords are known.
            "propertyNames" => self.one(location, key, value).map(Some),
            "dependentRequired" | "dependentSchemas" | "dependencies"
                if value.as_object().is_some_and(Map::is_empty) =>
            {
                Ok(None)
            }
            "contains" if node.get("minContains") == Some(&json!(0)) && !node.contains_key("maxContains") => {
                Ok(None)
            }
            _ => Err(Problem::Unenforceable(format!("`{key}` can't be enforced"))),
        }
    }

    fn reference(&mut self, location: &Location<'a>, value: &Value) -> Result<Value, Problem> {
        let target = self.references.resolve(&text(value)?, &location.base).map_err(Problem::Invalid)?;
        if let Some(name) = self.definition_refs.get(&target.pointer) {
            return Ok(Value::from(name.as_str()));
        }
        // Parts keep their names from the schema, so that messages about them can be understood.
        let last = target.pointer.rsplit('/').next().unwrap_or_default();
        let mut name: String = last.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let is_taken =
            |name: &str| self.definition_refs.values().any(|other| other.strip_prefix(DEFS) == Some(name));
        while name.is_empty() || is_taken(&name) {
            name = format!("{name}_{}", self.definition_refs.len());
        }
        let reference = format!("{DEFS}{name}");
        self.definition_refs.insert(target.pointer.clone(), reference.clone());
        self.pending.push((name, target));
        Ok(Value::from(reference))
    }

    fn one(&mut self, location: &Location<'a>, key: &str, value: &'a Value) -> Result<Value, Problem> {
        let inner = Location { value, pointer: below(&location.pointer, key), base: location.base.clone() };
        self.schema(&inner).map_err(Problem::Nested)
    }

    fn list(&mut self, location: &Location<'a>, key: &str, value: &'a Value) -> Result<Value, Problem> {
        let items = value.as_array().ok_or_else(|| invalid(value, "a list of schemas"))?;
        let location = Location { pointer: below(&location.pointer, key), ..location.clone() };
        let made = items.iter().enumerate().map(|(at, item)| self.one(&location, &at.to_string(), item));
        Ok(made.collect::<Result<Vec<_>, _>>()?.into())
    }

    fn named(&mut self, location: &Location<'a>, key: &str, value: &'a Value) -> Result<Value, Problem> {
        let fields = value.as_object().ok_or_else(|| invalid(value, "an object of schemas"))?;
        let location = Location { pointer: below(&location.pointer, key), ..location.clone() };
        let made = fields.iter().map(|(name, item)| {
            let exact = match key {
                "patternProperties" => regexes::exact_regex(name).map_err(Problem::Unenforceable)?,
                _ => name.clone(),
            };
            Ok((exact, self.one(&location, name, item)?))
        });
        Ok(made.collect::<Result<Map<_, _>, Problem>>()?.into())
    }
}

enum Problem {
    /// The keyword is valid but can't be enforced.
    Unenforceable(String),
    /// The keyword is not valid JSON Schema.
    Invalid(String),
    /// An error inside the keyword's value, which names its own location.
    Nested(GrammarError),
}

fn invalid(value: &Value, must: &str) -> Problem {
    let value: String = value.to_string().chars().take(40).collect();
    Problem::Invalid(format!("it is `{value}` and must be {must}"))
}

fn text(value: &Value) -> Result<String, Problem> {
    value.as_str().map(str::to_owned).ok_or_else(|| invalid(value, "a string"))
}

fn types(value: &Value) -> Result<Value, Problem> {
    let named = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let fits = match value {
        Value::Array(names) => !names.is_empty() && names.iter().all(named),
        one => named(one),
    };
    if fits {
        Ok(value.clone())
    } else {
        Err(invalid(value, &format!("one or several of {}", TYPES.join(", "))))
    }
}

fn name_list(value: &Value) -> Result<Value, Problem> {
    match value.as_array() {
        Some(names) if names.iter().all(Value::is_string) => Ok(value.clone()),
        _ => Err(invalid(value, "a list of names")),
    }
}

/// A count may be written as `5.0`.
fn count(value: &Value) -> Result<u64, Problem> {
    let whole = |float: f64| (float >= 0.0 && float.fract() == 0.0).then_some(float as u64);
    let count = value.as_u64().or_else(|| value.as_f64().and_then(whole));
    count.ok_or_else(|| invalid(value, "a whole number, zero or more"))
}

fn lower_limit(value: &Value) -> Result<Value, Problem> {
    match count(value)? {
        least if least > LOWER_LIMIT_MAX => Err(Problem::Unenforceable(format!(
            "it is {least}, but no answer is that long: give at most {LOWER_LIMIT_MAX}"
        ))),
        least => Ok(least.into()),
    }
}

/// A constant, if its numbers can be written exactly.
fn exact_constant(value: &Value) -> Result<Value, Problem> {
    Ok(match value {
        Value::Number(number) => numbers::constant(number).map_err(Problem::Unenforceable)?,
        Value::Array(items) => items.iter().map(exact_constant).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Object(fields) => {
            let made = fields.iter().map(|(key, value)| Ok((key.clone(), exact_constant(value)?)));
            made.collect::<Result<Map<_, _>, Problem>>()?.into()
        }
        other => other.clone(),
    })
}

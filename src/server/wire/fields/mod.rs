//! Reads the fields of a body. An unknown field is refused by name if it would change what the answer promises. Any
//! other is accepted, and its name is reported to the client and the log. `unsupported` knows which are refused; what
//! known fields mean is up to each body.

#[cfg(test)]
mod tests;
mod unsupported;

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::{Map, Value};

use crate::error::ApiError;
use unsupported::UnsupportedField;

/// Names that are reported of one body.
const NAMES_MAX: usize = 32;
/// Unknown names that are collected for a part of a body; other parts know most of them.
const SEEN_MAX: usize = 8 * NAMES_MAX;
/// Reported characters of a name, which the client may have made up.
const NAME_CHARS_MAX: usize = 64;

/// A type that a body can be read as.
pub trait Body: Sized {
    /// Reads the body from its fields.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    fn read(fields: &mut Fields) -> Result<Self, ApiError>;
}

impl<T: DeserializeOwned> Body for T {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.rest()
    }
}

/// A body for which nothing is generated: what it holds is only rendered, counted or stored. Clients send the body of a
/// chat request here, so fields that would change only the answer are accepted and reported.
#[derive(Debug)]
pub(crate) struct WithoutGeneration<T>(pub T);

impl<T: DeserializeOwned> Body for WithoutGeneration<T> {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.unsupported.retain(|field| field.affects_prompt());
        fields.rest().map(Self)
    }
}

/// A body whose texts become vectors. Fields that would change only generated text are accepted and reported.
#[derive(Debug)]
pub(crate) struct ForEmbeddings<T>(pub T);

impl<T: DeserializeOwned> Body for ForEmbeddings<T> {
    fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.unsupported.retain(|field| field.affects_vector());
        fields.rest().map(Self)
    }
}

/// Whether a value is `false`, 0, null, or an empty text, list or object.
#[must_use]
pub(crate) fn is_empty(value: &Value) -> bool {
    unsupported::empty(value)
}

/// A body that is being read, perhaps in several parts that each know some of its fields.
pub struct Fields {
    body: Value,
    /// Unsupported fields for which the body has a value that isn't harmless.
    unsupported: Vec<&'static UnsupportedField>,
    /// Top-level fields that no part has known so far; `None` before the first part.
    unknown: Option<BTreeSet<String>>,
    /// Paths of unknown fields further inside, with `[]` for an item of a list.
    inner: BTreeSet<String>,
}

impl Fields {
    /// Starts to read a body, which must be an object.
    ///
    /// # Errors
    /// 400 for another value.
    pub fn new(mut body: Value) -> Result<Self, ApiError> {
        without_nulls(&mut body);
        if let Value::Object(fields) = &mut body {
            fields.retain(|name, value| !unsupported::is_unset(name, value));
        }
        let Value::Object(fields) = &body else {
            let what = match body {
                Value::Array(_) => "a list",
                _ => "not an object",
            };
            return Err(ApiError::unreadable(format!("the body is {what}: send an object")));
        };
        let unsupported =
            fields.iter().filter_map(|(name, value)| unsupported::requested(name, value)).collect();
        Ok(Self { body, unsupported, unknown: None, inner: BTreeSet::new() })
    }

    /// Reads a part of the fields; other parts read the rest.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub fn part<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        let body = std::mem::take(&mut self.body);
        let read = self.read(&body);
        self.body = body;
        read
    }

    /// Reads the last part, which uses up the body.
    ///
    /// # Errors
    /// The same as [`Fields::part`].
    pub fn rest<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        let body = std::mem::take(&mut self.body);
        self.read(body)
    }

    fn read<'de, T, D>(&mut self, body: D) -> Result<T, ApiError>
    where
        T: Deserialize<'de>,
        D: serde::Deserializer<'de, Error = serde_json::Error>,
    {
        let (mut unknown, inner) = (BTreeSet::new(), &mut self.inner);
        let mut collect = |path: Path<'_>| match &path {
            Path::Map { parent: Path::Root, key }
                if unknown.len() < SEEN_MAX || unsupported::is_known(key) =>
            {
                unknown.insert(key.clone());
            }
            Path::Map { parent: Path::Root, .. } => {}
            path if inner.len() < NAMES_MAX => drop(inner.insert(name(path))),
            _ => {}
        };
        let mut track = serde_path_to_error::Track::new();
        let body = serde_path_to_error::Deserializer::new(body, &mut track);
        let read = T::deserialize(serde_ignored::Deserializer::new(body, &mut collect));
        let read = read.map_err(|error| explain(&track.path().to_string(), &error))?;
        self.unknown = Some(match self.unknown.take() {
            Some(before) => before.intersection(&unknown).cloned().collect(),
            None => unknown,
        });
        Ok(read)
    }

    /// Names of fields that were accepted without effect, once all parts are read.
    ///
    /// # Errors
    /// 400 for a field that would change what the answer promises.
    pub fn ignored(self) -> Result<Vec<String>, ApiError> {
        let unknown = self.unknown.unwrap_or_default();
        for field in self.unsupported {
            if unknown.contains(field.name) {
                return Err(field.refusal());
            }
        }
        let names = unknown.into_iter().chain(self.inner).map(|name| printable(&name));
        Ok(names.take(NAMES_MAX).collect())
    }
}

/// Fields whose values are the client's own, in which null has a meaning: schemas, arguments, metadata.
const OPAQUE: [&str; 12] = [
    "arguments",
    "chat_template_kwargs",
    "documents",
    "guided_json",
    "input_schema",
    "json",
    "json_schema",
    "metadata",
    "parameters",
    "prediction",
    "schema",
    "value",
];

/// Removes null fields, which count as absent.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (name, value) in fields.iter_mut() {
                if !OPAQUE.contains(&name.as_str()) {
                    without_nulls(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Reads only objects: serde would read a struct from a list as well.
pub(crate) fn object<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|found| found.map(|Object(value)| value))
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NameOr::deserialize_any(deserializer, "an object", false)? {
            NameOr::Object(value) => Ok(Self(value)),
            NameOr::Name(_) => unreachable!("no text is taken"),
        }
    }
}

/// A name, or an object that says more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOr<T> {
    Name(String),
    Object(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for NameOr<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize_any(deserializer, "a string or an object", true)
    }
}

// By hand, because serde's untagged enums neither say where an error is nor which fields they ignored.
impl<'de, T: Deserialize<'de>> NameOr<T> {
    fn deserialize_any<D: serde::Deserializer<'de>>(
        deserializer: D,
        expected: &'static str,
        names: bool,
    ) -> Result<Self, D::Error> {
        struct Either<T> {
            expected: &'static str,
            names: bool,
            object: std::marker::PhantomData<T>,
        }
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Either<T> {
            type Value = NameOr<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.expected)
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
                match self.names {
                    true => Ok(NameOr::Name(name.to_owned())),
                    false => Err(E::invalid_type(serde::de::Unexpected::Str(name), &self)),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(fields)).map(NameOr::Object)
            }
        }
        deserializer.deserialize_any(Either { expected, names, object: std::marker::PhantomData })
    }
}

/// The value of a field that is kept as it is, with everything inside it.
pub(crate) type Free = Map<String, Value>;

/// Path of a field, such as `messages[].name`.
fn name(path: &Path<'_>) -> String {
    let mut out = match path {
        Path::Root => return String::new(),
        Path::Seq { parent, .. } => name(parent) + "[]",
        Path::Map { parent, key } => {
            let mut out = name(parent);
            let dot = if out.is_empty() { "" } else { "." };
            let _ = write!(out, "{dot}{}", key.chars().take(NAME_CHARS_MAX).collect::<String>());
            out
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            name(parent)
        }
    };
    if let Some((end, _)) = out.char_indices().nth(2 * NAME_CHARS_MAX) {
        out.truncate(end);
    }
    out
}

/// A name that is safe in a header and in a line of the log.
fn printable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.[]".contains(c) { c } else { '?' };
    name.chars().take(NAME_CHARS_MAX).map(plain).collect()
}

/// The error with the path of the field.
fn explain(path: &str, error: &serde_json::Error) -> ApiError {
    // serde gives its errors no kind that tells a missing field from a wrong one, so its words are read here.
    let message = error.to_string();
    // Line and column of the text don't help a client that sent an object.
    let what = message.split(" at line ").next().unwrap_or(&message);
    let missing = what.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if let Some(name) = missing {
        let field = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
        return ApiError::invalid(&field, format!("{field} is missing"));
    }
    if path == "." {
        return ApiError::unreadable(format!("the body can't be used: {what}"));
    }
    // Null counts as absent, so a required field is missing.
    if what.starts_with("invalid type: null,") {
        return ApiError::invalid(path, format!("{path} is missing"));
    }
    ApiError::invalid(path, format!("{path}: {what}"))
}

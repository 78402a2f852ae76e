//! `/v1/responses` and `/v1/conversations`: request bodies, the items of a conversation, and how answers are written,
//! whole and as events. Who answers is not known here, nor where conversations are stored.

pub(crate) mod conversation;
pub(crate) mod events;
pub(crate) mod items;
pub(crate) mod object;
pub(crate) mod request;
pub(crate) mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::NameOr;
use crate::error::ApiError;

/// Pairs of strings that a client attaches. They are returned, never interpreted.
pub(crate) type Metadata = BTreeMap<String, String>;

const METADATA_ENTRIES_MAX: usize = 16;
const METADATA_NAME_CHARS_MAX: usize = 64;
const METADATA_VALUE_CHARS_MAX: usize = 512;

/// Checks metadata against OpenAI's limits of number and length.
///
/// # Errors
/// 400 for metadata beyond those limits.
pub(crate) fn check_metadata(given: Option<Metadata>) -> Result<Metadata, ApiError> {
    let metadata = given.unwrap_or_default();
    let refuse = |what: String| Err(ApiError::invalid("metadata", format!("metadata {what}")));
    if metadata.len() > METADATA_ENTRIES_MAX {
        return refuse(format!("has {} entries: {METADATA_ENTRIES_MAX} at most", metadata.len()));
    }
    for (name, value) in &metadata {
        if name.chars().count() > METADATA_NAME_CHARS_MAX || value.chars().count() > METADATA_VALUE_CHARS_MAX
        {
            return refuse(format!(
                "{name:?}: names have {METADATA_NAME_CHARS_MAX} characters at most, values {METADATA_VALUE_CHARS_MAX}"
            ));
        }
    }
    Ok(metadata)
}

/// A text, or a list of items.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TextOr<T> {
    /// A text, instead of a list.
    Text(String),
    /// A list, instead of a text.
    List(Vec<T>),
}

// By hand, because serde's untagged enums try one form after the other and then can't say what is wrong with which
// element. An object is read as a list of one, and a text in a list like a text alone.
impl<'de, T: Deserialize<'de> + From<String>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + From<String>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                let given = Vec::<NameOr<T>>::deserialize(SeqAccessDeserializer::new(list))?;
                let items = given.into_iter().map(|item| match item {
                    NameOr::Name(text) => T::from(text),
                    NameOr::Object(item) => item,
                });
                Ok(TextOr::List(items.collect()))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(|item| TextOr::List(vec![item]))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

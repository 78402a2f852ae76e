//! What a schema tells the search for an ending: the names that objects must have, which numbers must be multiples of
//! which, and how much one token may oblige the answer to write. All parts of a schema are put together: where in the
//! answer a hint applies is not known here.

use serde_json::Value;

use super::multiples::Multiples;
use super::required_bytes::required_bytes_max;
use crate::grammar::schema::subschemas;

/// Names that are kept.
const NAMES_MAX: usize = 600;
/// Kinds of multiples that are kept.
const MULTIPLES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct SearchHints {
    /// An answer is one value under one schema: nothing follows its last bracket.
    pub is_one_value: bool,
    /// Names that objects must have, as they are written in JSON strings, short ones first. Where several names are
    /// allowed, the search writes one of these.
    pub names: Vec<Vec<u8>>,
    pub multiples: Vec<Multiples>,
    /// Most bytes that one token may oblige the answer to still write.
    pub required_bytes_max: u32,
}

impl SearchHints {
    /// The hints of all parts of `schema`.
    pub(crate) fn of(schema: &Value) -> Self {
        let (mut names, mut multiples) = (Vec::new(), Vec::new());
        collect(schema, &mut names, &mut multiples);
        names.sort_unstable_by_key(|name| (name.len(), *name));
        names.dedup();
        names.truncate(NAMES_MAX);
        let names = names.into_iter().map(escaped).collect();
        Self { is_one_value: true, names, multiples, required_bytes_max: required_bytes_max(schema) }
    }

    /// Adds the hints of another schema, whose values occur somewhere in the same answer.
    pub(crate) fn extend(&mut self, other: Self) {
        self.names.extend(other.names);
        self.names.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        self.names.dedup();
        self.names.truncate(NAMES_MAX);
        self.multiples.extend(other.multiples);
        self.multiples.truncate(MULTIPLES_MAX);
        self.required_bytes_max = self.required_bytes_max.max(other.required_bytes_max);
    }
}

fn escaped(name: &str) -> Vec<u8> {
    let quoted = Value::from(name).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

fn collect<'a>(value: &'a Value, names: &mut Vec<&'a str>, multiples: &mut Vec<Multiples>) {
    let Value::Object(fields) = value else { return };
    let required = fields.get("required").and_then(Value::as_array);
    names.extend(required.into_iter().flatten().filter_map(Value::as_str));
    if let Some(of) = Multiples::of(fields)
        && multiples.len() < MULTIPLES_MAX
        && !multiples.contains(&of)
    {
        multiples.push(of);
    }
    subschemas(fields).for_each(|child| collect(child, names, multiples));
}

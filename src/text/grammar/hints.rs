//! What a schema tells a search for the shortest way to its end: names that objects must have, and what numbers are multiples
//! of.

use serde_json::Value;

use super::children::children;
use super::lengths::most_needed;
use super::multiples::Multiples;

/// Names that are kept.
const NAMES_MAX: usize = 600;
/// Kinds of multiples that are kept.
const MULTIPLES_MAX: usize = 64;

/// What a schema tells a search for the shortest way to its end.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// An answer is one value under one schema: nothing follows its last bracket.
    pub is_one_value: bool,
    /// Names that objects must have, as they are written in JSON strings, short ones first: where any of several may come
    /// next, these are on the way.
    pub names: Vec<Vec<u8>>,
    /// What numbers must be.
    pub multiples: Vec<Multiples>,
    /// Bytes that one token may oblige an answer to still write, at most.
    pub most_needed: u32,
}

impl Hints {
    /// What is said somewhere in `schema`.
    pub fn of(schema: &Value) -> Self {
        let (mut names, mut multiples) = (Vec::new(), Vec::new());
        collect(schema, &mut names, &mut multiples);
        names.sort_unstable_by_key(|name| (name.len(), *name));
        names.dedup();
        names.truncate(NAMES_MAX);
        let names = names.into_iter().map(escaped).collect();
        Self { is_one_value: true, names, multiples, most_needed: most_needed(schema) }
    }

    /// With those of another schema, whose values stand somewhere in the answer.
    pub fn extend(&mut self, other: Self) {
        self.names.extend(other.names);
        self.names.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        self.names.dedup();
        self.names.truncate(NAMES_MAX);
        self.multiples.extend(other.multiples);
        self.multiples.truncate(MULTIPLES_MAX);
        self.most_needed = self.most_needed.max(other.most_needed);
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
    children(fields).for_each(|child| collect(child, names, multiples));
}

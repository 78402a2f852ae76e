//! Decides whether the branches of a `oneOf` exclude each other. Then `anyOf` means the same, and unlike `oneOf` it can
//! be enforced token by token. The branches are in the canonical form that `keywords` produces.

use std::cell::Cell;

use serde_json::{Value, json};

/// The most comparisons spent on proving branches exclusive.
const COMPARISONS_MAX: u32 = 20_000;
/// So many comparisons of constants count as one comparison of schemas.
const CONSTANTS_A_COMPARISON: usize = 1000;

pub(super) struct Comparer<'a> {
    root: &'a Value,
    comparisons: Cell<u32>,
}

impl<'a> Comparer<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root, comparisons: Cell::new(0) }
    }

    /// Whether no value matches two of `branches`; `false` if that can't be shown cheaply.
    pub(super) fn all_exclusive(&self, branches: &[Value]) -> bool {
        let pairs =
            branches.iter().enumerate().flat_map(|(at, a)| branches[at + 1..].iter().map(move |b| (a, b)));
        pairs.into_iter().all(|(a, b)| self.exclusive(a, b, 0))
    }

    /// Whether no value matches both; `false` if that can't be shown cheaply.
    fn exclusive(&self, a: &Value, b: &Value, depth: usize) -> bool {
        self.comparisons.set(self.comparisons.get() + 1);
        if depth > 8 || self.comparisons.get() > COMPARISONS_MAX {
            return false;
        }
        let (a, b) = (self.resolved(a), self.resolved(b));
        if *a == json!(false) || *b == json!(false) {
            return true;
        }
        for (one, other) in [(a, b), (b, a)] {
            for key in ["anyOf", "oneOf"] {
                if let Some(Value::Array(branches)) = one.get(key)
                    && branches.iter().all(|branch| self.exclusive(branch, other, depth + 1))
                {
                    return true;
                }
            }
        }
        match (constants(a), constants(b)) {
            (Some(of_a), Some(of_b)) if !self.may_compare(of_a.len() * of_b.len()) => return false,
            (Some(of_a), Some(of_b)) if !of_a.iter().any(|value| of_b.contains(value)) => return true,
            _ => {}
        }
        let (of_a, of_b) = (types(a), types(b));
        if !of_a.iter().any(|name| of_b.contains(name)) {
            return true;
        }
        of_a == ["object"] && of_b == ["object"] && self.exclusive_objects(a, b, depth)
    }

    /// Counts comparisons of constants. Each is cheap, but there may be very many.
    fn may_compare(&self, count: usize) -> bool {
        let more = u32::try_from(count / CONSTANTS_A_COMPARISON).unwrap_or(COMPARISONS_MAX);
        self.comparisons.set(self.comparisons.get().saturating_add(more));
        self.comparisons.get() <= COMPARISONS_MAX
    }

    /// Whether two objects exclude each other by a property that one of them requires.
    fn exclusive_objects(&self, a: &Value, b: &Value, depth: usize) -> bool {
        let required = |node: &Value| node["required"].as_array().cloned().unwrap_or_default();
        let keys = required(a).into_iter().chain(required(b));
        keys.filter_map(|key| key.as_str().map(str::to_owned)).any(|key| {
            match (a["properties"].get(&key), b["properties"].get(&key)) {
                (Some(of_a), Some(of_b)) => self.exclusive(of_a, of_b, depth + 1),
                (Some(_), None) => forbids_others(b),
                (None, Some(_)) => forbids_others(a),
                (None, None) => false,
            }
        })
    }

    fn resolved<'v>(&self, mut value: &'v Value) -> &'v Value
    where
        'a: 'v,
    {
        for _ in 0..8 {
            let reference = value.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
            match reference.and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => value = target,
                None => break,
            }
        }
        value
    }
}

fn forbids_others(node: &Value) -> bool {
    node["additionalProperties"] == json!(false) && node.get("patternProperties").is_none()
}

/// The only values that match, if the schema lists them.
fn constants(node: &Value) -> Option<Vec<&Value>> {
    match (node.get("const"), node.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// The types of the values that match.
fn types(node: &Value) -> Vec<&str> {
    const ALL: &[&str] = &["null", "boolean", "number", "string", "array", "object"];
    let named = |name: &Value| match name.as_str() {
        Some("integer") => Some("number"),
        Some(name) => ALL.iter().find(|known| **known == name).copied(),
        None => None,
    };
    match node.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(named).collect(),
        Some(name) => named(name).into_iter().collect(),
        None => match constants(node) {
            Some(values) => values.into_iter().map(type_of).collect(),
            None => ALL.to_vec(),
        },
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

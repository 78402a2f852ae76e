//! The schemas right below a schema, in the form that `keywords` makes.

use serde_json::{Map, Value};

/// Keywords whose value is a schema, an array of them, or an object of them.
const SINGLE: &[&str] = &["items", "additionalProperties"];
const LISTED: &[&str] = &["anyOf", "oneOf", "allOf", "prefixItems"];
const NAMED: &[&str] = &["properties", "patternProperties", "$defs"];

/// Every schema right below `node`. What a value must equal is no schema, whatever it looks like.
pub(super) fn children(node: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    node.iter().flat_map(|(key, value)| match value {
        Value::Array(items) if LISTED.contains(&key.as_str()) => items.iter().collect(),
        Value::Object(fields) if NAMED.contains(&key.as_str()) => fields.values().collect(),
        Value::Object(_) | Value::Bool(_) if SINGLE.contains(&key.as_str()) => vec![value],
        _ => Vec::new(),
    })
}

/// Calls `f` with every schema right below `node`.
pub(super) fn for_each_child(node: &mut Map<String, Value>, f: &mut dyn FnMut(&mut Value)) {
    for (key, value) in node.iter_mut() {
        let key = key.as_str();
        match value {
            Value::Array(items) if LISTED.contains(&key) => items.iter_mut().for_each(&mut *f),
            Value::Object(fields) if NAMED.contains(&key) => fields.values_mut().for_each(&mut *f),
            Value::Object(_) | Value::Bool(_) if SINGLE.contains(&key) => f(value),
            _ => {}
        }
    }
}

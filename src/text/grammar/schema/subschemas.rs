//! Finds the direct subschemas of a schema in the canonical form that `keywords` produces.

use serde_json::{Map, Value};

/// Keywords whose value is a schema; below, an array of schemas and an object of schemas.
const SINGLE: &[&str] = &["items", "additionalProperties"];
const LISTED: &[&str] = &["anyOf", "oneOf", "allOf", "prefixItems"];
const NAMED: &[&str] = &["properties", "patternProperties", "$defs"];

/// Every direct subschema of `node`. Constants are not schemas, even if they look like one.
pub(crate) fn subschemas(node: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    node.iter().flat_map(|(key, value)| match value {
        Value::Array(items) if LISTED.contains(&key.as_str()) => items.iter().collect(),
        Value::Object(fields) if NAMED.contains(&key.as_str()) => fields.values().collect(),
        Value::Object(_) | Value::Bool(_) if SINGLE.contains(&key.as_str()) => vec![value],
        _ => Vec::new(),
    })
}

/// Calls `f` with every direct subschema of `node`.
pub(super) fn for_each_subschema(node: &mut Map<String, Value>, f: &mut dyn FnMut(&mut Value)) {
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

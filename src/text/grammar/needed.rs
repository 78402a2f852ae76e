//! Names that objects must have: where any of several may come next, these are on the shortest way to the end.

use serde_json::Value;

/// Names that are kept.
const NAMES_MAX: usize = 600;

/// What `schema` requires somewhere, as it is written in JSON strings, short ones first.
pub(super) fn of(schema: &Value) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    collect(schema, &mut names);
    names.sort_unstable_by_key(|name| (name.len(), *name));
    names.dedup();
    names.truncate(NAMES_MAX);
    names.into_iter().map(escaped).collect()
}

fn escaped(name: &str) -> Vec<u8> {
    let quoted = Value::from(name).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

fn collect<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(fields) => {
            let required = fields.get("required").and_then(Value::as_array);
            names.extend(required.into_iter().flatten().filter_map(Value::as_str));
            // What a value must equal is no schema, whatever it looks like.
            let schemas = fields.iter().filter(|(key, _)| !matches!(key.as_str(), "enum" | "const"));
            schemas.for_each(|(_, field)| collect(field, names));
        }
        _ => {}
    }
}

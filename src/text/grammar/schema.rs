//! Makes of the schemas that people and libraries write the ones that can be enforced token by token.
//!
//! What is made allows no text that the schema forbids. It may allow less: objects that list their properties get no
//! others, for a small model that may add some never stops adding.

use serde_json::{Map, Value, json};

use super::children::for_each_child;
use super::exclusive::Comparer;
use super::{GrammarError, dear, keywords};

/// `schema` as it can be enforced. `lenient` leaves out what can't be.
///
/// # Errors
/// [`GrammarError::Schema`] when it is no schema, can't be enforced, or would take too much work.
pub(super) fn prepared(schema: &Value, lenient: bool) -> Result<Map<String, Value>, GrammarError> {
    let mut made = keywords::canonical(schema, lenient)?;
    let root = made.clone();
    take_any(&mut made, &Comparer::new(&root));
    dear::check(&made)?;
    if !composes(&made) {
        close(&mut made);
    }
    match made {
        Value::Object(made) => Ok(made),
        _ => Err(GrammarError::Schema("it allows nothing".into())),
    }
}

/// Of branches that exclude each other one at most fits, so any will do.
fn take_any(value: &mut Value, comparer: &Comparer) {
    let Value::Object(node) = value else { return };
    if let Some(Value::Array(branches)) = node.get("oneOf")
        && comparer.all_exclusive(branches)
    {
        let branches = node.shift_remove("oneOf").unwrap_or_default();
        add_all_of(node, "anyOf", branches);
    }
    for_each_child(node, &mut |child| take_any(child, comparer));
}

/// Sets a keyword, beside what it may already say.
fn add_all_of(node: &mut Map<String, Value>, key: &str, value: Value) {
    if !node.contains_key(key) {
        node.insert(key.into(), value);
    } else if let Value::Array(all) = node.entry("allOf").or_insert_with(|| json!([])) {
        all.push(json!({ key: value }));
    }
}

/// Whether objects are put together from parts anywhere, so that a part must not forbid what another names.
fn composes(value: &Value) -> bool {
    let Value::Object(node) = value else { return false };
    let parts = ["anyOf", "oneOf", "allOf", "$ref"].iter().filter(|key| node.contains_key(**key)).count();
    let several = node.get("allOf").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    let own = ["properties", "required", "additionalProperties", "patternProperties"];
    if several || parts > 1 || (parts == 1 && own.iter().any(|key| node.contains_key(*key))) {
        return true;
    }
    let mut found = false;
    let mut copy = node.clone();
    for_each_child(&mut copy, &mut |child| found |= composes(child));
    found
}

/// Forbids properties that objects don't list.
fn close(value: &mut Value) {
    let Value::Object(node) = value else { return };
    let listed = node.get("properties").and_then(Value::as_object).filter(|listed| !listed.is_empty());
    let open = [
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "unevaluatedProperties",
        "minProperties",
    ];
    if let Some(listed) = listed {
        let required = node.get("required").and_then(Value::as_array);
        let all_listed = required
            .into_iter()
            .flatten()
            .all(|name| name.as_str().is_some_and(|name| listed.contains_key(name)));
        if all_listed && !open.iter().any(|key| node.contains_key(*key)) {
            node.insert("additionalProperties".into(), json!(false));
        }
    }
    for_each_child(node, &mut close);
}

//! Rewrites JSON schemas as people and libraries write them into schemas that can be enforced token by token. What
//! can't be enforced is refused here, and so is what would take too much work.
//!
//! The result allows no text that the given schema forbids. It may allow less: objects that list their properties get
//! no others, because a small model that may add properties never stops adding them.

mod cost;
mod exclusive;
mod formats;
mod keywords;
mod numbers;
mod patterns;
mod property_names;
mod references;
mod subschemas;

use serde_json::{Map, Value, json};

use super::GrammarError;
use exclusive::Comparer;
use subschemas::for_each_subschema;

pub(super) use cost::is_cheap;
pub(super) use numbers::decimal;
pub(super) use subschemas::subschemas;

/// The enforceable form of `schema`. With `lenient`, keywords that can't be enforced are left out.
///
/// # Errors
/// [`GrammarError::Schema`] when it is not a schema, can't be enforced, or would take too much work.
pub(super) fn enforceable(schema: &Value, lenient: bool) -> Result<Map<String, Value>, GrammarError> {
    let mut made = keywords::canonical(schema, lenient)?;
    let root = made.clone();
    replace_exclusive_one_of(&mut made, &Comparer::new(&root));
    cost::check(&made)?;
    if !combines_objects(&made) {
        forbid_unlisted_properties(&mut made);
    }
    match made {
        Value::Object(made) => Ok(made),
        _ => Err(GrammarError::Schema("it allows nothing".into())),
    }
}

/// Turns `oneOf` into `anyOf` if its branches exclude each other, because then at most one of them matches anyway.
fn replace_exclusive_one_of(value: &mut Value, comparer: &Comparer) {
    let Value::Object(node) = value else { return };
    if let Some(Value::Array(branches)) = node.get("oneOf")
        && comparer.all_exclusive(branches)
    {
        let branches = node.shift_remove("oneOf").unwrap_or_default();
        add_all_of(node, "anyOf", branches);
    }
    for_each_subschema(node, &mut |child| replace_exclusive_one_of(child, comparer));
}

/// Sets a keyword. If `node` has it already, the new value is added in an `allOf`.
fn add_all_of(node: &mut Map<String, Value>, key: &str, value: Value) {
    if !node.contains_key(key) {
        node.insert(key.into(), value);
    } else if let Value::Array(all) = node.entry("allOf").or_insert_with(|| json!([])) {
        all.push(json!({ key: value }));
    }
}

/// Whether any object is combined from several parts. Then no part may forbid the properties of another.
fn combines_objects(value: &Value) -> bool {
    let Value::Object(node) = value else { return false };
    let parts = ["anyOf", "oneOf", "allOf", "$ref"].iter().filter(|key| node.contains_key(**key)).count();
    let several = node.get("allOf").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    let own = ["properties", "required", "additionalProperties", "patternProperties"];
    if several || parts > 1 || (parts == 1 && own.iter().any(|key| node.contains_key(*key))) {
        return true;
    }
    let mut found = false;
    let mut copy = node.clone();
    for_each_subschema(&mut copy, &mut |child| found |= combines_objects(child));
    found
}

fn forbid_unlisted_properties(value: &mut Value) {
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
    for_each_subschema(node, &mut forbid_unlisted_properties);
}

//! Rewrites `propertyNames`, `minProperties` and `maxProperties` as keywords that can be enforced, or refuses them.
//! Called by `keywords` once the other keywords of a schema's part are known.

use serde_json::{Map, Value, json};

/// Rewrites the `propertyNames` of `node` as properties or patterns of properties.
///
/// # Errors
/// When `propertyNames` has a form that can't be rewritten.
pub(super) fn rewrite(node: &mut Map<String, Value>) -> Result<(), String> {
    let Some(names) = node.shift_remove("propertyNames") else { return Ok(()) };
    let Value::Object(mut names) = names else {
        // Every name breaks the rule, so only an empty object matches.
        node.insert("maxProperties".into(), json!(0));
        return Ok(());
    };
    if let Some(kind) = names.shift_remove("type")
        && kind != json!("string")
        && !kind.as_array().is_some_and(|kinds| kinds.contains(&json!("string")))
    {
        node.insert("maxProperties".into(), json!(0));
        return Ok(());
    }
    if names.is_empty() {
        return Ok(());
    }
    let one = names.len() == 1;
    if node.contains_key("properties") || node.contains_key("patternProperties") {
        return Err(
            "`propertyNames` can't be enforced together with `properties` or `patternProperties`".into()
        );
    }
    let value = node.shift_remove("additionalProperties").unwrap_or(json!(true));
    if let Some(pattern) = names.get("pattern").and_then(Value::as_str).filter(|_| one) {
        node.insert("patternProperties".into(), json!({ pattern: value }));
    } else if let Some(listed) = names.get("enum").and_then(Value::as_array).filter(|_| one) {
        let listed = listed.iter().filter_map(Value::as_str);
        let properties: Map<String, Value> = listed.map(|name| (name.into(), value.clone())).collect();
        node.insert("properties".into(), properties.into());
    } else {
        return Err("`propertyNames` can be enforced only as a single `pattern` or `enum`".into());
    }
    node.insert("additionalProperties".into(), json!(false));
    Ok(())
}

/// Drops counts that hold anyway.
///
/// # Errors
/// The keyword that can't be enforced, and why.
pub(super) fn rewrite_counts(node: &mut Map<String, Value>) -> Result<(), (&'static str, String)> {
    let required = node.get("required").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let listed = node.get("properties").and_then(Value::as_object).map_or(0, Map::len) as u64;
    let closed =
        node.get("additionalProperties") == Some(&json!(false)) && !node.contains_key("patternProperties");
    let count = |key: &str| node.get(key).and_then(Value::as_u64);
    let (least, most) = (count("minProperties"), count("maxProperties"));
    if let Some(least) = least {
        if least <= required {
            node.shift_remove("minProperties");
        } else if !closed && least > required + 1 {
            // The same name could be written twice.
            let problem =
                format!("it is {least}, but at most one more than the required names can be enforced");
            return Err(("minProperties", problem));
        }
    }
    let names = node.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if most == Some(required)
        && let Some(Value::Object(listed)) = node.get_mut("properties")
        && names.iter().all(|name| name.as_str().is_some_and(|name| listed.contains_key(name)))
    {
        // The required properties are the only ones allowed.
        listed.retain(|name, _| names.iter().any(|required| required == name));
        node.insert("additionalProperties".into(), json!(false));
        node.shift_remove("patternProperties");
        node.shift_remove("maxProperties");
        return Ok(());
    }
    if closed && most.is_some_and(|most| most >= listed) {
        node.shift_remove("maxProperties");
    }
    Ok(())
}

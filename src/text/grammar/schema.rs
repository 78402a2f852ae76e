//! Makes of the schemas that people and libraries write the ones that can be enforced token by token.
//!
//! What is made allows no text that the schema forbids. It may allow less: objects that list their properties get no
//! others, for a small model that may add some never stops adding.

use std::cell::Cell;

use serde_json::{Map, Value, json};

use super::{GrammarError, patterns};

/// Schemas nest no deeper.
const DEPTH_MAX: usize = 64;
/// Schemas have no more parts.
const PARTS_MAX: usize = 20_000;
/// Comparisons that proving a `oneOf` exclusive may take.
const COMPARISONS_MAX: u32 = 20_000;
/// So many comparisons of constants count as one of schemas.
const CONSTANTS_A_COMPARISON: usize = 1000;

/// Formats whose texts can be enforced. Others say something to the reader only, as JSON Schema has it.
const FORMATS: &[&str] =
    &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// Formats that know no longest text, as patterns that do: a small model that can go on with digits or letters for ever does.
/// Fractions of seconds have up to six digits, names of hosts up to four parts of 22.
const BOUNDED: &[(&str, &str)] =
    &[("time", TIME), ("date-time", DATE_TIME), ("hostname", HOSTNAME), ("email", EMAIL)];
const TIME: &str =
    r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
const DATE_TIME: &str = r"^([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
const HOSTNAME: &str = r"^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?){0,3}$";
const EMAIL: &str = r"^[A-Za-z0-9_+-]{1,24}(\.[A-Za-z0-9_+-]{1,24}){0,3}@[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?){0,2}\.[a-z]{2,12}$";

/// Keywords whose value is a schema, an array of them, or an object of them.
const SINGLE: &[&str] = &[
    "items",
    "additionalProperties",
    "additionalItems",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
];
const LISTED: &[&str] = &["anyOf", "oneOf", "allOf", "prefixItems", "items"];
const NAMED: &[&str] = &["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// `schema` as it can be enforced.
///
/// # Errors
/// [`GrammarError::Schema`] when it is no schema, or too large.
pub(super) fn prepared(schema: &Value) -> Result<Map<String, Value>, GrammarError> {
    let mut parts = 0;
    measure(schema, 0, &mut parts)?;
    let mut made = match schema {
        Value::Bool(true) => json!({}),
        Value::Object(_) => schema.clone(),
        other => {
            let other: String = other.to_string().chars().take(40).collect();
            return Err(GrammarError::Schema(format!("it is `{other}` and must be an object")));
        }
    };
    let comparisons = Cell::new(0);
    rewrite(&mut made, &Rewriter { root: schema, comparisons: &comparisons });
    if !composes(&made) {
        close(&mut made);
    } else if patterns::too_many(&made) {
        return Err(GrammarError::Schema("some text in it has to fit too many patterns at once".into()));
    }
    match made {
        Value::Object(made) => Ok(made),
        _ => Err(GrammarError::Schema("it allows nothing".into())),
    }
}

fn measure(value: &Value, depth: usize, parts: &mut usize) -> Result<(), GrammarError> {
    *parts += 1;
    if depth > DEPTH_MAX {
        return Err(GrammarError::Schema(format!("it nests deeper than {DEPTH_MAX} levels")));
    }
    if *parts > PARTS_MAX {
        return Err(GrammarError::Schema(format!("it has more than {PARTS_MAX} parts")));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, depth + 1, parts)),
        Value::Object(fields) => fields.values().try_for_each(|value| measure(value, depth + 1, parts)),
        _ => Ok(()),
    }
}

/// Calls `f` with every schema right below `node`.
fn for_each_child(node: &mut Map<String, Value>, f: &mut dyn FnMut(&mut Value)) {
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

/// What a part of a schema is compared with.
struct Rewriter<'a> {
    /// As it came, for references.
    root: &'a Value,
    comparisons: &'a Cell<u32>,
}

/// Says in keywords that can be enforced what others say, and drops those that say nothing.
fn rewrite(value: &mut Value, rewriter: &Rewriter) {
    let Value::Object(node) = value else { return };
    if node.get("not").is_some_and(|not| *not == json!({}) || *not == json!(true)) {
        *value = json!(false);
        return;
    }
    let has_format = |format: &Value| format.as_str().is_some_and(|format| FORMATS.contains(&format));
    if node.get("format").is_some_and(|format| !has_format(format)) {
        node.remove("format");
    } else if !node.contains_key("pattern") {
        let format = node.get("format").and_then(Value::as_str);
        if let Some((_, pattern)) = BOUNDED.iter().find(|(name, _)| Some(*name) == format) {
            node.remove("format");
            node.insert("pattern".into(), (*pattern).into());
        }
    }
    let one_at_most = node.get("maxItems").and_then(Value::as_u64).is_some_and(|items| items < 2);
    if node.get("uniqueItems").is_some_and(|unique| *unique == json!(false) || one_at_most) {
        node.remove("uniqueItems");
    }
    // Of branches that exclude each other one at most fits, so any will do.
    if let Some(Value::Array(branches)) = node.get("oneOf")
        && rewriter.all_exclusive(branches)
    {
        let branches = node.remove("oneOf").unwrap_or_default();
        add_all_of(node, "anyOf", branches);
    }
    rewrite_names(node);
    rewrite_counts(node);
    for_each_child(node, &mut |child| rewrite(child, rewriter));
}

/// Sets a keyword, beside what it may already say.
fn add_all_of(node: &mut Map<String, Value>, key: &str, value: Value) {
    if !node.contains_key(key) {
        node.insert(key.into(), value);
    } else if let Value::Array(all) = node.entry("allOf").or_insert_with(|| json!([])) {
        all.push(json!({ key: value }));
    }
}

/// `propertyNames`, which libraries write for maps.
fn rewrite_names(node: &mut Map<String, Value>) {
    let Some(Value::Object(names)) = node.get("propertyNames").cloned() else {
        if node.get("propertyNames") == Some(&json!(true)) {
            node.remove("propertyNames");
        }
        return;
    };
    let says = |key: &&String| !matches!(key.as_str(), "type" | "title" | "description" | "format");
    let mut rest = names.keys().filter(says);
    let lists_names = node.contains_key("properties") || node.contains_key("patternProperties");
    match (rest.next().map(String::as_str), rest.next()) {
        (None, _) => {}
        (Some("pattern"), None) if !lists_names => {
            let value = node.remove("additionalProperties").unwrap_or(json!(true));
            let pattern = names["pattern"].as_str().unwrap_or_default();
            node.insert("patternProperties".into(), json!({ pattern: value }));
            node.insert("additionalProperties".into(), json!(false));
        }
        (Some("enum"), None) if !lists_names => {
            let value = node.remove("additionalProperties").unwrap_or(json!(true));
            let names = names["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let properties: Map<String, Value> = names.map(|name| (name.into(), value.clone())).collect();
            node.insert("properties".into(), properties.into());
            node.insert("additionalProperties".into(), json!(false));
        }
        _ => return,
    }
    node.remove("propertyNames");
}

/// Bounds that hold anyway.
fn rewrite_counts(node: &mut Map<String, Value>) {
    let count = |key: &str| node.get(key).and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let required = count("required");
    let listed = node.get("properties").and_then(Value::as_object).map_or(0, Map::len) as u64;
    let closed =
        node.get("additionalProperties") == Some(&json!(false)) && !node.contains_key("patternProperties");
    if node.get("minProperties").and_then(Value::as_u64).is_some_and(|least| least <= required) {
        node.remove("minProperties");
    }
    if closed && node.get("maxProperties").and_then(Value::as_u64).is_some_and(|most| most >= listed) {
        node.remove("maxProperties");
    }
    if closed && node.get("unevaluatedProperties") == Some(&json!(false)) {
        node.remove("unevaluatedProperties");
    }
}

impl Rewriter<'_> {
    fn all_exclusive(&self, branches: &[Value]) -> bool {
        let pairs =
            branches.iter().enumerate().flat_map(|(at, a)| branches[at + 1..].iter().map(move |b| (a, b)));
        pairs.into_iter().all(|(a, b)| self.exclusive(a, b, 0))
    }

    /// Whether no value fits both; `false` when that isn't plain to see.
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

    /// Counts comparisons of constants, which are cheap but may be very many.
    fn may_compare(&self, count: usize) -> bool {
        let more = u32::try_from(count / CONSTANTS_A_COMPARISON).unwrap_or(COMPARISONS_MAX);
        self.comparisons.set(self.comparisons.get().saturating_add(more));
        self.comparisons.get() <= COMPARISONS_MAX
    }

    /// Two objects exclude each other by a property that one of them must have.
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

    /// What a reference into the schema stands for.
    fn resolved<'v>(&'v self, mut value: &'v Value) -> &'v Value {
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

/// The only values that fit, when they are listed.
fn constants(node: &Value) -> Option<Vec<&Value>> {
    match (node.get("const"), node.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// The types of the values that fit.
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

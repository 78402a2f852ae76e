//! Estimates how many bytes a schema may oblige an answer to write. One token that opens an optional property commits
//! the answer to everything that this property must hold, so the search for an ending has to begin early enough.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Bytes around an item or a property: quotes, the colon, the comma, the spaces.
const AROUND_BYTES: u64 = 8;

/// An upper bound for the bytes of the shortest value under `schema`, whichever branches are chosen. A reference inside
/// of its own target counts as nothing, because the value may end there.
pub(super) fn required_bytes_max(schema: &Value) -> u32 {
    let mut lengths = Lengths { root: schema, known: HashMap::new() };
    u32::try_from(lengths.of(schema)).unwrap_or(u32::MAX)
}

struct Lengths<'a> {
    root: &'a Value,
    /// Results by reference; zero while a reference is being counted.
    known: HashMap<&'a str, u64>,
}

impl<'a> Lengths<'a> {
    fn of(&mut self, value: &'a Value) -> u64 {
        let Value::Object(node) = value else { return 1 };
        let least = |key: &str| node.get(key).and_then(Value::as_u64).unwrap_or(0);
        let mut sum = least("minLength").saturating_add(constants(node));
        for (key, value) in node {
            let part = match (key.as_str(), value) {
                ("properties" | "patternProperties", Value::Object(named)) => {
                    let each = named
                        .iter()
                        .map(|(name, child)| self.of(child).saturating_add(AROUND_BYTES + name.len() as u64));
                    each.fold(0, u64::saturating_add)
                }
                ("prefixItems" | "anyOf" | "oneOf" | "allOf", Value::Array(all)) => {
                    let each = all.iter().map(|child| self.of(child).saturating_add(AROUND_BYTES));
                    each.fold(0, u64::saturating_add)
                }
                ("items", child) => {
                    least("minItems").max(1).saturating_mul(self.of(child).saturating_add(AROUND_BYTES))
                }
                ("additionalProperties", child) => {
                    least("minProperties").max(1).saturating_mul(self.of(child).saturating_add(AROUND_BYTES))
                }
                ("pattern", Value::String(pattern)) => shortest_match(pattern),
                ("$ref", Value::String(reference)) => self.referred(reference),
                _ => 0,
            };
            sum = sum.saturating_add(part);
        }
        sum
    }

    fn referred(&mut self, reference: &'a str) -> u64 {
        if let Some(&known) = self.known.get(reference) {
            return known;
        }
        self.known.insert(reference, 0);
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let length = target.map_or(0, |target| self.of(target));
        self.known.insert(reference, length);
        length
    }
}

/// The longest of the texts that a value must equal.
fn constants(node: &Map<String, Value>) -> u64 {
    let listed = node.get("enum").and_then(Value::as_array).into_iter().flatten();
    let all = listed.chain(node.get("const"));
    all.map(|value| value.to_string().len() as u64).max().unwrap_or(0)
}

fn shortest_match(pattern: &str) -> u64 {
    let tree = regex_syntax::parse(pattern).ok();
    tree.and_then(|tree| tree.properties().minimum_len()).unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_value_must_hold_is_never_underestimated() {
        let cases = [
            (json!({"type": "string"}), ""),
            (json!({"type": "string", "minLength": 7}), "aaaaaaa"),
            (json!({"type": "string", "pattern": "^(abc){3}-[0-9]{4}$"}), "abcabcabc-0000"),
            (json!({"enum": ["a", "as long as this"]}), "as long as this"),
            (
                json!({"type": "array", "items": {"type": "string", "minLength": 5}, "minItems": 3}),
                r#"["aaaaa", "aaaaa", "aaaaa"]"#,
            ),
            (
                json!({"type": "object", "properties": {"first": {"type": "string", "minLength": 4}, "second": {"const": 17}}}),
                r#"{"first": "aaaa", "second": 17}"#,
            ),
            (
                json!({"$defs": {"a": {"type": "string", "minLength": 30}}, "prefixItems": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}),
                &"a".repeat(60),
            ),
        ];
        for (schema, text) in cases {
            let needed = required_bytes_max(&schema);
            assert!(
                needed as usize >= text.len() && needed < 100,
                "{schema}: {needed}, {} bytes",
                text.len()
            );
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        let list = json!({"$defs": {"l": {"type": "object", "properties": {"head": {"type": "string", "minLength": 9}, "tail": {"$ref": "#/$defs/l"}}}}, "$ref": "#/$defs/l"});
        assert!((20..100).contains(&required_bytes_max(&list)), "{}", required_bytes_max(&list));
    }
}

//! Schemas as people and libraries write them: what is enforced, what is refused, and that none takes long.

use std::time::Instant;

use super::*;

/// Written by hand, and modeled on what Pydantic, zod and OpenAI's examples produce.
const ACCEPTED: &[&str] = &[
    r#"{"type": "object"}"#,
    r#"{}"#,
    r#"{"type": "string"}"#,
    r#"{"type": ["string", "null"]}"#,
    r#"{"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991}"#,
    r#"{"type": "integer", "exclusiveMinimum": 0, "format": "int32"}"#,
    r#"{"type": "number", "minimum": 0, "maximum": 1, "format": "double"}"#,
    r#"{"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 10}"#,
    r#"{"type": "boolean", "default": false, "title": "Ok", "description": "d", "examples": [true]}"#,
    r#"{"const": "x"}"#,
    r#"{"const": {"a": [1, null]}}"#,
    r#"{"const": 1.5}"#,
    r#"{"enum": ["a", 1, null, true, {"b": []}]}"#,
    r#"{"type": "string", "enum": ["a", "b"]}"#,
    r#"{"type": ["string", "null"], "enum": ["a", null]}"#,
    r#"{"type": "string", "minLength": 1, "maxLength": 3}"#,
    r#"{"type": "string", "maxLength": 100000}"#,
    r#"{"type": "string", "pattern": "^[a-z]{2,4}$"}"#,
    r#"{"type": "string", "pattern": "^\\d{3}-\\d{4}$"}"#,
    r#"{"type": "string", "pattern": "^(\\([0-9]{3}\\))?[0-9]{3}-[0-9]{4}$"}"#,
    r#"{"type": "string", "pattern": "^@[a-zA-Z0-9_]+$", "minLength": 3, "maxLength": 5}"#,
    r#"{"type": "string", "format": "date-time"}"#,
    r#"{"type": "string", "format": "date"}"#,
    r#"{"type": "string", "format": "time"}"#,
    r#"{"type": "string", "format": "duration"}"#,
    r#"{"type": "string", "format": "email"}"#,
    r#"{"type": "string", "format": "hostname"}"#,
    r#"{"type": "string", "format": "ipv4"}"#,
    r#"{"type": "string", "format": "ipv6"}"#,
    r#"{"type": "string", "format": "uuid"}"#,
    r#"{"type": "string", "format": "uri"}"#,
    r#"{"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083}"#,
    r#"{"type": "string", "format": "binary"}"#,
    r#"{"type": "string", "format": "password", "writeOnly": true}"#,
    r#"{"type": "string", "format": "uri-reference"}"#,
    r#"{"type": "string", "format": "json-string", "contentMediaType": "application/json", "contentSchema": {}}"#,
    r#"{"type": "string", "contentEncoding": "base64"}"#,
    r#"{"format": "decimal"}"#,
    r#"{"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}"#,
    r#"{"type": "array", "maxItems": 2, "minItems": 2, "prefixItems": [{"type": "integer"}, {"const": "b"}]}"#,
    r#"{"type": "array", "items": [{"type": "integer"}], "additionalItems": false, "$schema": "http://json-schema.org/draft-07/schema#"}"#,
    r#"{"type": "array", "items": false, "prefixItems": [{"type": "boolean"}]}"#,
    r#"{"type": "array", "uniqueItems": false, "items": {"type": "null"}, "maxItems": 2}"#,
    r#"{"type": "array", "uniqueItems": true, "items": {"type": "null"}, "maxItems": 1}"#,
    r#"{"type": "object", "properties": {"a": {"type": "string"}}}"#,
    r#"{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false}"#,
    r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]}"#,
    r#"{"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2}"#,
    r#"{"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"type": "string"}, "maxProperties": 2}"#,
    r#"{"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"pattern": "^k[0-9]$"}, "maxProperties": 2}"#,
    r#"{"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"type": "string", "enum": ["x", "y"]}, "required": ["x", "y"]}"#,
    r#"{"type": "object", "patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": false, "maxProperties": 1}"#,
    r#"{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "minProperties": 1}"#,
    r#"{"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "additionalProperties": false, "maxProperties": 2, "minProperties": 0}"#,
    r#"{"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": false, "unevaluatedProperties": false}"#,
    r#"{"type": "object", "properties": {"a": {"not": {}}, "b": {"type": "null"}}, "required": ["b"]}"#,
    r#"{"anyOf": [{"type": "string"}, {"type": "null"}], "default": null, "title": "Name"}"#,
    r#"{"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^a+$"}]}"#,
    r#"{"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}"#,
    r#"{"oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}"#,
    r#"{"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]}, {"type": "object", "properties": {"kind": {"enum": ["b", "c"]}}, "required": ["kind"]}]}"#,
    r##"{"$defs": {"Cat": {"type": "object", "properties": {"kind": {"const": "cat", "type": "string"}, "lives": {"type": "integer", "maximum": 9, "minimum": 0}}, "required": ["kind", "lives"]},
         "Dog": {"type": "object", "properties": {"kind": {"const": "dog", "type": "string"}}, "required": ["kind"]}},
        "properties": {"pet": {"discriminator": {"mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}, "propertyName": "kind"}, "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}},
        "required": ["pet"], "title": "Owner", "type": "object"}"##,
    r#"{"oneOf": [{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"], "additionalProperties": false}, {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"], "additionalProperties": false}]}"#,
    r##"{"$defs": {"Colour": {"enum": ["red", "blue"], "title": "Colour", "type": "string"}}, "properties": {"c": {"$ref": "#/$defs/Colour", "default": "red", "description": "which"}}, "type": "object"}"##,
    r##"{"$defs": {"Colour": {"enum": ["red", "blue"], "type": "string"}}, "properties": {"c": {"allOf": [{"$ref": "#/$defs/Colour"}], "default": "red"}}, "required": ["c"], "type": "object"}"##,
    r##"{"$defs": {"Node": {"properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": null}}, "required": ["value"], "type": "object"}}, "$ref": "#/$defs/Node"}"##,
    r##"{"type": "object", "properties": {"value": {"type": "boolean"}, "children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 1}}, "required": ["value", "children"], "additionalProperties": false}"##,
    r##"{"definitions": {"P": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"], "additionalProperties": false}}, "$ref": "#/definitions/P", "$schema": "http://json-schema.org/draft-07/schema#"}"##,
    r#"{"allOf": [{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}]}"#,
    r#"{"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "additionalProperties": false}"#,
    r#"{"type": "object", "properties": {"s": {"type": "string", "nullable": true}, "n": {"type": ["integer", "null"]}}, "required": ["s", "n"]}"#,
    r#"{"type": "object", "properties": {"ü": {"type": "null"}, "a \"b\"\n": {"type": "null"}}, "required": ["ü", "a \"b\"\n"]}"#,
    r#"{"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/x", "type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}"#,
    r#"{"$comment": "c", "deprecated": true, "readOnly": true, "x-order": 1, "example": 3, "type": "null"}"#,
    r#"{"type": "object", "properties": {"steps": {"type": "array", "items": {"type": "object", "properties": {"explanation": {"type": "string"}, "output": {"type": "string"}}, "required": ["explanation", "output"], "additionalProperties": false}}, "final_answer": {"type": "string"}}, "required": ["steps", "final_answer"], "additionalProperties": false}"#,
];

#[test]
fn schemas_of_people_and_libraries_are_enforced() {
    let (factory, tokenizer) = factory();
    let mut refused = Vec::new();
    let mut ended = 0;
    for text in ACCEPTED {
        let schema: Value = serde_json::from_str(text).unwrap();
        match factory.json_schema(&schema) {
            Err(error) => refused.push(format!("{error}\n    {text}")),
            Ok(constraint) => {
                for seed in 1..4 {
                    let Some(text) = random_answer(constraint.snapshot(), &tokenizer, seed) else { continue };
                    ended += 1;
                    serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{e}: {text}\n{schema}"));
                }
            }
        }
    }
    assert!(refused.is_empty(), "refused: {}\n{}", refused.len(), refused.join("\n"));
    assert!(ended > ACCEPTED.len() * 2, "{ended} of {} ended", ACCEPTED.len() * 3);
}

#[test]
fn what_is_written_under_a_rewritten_schema_fits_the_schema_that_was_given() {
    let (factory, tokenizer) = factory();
    let check = |schema: Value, fits: &dyn Fn(&Value) -> bool| {
        for seed in 1..30 {
            let Some(text) = sampled(&factory, &tokenizer, &schema, seed) else { continue };
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert!(fits(&value), "{text} does not fit {schema}");
        }
    };
    let tag = |name: &str| json!({"type": "object", "properties": {"kind": {"const": name}, name: {"type": "null"}}, "required": ["kind", name]});
    check(json!({"oneOf": [tag("a"), tag("b")]}), &|value| {
        let kind = value["kind"].as_str().unwrap();
        value.as_object().unwrap().len() == 2 && value[kind].is_null()
    });
    check(
        json!({"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties": {"type": "null"}}),
        &|value| {
            value
                .as_object()
                .unwrap()
                .iter()
                .all(|(key, value)| ["x", "y"].contains(&key.as_str()) && value.is_null())
        },
    );
    check(
        json!({"type": "object", "propertyNames": {"pattern": "^k[0-9]$"}, "additionalProperties": {"type": "null"}, "maxProperties": 2}),
        &|value| value.as_object().unwrap().keys().all(|key| key.len() == 2 && key.starts_with('k')),
    );
    check(json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]}), &|value| {
        value.get("b").is_some()
    });
    check(
        json!({"allOf": [{"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}]}),
        &|value| value.get("a").is_some() && value.get("b").is_some(),
    );
}

#[test]
fn schemas_that_cannot_be_enforced_are_refused_with_the_reason() {
    let (factory, _) = factory();
    let check = |schema: Value, reason: &str| {
        let error =
            factory.json_schema(&schema).err().unwrap_or_else(|| panic!("accepted: {schema}")).to_string();
        assert!(error.contains(reason), "{error}");
    };
    check(json!({"type": "strng"}), "strng");
    check(json!({"type": "integer", "minimum": 5, "maximum": 2}), "can't be enforced");
    check(json!({"type": "array", "uniqueItems": true}), "uniqueItems");
    check(json!([1]), "must be an object");
    check(json!({"not": {"type": "string"}}), "not");
    check(json!({"type": "object", "if": {}, "then": {}}), "if");
    check(json!({"type": "object", "dependentRequired": {"a": ["b"]}}), "dependentRequired");
    check(json!({"type": "array", "contains": {"type": "string"}}), "contains");
    check(json!({"type": "string", "pattern": "^(?!a)b"}), "");
    check(json!({"type": "string", "pattern": "("}), "");
    check(json!({"$ref": "#/$defs/missing"}), "missing");
    check(json!({"$ref": "https://example.com/x.json"}), "example.com");
    check(json!({"properties": 3}), "properties");
    check(
        json!({"oneOf": [{"type": "object"}, {"type": "object", "properties": {"a": {"type": "null"}}}]}),
        "oneOf",
    );
    check(json!({"enum": []}), "");
    let patterns = |place: &str| -> Vec<Value> {
        let pattern = |at: u8| json!({"type": "string", "pattern": format!("[{}-z]", (b'a' + at) as char)});
        (0..9).map(|at| json!({"type": "object", "properties": {place.replace('#', &at.to_string()): pattern(at)}})).collect()
    };
    check(json!({"allOf": patterns("a")}), "too many patterns");
    assert!(factory.json_schema(&json!({"allOf": patterns("a#")})).is_ok(), "one pattern each");
    assert!(factory.json_schema(&json!({"anyOf": patterns("a")})).is_ok(), "one at a time");
    let mut deep = json!({"type": "null"});
    for _ in 0..100 {
        deep = json!({"type": "array", "items": deep});
    }
    check(deep, "deeper");
    assert!(factory.json_schema(&json!(true)).is_ok());
}

#[test]
fn schemas_that_explode_end_soon() {
    let (factory, tokenizer) = factory();
    let any = |parts: Vec<Value>| json!({"anyOf": parts});
    let object = |at: usize| json!({"type": "object", "properties": {format!("k{at}"): {"type": "string"}}, "required": [format!("k{at}")]});
    let product: Vec<Value> =
        (0..12).map(|at| any((0..8).map(|branch| object(at * 8 + branch)).collect())).collect();
    let optional: Value = (0..2000)
        .map(|at| (format!("k{at}"), json!({"type": "string"})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut defs = serde_json::Map::new();
    for at in 0..30 {
        let next = format!("#/$defs/d{}", at + 1);
        defs.insert(format!("d{at}"), json!({"type": "object", "properties": {"a": {"$ref": next}, "b": {"$ref": next}, "c": {"allOf": [{"$ref": next}, {"$ref": next}]}}}));
    }
    defs.insert("d30".into(), json!({"type": "null"}));
    let exploding = [
        ("product", json!({"allOf": product})),
        ("references", json!({"$defs": defs, "$ref": "#/$defs/d0"})),
        (
            "many optional",
            json!({"type": "object", "properties": optional, "additionalProperties": {"type": "integer"}}),
        ),
        ("long", json!({"type": "string", "minLength": 4_000_000, "pattern": "^(a|b)*$"})),
        (
            "large items",
            json!({"type": "array", "items": {"type": "array", "items": {"type": "string", "maxLength": 100_000}, "minItems": 100_000, "maxItems": 1_000_000}, "minItems": 1_000_000}),
        ),
        (
            "nested counts",
            json!({"type": "string", "pattern": "^((((a{1,100}b){1,100}c){1,100}d){1,100}e){1,100}$"}),
        ),
        (
            "backtracking",
            json!({"type": "string", "pattern": "(.*a.{30}){4}(.*b.{40}){3}", "minLength": 1000, "maxLength": 100_000}),
        ),
        (
            "intersections",
            json!({"allOf": (0..20).map(|at| json!({"type": "string", "pattern": format!("(.*[a-{}].{{{}}})+", (b'b' + at) as char, at + 5)})).collect::<Vec<_>>()}),
        ),
        (
            "multiples",
            json!({"type": "integer", "allOf": [{"multipleOf": 9973}, {"multipleOf": 9967}, {"multipleOf": 7}]}),
        ),
        ("words", json!({"enum": (0..40_000).map(|at| format!("word{}", at * 7919)).collect::<Vec<_>>()})),
    ];
    for (name, schema) in exploding {
        let start = Instant::now();
        let made = factory.json_schema(&schema);
        let made_in = start.elapsed();
        let outcome = match made {
            Err(error) => format!("refused: {}", error.to_string().chars().take(100).collect::<String>()),
            Ok(mut constraint) => {
                let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
                let result = constraint.mask(&mut mask);
                format!(
                    "mask {:?}",
                    result.map_err(|ConstraintError(error)| error.chars().take(100).collect::<String>())
                )
            }
        };
        eprintln!("{name}: made in {made_in:?}, all in {:?}: {outcome}", start.elapsed());
        assert!(made_in.as_secs_f64() < 2.5, "{name} took {made_in:?}");
    }
}

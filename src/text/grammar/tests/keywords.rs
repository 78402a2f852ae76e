//! Every keyword is enforced or refused with its place: no sampled answer breaks its schema.

use super::*;

fn refusal(schema: &Value) -> String {
    let (factory, _) = factory();
    match factory.json_schema(schema) {
        Ok(_) => panic!("taken: {schema}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_cannot_be_enforced_is_refused_by_its_place() {
    let check = |schema: Value, place: &str| {
        let wrapped = json!({"type": "object", "properties": {"a/b": schema}, "required": ["a/b"]});
        let error = refusal(&wrapped);
        assert!(error.contains(&format!("#/properties/a~1b/{place}")), "{wrapped}: {error}");
    };
    check(json!({"type": "array", "uniqueItems": true}), "uniqueItems");
    check(json!({"type": "array", "contains": {"type": "integer"}}), "contains");
    check(json!({"if": {"type": "integer"}, "then": {"minimum": 3}}), "if");
    check(json!({"not": {"type": "string"}}), "not");
    check(json!({"type": "object", "dependentRequired": {"a": ["b"]}}), "dependentRequired");
    check(json!({"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}}), "dependentSchemas");
    check(json!({"type": "object", "dependencies": {"a": ["b"]}}), "dependencies");
    check(
        json!({"type": "object", "properties": {"a": {}}, "unevaluatedProperties": false}),
        "unevaluatedProperties",
    );
    check(json!({"type": "array", "unevaluatedItems": false}), "unevaluatedItems");
    check(json!({"type": "object", "propertyNames": {"maxLength": 3}}), "propertyNames");
    check(json!({"type": "object", "minProperties": 3}), "minProperties");
    check(json!({"$dynamicRef": "#x"}), "$dynamicRef");
    check(json!({"$ref": "#/$defs/none"}), "$ref");
    check(json!({"$ref": "https://example.com/other"}), "$ref");
    check(json!({"$ref": "#nowhere"}), "$ref");
    check(json!({"type": "strin"}), "type");
    check(json!({"type": []}), "type");
    check(json!({"enum": []}), "enum");
    check(json!({"enum": "a"}), "enum");
    check(json!({"required": "a"}), "required");
    check(json!({"type": "object", "required": true}), "required");
    check(json!({"properties": []}), "properties");
    check(json!({"minLength": -1}), "minLength");
    check(json!({"maxItems": 1.5}), "maxItems");
    check(json!({"minItems": 10_000_000}), "minItems");
    check(json!({"minimum": "3"}), "minimum");
    check(json!({"multipleOf": 0}), "multipleOf");
    check(json!({"multipleOf": 99_999_989}), "multipleOf");
    check(json!({"multipleOf": 1e-12}), "multipleOf");
    check(json!({"const": 9_007_199_254_740_993_u64}), "const");
    check(json!({"enum": [1, 18_446_744_073_709_551_615_u64]}), "enum");
    check(json!({"type": "integer", "minimum": 1e300}), "minimum");
    check(json!({"type": "integer", "minimum": 5, "maximum": 4}), "minimum");
    check(json!({"type": "number", "exclusiveMinimum": 5, "maximum": 5}), "exclusiveMinimum");
}

#[test]
fn references_of_every_kind_are_followed() {
    let (factory, tokenizer) = factory();
    let check = |reference: &str, defs: Value| {
        let mut schema =
            json!({"type": "object", "properties": {"v": {"$ref": reference}}, "required": ["v"]});
        schema.as_object_mut().unwrap().extend(defs.as_object().unwrap().clone());
        for seed in 1..4 {
            let text = sampled(&factory, &tokenizer, &schema, seed).unwrap();
            assert_eq!(text, r#"{"v": "yes"}"#, "{schema}");
        }
    };
    let yes = || json!({"const": "yes"});
    check("#/$defs/a~1b", json!({"$defs": {"a/b": yes()}}));
    check("#/$defs/a~0b", json!({"$defs": {"a~b": yes()}}));
    check("#/$defs/a%20b", json!({"$defs": {"a b": yes()}}));
    check("#/$defs/a%25b", json!({"$defs": {"a%b": yes()}}));
    check("#/$defs/%C3%BC", json!({"$defs": {"ü": yes()}}));
    check("#/$defs/deep/inner/1", json!({"$defs": {"deep": {"inner": [{}, yes()]}}}));
    check("#named", json!({"$defs": {"x": {"$anchor": "named", "const": "yes"}}}));
    check("#old", json!({"definitions": {"x": {"$id": "#old", "const": "yes"}}}));
    check(
        "x.json",
        json!({"$id": "https://example.com/root.json", "$defs": {"x": {"$id": "x.json", "const": "yes"}}}),
    );
    check(
        "https://example.com/root.json#/$defs/x",
        json!({"$id": "https://example.com/root.json", "$defs": {"x": yes()}}),
    );
    check(
        "/y#in",
        json!({"$id": "https://example.com/a/root", "$defs": {"x": {"$id": "/y", "$defs": {"z": {"$anchor": "in", "const": "yes"}}}}}),
    );
    check("urn:x", json!({"$defs": {"x": {"$id": "urn:x", "const": "yes"}}}));
    check(
        "#/$defs/a",
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/c"}, "c": yes()}}),
    );
    check(
        "#/properties/w",
        json!({"properties": {"v": {"$ref": "#/properties/w"}, "w": yes()}, "required": ["v"], "maxProperties": 1}),
    );
    let circle =
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
    assert!(refusal(&circle).contains("refers to itself"));
}

/// Checks that every answer sampled under `schema` matches it, and returns how many there were.
fn fits(schema: &Value, seeds: u64) -> usize {
    let (factory, tokenizer) = factory();
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap_or_else(|e| panic!("{schema}: {e}"));
    let Ok(constraint) = factory.json_schema(schema) else { return 0 };
    let mut drawn_all = 0;
    for seed in 1..=seeds {
        let Some(text) = random_answer(constraint.snapshot(), &tokenizer, seed) else { continue };
        let Ok(value) = serde_json::from_str::<Value>(&text) else { panic!("{schema}: {text}") };
        if let Err(error) = validator.validate(&value) {
            panic!("{error}\n{schema}\n{text}");
        }
        drawn_all += 1;
    }
    drawn_all
}

#[test]
fn numbers_stay_within_their_bounds() {
    for schema in [
        json!({"type": "integer", "maximum": 9_007_199_254_740_993_i64, "minimum": 9_007_199_254_740_991_i64}),
        json!({"type": "integer", "exclusiveMaximum": 9_007_199_254_740_994_i64, "minimum": 9_007_199_254_740_985_i64}),
        json!({"type": "integer", "exclusiveMinimum": 9_007_199_254_740_992_i64, "maximum": 9_007_199_254_741_000_i64}),
        json!({"type": "integer", "minimum": i64::MAX - 5000}),
        json!({"type": "integer", "maximum": i64::MIN + 5000}),
        json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
        json!({"type": "integer", "minimum": 1_000_000_000_000_000_001_i64, "maximum": 1_000_000_000_000_001_000_i64}),
        json!({"type": "integer", "minimum": -1e30, "maximum": 1e30}),
        json!({"type": "number", "minimum": 9_007_199_254_740_993_i64, "maximum": 9_007_199_254_740_999_i64}),
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-7}),
        json!({"type": "number", "minimum": -0.5, "maximum": 0.25}),
        json!({"type": "number", "exclusiveMinimum": -3, "exclusiveMaximum": -2.5}),
        json!({"type": "number", "minimum": -0.5, "exclusiveMaximum": 0}),
        json!({"type": "number", "exclusiveMinimum": 4, "exclusiveMaximum": 5}),
        json!({"type": "integer", "minimum": 1.5, "maximum": 3.5}),
        json!({"type": "integer", "multipleOf": 7, "minimum": 100, "maximum": 999}),
        json!({"type": "integer", "allOf": [{"multipleOf": 6}, {"multipleOf": 10}], "minimum": 1, "maximum": 500}),
        json!({"type": "integer", "multipleOf": 1.0}),
        json!({"enum": [1.0, -3, 2.5, 9_007_199_254_740_992_i64]}),
    ] {
        assert!(fits(&schema, 30) > 0, "{schema}");
    }
}

/// The multiples between bounds, found by trying them all.
fn multiples(of: f64, places: i32, low: f64, high: f64, open: (bool, bool)) -> Vec<f64> {
    let unit = 10f64.powi(places);
    let (first, last) = ((low * unit).floor() as i64 - 1, (high * unit).ceil() as i64 + 1);
    let step = (of * unit).round() as i64;
    let all = (first..=last).filter(|it| it % step == 0);
    let values = all.map(|it| format!("{it}e-{places}").parse::<f64>().unwrap());
    let above = |value: f64| if open.0 { value > low } else { value >= low };
    let below = |value: f64| if open.1 { value < high } else { value <= high };
    values.filter(|value| above(*value) && below(*value)).collect()
}

#[test]
fn multiples_within_bounds_are_those_that_are_found_by_trying_all() {
    let (factory, tokenizer) = factory();
    let check = |schema: Value, expected: &[f64]| {
        let constraint = match factory.json_schema(&schema) {
            Ok(constraint) => constraint,
            Err(error) => {
                assert!(expected.is_empty(), "{schema}: {error}, and {expected:?} fit");
                return assert!(error.to_string().contains("#/"), "{schema}: {error}");
            }
        };
        assert!(!expected.is_empty(), "{schema} is taken and nothing fits");
        let mut found = 0;
        for seed in 1..6 {
            let Some(text) = random_answer(constraint.snapshot(), &tokenizer, seed) else { continue };
            let value: f64 = text.parse().unwrap_or_else(|_| panic!("{schema}: {text}"));
            assert!(expected.contains(&value), "{schema}: {text} is none of {expected:?}");
            found += 1;
        }
        assert!(found > 0, "{schema}");
    };
    check(json!({"type": "number", "multipleOf": 0.1, "minimum": 0.25, "maximum": 0.35}), &[0.3]);
    check(json!({"type": "number", "multipleOf": 0.1, "exclusiveMinimum": 0.3, "maximum": 0.35}), &[]);
    check(json!({"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 13}), &[]);
    check(json!({"type": "integer", "multipleOf": 2.5, "minimum": 1, "maximum": 12}), &[5.0, 10.0]);
    check(json!({"type": "number", "multipleOf": 0.057, "minimum": 0.1, "maximum": 0.2}), &[0.114, 0.171]);
    let unbounded = factory.json_schema(&json!({"type": "number", "multipleOf": 0.057})).err().unwrap();
    assert!(unbounded.to_string().contains("#/multipleOf"), "{unbounded}");
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..many() {
        let places = next(4) as i32;
        let of = format!("{}e-{places}", 1 + next(60)).parse::<f64>().unwrap();
        let low = (next(4000) as f64 - 2000.0) / [1.0, 4.0, 100.0, 1000.0][next(4)];
        let high = low + of * next(40) as f64 / 8.0 * [1.0, 1.0, 100.0][next(3)];
        let open = (next(4) == 0, next(4) == 0);
        let mut schema = json!({"type": "number", "multipleOf": of});
        schema[if open.0 { "exclusiveMinimum" } else { "minimum" }] = json!(low);
        schema[if open.1 { "exclusiveMaximum" } else { "maximum" }] = json!(high);
        let mut expected = multiples(of, places.max(3), low, high, open);
        if next(3) == 0 {
            schema["type"] = json!("integer");
            expected.retain(|value| value.fract() == 0.0);
        }
        check(schema, &expected);
    }
}

/// Makes a random schema from keywords that need not make sense together.
fn any_schema(next: &mut dyn FnMut(usize) -> usize, depth: usize) -> Value {
    let kinds = ["string", "integer", "number", "boolean", "null", "array", "object"];
    let mut schema = serde_json::Map::new();
    let leaf = depth == 0;
    let kind = kinds[next(if leaf { 5 } else { 7 })];
    if next(8) > 0 {
        schema.insert(
            "type".into(),
            if next(6) == 0 && kind != "null" { json!([kind, "null"]) } else { json!(kind) },
        );
    }
    match kind {
        "string" => match next(6) {
            0 => drop(schema.insert(
                "pattern".into(),
                json!(["^[ab]{1,3}$", "x", "^(foo|ba+r)?$", "^\\d{2}-\\w$", "[^a-z]$"][next(5)]),
            )),
            1 => drop(schema.insert(
                "format".into(),
                json!(
                    [
                        "date",
                        "time",
                        "date-time",
                        "email",
                        "hostname",
                        "ipv4",
                        "ipv6",
                        "uuid",
                        "duration",
                        "other"
                    ][next(10)]
                ),
            )),
            2 => drop(schema.insert("enum".into(), json!(["a", "b\"", "", 3, null]))),
            3 => drop(
                schema.insert("const".into(), [json!("a"), json!("\u{e9}\n"), json!(4)][next(3)].clone()),
            ),
            _ => {
                schema.insert("minLength".into(), json!(next(4)));
                schema.insert("maxLength".into(), json!(next(8)));
            }
        },
        "integer" | "number" => {
            for key in ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"] {
                if next(3) == 0 {
                    let low = if key.contains("in") && !key.contains("ax") { 0.0 } else { 60.0 };
                    schema.insert(key.into(), json!(low + next(80) as f64 / [1.0, 4.0][next(2)]));
                }
            }
            if next(5) == 0 {
                schema.insert("multipleOf".into(), json!([3.0, 0.5, 10.0, 0.25][next(4)]));
            }
        }
        "array" => array(&mut schema, next, depth),
        "object" => object(&mut schema, next, depth),
        _ => {}
    }
    if !leaf && next(6) == 0 {
        let parts = json!([any_schema(next, depth - 1), any_schema(next, depth - 1)]);
        schema.insert(["anyOf", "allOf", "oneOf"][next(3)].into(), parts);
    }
    schema.into()
}

fn array(schema: &mut serde_json::Map<String, Value>, next: &mut dyn FnMut(usize) -> usize, depth: usize) {
    if next(2) == 0 {
        schema.insert("items".into(), any_schema(next, depth - 1));
    }
    if next(3) == 0 {
        schema
            .insert("prefixItems".into(), json!([any_schema(next, depth - 1), any_schema(next, depth - 1)]));
    }
    schema.insert("maxItems".into(), json!(1 + next(3)));
    if next(2) == 0 {
        schema.insert("minItems".into(), json!(next(3)));
    }
    if next(8) == 0 {
        schema.insert("uniqueItems".into(), json!(true));
    }
}

fn object(schema: &mut serde_json::Map<String, Value>, next: &mut dyn FnMut(usize) -> usize, depth: usize) {
    let mut listed = serde_json::Map::new();
    for at in 0..next(4) {
        listed.insert(["a", "bb", "c d", "e\"f"][at].into(), any_schema(next, depth - 1));
    }
    let names: Vec<&String> = listed.keys().filter(|_| next(2) == 0).collect();
    schema.insert("required".into(), json!(names));
    schema.insert("properties".into(), listed.into());
    match next(5) {
        0 => drop(schema.insert("additionalProperties".into(), json!(false))),
        1 => drop(schema.insert("additionalProperties".into(), any_schema(next, depth - 1))),
        2 => drop(schema.insert("patternProperties".into(), json!({"^[a-c]": any_schema(next, depth - 1)}))),
        _ => {}
    }
    if next(6) == 0 {
        schema.insert(["minProperties", "maxProperties"][next(2)].into(), json!(next(3)));
    }
}

#[test]
fn what_is_drawn_under_any_schema_fits_it() {
    let (mut taken, mut all) = (0, 0);
    for seed in 1..=many() {
        let mut state = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % below
        };
        let schema = any_schema(&mut next, 3);
        all += 1;
        taken += usize::from(fits(&schema, 4) > 0);
    }
    eprintln!("{taken} of {all} schemas gave answers");
    assert!(taken * 3 > all, "{taken} of {all}");
}

/// The number of random schemas; `BANDMASTER_SCHEMAS` overrides it.
fn many() -> usize {
    std::env::var("BANDMASTER_SCHEMAS").ok().and_then(|many| many.parse().ok()).unwrap_or(150)
}

#[test]
fn names_and_texts_of_a_schema_have_a_limit_together() {
    let (factory, _) = factory();
    let with_title = |bytes: usize| json!({"type": "integer", "title": "x".repeat(bytes)});
    let error = factory.json_schema(&with_title(256 << 10)).err().expect("refused").to_string();
    assert!(error.contains("more than 262144 bytes"), "{error}");
    assert!(factory.json_schema(&with_title((256 << 10) - 100)).is_ok());
}

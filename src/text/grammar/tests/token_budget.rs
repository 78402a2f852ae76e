//! Answers end within their tokens, for many schemas, limits, vocabularies and stubborn models.

use super::*;

/// Schemas, each with a short text that matches it.
const SCHEMAS: &[(&str, &str)] = &[
    (r#"{"type": "object"}"#, "{}"),
    (r#"{}"#, "0"),
    (r#"{"type": "array"}"#, "[]"),
    (r#"{"type": "array", "items": {"type": "object"}}"#, "[]"),
    (r#"{"type": "array", "items": {"type": "object"}, "minItems": 3}"#, "[{}, {}, {}]"),
    (r#"{"type": "array", "items": {"type": "integer"}, "minItems": 2}"#, "[0, 0]"),
    (r#"{"type": "object", "additionalProperties": {"type": "array", "items": {"type": "number"}}}"#, "{}"),
    (r#"{"type": "string"}"#, "\"\""),
    (r#"{"type": "string", "minLength": 12}"#, "\"aaaaaaaaaaaa\""),
    (r#"{"type": "string", "pattern": "^a*[bc]{3}[0-9]+$"}"#, "\"bbb0\""),
    (r#"{"type": "string", "pattern": "^([a-c]{2}x)*[a-c]{3}$"}"#, "\"aaa\""),
    (r#"{"type": "string", "pattern": "^(1|22222)+3$"}"#, "\"13\""),
    (r#"{"type": "string", "pattern": "^(\\d{3}-)*\\d{4}$"}"#, "\"0000\""),
    (r#"{"type": "string", "pattern": "hello, w[ao]rld"}"#, "\"hello, warld\""),
    (
        r#"{"type": "object", "patternProperties": {"foo|x-": {"type": "null"}}, "additionalProperties": false}"#,
        "{}",
    ),
    (
        r#"{"type": "object", "patternProperties": {"\\s": {"type": "null"}}, "additionalProperties": false}"#,
        "{}",
    ),
    (r#"{"type": "string", "pattern": "^(é|[a-z]{30})$"}"#, "\"é\""),
    (r#"{"type": "integer"}"#, "0"),
    (r#"{"type": "integer", "minimum": 1000, "maximum": 99999}"#, "1000"),
    (r#"{"type": "number", "exclusiveMinimum": 0}"#, "1"),
    (r#"{"type": ["boolean", "null"]}"#, "null"),
    (r#"{"enum": ["a very long word that goes on", "short", "shortest of them all"]}"#, "\"short\""),
    (
        r#"{"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}, "required": ["a", "n"]}"#,
        r#"{"a": "", "n": 0}"#,
    ),
    (
        r#"{"type": "object", "properties": {"o": {"type": "string", "minLength": 40}, "r": {"type": "null"}}, "required": ["r"]}"#,
        r#"{"r": null}"#,
    ),
    (
        r#"{"type": "object", "properties": {"list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}, "label": {"type": "string", "minLength": 5}}, "required": ["x", "y", "label"]}}}, "required": ["list"]}"#,
        r#"{"list": []}"#,
    ),
    (
        r#"{"anyOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "long": {"type": "string", "minLength": 60}}, "required": ["kind", "long"]}, {"type": "object", "properties": {"kind": {"const": "z"}}, "required": ["kind"]}]}"#,
        r#"{"kind": "z"}"#,
    ),
    (
        r##"{"$defs": {"t": {"type": "object", "properties": {"v": {"type": "string"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/t"}}}, "required": ["v", "kids"]}}, "$ref": "#/$defs/t"}"##,
        r#"{"v": "", "kids": []}"#,
    ),
    (
        r##"{"$defs": {"l": {"type": "object", "properties": {"head": {"type": "integer"}, "tail": {"anyOf": [{"$ref": "#/$defs/l"}, {"type": "null"}]}}, "required": ["head", "tail"]}}, "$ref": "#/$defs/l"}"##,
        r#"{"head": 0, "tail": null}"#,
    ),
    (
        r#"{"type": "object", "properties": {"day": {"type": "string", "format": "date"}, "mail": {"type": "string", "format": "email"}}, "required": ["day", "mail"]}"#,
        r#"{"day": "2000-01-01", "mail": "a@a.aa"}"#,
    ),
    (
        r#"{"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "string", "maxLength": 3}], "minItems": 2}"#,
        r#"[true, ""]"#,
    ),
];

/// The tokens that a model prefers at each step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Preference {
    Anything,
    /// Tokens that contain one of these bytes.
    Bytes(&'static [u8]),
    Longest,
}

const ALL_PREFERENCES: &[Preference] = &[
    Preference::Anything,
    Preference::Bytes(b","),
    Preference::Bytes(b"0123456789"),
    Preference::Bytes(b"[{"),
    Preference::Bytes(b" "),
    Preference::Bytes(b"\"\\"),
    Preference::Bytes(b"eE-."),
    Preference::Longest,
];

fn is_preferred(tokenizer: &Tokenizer, token: u32, preference: Preference) -> bool {
    let bytes = tokenizer.decode_bytes(token);
    match preference {
        Preference::Anything => true,
        Preference::Bytes(some) => bytes.iter().any(|byte| some.contains(byte)),
        Preference::Longest => bytes.len() > 3,
    }
}

/// An answer of at most `tokens_max` tokens, made as the engine makes it. Returns the text and whether it ended.
pub(super) fn answer_within(
    constraint: &dyn Constraint,
    tokenizer: &Tokenizer,
    tokens_max: u32,
    preference: Preference,
    seed: u64,
) -> (String, bool) {
    let mut constraint = constraint.snapshot();
    constraint.limit(tokens_max);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut ids: Vec<u32> = Vec::new();
    let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
    let end = |ids: &[u32], ended: bool| (tokenizer.decode(ids), ended);
    loop {
        for token in constraint.forced() {
            constraint.accept(token).unwrap();
            ids.push(token);
            if ids.len() as u32 == tokens_max {
                return end(&ids, constraint.finished());
            }
        }
        if constraint.finished() {
            return end(&ids, true);
        }
        mask.fill(0);
        constraint.mask(&mut mask).unwrap();
        let bits = |(word, bits): (usize, &u32)| {
            let bits = *bits;
            (0..32).filter(move |bit| bits >> bit & 1 != 0).map(move |bit| word as u32 * 32 + bit)
        };
        let all: Vec<u32> = mask.iter().enumerate().flat_map(bits).collect();
        let ends = tokenizer.end_of_generation();
        let mut pick = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            all[state as usize % all.len()]
        };
        // If there are many wanted tokens, a few random picks find one.
        let is_wanted = |id: &u32| !ends.contains(id) && is_preferred(tokenizer, *id, preference);
        let found = (0..100).map(|_| pick()).find(is_wanted);
        let found = found.or_else(|| all.iter().copied().find(is_wanted));
        let token = found.unwrap_or_else(pick);
        let token = constraint.replace_sampled(token);
        if ends.contains(&token) {
            return end(&ids, true);
        }
        constraint.accept(token).unwrap();
        ids.push(token);
        if ids.len() as u32 == tokens_max {
            return end(&ids, constraint.finished());
        }
    }
}

/// The fewest tokens that spell `text`.
pub(super) fn fewest_tokens(factory: &GrammarFactory, text: &str) -> u32 {
    let trie = factory.parsers.tok_env().tok_trie();
    let bytes = text.as_bytes();
    let mut fewest = vec![u32::MAX; bytes.len() + 1];
    fewest[0] = 0;
    for start in 0..bytes.len() {
        for end in start + 1..=bytes.len() {
            if fewest[start] < u32::MAX && trie.token_id(&bytes[start..end]).is_some() {
                fewest[end] = fewest[end].min(fewest[start] + 1);
            }
        }
    }
    fewest[bytes.len()]
}

/// Tests every schema with every preference, from the fewest tokens that its shortest text takes.
fn check(tokenizer: Arc<Tokenizer>, preferences: &[Preference], limits: &[u32]) {
    let factory = GrammarFactory::new(Arc::clone(&tokenizer)).unwrap();
    let mut checked = 0;
    for (schema, shortest) in SCHEMAS {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&serde_json::from_str(shortest).unwrap()), "{shortest} fits {schema}");
        let constraint = factory.json_schema(&schema).unwrap();
        // A text that ends without a bracket or quote needs one more token for the end of sequence.
        let closed = shortest.ends_with(['}', ']', '"']);
        let least = fewest_tokens(&factory, shortest) + u32::from(!closed);
        for &limit in limits.iter().filter(|limit| **limit >= least).chain([&least]) {
            for &preference in preferences {
                let (text, ended) =
                    answer_within(&*constraint, &tokenizer, limit, preference, u64::from(limit));
                assert!(ended, "{limit} tokens, {preference:?}, {schema}: {text}");
                let value: Value = serde_json::from_str(&text)
                    .unwrap_or_else(|e| panic!("{limit} tokens, {preference:?}, {schema}: {e}: {text}"));
                assert!(validator.is_valid(&value), "{limit} tokens, {preference:?}, {schema}: {text}");
                checked += 1;
            }
        }
    }
    eprintln!("{checked} answers were whole");
}

#[test]
fn an_answer_is_whole_whenever_its_shortest_form_fits_in_the_tokens() {
    let merges = [
        "\" :", "\": Ġ", ", Ġ", "t r", "u e", "tr ue", "{ \"", "} ,", "} ]", "] }", "\" }", "[ ]", "{ }",
        "{} ,", "0 0", "1 2",
    ];
    check(Arc::new(fixtures::byte_level(&merges)), ALL_PREFERENCES, &[10, 17, 40, 100, 300]);
}

/// Vocabularies of real models; `None`, with a message, if there are none on this machine.
pub(super) fn vocabularies() -> Option<Vec<std::path::PathBuf>> {
    ["smollm2-135m.gguf", "qwen2.5-coder-0.5b.gguf"].into_iter().map(bandmaster_test_support::model).collect()
}

#[test]
fn an_answer_is_whole_with_the_vocabularies_of_models() {
    let Some(files) = vocabularies() else { return };
    for file in files {
        check(Arc::new(Tokenizer::open(&file).unwrap()), &ALL_PREFERENCES[..4], &[10, 40]);
    }
}

#[test]
fn what_cannot_fit_is_cut_off_and_not_called_whole() {
    let (factory, tokenizer) = factory();
    let schema = json!({"type": "string", "minLength": 100});
    let constraint = factory.json_schema(&schema).unwrap();
    let (text, ended) = answer_within(&*constraint, &tokenizer, 20, Preference::Anything, 1);
    assert!(!ended, "{text}");
}

#[test]
fn calls_of_tools_that_must_be_are_whole_as_well() {
    let (factory, tokenizer) = factory();
    let place = json!({"type": "object", "properties": {"city": {"type": "string"}, "notes": {"type": "array", "items": {"type": "string"}}}, "required": ["city"]});
    let tool = Tool { name: "weather".into(), description: None, parameters: place, strict: true };
    for (format, parallel) in
        ToolFormat::all().into_iter().flat_map(|format| [(format, false), (format, true)])
    {
        let calls = factory
            .tool_calls(&format, std::slice::from_ref(&tool), &ToolChoice::Required, parallel, None)
            .unwrap()
            .unwrap();
        for &preference in ALL_PREFERENCES {
            for limit in (200..210).chain([300]) {
                let (text, ended) = answer_within(&*calls, &tokenizer, limit, preference, 3);
                assert!(
                    ended,
                    "{}, parallel {parallel}, {limit} tokens, {preference:?}: {text}",
                    format.name()
                );
            }
        }
    }
}

/// Strings that must be long, and words beside them, which must not wait for the search of a long one.
#[test]
fn long_strings_end_token_budget() {
    let (factory, tokenizer) = factory();
    let long = json!({"type": "object", "properties": {"essay": {"type": "string", "minLength": 480}}, "required": ["essay"]});
    let either = json!({"anyOf": [{"const": "none"}, {"type": "string", "minLength": 480}]});
    // One token opens what takes more tokens than are left by then.
    let opened = json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 10, "maxLength": 100}, "long": {"type": "string", "minLength": 700}}, "required": ["a"]});
    let twice = json!({"type": "array", "items": {"type": "string", "minLength": 300}, "minItems": 2});
    for (schema, short) in [
        (long, format!(r#"{{"essay": "{}"}}"#, "a".repeat(480))),
        (either, "\"none\"".to_owned()),
        (opened, format!(r#"{{"a": "{}"}}"#, "a".repeat(700))),
        (twice, format!(r#"["{0}", "{0}"]"#, "a".repeat(300))),
    ] {
        let constraint = factory.json_schema(&schema).unwrap();
        let least = fewest_tokens(&factory, &short);
        let validator = jsonschema::validator_for(&schema).unwrap();
        for (more, preference) in
            [(0, Preference::Anything), (1, Preference::Longest), (40, Preference::Bytes(b"\""))]
        {
            let (text, ended) =
                answer_within(&*constraint, &tokenizer, least + more, preference, u64::from(more));
            let valid = serde_json::from_str(&text).is_ok_and(|value| validator.is_valid(&value));
            assert!(ended && valid, "{schema}, {} tokens: {text}", least + more);
        }
    }
}

/// What is learned while a grammar is followed stays with who follows it.
#[test]
fn who_asked_before_changes_no_answer() {
    let (factory, tokenizer) = factory();
    let schema = json!({"type": "string", "pattern": "^(([a-c]{5,8}|.|[^a-z])(\\d{1,2})([a-c]{4,5}\\d{5,8}){1,4}){1,4}x$"});
    let kept = factory.json_schema(&schema).unwrap();
    let answers: Vec<_> =
        (0..6).map(|_| answer_within(&*kept.deep_clone(), &tokenizer, 30, Preference::Anything, 5)).collect();
    let alone =
        answer_within(&*factory.json_schema(&schema).unwrap(), &tokenizer, 30, Preference::Anything, 5);
    assert!(answers.iter().all(|answer| *answer == alone), "{answers:?}, alone {alone:?}");
}

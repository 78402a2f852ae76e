mod keywords;
mod refusals;
mod schemas;
mod shortest;
mod token_budget;
mod tools;

use super::*;
use crate::tokenizer::fixtures;

const MERGES: &[&str] = &["\" :", "\": Ġ", "t r", "u e", "tr ue", "a b", "Ġ \"", ", Ġ", "\" \""];

/// Samples tokens at random under `constraint` as an engine would. Returns the text, in which control tokens appear by
/// name, or `None` when the answer did not end.
pub(super) fn random_answer(
    mut constraint: Box<dyn Constraint>,
    tokenizer: &Tokenizer,
    seed: u64,
) -> Option<String> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut ids = Vec::new();
    let text = |ids: &[u32]| {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.decode_bytes(id)).copied().collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    for _ in 0..600 {
        for token in constraint.forced() {
            constraint.accept(token).unwrap();
            ids.push(token);
        }
        if constraint.finished() {
            return text(&ids);
        }
        let candidates = allowed(&mut constraint, tokenizer);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut token = candidates[state as usize % candidates.len()];
        // Random letters never close a string or an array, so most of the time it is closed as soon as that is allowed.
        for byte in [b'"', b'}', b']'] {
            let close = fixtures::byte_id(tokenizer, byte);
            if candidates.contains(&close) && state >> 40 & 3 != 0 {
                token = close;
            }
        }
        let token = constraint.replace_sampled(token);
        if tokenizer.end_of_generation().contains(&token) {
            return text(&ids);
        }
        constraint.accept(token).unwrap();
        ids.push(token);
    }
    None
}

pub(super) fn allowed(constraint: &mut Box<dyn Constraint>, tokenizer: &Tokenizer) -> Vec<u32> {
    let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
    constraint.mask(&mut mask).unwrap();
    let is_allowed = |id: &u32| mask[*id as usize / 32] & (1 << (id % 32)) != 0;
    (0..tokenizer.vocab_size() as u32).filter(is_allowed).collect()
}

fn sampled(factory: &GrammarFactory, tokenizer: &Tokenizer, schema: &Value, seed: u64) -> Option<String> {
    random_answer(factory.json_schema(schema).unwrap(), tokenizer, seed)
}

pub(super) fn factory() -> (GrammarFactory, Arc<Tokenizer>) {
    let tokenizer = Arc::new(fixtures::byte_level(MERGES));
    (GrammarFactory::new(tokenizer.clone()).unwrap(), tokenizer)
}

#[test]
fn random_tokens_under_a_schema_are_json_that_fits_it() {
    let (factory, tokenizer) = factory();
    let schema = json!({
        "type": "object",
        "properties": {
            "kind": {"enum": ["ab", "abc"]},
            "ok": {"type": "boolean"},
            "count": {"type": "integer", "minimum": 0, "maximum": 99},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 1, "maxItems": 3}
        },
        "required": ["kind", "ok", "count", "tags"],
        "additionalProperties": false
    });
    for seed in 1..40 {
        let text = sampled(&factory, &tokenizer, &schema, seed).expect("bounded schemas end");
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert!(["ab", "abc"].contains(&value["kind"].as_str().unwrap()), "{text}");
        assert!(value["ok"].is_boolean() && value["count"].as_u64().unwrap() < 100, "{text}");
        let tags = value["tags"].as_array().unwrap();
        assert!((1..=3).contains(&tags.len()) && tags.iter().all(Value::is_string), "{text}");
        assert!(text.starts_with("{\"kind\": \"") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn what_is_forced_is_tokenized_as_the_tokenizer_does() {
    let (factory, tokenizer) = factory();
    let schema = json!({"type": "object", "properties": {"a": {"const": true}}, "required": ["a"], "additionalProperties": false});
    let mut constraint = factory.json_schema(&schema).unwrap();
    let mut ids = Vec::new();
    while !constraint.finished() {
        let forced = constraint.forced();
        assert!(!forced.is_empty(), "everything is forced; stuck after {:?}", tokenizer.decode(&ids));
        for token in forced {
            constraint.accept(token).unwrap();
            ids.push(token);
        }
    }
    assert_eq!(ids, tokenizer.encode("{\"a\": true}", false));
}

#[test]
fn a_snapshot_is_what_was_before_the_tokens() {
    let (factory, tokenizer) = factory();
    let mut constraint = factory.json_schema(&json!({"enum": ["x", "y"]})).unwrap();
    let mask_of = |constraint: &mut Box<dyn Constraint>| {
        let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
        constraint.mask(&mut mask).unwrap();
        mask
    };
    constraint.accept(fixtures::byte_id(&tokenizer, b'"')).unwrap();
    let before = mask_of(&mut constraint);
    let mut snapshot = constraint.snapshot();
    constraint.accept(fixtures::byte_id(&tokenizer, b'x')).unwrap();
    assert_ne!(mask_of(&mut constraint), before);
    assert!(constraint.accept(fixtures::byte_id(&tokenizer, b'z')).is_err());
    assert_eq!(mask_of(&mut snapshot), before, "an error does not reach it");
    let mut constraint = snapshot;
    assert!(constraint.accept(fixtures::byte_id(&tokenizer, b'z')).is_err());
    assert!(!constraint.finished(), "an error is not an end");
}

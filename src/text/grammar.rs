//! JSON schemas as constraints on the next token, through llguidance. How tokens are drawn is not known here.
//!
//! Output is kept on one line with Python's separators (`, ` and `: `): it is what models have read most, and no small
//! model can lose itself in white space.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::earley::SlicedBiasComputer;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::Tokenizer;
use crate::engine::Constraint;

/// A schema that can't be kept to, or a vocabulary that can't be constrained.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GrammarError {
    /// Not a schema, or one that uses what can't be enforced token by token.
    #[error("the JSON schema can't be enforced: {0}")]
    Schema(String),
    /// Without an end token, a finished answer could not end.
    #[error("the model's vocabulary names no end-of-sequence token, so its output can't be held to a schema")]
    NoEndToken,
    /// The trie of tokens could not be made.
    #[error("the vocabulary can't be used for grammars: {0}")]
    Vocabulary(String),
}

/// Makes constraints for one vocabulary. Costs some tenths of a second for a large one: make it once and share it.
pub struct GrammarFactory {
    parsers: ParserFactory,
}

impl GrammarFactory {
    /// Prepares the vocabulary of `tokenizer`.
    ///
    /// # Errors
    /// [`GrammarError`] when the vocabulary has no end token.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self, GrammarError> {
        let environment: TokEnv = Arc::new(TokenEnvironment { trie: trie_of(&tokenizer)?, tokenizer });
        // Forced tokens are taken as they come; taking back what was drawn is not asked of the engine.
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let slices = SlicedBiasComputer::json_slices();
        let mut parsers = ParserFactory::new(&environment, capabilities, &slices)
            .map_err(|e| GrammarError::Vocabulary(e.to_string()))?;
        parsers.quiet();
        Ok(Self { parsers })
    }

    /// A constraint that lets a sequence write exactly one JSON value that fits `schema`.
    ///
    /// # Errors
    /// [`GrammarError::Schema`] names what in the schema is wrong or can't be enforced.
    pub fn json_schema(&self, schema: &Value) -> Result<Box<dyn Constraint>, GrammarError> {
        let mut schema = match schema {
            Value::Bool(true) => json!({}),
            Value::Object(_) => schema.clone(),
            other => return Err(GrammarError::Schema(format!("it is `{other}` and must be an object"))),
        };
        schema["x-guidance"] = json!({
            "whitespace_flexible": false,
            "item_separator": ", ",
            "key_separator": ": ",
        });
        let parser = self.parsers.create_parser(TopLevelGrammar::from_json_schema(schema));
        let parser = parser.map_err(|e| GrammarError::Schema(e.to_string()))?;
        Ok(Box::new(Grammar { matcher: Matcher::new(Ok(parser)) }))
    }
}

fn trie_of(tokenizer: &Tokenizer) -> Result<TokTrie, GrammarError> {
    let ends = tokenizer.end_of_generation();
    let first = *ends.first().ok_or(GrammarError::NoEndToken)?;
    let vocab = tokenizer.vocab_size() as u32;
    let words: Vec<Vec<u8>> = (0..vocab).map(|id| word_of(tokenizer, id)).collect();
    Ok(TokTrie::from(&TokRxInfo::new(vocab, first), &words).with_eos_tokens(ends))
}

/// The bytes by which the trie knows a token; none for one that must never be drawn.
fn word_of(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let bytes = tokenizer.decode_bytes(id);
    if tokenizer.is_control(id) {
        [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
    } else if tokenizer.is_unused(id) || bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
        // No JSON has the byte 0xFF.
        Vec::new()
    } else {
        bytes.to_vec()
    }
}

/// What llguidance must know of a vocabulary.
struct TokenEnvironment {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for TokenEnvironment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| self.tokenizer.encode_continuation(text))
    }
}

/// One sequence's place in its grammar.
#[derive(Clone)]
struct Grammar {
    matcher: Matcher,
}

impl Constraint for Grammar {
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), String> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|e| e.to_string())?;
        for (word, mask) in allowed.iter_mut().zip(mask.as_slice()) {
            *word = *mask;
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), String> {
        self.matcher.consume_token(token).map_err(|e| e.to_string())
    }

    /// Only tokens that the tokenizer itself would make of the forced text, and none whose text could become part of a
    /// longer token with what follows: llguidance holds those back.
    fn forced(&mut self) -> Vec<u32> {
        if self.matcher.is_stopped() { Vec::new() } else { self.matcher.compute_ff_tokens() }
    }

    fn snapshot(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }

    fn finished(&mut self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokenizer::fixtures;

    const MERGES: &[&str] = &["\" :", "\": Ġ", "t r", "u e", "tr ue", "a b", "Ġ \"", ", Ġ", "\" \""];

    /// Draws tokens at random under `schema` as an engine would, and gives the text; `None` when it did not end.
    fn sampled(factory: &GrammarFactory, tokenizer: &Tokenizer, schema: &Value, seed: u64) -> Option<String> {
        let mut constraint = factory.json_schema(schema).unwrap();
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut ids = Vec::new();
        for _ in 0..400 {
            for token in constraint.forced() {
                constraint.accept(token).unwrap();
                ids.push(token);
            }
            if constraint.finished() {
                return Some(tokenizer.decode(&ids));
            }
            let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
            constraint.mask(&mut mask).unwrap();
            let allowed = |id: &u32| mask[*id as usize / 32] & (1 << (id % 32)) != 0;
            let candidates: Vec<u32> = (0..tokenizer.vocab_size() as u32).filter(allowed).collect();
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mut token = candidates[state as usize % candidates.len()];
            // Letters at random never close a string: close it as soon as that is allowed, most of the time.
            let quote = fixtures::byte_id(tokenizer, b'"');
            if candidates.contains(&quote) && state >> 40 & 3 != 0 {
                token = quote;
            }
            if tokenizer.end_of_generation().contains(&token) {
                return Some(tokenizer.decode(&ids));
            }
            constraint.accept(token).unwrap();
            ids.push(token);
        }
        None
    }

    fn factory() -> (GrammarFactory, Arc<Tokenizer>) {
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

    #[test]
    fn schemas_that_cannot_be_enforced_are_refused_with_the_reason() {
        let (factory, _) = factory();
        let refused = |schema: Value| factory.json_schema(&schema).err().expect("refused").to_string();
        assert!(refused(json!({"type": "strng"})).contains("strng"));
        assert!(
            refused(json!({"type": "integer", "minimum": 5, "maximum": 2})).contains("can't be enforced")
        );
        assert!(refused(json!({"type": "array", "uniqueItems": true})).contains("uniqueItems"));
        assert!(refused(json!([1])).contains("must be an object"));
        assert!(factory.json_schema(&json!(true)).is_ok());
    }
}

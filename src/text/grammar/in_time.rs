//! JSON that is whole before its tokens run out: when few are left, what closes comes before what goes on.

use std::sync::Arc;

use crate::engine::Constraint;
use crate::text::Tokenizer;

/// Tokens that closing takes beside one for each bracket that is open: for a string to end, and for properties that must
/// still come.
const TOKENS_TO_CLOSE: u32 = 48;

/// Tokens of a vocabulary by their first character, a bit each.
#[derive(Debug)]
pub struct Closers {
    /// `]` or `}`.
    brackets: Vec<u32>,
    /// `"`.
    quotes: Vec<u32>,
    /// `n`, the beginning of the shortest value that nothing must follow in, or a quote.
    short_values: Vec<u32>,
    /// `,`.
    commas: Vec<u32>,
}

impl Closers {
    /// Of the vocabulary of `tokenizer`.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let words = tokenizer.vocab_size().div_ceil(32);
        let beginning_with = |wanted: &[u8]| {
            let mut bits = vec![0u32; words];
            let begins =
                |id: &u32| tokenizer.decode_bytes(*id).first().is_some_and(|byte| wanted.contains(byte));
            let tokens = (0..tokenizer.vocab_size() as u32).filter(|&id| !tokenizer.is_control(id));
            tokens.filter(begins).for_each(|id| bits[id as usize / 32] |= 1 << (id % 32));
            bits
        };
        Self {
            brackets: beginning_with(b"]}"),
            quotes: beginning_with(b"\""),
            short_values: beginning_with(b"\"n"),
            commas: beginning_with(b","),
        }
    }
}

/// Holds `inner`, which writes JSON, to `tokens_max` tokens as far as it can be held: from where what is open must be closed,
/// only tokens that close are allowed wherever `inner` allows one.
pub fn in_time(
    inner: Box<dyn Constraint>,
    closers: Arc<Closers>,
    tokenizer: Arc<Tokenizer>,
    tokens_max: u32,
) -> Box<dyn Constraint> {
    Box::new(InTime { inner, closers, tokenizer, left: tokens_max, place: Place::default() })
}

struct InTime {
    inner: Box<dyn Constraint>,
    closers: Arc<Closers>,
    tokenizer: Arc<Tokenizer>,
    left: u32,
    place: Place,
}

/// Where in a JSON text a sequence is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    /// Brackets that are open.
    depth: u32,
    in_string: bool,
    /// Behind a backslash.
    escaped: bool,
}

impl Place {
    fn take(&mut self, byte: u8) {
        match (byte, self.in_string) {
            _ if self.escaped => self.escaped = false,
            (b'\\', true) => self.escaped = true,
            (b'"', _) => self.in_string = !self.in_string,
            (b'{' | b'[', false) => self.depth += 1,
            (b'}' | b']', false) => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

impl Constraint for InTime {
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), String> {
        self.inner.mask(allowed)?;
        if self.left > TOKENS_TO_CLOSE + self.place.depth || self.place.escaped {
            return Ok(());
        }
        let Closers { brackets, quotes, short_values, commas } = &*self.closers;
        let preferred: &[&Vec<u32>] =
            if self.place.in_string { &[quotes] } else { &[brackets, short_values, commas] };
        let closes =
            preferred.iter().find(|bits| allowed.iter().zip(**bits).any(|(word, bits)| word & bits != 0));
        if let Some(bits) = closes {
            // Rows of logits beyond the vocabulary are never allowed.
            allowed
                .iter_mut()
                .zip(bits.iter().chain(std::iter::repeat(&0)))
                .for_each(|(word, bits)| *word &= bits);
        }
        Ok(())
    }

    fn accept(&mut self, token: u32) -> Result<(), String> {
        self.inner.accept(token)?;
        self.left = self.left.saturating_sub(1);
        self.tokenizer.decode_bytes(token).iter().for_each(|&byte| self.place.take(byte));
        Ok(())
    }

    fn forced(&mut self) -> Vec<u32> {
        self.inner.forced()
    }

    fn snapshot(&self) -> Box<dyn Constraint> {
        Box::new(Self {
            inner: self.inner.snapshot(),
            closers: Arc::clone(&self.closers),
            tokenizer: Arc::clone(&self.tokenizer),
            ..*self
        })
    }

    fn finished(&mut self) -> bool {
        self.inner.finished()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::GrammarFactory;
    use crate::text::tokenizer::fixtures;
    use std::sync::Arc;

    /// Draws at random under `schema` with room for `tokens_max`; the text, and whether it ended.
    fn sampled(schema: &Value, tokens_max: u32, seed: u64) -> (String, bool) {
        let tokenizer = Arc::new(fixtures::byte_level(&["\" :", ", Ġ", "t r", "u e", "tr ue"]));
        let factory = GrammarFactory::new(Arc::clone(&tokenizer)).unwrap();
        let mut constraint = factory.within(factory.json_schema(schema).unwrap(), tokens_max);
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut ids = Vec::new();
        while (ids.len() as u32) < tokens_max {
            for token in constraint.forced() {
                constraint.accept(token).unwrap();
                ids.push(token);
            }
            if constraint.finished() {
                return (tokenizer.decode(&ids), true);
            }
            let mut mask = vec![0u32; tokenizer.vocab_size().div_ceil(32)];
            constraint.mask(&mut mask).unwrap();
            let candidates: Vec<u32> = (0..tokenizer.vocab_size() as u32)
                .filter(|id| mask[*id as usize / 32] & (1 << (id % 32)) != 0)
                .collect();
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let token = candidates[state as usize % candidates.len()];
            if tokenizer.end_of_generation().contains(&token) {
                return (tokenizer.decode(&ids), true);
            }
            constraint.accept(token).unwrap();
            ids.push(token);
        }
        (tokenizer.decode(&ids), false)
    }

    #[test]
    fn what_would_go_on_for_ever_is_closed_in_time() {
        let tree = json!({"$defs": {"t": {"type": "object", "properties": {
            "v": {"type": "string"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/t"}}},
            "required": ["v", "kids"], "additionalProperties": false}}, "$ref": "#/$defs/t"});
        let text = json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "number"}},
                          "required": ["a", "n"], "additionalProperties": false});
        for schema in
            [tree, text, json!({"type": "array", "items": {"type": "integer"}}), json!({"type": "object"})]
        {
            for seed in 1..12 {
                let (text, ended) = sampled(&schema, 160, seed);
                assert!(ended, "{schema}: {text}");
                serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            }
        }
    }
}

//! JSON that is whole before its tokens run out: when few are left, what closes comes before what goes on.

use std::sync::Arc;

use crate::engine::Constraint;
use crate::text::Tokenizer;

/// Tokens that closing takes beside one for each bracket that is open: for a string to end, and for properties that must
/// still come.
const TOKENS_TO_CLOSE: u32 = 48;

/// What writing a token does to how much is left to write: less is nearer to the end.
type Rank = u8;

/// Ranks of a vocabulary's tokens, outside of JSON's strings and inside.
#[derive(Debug)]
pub struct Closers {
    outside: Vec<Rank>,
    inside: Vec<Rank>,
}

impl Closers {
    /// Of the vocabulary of `tokenizer`.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let ids = 0..tokenizer.vocab_size() as u32;
        let rank_of = |id: u32, in_string: bool| match tokenizer.is_control(id) {
            // It ends the answer.
            true => 0,
            false => rank(tokenizer.decode_bytes(id), in_string),
        };
        let ranks = |in_string: bool| ids.clone().map(|id| rank_of(id, in_string)).collect();
        Self { outside: ranks(false), inside: ranks(true) }
    }

    /// Leaves of the allowed tokens those nearest to the end.
    fn narrow(&self, allowed: &mut [u32], in_string: bool) {
        let ranks = if in_string { &self.inside } else { &self.outside };
        let is_allowed = |allowed: &[u32], id: usize| allowed[id / 32] >> (id % 32) & 1 != 0;
        let ids = || 0..ranks.len().min(allowed.len() * 32);
        let Some(best) = ids().filter(|&id| is_allowed(allowed, id)).map(|id| ranks[id]).min() else {
            return;
        };
        for id in ids().filter(|&id| ranks[id] > best) {
            allowed[id / 32] &= !(1 << (id % 32));
        }
    }
}

/// The rank of a token that is written at such a place.
fn rank(bytes: &[u8], in_string: bool) -> Rank {
    // As deep as one can be, so that what is closed is seen.
    let deep = 1 << 16;
    let mut place = Place { depth: deep, in_string, escaped: false };
    bytes.iter().for_each(|&byte| place.take(byte));
    let net = i64::from(place.depth) - i64::from(deep);
    let first = bytes.iter().find(|byte| **byte != b' ');
    let has_brackets = bytes.iter().any(|byte| b"[]{}".contains(byte));
    match (net, first) {
        // A string that goes on.
        _ if in_string && !bytes.contains(&b'"') => 6,
        (..0, _) => 0,
        (0, _) if in_string => {
            if bytes.first() == Some(&b'"') {
                1
            } else {
                2
            }
        }
        (0, _) if has_brackets && !place.in_string => 1,
        // A string may be empty, and nothing need follow null.
        (0, Some(b'"' | b'n')) => 2,
        (0, Some(b',')) => 3,
        (0, _) => 4,
        (1, _) => 5,
        _ => 7,
    }
}

/// Holds `inner`, which writes JSON, to `tokens_max` tokens as far as it can be held: from where what is open must be closed,
/// of the tokens that `inner` allows only those nearest to the end are.
pub fn in_time(
    inner: Box<dyn Constraint>,
    closers: Arc<Closers>,
    tokenizer: Arc<Tokenizer>,
    tokens_max: u32,
) -> Box<dyn Constraint> {
    Box::new(InTime { inner, closers, tokenizer, tokens_max, left: tokens_max, place: Place::default() })
}

struct InTime {
    inner: Box<dyn Constraint>,
    closers: Arc<Closers>,
    tokenizer: Arc<Tokenizer>,
    tokens_max: u32,
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
        // Where few tokens were given, most of them are for what is asked.
        let to_close = TOKENS_TO_CLOSE.min(self.tokens_max / 4);
        if self.left > to_close + self.place.depth || self.place.escaped {
            return Ok(());
        }
        self.closers.narrow(allowed, self.place.in_string);
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
        let text = json!({"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}},
                          "required": ["a", "n"], "additionalProperties": false});
        for schema in
            [tree, text, json!({"type": "array", "items": {"type": "integer"}}), json!({"type": "object"})]
        {
            for seed in 1..12 {
                let (text, ended) = sampled(&schema, 160, seed);
                assert!(ended, "{schema}: {text}");
                // Of digits at random no number need come.
                serde_json::from_str::<serde::de::IgnoredAny>(&text)
                    .unwrap_or_else(|e| panic!("{e}: {text}"));
            }
        }
    }
}

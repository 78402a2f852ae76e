//! Finds special tokens in a text: the leftmost, and among those that begin there the longest.
//!
//! A search from left to right would look ahead as far as the longest token that might begin at a position, and again
//! after every short match. Instead an automaton of the reversed tokens reads the text once, from its end, and knows at
//! each position the longest token that begins there. So the time does not depend on what a file names as special.

use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind, PatternID};

use super::TokenizerError;

/// Bytes of all special tokens together. The automaton takes some 20 bytes for each byte; real files have 50 kB.
const TEXT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Matcher {
    /// Reads reversed bytes.
    automaton: NFA,
    /// By pattern id.
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    id: u32,
    bytes: usize,
}

impl Matcher {
    /// Among tokens with the same text, the first counts.
    pub(super) fn new(tokens: &[(u32, &str)]) -> Result<Self, TokenizerError> {
        let mut seen = HashSet::new();
        let tokens: Vec<(u32, &str)> =
            tokens.iter().copied().filter(|(_, text)| seen.insert(*text)).collect();
        if tokens.iter().map(|(_, text)| text.len()).sum::<usize>() > TEXT_BYTES_MAX {
            let problem = format!("its special tokens have more than {TEXT_BYTES_MAX} bytes together");
            return Err(TokenizerError::Damaged(problem));
        }
        let reversed = tokens.iter().map(|(_, text)| text.bytes().rev().collect::<Vec<u8>>());
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .build(reversed)
            .map_err(|e| TokenizerError::Damaged(format!("its special tokens are too many: {e}")))?;
        let tokens = tokens.iter().map(|&(id, text)| Token { id, bytes: text.len() }).collect();
        Ok(Self { automaton, tokens })
    }

    /// The positions of tokens, in ascending order and without overlaps.
    pub(super) fn find_all(&self, text: &str) -> impl Iterator<Item = (Range<usize>, u32)> {
        let mut end = 0;
        self.beginnings(text).into_iter().rev().filter_map(move |(at, pattern)| {
            let token = self.tokens[pattern.as_usize()];
            if at < end {
                return None;
            }
            end = at + token.bytes;
            Some((at..end, token.id))
        })
    }

    /// The token with exactly this text.
    pub(super) fn whole(&self, text: &str) -> Option<u32> {
        let (at, pattern) = *self.beginnings(text).last()?;
        let token = self.tokens[pattern.as_usize()];
        (at == 0 && token.bytes == text.len()).then_some(token.id)
    }

    /// Positions at which a token begins, in descending order, with the longest token there.
    fn beginnings(&self, text: &str) -> Vec<(usize, PatternID)> {
        let automaton = &self.automaton;
        let mut found = Vec::new();
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return found };
        for (at, &byte) in text.as_bytes().iter().enumerate().rev() {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_match(state) {
                // The longest pattern of a state comes first.
                found.push((at, automaton.match_pattern(state, 0)));
            }
        }
        found
    }
}

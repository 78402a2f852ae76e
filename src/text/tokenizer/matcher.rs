//! Finds special tokens in a text: the leftmost, and of those that begin there the longest.
//!
//! A search from left to right would have to look as far as the longest token that a place could begin, and again behind
//! every short one that it was in the end. So an automaton of the reversed tokens reads the text from its end, once, and
//! knows at each place the longest token that begins there. What a file names as special decides nothing about the time.

use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind, PatternID};

use super::TokenizerError;

/// All special tokens of a file together. The automaton takes some 20 bytes for each; real files have 50 kB.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// The texts of some tokens.
#[derive(Debug)]
pub(super) struct Matcher {
    /// Reads reversed bytes.
    automaton: NFA,
    /// By pattern.
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    id: u32,
    bytes: usize,
}

impl Matcher {
    /// Of tokens with the same text, the first counts.
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

    /// Where tokens stand, ascending, none in another.
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

    /// The token that has exactly this text.
    pub(super) fn whole(&self, text: &str) -> Option<u32> {
        let (at, pattern) = *self.beginnings(text).last()?;
        let token = self.tokens[pattern.as_usize()];
        (at == 0 && token.bytes == text.len()).then_some(token.id)
    }

    /// Places where a token begins, descending, with the longest that does.
    fn beginnings(&self, text: &str) -> Vec<(usize, PatternID)> {
        let automaton = &self.automaton;
        let mut found = Vec::new();
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return found };
        for (at, &byte) in text.as_bytes().iter().enumerate().rev() {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_match(state) {
                // A state's own pattern comes before those that are its ends, which are shorter.
                found.push((at, automaton.match_pattern(state, 0)));
            }
        }
        found
    }
}

//! Keeps an answer short enough to be complete within its tokens. When few tokens are left, a sampled token is accepted
//! only if some ending still fits behind it; otherwise the next token of the known ending takes its place. How an
//! ending is found is not known here.

use std::sync::Arc;

use llguidance::TokenParser;

use super::ending::{Ending, EndingSearch, JsonPosition, SearchHints, control_token_bytes};
use crate::Tokenizer;

/// Endings are searched only with fewer tokens left than this, plus what one token may add to the ending.
const SEARCHED_TOKENS: u32 = 512;
/// Most bytes of a number, and most digits of its exponent: many readers don't accept longer numbers.
const NUMBER_BYTES_MAX: u32 = 40;
const EXPONENT_DIGITS_MAX: u32 = 2;

/// How many tokens a sequence has left, and how it could end.
#[derive(Clone)]
pub(super) struct TokenBudget {
    tokenizer: Arc<Tokenizer>,
    search: EndingSearch,
    /// With more tokens left, every sampled token is accepted unchecked.
    unchecked_above: u32,
    /// Whether the grammar is of JSON.
    is_json: bool,
    /// Accepted tokens that `search` has not seen yet.
    unseen: Vec<u32>,
    position: JsonPosition,
    tokens_left: u32,
    /// The ending from here, if it is known.
    ending: Option<Ending>,
    /// No ending fits, so the answer will be cut off.
    cannot_end: bool,
    /// `search` can't follow any more, so the known ending is written as it is.
    search_failed: bool,
    /// The sampled token that was checked last, and the search and the ending behind it.
    checked: Option<(u32, EndingSearch, Ending)>,
}

impl TokenBudget {
    /// For a parser before its first token. `hints` are given for JSON, where a number that doesn't end is ended.
    pub(super) fn new(parser: &TokenParser, tokenizer: Arc<Tokenizer>, hints: Option<SearchHints>) -> Self {
        let is_json = hints.is_some();
        let required_bytes = hints.as_ref().map_or(0, |hints| hints.required_bytes_max);
        Self {
            tokenizer,
            search: EndingSearch::new(parser, hints),
            unchecked_above: SEARCHED_TOKENS.saturating_add(required_bytes),
            is_json,
            unseen: Vec::new(),
            position: JsonPosition::default(),
            tokens_left: u32::MAX,
            ending: None,
            cannot_end: false,
            search_failed: false,
            checked: None,
        }
    }

    /// A copy that shares nothing with this one.
    pub(super) fn deep_clone(&self) -> Self {
        Self { search: self.search.deep_clone(), ..self.clone() }
    }

    pub(super) fn limit(&mut self, tokens: u32) {
        self.tokens_left = tokens;
    }

    /// The token to take instead of `sampled`; the same if an ending still fits behind it.
    pub(super) fn replace_sampled(&mut self, sampled: u32) -> u32 {
        let position = self.position_after(sampled);
        let too_long = self.is_json
            && position.in_number
            && (position.number_bytes > NUMBER_BYTES_MAX || position.exponent_digits > EXPONENT_DIGITS_MAX);
        let is_unchecked = self.tokens_left > self.unchecked_above && !too_long;
        if is_unchecked || self.end_tokens().contains(&sampled) {
            return sampled;
        }
        if too_long && !self.search_failed {
            // The known ending may begin with more digits.
            self.ending = None;
        }
        let Some(ending) = self.ending().cloned() else { return sampled };
        let instead = ending.tokens.first().or(self.end_tokens().first()).copied().unwrap_or(sampled);
        if too_long || instead == sampled || self.search_failed {
            return instead;
        }
        let mut search = self.search.clone();
        if !search.accept(sampled) {
            return instead;
        }
        match search.ending(position, Some(&ending.bytes), self.tokens_left.saturating_sub(1) as usize) {
            Some(ending) => {
                self.checked = Some((sampled, search, ending));
                sampled
            }
            None => instead,
        }
    }

    /// Takes the next token of the answer.
    pub(super) fn accept(&mut self, token: u32) {
        let position = self.position_after(token);
        self.tokens_left = self.tokens_left.saturating_sub(1);
        match self.checked.take() {
            Some((checked, search, ending)) if checked == token => {
                (self.search, self.ending) = (search, Some(ending));
                self.unseen.clear();
            }
            _ => {
                self.unseen.push(token);
                let bytes = self.token_bytes(token);
                self.ending = self.ending.take().and_then(|ending| ending.after_token(token, &bytes));
            }
        }
        self.position = position;
    }

    /// Which tokens to append without sampling, given those that the grammar forces, in the tokenizer's spelling: the
    /// same if the rest still fits behind them, none if it doesn't, and the whole ending if no token is to be spared.
    pub(super) fn forced(&mut self, forced: Vec<u32>) -> Vec<u32> {
        if self.tokens_left > self.unchecked_above || self.cannot_end {
            return forced;
        }
        let left = self.tokens_left as usize;
        let Some(ending) = self.ending().cloned() else { return forced };
        if ending.tokens.len() >= left {
            return ending.tokens;
        }
        let bytes = forced.iter().map(|&token| self.token_bytes(token)).collect::<Vec<_>>().concat();
        // The ending's own tokens for the rest are as few as possible, or one more where a token spans the seam.
        let fits = ending.bytes.starts_with(&bytes) && {
            let rest = self.search.fewest_tokens(&ending.bytes[bytes.len()..]);
            rest.is_some_and(|rest| rest.len() + forced.len() < left)
        };
        if fits { forced } else { Vec::new() }
    }

    /// The ending from here. It is searched for if it isn't known.
    fn ending(&mut self) -> Option<&Ending> {
        if self.cannot_end {
            return None;
        }
        if !self.unseen.is_empty() {
            let accepted =
                std::mem::take(&mut self.unseen).into_iter().all(|token| self.search.accept(token));
            self.search_failed |= !accepted;
            self.cannot_end = self.search_failed && self.ending.is_none();
        }
        if self.ending.is_none() && !self.cannot_end {
            self.ending = self.search.ending(self.position, None, self.tokens_left as usize);
            self.cannot_end = self.ending.is_none();
        }
        self.ending.as_ref()
    }

    fn end_tokens(&self) -> &[u32] {
        self.tokenizer.end_of_generation()
    }

    /// The bytes by which a grammar knows a token.
    fn token_bytes(&self, token: u32) -> Vec<u8> {
        match self.tokenizer.is_control(token) {
            true => control_token_bytes(token),
            false => self.tokenizer.decode_bytes(token).to_vec(),
        }
    }

    fn position_after(&self, token: u32) -> JsonPosition {
        let bytes = if self.tokenizer.is_control(token) { b"" } else { self.tokenizer.decode_bytes(token) };
        bytes.iter().fold(self.position, |position, &byte| position.after(byte))
    }
}

//! Keeps an answer short enough to be whole: before a token is taken, there must be a way to the end that fits in the tokens
//! that are left. Where a sampled token leaves none, the next token of the way that is known takes its place.

use std::sync::Arc;

use llguidance::TokenParser;

use super::closing::{Closing, Way};
use super::hints::Hints;
use super::place::Place;
use crate::Tokenizer;

/// With so many more tokens left than one token may add to the way to the end, nothing is looked at.
const FAR_TOKENS: u32 = 512;
/// Bytes of a number, and digits of its exponent: what is longer is no number to many who read it.
const NUMBER_BYTES_MAX: u32 = 40;
const EXPONENT_DIGITS_MAX: u32 = 2;

/// How many tokens a sequence has left, and how it could end.
#[derive(Clone)]
pub(super) struct InTime {
    tokenizer: Arc<Tokenizer>,
    closing: Closing,
    /// With more tokens left, nothing is looked at.
    far: u32,
    /// Whether the grammar is of JSON.
    is_json: bool,
    /// Tokens that `closing` has not seen yet.
    behind: Vec<u32>,
    place: Place,
    left: u32,
    /// To the end from here.
    way: Option<Way>,
    /// There is no way that is short enough: what is written is cut off.
    hopeless: bool,
    /// `closing` can't follow any more: the way that is known is gone to its end.
    lost: bool,
    /// A token that was looked at, and what is behind it.
    next: Option<(u32, Closing, Way)>,
}

impl InTime {
    /// For a parser before its first token. With `hints`, which are of JSON, a number that never ends is ended.
    pub fn new(parser: &TokenParser, tokenizer: Arc<Tokenizer>, hints: Option<Hints>) -> Self {
        let is_json = hints.is_some();
        let far = FAR_TOKENS.saturating_add(hints.as_ref().map_or(0, |hints| hints.most_needed));
        let closing = Closing::new(parser, hints);
        let (behind, place) = (Vec::new(), Place::default());
        let (left, way, hopeless, lost, next) = (u32::MAX, None, false, false, None);
        Self { tokenizer, closing, far, behind, place, is_json, left, way, hopeless, lost, next }
    }

    /// A copy that shares nothing with this one.
    pub fn deep_clone(&self) -> Self {
        Self { closing: self.closing.deep_clone(), ..self.clone() }
    }

    /// Says how many tokens are left.
    pub fn limit(&mut self, tokens: u32) {
        self.left = tokens;
    }

    /// The token to append where `sampled` was sampled.
    pub fn replace_sampled(&mut self, sampled: u32) -> u32 {
        let place = self.behind(sampled);
        let too_long = self.is_json
            && place.in_number
            && (place.number_bytes > NUMBER_BYTES_MAX || place.exponent_digits > EXPONENT_DIGITS_MAX);
        if (self.left > self.far && !too_long) || self.ends().contains(&sampled) {
            return sampled;
        }
        if too_long && !self.lost {
            // The way that is known may begin with more digits.
            self.way = None;
        }
        let Some(way) = self.way().cloned() else { return sampled };
        let instead = way.tokens.first().or(self.ends().first()).copied().unwrap_or(sampled);
        if too_long || instead == sampled || self.lost {
            return instead;
        }
        let mut next = self.closing.clone();
        if !next.accept(sampled) {
            return instead;
        }
        match next.way(place, Some(&way.bytes), self.left.saturating_sub(1) as usize) {
            Some(way) => {
                self.next = Some((sampled, next, way));
                sampled
            }
            None => instead,
        }
    }

    /// Takes the token that was appended.
    pub fn accept(&mut self, token: u32) {
        let place = self.behind(token);
        self.left = self.left.saturating_sub(1);
        match self.next.take() {
            Some((seen, closing, way)) if seen == token => {
                (self.closing, self.way) = (closing, Some(way));
                self.behind.clear();
            }
            _ => {
                self.behind.push(token);
                self.way = self.way.take().and_then(|way| way.without(token, &self.word(token)));
            }
        }
        self.place = place;
    }

    /// Of the tokens that the grammar forces, in the tokenizer's words: those, where they leave enough tokens for the rest; the
    /// whole way, where no token is to be spared.
    pub fn forced(&mut self, forced: Vec<u32>) -> Vec<u32> {
        if self.left > self.far || self.hopeless {
            return forced;
        }
        let left = self.left as usize;
        let Some(way) = self.way().cloned() else { return forced };
        if way.tokens.len() >= left {
            return way.tokens;
        }
        let bytes = forced.iter().map(|&token| self.word(token)).collect::<Vec<_>>().concat();
        // The way's own tokens for the rest are as few as can be, or one more where a token spans the seam.
        let fits = way.bytes.starts_with(&bytes) && {
            let rest = self.closing.cut(&way.bytes[bytes.len()..]);
            rest.is_some_and(|rest| rest.len() + forced.len() < left)
        };
        if fits { forced } else { Vec::new() }
    }

    /// The way from here, looked for when it isn't known.
    fn way(&mut self) -> Option<&Way> {
        if self.hopeless {
            return None;
        }
        if !self.behind.is_empty() {
            let taken = std::mem::take(&mut self.behind).into_iter().all(|token| self.closing.accept(token));
            self.lost |= !taken;
            self.hopeless = self.lost && self.way.is_none();
        }
        if self.way.is_none() && !self.hopeless {
            self.way = self.closing.way(self.place, None, self.left as usize);
            self.hopeless = self.way.is_none();
        }
        self.way.as_ref()
    }

    fn ends(&self) -> &[u32] {
        self.tokenizer.end_of_generation()
    }

    /// The bytes by which a grammar knows a token.
    fn word(&self, token: u32) -> Vec<u8> {
        match self.tokenizer.is_control(token) {
            true => Way::control(token),
            false => self.tokenizer.decode_bytes(token).to_vec(),
        }
    }

    fn behind(&self, token: u32) -> Place {
        let bytes = if self.tokenizer.is_control(token) { b"" } else { self.tokenizer.decode_bytes(token) };
        bytes.iter().fold(self.place, |place, &byte| place.behind(byte))
    }
}

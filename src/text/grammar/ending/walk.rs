//! Walks along one path to the end of what a sequence has begun under a grammar. Bytes are tried on the parser itself
//! and taken back. The walk prefers closing brackets to opening them, and ends strings and numbers as soon as it may.

use std::collections::HashMap;
use std::sync::Arc;

use llguidance::earley::ParserRecognizer;
use llguidance::earley::regexvec::StateID;
use toktrie::{Recognizer, TokTrie};

use super::hints::SearchHints;
use super::json_position::JsonPosition;
use super::lexer_states::{ByteSet, StateCache};
use super::multiples::NumberPrefix;

/// The cost of trying every possible next byte, in tried bytes.
const ANY_BYTE_COST: u32 = 16;
/// The cost of computing how a number can be completed under one `multipleOf`, in tried bytes.
const MULTIPLE_COST: u32 = 64;
/// Most tried bytes for a second rest of a string when the shortest is known.
const SECOND_REST_BUDGET: u32 = 20_000;
/// The characters of numbers; the shortest ending never needs an exponent.
const DIGITS: &[u8] = b"0123456789-.";

/// What all walks of one search share.
pub(super) struct SearchContext<'a> {
    pub trie: &'a TokTrie,
    pub states: &'a StateCache,
    pub hints: &'a SearchHints,
}

/// How a walk decides where it has a choice.
#[derive(Clone, Default)]
pub(super) struct Choices {
    /// The alternative taken at the n-th choice; the first one beyond the list.
    pub taken: Vec<usize>,
    /// Whether strings end in the fewest tokens instead of the fewest bytes.
    pub by_tokens: bool,
}

/// The result of a walk.
pub(super) enum Outcome {
    Complete(Vec<u8>),
    /// The text may be complete here, but only the parser knows.
    MaybeComplete(Vec<u8>),
    NoEnding,
}

/// The bytes that are being tried, and where they lead.
pub(super) struct Walk<'a, 'p> {
    parser: &'a mut ParserRecognizer<'p>,
    pub trie: &'a TokTrie,
    pub states: &'a StateCache,
    hints: &'a SearchHints,
    path: Vec<u8>,
    positions: Vec<JsonPosition>,
    start: JsonPosition,
    /// How many bytes may still be tried.
    pub budget: u32,
    choices: &'a Choices,
    /// How many choices were made so far.
    choice: usize,
    /// Whether the whole answer is one number, which is written in its shortest form.
    is_number: bool,
    /// Earlier results of [`Walk::number_completions`].
    number_completions: HashMap<NumberPrefix, Arc<[Vec<u8>]>>,
}

impl<'a, 'p> Walk<'a, 'p> {
    pub(super) fn new(
        parser: &'a mut ParserRecognizer<'p>,
        context: &SearchContext<'a>,
        start: JsonPosition,
        budget: u32,
        choices: &'a Choices,
    ) -> Self {
        let (path, positions) = (Vec::new(), Vec::new());
        let SearchContext { trie, states, hints } = *context;
        Self {
            parser,
            trie,
            states,
            hints,
            path,
            positions,
            start,
            budget,
            choices,
            choice: 0,
            is_number: false,
            number_completions: HashMap::new(),
        }
    }

    /// Continues after `path` to the end. It is known already that the text is incomplete after `incomplete_after`
    /// bytes.
    pub(super) fn run(&mut self, path: &[u8], incomplete_after: Option<usize>) -> Outcome {
        if !path.iter().all(|&byte| self.push(byte)) {
            return Outcome::NoEnding;
        }
        while self.budget > 0 {
            let position = self.position();
            if position.is_outside()
                && position.begun
                && incomplete_after.is_none_or(|bytes| bytes < self.path.len())
            {
                return Outcome::MaybeComplete(std::mem::take(&mut self.path));
            }
            let moved = if position.in_string { self.end_string() } else { self.step() };
            if self.is_number {
                return if moved {
                    Outcome::Complete(std::mem::take(&mut self.path))
                } else {
                    Outcome::NoEnding
                };
            }
            if !moved {
                // If nothing may follow, the text is complete.
                return match position.in_string || self.budget == 0 {
                    true => Outcome::NoEnding,
                    false => Outcome::Complete(std::mem::take(&mut self.path)),
                };
            }
        }
        Outcome::NoEnding
    }

    pub(super) fn position(&self) -> JsonPosition {
        self.positions.last().copied().unwrap_or(self.start)
    }

    pub(super) fn path_len(&self) -> usize {
        self.path.len()
    }

    pub(super) fn lexer_state(&self) -> StateID {
        self.parser.lexer_state()
    }

    /// Whether a lexeme may end in this state.
    pub(super) fn may_end(&mut self, state: StateID) -> bool {
        !self.parser.lexer_mut().try_lexeme_end(state).is_error()
    }

    pub(super) fn spend(&mut self, cost: u32) -> bool {
        self.budget = self.budget.saturating_sub(cost);
        self.budget > 0
    }

    fn push(&mut self, byte: u8) -> bool {
        if !self.spend(1) || !self.parser.try_push_byte(byte) {
            return false;
        }
        self.positions.push(self.position().after(byte));
        self.path.push(byte);
        true
    }

    /// The state after a byte, which is taken back.
    pub(super) fn try_byte(&mut self, byte: u8) -> Option<StateID> {
        let state = self.parser.try_push_byte(byte).then(|| self.parser.lexer_state())?;
        self.parser.pop_bytes(1);
        Some(state)
    }

    fn allows(&mut self, byte: u8) -> bool {
        self.spend(1) && self.parser.byte_allowed(byte)
    }

    fn back_to(&mut self, length: usize) {
        self.parser.pop_bytes(self.path.len() - length);
        self.path.truncate(length);
        self.positions.truncate(length);
    }

    /// Changes the path after its first `from` bytes to `tail`, keeping the common part.
    pub(super) fn go_to(&mut self, from: usize, tail: &[u8]) -> bool {
        let same = self.path[from..].iter().zip(tail).take_while(|(a, b)| a == b).count();
        self.back_to(from + same);
        tail[same..].iter().all(|&byte| self.push(byte))
    }

    /// The alternative to take at the next choice.
    fn next_choice(&mut self) -> usize {
        self.choice += 1;
        self.choices.taken.get(self.choice - 1).copied().unwrap_or(0)
    }

    fn step(&mut self) -> bool {
        if [b'}', b']'].into_iter().any(|byte| self.push(byte)) {
            return true;
        }
        if self.position().after_value && self.push(b',') {
            return true;
        }
        if self.position().in_number {
            return self.end_number();
        }
        let mut first_bytes: Vec<u8> = Vec::new();
        if (b'0'..=b'9').any(|digit| self.allows(digit)) {
            first_bytes.push(b'0');
        }
        first_bytes
            .extend([b'n', b't', b'f', b'"', b'[', b'{', b'-'].into_iter().filter(|&byte| self.allows(byte)));
        if first_bytes.is_empty() {
            return self.byte_outside_json();
        }
        let chosen = if first_bytes.len() > 1 { self.next_choice().min(first_bytes.len() - 1) } else { 0 };
        match first_bytes[chosen] {
            b'0' | b'-' => self.end_number(),
            byte => self.push(byte),
        }
    }

    /// One byte of text that is not JSON, such as the marks around calls. White space comes last, as more text follows
    /// it.
    fn byte_outside_json(&mut self) -> bool {
        if !self.spend(ANY_BYTE_COST) {
            return false;
        }
        let mut others: Vec<u8> = (0..=u8::MAX).filter(|&byte| self.parser.byte_allowed(byte)).collect();
        others.sort_by_key(u8::is_ascii_whitespace);
        let chosen = if others.len() > 1 { self.next_choice().min(others.len() - 1) } else { 0 };
        others.get(chosen).is_some_and(|&byte| self.push(byte))
    }

    fn end_number(&mut self) -> bool {
        self.is_number = self.position().is_only_number || !self.position().begun;
        let alone = self.is_number;
        let ended = |walk: &mut Self| {
            let ends = |walk: &mut Self| match alone {
                // A lexeme that can't continue has ended already.
                true => {
                    walk.may_end(walk.parser.lexer_state()) || !DIGITS.iter().any(|&byte| walk.allows(byte))
                }
                false => [b'}', b']', b','].into_iter().any(|byte| walk.allows(byte)),
            };
            walk.path_len() > 0 && walk.position().in_number && ends(walk)
        };
        let (from, prefix) = (self.path.len(), self.position().number);
        if !self.hints.multiples.is_empty() {
            // Numbers without such a rule end at once or after one digit.
            let digits = (b'0'..=b'9').map(|digit| vec![digit]);
            let completions = self.number_completions(prefix);
            let mut all = std::iter::once(Vec::new()).chain(digits).chain(completions.iter().cloned());
            if all.any(|rest| self.go_to(from, &rest) && ended(self)) {
                return true;
            }
            self.back_to(from);
        }
        self.shortest_lexeme(DIGITS, &ended)
    }

    /// The texts that make the number a multiple, for every `multipleOf` of the schema, short ones first.
    fn number_completions(&mut self, prefix: NumberPrefix) -> Arc<[Vec<u8>]> {
        if let Some(known) = self.number_completions.get(&prefix) {
            return Arc::clone(known);
        }
        let hints = self.hints;
        let mut completions: Vec<_> = Vec::new();
        for multiples in &hints.multiples {
            if !self.spend(MULTIPLE_COST) {
                break;
            }
            completions.extend(multiples.completions(prefix));
        }
        completions.sort_by_key(Vec::len);
        completions.dedup();
        let completions: Arc<[Vec<u8>]> = completions.into();
        self.number_completions.insert(prefix, Arc::clone(&completions));
        completions
    }

    /// Writes the shortest rest of a string and its closing quote.
    fn end_string(&mut self) -> bool {
        let from = self.path.len();
        let Some(shortest) = self.shortest_rest(from, 0) else { return false };
        let first = self.required_name(from).unwrap_or_else(|| shortest.clone());
        let chosen = if self.is_choice(from, &shortest) { self.next_choice() } else { 0 };
        let rest = match chosen {
            0 if self.choices.by_tokens && first == shortest => {
                self.rest_in_fewest_tokens(from).or_else(|| self.shortest_rest_of(from, 0, ByteSet::All))
            }
            0 => None,
            chosen if first != shortest => self.shortest_rest(from, chosen - 1),
            chosen => self.shortest_rest(from, chosen),
        };
        self.go_to(from, &rest.unwrap_or(first)) && self.push(b'"')
    }

    /// Whether the string may end in ways that lead to different states: names do, other texts lead to one state.
    fn is_choice(&mut self, from: usize, shortest: &[u8]) -> bool {
        let before = self.budget;
        self.budget = before.min(SECOND_REST_BUDGET);
        let other = self.shortest_rest(from, 1);
        self.budget += before - before.min(SECOND_REST_BUDGET);
        self.back_to(from);
        let Some(other) = other else { return false };
        if self.position().is_name {
            return true;
        }
        let mut state_after = |rest: &[u8]| self.go_to(from, rest).then(|| self.try_byte(b'"'));
        state_after(shortest) != state_after(&other)
    }

    /// The first required name that may be written here, unless any name may.
    fn required_name(&mut self, from: usize) -> Option<Vec<u8>> {
        self.back_to(from);
        if self.path.last() != Some(&b'"') || !self.position().is_name || self.allows(b'"') {
            return None;
        }
        let hints = self.hints;
        let name = hints.names.iter().find(|name| {
            let fits = name.iter().all(|&byte| self.push(byte)) && self.allows(b'"');
            self.back_to(from);
            fits
        });
        name.cloned()
    }
}

//! Searches for a short ending: the bytes and tokens that complete what a sequence has begun under a grammar.
//! [`super::token_budget`] asks for one before it accepts a token, so that an answer is complete when its tokens are
//! used up.
//!
//! A [`walk`] tries bytes on a copy of the parser and follows one path to the end: it closes brackets where it may, and
//! completes strings and numbers by their shortest rest ([`lexemes`], [`multiples`]). The schema's [`hints`] say what
//! must still be written. If the ending as a whole is too long, the choices of the walk are changed one after the
//! other.

mod hints;
mod json_position;
mod lexemes;
mod lexer_states;
mod multiples;
mod required_bytes;
mod walk;

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::TokenParser;
use llguidance::earley::{BiasComputer, ParserRecognizer};
use toktrie::{Recognizer, SimpleVob, TokEnv, TokTrie};

use lexer_states::StateCache;
use walk::{Choices, Outcome, SearchContext, Walk};

pub(super) use hints::SearchHints;
pub(super) use json_position::JsonPosition;

/// Bytes tried in one search: some milliseconds.
const TRIED_BYTES_MAX: u32 = 250_000;
/// Endings tried if the first one is too long.
const ATTEMPTS_MAX: usize = 48;
/// Choices of a walk that are changed.
const CHOICES_MAX: usize = 24;
/// Alternatives tried at one choice.
const ALTERNATIVES_MAX: usize = 4;
/// The bytes by which a grammar knows a control token begin with this; its id in brackets follows.
const MARKER: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// The bytes that complete an answer, and the tokens that spell them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    pub bytes: Vec<u8>,
    pub tokens: Vec<u32>,
    /// Whether the grammar allows nothing after it. Otherwise the end of sequence needs one more token.
    pub is_closed: bool,
}

/// The bytes by which a grammar knows a control token.
pub(super) fn control_token_bytes(token: u32) -> Vec<u8> {
    [&[MARKER][..], format!("[{token}]").as_bytes()].concat()
}

impl Ending {
    /// The rest of the ending after `token`, whose bytes are `bytes`; `None` if the ending begins with another token.
    pub(super) fn after_token(mut self, token: u32, bytes: &[u8]) -> Option<Self> {
        if self.tokens.first() != Some(&token) || !self.bytes.starts_with(bytes) {
            return None;
        }
        self.tokens.remove(0);
        self.bytes.drain(..bytes.len());
        Some(self)
    }

    /// Tokens up to and including the end of sequence.
    pub(super) fn tokens_needed(&self) -> usize {
        self.tokens.len() + usize::from(!self.is_closed)
    }
}

#[derive(Clone)]
pub(super) struct EndingSearch {
    /// The grammar's state after the tokens that were accepted.
    parser: TokenParser,
    states: StateCache,
    /// `None` if the answer is not JSON.
    hints: Option<Arc<SearchHints>>,
}

impl EndingSearch {
    /// For a parser before its first token. The search works on a copy, so it spends none of the sequence's own fuel,
    /// and a limit that it hits only leaves the ending unknown.
    pub(super) fn new(parser: &TokenParser, hints: Option<SearchHints>) -> Self {
        let mut parser = parser.deep_clone();
        if parser.is_fresh() {
            parser.start_without_prompt();
        }
        Self { parser, states: StateCache::default(), hints: hints.map(Arc::new) }
    }

    pub(super) fn deep_clone(&self) -> Self {
        let (parser, hints) = (self.parser.deep_clone(), self.hints.clone());
        Self { parser, states: StateCache::default(), hints }
    }

    /// Takes a token; `false` when it is not allowed, or when an earlier search exhausted the parser's limits.
    pub(super) fn accept(&mut self, token: u32) -> bool {
        self.parser.consume_token(token).is_ok()
    }

    /// An ending of at most `tokens_max` tokens from `position`. The bytes of the ending `known` are tried first.
    pub(super) fn ending(
        &mut self,
        position: JsonPosition,
        known: Option<&[u8]>,
        tokens_max: usize,
    ) -> Option<Ending> {
        if let Some(ending) = known.and_then(|bytes| self.still_valid(position, bytes))
            && ending.tokens_needed() <= tokens_max
        {
            return Some(ending);
        }
        if self.hints.is_none() {
            return self.non_json_ending(tokens_max);
        }
        let mut tried = 0;
        let tokens_needed =
            |ending: &Option<Ending>| ending.as_ref().map_or(usize::MAX, Ending::tokens_needed);
        let mut choices = Choices::default();
        let mut best = self.walk(position, &choices, &mut tried);
        if tokens_needed(&best) > tokens_max {
            choices.by_tokens = true;
            let other = self.walk(position, &choices, &mut tried);
            if tokens_needed(&other) < tokens_needed(&best) {
                best = other;
            }
        }
        let (mut at, mut attempts) = (0, 1);
        while tokens_needed(&best) > tokens_max
            && at < CHOICES_MAX
            && attempts < ATTEMPTS_MAX
            && tried < TRIED_BYTES_MAX
        {
            let mut better = false;
            choices.taken.resize(at + 1, 0);
            for other in 1..=ALTERNATIVES_MAX {
                choices.taken[at] = other;
                attempts += 1;
                let ending = self.walk(position, &choices, &mut tried);
                if tokens_needed(&ending) < tokens_needed(&best) {
                    (best, better) = (ending, true);
                    break;
                }
            }
            if !better {
                choices.taken[at] = 0;
            }
            at += 1;
        }
        best.filter(|ending| ending.tokens_needed() <= tokens_max)
    }

    /// The ending with these bytes, if it is still one in the current state.
    fn still_valid(&mut self, position: JsonPosition, bytes: &[u8]) -> Option<Ending> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let rest = bytes.strip_prefix(&forced[..])?;
        if !self.with_recognizer(|parser| rest.iter().all(|&byte| parser.try_push_byte(byte)))? {
            return None;
        }
        let end = bytes.iter().fold(position, |position, &byte| position.after(byte));
        match end.is_closed() && self.hints.as_ref().is_some_and(|hints| hints.is_one_value) {
            true => self.fewest_tokens(bytes).map(|tokens| Ending {
                bytes: bytes.to_vec(),
                tokens,
                is_closed: true,
            }),
            false => self.verified(bytes),
        }
    }

    /// Walks once with these choices. Asks the parser wherever the text may be complete.
    fn walk(&mut self, position: JsonPosition, choices: &Choices, tried: &mut u32) -> Option<Ending> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let position = forced.iter().fold(position, |position, &byte| position.after(byte));
        let (mut path, mut incomplete_after) = (Vec::new(), None);
        loop {
            let budget = TRIED_BYTES_MAX.saturating_sub(*tried);
            let (environment, states, hints) = self.shared_context();
            let context =
                SearchContext { trie: environment.tok_trie(), states: &states, hints: hints.as_deref()? };
            let (found, left) = self.with_recognizer(|parser| {
                let mut walk = Walk::new(parser, &context, position, budget, choices);
                (walk.run(&path, incomplete_after), walk.budget)
            })?;
            *tried += budget - left;
            match found {
                Outcome::NoEnding => return None,
                Outcome::Complete(bytes) => return self.verified(&[forced, bytes].concat()),
                Outcome::MaybeComplete(bytes) => {
                    if let Some(ending) = self.verified(&[&forced[..], &bytes].concat()) {
                        return Some(ending);
                    }
                    (incomplete_after, path) = (Some(bytes.len()), bytes);
                }
            }
        }
    }

    /// An ending of an answer that is not JSON.
    fn non_json_ending(&mut self, tokens_max: usize) -> Option<Ending> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let (environment, states, _) = self.shared_context();
        let context =
            SearchContext { trie: environment.tok_trie(), states: &states, hints: &SearchHints::default() };
        let choices = Choices::default();
        let texts = self.with_recognizer(|parser| {
            Walk::new(parser, &context, JsonPosition::default(), TRIED_BYTES_MAX, &choices).complete_texts()
        })?;
        let mut endings = texts.into_iter().filter_map(|text| self.verified(&[&forced[..], &text].concat()));
        endings.find(|ending| ending.tokens_needed() <= tokens_max)
    }

    fn shared_context(&self) -> (TokEnv, StateCache, Option<Arc<SearchHints>>) {
        (self.parser.token_env.clone(), self.states.clone(), self.hints.clone())
    }

    /// Runs `f` with the fuel of one step.
    fn with_recognizer<T: Send>(
        &mut self,
        f: impl FnOnce(&mut ParserRecognizer<'_>) -> T + Send,
    ) -> Option<T> {
        let environment = self.parser.token_env.clone();
        let mut out = None;
        let run = |parser: &mut ParserRecognizer<'_>| {
            parser.trie_started("closing");
            out = Some(f(parser));
            parser.trie_finished();
        };
        let step = Step { trie: environment.tok_trie(), run: Mutex::new(Some(run)) };
        // llguidance caches masks only for an empty start, so this passes a non-empty one.
        let _ = self.parser.parser.compute_bias(&step, b"closing");
        drop(step);
        out
    }

    /// The ending with these bytes, if the parser accepts it, token by token.
    fn verified(&self, bytes: &[u8]) -> Option<Ending> {
        let tokens = self.fewest_tokens(bytes)?;
        let mut parser = self.parser.clone();
        if !tokens.iter().all(|&token| parser.consume_token(token).is_ok()) || !parser.is_accepting() {
            return None;
        }
        let is_closed = parser.check_stop().unwrap_or(false);
        Some(Ending { bytes: bytes.to_vec(), tokens, is_closed })
    }

    /// Spells bytes in the fewest tokens.
    pub(super) fn fewest_tokens(&self, bytes: &[u8]) -> Option<Vec<u32>> {
        let trie = self.parser.token_env.tok_trie();
        let mut fewest: Vec<Option<(usize, usize, u32)>> = vec![None; bytes.len() + 1];
        fewest[0] = Some((0, 0, 0));
        for start in 0..bytes.len() {
            let Some((count, ..)) = fewest[start] else { continue };
            let mut reach = |end: usize, token: u32| {
                if fewest[end].is_none_or(|(other, ..)| other > count + 1) {
                    fewest[end] = Some((count + 1, start, token));
                }
            };
            if bytes[start] == MARKER {
                let length = bytes[start..].iter().position(|&byte| byte == b']')?;
                let id = std::str::from_utf8(&bytes[start + 2..start + length]).ok()?;
                reach(start + length + 1, id.parse().ok()?);
                continue;
            }
            let mut node = trie.root();
            for (at, &byte) in bytes.iter().enumerate().skip(start) {
                match trie.child_at_byte(node, byte) {
                    Some(child) => node = child,
                    None => break,
                }
                if let Some(token) = node.token_id() {
                    reach(at + 1, token);
                }
            }
        }
        let mut tokens = Vec::new();
        let mut end = bytes.len();
        while end > 0 {
            let (_, start, token) = fewest[end]?;
            tokens.push(token);
            end = start;
        }
        tokens.reverse();
        Some(tokens)
    }
}

/// Wraps an attempt in the trait for which the parser grants the fuel of a step.
struct Step<'t, F> {
    trie: &'t TokTrie,
    run: Mutex<Option<F>>,
}

impl<F: FnOnce(&mut ParserRecognizer<'_>) + Send> BiasComputer for Step<'_, F> {
    fn compute_bias(&self, parser: &mut ParserRecognizer<'_>, _: &[u8]) -> SimpleVob {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(run) = run {
            run(parser);
        }
        self.trie.alloc_token_set()
    }

    fn trie(&self) -> &TokTrie {
        self.trie
    }
}

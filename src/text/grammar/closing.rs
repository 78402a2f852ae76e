//! Searches for a short way to the end of what a sequence has begun under a grammar. Strings and numbers are completed
//! by their shortest rest. If the way as a whole is too long, its choices are changed one after the other.

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::TokenParser;
use llguidance::earley::{BiasComputer, ParserRecognizer};
use toktrie::{Recognizer, SimpleVob, TokEnv, TokTrie};

use super::hints::Hints;
use super::place::Place;
use super::states::States;
use super::walk::{Choices, Found, Surroundings, Walk};

/// Bytes tried in one search: some milliseconds.
const TRIED_MAX: u32 = 250_000;
/// Ways tried if the first one is too long.
const WAYS_MAX: usize = 48;
/// Choices of a way that are changed.
const CHOICES_MAX: usize = 24;
/// Alternatives tried at one choice.
const TAKEN_MAX: usize = 4;
/// The bytes by which a grammar knows a control token begin with this; its id in brackets follows.
const MARKER: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// A way to the end: the bytes to write and the tokens that spell them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Way {
    pub bytes: Vec<u8>,
    pub tokens: Vec<u32>,
    /// Whether the grammar allows nothing after it. Otherwise the end of sequence needs one more token.
    pub is_closed: bool,
}

impl Way {
    pub fn control(token: u32) -> Vec<u8> {
        [&[MARKER][..], format!("[{token}]").as_bytes()].concat()
    }

    /// The rest of the way after its first token, which is spelled `word`; `None` if `token` is not its first token.
    pub fn without(mut self, token: u32, word: &[u8]) -> Option<Self> {
        if self.tokens.first() != Some(&token) || !self.bytes.starts_with(word) {
            return None;
        }
        self.tokens.remove(0);
        self.bytes.drain(..word.len());
        Some(self)
    }

    /// Tokens to the end of sequence.
    pub fn needs(&self) -> usize {
        self.tokens.len() + usize::from(!self.is_closed)
    }
}

#[derive(Clone)]
pub(super) struct Closing {
    /// The grammar's state after the tokens that were accepted.
    parser: TokenParser,
    states: States,
    /// `None` if the answer is not JSON.
    hints: Option<Arc<Hints>>,
}

impl Closing {
    /// For a parser before its first token. The search works on a copy, so it spends none of the sequence's own fuel,
    /// and a limit that it hits only leaves the way unknown.
    pub fn new(parser: &TokenParser, hints: Option<Hints>) -> Self {
        let mut parser = parser.deep_clone();
        if parser.is_fresh() {
            parser.start_without_prompt();
        }
        Self { parser, states: States::default(), hints: hints.map(Arc::new) }
    }

    pub fn deep_clone(&self) -> Self {
        let (parser, hints) = (self.parser.deep_clone(), self.hints.clone());
        Self { parser, states: States::default(), hints }
    }

    /// Takes a token; `false` when it is not allowed, or when an earlier search exhausted the parser's limits.
    pub fn accept(&mut self, token: u32) -> bool {
        self.parser.consume_token(token).is_ok()
    }

    /// A way of at most `tokens_max` tokens from `place`. The way `known` is tried first.
    pub fn way(&mut self, place: Place, known: Option<&[u8]>, tokens_max: usize) -> Option<Way> {
        if let Some(way) = known.and_then(|bytes| self.still_a_way(place, bytes))
            && way.needs() <= tokens_max
        {
            return Some(way);
        }
        if self.hints.is_none() {
            return self.text(tokens_max);
        }
        let mut tried = 0;
        let needs = |way: &Option<Way>| way.as_ref().map_or(usize::MAX, Way::needs);
        let mut choices = Choices::default();
        let mut best = self.walk(place, &choices, &mut tried);
        if needs(&best) > tokens_max {
            choices.by_tokens = true;
            let other = self.walk(place, &choices, &mut tried);
            if needs(&other) < needs(&best) {
                best = other;
            }
        }
        let (mut at, mut ways) = (0, 1);
        while needs(&best) > tokens_max && at < CHOICES_MAX && ways < WAYS_MAX && tried < TRIED_MAX {
            let mut better = false;
            choices.taken.resize(at + 1, 0);
            for other in 1..=TAKEN_MAX {
                choices.taken[at] = other;
                ways += 1;
                let way = self.walk(place, &choices, &mut tried);
                if needs(&way) < needs(&best) {
                    (best, better) = (way, true);
                    break;
                }
            }
            if !better {
                choices.taken[at] = 0;
            }
            at += 1;
        }
        best.filter(|way| way.needs() <= tokens_max)
    }

    /// The old way as seen from here, if it still leads to the end.
    fn still_a_way(&mut self, place: Place, bytes: &[u8]) -> Option<Way> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let rest = bytes.strip_prefix(&forced[..])?;
        if !self.trying(|parser| rest.iter().all(|&byte| parser.try_push_byte(byte)))? {
            return None;
        }
        let end = bytes.iter().fold(place, |place, &byte| place.behind(byte));
        match end.is_closed() && self.hints.as_ref().is_some_and(|hints| hints.is_one_value) {
            true => self.cut(bytes).map(|tokens| Way { bytes: bytes.to_vec(), tokens, is_closed: true }),
            false => self.checked(bytes),
        }
    }

    fn walk(&mut self, place: Place, choices: &Choices, tried: &mut u32) -> Option<Way> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let place = forced.iter().fold(place, |place, &byte| place.behind(byte));
        let (mut path, mut asked) = (Vec::new(), None);
        loop {
            let budget = TRIED_MAX.saturating_sub(*tried);
            let (environment, states, hints) = self.surroundings();
            let around =
                Surroundings { trie: environment.tok_trie(), states: &states, hints: hints.as_deref()? };
            let (found, left) = self.trying(|parser| {
                let mut walk = Walk::new(parser, &around, place, budget, choices);
                (walk.run(&path, asked), walk.budget)
            })?;
            *tried += budget - left;
            match found {
                Found::Nothing => return None,
                Found::End(bytes) => return self.checked(&[forced, bytes].concat()),
                Found::Perhaps(bytes) => {
                    if let Some(way) = self.checked(&[&forced[..], &bytes].concat()) {
                        return Some(way);
                    }
                    (asked, path) = (Some(bytes.len()), bytes);
                }
            }
        }
    }

    /// A way to the end of an answer that is not JSON.
    fn text(&mut self, tokens_max: usize) -> Option<Way> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let (environment, states, _) = self.surroundings();
        let around = Surroundings { trie: environment.tok_trie(), states: &states, hints: &Hints::default() };
        let choices = Choices::default();
        let texts = self.trying(|parser| {
            Walk::new(parser, &around, Place::default(), TRIED_MAX, &choices).whole_texts()
        })?;
        let mut ways = texts.into_iter().filter_map(|text| self.checked(&[&forced[..], &text].concat()));
        ways.find(|way| way.needs() <= tokens_max)
    }

    fn surroundings(&self) -> (TokEnv, States, Option<Arc<Hints>>) {
        (self.parser.token_env.clone(), self.states.clone(), self.hints.clone())
    }

    /// Runs `f` with the fuel of one step.
    fn trying<T: Send>(&mut self, f: impl FnOnce(&mut ParserRecognizer<'_>) -> T + Send) -> Option<T> {
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

    /// The way, if the parser accepts it to the end, token by token.
    fn checked(&self, bytes: &[u8]) -> Option<Way> {
        let tokens = self.cut(bytes)?;
        let mut parser = self.parser.clone();
        if !tokens.iter().all(|&token| parser.consume_token(token).is_ok()) || !parser.is_accepting() {
            return None;
        }
        let is_closed = parser.check_stop().unwrap_or(false);
        Some(Way { bytes: bytes.to_vec(), tokens, is_closed })
    }

    /// Spells bytes in the fewest tokens.
    pub fn cut(&self, bytes: &[u8]) -> Option<Vec<u32>> {
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

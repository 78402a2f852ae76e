//! Looks for a short way to the end of what a grammar has begun: bytes are tried on the parser itself and taken back. What
//! closes goes before what opens, texts and numbers end as soon as they may. Whether it is the shortest way of all is not
//! known, but where it is too long, each choice on it is tried the other way.

use std::collections::HashMap;
use std::sync::Arc;

use llguidance::TokenParser;
use toktrie::{Recognizer, TokTrie};

use super::place::Place;

/// Bytes that may be tried in one search: some milliseconds.
const TRIED_MAX: u32 = 120_000;
/// Ways that are tried in all where the first is too long.
const WAYS_MAX: usize = 48;
/// Choices on a way that are tried the other way.
const CHOICES_MAX: usize = 24;
/// Texts that are looked at side by side while the end of a string is looked for.
const BESIDE_MAX: usize = 24;
/// As many of these may allow the same next bytes.
const ALIKE_MAX: usize = 3;
/// So many characters allowed next mean that any will do.
const ANY_FROM: usize = 90;
/// Begins the bytes by which a control token is known to a grammar: this, and its id in brackets.
const MARKER: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// A way to the end: the bytes to write and how many tokens they take.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Way {
    pub bytes: Vec<u8>,
    pub tokens: Vec<u32>,
}

impl Way {
    /// The bytes of a control token.
    pub fn control(token: u32) -> Vec<u8> {
        [&[MARKER][..], format!("[{token}]").as_bytes()].concat()
    }

    /// What is left of it behind its first token, which is spelt `word`; nothing when that is another.
    pub fn without(mut self, token: u32, word: &[u8]) -> Option<Self> {
        if self.tokens.first() != Some(&token) || !self.bytes.starts_with(word) {
            return None;
        }
        self.tokens.remove(0);
        self.bytes.drain(..word.len());
        Some(self)
    }

    /// Tokens to the end from `place`: where no bracket closes it, the end has to be drawn.
    fn needs(&self, place: Place) -> usize {
        let end = self.bytes.iter().fold(place, |place, &byte| place.behind(byte));
        self.tokens.len() + usize::from(!end.is_closed())
    }
}

/// Finds ways to the end of one sequence.
#[derive(Clone)]
pub(super) struct Closing {
    /// Behind the tokens that were written.
    parser: TokenParser,
    /// Texts by which strings may end.
    examples: Arc<[Vec<u8>]>,
}

impl Closing {
    /// For a parser before its first token.
    pub fn new(mut parser: TokenParser, examples: Arc<[Vec<u8>]>) -> Self {
        if parser.is_fresh() {
            parser.start_without_prompt();
        }
        Self { parser, examples }
    }

    /// Takes a token; `false` when it is not allowed.
    pub fn accept(&mut self, token: u32) -> bool {
        self.parser.consume_token(token).is_ok()
    }

    /// A way of at most `tokens_max` tokens from `place`; `known` is tried first.
    pub fn way(&mut self, place: Place, known: Option<&[u8]>, tokens_max: usize) -> Option<Way> {
        if let Some(way) = known.and_then(|bytes| self.still_a_way(place, bytes))
            && way.needs(place) <= tokens_max
        {
            return Some(way);
        }
        let mut tried = 0;
        let mut choices = Vec::new();
        let mut best = self.walk(place, &choices, &mut tried);
        let mut ways = 1;
        let needs = |way: &Option<Way>| way.as_ref().map_or(usize::MAX, |way| way.needs(place));
        let mut at = 0;
        while needs(&best) > tokens_max && at < CHOICES_MAX && ways < WAYS_MAX && tried < TRIED_MAX {
            let mut better = false;
            choices.resize(at + 1, 0);
            for other in 1..4 {
                choices[at] = other;
                ways += 1;
                let way = self.walk(place, &choices, &mut tried);
                if needs(&way) < needs(&best) {
                    (best, better) = (way, true);
                    break;
                }
            }
            if !better {
                choices[at] = 0;
            }
            at += 1;
        }
        best.filter(|way| way.needs(place) <= tokens_max)
    }

    /// What an old way is from here, if it still leads to the end.
    fn still_a_way(&mut self, place: Place, bytes: &[u8]) -> Option<Way> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let rest = bytes.strip_prefix(&forced[..])?;
        let end = bytes.iter().fold(place, |place, &byte| place.behind(byte));
        let taken = self.trying(|parser| rest.iter().all(|&byte| parser.try_push_byte(byte)));
        (taken && end.is_closed()).then(|| self.cut(bytes)).flatten()
    }

    /// One way, choosing at the n-th choice as `choices` say; the first of all beyond.
    fn walk(&mut self, place: Place, choices: &[usize], tried: &mut u32) -> Option<Way> {
        let forced = self.parser.parser.currently_forced_bytes().to_vec();
        let place = forced.iter().fold(place, |place, &byte| place.behind(byte));
        let (mut path, mut asked) = (Vec::new(), None);
        loop {
            let budget = TRIED_MAX.saturating_sub(*tried);
            let examples = Arc::clone(&self.examples);
            let (found, left) = self.trying(|parser| {
                let mut walk = Walk::new(parser, place, budget, choices, &examples);
                (walk.run(&path, asked), walk.budget)
            });
            *tried += budget - left;
            match found {
                Found::Nothing => return None,
                Found::Number(bytes) => return self.number([forced, bytes].concat(), tried),
                Found::End(bytes) => return self.checked([forced, bytes].concat()),
                Found::Perhaps(bytes) => {
                    if let Some(way) = self.checked([&forced[..], &bytes].concat()) {
                        return Some(way);
                    }
                    (asked, path) = (Some(bytes.len()), bytes);
                }
            }
        }
    }

    /// The shortest number that begins so, when it is all there is to be written.
    fn number(&mut self, begun: Vec<u8>, tried: &mut u32) -> Option<Way> {
        let forced = self.parser.parser.currently_forced_bytes().len();
        let mut level = vec![begun];
        while !level.is_empty() && *tried < TRIED_MAX {
            let mut deeper = Vec::new();
            for path in level {
                let next: Vec<u8> = self.trying(|parser| {
                    let begins = path[forced..].iter().all(|&byte| parser.try_push_byte(byte));
                    let follows = |byte: &u8| begins && parser.byte_allowed(*byte);
                    b"0123456789-.".iter().copied().filter(follows).collect()
                });
                for byte in next {
                    *tried += 64;
                    let longer = [&path[..], &[byte]].concat();
                    if let Some(way) = self.checked(longer.clone()) {
                        return Some(way);
                    }
                    deeper.push(longer);
                }
                deeper.truncate(BESIDE_MAX);
            }
            level = deeper;
        }
        None
    }

    fn trying<T>(&mut self, f: impl FnOnce(&mut dyn Recognizer) -> T) -> T {
        self.parser.parser.with_recognizer(|recognizer| {
            recognizer.trie_started("closing");
            let out = f(recognizer);
            recognizer.trie_finished();
            out
        })
    }

    /// A way that the parser takes to the end, token by token.
    fn checked(&self, bytes: Vec<u8>) -> Option<Way> {
        let way = self.cut(&bytes)?;
        let mut parser = self.parser.clone();
        let taken = way.tokens.iter().all(|&token| parser.consume_token(token).is_ok());
        (taken && parser.is_accepting()).then_some(way)
    }

    /// Bytes in as few tokens as there can be.
    pub fn cut(&self, bytes: &[u8]) -> Option<Way> {
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
        Some(Way { bytes: bytes.to_vec(), tokens })
    }
}

enum Found {
    End(Vec<u8>),
    /// All is one number, which no bracket ends.
    Number(Vec<u8>),
    /// It may end here, which only the parser knows.
    Perhaps(Vec<u8>),
    Nothing,
}

/// Bytes that are being tried.
struct Walk<'a> {
    parser: &'a mut dyn Recognizer,
    path: Vec<u8>,
    places: Vec<Place>,
    start: Place,
    budget: u32,
    choices: &'a [usize],
    choice: usize,
    is_number: bool,
    examples: &'a [Vec<u8>],
}

impl<'a> Walk<'a> {
    fn new(
        parser: &'a mut dyn Recognizer,
        start: Place,
        budget: u32,
        choices: &'a [usize],
        examples: &'a [Vec<u8>],
    ) -> Self {
        let (path, places) = (Vec::new(), Vec::new());
        Self { parser, path, places, start, budget, choices, choice: 0, is_number: false, examples }
    }

    /// Goes on behind `path` to the end. Whether it ends after `asked` bytes was asked before.
    fn run(&mut self, path: &[u8], asked: Option<usize>) -> Found {
        if !path.iter().all(|&byte| self.push(byte)) {
            return Found::Nothing;
        }
        while self.budget > 0 {
            let place = self.place();
            if place.is_outside() && place.begun && asked.is_none_or(|asked| asked < self.path.len()) {
                return Found::Perhaps(std::mem::take(&mut self.path));
            }
            let went = if place.in_string { self.end_string() } else { self.step() };
            if self.is_number {
                return Found::Number(std::mem::take(&mut self.path));
            }
            if !went {
                // Where nothing may follow, all is said.
                return match place.in_string || self.budget == 0 {
                    true => Found::Nothing,
                    false => Found::End(std::mem::take(&mut self.path)),
                };
            }
        }
        Found::Nothing
    }

    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or(self.start)
    }

    fn push(&mut self, byte: u8) -> bool {
        self.budget = self.budget.saturating_sub(1);
        if self.budget == 0 || !self.parser.try_push_byte(byte) {
            return false;
        }
        self.places.push(self.place().behind(byte));
        self.path.push(byte);
        true
    }

    fn allows(&mut self, byte: u8) -> bool {
        self.budget = self.budget.saturating_sub(1);
        self.budget > 0 && self.parser.byte_allowed(byte)
    }

    fn back_to(&mut self, length: usize) {
        self.parser.pop_bytes(self.path.len() - length);
        self.path.truncate(length);
        self.places.truncate(length);
    }

    /// What is chosen at the next choice among so many.
    fn chosen(&mut self, among: usize) -> usize {
        let chosen = self.choices.get(self.choice).copied().unwrap_or(0);
        self.choice += 1;
        chosen.min(among.saturating_sub(1))
    }

    /// One step outside of strings.
    fn step(&mut self) -> bool {
        if [b'}', b']'].into_iter().any(|byte| self.push(byte)) {
            return true;
        }
        if self.place().after_value && self.push(b',') {
            return true;
        }
        if self.place().in_number {
            self.is_number = self.place().all_number;
            return !self.is_number && self.end_number();
        }
        let mut begins: Vec<u8> = Vec::new();
        if (b'0'..=b'9').any(|digit| self.allows(digit)) {
            begins.push(b'0');
        }
        begins
            .extend([b'"', b'n', b't', b'f', b'[', b'{', b'-'].into_iter().filter(|&byte| self.allows(byte)));
        if begins.is_empty() {
            let others = (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit());
            return others.into_iter().any(|byte| self.push(byte));
        }
        let chosen = if begins.len() > 1 { self.chosen(begins.len()) } else { 0 };
        match begins[chosen] {
            b'0' | b'-' if self.place().depth > 0 => self.end_number(),
            b'0' | b'-' if !self.place().begun => {
                self.is_number = true;
                false
            }
            b'0' => (b'0'..=b'9').any(|digit| self.push(digit)),
            byte => self.push(byte),
        }
    }

    /// Writes the shortest rest of a number.
    fn end_number(&mut self) -> bool {
        let ends = |walk: &mut Self| [b'}', b']', b','].into_iter().any(|byte| walk.allows(byte));
        self.breadth_first(
            &|walk| !walk.path.is_empty() && walk.place().in_number && ends(walk),
            &|_| b"0123456789-.".to_vec(),
            0,
            usize::MAX,
        )
    }

    /// Writes the shortest rest of a string, its closing quote with it.
    fn end_string(&mut self) -> bool {
        let skipped = {
            let ahead = self.choices.get(self.choice).copied().unwrap_or(0);
            self.choice += 1;
            ahead
        };
        let ended = |walk: &mut Self| !walk.place().escaped && walk.push(b'"');
        let from = self.path.len();
        let examples = self.examples;
        let example = examples.iter().find(|example| {
            let fits = example.iter().all(|&byte| self.push(byte)) && ended(self);
            self.back_to(from);
            fits
        });
        let levels = example.map_or(usize::MAX, Vec::len);
        if self.breadth_first(&ended, &next_in_string, skipped, levels) {
            return true;
        }
        self.back_to(from);
        if let Some(example) = example {
            return example.iter().all(|&byte| self.push(byte)) && self.push(b'"');
        }
        skipped > 0 && self.breadth_first(&ended, &next_in_string, 0, levels)
    }

    /// Tries what `next` gives, shortest first and less than `levels` bytes, until `ended`; passes over the first `skipped`
    /// ends.
    fn breadth_first(
        &mut self,
        ended: &dyn Fn(&mut Self) -> bool,
        next: &dyn Fn(&mut Self) -> Vec<u8>,
        mut skipped: usize,
        levels: usize,
    ) -> bool {
        let from = self.path.len();
        let mut level: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..levels {
            if level.is_empty() || self.budget == 0 {
                break;
            }
            let mut deeper = Vec::new();
            let mut alike: HashMap<Vec<u8>, usize> = HashMap::new();
            for tail in level {
                self.go_to(from, &tail);
                if ended(self) {
                    if skipped == 0 {
                        return true;
                    }
                    skipped -= 1;
                    self.back_to(from + tail.len());
                }
                let bytes: Vec<u8> = next(self).into_iter().filter(|&byte| self.allows(byte)).collect();
                let seen = alike.entry(bytes.clone()).or_default();
                *seen += 1;
                if *seen > ALIKE_MAX {
                    continue;
                }
                let room = BESIDE_MAX.saturating_sub(deeper.len());
                deeper.extend(few(&bytes).into_iter().take(room).map(|byte| [&tail[..], &[byte]].concat()));
            }
            level = deeper;
        }
        false
    }

    /// Makes the path `tail` behind `from`, keeping what is the same.
    fn go_to(&mut self, from: usize, tail: &[u8]) {
        let same = self.path[from..].iter().zip(tail).take_while(|(a, b)| a == b).count();
        self.back_to(from + same);
        for &byte in &tail[same..] {
            self.push(byte);
        }
    }
}

/// What may come next in a string, escapes and other alphabets only where nothing else may.
fn next_in_string(walk: &mut Walk<'_>) -> Vec<u8> {
    let plain: Vec<u8> = (b' '..0x7F).filter(|&byte| byte != b'"' && byte != b'\\').collect();
    match plain.iter().any(|&byte| walk.allows(byte)) {
        true => plain,
        false => (0..=u8::MAX).collect(),
    }
}

/// Some of these bytes, one of each kind where they are many.
fn few(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() <= 20 {
        return bytes.to_vec();
    }
    let kinds: [fn(&u8) -> bool; 4] =
        [u8::is_ascii_lowercase, u8::is_ascii_digit, u8::is_ascii_uppercase, |byte| !byte.is_ascii()];
    let one_each = kinds.iter().filter_map(|kind| bytes.iter().copied().find(kind));
    if bytes.len() >= ANY_FROM {
        return one_each.take(1).collect();
    }
    let others = bytes.iter().copied().filter(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric());
    one_each.chain(others.take(16)).collect()
}

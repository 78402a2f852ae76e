//! Allows any text until a trigger appears after which another constraint takes over: the opening of a call, or the end
//! of reasoning.
//!
//! Free text costs almost nothing: no grammar runs. All tokens are allowed except the few that would complete an
//! opening and continue with something that may not follow it.

use std::sync::Arc;

use bandmaster_engine::{Constraint, ConstraintError};
use toktrie::{TokEnv, TrieNode};

use super::Tokenizer;

/// What ends free text.
pub(super) struct Trigger {
    /// The text that ends it, if `token` is `None`.
    pub text: Vec<u8>,
    /// The control token that ends it. Then `text` has no meaning.
    pub token: Option<u32>,
    /// The trigger counts only at the beginning of the answer; white space may come before it.
    pub first: bool,
    /// The bytes that may follow `text` within the same token.
    pub follows: Vec<u8>,
    /// The constraint that takes over.
    pub next: Box<dyn Constraint>,
}

/// The state of one sequence: in free text, or under the constraint that took over.
pub(super) struct FreeText {
    vocabulary: TokEnv,
    tokenizer: Arc<Tokenizer>,
    state: State,
    tokens_left: u32,
}

enum State {
    Free(Scan),
    Next(Box<dyn Constraint>),
}

/// Looks for triggers in the text that is being generated.
struct Scan {
    triggers: Arc<Vec<SharedTrigger>>,
    /// The end of the text, as long as the longest trigger. While `first` holds, it is the whole text.
    tail: Vec<u8>,
    /// Whether `tail` is the whole text, without leading white space.
    first: bool,
}

/// The lock is there because a constraint is not `Sync`.
struct SharedTrigger {
    text: Vec<u8>,
    token: Option<u32>,
    first: bool,
    follows: Vec<u8>,
    next: std::sync::Mutex<Box<dyn Constraint>>,
}

impl SharedTrigger {
    fn next(&self) -> Box<dyn Constraint> {
        self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).snapshot()
    }

    fn deep_clone(&self) -> Self {
        let next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).deep_clone();
        let (text, follows) = (self.text.clone(), self.follows.clone());
        Self { text, token: self.token, first: self.first, follows, next: next.into() }
    }
}

impl FreeText {
    pub(super) fn new(vocabulary: TokEnv, tokenizer: Arc<Tokenizer>, triggers: Vec<Trigger>) -> Self {
        let shared = |trigger: Trigger| SharedTrigger {
            text: trigger.text,
            token: trigger.token,
            first: trigger.first,
            follows: trigger.follows,
            next: trigger.next.into(),
        };
        let triggers = Arc::new(triggers.into_iter().map(shared).collect());
        Self {
            vocabulary,
            tokenizer,
            state: State::Free(Scan { triggers, tail: Vec::new(), first: true }),
            tokens_left: u32::MAX,
        }
    }
}

impl Scan {
    /// Takes the next token and returns the constraint that takes over, if any.
    fn accept(
        &mut self,
        token: u32,
        tokenizer: &Tokenizer,
        vocabulary: &TokEnv,
    ) -> Option<Box<dyn Constraint>> {
        if tokenizer.is_control(token) {
            let mut matching = self.triggers.iter().filter(|trigger| trigger.token == Some(token));
            let next = matching.find(|trigger| !trigger.first || (self.first && self.tail.is_empty()));
            self.first = false;
            self.tail.clear();
            return next.map(SharedTrigger::next);
        }
        let before = self.tail.len();
        self.tail.extend_from_slice(tokenizer.decode_bytes(token));
        if self.first && before == 0 {
            let space = self.tail.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.tail.drain(..space);
        }
        let next = self.find_trigger().and_then(|(trigger, end)| {
            let mut next = trigger.next();
            let rest = vocabulary.tok_trie().greedy_tokenize(&self.tail[end..]);
            rest.into_iter().all(|token| next.accept(token).is_ok()).then_some(next)
        });
        let longest = self.triggers.iter().map(|trigger| trigger.text.len()).max().unwrap_or(0);
        if self.tail.len() >= longest {
            self.first = false;
            self.tail.drain(..self.tail.len() + 1 - longest.max(1));
        }
        next
    }

    /// The trigger whose text ends first in the tail, and where it ends.
    fn find_trigger(&self) -> Option<(&SharedTrigger, usize)> {
        let ends = self.triggers.iter().filter(|trigger| trigger.token.is_none()).filter_map(|trigger| {
            let text = &trigger.text[..];
            let at = if trigger.first {
                (self.first && self.tail.starts_with(text)).then_some(0)
            } else {
                self.tail.windows(text.len()).position(|window| window == text)
            };
            at.map(|at| (trigger, at + text.len()))
        });
        ends.min_by_key(|&(_, end)| end)
    }

    /// Forbids tokens that would complete a trigger and continue with something that may not follow it.
    fn mask(&self, allowed: &mut [u32], vocabulary: &TokEnv) {
        for trigger in self.triggers.iter().filter(|trigger| trigger.token.is_none()) {
            let text = &trigger.text[..];
            let overlaps = 0..text.len().min(self.tail.len() + 1);
            for overlap in overlaps.filter(|&bytes| self.tail.ends_with(&text[..bytes])) {
                if trigger.first && !(self.first && overlap == self.tail.len()) {
                    continue;
                }
                let trie = vocabulary.tok_trie();
                if let Some(node) = trie.child_at_bytes(trie.root(), &text[overlap..]) {
                    forbid(allowed, vocabulary, node, Some(&trigger.follows));
                }
            }
        }
    }
}

/// Forbids the tokens below `node` except those that spell a beginning of `follows`.
fn forbid(allowed: &mut [u32], vocabulary: &TokEnv, node: &TrieNode, follows: Option<&[u8]>) {
    for child in vocabulary.tok_trie().node_children(node) {
        let rest = follows.and_then(|follows| follows.strip_prefix(&[child.byte()]));
        if let Some(token) = child.token_id().filter(|_| rest.is_none())
            && let Some(word) = allowed.get_mut(token as usize / 32)
        {
            *word &= !(1 << (token % 32));
        }
        forbid(allowed, vocabulary, child, rest);
    }
}

impl Constraint for FreeText {
    fn mask(&mut self, allowed: &mut [u32]) -> Result<(), ConstraintError> {
        match &mut self.state {
            State::Free(scan) => {
                allowed.fill(u32::MAX);
                scan.mask(allowed, &self.vocabulary);
                Ok(())
            }
            State::Next(next) => next.mask(allowed),
        }
    }

    fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        self.tokens_left = self.tokens_left.saturating_sub(1);
        match &mut self.state {
            State::Free(scan) => {
                if let Some(mut next) = scan.accept(token, &self.tokenizer, &self.vocabulary) {
                    next.limit(self.tokens_left);
                    self.state = State::Next(next);
                }
                Ok(())
            }
            State::Next(next) => next.accept(token),
        }
    }

    fn limit(&mut self, tokens: u32) {
        self.tokens_left = tokens;
        if let State::Next(next) = &mut self.state {
            next.limit(tokens);
        }
    }

    fn replace_sampled(&mut self, sampled: u32) -> u32 {
        match &mut self.state {
            State::Free(_) => sampled,
            State::Next(next) => next.replace_sampled(sampled),
        }
    }

    fn forced(&mut self) -> Vec<u32> {
        match &mut self.state {
            State::Free(_) => Vec::new(),
            State::Next(next) => next.forced(),
        }
    }

    fn snapshot(&self) -> Box<dyn Constraint> {
        let state = match &self.state {
            State::Free(scan) => State::Free(Scan {
                triggers: Arc::clone(&scan.triggers),
                tail: scan.tail.clone(),
                first: scan.first,
            }),
            State::Next(next) => State::Next(next.snapshot()),
        };
        let (vocabulary, tokenizer) = (Arc::clone(&self.vocabulary), Arc::clone(&self.tokenizer));
        Box::new(Self { vocabulary, tokenizer, state, tokens_left: self.tokens_left })
    }

    fn deep_clone(&self) -> Box<dyn Constraint> {
        let state = match &self.state {
            State::Free(scan) => State::Free(Scan {
                triggers: Arc::new(scan.triggers.iter().map(SharedTrigger::deep_clone).collect()),
                tail: scan.tail.clone(),
                first: scan.first,
            }),
            State::Next(next) => State::Next(next.deep_clone()),
        };
        let (vocabulary, tokenizer) = (Arc::clone(&self.vocabulary), Arc::clone(&self.tokenizer));
        Box::new(Self { vocabulary, tokenizer, state, tokens_left: self.tokens_left })
    }

    fn finished(&mut self) -> bool {
        match &mut self.state {
            State::Free(_) => false,
            State::Next(next) => next.finished(),
        }
    }
}

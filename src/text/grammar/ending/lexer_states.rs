//! Caches what a search has learned about the lexer's states inside one lexeme of a grammar: which bytes may follow
//! each state and where they lead. Answers to the same request share the cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::earley::regexvec::StateID;

/// States kept for one grammar; each takes some hundred bytes.
const STATES_MAX: usize = 8000;

/// The bytes of a string that a search tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ByteSet {
    /// Bytes that are a character by themselves, except the backslash.
    Plain,
    All,
}

/// A state inside a string.
pub(super) struct LexerState {
    /// One byte for each state that can follow: preferably a letter, then a digit, then anything else.
    pub steps: Vec<(u8, StateID)>,
    /// Bytes that can follow, as ranges: first, last, next state.
    pub ranges: Vec<(u8, u8, StateID)>,
    /// Whether the closing quote may follow.
    pub may_close: bool,
}

impl LexerState {
    pub(super) fn next(&self, byte: u8) -> Option<StateID> {
        let at = self.ranges.partition_point(|&(_, last, _)| last < byte);
        self.ranges.get(at).filter(|(first, ..)| *first <= byte).map(|&(.., to)| to)
    }
}

/// The states that were examined, shared by all answers to one request.
#[derive(Clone, Default)]
pub(super) struct StateCache(Arc<Mutex<StatesById>>);

type StatesById = HashMap<(StateID, ByteSet), Arc<LexerState>>;

impl StateCache {
    pub(super) fn get(&self, id: (StateID, ByteSet)) -> Option<Arc<LexerState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(super) fn insert(&self, id: (StateID, ByteSet), state: &Arc<LexerState>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() < STATES_MAX {
            states.insert(id, Arc::clone(state));
        }
    }
}

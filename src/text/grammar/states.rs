//! What is known of a lexer's states inside of one word of a grammar.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::earley::regexvec::StateID;

/// States that are kept for one grammar: some hundreds of bytes each.
const STATES_MAX: usize = 8000;

/// Bytes of a string that a search follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Bytes {
    /// Those that are a character by themselves, where any of them leads on.
    Plain,
    All,
}

/// A state inside of a string.
pub(super) struct State {
    /// For each state behind it, one byte that leads there: a letter before a digit before anything else.
    pub steps: Vec<(u8, StateID)>,
    /// Bytes that lead on, as ranges: first, last, where to.
    pub ranges: Vec<(u8, u8, StateID)>,
    /// The closing quote may come.
    pub closes: bool,
}

impl State {
    /// The state behind a byte.
    pub fn behind(&self, byte: u8) -> Option<StateID> {
        let at = self.ranges.partition_point(|&(_, last, _)| last < byte);
        self.ranges.get(at).filter(|(first, ..)| *first <= byte).map(|&(.., to)| to)
    }
}

/// The states that were looked at, shared by the answers to one request.
#[derive(Clone, Default)]
pub(super) struct States(Arc<Mutex<Known>>);

type Known = HashMap<(StateID, Bytes), Arc<State>>;

impl States {
    pub fn get(&self, id: (StateID, Bytes)) -> Option<Arc<State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub fn keep(&self, id: (StateID, Bytes), state: &Arc<State>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if states.len() < STATES_MAX {
            states.insert(id, Arc::clone(state));
        }
    }
}

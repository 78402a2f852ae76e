//! Searches inside one lexeme of a grammar, such as a string or a number, for its shortest rest. There the lexer's
//! state alone decides what may follow, so each state is examined once. Also finds complete answers that are not JSON.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use llguidance::earley::regexvec::StateID;
use toktrie::{TokTrie, TrieNode};

use super::lexer_states::{ByteSet, LexerState};
use super::walk::Walk;

/// States that one search may reach.
const REACHED_MAX: usize = 4000;
/// Steps in the token trie that one search may take: some milliseconds.
const TRIE_STEPS_MAX: u32 = 200_000;
/// So many of these steps count as one tried byte.
const STEPS_A_BYTE: u32 = 4;
/// The cost of examining one state with all bytes, in tried bytes.
const EXAMINE_COST: u32 = 64;

/// Whole texts that are tried.
const TEXTS_MAX: usize = 40;
/// Paths to one state that are followed at places where lexemes may follow each other.
const PATHS_PER_STATE_MAX: usize = 2;
/// Paths that are followed side by side there.
const PATHS_PER_LEVEL_MAX: usize = 200;

/// The preference among bytes that lead to the same state; lower is better.
fn rank(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => 0,
        b'0'..=b'9' => 1,
        b'\\' => 4,
        b' '..=b'~' => 2,
        _ => 5,
    }
}

/// A state that was reached: by which byte, and the index of the state before it.
struct Reached {
    id: StateID,
    from: usize,
    byte: u8,
}

fn bytes_to(reached: &[Reached], mut at: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while at > 0 {
        bytes.push(reached[at].byte);
        at = reached[at].from;
    }
    bytes.reverse();
    bytes
}

impl Walk<'_, '_> {
    /// Examines the state after `from` bytes of the path and then `tail`, trying the given bytes.
    fn examine(&mut self, id: StateID, from: usize, tail: &[u8], bytes: ByteSet) -> Option<Arc<LexerState>> {
        if let Some(known) = self.states.get((id, bytes)) {
            return Some(known);
        }
        let (cost, last) = match bytes {
            ByteSet::Plain => (EXAMINE_COST / 2, 0x7F),
            ByteSet::All => (EXAMINE_COST, TokTrie::SPECIAL_TOKEN_MARKER - 1),
        };
        if !self.spend(cost) || !self.go_to(from, tail) {
            return None;
        }
        let may_close = !self.position().escaped;
        let mut state = LexerState { steps: Vec::new(), ranges: Vec::new(), may_close: false };
        let mut steps: HashMap<StateID, u8> = HashMap::new();
        for byte in 0..=last {
            if byte == b'"' && may_close {
                state.may_close = self.try_byte(byte).is_some();
                continue;
            }
            if bytes == ByteSet::Plain && byte == b'\\' {
                continue;
            }
            let Some(to) = self.try_byte(byte) else { continue };
            match state.ranges.last_mut() {
                Some((_, last, same)) if *same == to && *last + 1 == byte => *last = byte,
                _ => state.ranges.push((byte, byte, to)),
            }
            let best = steps.entry(to).or_insert(byte);
            if rank(byte) < rank(*best) {
                *best = byte;
            }
        }
        state.steps = steps.into_iter().map(|(to, byte)| (byte, to)).collect();
        state.steps.sort_unstable_by_key(|&(byte, _)| (rank(byte), byte));
        let state = Arc::new(state);
        self.states.insert((id, bytes), &state);
        Some(state)
    }

    /// The shortest rest of the string that is open after `from` bytes of the path, without its quote. The `skipped`
    /// shortest ones are passed over. Characters of one byte are tried first, because they are far fewer.
    pub(super) fn shortest_rest(&mut self, from: usize, skipped: usize) -> Option<Vec<u8>> {
        let plain = self.shortest_rest_of(from, skipped, ByteSet::Plain);
        plain.or_else(|| self.shortest_rest_of(from, skipped, ByteSet::All))
    }

    /// The shortest rest made of such bytes.
    pub(super) fn shortest_rest_of(
        &mut self,
        from: usize,
        mut skipped: usize,
        of: ByteSet,
    ) -> Option<Vec<u8>> {
        self.go_to(from, &[]);
        let start = self.lexer_state();
        let mut reached = vec![Reached { id: start, from: 0, byte: 0 }];
        let mut seen = HashSet::from([start]);
        let mut at = 0;
        while at < reached.len() {
            let bytes = bytes_to(&reached, at);
            let mut state = self.examine(reached[at].id, from, &bytes, of)?;
            if state.steps.is_empty() && !state.may_close {
                // We are inside a character, or in front of one that takes several bytes.
                state = self.examine(reached[at].id, from, &bytes, ByteSet::All)?;
            }
            if state.may_close {
                if skipped == 0 {
                    return Some(bytes);
                }
                skipped -= 1;
            }
            if reached.len() < REACHED_MAX {
                for &(byte, id) in state.steps.iter().filter(|&&(_, id)| seen.insert(id)) {
                    reached.push(Reached { id, from: at, byte });
                }
            }
            at += 1;
        }
        None
    }

    /// The rest of the open string in the fewest tokens, without its quote; `None` if the search takes too long.
    pub(super) fn rest_in_fewest_tokens(&mut self, from: usize) -> Option<Vec<u8>> {
        self.go_to(from, &[]);
        let trie = self.trie;
        let start = self.lexer_state();
        let mut search = Search { seen: HashSet::from([start]), deeper: Vec::new(), steps: TRIE_STEPS_MAX };
        let mut level = vec![(start, Vec::new())];
        while !level.is_empty() {
            for (id, bytes) in &level {
                if self.examine(*id, from, bytes, ByteSet::All)?.may_close {
                    return Some(bytes.clone());
                }
            }
            for (id, mut bytes) in level {
                if self.next_tokens(from, trie.root(), id, &mut bytes, &mut search)? {
                    return Some(bytes);
                }
            }
            level = std::mem::take(&mut search.deeper);
        }
        None
    }

    /// Collects the states after all tokens that may come next; `true` if one closes the string after `bytes`.
    fn next_tokens(
        &mut self,
        from: usize,
        node: &TrieNode,
        id: StateID,
        bytes: &mut Vec<u8>,
        search: &mut Search,
    ) -> Option<bool> {
        let (state, trie) = (self.examine(id, from, bytes, ByteSet::All)?, self.trie);
        for child in trie.node_children(node) {
            search.steps = search.steps.checked_sub(1)?;
            if search.steps.is_multiple_of(STEPS_A_BYTE) && !self.spend(1) {
                return None;
            }
            let byte = child.byte();
            if byte == b'"' && state.may_close {
                if child.token_id().is_some() {
                    return Some(true);
                }
                continue;
            }
            let Some(to) = state.next(byte) else { continue };
            bytes.push(byte);
            if child.token_id().is_some() && search.seen.insert(to) {
                search.deeper.push((to, bytes.clone()));
            }
            if child.subtree_size() > 1 && self.next_tokens(from, child, to, bytes, search)? {
                return Some(true);
            }
            bytes.pop();
        }
        Some(false)
    }

    /// Writes the shortest rest of a lexeme, made of `bytes`, that `ended` accepts as complete.
    pub(super) fn shortest_lexeme(&mut self, bytes: &[u8], ended: &dyn Fn(&mut Self) -> bool) -> bool {
        let from = self.path_len();
        let start = self.lexer_state();
        let mut reached = vec![Reached { id: start, from: 0, byte: 0 }];
        let mut seen = HashSet::from([start]);
        let mut at = 0;
        while at < reached.len() && self.go_to(from, &bytes_to(&reached, at)) {
            if ended(self) {
                return true;
            }
            for &byte in bytes {
                if let Some(id) = self.try_byte(byte)
                    && reached.len() < REACHED_MAX
                    && seen.insert(id)
                {
                    reached.push(Reached { id, from: at, byte });
                }
            }
            at += 1;
        }
        false
    }

    /// Candidates for a complete answer that is not JSON, short ones first. Lexemes may follow each other, so a state
    /// is examined again when more text was written.
    pub(super) fn complete_texts(&mut self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut level: Vec<(StateID, Vec<u8>)> = vec![(self.lexer_state(), Vec::new())];
        while !level.is_empty() && found.len() < TEXTS_MAX {
            let mut deeper = Vec::new();
            let mut seen: HashMap<StateID, usize> = HashMap::new();
            for (id, bytes) in level {
                if !self.spend(EXAMINE_COST) || !self.go_to(0, &bytes) {
                    return found;
                }
                let mut steps: HashMap<StateID, u8> = HashMap::new();
                for byte in (0..TokTrie::SPECIAL_TOKEN_MARKER).rev() {
                    if let Some(to) = self.try_byte(byte) {
                        let best = steps.entry(to).or_insert(byte);
                        if rank(byte) <= rank(*best) {
                            *best = byte;
                        }
                    }
                }
                // Between two lexemes only the parser knows whether the answer is complete.
                if steps.is_empty() || self.may_end(id) || found.len() < TEXTS_MAX / 2 {
                    found.push(bytes.clone());
                }
                let mut steps: Vec<(u8, StateID)> = steps.into_iter().map(|(to, byte)| (byte, to)).collect();
                steps.sort_unstable_by_key(|&(byte, _)| (rank(byte), byte));
                for (byte, to) in steps {
                    let alike = seen.entry(to).or_default();
                    *alike += 1;
                    if *alike <= PATHS_PER_STATE_MAX && deeper.len() < PATHS_PER_LEVEL_MAX {
                        deeper.push((to, [&bytes[..], &[byte]].concat()));
                    }
                }
            }
            level = deeper;
        }
        found
    }
}

struct Search {
    seen: HashSet<StateID>,
    deeper: Vec<(StateID, Vec<u8>)>,
    steps: u32,
}

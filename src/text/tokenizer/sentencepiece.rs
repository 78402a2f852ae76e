//! SentencePiece's BPE. Text begins as characters, and the neighboring pair whose token has the highest score merges
//! first, the leftmost among equals. Characters without a token become their bytes.
//!
//! Kudo, Richardson: SentencePiece (2018). The text is not cut into words: a token may span several.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::TokenizerError;
use super::vocabulary::{Kind, Vocabulary};
use crate::Cancellation;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct SentencePiece {
    /// By token id.
    scores: Vec<f32>,
    /// Whether a space is put in front of a text.
    space_prefix: bool,
    /// The tokens `<0x00>` to `<0xFF>`, if the file has them.
    bytes: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
    /// Bytes of the longest token; a longer pair can't merge.
    token_bytes_max: usize,
}

#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    /// 0 once merged into the symbol before.
    bytes: u32,
    /// Indices in the list; [`NONE`] at its ends.
    previous: u32,
    next: u32,
}

/// A pair that could merge. It is stale if the two symbols no longer have `bytes` bytes together.
struct Candidate {
    score: f32,
    left: u32,
    right: u32,
    bytes: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl SentencePiece {
    pub(super) fn new(
        vocabulary: &Vocabulary,
        scores: Vec<f32>,
        space_prefix: bool,
        unknown: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        if scores.len() < vocabulary.len() {
            let problem = format!("{} tokens have {} scores", vocabulary.len(), scores.len());
            return Err(TokenizerError::Damaged(problem));
        }
        let mut bytes = Box::new([None; 256]);
        for id in (0..vocabulary.len() as u32).filter(|&id| vocabulary.kind(id) == Kind::Byte) {
            if let [byte] = vocabulary.bytes(id) {
                bytes[usize::from(*byte)] = Some(id);
            }
        }
        Ok(Self {
            scores,
            space_prefix,
            bytes,
            unknown: unknown.filter(|&id| (id as usize) < vocabulary.len()),
            token_bytes_max: vocabulary.longest(),
        })
    }

    pub(super) fn space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Appends the ids of `text`, which begins a text or follows a special token.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        ids: &mut Vec<u32>,
        cancellation: &Cancellation,
    ) {
        if self.space_prefix {
            self.encode_continuation(vocabulary, &format!(" {text}"), ids, cancellation);
        } else {
            self.encode_continuation(vocabulary, text, ids, cancellation);
        }
    }

    /// The same for text that continues after other tokens. Appends nothing when it is cancelled.
    pub(super) fn encode_continuation(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        ids: &mut Vec<u32>,
        cancellation: &Cancellation,
    ) {
        // The algorithm treats `▁` as a space.
        self.merge(vocabulary, &text.replace('▁', " "), ids, cancellation);
    }

    fn merge(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>, cancellation: &Cancellation) {
        let mut symbols: Vec<Symbol> = (0u32..)
            .zip(text.char_indices())
            .map(|(at, (start, c))| Symbol {
                start: start as u32,
                bytes: c.len_utf8() as u32,
                previous: at.wrapping_sub(1),
                next: at + 1,
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        /// How often the cancellation is checked.
        const MERGES_BETWEEN: u32 = 1 << 14;
        let mut merges = 0u32;
        let mut ends = || {
            merges = merges.wrapping_add(1);
            merges.is_multiple_of(MERGES_BETWEEN) && cancellation.is_cancelled()
        };
        let mut candidates: BinaryHeap<Candidate> = BinaryHeap::new();
        for at in 0..symbols.len() as u32 {
            candidates.extend(self.candidate(vocabulary, text, &symbols, at));
            if ends() {
                return;
            }
        }
        while let Some(best) = candidates.pop() {
            if ends() {
                return;
            }
            let (left, right) = (symbols[best.left as usize], symbols[best.right as usize]);
            if left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != best.bytes {
                continue;
            }
            symbols[best.right as usize].bytes = 0;
            symbols[best.left as usize] = Symbol { bytes: best.bytes, next: right.next, ..left };
            if right.next != NONE {
                symbols[right.next as usize].previous = best.left;
            }
            if left.previous != NONE {
                candidates.extend(self.candidate(vocabulary, text, &symbols, left.previous));
            }
            candidates.extend(self.candidate(vocabulary, text, &symbols, best.left));
        }
        for symbol in symbols.iter().filter(|symbol| symbol.bytes > 0) {
            let start = symbol.start as usize;
            self.append(vocabulary, &text.as_bytes()[start..start + symbol.bytes as usize], ids);
        }
    }

    fn append(&self, vocabulary: &Vocabulary, bytes: &[u8], ids: &mut Vec<u32>) {
        match vocabulary.find(bytes) {
            Some(id) => ids.push(id),
            None => {
                ids.extend(bytes.iter().filter_map(|&byte| self.bytes[usize::from(byte)].or(self.unknown)))
            }
        }
    }

    /// The merge of the symbol at `at` with the next one.
    fn candidate(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        symbols: &[Symbol],
        at: u32,
    ) -> Option<Candidate> {
        let left = symbols[at as usize];
        let right = symbols.get(left.next as usize)?;
        let bytes = left.bytes + right.bytes;
        if bytes as usize > self.token_bytes_max {
            return None;
        }
        let start = left.start as usize;
        let token = vocabulary.find(&text.as_bytes()[start..start + bytes as usize])?;
        Some(Candidate { score: self.scores[token as usize], left: at, right: left.next, bytes })
    }
}

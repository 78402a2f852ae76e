//! Byte-level byte-pair encoding: a word's bytes are its first symbols; the pair that was learned first merges first.
//!
//! Sennrich, Haddow, Birch: Neural Machine Translation of Rare Words with Subword Units (2016), on bytes as in GPT-2.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::TokenizerError;
use super::pretokenizers::{PreTokenizer, Rules};
use super::vocabulary::{Vocabulary, append_byte_level};

/// A byte or merged-away symbol that no token stands for.
const NONE: u32 = u32::MAX;
/// Longer words are rare, and a cache that keeps them costs more than it saves.
const CACHED_WORD_BYTES_MAX: usize = 48;

#[derive(Debug)]
pub(super) struct Bpe {
    pre_tokenizer: PreTokenizer,
    ignore_merges: bool,
    /// The token of each single byte.
    bytes: [u32; 256],
    /// Pairs of tokens that merge.
    merges: HashMap<(u32, u32), Merge>,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    /// Lower goes first.
    rank: u32,
    token: u32,
}

/// Memory that the words of one text share.
#[derive(Default)]
pub(super) struct Scratch<'t> {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Reverse<Candidate>>,
    /// Words of this text that were merged before: where their ids lie in the output.
    seen: HashMap<&'t str, (u32, u32)>,
}

#[derive(Clone, Copy)]
struct Symbol {
    /// [`NONE`] when merged into the one before.
    token: u32,
    /// Places in the list; [`NONE`] at its ends.
    previous: u32,
    next: u32,
}

/// A pair that could merge, ordered by rank and then by place. Out of date when the list no longer holds the pair there.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    at: u32,
    pair: (u32, u32),
    token: u32,
}

impl Bpe {
    pub(super) fn new(
        vocabulary: &Vocabulary,
        merges: &[&str],
        rules: Rules,
    ) -> Result<Self, TokenizerError> {
        let mut bytes = [NONE; 256];
        for byte in 0..=255u8 {
            bytes[usize::from(byte)] = vocabulary.find(&[byte]).unwrap_or(NONE);
        }
        let mut table = HashMap::with_capacity(merges.len());
        let mut text = Vec::new();
        for (rank, merge) in (0u32..).zip(merges) {
            let Some((left, right)) = merge.split_once(' ') else {
                return Err(TokenizerError::Damaged(format!(
                    "merge {rank} is `{merge}`, which is not a pair"
                )));
            };
            text.clear();
            append_byte_level(left, &mut text);
            let middle = text.len();
            append_byte_level(right, &mut text);
            // A merge whose parts or whole have no id can't happen.
            let (Some(left), Some(right), Some(token)) =
                (vocabulary.find(&text[..middle]), vocabulary.find(&text[middle..]), vocabulary.find(&text))
            else {
                continue;
            };
            table.entry((left, right)).or_insert(Merge { rank, token });
        }
        Ok(Self {
            pre_tokenizer: PreTokenizer::new(rules),
            ignore_merges: rules.ignore_merges,
            bytes,
            merges: table,
        })
    }

    /// Appends the ids of `text` to `ids`; `scratch` must have been used with this `ids` alone.
    pub(super) fn encode<'t>(
        &self,
        vocabulary: &Vocabulary,
        text: &'t str,
        scratch: &mut Scratch<'t>,
        ids: &mut Vec<u32>,
    ) {
        self.pre_tokenizer.split(text, &mut |word| {
            if let Some(&(start, end)) = scratch.seen.get(word) {
                ids.extend_from_within(start as usize..end as usize);
                return;
            }
            let start = ids.len();
            let whole = if self.ignore_merges { vocabulary.find(word.as_bytes()) } else { None };
            match whole {
                Some(token) => ids.push(token),
                None => self.merge(word.as_bytes(), scratch, ids),
            }
            if word.len() <= CACHED_WORD_BYTES_MAX {
                scratch.seen.insert(word, (start as u32, ids.len() as u32));
            }
        });
    }

    fn merge(&self, word: &[u8], scratch: &mut Scratch<'_>, ids: &mut Vec<u32>) {
        let Scratch { symbols, candidates, .. } = scratch;
        symbols.clear();
        symbols.extend((0u32..).zip(word).map(|(at, &byte)| Symbol {
            token: self.bytes[usize::from(byte)],
            previous: at.wrapping_sub(1),
            next: at + 1,
        }));
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        candidates.clear();
        let first = (0..symbols.len()).filter_map(|at| self.candidate(symbols, at as u32));
        candidates.extend(first.map(Reverse));
        while let Some(Reverse(best)) = candidates.pop() {
            let left = symbols[best.at as usize];
            if left.next == NONE || (left.token, symbols[left.next as usize].token) != best.pair {
                continue;
            }
            let right = symbols[left.next as usize];
            symbols[left.next as usize].token = NONE;
            symbols[best.at as usize] = Symbol { token: best.token, next: right.next, ..left };
            if right.next != NONE {
                symbols[right.next as usize].previous = best.at;
            }
            if left.previous != NONE {
                candidates.extend(self.candidate(symbols, left.previous).map(Reverse));
            }
            candidates.extend(self.candidate(symbols, best.at).map(Reverse));
        }
        ids.extend(symbols.iter().map(|symbol| symbol.token).filter(|&token| token != NONE));
    }

    /// The merge of the symbol at `at` with the one behind it.
    fn candidate(&self, symbols: &[Symbol], at: u32) -> Option<Candidate> {
        let left = symbols[at as usize];
        let right = symbols.get(left.next as usize)?;
        let pair = (left.token, right.token);
        let merge = self.merges.get(&pair)?;
        Some(Candidate { rank: merge.rank, at, pair, token: merge.token })
    }
}

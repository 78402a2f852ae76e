//! Byte-level byte-pair encoding. A word begins as its bytes, and pairs merge in the order in which they were learned.
//!
//! Sennrich, Haddow, Birch: Neural Machine Translation of Rare Words with Subword Units (2016), on bytes as in GPT-2.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::TokenizerError;
use super::pretokenizers::{PreTokenizer, Rules};
use super::vocabulary::{Vocabulary, append_byte_level};
use crate::Cancellation;

/// Marks a byte without a token, a symbol that was merged away, and the ends of the list.
const NONE: u32 = u32::MAX;
/// Longer words are rare, and caching them costs more than it saves.
const CACHED_WORD_BYTES_MAX: usize = 48;

#[derive(Debug)]
pub(super) struct Bpe {
    pre_tokenizer: PreTokenizer,
    ignore_merges: bool,
    /// The token of each single byte.
    bytes: Box<[u32; 256]>,
    merges: HashMap<(u32, u32), Merge>,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    /// Lower ranks merge first.
    rank: u32,
    token: u32,
}

/// Memory that is reused for all words of one text.
#[derive(Default)]
pub(super) struct Scratch<'t> {
    symbols: Vec<Symbol>,
    /// Pairs that could merge, the next one on top: rank in the upper half, index of the left symbol in the lower half.
    /// An entry is stale if the pair at that index has another rank by now.
    candidates: BinaryHeap<Reverse<u64>>,
    /// Words of this text that were merged already, and the range of their ids in the output.
    seen: HashMap<&'t str, (u32, u32)>,
    words: u32,
    /// Whether the work was cancelled.
    pub(super) cancelled: bool,
}

/// How often the cancellation is checked: between words, and within a long word.
const WORDS_BETWEEN: u32 = 1 << 12;
const MERGES_BETWEEN: u32 = 1 << 15;

#[derive(Clone, Copy)]
struct Symbol {
    /// [`NONE`] once merged into the symbol before.
    token: u32,
    /// Indices in the list; [`NONE`] at its ends.
    previous: u32,
    next: u32,
}

impl Bpe {
    pub(super) fn new(
        vocabulary: &Vocabulary,
        merges: &[&str],
        rules: Rules,
    ) -> Result<Self, TokenizerError> {
        let mut bytes = Box::new([NONE; 256]);
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
            // A merge can't happen if one of the three texts has no token.
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

    /// Appends the ids of `text` to `ids`. Stops early when it is cancelled. A `scratch` must always be used
    /// with the same `ids`.
    pub(super) fn encode<'t>(
        &self,
        vocabulary: &Vocabulary,
        text: &'t str,
        scratch: &mut Scratch<'t>,
        ids: &mut Vec<u32>,
        cancellation: &Cancellation,
    ) {
        self.pre_tokenizer.split(text, &mut |word| {
            scratch.words = scratch.words.wrapping_add(1);
            scratch.cancelled |= scratch.words.is_multiple_of(WORDS_BETWEEN) && cancellation.is_cancelled();
            if scratch.cancelled {
                return false;
            }
            if let Some(&(start, end)) = scratch.seen.get(word) {
                ids.extend_from_within(start as usize..end as usize);
                return true;
            }
            let start = ids.len();
            let whole = if self.ignore_merges { vocabulary.find(word.as_bytes()) } else { None };
            match whole {
                Some(token) => ids.push(token),
                None => self.merge(word.as_bytes(), scratch, ids, cancellation),
            }
            if word.len() <= CACHED_WORD_BYTES_MAX {
                scratch.seen.insert(word, (start as u32, ids.len() as u32));
            }
            !scratch.cancelled
        });
    }

    fn merge(&self, word: &[u8], scratch: &mut Scratch<'_>, ids: &mut Vec<u32>, cancellation: &Cancellation) {
        let Scratch { symbols, candidates, cancelled, .. } = scratch;
        let mut merges = 0u32;
        let mut ends = || {
            merges = merges.wrapping_add(1);
            merges.is_multiple_of(MERGES_BETWEEN) && cancellation.is_cancelled()
        };
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
        for at in 0..symbols.len() as u32 {
            candidates.extend(self.candidate(symbols, at));
            if ends() {
                *cancelled = true;
                return;
            }
        }
        while let Some(Reverse(candidate)) = candidates.pop() {
            if ends() {
                *cancelled = true;
                return;
            }
            let (rank, at) = ((candidate >> 32) as u32, candidate as u32);
            let Some(merge) = self.merge_at(symbols, at).filter(|merge| merge.rank == rank) else { continue };
            let left = symbols[at as usize];
            let right = symbols[left.next as usize];
            symbols[left.next as usize].token = NONE;
            symbols[at as usize] = Symbol { token: merge.token, next: right.next, ..left };
            if right.next != NONE {
                symbols[right.next as usize].previous = at;
            }
            if left.previous != NONE {
                candidates.extend(self.candidate(symbols, left.previous));
            }
            candidates.extend(self.candidate(symbols, at));
        }
        ids.extend(symbols.iter().map(|symbol| symbol.token).filter(|&token| token != NONE));
    }

    fn candidate(&self, symbols: &[Symbol], at: u32) -> Option<Reverse<u64>> {
        let merge = self.merge_at(symbols, at)?;
        Some(Reverse(u64::from(merge.rank) << 32 | u64::from(at)))
    }

    /// The merge of the symbol at `at` with the next one.
    fn merge_at(&self, symbols: &[Symbol], at: u32) -> Option<Merge> {
        let left = symbols[at as usize];
        let right = symbols.get(left.next as usize)?;
        self.merges.get(&(left.token, right.token)).copied()
    }
}

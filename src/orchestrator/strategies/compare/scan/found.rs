//! A value that was found among the words of a sentence.

use std::ops::Range;

use super::super::value::Value;
use super::tokens::Token;

/// A value in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub value: Value,
    pub bytes: Range<usize>,
    /// Indexes of its words in the sentence, with the unit's.
    pub tokens: Range<usize>,
    /// Indexes of the words that say what it counts: "participants" of "444 participants".
    pub noun: Range<usize>,
}

pub(super) fn found(tokens: &[Token<'_>], range: Range<usize>, value: Value) -> Found {
    let bytes = tokens[range.start].bytes.start..tokens[range.end - 1].bytes.end;
    Found { value, bytes, noun: range.end..range.end, tokens: range }
}

/// Whether a word says nothing about the topic, such as "at".
pub(super) fn is_empty_word(word: &str) -> bool {
    crate::topic::content_words(word).is_empty()
}

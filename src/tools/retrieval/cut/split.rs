//! Where sentences, lines and words of a text end, and what stands between them.

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::PART_BYTES_MAX;

/// Bytes that are searched for the border of a character that is made of many code points.
const GRAPHEME_BYTES_MAX: usize = 64;

/// What stands before a piece, from the worst place for a cut to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Border {
    Word,
    /// A line end within a sentence.
    Wrap,
    Sentence,
    /// A list item, a row, a line of code.
    Line,
    Paragraph,
    Heading,
}

/// White space that no part begins or ends with. A byte-order mark is none for Unicode.
fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// The span without white space at its ends. It may be empty.
pub(super) fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let rest = text[span.clone()].trim_end_matches(is_space);
    let inner = rest.trim_start_matches(is_space);
    span.start + rest.len() - inner.len()..span.start + rest.len()
}

/// The sentences of a span, with the border before each. Unicode's rules (UAX 29) end a sentence at every line end, so
/// a line that goes on in the next one is a piece of its own, with a weaker border.
pub(super) fn sentences(text: &str, span: Range<usize>, first: Border) -> Vec<(Border, Range<usize>)> {
    let mut pieces = Vec::new();
    let mut border = first;
    for (at, sentence) in text[span.clone()].split_sentence_bound_indices() {
        let begin = span.start + at;
        let piece = trimmed(text, begin..begin + sentence.len());
        if piece.is_empty() {
            continue;
        }
        // The number of an item may look like a sentence of its own.
        if begins_item(&text[piece.start..span.end]) && border < Border::Line {
            border = Border::Line;
        }
        let ends = ends_sentence(&text[piece.clone()]);
        pieces.push((border, piece));
        border = if ends { Border::Sentence } else { Border::Wrap };
    }
    pieces
}

fn ends_sentence(piece: &str) -> bool {
    let piece = piece.trim_end_matches(['"', '\'', '”', '’', '»', '«', ')', ']', '」', '*', '_']);
    piece.ends_with(['.', '!', '?', '…', ':', ';', '。', '！', '？'])
}

/// Whether a line begins like an item of a list.
pub(super) fn begins_item(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let after = if (1..4).contains(&digits) {
        line[digits..].strip_prefix(['.', ')'])
    } else {
        line.strip_prefix(['-', '*', '•', '–', '+'])
    };
    after.is_some_and(|rest| rest.starts_with([' ', '\t']))
}

/// Cuts a span into pieces of at most `PART_BYTES_MAX` bytes, at white space if there is some in a piece's second half,
/// else between two characters as a reader sees them. Nothing but white space is left out.
pub(super) fn words(text: &str, span: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut rest = span;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if rest.len() <= PART_BYTES_MAX {
            let last = rest.clone();
            rest.start = rest.end;
            return Some(last);
        }
        let end = text.floor_char_boundary(rest.start + PART_BYTES_MAX);
        let window = &text[rest.start..end];
        let space = window.rfind(is_space).filter(|&at| at >= PART_BYTES_MAX / 2);
        let cut = space.map_or_else(|| between_characters(text, end), |at| rest.start + at);
        let piece = trimmed(text, rest.start..cut);
        rest = trimmed(text, cut..rest.end);
        Some(piece)
    })
}

/// The last border of characters at or before `end`. Where so many marks are stacked that there is none nearby, `end`.
fn between_characters(text: &str, end: usize) -> usize {
    let borders = (end - GRAPHEME_BYTES_MAX..=end).rev().filter(|&at| text.is_char_boundary(at));
    let is_border = |at: &usize| GraphemeCursor::new(*at, text.len(), true).is_boundary(text, 0) == Ok(true);
    borders.clone().find(is_border).unwrap_or(end)
}

//! Splits a long text into parts: at paragraph ends if possible, else at the ends of lines, sentences or
//! words. Nothing is lost.

use std::ops::Range;

/// Consecutive byte ranges that cover the text and have at most `tokens_max` tokens each. `whole` is the token count of
/// the whole text, if it is known.
pub(crate) fn parts(
    text: &str,
    tokens_max: usize,
    whole: Option<usize>,
    count: impl Fn(&str) -> usize,
) -> Vec<Range<usize>> {
    if whole.unwrap_or_else(|| count(text)) <= tokens_max {
        return std::iter::once(0..text.len()).collect();
    }
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut pending = pieces(text, 0..text.len(), 0);
    pending.reverse();
    // Each pending piece with its depth, which is the index of the separator it was cut at.
    let mut pending: Vec<(Range<usize>, usize)> = pending.into_iter().map(|range| (range, 0)).collect();
    let mut open: Option<Range<usize>> = None;
    // Sum over the pieces of the open part, which may be more than the part has as a whole. The whole is counted only
    // if the sum passes the limit, or a text of many short lines would be counted over and over.
    let mut open_tokens = 0;
    while let Some((piece, depth)) = pending.pop() {
        let start = open.as_ref().map_or(piece.start, |range| range.start);
        let before = if open.is_some() { open_tokens } else { 0 };
        let mut tokens = before + count(&text[piece.clone()]);
        if tokens > tokens_max && open.is_some() {
            tokens = count(&text[start..piece.end]);
        }
        if tokens <= tokens_max {
            open = Some(start..piece.end);
            open_tokens = tokens;
        } else if let Some(full) = open.take() {
            parts.push(full);
            pending.push((piece, depth));
        } else if depth + 1 < SEPARATORS.len() && piece.len() > 1 {
            let finer = pieces(text, piece, depth + 1);
            pending.extend(finer.into_iter().rev().map(|range| (range, depth + 1)));
        } else {
            parts.push(piece);
        }
    }
    parts.extend(open);
    parts
}

/// From coarse to fine. The empty one cuts anywhere.
const SEPARATORS: [&str; 5] = ["\n\n", "\n", ". ", " ", ""];

/// Cuts the range after every separator of this depth.
fn pieces(text: &str, range: Range<usize>, depth: usize) -> Vec<Range<usize>> {
    let part = &text[range.clone()];
    if SEPARATORS[depth].is_empty() {
        // In steps of several characters: a very long word is cut, but not letter by letter.
        let marks: Vec<usize> =
            part.char_indices().map(|(at, _)| at).step_by(16).chain([part.len()]).collect();
        return marks.windows(2).map(|pair| range.start + pair[0]..range.start + pair[1]).collect();
    }
    let mut start = range.start;
    let ends =
        part.match_indices(SEPARATORS[depth]).map(|(at, separator)| range.start + at + separator.len());
    let mut cut: Vec<Range<usize>> = ends.map(|end| std::mem::replace(&mut start, end)..end).collect();
    if start < range.end {
        cut.push(start..range.end);
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count_words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    #[test]
    fn a_text_is_cut_at_paragraphs_where_it_can_be() {
        let text = "one two three\n\nfour five\n\nsix seven eight nine";
        let cut: Vec<&str> =
            parts(text, 5, None, count_words).into_iter().map(|range| &text[range]).collect();
        assert_eq!(cut, ["one two three\n\nfour five\n\n", "six seven eight nine"]);
        let whole = parts(text, 100, None, count_words);
        assert_eq!((whole.len(), &whole[0]), (1, &(0..text.len())));
    }

    #[test]
    fn a_text_of_many_short_lines_is_not_counted_over_and_over() {
        let text = "a\n".repeat(20_000);
        let counted = std::cell::Cell::new(0);
        let count = |part: &str| {
            counted.set(counted.get() + part.len());
            part.len()
        };
        assert_eq!(parts(&text, 4000, None, count).len(), 10);
        assert!(counted.get() < 10 * text.len(), "{} bytes counted", counted.get());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_every_part_fits(text in "[a-zé .\n]{0,300}", max in 3_usize..30) {
            let count = |text: &str| text.chars().count().div_ceil(4);
            let ranges = parts(&text, max.max(4), None, count);
            let joined: String = ranges.iter().map(|range| &text[range.clone()]).collect();
            prop_assert_eq!(&joined, &text);
            for range in ranges {
                prop_assert!(count(&text[range]) <= max.max(4));
            }
        }
    }
}

//! The words of a sentence with their places.

use std::ops::Range;

/// A word without the punctuation around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub text: &'t str,
    pub bytes: Range<usize>,
    /// Whether a mark such as a comma or a bracket stands between it and the next word.
    pub ends: bool,
}

const OPENING: [char; 8] = ['(', '[', '"', '\'', '*', '`', '“', '‘'];
const CLOSING: [char; 14] = [')', ']', '"', '\'', '*', '`', '”', '’', ',', '.', ';', ':', '!', '?'];

pub(super) fn tokens(text: &str, range: Range<usize>) -> Vec<Token<'_>> {
    let part = &text[range.clone()];
    let mut found = Vec::new();
    for word in part.split_whitespace() {
        let start = range.start + (word.as_ptr() as usize - part.as_ptr() as usize);
        let left = word.trim_start_matches(OPENING);
        let bare = left.trim_end_matches(CLOSING);
        let start = start + (word.len() - left.len());
        if !bare.is_empty() {
            let ends = bare.len() < left.len();
            found.push(Token { text: bare, bytes: start..start + bare.len(), ends });
        }
    }
    found
}

/// The sentences of a part of a text. A full stop ends a sentence if white space and then a capital letter or a digit
/// follow, and no abbreviation precedes it as in "No. 5" and "a.m.".
pub(super) fn sentences(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let part = &text[range.clone()];
    let mut found = Vec::new();
    let mut start = 0;
    let marks: Vec<usize> = part.match_indices(['.', '!', '?']).map(|(at, _)| at).collect();
    for at in marks {
        let rest = &part[at + 1..];
        let next = rest.trim_start();
        let begins = next.chars().next().is_some_and(|c| c.is_uppercase() || c.is_ascii_digit());
        let word = part[start..at].rsplit(char::is_whitespace).next().unwrap_or_default();
        let is_title = word.starts_with(char::is_uppercase) && word.chars().count() < 3;
        let is_short = part[at..].starts_with('.') && (word.contains('.') || is_title || word.len() == 1);
        if rest.len() > next.len() && begins && !is_short {
            found.push(range.start + start..range.start + at + 1);
            start = at + 1 + (rest.len() - next.len());
        }
    }
    if start < part.len() {
        found.push(range.start + start..range.end);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_stop_ends_a_sentence_and_no_abbreviation() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<&str> =
                sentences(text, 0..text.len()).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, expected);
        };
        check(
            "It opens on 3 May 2026. The hall is B348!\nCome.",
            &["It opens on 3 May 2026.", "The hall is B348!", "Come."],
        );
        check("No. 5 opens at 9 a.m. Monday to Mr. Hall.", &["No. 5 opens at 9 a.m. Monday to Mr. Hall."]);
        check("EUR 3.650 and v1.2", &["EUR 3.650 and v1.2"]);
        check("We are 64. Come to it. Ask Jo.", &["We are 64.", "Come to it.", "Ask Jo."]);
    }

    #[test]
    fn words_keep_their_places() {
        let text = "at (EUR 3,650), \"now\"";
        let found = tokens(text, 3..text.len());
        let told: Vec<(&str, bool)> = found.iter().map(|token| (token.text, token.ends)).collect();
        assert_eq!(told, [("EUR", false), ("3,650", true), ("now", true)]);
        assert!(found.iter().all(|token| &text[token.bytes.clone()] == token.text));
    }
}

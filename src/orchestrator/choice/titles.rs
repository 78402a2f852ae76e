//! Headings that a goal names beside a word such as "headings": in quotation marks, or with slashes between them.

use super::enumeration::{has_part_noun, is_short, sentences};
use super::words::words;

/// Marks that open a quotation, each with those that may close it.
const QUOTES: &[(char, &[char])] = &[
    ('"', &['"']),
    ('“', &['”', '“']),
    ('„', &['“', '”']),
    ('\'', &['\'']),
    ('‘', &['’', '\'']),
    ('«', &['»']),
];
/// What stands before headings with slashes between them.
const LEADS: &[&str] =
    &[": ", "headed ", "called ", "titled ", "entitled ", "named ", "headings ", "sections "];

/// Words of a sentence whose quotations are words that must occur, or must not.
const WORD_NOUNS: &[&str] = &[
    "contain", "contains", "mention", "mentions", "include", "includes", "occur", "appear", "use", "word",
    "words", "say", "says", "avoid", "phrase", "phrases", "term",
];
/// Words that come before headings. A sentence with one of them names headings, whatever else it says.
const HEADING_NOUNS: &[&str] = &["heading", "headings", "headed", "called", "titled", "entitled"];
/// A heading has no more bytes.
const TITLE_BYTES_MAX: usize = 120;

/// The headings, in order; none if the goal does not name two or more.
pub(super) fn explicit_titles(goal: &str) -> Vec<String> {
    let names_words = |sentence: &&str| {
        let said = words(sentence);
        let has = |list: &[&str]| said.iter().any(|word| list.contains(&word.as_str()));
        has(WORD_NOUNS) && !has(HEADING_NOUNS)
    };
    let found = sentences(goal).filter(|sentence| has_part_noun(sentence) && !names_words(sentence));
    let found = found.map(|sentence| {
        let quoted = quoted_run(sentence);
        if quoted.is_empty() { slashed(sentence) } else { quoted }
    });
    found.filter(|titles| titles.len() >= 2).max_by_key(Vec::len).unwrap_or_default()
}

/// The longest row of quotations with nothing but commas, slashes and "and" between them, behind the noun.
fn quoted_run(sentence: &str) -> Vec<String> {
    let (mut longest, mut run): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = sentence;
    // Whether the noun has been said.
    let mut led = false;
    while let Some((start, end, title)) = quotation(rest) {
        let between = &rest[..start];
        let joins = between.split(|c: char| c.is_whitespace() || matches!(c, ',' | '/' | '&'));
        let is_joined = joins.filter(|word| !word.is_empty()).all(|word| matches!(word, "and" | "or"));
        if !is_joined {
            run.clear();
        }
        led = led || has_part_noun(between);
        if led {
            run.push(title.trim().to_owned());
        }
        if run.len() > longest.len() {
            longest.clone_from(&run);
        }
        rest = &rest[end..];
    }
    if longest.iter().all(|title| is_short(title)) { longest } else { Vec::new() }
}

/// The first quotation of a text: where it begins and ends, marks included, and what stands in it. An apostrophe within a
/// word is no mark.
fn quotation(text: &str) -> Option<(usize, usize, &str)> {
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    for (start, open) in text.char_indices() {
        let Some((_, closing)) = QUOTES.iter().find(|(mark, _)| *mark == open) else { continue };
        if word(text[..start].chars().next_back()) {
            continue;
        }
        let inside = start + open.len_utf8();
        let closes = |&(at, c): &(usize, char)| {
            closing.contains(&c) && at > 0 && !word(text[inside + at + c.len_utf8()..].chars().next())
        };
        let end = text[inside..].char_indices().take(TITLE_BYTES_MAX).find(closes);
        if let Some((at, c)) = end.filter(|(at, _)| word(text[inside..inside + at].chars().next())) {
            return Some((start, inside + at + c.len_utf8(), &text[inside..inside + at]));
        }
    }
    None
}

/// Headings such as "Cause / Measures taken".
fn slashed(sentence: &str) -> Vec<String> {
    let Some(first) = sentence.find(" / ") else { return Vec::new() };
    let from =
        LEADS.iter().filter_map(|lead| Some(sentence[..first].rfind(lead)? + lead.len())).max().unwrap_or(0);
    let list = &sentence[from..];
    let list = &list[..list.find([',', ';', '(']).unwrap_or(list.len())];
    let titles: Vec<String> =
        list.split(" / ").map(|title| title.trim().trim_end_matches('.').to_owned()).collect();
    let is_title = |title: &String| title.starts_with(char::is_uppercase) && is_short(title);
    if titles.iter().all(is_title) { titles } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_read_in_quotation_marks_and_between_slashes() {
        for (goal, expected) in [
            (
                "Three parts please, with the headings 'Plan of work', 'What we give' and 'Why it matters'.",
                "Plan of work|What we give|Why it matters",
            ),
            (
                "It needs two sections headed \"Money matters\" and \"Thank you\", in that order. Keep \"Thank you\" short.",
                "Money matters|Thank you",
            ),
            (
                "The sections must be called Dates and tickets / The play, one after the other.",
                "Dates and tickets|The play",
            ),
            (
                "Use exactly these headings, in this order: Medicines / Before the day. Don't use \"panic\".",
                "Medicines|Before the day",
            ),
            (
                "Four sections headed Our request / What we give / Why it matters, in that order. \"Our request\": between 30 and 50 words.",
                "Our request|What we give|Why it matters",
            ),
            ("It's the boss's wish: sections “Aim”, “Way” & “Cost”.", "Aim|Way|Cost"),
            ("Write a text with the sections Sun and Rain. No section may use 'very' or 'really'.", ""),
            ("Each section must contain \"soup\" and \"bread\".", ""),
            ("Write about the boys' and girls' teams in two parts.", ""),
            ("What is 3 / 4 of the section?", ""),
        ] {
            assert_eq!(explicit_titles(goal).join("|"), expected, "{goal}");
        }
    }
}

//! What a translation or a rewritten text must keep of its text, and what no result may add: numbers, codes and names.

use std::collections::HashSet;

use super::super::slots::Work;
use crate::checks::{numbers_in, words};
use crate::strategies::limit::number_word;

/// Numbers up to this are often written as words.
const SMALL_MAX: u64 = 12;
/// Titles before the name of a person.
const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "dr",
    "prof",
    "professor",
    "herr",
    "frau",
    "mme",
    "monsieur",
    "madame",
    "señor",
    "señora",
    "sr",
    "sra",
    "signor",
    "signora",
];
/// Letters of a name that stay when it is inflected.
const NAME_STEM: usize = 4;

/// The first number, code or name of a text that a result lacks.
pub(super) fn lost(work: Work, source: &str, result: &str) -> Option<String> {
    let numbers = lost_number(source, result);
    let lower = result.to_lowercase();
    let code =
        codes(source).into_iter().find(|code| !lower.contains(&code.to_lowercase())).map(str::to_owned);
    let name = || names(work, source).into_iter().find(|name| !has_name(&lower, name));
    numbers.or(code).or_else(name)
}

fn lost_number(source: &str, result: &str) -> Option<String> {
    let there: HashSet<String> = numbers(result).into_iter().collect();
    let spelled: HashSet<u64> =
        words(result).iter().filter_map(|word| number_word(word)).map(u64::from).collect();
    let by_halves = source.to_lowercase();
    let by_halves = ["am", "pm", "a.m.", "p.m."].iter().any(|half| by_halves.contains(half));
    numbers(source).into_iter().find(|number| {
        let value: u64 = number.parse().unwrap_or(u64::MAX);
        let is_spelled = value <= SMALL_MAX && (spelled.contains(&value) || !is_latin(result));
        let is_later = by_halves && value <= 12 && there.contains(&(value + 12).to_string());
        // A full hour may be written without its minutes.
        let is_nothing = number.bytes().all(|digit| digit == b'0');
        !there.contains(number) && !is_spelled && !is_later && !is_nothing
    })
}

/// Whether a text is in the script of the number words that are known.
fn is_latin(text: &str) -> bool {
    let letters = || text.chars().filter(|c| c.is_alphabetic());
    2 * letters().filter(|c| *c < '\u{250}').count() > letters().count()
}

/// The first number of a result that does not stand in what it was made from.
pub(super) fn invented(known: &str, result: &str) -> Option<String> {
    let there: HashSet<String> = numbers(known).into_iter().collect();
    let told = numbers_in(known);
    numbers(result).into_iter().find(|number| {
        let is_small = number.parse::<u64>().is_ok_and(|value| value <= 2 * SMALL_MAX);
        let is_told = || number.parse().is_ok_and(|value| told.contains(&value));
        !there.contains(number) && !is_small && !is_told()
    })
}

/// The numbers of a text as digits alone, without the marks that languages put between them.
fn numbers(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let group = |at: usize| digit(at) && digit(at + 1) && digit(at + 2) && !digit(at + 3);
    let mut found: Vec<String> = Vec::new();
    let mut run = String::new();
    for (at, c) in chars.iter().enumerate() {
        let joins = !run.is_empty()
            && match c {
                '.' | ',' => digit(at + 1),
                ' ' | '\'' | '’' | '\u{a0}' | '\u{202f}' => run.len() <= 3 && group(at + 1),
                _ => false,
            };
        if c.is_ascii_digit() {
            run.push(*c);
        } else if !joins && !run.is_empty() {
            found.push(std::mem::take(&mut run));
        }
    }
    found.extend((!run.is_empty()).then_some(run));
    found
}

/// Addresses and codes, which are the same in every language: `KX-2208`, `ada@example.org`, `https://…`.
fn codes(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .map(|token| token.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|token| {
            let is_code =
                token.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "-/_".contains(c))
                    && token.contains(|c: char| c.is_ascii_digit())
                    && token.starts_with(|c: char| c.is_ascii_uppercase());
            let is_address = token.contains("://") || (token.contains('@') && token.contains('.'));
            is_code || is_address
        })
        .collect()
}

/// Names that have to stay: those of persons after a title, and for a rewritten text two words in a row that are
/// capitalised within a sentence, of which a rewritten text has to have the last.
fn names(work: Work, text: &str) -> Vec<String> {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let bare = |token: &str| token.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let is_capital = |token: &str| bare(token).starts_with(char::is_uppercase) && bare(token).len() > 1;
    let is_title = |token: &str| TITLES.contains(&bare(token).to_lowercase().as_str());
    let mut found = Vec::new();
    for at in 1..tokens.len() {
        let (before, token) = (tokens[at - 1], tokens[at]);
        // An initial or a full stop after the title is none of the name.
        if is_title(before) && is_capital(token) && !is_title(token) {
            found.push(bare(token));
        }
        let starts = at < 2 || tokens[at - 2].ends_with(['.', '!', '?', ':', '"']);
        let are_one = !before.ends_with(|c: char| !c.is_alphanumeric());
        if work == Work::Rewrite && !starts && are_one && is_capital(before) && is_capital(token) {
            found.push(bare(token));
        }
    }
    found
}

fn has_name(result: &str, name: &str) -> bool {
    let stem: String = name.to_lowercase().chars().take(NAME_STEM).collect();
    words(result).iter().any(|word| word.starts_with(&stem))
        // A name in another script is written otherwise.
        || !is_latin(result)
}

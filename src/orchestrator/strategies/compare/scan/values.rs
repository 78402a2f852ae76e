//! Finds the values in a sentence by their forms: dates, times, numbers with their units, codes, addresses and names.

use bandmaster_tools::tables::days_meant;

use super::super::value::Value;
use super::found::{Found, found, is_empty_word};
use super::numbers::number;
use super::tokens::Token;
use crate::checks::words;

/// Most words of a date, such as "Sat, the 13th of June, 2026".
const DATE_WORDS_MAX: usize = 6;

/// The values of a sentence, in order. No word belongs to two of them.
pub(super) fn values(tokens: &[Token<'_>]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let readers = [date, time, address, year, number, code, name];
        match readers.iter().find_map(|reader| reader(tokens, at)) {
            Some(one) => {
                at = one.tokens.end.max(at + 1);
                found.push(one);
            }
            None => at += 1,
        }
    }
    found
}

fn joined(tokens: &[Token<'_>]) -> String {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text).collect();
    texts.join(" ")
}

fn has_digit(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
}

/// A date, with its year or without.
fn date(tokens: &[Token<'_>], at: usize) -> Option<Found> {
    let longest = DATE_WORDS_MAX.min(tokens.len() - at);
    for count in (1..=longest).rev() {
        let window = &tokens[at..at + count];
        let text = joined(window);
        let (first, last) = (window[0].text, window[count - 1].text);
        // A time beside the date is a value of its own, and "of" and "at" begin and end no date.
        let is_framed = [first, last].iter().any(|word| matches!(*word, "at" | "of" | "um" | "de"));
        if text.contains(':') || !has_digit(&text) || is_framed {
            continue;
        }
        let text = text.replace("the ", "");
        let days = days_meant(&text);
        if !days.is_empty() {
            return Some(found(tokens, at..at + count, Value::Date(days)));
        }
        // A leap year, so that there is a 29 February.
        let days = if count > 1 { days_meant(&format!("{text} 2024")) } else { Vec::new() };
        if let [(_, month, day)] = days[..] {
            return Some(found(tokens, at..at + count, Value::Date(vec![(0, month, day)])));
        }
    }
    None
}

/// A year by itself, as in "since 1823" and "in May 2026". After other words, four digits may count anything.
fn year(tokens: &[Token<'_>], at: usize) -> Option<Found> {
    let text = tokens[at].text;
    let number = text.parse::<i16>().ok().filter(|year| text.len() == 4 && (1000..2200).contains(year))?;
    let before = tokens.get(at.checked_sub(1)?).filter(|token| !token.ends)?;
    let month = days_meant(&format!("1 {} {text}", before.text)).first().map(|(_, month, _)| *month);
    let ends_phrase = tokens[at].ends || tokens.get(at + 1).is_none_or(|next| is_empty_word(next.text));
    let is_led = matches!(
        before.text.to_lowercase().as_str(),
        "in" | "since" | "from" | "until" | "by" | "of" | "for"
    );
    (month.is_some() || (is_led && ends_phrase))
        .then(|| found(tokens, at..at + 1, Value::Date(vec![(number, month.unwrap_or(0), 0)])))
}

/// A time of day, such as `14:30`, `9:00 am` or `2.30 pm`, or `9am`.
fn time(tokens: &[Token<'_>], at: usize) -> Option<Found> {
    let lower = tokens[at].text.to_lowercase();
    let (clock, glued) = ["am", "pm", "h"]
        .iter()
        .find_map(|end| Some((lower.strip_suffix(end)?, *end)))
        .unwrap_or((lower.as_str(), ""));
    let next = tokens.get(at + 1).filter(|_| !tokens[at].ends || glued.is_empty());
    let next = next.map_or(String::new(), |token| token.text.to_lowercase().replace('.', ""));
    let half = match (glued, next.as_str()) {
        ("am" | "pm", _) => glued.to_owned(),
        ("", "am" | "pm") => next,
        _ => String::new(),
    };
    let (hour, minute) = match clock.split_once([':', '.']) {
        Some((hour, minute)) if clock.contains(':') || !half.is_empty() || glued == "h" => (hour, minute),
        None if !half.is_empty() => (clock, "00"),
        _ => return None,
    };
    let digits = |text: &str, lengths: &[usize]| {
        (lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u16>().ok())?
    };
    let (hour, minute) = (digits(hour, &[1, 2])?, digits(minute, &[2])?);
    let hour = match half.as_str() {
        "pm" if hour < 12 => hour + 12,
        "am" if hour == 12 => 0,
        _ => hour,
    };
    let count = if glued.is_empty() && !half.is_empty() { 2 } else { 1 };
    (hour < 24 && minute < 60).then(|| found(tokens, at..at + count, Value::Time(hour * 60 + minute)))
}

fn address(tokens: &[Token<'_>], at: usize) -> Option<Found> {
    let text = tokens[at].text.trim_matches(['<', '>']);
    let is_mail = text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    let is_web = text.contains("://") || text.starts_with("www.");
    (is_mail || is_web).then(|| {
        let plain = text.to_lowercase();
        let plain = plain.trim_end_matches('/').to_owned();
        found(tokens, at..at + 1, Value::Address(plain))
    })
}

/// Letters and digits in one word, or digits with marks between them that are no number.
fn code(tokens: &[Token<'_>], at: usize) -> Option<Found> {
    let text = tokens[at].text;
    let has_letter = text.contains(char::is_alphabetic);
    let is_ordinal = ["st", "nd", "rd", "th"]
        .iter()
        .any(|end| text.strip_suffix(end).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())));
    let is_marked = !has_letter && text.contains(['-', '–', '/', '.', ':']);
    let is_plain =
        text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '–' | '/' | '.' | '_' | '#'));
    if !has_digit(text) || is_ordinal || !is_plain || !(has_letter || is_marked) {
        return None;
    }
    let plain: String = text.to_uppercase().chars().filter(|c| c.is_alphanumeric() || *c == '.').collect();
    // "v2.1" and "2.1" are the same version.
    let plain =
        plain.strip_prefix('V').filter(|rest| rest.contains('.')).map_or(plain.clone(), str::to_owned);
    Some(found(tokens, at..at + 1, Value::Code(plain)))
}

/// Two or more capitalised words in a row.
fn name(tokens: &[Token<'_>], at: usize) -> Option<Found> {
    let is_capital = |token: &Token<'_>| {
        let mut letters = token.text.chars();
        let capital = letters.next().is_some_and(char::is_uppercase);
        capital && token.text.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '\'' | '’' | '.'))
    };
    let mut end = at;
    while end < tokens.len() && is_capital(&tokens[end]) {
        end += 1;
        let is_initial = tokens[end - 1].text.chars().count() == 1;
        if tokens[end - 1].ends && !is_initial {
            break;
        }
    }
    let first_says_something = !is_empty_word(tokens[at].text) || tokens[at].text.chars().count() == 1;
    if end < at + 2 || !first_says_something {
        return None;
    }
    Some(found(tokens, at..end, Value::Name(words(&joined(&tokens[at..end])))))
}

#[cfg(test)]
mod tests;

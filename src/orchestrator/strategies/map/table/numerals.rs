//! Numbers and dates as a text writes them. Small readers slip when they copy them in another form.

use bandmaster_tools::calculator::Decimal;
use bandmaster_tools::tables::days_meant;
use serde_json::Value;

use crate::checks::{numbers_in, written_numbers};

/// The number a thousand times larger, if that is how the text writes it: with a comma before its last three digits. In
/// a text that has commas before other digits, they are points.
pub(super) fn grouped(text: &str, number: Decimal) -> Option<Value> {
    let larger = number.times(Decimal::from(1_000)).ok()?;
    let digits = larger.to_string();
    if !digits.bytes().all(|b| b.is_ascii_digit())
        || !(4..=6).contains(&digits.len())
        || digits.ends_with("000")
    {
        return None;
    }
    let (thousands, rest) = digits.split_at(digits.len() - 3);
    let written = format!("{thousands},{rest}");
    let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_digit() || matches!(c, ',' | '.'));
    let stands = text.match_indices(&written).any(|(at, _)| {
        let after = text[at + written.len()..].chars().next();
        is_edge(text[..at].chars().next_back()) && !after.is_some_and(|c| c.is_ascii_digit())
    });
    let has_decimal_comma = text.split(|c: char| !(c.is_ascii_digit() || c == ',')).any(|run| {
        let last = run.trim_end_matches(',').rsplit_once(',').map(|(_, last)| last);
        last.is_some_and(|last| last.len() != 3)
    });
    (stands && !has_decimal_comma).then(|| serde_json::from_str(&digits).ok()).flatten()
}

/// The number of a text that has the same digits as one that was read, but for noughts at the end, if the text has no
/// other like it: 240 where the text has "240,00" and 24000 or 240000 was read.
pub(super) fn with_same_digits(text: &str, number: Decimal) -> Option<Value> {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let is_mark = |c: char| matches!(c, ',' | '.' | '\'');
    let digits = |text: &str| digits(text).trim_end_matches('0').to_owned();
    let wanted = digits(&number.to_string());
    let runs = text.split(|c: char| !(c.is_ascii_digit() || is_mark(c))).map(|run| run.trim_matches(is_mark));
    let mut same: Vec<&str> = runs.filter(|run| run.contains(is_mark) && digits(run) == wanted).collect();
    same.dedup();
    let [only] = same[..] else { return None };
    let readings = written_numbers(only).pop()?;
    let [meant, rest @ ..] = &readings[..] else { return None };
    (!readings.contains(&number) && rest.iter().all(|other| other == meant))
        .then(|| serde_json::from_str(&meant.to_string()).ok())
        .flatten()
}

/// The dates with a year that a text names, such as "1st of July 2025", as YYYY-MM-DD. One that may have its day or its
/// month first is left out.
pub(super) fn dates_in(text: &str) -> Vec<String> {
    const WORDS_MAX: usize = 5;
    let words: Vec<&str> = text
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !matches!(*word, "of" | "the" | "de" | ""))
        .collect();
    let mut dates = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = WORDS_MAX.min(words.len() - at);
        let found =
            (1..=longest).rev().find_map(|count| match days_meant(&words[at..at + count].join(" "))[..] {
                [(year, month, day)] => Some((count, format!("{year:04}-{month:02}-{day:02}"))),
                _ => None,
            });
        at += found.as_ref().map_or(1, |(count, _)| *count);
        dates.extend(found.map(|(_, date)| date));
    }
    dates
}

/// Whether a sentence has a time of day: "8.30", "2:30 pm", "eight o'clock", "half past eleven".
pub(super) fn says_time(sentence: &str, hour: i64, minute: i64) -> bool {
    let numbers = numbers_in(&sentence.replace(['.', ':'], " "));
    let has = |number: i64| numbers.contains(&Decimal::from(number));
    let has_hour = |hour: i64| has(hour) || (hour > 12 && has(hour - 12));
    let is_told = |words: &str, hour: i64| sentence.contains(words) && has_hour(hour);
    (has_hour(hour) && (minute == 0 || has(minute)))
        || (minute == 30 && is_told("half past", hour))
        || (minute == 15 && is_told("quarter past", hour))
        || (minute == 45 && is_told("quarter to", hour + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dates_are_found_however_they_are_written() {
        for (text, expected) in [
            ("The last service was on 1st of July 2025.", &["2025-07-01"][..]),
            ("It was last serviced on December 22, 2025; we paid 2,908 euros.", &["2025-12-22"]),
            ("From 2025-03-01 to 4 May 2025.", &["2025-03-01", "2025-05-04"]),
            ("It has run 18,721 hours.", &[]),
        ] {
            assert_eq!(dates_in(text), expected, "{text}");
        }
    }

    #[test]
    fn a_number_with_the_same_digits_is_the_one_that_was_meant() {
        let number = |text: &str| text.parse::<Decimal>().expect("a number");
        assert_eq!(with_same_digits("It costs 240,00 EUR a day.", number("24000")), Some(json!(240)));
        assert_eq!(with_same_digits("It costs 240,00 EUR a day.", number("240000")), Some(json!(240)));
        assert_eq!(with_same_digits("It costs 24000 EUR a day.", number("24000")), None);
        assert_eq!(with_same_digits("It costs 240,00 or 24,000 EUR.", number("24000")), None);
    }
}

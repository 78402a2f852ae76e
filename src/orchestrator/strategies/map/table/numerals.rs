//! Numbers and dates as a text writes them. Small readers slip when they copy them in another form.

use bandmaster_tools::calculator::Decimal;
use serde_json::Value as Json;

use crate::checks::{numbers_in, sentences, words, written_numbers};
use crate::strategies::compare::{Value, statements};

/// The number a thousand times larger, if that is how the text writes it: with a comma before its last three digits. In
/// a text that has commas before other digits, they are points.
pub(super) fn grouped(text: &str, number: Decimal) -> Option<Json> {
    let larger = number.times(Decimal::from(1_000)).ok()?;
    // Where the text also has the number by itself, nothing was misread.
    if written_numbers(text).iter().any(|readings| readings.contains(&number) && !readings.contains(&larger))
    {
        return None;
    }
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

/// The only number of a text that has the same digits as one that was read and stands nowhere in it, but for noughts at
/// the end: 240 where the text has "240,00" and 24000 or 240000 was read.
pub(super) fn with_same_digits(text: &str, number: Decimal) -> Option<Json> {
    if numbers_in(text).contains(&number) {
        return None;
    }
    let digits = |text: &str| {
        let all: String = text.chars().filter(char::is_ascii_digit).collect();
        all.trim_end_matches('0').to_owned()
    };
    let is_mark = |c: char| matches!(c, ',' | '.' | '\'');
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

/// The times of day in a text, in minutes since midnight, each with the words around it.
pub(super) fn times_in(text: &str) -> Vec<(u16, &str)> {
    let written = statements(0, text).into_iter().filter_map(|one| match one.value {
        Value::Time(minutes) => Some((minutes, &text[one.quote])),
        _ => None,
    });
    let told = sentences(text).into_iter().flat_map(|sentence| {
        spoken(&sentence.to_lowercase()).into_iter().map(move |minutes| (minutes, sentence))
    });
    written.chain(told).collect()
}

/// Times in words: "eight o'clock", "half past eleven", "quarter to six".
fn spoken(sentence: &str) -> Vec<u16> {
    let said = words(sentence);
    let hour = |at: usize| {
        let number = said.get(at).and_then(|word| numbers_in(word).into_iter().next())?;
        (0..24_u16).find(|hour| Decimal::from(i64::from(*hour)) == number)
    };
    let is = |at: usize, word: &str| said.get(at).is_some_and(|said| said == word);
    let time = |at: usize| {
        let behind = if is(at + 1, "past") || is(at + 1, "to") { hour(at + 2) } else { None };
        match said[at].as_str() {
            "half" => Some(60 * behind? + 30),
            "quarter" if is(at + 1, "past") => Some(60 * behind? + 15),
            "quarter" => (60 * behind?).checked_sub(15),
            _ if is(at + 1, "o") && is(at + 2, "clock") => Some(60 * hour(at)?),
            _ => None,
        }
    };
    (0..said.len()).filter_map(time).collect()
}

/// Year, month and day. A part that a text leaves out is 0.
pub(super) type Day = (i16, i8, i8);

/// The dates in a text, each with all days that it may mean and the words around it.
pub(super) fn dates_in(text: &str) -> Vec<(Vec<Day>, &str)> {
    let dates = statements(0, text).into_iter().filter_map(|one| match one.value {
        Value::Date(days) => Some((days, &text[one.quote])),
        _ => None,
    });
    dates.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_found_in_digits_and_in_words() {
        let times = |text: &str| times_in(text).into_iter().map(|(minutes, _)| minutes).collect::<Vec<_>>();
        assert_eq!(times("It opens at 08:30 and closes at 6 pm."), [510, 1080]);
        assert_eq!(times("Half past eleven in the morning, or eight o'clock."), [690, 480]);
        assert_eq!(times("The doors are unlocked at 8.45 a.m."), [525]);
        assert_eq!(times("It has 9 tables."), [0_u16; 0]);
    }

    #[test]
    fn a_number_with_the_same_digits_is_the_one_that_was_meant() {
        let number = |text: &str| text.parse::<Decimal>().expect("a number");
        assert_eq!(with_same_digits("It costs 240,00 EUR a day.", number("24000")), Some(json!(240)));
        assert_eq!(with_same_digits("It costs 240,00 EUR a day.", number("240000")), Some(json!(240)));
        assert_eq!(with_same_digits("It costs 24000 EUR a day.", number("24000")), None);
        assert_eq!(with_same_digits("It costs 240,00 or 24,000 EUR.", number("24000")), None);
        assert_eq!(with_same_digits("It has 17 rooms, 1.7 km from the station.", number("17")), None);
    }
}

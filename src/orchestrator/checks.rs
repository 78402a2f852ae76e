//! Whether a result may be used: a number must occur in the text it was read from, and a text must not loop. A
//! rejection gives its reason in words that a model can act on.

use std::collections::HashSet;

use bandmaster_tools::calculator::Decimal;

use super::band::{Finish, Reply};

/// Like [`check_text`], and also rejects a reply that was cut off at its token limit.
///
/// # Errors
/// The reason for the rejection, in words that a model can act on.
pub(crate) fn check_whole(reply: &Reply) -> Result<String, String> {
    match reply.finish {
        Finish::Length => Err("it was cut off at its limit: answer more shortly".to_owned()),
        Finish::Stop | Finish::Deadline => check_text(&reply.text),
    }
}

/// Splits a text into lower-case words and numbers, without punctuation.
#[must_use]
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Every number that the text may mean. Includes number words, signs, multipliers such as "million", and both the
/// English and the continental reading of commas and points.
#[must_use]
pub(crate) fn numbers_in(text: &str) -> HashSet<Decimal> {
    let written = written_numbers(text).into_iter().flatten();
    written.chain(spelled_numbers(text)).collect()
}

/// The numbers written in digits, in order, each with all values it may mean.
#[must_use]
pub(crate) fn written_numbers(text: &str) -> Vec<Vec<Decimal>> {
    let mut found = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        if !chars[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        while at < chars.len() && in_number(&chars, at) {
            at += 1;
        }
        let run: String = chars[start..at].iter().collect();
        let negative = is_negative(&chars, start);
        let rest: String = chars[at..].iter().take(10).collect();
        let mut values = readings(&run);
        if let Some(by) = multiplier(&rest) {
            let scaled: Vec<Decimal> = values.iter().filter_map(|value| value.times(by).ok()).collect();
            values.extend(scaled);
        }
        if negative {
            values.iter_mut().for_each(|value| *value = value.negated());
        }
        found.push(values);
    }
    found
}

/// Each number of a text with all values it may mean, in digits or in words.
#[must_use]
pub(crate) fn number_groups(text: &str) -> Vec<Vec<Decimal>> {
    let mut groups = written_numbers(text);
    groups.extend(spelled_numbers(text).into_iter().map(|number| vec![number]));
    groups
}

/// A number is negative after "minus", or after a sign that follows no letter or digit: the seven in "5-7" is positive.
fn is_negative(chars: &[char], start: usize) -> bool {
    let sign = start > 0 && matches!(chars[start - 1], '-' | '−' | '–');
    let free = start < 2 || !chars[start - 2].is_alphanumeric();
    let before: String = chars[start.saturating_sub(6)..start].iter().collect();
    (sign && free) || before.to_lowercase() == "minus "
}

/// A digit, or a grouping or decimal mark before a digit.
fn in_number(chars: &[char], at: usize) -> bool {
    let digit = |index: usize| chars.get(index).is_some_and(char::is_ascii_digit);
    digit(at) || (matches!(chars[at], '.' | ',' | '\'' | ' ' | '\u{a0}' | '\u{202f}') && digit(at + 1))
}

/// No rule can tell how "1,234.5", "1.234,5" or "12 345" is meant, so every reading counts. The parts of a number are no
/// numbers: only what may be several, such as a date or two numbers with a space between them, is also read in parts.
fn readings(run: &str) -> Vec<Decimal> {
    let spaces = |c: char| matches!(c, ' ' | '\u{a0}' | '\u{202f}');
    let bare = |text: &str| text.replace(|c: char| spaces(c) || c == '\'', "");
    let mut texts: Vec<String> = vec![bare(run)];
    for piece in run.split(spaces) {
        texts.push(bare(piece));
        if !is_one_number(piece) {
            texts.extend(piece.split(|c: char| !c.is_ascii_digit()).map(str::to_owned));
        }
    }
    let read = texts.into_iter().flat_map(|text| {
        let english = text.replace(',', "");
        let continental = text.replace('.', "").replace(',', ".");
        match (is_grouped(&text, ',', '.'), is_grouped(&text, '.', ',')) {
            (true, false) => vec![english],
            (false, true) => vec![continental],
            _ => vec![english, continental],
        }
    });
    read.filter_map(|text| text.parse().ok()).collect()
}

/// Whether each `mark` of a number can part thousands: three digits follow it, and no `point` comes before it.
fn is_grouped(number: &str, mark: char, point: char) -> bool {
    let (whole, part) = number.split_once(point).unwrap_or((number, ""));
    let mut groups = whole.split(mark);
    let first = groups.next().unwrap_or_default();
    let is_parted = whole.contains(mark);
    !part.contains([mark, point]) && (!is_parted || first.len() <= 3) && groups.all(|group| group.len() == 3)
}

/// Whether digits with marks between them can only be one number: they have one mark, or groups of three digits.
fn is_one_number(run: &str) -> bool {
    let marks = run.chars().filter(|c| !c.is_ascii_digit()).count();
    let groups: Vec<&str> = run.split(|c: char| !c.is_ascii_digit()).collect();
    let [first, middle @ .., _] = &groups[..] else { return true };
    marks == 1 || (first.len() <= 3 && middle.iter().all(|group| group.len() == 3))
}

fn multiplier(rest: &str) -> Option<Decimal> {
    let word = words(rest).into_iter().next()?;
    let touching = !rest.starts_with([' ', '\u{a0}', '-']);
    match word.as_str() {
        "thousand" => Some(Decimal::from(1_000)),
        "k" if touching => Some(Decimal::from(1_000)),
        "m" if touching => Some(Decimal::from(1_000_000)),
        "million" | "mio" => Some(Decimal::from(1_000_000)),
        "billion" => Some(Decimal::from(1_000_000_000)),
        "dozen" => Some(Decimal::from(12)),
        _ => None,
    }
}

/// The numbers in words: "twenty-three", "one hundred and five", "two thousand four hundred".
#[must_use]
pub(crate) fn spelled_numbers(text: &str) -> Vec<Decimal> {
    let mut found = Vec::new();
    let (mut total, mut group, mut open) = (0_i64, 0_i64, false);
    for word in words(text).iter().map(String::as_str).chain(std::iter::once("")) {
        match (number_word(word), word) {
            (Some(value), _) => {
                // In "twenty twenty" the second word begins a new number.
                if open && (group % 100 != 0 && !(value < 10 && group % 10 == 0)) {
                    found.push(total + group);
                    (total, group) = (0, 0);
                }
                group += value;
                open = true;
            }
            (None, "hundred") => (group, open) = (group.max(1).saturating_mul(100), true),
            (None, "thousand") if group < 1_000_000 => {
                (total, group, open) = (total + group.max(1) * 1000, 0, true)
            }
            (None, "dozen") => (group, open) = (group.max(1).saturating_mul(12), true),
            (None, "and") if open => {}
            _ => {
                if open {
                    found.push(total + group);
                }
                (total, group, open) = (0, 0, false);
            }
        }
    }
    found.into_iter().map(Decimal::from).collect()
}

fn number_word(word: &str) -> Option<i64> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let small = SMALL.iter().position(|name| *name == word).map(|value| value as i64);
    small.or_else(|| TENS.iter().position(|name| *name == word).map(|tens| 10 * (tens as i64 + 2)))
}

/// Splits a text into sentences. A line break also ends a sentence.
#[must_use]
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map_or(' ', |(_, next)| *next);
        if c == '\n' || (matches!(c, '.' | '!' | '?') && next.is_whitespace()) {
            found.push(text[start..at + c.len_utf8()].trim());
            start = at + c.len_utf8();
        }
    }
    found.push(text[start..].trim());
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// Whether the words of `phrase` occur in the text, one directly after another.
#[must_use]
pub(crate) fn stands_in(text: &str, phrase: &str) -> bool {
    let joined = |text: &str| format!(" {} ", words(text).join(" "));
    let phrase = joined(phrase);
    !phrase.trim().is_empty() && joined(text).contains(&phrase)
}

/// Whether more than half of the answer's words occur in the text, in any order. Words of one or two letters are
/// ignored unless there are no others.
#[must_use]
pub(crate) fn mostly_in(text: &str, answer: &str) -> bool {
    let has: HashSet<String> = words(text).into_iter().collect();
    let all = words(answer);
    let telling = |word: &&String| word.len() > 2 || word.parse::<u8>().is_ok();
    let mut wanted: Vec<&String> = all.iter().filter(telling).collect();
    // All words are short, as in "UK".
    if wanted.is_empty() {
        wanted = all.iter().collect();
    }
    wanted.iter().filter(|word| has.contains(**word)).count() * 2 > wanted.len()
}

/// Whether a text ends in a loop: the same 3 to 40 words four times in a row, or the same word twelve times.
#[must_use]
pub(crate) fn runs_in_circles(text: &str) -> bool {
    const TIMES: usize = 4;
    let words = words(text);
    let repeats = |width: usize| {
        let tail = &words[words.len() - width..];
        (1..TIMES).all(|back| {
            let end = words.len() - back * width;
            &words[end - width..end] == tail
        })
    };
    (3..=40).any(|width| words.len() >= TIMES * width && repeats(width))
        || (words.len() >= 12 && words[words.len() - 12..].iter().all(|word| *word == words[words.len() - 1]))
}

/// The text up to the first sentence that repeats an earlier one.
#[must_use]
pub(crate) fn before_repetition(text: &str) -> &str {
    let mut seen: Vec<HashSet<String>> = Vec::new();
    for sentence in sentences(text) {
        let words: HashSet<String> = words(sentence).into_iter().collect();
        let repeats = |earlier: &HashSet<String>| {
            let shared = earlier.intersection(&words).count();
            // A long sentence repeats another even with a few words changed, a short one only with the same words.
            if words.len() >= 8 {
                4 * shared >= 3 * words.len()
            } else {
                words.len() >= 4 && *earlier == words
            }
        };
        if seen.iter().any(repeats) {
            // `sentence` is a slice of `text`.
            let at = sentence.as_ptr() as usize - text.as_ptr() as usize;
            return text[..at].trim_end();
        }
        seen.push(words);
    }
    text
}

/// Accepts free text that is not empty and does not loop, and trims it.
///
/// # Errors
/// The reason for the rejection, in words that a model can act on.
pub(crate) fn check_text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("the answer was empty".to_owned());
    }
    if runs_in_circles(text) {
        return Err("the answer repeats itself; write each thing once and stop".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, number: &str) -> bool {
        numbers_in(text).contains(&number.parse().unwrap())
    }

    #[test]
    fn a_number_stands_in_a_text_however_it_is_written() {
        for (text, number) in [
            ("employed 23 people", "23"),
            ("a turnover of 1,234.50 dollars", "1234.5"),
            ("Umsatz 1.234,50 Euro", "1234.5"),
            ("12 345 visitors", "12345"),
            ("at −4.5 degrees", "-4.5"),
            ("it was -7°C", "-7"),
            ("minus 11.2 degrees", "-11.2"),
            ("pages 5-7", "7"),
            ("3.2 million visitors", "3200000"),
            ("a fee of $45k", "45000"),
            ("twenty-three people", "23"),
            ("One hundred and five guests", "105"),
            ("two thousand four hundred sheep", "2400"),
            ("three dozen eggs", "36"),
            ("in 2024, 68 people", "68"),
            ("Total: £99.", "99"),
            ("on 12.05.2026", "2026"),
            ("CHF 12'500.50", "12500.5"),
            ("1.234.567,89", "1234567.89"),
            ("in room 12 345 people", "345"),
        ] {
            assert!(has(text, number), "{number} in {text:?}: {:?}", numbers_in(text));
        }
        for (text, number) in [
            ("employed 23 people", "2"),
            ("1,234", "5"),
            ("a fee of 1,100 euros", "1"),
            ("a fee of 1,100 euros", "100"),
            ("a lens of 3.5 mm", "3"),
            ("CHF 12'500.50", "500"),
            ("1.234.567,89", "234"),
            ("fees of 1,100 2,200", "100"),
            ("In 2024 1,100 people", "1"),
            ("twenty-three", "43"),
            ("no number", "0"),
            ("it was -6.1", "6.1"),
            ("it costs 9.250,00 EUR", "9.25"),
            ("1,234.5 dollars", "1.2345"),
        ] {
            assert!(!has(text, number), "{number} in {text:?}");
        }
    }

    #[test]
    fn a_text_is_kept_up_to_its_first_repetition() {
        let text =
            "Bees need room. They fly far in summer. 1.\nThey fly far in summer. They fly far in summer.";
        assert_eq!(before_repetition(text), "Bees need room. They fly far in summer. 1.");
        assert_eq!(before_repetition("One. Two. One. Two."), "One. Two. One. Two.");
    }

    #[test]
    fn loops_are_told_from_lists() {
        assert!(runs_in_circles(&"and then it rains again ".repeat(6)));
        assert!(runs_in_circles(&"very ".repeat(30)));
        assert!(!runs_in_circles("one two three, two three four, three four five, four five six"));
        assert!(!runs_in_circles("short"));
        assert!(check_text("  ").is_err());
    }
}

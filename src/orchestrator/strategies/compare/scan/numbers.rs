//! Numbers in digits and in words, with what they count, and how exact they are.

use std::ops::Range;

use bandmaster_tools::calculator::Decimal;

use super::super::value::{Bound, Unit, Value, currency_named, unit_named};
use super::found::{Found, found, is_empty_word};
use super::tokens::Token;
use crate::checks::{numbers_in, written_numbers};
use crate::topic::content_words;

/// Most words of a number in words, such as "two thousand four hundred and five".
const SPELLED_WORDS_MAX: usize = 8;
/// Most words that say what a number counts, as in "registered day visitors".
const NOUN_WORDS_MAX: usize = 3;

/// The digits of a number, and what is written without a space before and after them.
struct Digits<'t> {
    before: &'t str,
    digits: &'t str,
    after: &'t str,
}

/// A number, with its unit or the noun that it counts.
pub(super) fn number(tokens: &[Token<'_>], at: usize) -> Option<Found> {
    let prefix = currency_named(tokens[at].text).filter(|_| !tokens[at].ends);
    let start = if prefix.is_some() { at + 1 } else { at };
    let (readings, end, glued) = in_digits(tokens, start).or_else(|| in_words(tokens, start))?;
    let (mut unit, mut times) = (Unit::Open, 1);
    let mut named = end;
    if let Some(currency) = prefix.or(glued.and_then(currency_named)) {
        unit = Unit::Money(currency);
    } else if let Some(of) = glued.and_then(unit_named) {
        (unit, times) = of;
    } else if let Some(of) = follows(tokens, end).and_then(|token| unit_named(token.text)) {
        ((unit, times), named) = (of, end + 1);
    }
    let noun = if unit == Unit::Open { noun(tokens, end) } else { named..named };
    if !noun.is_empty() {
        unit = Unit::Count;
    }
    let per = per(tokens, noun.end);
    let bytes = tokens[at].bytes.start..tokens[named - 1].bytes.end;
    let value = Value::Number { readings, unit, times, per, bound: bound(tokens, at) };
    Some(Found { noun, bytes, ..found(tokens, at..named, value) })
}

/// The word after the number, unless a mark stands between them.
fn follows<'a, 't>(tokens: &'a [Token<'t>], end: usize) -> Option<&'a Token<'t>> {
    tokens.get(end).filter(|_| !tokens[end - 1].ends)
}

/// What a number in digits may mean, the index of the word after it, and the unit that is written without a space.
fn in_digits<'t>(tokens: &[Token<'t>], at: usize) -> Option<(Vec<Decimal>, usize, Option<&'t str>)> {
    let first = split(tokens.get(at)?.text)?;
    let glued = if first.before.is_empty() { first.after } else { first.before };
    let is_unit = |name: &str| unit_named(name).is_some() || matches!(name, "k" | "m" | "M");
    if !glued.is_empty() && !is_unit(glued)
        || !first.before.is_empty() && currency_named(first.before).is_none()
    {
        return None;
    }
    let mut end = at + 1;
    let mut text = format!("{}{}", first.digits, if is_multiplier(first.after) { first.after } else { "" });
    // "12 345" is one number.
    let is_group =
        |token: &&Token<'_>| token.text.len() == 3 && token.text.bytes().all(|b| b.is_ascii_digit());
    while first.after.is_empty()
        && first.digits.len() <= 3
        && let Some(group) = follows(tokens, end).filter(is_group)
    {
        text.push_str(group.text);
        end += 1;
    }
    if let Some(times) = follows(tokens, end).filter(|token| is_multiplier(&token.text.to_lowercase())) {
        text = format!("{text} {}", times.text);
        end += 1;
    }
    let readings = written_numbers(&text).into_iter().next()?;
    let is_scaled = text.contains(char::is_alphabetic);
    let readings = match is_scaled {
        // Without the million, the digits mean something else.
        true => readings.iter().copied().filter(|value| value.magnitude() >= Decimal::from(1_000)).collect(),
        false => whole_readings(first.digits, readings),
    };
    let glued = Some(glued).filter(|name| !name.is_empty() && !is_multiplier(name));
    Some((readings, end, glued))
}

fn is_multiplier(word: &str) -> bool {
    matches!(word, "k" | "thousand" | "million" | "mio" | "billion")
}

/// The readings of all digits together: "3,650" may be 3650 or 3.65, and neither 3 nor 650.
fn whole_readings(digits: &str, readings: Vec<Decimal>) -> Vec<Decimal> {
    let marks: Vec<char> = digits.chars().filter(|c| !c.is_ascii_digit()).collect();
    let plain = |from: char| digits.replace(from, "").replace(['\'', ' '], "");
    let texts = match marks[..] {
        [] => return readings,
        _ => [plain(','), plain('.').replace(',', ".")],
    };
    let mut whole: Vec<Decimal> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    // Groups have three digits: a decimal mark before other than three digits is one, and three digits after a single
    // mark are a group more often than decimals.
    let tail = digits.rsplit(|c: char| !c.is_ascii_digit()).next().map_or(0, str::len);
    if marks.len() == 1 && tail == 3 && !digits.starts_with('0') {
        whole.retain(|value| value.magnitude() >= Decimal::from(1_000));
    } else if marks.len() == 1 && tail != 3 {
        let decimal = digits.replace(',', ".");
        whole = decimal.parse().into_iter().collect();
    }
    if whole.is_empty() { readings } else { whole }
}

/// Digits with marks between them, and what touches them.
fn split(text: &str) -> Option<Digits<'_>> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let digits = &text[start..end];
    let is_number = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '\''));
    // `10.0.0.1` and `2.1.3` are no numbers.
    let groups: Vec<&str> = digits.split('.').collect();
    let is_dotted = groups.len() > 2 && groups[1..].iter().any(|group| group.len() != 3);
    let before = text[..start].trim_start_matches(['+', '-', '−', '~', '≈', '≥', '≤', '<', '>', '#']);
    (is_number && !is_dotted).then_some(Digits { before, digits, after: &text[end..] })
}

/// A number in words. "One" alone is mostly no number.
fn in_words<'t>(tokens: &[Token<'t>], at: usize) -> Option<(Vec<Decimal>, usize, Option<&'t str>)> {
    let only = |end: usize| {
        let texts: Vec<&str> = tokens[at..end].iter().map(|token| token.text).collect();
        let numbers = numbers_in(&texts.join(" "));
        if numbers.len() == 1 { numbers.into_iter().next() } else { None }
    };
    let text = tokens.get(at)?.text.to_lowercase();
    if text == "one" || matches!(text.as_str(), "and" | "hundred" | "thousand") || only(at + 1).is_none() {
        return None;
    }
    let mut end = at + 1;
    let mut value = only(end)?;
    for longer in at + 2..=(at + SPELLED_WORDS_MAX).min(tokens.len()) {
        if tokens[longer - 2].ends {
            break;
        }
        match only(longer) {
            // The next word belongs to it, or is the "and" of "hundred and five".
            Some(more) if more != value => (value, end) = (more, longer),
            Some(_) if tokens[longer - 1].text == "and" => {}
            _ => break,
        }
    }
    Some((vec![value], end, None))
}

/// The words after a number that say what it counts.
fn noun(tokens: &[Token<'_>], end: usize) -> Range<usize> {
    let mut last = end;
    while last < end + NOUN_WORDS_MAX
        && let Some(token) = follows(tokens, last)
        && token.text.chars().all(|c| c.is_alphabetic() || c == '-')
        && !is_empty_word(token.text)
    {
        last += 1;
    }
    end..last
}

/// What the number is a rate of: "a month", "per person", "each".
fn per(tokens: &[Token<'_>], at: usize) -> String {
    let of = |at: usize| {
        let word = tokens.get(at).and_then(|token| content_words(token.text).into_iter().next());
        word.map_or(String::new(), |word| word.trim_end_matches('s').to_owned())
    };
    let Some(first) = follows(tokens, at) else { return String::new() };
    match first.text.to_lowercase().as_str() {
        "per" | "each" | "every" => of(at + 1),
        "a" | "an" => of(at + 1),
        word => match word.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            Some(_) => of(at + 1),
            None => String::new(),
        },
    }
}

/// How exact the number is, by the words before it.
fn bound(tokens: &[Token<'_>], at: usize) -> Bound {
    let start = at.saturating_sub(3);
    let before: Vec<String> = tokens[start..at].iter().map(|token| token.text.to_lowercase()).collect();
    let before = before.join(" ");
    let ends = |words: &[&str]| words.iter().any(|words| before.ends_with(words));
    let first = tokens[at].text;
    if first.starts_with('≥') || ends(&["at least", "minimum", "min", "minimum of", "more than", "over"]) {
        Bound::AtLeast
    } else if first.starts_with('≤')
        || ends(&["at most", "up to", "maximum", "max", "maximum of", "less than", "under", "no more than"])
    {
        Bound::AtMost
    } else if first.starts_with(['~', '≈'])
        || ends(&["about", "around", "roughly", "approximately", "approx", "nearly", "almost", "some", "ca"])
    {
        Bound::About
    } else {
        Bound::Exact
    }
}

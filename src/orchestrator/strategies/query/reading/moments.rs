//! A day, month, quarter, half or year as people write it.

use super::words::Word;

/// `(year, month, day)`.
pub(in super::super) type Day = (i32, u32, u32);

/// A part of the calendar, with a year or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub year: Option<i32>,
    /// First and last month.
    pub months: (u32, u32),
    pub day: Option<u32>,
    /// Whether day and month could be meant the other way round.
    pub is_ambiguous: bool,
}

impl Moment {
    fn months(year: Option<i32>, first: u32, last: u32) -> Self {
        Self { year, months: (first, last), day: None, is_ambiguous: false }
    }

    fn day(year: Option<i32>, month: u32, day: u32) -> Option<Self> {
        let fits = (1..=12).contains(&month) && (1..=days_in(year.unwrap_or(2024), month)).contains(&day);
        fits.then_some(Self { year, months: (month, month), day: Some(day), is_ambiguous: false })
    }

    pub(super) fn first_day(&self, year: i32) -> Day {
        (year, self.months.0, self.day.unwrap_or(1))
    }

    pub(super) fn last_day(&self, year: i32) -> Day {
        (year, self.months.1, self.day.unwrap_or_else(|| days_in(year, self.months.1)))
    }
}

pub(super) fn days_in(year: i32, month: u32) -> u32 {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

pub(super) fn next_day((year, month, day): Day) -> Day {
    match (month, day) {
        (12, 31) => (year + 1, 1, 1),
        _ if day == days_in(year, month) => (year, month + 1, 1),
        _ => (year, month, day + 1),
    }
}

pub(super) fn day_before((year, month, day): Day) -> Day {
    match (month, day) {
        (1, 1) => (year - 1, 12, 31),
        (_, 1) => (year, month - 1, days_in(year, month - 1)),
        _ => (year, month, day - 1),
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
/// Before these, "may" and "march" are months.
const BEFORE_MONTH: &[&str] = &[
    "in", "of", "from", "to", "until", "till", "since", "through", "during", "before", "after", "early",
    "late", "and", "or", "between",
];
/// Before these, a number of four digits is a year.
const BEFORE_YEAR: &[&str] = &[
    "in", "of", "during", "since", "from", "to", "until", "till", "before", "after", "for", "year",
    "between", "and", "through",
];

fn month(words: &[Word], at: usize) -> Option<u32> {
    let word = words.get(at)?;
    let text = word.text.as_str();
    let number = MONTHS.iter().position(|month| {
        *month == text
            || (text.len() == 3 && month.starts_with(text))
            || (*month == "september" && text == "sept")
    })?;
    let before = at.checked_sub(1).map(|before| words[before].text.as_str());
    let is_word = matches!(text, "may" | "march" | "mar" | "jan" | "dec" | "sep");
    let has_year = words.get(at + 1).is_some_and(|next| year_of(&next.text).is_some());
    let is_meant = word.is_upper
        || has_year
        || before.is_some_and(|before| BEFORE_MONTH.contains(&before) || day_of(before).is_some());
    (!is_word || is_meant).then_some(number as u32 + 1)
}

fn year_of(text: &str) -> Option<i32> {
    text.parse().ok().filter(|year| text.len() == 4 && (1900..2100).contains(year))
}

/// A day of the month, such as `15` or `15th`.
fn day_of(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let is_ending = matches!(&text[digits.len()..], "" | "st" | "nd" | "rd" | "th");
    digits.parse().ok().filter(|day| is_ending && (1..=31).contains(day))
}

fn ordinal(text: &str) -> Option<u32> {
    match text {
        "first" | "1st" => Some(1),
        "second" | "2nd" => Some(2),
        "third" | "3rd" => Some(3),
        "fourth" | "4th" | "last" | "final" => Some(4),
        _ => None,
    }
}

fn between<'t>(text: &'t str, words: &[Word], at: usize) -> &'t str {
    words.get(at).zip(words.get(at + 1)).map_or("", |(one, next)| &text[one.to..next.from])
}

/// The moment that begins with the word `at`, and the word behind it.
pub(super) fn moment(text: &str, words: &[Word], at: usize) -> Option<(Moment, usize)> {
    digits(text, words, at)
        .or_else(|| named(words, at))
        .or_else(|| quarter(words, at))
        .or_else(|| year(words, at))
}

/// `2025-07-15`, `2025-07`, `15.07.2025`, `07/15/2025`.
fn digits(text: &str, words: &[Word], at: usize) -> Option<(Moment, usize)> {
    let number = |at: usize| {
        words.get(at).and_then(|word| word.text.parse::<u32>().ok().filter(|_| word.text.len() <= 2))
    };
    let mark = between(text, words, at);
    if let (Some(year), Some(month), "-" | "/") = (year_of(&words[at].text), number(at + 1), mark) {
        if let Some(day) = number(at + 2).filter(|_| between(text, words, at + 1) == mark) {
            return Some((Moment::day(Some(year), month, day)?, at + 3));
        }
        return (1..=12).contains(&month).then(|| (Moment::months(Some(year), month, month), at + 2));
    }
    if !matches!(mark, "." | "/" | ". ") || between(text, words, at + 1).trim_end() != mark.trim_end() {
        return None;
    }
    let (first, second) = (number(at)?, number(at + 1)?);
    let year = year_of(&words.get(at + 2)?.text)?;
    let by_day = Moment::day(Some(year), second, first);
    let by_month = Moment::day(Some(year), first, second);
    let moment = match (by_day, by_month, mark) {
        (Some(moment), _, ".") => moment,
        (Some(moment), Some(_), _) => Moment { is_ambiguous: first != second, ..moment },
        (one, other, _) => one.or(other)?,
    };
    Some((moment, at + 3))
}

/// `15 July 2025`, `the 15th of July`, `July 15, 2025`, `July 2025`, `July`.
fn named(words: &[Word], at: usize) -> Option<(Moment, usize)> {
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let at = if text(at) == "the" && day_of(text(at + 1)).is_some() { at + 1 } else { at };
    let with_year = |moment: &dyn Fn(Option<i32>) -> Option<Moment>, next: usize| {
        let next =
            if matches!(text(next), "of") && year_of(text(next + 1)).is_some() { next + 1 } else { next };
        match year_of(text(next)) {
            Some(year) => Some((moment(Some(year))?, next + 1)),
            None => Some((moment(None)?, next)),
        }
    };
    if let Some(day) = day_of(text(at)) {
        let next = if text(at + 1) == "of" { at + 2 } else { at + 1 };
        let month = month(words, next)?;
        return with_year(&|year| Moment::day(year, month, day), next + 1);
    }
    let month = month(words, at)?;
    if let Some(day) = day_of(text(at + 1)).filter(|_| !words[at].ends) {
        return with_year(&|year| Moment::day(year, month, day), at + 2);
    }
    with_year(&|year| Some(Moment::months(year, month, month)), at + 1)
}

/// `Q3 2025`, `the third quarter of 2025`, `the first half of 2025`.
fn quarter(words: &[Word], at: usize) -> Option<(Moment, usize)> {
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let at = if text(at) == "the" { at + 1 } else { at };
    let short = |mark: char| {
        let number = text(at).strip_prefix(mark).filter(|rest| rest.len() == 1)?;
        number.parse::<u32>().ok()
    };
    let (parts, number, next) = match (ordinal(text(at)), text(at + 1)) {
        (Some(number), "quarter") => (4, number, at + 2),
        (Some(number), "half") => (2, number.min(2), at + 2),
        _ => match (short('q'), short('h')) {
            (Some(number), _) => (4, number, at + 1),
            (_, Some(number)) => (2, number, at + 1),
            _ => return None,
        },
    };
    if !(1..=parts).contains(&number) {
        return None;
    }
    let next = if text(next) == "of" && year_of(text(next + 1)).is_some() { next + 1 } else { next };
    let width = 12 / parts;
    let months = ((number - 1) * width + 1, number * width);
    match year_of(text(next)) {
        Some(year) => Some((Moment::months(Some(year), months.0, months.1), next + 1)),
        None => Some((Moment::months(None, months.0, months.1), next)),
    }
}

fn year(words: &[Word], at: usize) -> Option<(Moment, usize)> {
    let year = year_of(&words[at].text)?;
    let before = at.checked_sub(1).map(|before| words[before].text.as_str());
    let is_year = before.is_some_and(|before| BEFORE_YEAR.contains(&before))
        || words.get(at + 1).is_none()
        || words[at].ends;
    is_year.then(|| (Moment::months(Some(year), 1, 12), at + 1))
}

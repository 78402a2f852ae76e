//! The spans of time that a goal names, and the conditions on a date column that they are.

use super::moments::{Day, Moment, day_before, moment, next_day};
use super::words::Word;

/// Words that bound a span by one moment.
const AFTER: &[&str] = &["after", "later", "past", "following"];
const SINCE: &[&str] = &["since", "starting", "beginning", "from", "onwards"];
const BEFORE: &[&str] = &["before", "earlier", "prior", "preceding"];
const UNTIL: &[&str] = &["until", "till", "by", "through", "thru"];
const BETWEEN_ENDS: &[&str] = &["to", "until", "till", "through", "thru", "and"];
/// Words of time that say nothing without today's date.
const RELATIVE: &[&str] = &["today", "yesterday", "tomorrow", "ago"];
const RELATIVE_UNITS: &[&str] =
    &["day", "week", "month", "quarter", "year", "days", "weeks", "months", "years"];
pub(super) const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// A span of days with both ends included, or months of any year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Span {
    Days { first: Option<Day>, last: Option<Day> },
    Months { first: u32, last: u32 },
    Weekday(usize),
}

/// What a goal says about time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// A row counts if its date is in any of these spans.
    pub spans: Vec<Span>,
    /// Numbers of the words that say so.
    pub claimed: Vec<usize>,
    pub doubts: Vec<String>,
}

/// Finds all spans. `year` is the only year that the tables' dates have, if they have one.
pub(super) fn times(text: &str, words: &[Word], year: Option<i32>) -> Times {
    let mut times = Times::default();
    let mut at = 0;
    while at < words.len() {
        match span(text, words, at, year) {
            Some((found, from, next)) => {
                match found {
                    Ok(span) => times.spans.push(span),
                    Err(doubt) => times.doubts.push(doubt),
                }
                times.claimed.extend(from..next);
                at = next;
            }
            None => {
                relative(words, at, &mut times);
                at += 1;
            }
        }
    }
    times
}

fn relative(words: &[Word], at: usize, times: &mut Times) {
    let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let is_unit = RELATIVE_UNITS.contains(&text(at));
    let is_relative =
        is_unit && at > 0 && ["last", "this", "next", "past", "current", "previous"].contains(&text(at - 1));
    if RELATIVE.contains(&text(at)) || is_relative {
        times.doubts.push(format!("\"{}\" depends on today's date", text(at)));
        times.claimed.push(at);
    }
    let weekday = WEEKDAYS.iter().position(|day| text(at).trim_end_matches('s') == *day);
    if let Some(weekday) = weekday {
        times.spans.push(Span::Weekday(weekday));
        times.claimed.push(at);
    }
}

type Found = (Result<Span, String>, usize, usize);

/// The span that begins with the word `at`: whether it is clear, its first word and the word behind it.
fn span(text: &str, words: &[Word], at: usize, year: Option<i32>) -> Option<Found> {
    let (one, mut next) = moment(text, words, at)?;
    let word = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    let mut from = at;
    let lead = lead(words, at);
    if let Some((_, first)) = lead {
        from = first;
    }
    if let Some((other, behind)) = second(text, words, next) {
        let is_pair = lead.is_some_and(|(kind, _)| kind == Lead::Range) || word(next) != "and";
        if is_pair {
            return Some((
                range(one, other, year, is_left_out(words, behind)),
                from,
                skip_onwards(words, behind),
            ));
        }
    }
    let onwards = skip_onwards(words, next);
    let kind = if onwards > next { Some(Lead::Since) } else { lead.map(|(kind, _)| kind) };
    next = onwards;
    let span = match kind {
        Some(Lead::After) => bounded(one, year, |one, year| (Some(next_day(one.last_day(year))), None)),
        Some(Lead::Since) => bounded(one, year, |one, year| (Some(one.first_day(year)), None)),
        Some(Lead::Before) => bounded(one, year, |one, year| (None, Some(day_before(one.first_day(year))))),
        Some(Lead::Until) if is_left_out(words, next) => {
            bounded(one, year, |one, year| (None, Some(day_before(one.first_day(year)))))
        }
        Some(Lead::Until) => bounded(one, year, |one, year| (None, Some(one.last_day(year)))),
        Some(Lead::Range) | None => within(one, year),
    };
    Some((span, from, next))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    After,
    Since,
    Before,
    Until,
    /// Words such as "from" or "between", which begin a span with two ends.
    Range,
}

/// What the words before a moment make of it, and the first of these words.
fn lead(words: &[Word], at: usize) -> Option<(Lead, usize)> {
    let mut before = at.checked_sub(1)?;
    while ["the", "of", "in", "on", "than", "date", "as", "end", "up", "to"]
        .contains(&words[before].text.as_str())
    {
        if words[before].text == "to" {
            let is_until = before > 0 && words[before - 1].text == "up" && before + 1 == at;
            return is_until.then(|| (Lead::Until, before - 1));
        }
        before = before.checked_sub(1)?;
    }
    if words[before].ends {
        return None;
    }
    let word = words[before].text.as_str();
    let of = |kind: Lead| Some((kind, before));
    match word {
        "between" => of(Lead::Range),
        "from" => of(Lead::Since),
        _ if AFTER.contains(&word) => {
            of(if word == "later" && before > 0 && words[before - 1].text == "no" {
                Lead::Until
            } else {
                Lead::After
            })
        }
        _ if SINCE.contains(&word) => of(Lead::Since),
        _ if BEFORE.contains(&word) => {
            of(if word == "earlier" && before > 0 && words[before - 1].text == "no" {
                Lead::Since
            } else {
                Lead::Before
            })
        }
        _ if UNTIL.contains(&word) => of(Lead::Until),
        _ => None,
    }
}

/// The second moment of a range, after "to" or a dash.
fn second(text: &str, words: &[Word], next: usize) -> Option<(Moment, usize)> {
    let before = words.get(next.checked_sub(1)?)?;
    let word = words.get(next)?;
    let gap = text.get(before.to..word.from).unwrap_or_default().trim();
    if matches!(gap, "-" | "–" | "—") {
        return moment(text, words, next);
    }
    let at = if BETWEEN_ENDS.contains(&word.text.as_str()) && !before.ends { next + 1 } else { return None };
    let at = if ["the", "end"].contains(&words.get(at)?.text.as_str()) { at + 1 } else { at };
    let at = if words.get(at)?.text == "of" { at + 1 } else { at };
    moment(text, words, at.min(words.len() - 1))
}

fn skip_onwards(words: &[Word], next: usize) -> usize {
    let word = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    match (word(next), word(next + 1)) {
        ("onward" | "onwards", _) => next + 1,
        ("or" | "and", "later" | "after" | "onwards") => next + 2,
        ("on", second) if second.is_empty() || words[next].ends => next + 1,
        _ => next,
    }
}

/// Whether the words behind a moment leave it out: "(not included)", "exclusive".
fn is_left_out(words: &[Word], next: usize) -> bool {
    let behind: Vec<&str> = words.iter().skip(next).take(5).map(|word| word.text.as_str()).collect();
    let at = behind.iter().position(|word| {
        ["included", "inclusive", "counting", "exclusive", "excluded", "excluding"].contains(word)
    });
    at.is_some_and(|at| behind[at].starts_with("exclu") || behind[..at].contains(&"not"))
}

fn years(one: Moment, other: Moment, year: Option<i32>) -> Option<(i32, i32)> {
    let left = one.year.or(other.year).or(year)?;
    Some((left, other.year.unwrap_or(left)))
}

fn range(one: Moment, other: Moment, year: Option<i32>, leaves_out_last: bool) -> Result<Span, String> {
    if one.is_ambiguous || other.is_ambiguous {
        return Err("a date may be day/month or month/day".to_owned());
    }
    match years(one, other, year) {
        Some((left, right)) => {
            // "November to February" ends in the next year.
            let (mut first, mut last) = (one.first_day(left), other.last_day(right));
            if first > last && one.year.is_none() {
                first.0 -= 1;
            } else if first > last && other.year.is_none() {
                last.0 += 1;
            }
            let last = if leaves_out_last { day_before(other.first_day(last.0)) } else { last };
            Ok(Span::Days { first: Some(first), last: Some(last) })
        }
        None if one.day.is_none() && other.day.is_none() => {
            Ok(Span::Months { first: one.months.0, last: other.months.1 })
        }
        None => Err("a date has no year".to_owned()),
    }
}

fn bounded(
    one: Moment,
    year: Option<i32>,
    ends: impl Fn(Moment, i32) -> (Option<Day>, Option<Day>),
) -> Result<Span, String> {
    if one.is_ambiguous {
        return Err("a date may be day/month or month/day".to_owned());
    }
    let Some(year) = one.year.or(year) else { return Err("a date has no year".to_owned()) };
    let (first, last) = ends(one, year);
    Ok(Span::Days { first, last })
}

fn within(one: Moment, year: Option<i32>) -> Result<Span, String> {
    match (one.year.or(year), one.day) {
        (None, None) => Ok(Span::Months { first: one.months.0, last: one.months.1 }),
        _ => bounded(one, year, |one, year| (Some(one.first_day(year)), Some(one.last_day(year)))),
    }
}

impl Span {
    /// The condition that a column's moment lies in the span.
    pub(super) fn condition(&self, column: &str, has_time: bool) -> String {
        let day = if has_time { format!("date({column})") } else { column.to_owned() };
        let written = |(year, month, day): Day| format!("'{year:04}-{month:02}-{day:02}'");
        match self {
            Self::Days { first: Some(first), last: Some(last) } => {
                format!("{day} BETWEEN {} AND {}", written(*first), written(*last))
            }
            Self::Days { first: Some(first), last: None } => format!("{day} >= {}", written(*first)),
            Self::Days { first: None, last: Some(last) } => format!("{day} <= {}", written(*last)),
            Self::Days { first: None, last: None } => "TRUE".to_owned(),
            Self::Months { first, last } if first == last => format!("month({column}) = {first}"),
            Self::Months { first, last } if first < last => {
                format!("month({column}) BETWEEN {first} AND {last}")
            }
            Self::Months { first, last } => {
                format!("(month({column}) >= {first} OR month({column}) <= {last})")
            }
            Self::Weekday(number) => {
                let name = WEEKDAYS[*number];
                format!("weekday({column}) = '{}{}'", name[..1].to_uppercase(), &name[1..])
            }
        }
    }
}

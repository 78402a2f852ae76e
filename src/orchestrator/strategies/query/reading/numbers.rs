//! Limits in numbers that a goal names, such as "more than 500 kg" or "at least three".

use super::marked::Marked;
use super::ops::small_number;
use crate::attached::ColumnAt;

/// A comparison with a number.
pub(super) struct Limit {
    /// The operator and the number, as SQL writes them.
    pub comparison: String,
    /// The word behind it.
    pub to: usize,
    /// The column, if one stands beside it.
    pub column: Option<ColumnAt>,
}

pub(super) fn limits(marked: &Marked<'_>) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut at = 0;
    while at < marked.words.len() {
        match limit(marked, at) {
            Some(limit) => {
                at = limit.to;
                limits.push(limit);
            }
            None => at += 1,
        }
    }
    limits
}

fn limit(marked: &Marked<'_>, at: usize) -> Option<Limit> {
    let word = |at: usize| marked.word(at);
    let (operator, start) = match (word(at), word(at + 1), word(at + 2)) {
        ("no" | "not", "more" | "higher" | "longer" | "greater", "than") => ("<=", at + 3),
        ("no" | "not", "less" | "fewer" | "lower" | "shorter", "than") => (">=", at + 3),
        ("more" | "greater" | "higher" | "larger" | "longer" | "bigger", "than", _) => (">", at + 2),
        ("less" | "fewer" | "lower" | "smaller" | "shorter" | "cheaper", "than", _) => ("<", at + 2),
        ("at", "least", _) => (">=", at + 2),
        ("at", "most", _) => ("<=", at + 2),
        ("up", "to", _) => ("<=", at + 2),
        ("minimum" | "min", "of", _) => (">=", at + 2),
        ("maximum" | "max", "of", _) => ("<=", at + 2),
        ("over" | "above" | "exceeding" | "exceeded" | "beyond", ..) => (">", at + 1),
        ("under" | "below", ..) => ("<", at + 1),
        ("exactly", ..) => ("=", at + 1),
        ("between", ..) => return between(marked, at),
        _ => return behind(marked, at),
    };
    let (number, to) = number(marked, start)?;
    let comparison = format!("{operator} {number}");
    Some(Limit { comparison, to, column: column(marked, at, to) })
}

/// "500 or more".
fn behind(marked: &Marked<'_>, at: usize) -> Option<Limit> {
    let (number, next) = number(marked, at)?;
    let mut to = next;
    // A unit may stand between.
    if marked.name_at(to).is_some() {
        to += 1;
    }
    if !matches!(marked.word(to), "or" | "and") {
        return None;
    }
    let operator = match marked.word(to + 1) {
        "more" | "over" | "above" | "higher" | "longer" | "larger" => ">=",
        "less" | "fewer" | "under" | "below" | "lower" | "shorter" => "<=",
        _ => return None,
    };
    Some(Limit { comparison: format!("{operator} {number}"), to: to + 2, column: column(marked, at, next) })
}

fn between(marked: &Marked<'_>, at: usize) -> Option<Limit> {
    let (least, next) = number(marked, at + 1)?;
    let next = if marked.word(next) == "and" { next + 1 } else { return None };
    let (most, to) = number(marked, next)?;
    Some(Limit { comparison: format!("BETWEEN {least} AND {most}"), to, column: column(marked, at, to) })
}

/// A number that is no part of a date or of a value.
fn number(marked: &Marked<'_>, at: usize) -> Option<(String, usize)> {
    let word = marked.words.get(at)?;
    if marked.is_time(at) || marked.mention_at(at).is_some() {
        return None;
    }
    if !word.text.starts_with(|c: char| c.is_ascii_digit()) {
        return small_number(&word.text).map(|number| (number.to_string(), at + 1));
    }
    // "1,104.52" is several words.
    let mut next = at + 1;
    while marked.words.get(next).is_some_and(|following| {
        let gap = &marked.text[marked.words[next - 1].to..following.from];
        matches!(gap, "." | ",") && following.text.chars().all(|c| c.is_ascii_digit())
    }) {
        next += 1;
    }
    let written = &marked.text[word.from..marked.words[next - 1].to];
    let digits = written.trim_end_matches(|c: char| c.is_alphabetic()).replace(',', "");
    let is_number = digits.parse::<f64>().is_ok();
    is_number.then_some((digits, next))
}

/// The column of numbers that is named behind a limit, or else the nearest one before it in its clause.
fn column(marked: &Marked<'_>, from: usize, to: usize) -> Option<ColumnAt> {
    let measured = |name: usize| marked.names[name].columns.iter().copied().find(|at| marked.is_measure(*at));
    if !marked.words.get(to.wrapping_sub(1)).is_some_and(|word| word.ends)
        && let Some(column) = marked.name_at(to).and_then(measured)
    {
        return Some(column);
    }
    let begin = (0..from).rev().find(|at| marked.words[*at].ends).map_or(0, |at| at + 1);
    (begin..from).rev().filter_map(|at| marked.name_at(at)).find_map(measured)
}

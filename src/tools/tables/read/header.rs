//! Whether the first row of a table names its columns.

use super::super::types::{is_date, is_number};

/// The names in the first row, or `None` if it is a row of values. `sample` holds rows that follow. A guess is added
/// to `notes`.
pub(super) fn header(
    first: &[String],
    sample: &[Vec<String>],
    notes: &mut Vec<String>,
) -> Option<Vec<String>> {
    let names = first.iter().filter(|name| !name.is_empty()).count();
    let is_typed = |text: &str| is_number(text) || is_date(text);
    let is_row = first.iter().any(|name| is_typed(name)) && !has_years(first);
    if names * 2 < first.len() || names == 0 || is_row {
        notes.push("its first line holds values, so its columns are called c1, c2 and so on".into());
        return None;
    }
    let column = |at: usize| sample.iter().filter_map(move |row| row.get(at)).filter(|cell| !cell.is_empty());
    let is_proven = (0..first.len()).any(|at| {
        let mut values = column(at).peekable();
        values.peek().is_some() && values.all(|value| is_typed(value))
    });
    if is_proven || sample.is_empty() {
        return Some(first.to_vec());
    }
    let recurs = |at: usize| !first[at].is_empty() && column(at).any(|value| *value == first[at]);
    if (0..first.len()).any(recurs) {
        notes.push("its first line looks like any other, so its columns are called c1, c2 and so on".into());
        return None;
    }
    notes.push(
        "its first line is taken as the names of the columns; all columns are text, so nothing proves it"
            .into(),
    );
    Some(first.to_vec())
}

/// Years as names, such as `region,2023,2024`: after a word, each greater than the one before.
fn has_years(first: &[String]) -> bool {
    let year = |text: &String| text.parse::<u16>().ok().filter(|year| (1900..=2100).contains(year));
    let numbers: Vec<_> = first.iter().filter(|name| is_number(name) || is_date(name)).map(year).collect();
    let grow = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    first.first().is_some_and(|name| !is_number(name))
        && numbers.len() > 1
        && grow
        && !numbers.contains(&None)
}

//! Words the answer: the rows with their units, the statement, and where the rows stand.

use std::collections::BTreeMap;

use bandmaster_tools::tables::{Answer, Row, Value};

use super::reading::{Compute, Key, Reading};
use crate::attached::{Attached, ColumnAt};

/// Rows that an answer shows.
const ROWS_MAX: usize = 50;
/// Lines of a file that are named.
const LINES_MAX: usize = 12;
/// Rows that are looked at for a tie behind the last of a ranking.
const TIES_MAX: usize = 20;
/// Decimals of means and shares.
const DECIMALS: usize = 2;
const CURRENCIES: &[&str] = &["eur", "usd", "gbp", "chf"];

/// What the answer shows for a statement: its rows in words, and its sources.
pub(super) fn worded(sql: &str, answer: &Answer, reading: Option<&Reading>, attached: &Attached) -> String {
    let shown = match reading {
        Some(reading) => by_reading(answer, reading, attached),
        None => plain(answer),
    };
    format!("{shown}\n\nStatement: `{sql}`\nSource: {}", sources(sql, answer, attached))
}

/// A statement of a ranking that gives the rows that are tied with its last one, too.
pub(super) fn with_ties(sql: &str, rows: usize, attached: &Attached) -> Option<Answer> {
    let sql = sql.strip_suffix(&format!(" LIMIT {rows}"))?;
    let mut answer = attached.query(&format!("{sql} LIMIT {}", rows + TIES_MAX)).ok()?;
    let last = answer.rows.get(rows - 1)?.values.last().cloned()?;
    let ties = answer.rows.iter().skip(rows).take_while(|row| row.values.last() == Some(&last)).count();
    answer.rows.truncate(rows + ties);
    Some(answer)
}

fn by_reading(answer: &Answer, reading: &Reading, attached: &Attached) -> String {
    let keys = reading.keys.len();
    let what = what(reading, attached);
    let value = |row: &Row| row.values.get(keys).map(|value| figure(value, reading, attached));
    if let ([row], true) = (&answer.rows[..], reading.compute != Compute::Nothing) {
        let Some(value) = value(row) else { return plain(answer) };
        let named: Vec<String> = row.values[..keys].iter().map(ToString::to_string).collect();
        return match keys {
            0 => format!("{value} ({what})"),
            _ => format!("{}: {value} ({what})", named.join(", ")),
        };
    }
    let mut table = answer.clone();
    table.columns = reading.keys.iter().map(|key| header(*key, attached)).collect();
    if reading.compute != Compute::Nothing {
        table.columns.push(what);
        for row in &mut table.rows {
            if let Some(value) = value(row) {
                row.values[keys] = Value::Text(value);
            }
        }
    }
    plain(&table)
}

/// The rows as a table, or a single value or column as it is.
fn plain(answer: &Answer) -> String {
    let mut shown = answer.clone();
    shown.rows.truncate(ROWS_MAX);
    let more = answer.rows.len() - shown.rows.len();
    let more = if more == 0 { String::new() } else { format!("\n\nThere are {more} more rows.") };
    match (&shown.rows[..], shown.columns.len()) {
        ([row], 1) => row.values[0].to_string(),
        (_, 1) => {
            let lines: Vec<String> = shown.rows.iter().map(|row| format!("- {}", row.values[0])).collect();
            lines.join("\n") + &more
        }
        _ => shown.markdown().trim_end().to_owned() + &more,
    }
}

fn header(key: Key, attached: &Attached) -> String {
    match key {
        Key::Column(at) => attached.column(at).title.clone(),
        Key::Time(function, at) => format!("{function} of {}", attached.column(at).title),
    }
}

/// What is computed, in words.
fn what(reading: &Reading, attached: &Attached) -> String {
    let title = |at: ColumnAt| attached.column(at).title.replace('_', " ");
    let rows = || format!("rows of {}", attached.tables[reading.base].file);
    if let Some(at) = reading.rank.and_then(|rank| rank.of_rows) {
        return title(at);
    }
    match reading.compute {
        Compute::Nothing => String::new(),
        Compute::Count => format!("count of {}", rows()),
        Compute::Distinct(at) => format!("count of different values of {}", title(at)),
        Compute::Sum(at) => format!("sum of {}", title(at)),
        Compute::Average(at) => format!("average of {}", title(at)),
        Compute::Median(at) => format!("median of {}", title(at)),
        Compute::Largest(at) => format!("largest {}", title(at)),
        Compute::Smallest(at) => format!("smallest {}", title(at)),
        Compute::Share => format!("share of the {}", rows()),
    }
}

/// A computed value with its unit.
fn figure(value: &Value, reading: &Reading, attached: &Attached) -> String {
    let column = match reading.compute {
        Compute::Sum(at)
        | Compute::Average(at)
        | Compute::Median(at)
        | Compute::Largest(at)
        | Compute::Smallest(at) => Some(at),
        _ => None,
    };
    let unit = column.map_or_else(String::new, |at| unit(at, attached));
    let is_money =
        CURRENCIES.contains(&unit.to_lowercase().as_str()) || ["€", "$", "£"].contains(&unit.as_str());
    let is_mean = matches!(reading.compute, Compute::Average(_) | Compute::Median(_) | Compute::Share);
    let text = value.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let text = match text.parse::<f64>() {
        Ok(number) if (is_mean && decimals > DECIMALS) || (is_money && (1..DECIMALS).contains(&decimals)) => {
            format!("{number:.DECIMALS$}")
        }
        _ => text,
    };
    match (reading.compute, unit.as_str()) {
        (Compute::Share, _) => format!("{text} %"),
        (_, "") => text,
        (_, unit) => format!("{text} {unit}"),
    }
}

/// The unit of a column's values, or the one in its name.
fn unit(at: ColumnAt, attached: &Attached) -> String {
    let column = attached.column(at);
    if !column.unit.is_empty() {
        return column.unit.clone();
    }
    let last = column.name.rsplit('_').next().unwrap_or_default();
    let is_unit = column.name.contains('_') || ["kg", "km", "kwh", "minutes", "hours"].contains(&last);
    match last {
        _ if CURRENCIES.contains(&last) => last.to_uppercase(),
        "kg" | "km" | "min" | "kwh" | "cm" | "mm" | "gb" | "mb" | "hours" | "minutes" | "pct" if is_unit => {
            last.to_owned()
        }
        _ => String::new(),
    }
}

/// The files that a statement reads, with the lines if there are few.
fn sources(sql: &str, answer: &Answer, attached: &Attached) -> String {
    let mut lines: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut has_more = false;
    for row in &answer.rows {
        has_more |= row.has_more_sources;
        for place in &row.sources {
            lines.entry(&place.file).or_default().push(place.line);
        }
    }
    let words = crate::checks::words(&sql.replace('_', "0"));
    let is_read = |name: &str| words.contains(&name.replace('_', "0").to_lowercase());
    let mut files: Vec<String> = Vec::new();
    for table in attached.tables.iter().filter(|table| is_read(&table.name)) {
        let own = lines.get_mut(table.file.as_str()).map(|lines| {
            lines.sort_unstable();
            lines.dedup();
            &*lines
        });
        files.push(match own {
            Some(lines) if lines.len() <= LINES_MAX => {
                let noun = if lines.len() == 1 { "line" } else { "lines" };
                let numbers: Vec<String> = lines.iter().map(ToString::to_string).collect();
                format!("{}, {noun} {}", table.file, numbers.join(", "))
            }
            Some(lines) if !has_more => format!("{} ({} of {} rows)", table.file, lines.len(), table.rows),
            _ => format!("{} ({} rows)", table.file, table.rows),
        });
    }
    files.dedup();
    files.join("; ")
}

//! What a goal asks of the tables, as far as rules can tell: which rows, what is computed of them, and for what.
//! Statements of the planner are compared with it.

mod columns;
mod conditions;
mod dates;
mod known;
mod marked;
mod moments;
mod names;
mod numbers;
mod ops;
mod ranked;
mod values;
mod wanted;
mod words;

use crate::attached::{Attached, ColumnAt};

pub(super) use dates::Span;
use marked::Marked;

pub(super) use names::row_word;
pub(super) use words::{is_typo, stem};

/// What is computed of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compute {
    /// The rows as they are.
    Nothing,
    Count,
    /// How many different values.
    Distinct(ColumnAt),
    Sum(ColumnAt),
    Average(ColumnAt),
    Median(ColumnAt),
    Largest(ColumnAt),
    Smallest(ColumnAt),
    /// How many of 100 rows meet the conditions of the part.
    Share,
}

/// What makes groups, or is shown of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Column(ColumnAt),
    /// A function of a date, such as `month`.
    Time(&'static str, ColumnAt),
}

/// The first rows when they are sorted by what is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    pub largest: bool,
    pub rows: usize,
    /// Whether single rows are ranked, by this column, and not groups.
    pub of_rows: Option<ColumnAt>,
}

/// A condition on the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// The columns that may be meant.
    pub columns: Vec<ColumnAt>,
    pub test: Test,
    /// Whether it holds for the part of which the share is asked.
    pub is_part: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    OneOf {
        values: Vec<String>,
        negated: bool,
    },
    Within(Vec<Span>),
    /// An operator with its number.
    Compare(String),
    Is(bool),
    Empty,
    /// No row of this table belongs to the row.
    Without(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// The table whose rows are counted.
    pub base: usize,
    pub compute: Compute,
    pub keys: Vec<Key>,
    pub rank: Option<Rank>,
    pub conditions: Vec<Condition>,
    /// Why it may not be what the goal asks.
    pub doubts: Vec<String>,
    /// Words of the goal that have no meaning for the tables.
    pub unknown: Vec<String>,
}

/// A goal, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// `None` if it isn't clear what is to be computed.
    pub reading: Option<Reading>,
    /// Words for a column of numbers that fit no column's name.
    pub unnamed: Option<String>,
    /// Every value, date and number in the goal that a statement has to use, in words for the planner.
    pub hints: Vec<String>,
    /// Names in the goal that stand in no table.
    pub strangers: Vec<String>,
}

/// Reads a goal. `measured` is the column for words that fit no column's name, if the planner named one.
pub(super) fn read(goal: &str, attached: &Attached, measured: Option<ColumnAt>) -> Read {
    let goal = named_by_rows(goal, attached);
    let marked = Marked::of(&goal, attached);
    let strangers = known::strangers(&marked);
    let wanted = wanted::wanted(&marked, measured);
    let conditions = conditions::conditions(&marked, wanted.as_ref().ok().map(|wanted| wanted.base));
    let hints = conditions.iter().filter_map(|condition| hint(condition, attached)).collect();
    let mut read = Read { hints, strangers, ..Read::default() };
    match wanted {
        Ok(wanted) => {
            let mut reading = wanted.with(conditions, &marked);
            reading.doubts.extend(marked.times.doubts.iter().cloned());
            // The planner has said which column holds it.
            let named =
                measured.and_then(|_| wanted::wanted(&marked, None).err().flatten()).unwrap_or_default();
            let is_named = |word: &String| named.split(' ').any(|named| named.eq_ignore_ascii_case(word));
            reading.unknown = known::unknown(&marked).into_iter().filter(|word| !is_named(word)).collect();
            read.reading = Some(reading);
        }
        Err(unnamed) => read.unnamed = unnamed,
    }
    read
}

/// The goal with the word for a table's rows in place of its file's name, which may have any words.
fn named_by_rows(goal: &str, attached: &Attached) -> String {
    let mut told = goal.to_owned();
    for table in &attached.tables {
        let file = table.file.rsplit('/').next().unwrap_or(&table.file).to_ascii_lowercase();
        while let Some(at) = told.to_ascii_lowercase().find(&file).filter(|_| !file.is_empty()) {
            let rows = names::row_word(&table.name);
            if rows.to_ascii_lowercase().contains(&file) {
                break;
            }
            told.replace_range(at..at + file.len(), &rows);
        }
    }
    told
}

/// A condition in words for the planner.
fn hint(condition: &Condition, attached: &Attached) -> Option<String> {
    let column = *condition.columns.first()?;
    Some(condition.sql(column, attached))
}

impl Condition {
    /// The condition as SQL, if this column is meant.
    pub(super) fn sql(&self, at: ColumnAt, attached: &Attached) -> String {
        let name = attached.qualified(at);
        let quoted = |value: &String| format!("'{}'", value.replace('\'', "''"));
        match &self.test {
            Test::OneOf { values, negated } => {
                let negation = if *negated { "NOT " } else { "" };
                match (&values[..], negated) {
                    ([only], false) => format!("{name} = {}", quoted(only)),
                    ([only], true) => format!("{name} <> {}", quoted(only)),
                    _ => {
                        let values: Vec<String> = values.iter().map(quoted).collect();
                        format!("{name} {negation}IN ({})", values.join(", "))
                    }
                }
            }
            Test::Within(spans) => {
                let has_time = attached.column(at).kind == bandmaster_tools::tables::Kind::DateTime;
                let spans: Vec<String> = spans.iter().map(|span| span.condition(&name, has_time)).collect();
                match &spans[..] {
                    [only] => only.clone(),
                    _ => format!("({})", spans.join(" OR ")),
                }
            }
            Test::Compare(comparison) => format!("{name} {comparison}"),
            Test::Is(value) => format!("{name} = {}", if *value { "TRUE" } else { "FALSE" }),
            Test::Empty => format!("{name} IS NULL"),
            Test::Without(other) => {
                let pair = attached
                    .joins
                    .iter()
                    .find(|pair| pair.iter().any(|end| end.0 == *other) && pair.contains(&at));
                let Some(key) = pair.and_then(|pair| pair.iter().find(|end| end.0 == *other)) else {
                    return "TRUE".to_owned();
                };
                let (table, key) = (&attached.tables[*other].name, &attached.column(*key).name);
                format!("{name} NOT IN (SELECT {key} FROM {table} WHERE {key} IS NOT NULL)")
            }
        }
    }
}

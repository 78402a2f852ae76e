//! The rows that a statement gives, with the places that they came from.

use std::fmt::Write;

use super::schema::Place;
use crate::calculator::Decimal;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Empty,
    Integer(i64),
    Decimal(Decimal),
    Boolean(bool),
    /// `YYYY-MM-DD`, from a column of dates.
    Date(String),
    /// `YYYY-MM-DD HH:MM:SS`, from a column of dates and times.
    DateTime(String),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub values: Vec<Value>,
    /// Rows of the files from which this row was made, table by table in the order of the statement. Empty if the
    /// statement doesn't allow to follow them; see [`Answer::has_sources`].
    pub sources: Vec<Place>,
    /// Whether there are more sources than are named.
    pub has_more_sources: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Names of the columns as the statement gives them.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// Whether rows were left out because the result reached its limit of rows or bytes.
    pub has_more: bool,
    /// Whether each row names its sources.
    pub has_sources: bool,
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Decimal(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Date(text) | Self::DateTime(text) | Self::Text(text) => f.write_str(text),
        }
    }
}

impl Value {
    fn is_number(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::Decimal(_))
    }

    /// The value in one line of a Markdown table.
    fn cell(&self) -> String {
        self.to_string().replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Answer {
    /// A Markdown table whose columns are equally wide in every line, numbers to the right.
    #[must_use]
    pub fn markdown(&self) -> String {
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.values.iter().map(Value::cell).collect()).collect();
        let names: Vec<String> = self.columns.iter().map(|name| Value::Text(name.clone()).cell()).collect();
        let widths: Vec<usize> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                cells
                    .iter()
                    .map(|row| row[at].chars().count())
                    .chain([name.chars().count(), 3])
                    .max()
                    .unwrap_or(3)
            })
            .collect();
        let is_right = |at: usize| {
            let mut values =
                self.rows.iter().map(|row| &row.values[at]).filter(|value| **value != Value::Empty);
            values.clone().next().is_some() && values.all(Value::is_number)
        };
        let right: Vec<bool> = (0..widths.len()).map(is_right).collect();
        let mut text = line(&names, &widths, &right);
        let rules: Vec<String> = widths
            .iter()
            .zip(&right)
            .map(|(width, right)| if *right { "-".repeat(width - 1) + ":" } else { "-".repeat(*width) })
            .collect();
        text.push_str(&line(&rules, &widths, &right));
        for row in &cells {
            text.push_str(&line(row, &widths, &right));
        }
        if self.has_more {
            let _ = writeln!(text, "\nMore rows than these {} were found.", self.rows.len());
        }
        text
    }
}

fn line(cells: &[String], widths: &[usize], right: &[bool]) -> String {
    let mut line = String::from("|");
    for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
        let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
        let (before, after) = if *right { (gap.as_str(), "") } else { ("", gap.as_str()) };
        let _ = write!(line, " {before}{cell}{after} |");
    }
    line.push('\n');
    line
}

//! What is known of a table besides its rows.

use super::read::Format;
use super::types::Kind;

/// Where something stands. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub file: String,
    pub line: usize,
}

#[derive(Debug, Clone)]
pub struct Table {
    /// A valid SQL identifier, unique among its like.
    pub name: String,
    pub file: String,
    pub format: Format,
    /// From 0 to 1: how sure it is that the file has this form.
    pub confidence: f32,
    pub columns: Vec<Column>,
    pub rows: usize,
    pub irregular: Irregular,
    /// Sentences about what was decided without certainty, each with its column.
    pub notes: Vec<String>,
    pub(super) places: Places,
    /// Bytes of the longest row.
    pub(super) row_bytes_max: usize,
}

#[derive(Debug, Clone)]
pub struct Column {
    /// A valid SQL identifier, unique among its like.
    pub name: String,
    /// Name as written in the file, or the same as `name` if there is none.
    pub title: String,
    pub kind: Kind,
    /// Unit that all values had, such as `%` or `EUR`; often empty.
    pub unit: String,
    /// The first different values, in the order of the rows, as SQL shows them. All of them unless `has_more_values`.
    pub values: Vec<String>,
    pub has_more_values: bool,
    /// Smallest and largest value of numbers and dates.
    pub range: Option<(String, String)>,
    pub has_empty: bool,
}

/// Lines that are no rows of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Irregular {
    pub count: usize,
    /// The first of them, with what is wrong.
    pub first: Vec<(usize, String)>,
}

/// Where each row stands, by its number from 1.
#[derive(Debug, Clone)]
pub(super) enum Places {
    /// All in the table's file.
    Lines(Lines),
    Each(Vec<Place>),
}

/// The line of each row. Rows on lines that follow each other take no memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    pub(super) count: usize,
    /// `(row, line)` where a row doesn't stand on the line after the row before. Rows count from 0.
    breaks: Vec<(u32, u32)>,
}

impl Lines {
    pub(super) fn push(&mut self, line: usize) {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        if self.count == 0 || self.line(self.count - 1).is_none_or(|before| before + 1 != line) {
            self.breaks.push((small(self.count), small(line)));
        }
        self.count += 1;
    }

    pub(super) fn line(&self, row: usize) -> Option<usize> {
        let after = self.breaks.partition_point(|(first, _)| *first as usize <= row);
        let (first, line) = *self.breaks.get(after.checked_sub(1)?)?;
        (row < self.count).then(|| line as usize + row - first as usize)
    }
}

impl Table {
    /// Where a row stands. Rows count from 1.
    #[must_use]
    pub fn place(&self, row: usize) -> Option<Place> {
        let at = row.checked_sub(1)?;
        match &self.places {
            Places::Lines(lines) => lines.line(at).map(|line| Place { file: self.file.clone(), line }),
            Places::Each(places) => places.get(at).cloned(),
        }
    }
}

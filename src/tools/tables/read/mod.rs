//! Finds the tables in a text and reads their rows. A text is read twice, first for the columns and their types and
//! then for the values, so that no copy of it is kept. What a value means is not known here.

mod delimited;
mod header;
mod json;
mod log;
mod markdown;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use super::error::TableError;

/// How a text holds its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CSV, TSV and the like.
    Delimited {
        delimiter: char,
    },
    JsonLines,
    Json,
    Markdown,
    /// Lines of a log that are all written the same way.
    Log,
    /// Rows that the program made.
    Rows,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delimited { delimiter: '\t' } => f.write_str("tab-separated values"),
            Self::Delimited { delimiter } => write!(f, "values separated by `{delimiter}`"),
            Self::JsonLines => f.write_str("JSON lines"),
            Self::Json => f.write_str("JSON"),
            Self::Markdown => f.write_str("a Markdown table"),
            Self::Log => f.write_str("a log"),
            Self::Rows => f.write_str("collected rows"),
        }
    }
}

/// A row, or what stands where a row was expected. Lines count from 1.
pub(super) enum Item<'r> {
    Row { line: usize, cells: &'r [Cow<'r, str>] },
    Irregular { line: usize, problem: String },
}

pub(super) type Take<'t> = &'t mut dyn FnMut(Item<'_>);

/// A table that was found: where it is and what its columns are called.
#[derive(Debug)]
pub(super) struct Sheet {
    /// A heading or a key that names the table within the file.
    pub(super) title: Option<String>,
    /// Names as written; `None` if the table has no header.
    pub(super) header: Option<Vec<String>>,
    pub(super) width: usize,
    pub(super) format: Format,
    /// From 0 to 1: the share of lines that have the form, less if the file's name doesn't say it.
    pub(super) confidence: f32,
    pub(super) notes: Vec<String>,
    plan: Plan,
}

#[derive(Debug)]
enum Plan {
    Delimited(delimited::Plan),
    Json(json::Plan),
    Markdown(markdown::Plan),
    Log(log::Plan),
}

/// Endings of files that may be nothing but a table.
const TABLE_EXTENSIONS: &[&str] =
    &["csv", "tsv", "tab", "psv", "json", "jsonl", "ndjson", "log", "txt", "dat"];
/// Columns of one table.
pub(super) const COLUMNS_MAX: usize = 200;
/// Bytes of one text: line numbers and offsets stay small, and the database stays in memory.
const TEXT_BYTES_MAX: usize = 256 << 20;
/// Confidence is multiplied by this when only the content speaks for a format.
const CONTENT_ONLY: f32 = 0.8;
/// Share of lines that must have the form of a format that the name doesn't suggest.
const SHARE_MIN: f32 = 0.9;
/// Of ten lines of a text that is mostly tables, so many are rows.
const TABLE_LINES_OF_TEN: usize = 6;

impl Sheet {
    /// Calls `take` for every row and every irregular line, in the order of the text.
    pub(super) fn visit(&self, text: &str, take: Take<'_>) {
        let text = without_mark(text);
        match &self.plan {
            Plan::Delimited(plan) => plan.visit(text, take),
            Plan::Json(plan) => plan.visit(text, take),
            Plan::Markdown(plan) => plan.visit(text, take),
            Plan::Log(plan) => plan.visit(text, take),
        }
    }
}

/// A byte-order mark is no part of the first column's name.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// How a text that is nothing but a table holds it; `None` for other texts. Only the beginning of CSV is looked at.
/// A file whose name says that it is a document, source or settings is not one, even if it has tables or regular lines.
#[must_use]
pub fn format_of(file: &str, text: &str) -> Option<Format> {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    if extension.is_some_and(|extension| !TABLE_EXTENSIONS.contains(&extension.as_str())) {
        return None;
    }
    let found = sheets(file, text).ok()?;
    let format = found.first()?.format;
    (format != Format::Markdown).then_some(format)
}

/// The tables of a text, found by the file's name and the content.
pub(super) fn sheets(file: &str, text: &str) -> Result<Vec<Sheet>, TableError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TableError::TooLarge { file: file.into(), bytes: text.len(), most: TEXT_BYTES_MAX });
    }
    let text = without_mark(text);
    let none = |why: &str| Err(TableError::NoTable { file: file.into(), why: why.into() });
    if text.trim().is_empty() {
        return none("it is empty");
    }
    let found = by_format(file, text)?;
    if let Some(sheet) = found.iter().find(|sheet| sheet.width > COLUMNS_MAX) {
        return Err(TableError::TooManyColumns {
            file: file.into(),
            columns: sheet.width,
            most: COLUMNS_MAX,
        });
    }
    let found: Vec<Sheet> = found.into_iter().filter(|sheet| sheet.width > 0).collect();
    if found.is_empty() {
        return none("its lines are neither delimited values, JSON, a Markdown table, nor a regular log");
    }
    Ok(found)
}

/// Every row of the tables of a text: its line, and its cells with the names of their columns. Empty if the text is not
/// mostly tables.
pub(crate) fn sheet_rows(file: &str, text: &str) -> Vec<(usize, Vec<(String, String)>)> {
    let mut found = Vec::new();
    for sheet in sheets(file, text).unwrap_or_default() {
        let name = |column: usize| match &sheet.header {
            Some(names) => names.get(column).cloned().unwrap_or_default(),
            None => format!("column {}", column + 1),
        };
        sheet.visit(text, &mut |item| {
            if let Item::Row { line, cells } = item {
                let cells = cells.iter().enumerate();
                let cells = cells.map(|(column, cell)| (name(column), cell.trim().to_owned())).collect();
                found.push((line, cells));
            }
        });
    }
    let is_json = text.trim_start().starts_with(['{', '[']);
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if is_json || 10 * found.len() >= TABLE_LINES_OF_TEN * lines { found } else { Vec::new() }
}

fn by_format(file: &str, text: &str) -> Result<Vec<Sheet>, TableError> {
    let extension =
        file.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    let one = |sheet: Option<Sheet>| Ok(sheet.into_iter().collect());
    match extension.as_str() {
        "csv" | "tsv" | "tab" | "psv" => return one(delimited::sheet(text, true)),
        "json" | "jsonl" | "ndjson" => return json::sheets(file, text, true),
        "log" => {
            if let Some(sheet) = log::sheet(text, true) {
                return Ok(vec![sheet]);
            }
        }
        "md" | "markdown" => return Ok(markdown::sheets(text, true)),
        _ => {}
    }
    if text.trim_start().starts_with(['{', '[']) {
        // A text that only begins like JSON may still be a log.
        match json::sheets(file, text, false) {
            Ok(sheets) if !sheets.is_empty() => return Ok(sheets),
            _ => {}
        }
    }
    let tables = markdown::sheets(text, false);
    if !tables.is_empty() {
        return Ok(tables);
    }
    one(log::sheet(text, false).or_else(|| delimited::sheet(text, false)))
}

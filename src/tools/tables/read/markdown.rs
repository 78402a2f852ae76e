//! Tables in Markdown: a line of names, a line of dashes, and rows until a line that is none.

use std::borrow::Cow;

use super::{CONTENT_ONLY, Format, Item, Sheet, Take};

#[derive(Debug)]
pub(super) struct Plan {
    /// Number of the first row's line, from 0.
    first: usize,
    width: usize,
}

pub(super) fn sheets(text: &str, is_named: bool) -> Vec<Sheet> {
    let lines: Vec<&str> = text.lines().collect();
    let mut sheets = Vec::new();
    let (mut heading, mut in_code) = (None, false);
    for (at, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if line.starts_with('#') && !in_code {
            heading = Some(line.trim_start_matches('#').trim().to_owned());
        }
        let Some(names) = at.checked_sub(1).map(|above| cells(lines[above])) else { continue };
        if in_code || !is_rule(line) || cells(line).len() != names.len() {
            continue;
        }
        sheets.push(Sheet {
            title: heading.clone(),
            width: names.len(),
            header: Some(names.iter().map(|name| name.to_string()).collect()),
            format: Format::Markdown,
            confidence: if is_named { 1.0 } else { CONTENT_ONLY },
            notes: Vec::new(),
            plan: super::Plan::Markdown(Plan { first: at + 1, width: names.len() }),
        });
    }
    sheets
}

/// The line of dashes below the names.
fn is_rule(line: &str) -> bool {
    let marks = line.trim();
    marks.contains('|') && marks.contains("--") && marks.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// The cells of a line without the marks around it. `\|` is a bar within a cell.
fn cells(line: &str) -> Vec<Cow<'_, str>> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = Vec::new();
    let mut begin = 0;
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        if c == '|' && !is_escaped {
            cells.push(plain(&line[begin..at]));
            begin = at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    if !line[begin..].trim().is_empty() {
        cells.push(plain(&line[begin..]));
    }
    cells
}

/// A cell without emphasis around the whole of it.
fn plain(cell: &str) -> Cow<'_, str> {
    let mut cell = cell.trim();
    for mark in ["**", "__", "*", "_", "`"] {
        let inner = cell.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        cell = inner.filter(|inner| !inner.is_empty() && !inner.contains(mark)).unwrap_or(cell);
    }
    if cell.contains("\\|") { cell.replace("\\|", "|").into() } else { cell.into() }
}

impl Plan {
    pub(super) fn visit(&self, text: &str, take: Take<'_>) {
        for (at, line) in text.lines().enumerate().skip(self.first) {
            if !line.contains('|') {
                break;
            }
            let cells = cells(line);
            let line = at + 1;
            if cells.len() == self.width {
                take(Item::Row { line, cells: &cells });
            } else {
                let problem = format!("it has {} cells instead of {}", cells.len(), self.width);
                take(Item::Irregular { line, problem });
            }
        }
    }
}

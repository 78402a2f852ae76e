//! Rows of values with a delimiter between them, as the `csv` crate reads them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord};

use super::header::header;
use super::{CONTENT_ONLY, Format, Item, SHARE_MIN, Sheet, Take};

const DELIMITERS: &[u8] = b"\t;|,";
/// Bytes from which the delimiter is decided.
const SNIFFED_BYTES: usize = 64 << 10;
/// Rows from which the header is decided.
const SAMPLE_ROWS: usize = 200;
/// Lines that one quoted value may span before the quote counts as never closed.
const QUOTED_LINES_MAX: usize = 100;
/// Without the name's word for it, a text of fewer lines is no table.
const LINES_MIN: usize = 3;

#[derive(Debug)]
pub(super) struct Plan {
    delimiter: u8,
    width: usize,
    /// The record that holds the header, or the first row if there is no header; those before it are no rows.
    first: usize,
    has_header: bool,
}

pub(super) fn sheet(text: &str, is_named: bool) -> Option<Sheet> {
    let end = text.floor_char_boundary(SNIFFED_BYTES);
    let sniffed = match text[..end].rfind('\n') {
        Some(at) if end < text.len() => &text[..=at],
        _ => text,
    };
    let (delimiter, width, share, records) = delimiter_of(sniffed, is_named)?;
    if !is_named && (share < SHARE_MIN || width < 2 || records < LINES_MIN || is_prose(text, delimiter)) {
        return None;
    }
    let (mut first, mut rows) = (None, Vec::new());
    for_each(text, delimiter, &mut |number, _, record| {
        let fits = record.len() == width;
        if fits {
            first = first.or(Some(number));
            rows.push(record.iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
        }
        rows.len() < SAMPLE_ROWS
    });
    let first = first?;
    let mut notes = Vec::new();
    let header = header(&rows[0], &rows[1..], &mut notes);
    let confidence = if is_named { share } else { share * CONTENT_ONLY };
    let plan = Plan { delimiter, width, first, has_header: header.is_some() };
    Some(Sheet {
        title: None,
        header,
        width,
        format: Format::Delimited { delimiter: char::from(delimiter) },
        confidence,
        notes,
        plan: super::Plan::Delimited(plan),
    })
}

/// The delimiter under which most records have the same number of fields: `(delimiter, fields, share, records)`.
fn delimiter_of(text: &str, is_named: bool) -> Option<(u8, usize, f32, usize)> {
    let mut best: Option<(u8, usize, f32, usize)> = None;
    for delimiter in DELIMITERS {
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        for_each(text, *delimiter, &mut |_, _, record| {
            *widths.entry(record.len()).or_default() += 1;
            true
        });
        let records: usize = widths.values().sum();
        let most =
            widths.iter().filter(|(width, _)| **width > 1).max_by_key(|(width, count)| (**count, **width));
        let Some((width, count)) = most else { continue };
        let share = *count as f32 / records as f32;
        if best.is_none_or(|(_, _, best_share, _)| share > best_share) {
            best = Some((*delimiter, *width, share, records));
        }
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    // A file of one column may have commas in a few of its values.
    let is_rare =
        |delimiter: u8| text.lines().filter(|line| line.contains(char::from(delimiter))).count() * 2 < lines;
    let is_column = is_named && best.is_none_or(|(delimiter, _, share, _)| share < 0.5 && is_rare(delimiter));
    if is_column { Some((b',', 1, 1.0, lines)) } else { best }
}

/// Sentences with the same number of commas are no table.
fn is_prose(text: &str, delimiter: u8) -> bool {
    let lines = || text.lines().filter(|line| !line.trim().is_empty()).take(SAMPLE_ROWS);
    let spaced = [char::from(delimiter), ' '].iter().collect::<String>();
    let ends = lines().filter(|line| line.trim_end().ends_with(['.', '!', '?', ':', ','])).count();
    let with_space = lines().filter(|line| line.contains(&spaced)).count();
    delimiter == b',' && (ends * 2 > lines().count() || with_space * 10 > lines().count() * 9)
}

/// Calls `take` with each record's number from 0, its line and its fields, until it returns false.
fn for_each(text: &str, delimiter: u8, take: &mut dyn FnMut(usize, usize, &StringRecord) -> bool) {
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let mut number = 0;
    // The text is valid UTF-8 and a slice in memory can't fail, so an error only ends the text.
    while reader.read_record(&mut record).unwrap_or(false) {
        let (byte, line) = record.position().map_or((0, 1), |at| (at.byte(), at.line()));
        // A record's position is the end of the record before; empty lines may stand between.
        let rest = text.as_bytes().get(usize::try_from(byte).unwrap_or(0)..).unwrap_or_default();
        let skipped = rest.iter().take_while(|b| matches!(b, b'\n' | b'\r')).filter(|b| **b == b'\n').count();
        let line = usize::try_from(line).unwrap_or(usize::MAX) + skipped;
        if !take(number, line, &record) {
            return;
        }
        number += 1;
    }
}

impl Plan {
    pub(super) fn visit(&self, text: &str, take: Take<'_>) {
        for_each(text, self.delimiter, &mut |number, line, record| {
            let is_blank = record.iter().all(|cell| cell.trim().is_empty());
            if is_blank || (number == self.first && self.has_header) {
                return true;
            }
            match self.problem(number, record) {
                Some(problem) => take(Item::Irregular { line, problem }),
                None => {
                    let cells: Vec<Cow<'_, str>> =
                        record.iter().take(self.width).map(|cell| Cow::Borrowed(cell.trim())).collect();
                    take(Item::Row { line, cells: &cells });
                }
            }
            true
        });
    }

    /// Why a record is no row.
    fn problem(&self, number: usize, record: &StringRecord) -> Option<String> {
        let beginning: String = record.iter().next().unwrap_or_default().chars().take(30).collect();
        if number < self.first {
            return Some(format!("it stands before the table: {beginning:?}"));
        }
        let lines = record.iter().map(|cell| cell.matches('\n').count()).max().unwrap_or(0);
        if lines > QUOTED_LINES_MAX {
            return Some(format!("a quotation mark is not closed within {lines} lines"));
        }
        let extra_is_empty = record.iter().skip(self.width).all(|cell| cell.trim().is_empty());
        let fits = record.len() >= self.width && extra_is_empty;
        (!fits).then(|| format!("it has {} values instead of {}", record.len(), self.width))
    }
}

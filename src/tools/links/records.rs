//! Reads a file as records. Tables, JSON and logs are read as everywhere else in this crate; here are the forms that are
//! no tables: sections under `[name]`, and lists whose lines are all written the same way.

use super::super::tables::sheet_rows;
use super::words::{can_name, codes, words};

/// A list needs so many lines.
const LINES_MIN: usize = 3;
/// Of ten lines, so many must be written the same way.
const SAME_FORM_OF_TEN: usize = 7;
/// A line with more words is a sentence.
const LINE_WORDS_MAX: usize = 14;

/// A row of a table, an entry of a list, or a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Line of the file, from 1, at which it begins.
    pub line: usize,
    /// How it is written for a reader. Values of a table have the names of their columns.
    pub text: String,
    /// Values, each with the name of its column, if it has one. Of a sentence, the values of other files in it, and names.
    pub fields: Vec<(Option<String>, String)>,
    /// Whether it is a sentence of prose.
    pub is_sentence: bool,
}

impl Record {
    /// What can name the record: its values, and the codes in them.
    pub(super) fn names(&self) -> Vec<Vec<String>> {
        let mut names = Vec::new();
        for (_, value) in &self.fields {
            names.extend(codes(value));
            names.push(words(value));
        }
        names.retain(|name| can_name(name));
        names
    }
}

/// The records of a file, or `None` if it is prose.
pub(super) fn records(file: &str, text: &str) -> Option<Vec<Record>> {
    sections(text).or_else(|| of_table(file, text)).or_else(|| list(text))
}

fn of_table(file: &str, text: &str) -> Option<Vec<Record>> {
    let record = |(line, cells): (usize, Vec<(String, String)>)| {
        let told = cells.iter().filter(|(_, value)| !value.is_empty());
        let text = told.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(", ");
        let fields = cells.into_iter().map(|(name, value)| (Some(name), value)).collect();
        Record { line, text, fields, is_sentence: false }
    };
    let rows = sheet_rows(file, text);
    (rows.len() >= LINES_MIN).then(|| rows.into_iter().map(record).collect())
}

/// Sections under lines such as `[name]`.
fn sections(text: &str) -> Option<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let name = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
        match (name, records.last_mut()) {
            (Some(name), _) => records.push(Record {
                line: at + 1,
                text: line.to_owned(),
                fields: vec![(None, name.trim().to_owned())],
                is_sentence: false,
            }),
            (None, Some(section)) if !line.is_empty() => {
                section.text = format!("{} {line}", section.text);
                section.fields.push(field(line));
            }
            // Comments may stand before the first section, but nothing else.
            (None, None) if !line.is_empty() && !line.starts_with(['#', ';']) => return None,
            _ => {}
        }
    }
    (records.len() >= LINES_MIN).then_some(records)
}

/// A line of a list, as name and value if it has both.
fn field(line: &str) -> (Option<String>, String) {
    match line.split_once(['=', ':']) {
        Some((name, value)) if !value.trim().is_empty() => {
            (Some(name.trim().to_owned()), value.trim().to_owned())
        }
        _ => (None, line.to_owned()),
    }
}

/// How a line of a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `name: value`
    Colon,
    /// `name = value`
    Equals,
    /// So many words or codes between spaces.
    Columns(usize),
}

impl Form {
    fn of(line: &str) -> Option<Self> {
        let is_sentence = line.ends_with(['.', '!', '?']) && words(line).len() > 4;
        if is_sentence || words(line).len() > LINE_WORDS_MAX {
            return None;
        }
        let joined = |mark: &str| line.split_once(mark).is_some_and(|(_, value)| !value.trim().is_empty());
        if joined(": ") {
            Some(Self::Colon)
        } else if joined("=") {
            Some(Self::Equals)
        } else {
            let columns = line.split_whitespace().count();
            (columns > 1).then_some(Self::Columns(columns))
        }
    }
}

/// A list whose lines are written the same way, under any headings.
fn list(text: &str) -> Option<Vec<Record>> {
    let entries = text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.trim();
        let entry = line.trim_start_matches(['-', '*', '•', '+']).trim_start();
        (!line.is_empty() && !line.starts_with('#')).then_some((at + 1, entry))
    });
    let entries: Vec<(usize, &str)> = entries.collect();
    let forms: Vec<Option<Form>> = entries.iter().map(|(_, line)| Form::of(line)).collect();
    let count = |form: &Form| forms.iter().filter(|other| **other == Some(*form)).count();
    let form = forms.iter().flatten().max_by_key(|form| count(form))?;
    if count(form) < LINES_MIN || 10 * count(form) < SAME_FORM_OF_TEN * entries.len() {
        return None;
    }
    let of_form = entries.iter().zip(&forms).filter(|(_, other)| **other == Some(*form));
    Some(of_form.map(|((line, text), _)| entry(*line, text, *form)).collect())
}

fn entry(line: usize, text: &str, form: Form) -> Record {
    let values: Vec<&str> = match form {
        Form::Colon => text.split([':', ',', ';']).collect(),
        Form::Equals => text.split(['=', ',', ';']).collect(),
        Form::Columns(_) => text.split_whitespace().collect(),
    };
    let values = values.into_iter().map(str::trim).filter(|value| !value.is_empty());
    let fields = values.map(|value| (None, value.to_owned())).collect();
    Record { line, text: text.to_owned(), fields, is_sentence: false }
}

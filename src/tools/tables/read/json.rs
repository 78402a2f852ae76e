//! Tables in JSON: lines with an object each, an array of objects, an object of objects, and arrays of objects inside
//! an object. Objects inside a row become columns such as `address.town`; arrays stay JSON.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::super::error::TableError;
use super::{COLUMNS_MAX, CONTENT_ONLY, Format, Item, SHARE_MIN, Sheet, Take};

/// Depth of objects that become columns.
const DEPTH_MAX: usize = 4;
/// Column of the keys when a table is an object of objects.
const KEY: &str = "key";

#[derive(Debug)]
pub(super) struct Plan {
    place: Place,
    columns: HashMap<String, usize>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Lines,
    /// Offset of the bracket or brace that holds the rows.
    Container {
        at: usize,
        is_keyed: bool,
    },
}

/// # Errors
/// When the file's name says JSON and it is not, with the place.
pub(super) fn sheets(file: &str, text: &str, is_named: bool) -> Result<Vec<Sheet>, TableError> {
    if let Some(sheet) = lines_sheet(file, text, is_named)? {
        return Ok(vec![sheet]);
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let problem = error.to_string();
        let problem = problem.split(" at line").next().unwrap_or_default().to_owned();
        return Err(TableError::Json {
            file: file.into(),
            line: error.line(),
            column: error.column(),
            problem,
        });
    }
    let at = text.len() - text.trim_start().len();
    let mut sheets = Vec::new();
    let mut add = |title: Option<&str>, place: Place| -> Result<(), TableError> {
        let share = share_of_objects(text, place);
        if share >= SHARE_MIN {
            sheets.push(sheet(
                file,
                text,
                title,
                place,
                if is_named { share } else { share * CONTENT_ONLY },
            )?);
        }
        Ok(())
    };
    match text.as_bytes()[at] {
        b'[' => add(None, Place::Container { at, is_keyed: false })?,
        b'{' => {
            let members = members(text, at);
            let keyed = Place::Container { at, is_keyed: true };
            if members.len() > 1 && share_of_objects(text, keyed) >= SHARE_MIN {
                add(None, keyed)?;
            } else {
                for member in members.iter().filter(|member| member.value.starts_with('[')) {
                    let key: String = serde_json::from_str(member.key).unwrap_or_default();
                    add(Some(&key), Place::Container { at: member.at, is_keyed: false })?;
                }
            }
        }
        _ => {}
    }
    Ok(sheets)
}

fn lines_sheet(file: &str, text: &str, is_named: bool) -> Result<Option<Sheet>, TableError> {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let objects = lines().filter(|line| object(line).is_some()).count();
    let share = objects as f32 / lines().count().max(1) as f32;
    // One object alone is a file of JSON; its arrays may be tables.
    let is_json_lines = file.ends_with(".jsonl") || file.ends_with(".ndjson");
    if objects == 0 || (!is_json_lines && (objects < 2 || share < SHARE_MIN)) {
        return Ok(None);
    }
    sheet(file, text, None, Place::Lines, if is_named { share } else { share * CONTENT_ONLY }).map(Some)
}

fn object(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim();
    if text.starts_with('{') { serde_json::from_str(text).ok() } else { None }
}

fn share_of_objects(text: &str, place: Place) -> f32 {
    let Place::Container { at, .. } = place else { return 0.0 };
    let members = members(text, at);
    let objects = members.iter().filter(|member| member.value.starts_with('{')).count();
    objects as f32 / members.len().max(1) as f32
}

fn sheet(
    file: &str,
    text: &str,
    title: Option<&str>,
    place: Place,
    confidence: f32,
) -> Result<Sheet, TableError> {
    let mut names: Vec<String> = Vec::new();
    let mut columns: HashMap<String, usize> = HashMap::new();
    for_each(text, place, &mut |_, fields| {
        for (name, _) in fields.unwrap_or_default() {
            if !columns.contains_key(&name) {
                columns.insert(name.clone(), names.len());
                names.push(name);
            }
        }
        names.len() <= COLUMNS_MAX
    });
    if names.len() > COLUMNS_MAX {
        return Err(TableError::TooManyColumns {
            file: file.into(),
            columns: names.len(),
            most: COLUMNS_MAX,
        });
    }
    Ok(Sheet {
        title: title.map(str::to_owned),
        width: names.len(),
        header: Some(names),
        format: if matches!(place, Place::Lines) { Format::JsonLines } else { Format::Json },
        confidence,
        notes: Vec::new(),
        plan: super::Plan::Json(Plan { place, columns }),
    })
}

/// The fields of a row with their names, in the order of the text.
type Fields = Vec<(String, String)>;

/// Calls `take` with each row's line and fields, or `None` where something else than an object stands, until it returns
/// false.
fn for_each(text: &str, place: Place, take: &mut dyn FnMut(usize, Option<Fields>) -> bool) {
    let fields = |key: Option<&str>, value: &str| {
        let mut fields = Vec::new();
        if let Some(key) = key {
            fields.push((KEY.to_owned(), serde_json::from_str(key).unwrap_or_default()));
        }
        flatten("", Value::Object(object(value)?), 0, &mut fields);
        Some(fields)
    };
    match place {
        Place::Lines => {
            for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                if !take(at + 1, fields(None, line)) {
                    return;
                }
            }
        }
        Place::Container { at, is_keyed } => {
            let (mut line, mut counted) = (1, 0);
            for member in members(text, at) {
                line += text[counted..member.at].matches('\n').count();
                counted = member.at;
                if !take(line, fields(is_keyed.then_some(member.key), member.value)) {
                    return;
                }
            }
        }
    }
}

fn flatten(prefix: &str, value: Value, depth: usize, fields: &mut Fields) {
    let text = match value {
        Value::Object(map) if depth < DEPTH_MAX => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&name, value, depth + 1, fields);
            }
            return;
        }
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    fields.push((prefix.to_owned(), text));
}

/// An element of an array or a member of an object.
struct Member<'t> {
    /// As written, with its quotation marks; empty in an array.
    key: &'t str,
    /// Offset of the value.
    at: usize,
    value: &'t str,
}

/// What is directly inside the bracket or brace at `at` of valid JSON.
fn members(text: &str, at: usize) -> Vec<Member<'_>> {
    let bytes = text.as_bytes();
    let mut members = Vec::new();
    let (mut key, mut begin) = ("", at + 1);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (offset, byte) in bytes.iter().enumerate().skip(at) {
        if in_string {
            in_string = is_escaped || *byte != b'"';
            is_escaped = *byte == b'\\' && !is_escaped;
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => (key, begin) = (text[begin..offset].trim(), offset + 1),
            _ => {}
        }
        if depth == 0 || (depth == 1 && *byte == b',') {
            let value = text[begin..offset].trim();
            let at = begin + (text[begin..offset].len() - text[begin..offset].trim_start().len());
            if !value.is_empty() {
                members.push(Member { key, at, value });
            }
            (key, begin) = ("", offset + 1);
        }
        if depth == 0 {
            break;
        }
    }
    members
}

impl Plan {
    pub(super) fn visit(&self, text: &str, take: Take<'_>) {
        for_each(text, self.place, &mut |line, fields| {
            let Some(fields) = fields else {
                take(Item::Irregular { line, problem: "it is no JSON object".into() });
                return true;
            };
            let mut cells = vec![Cow::Borrowed(""); self.columns.len()];
            for (name, value) in fields {
                if let Some(at) = self.columns.get(&name) {
                    cells[*at] = value.into();
                }
            }
            take(Item::Row { line, cells: &cells });
            true
        });
    }
}

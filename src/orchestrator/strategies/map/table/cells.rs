//! One text and all columns: the prompt, the schema of the reply, and the check of each cell against the text.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::conditions::{number, plain};
use super::evidence::{Evidence, Sought};
use super::names::whole_name;
use crate::band::{Finish, Reply};
use crate::checks::{stands_in, words};
use crate::plan::{AnswerIs, Column};
use crate::prompts;
use crate::strategy::{Prompt, Verdict};

/// Most tokens of the frame of a row, and of each of its cells. This is more than any needs; a reading that is cut off is
/// repeated with twice as many.
const ROW_TOKENS: u32 = 80;
const CELL_TOKENS: u32 = 60;
/// A subject with more words is a sentence.
const SUBJECT_WORDS_MAX: usize = 12;
/// A planner calls a column such as "opens" a date, and the texts have times of day.
const DATE_OR_TIME: &str = "^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}:[0-9]{2})$";
/// The field of the reply that says what the text is about.
const SUBJECT: &str = "about";

/// What a cell rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Basis {
    /// The quote holds the value and speaks of the column.
    Quote,
    /// Two readings give the same.
    Agreed,
    /// One reading gives it.
    Doubtful,
    /// What was read does not stand in the text.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cell {
    /// `null` if the text does not say it.
    pub value: Value,
    /// The sentence that it rests on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub quote: String,
    pub basis: Basis,
}

/// What is read in a text, or in a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Who or what the text is about.
    #[serde(default)]
    pub subject: String,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// Whether the first column names what a row is about, so that the reader is not asked for it again.
#[must_use]
pub(super) fn names_itself(columns: &[Column]) -> bool {
    columns.first().is_some_and(|first| first.kind == AnswerIs::Name)
}

/// Whether any column has a name. A reader that is also asked for the name of what the text is about would not give the
/// same name twice.
#[must_use]
pub(super) fn has_name(columns: &[Column]) -> bool {
    columns.iter().any(|column| column.kind == AnswerIs::Name)
}

#[must_use]
pub(in super::super) fn tokens_max(columns: &[Column]) -> u32 {
    ROW_TOKENS + CELL_TOKENS * columns.len() as u32
}

/// The schema of the reply: an object with a field for each column. No string has a maximum length, because the grammar
/// would end it in the middle of a word.
pub(in super::super) fn schema(columns: &[Column]) -> Value {
    let or_null = |kind: Value| json!({"anyOf": [kind, {"type": "null"}]});
    let mut fields = Map::new();
    if !has_name(columns) {
        fields.insert(SUBJECT.to_owned(), json!({"type": "string"}));
    }
    for column in columns {
        let kind = match column.kind {
            AnswerIs::Number => or_null(json!({"type": "number"})),
            AnswerIs::Date => or_null(json!({"type": "string", "pattern": DATE_OR_TIME})),
            AnswerIs::YesNo => json!({"enum": ["yes", "no", null]}),
            _ => or_null(json!({"type": "string", "minLength": 1})),
        };
        fields.insert(column.name.clone(), kind);
    }
    let required: Vec<&String> = fields.keys().collect();
    json!({"type": "object", "required": required, "properties": fields, "additionalProperties": false})
}

/// The prompt. The text comes first, so that other questions about it use what was computed of it.
/// Its name stays out: a small reader would take it for the name of what the text is about.
pub(in super::super) fn prompt(columns: &[Column], text: &str) -> Prompt {
    let mut asked = String::new();
    if !has_name(columns) {
        asked.push_str(&format!("- {SUBJECT}: name of who or what the text is about\n"));
    }
    for column in columns {
        let kind = match column.kind {
            AnswerIs::Number => " (a number)",
            AnswerIs::Date => " (a date, YYYY-MM-DD, or a time of day, HH:MM)",
            AnswerIs::YesNo => " (yes or no)",
            _ => "",
        };
        asked.push_str(&format!("- {}{kind}\n", column.name));
    }
    prompts::MAP_ROW.prompt(&[("text", text.trim()), ("columns", asked.trim_end())])
}

/// Checks a reading, and puts it together with the readings of the text before it. `is_last` says that nobody will read
/// the text again.
pub(in super::super) fn check(
    columns: &[Column],
    text: &str,
    reply: &Reply,
    earlier: &[&str],
    is_last: bool,
) -> Verdict {
    if reply.finish == Finish::Length {
        return Verdict::reject("the reply was cut off at its limit");
    }
    let Some(row) = judged(columns, text, &reply.text) else {
        return Verdict::reject("the reply was not the JSON asked for");
    };
    let before: Vec<Row> = earlier.iter().filter_map(|output| judged(columns, text, output)).collect();
    let mut row = merged(row, &before);
    // Its cells may come from several readings.
    without_own_name(columns, &mut row.cells);
    let is_sure = row.cells.iter().all(|cell| matches!(cell.basis, Basis::Quote | Basis::Agreed));
    let json = serde_json::to_string(&row).expect("strings and JSON values are always JSON");
    match (is_sure, before.is_empty() || is_last) {
        (true, _) => Verdict::Accept(json),
        (false, true) => Verdict::Doubt(json),
        (false, false) => Verdict::Reject { why: "two readings differ".to_owned(), kept: Some(json) },
    }
}

/// A reply as a row whose cells have been checked against the text; `None` if it is not the JSON asked for.
fn judged(columns: &[Column], text: &str, reply: &str) -> Option<Row> {
    let fields: Map<String, Value> = serde_json::from_str(reply).ok()?;
    let values: Option<Vec<&Value>> = columns.iter().map(|column| fields.get(&column.name)).collect();
    let values = values?;
    let mut cells: Vec<Cell> =
        (0..columns.len()).map(|place| cell(&Sought::of(columns, place), text, values[place])).collect();
    part_equal(columns, &mut cells);
    without_own_name(columns, &mut cells);
    let subject = fields.get(SUBJECT).and_then(Value::as_str).unwrap_or_default().trim();
    let is_name = words(subject).len() <= SUBJECT_WORDS_MAX && stands_in(text, subject);
    Some(Row { subject: if is_name { whole_name(text, subject) } else { String::new() }, cells })
}

/// One word can't be both the owner and the town, but two numbers may be equal.
fn part_equal(columns: &[Column], cells: &mut [Cell]) {
    for place in 1..cells.len() {
        let words_of = |cell: &Cell| cell.value.as_str().map(words);
        let own = words_of(&cells[place]).filter(|_| columns[place].kind != AnswerIs::YesNo);
        if own.is_some() && (0..place).any(|other| words_of(&cells[other]) == own) {
            (cells[place].basis, cells[place].quote) = (Basis::Doubtful, String::new());
        }
    }
}

/// A small reader gives the dog's name for its carer's where it does not find the carer's, and a sentence about the carer
/// names the dog too. So no other cell holds the name of the row.
fn without_own_name(columns: &[Column], cells: &mut [Cell]) {
    if !names_itself(columns) {
        return;
    }
    let words_of = |cell: &Cell| cell.value.as_str().map(words);
    let Some(own) = cells.first().and_then(words_of) else { return };
    for cell in cells.iter_mut().skip(1).filter(|cell| words_of(cell).as_ref() == Some(&own)) {
        *cell = Cell { value: Value::Null, quote: String::new(), basis: Basis::Failed };
    }
}

fn cell(sought: &Sought<'_>, text: &str, value: &Value) -> Cell {
    let of = |value: &Value, quote: String, basis| Cell { value: value.clone(), quote, basis };
    if value.is_null() || is_nothing(text, value) {
        let value = &Value::Null;
        let basis = if sought.could_be_in(text) { Basis::Doubtful } else { Basis::Quote };
        return of(value, String::new(), basis);
    }
    let value = &sought.whole(text, value);
    if sought.is_name() && is_sentence(value) {
        return of(&Value::Null, String::new(), Basis::Failed);
    }
    match sought.evidence(text, value) {
        Evidence::Told(quote) => of(value, quote, Basis::Quote),
        Evidence::Stands(quote) => of(value, quote, Basis::Doubtful),
        Evidence::Absent(_) => of(&Value::Null, String::new(), Basis::Failed),
    }
}

/// Whether a reader has put into words that the text does not say it.
fn is_nothing(text: &str, value: &Value) -> bool {
    const NOTHING: &[&str] =
        &["null", "none", "unknown", "n a", "not stated", "not mentioned", "not specified"];
    let said = value.as_str().map(|said| words(said).join(" "));
    said.is_some_and(|said| (said.is_empty() || NOTHING.contains(&said.as_str())) && !stands_in(text, &said))
}

/// Whether a value is a whole sentence instead of a name.
fn is_sentence(value: &Value) -> bool {
    const NAME_WORDS_MAX: usize = 10;
    const VERBS: &[&str] = &[
        "is", "are", "was", "were", "be", "been", "has", "have", "had", "will", "would", "can", "could",
        "must", "did",
    ];
    let said = words(value.as_str().unwrap_or_default());
    said.len() > NAME_WORDS_MAX || (said.len() > 3 && said.iter().any(|word| VERBS.contains(&word.as_str())))
}

/// The last reading with what the readings before it know better, cell by cell.
fn merged(mut row: Row, before: &[Row]) -> Row {
    for (place, cell) in row.cells.iter_mut().enumerate() {
        let mut earlier = before.iter().map(|row| &row.cells[place]);
        if cell.basis == Basis::Quote {
            continue;
        }
        if let Some(sure) = earlier.clone().rfind(|one| one.basis == Basis::Quote) {
            *cell = sure.clone();
        } else if cell.basis == Basis::Doubtful && earlier.clone().any(|one| agrees(one, cell)) {
            cell.basis = Basis::Agreed;
        } else if cell.basis == Basis::Failed
            && let Some(other) = earlier.rfind(|one| one.basis == Basis::Doubtful)
        {
            *cell = other.clone();
        }
    }
    if row.subject.is_empty()
        && let Some(named) = before.iter().find(|row| !row.subject.is_empty())
    {
        row.subject.clone_from(&named.subject);
    }
    row
}

fn agrees(one: &Cell, other: &Cell) -> bool {
    if one.basis == Basis::Failed {
        return false;
    }
    match (number(&one.value), number(&other.value)) {
        (Some(one), Some(other)) => one == other,
        _ => {
            one.value.is_null() == other.value.is_null()
                && words(&plain(&one.value)) == words(&plain(&other.value))
        }
    }
}

//! Puts rows into the database. The rows are visited twice: once for the types, which need all values, and once to be
//! stored.

use std::borrow::Cow;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::error::TableError;
use super::names::identifier;
use super::read::{Format, Item, Take};
use super::schema::{Column, Irregular, Lines, Places, Table};
use super::types::{Cell, ColumnFacts, ColumnType, Kind};

/// Irregular lines that are named.
const NAMED_MAX: usize = 20;
/// Different values of a column that are kept for prompts and grammars.
const VALUES_MAX: usize = 30;
/// First words of a row that repeats what the rows above it add up to.
const TOTALS: &[&str] = &[
    "total",
    "totals",
    "grand total",
    "sum",
    "summe",
    "gesamt",
    "gesamtsumme",
    "insgesamt",
    "total général",
];

/// A table before its rows are read.
pub(super) struct Draft {
    pub(super) file: String,
    /// The table's name as written, such as the file's stem or a heading.
    pub(super) title: String,
    pub(super) header: Option<Vec<String>>,
    pub(super) width: usize,
    pub(super) format: Format,
    pub(super) confidence: f32,
    pub(super) notes: Vec<String>,
}

/// Calls its argument with every row of a table, as often as it is called itself.
pub(super) type Visit<'v> = &'v dyn Fn(Take<'_>);

pub(super) fn load(
    connection: &mut Connection,
    taken: &[String],
    draft: Draft,
    visit: Visit<'_>,
) -> Result<Table, TableError> {
    let mut survey = Survey { facts: vec![ColumnFacts::default(); draft.width], ..Survey::default() };
    rows(visit, &mut |item| survey.see(item));
    let mut notes = draft.notes;
    let (columns, types) = columns(draft.header.as_deref(), &survey.facts, &mut notes);
    let mut table = Table {
        name: identifier(&draft.title, "table_1", taken),
        file: draft.file,
        format: draft.format,
        confidence: draft.confidence,
        columns,
        rows: survey.lines.count,
        irregular: survey.irregular,
        notes,
        places: Places::Lines(survey.lines),
        row_bytes_max: survey.row_bytes_max,
    };
    store(connection, &table, &types, visit)
        .and_then(|()| profile(connection, &mut table))
        .map_err(failed)?;
    Ok(table)
}

fn failed(error: rusqlite::Error) -> TableError {
    TableError::Failed { problem: error.to_string() }
}

/// Visits the rows without a last row that only adds up the others.
fn rows(visit: Visit<'_>, take: Take<'_>) {
    let mut held: Option<(usize, Vec<Cow<'static, str>>)> = None;
    let mut count = 0;
    visit(&mut |item| {
        if let Item::Row { line, cells } = &item {
            if let Some((line, cells)) = held.take() {
                take(Item::Row { line, cells: &cells });
            }
            count += 1;
            if count > 2 && is_total(cells) {
                held = Some((*line, cells.iter().map(|cell| Cow::Owned(cell.to_string())).collect()));
                return;
            }
        }
        take(item);
    });
    if let Some((line, _)) = held {
        take(Item::Irregular { line, problem: "it is the last row and adds up the others".into() });
    }
}

fn is_total(cells: &[Cow<'_, str>]) -> bool {
    let first = cells.iter().find(|cell| !cell.is_empty());
    let word = first.map(|cell| cell.trim_end_matches(':').to_lowercase()).unwrap_or_default();
    cells.len() > 1 && TOTALS.contains(&word.as_str())
}

/// What the first visit finds.
#[derive(Default)]
struct Survey {
    facts: Vec<ColumnFacts>,
    lines: Lines,
    irregular: Irregular,
    row_bytes_max: usize,
}

impl Survey {
    fn see(&mut self, item: Item<'_>) {
        match item {
            Item::Row { line, cells } => {
                self.lines.push(line);
                self.row_bytes_max = self.row_bytes_max.max(cells.iter().map(|cell| cell.len() + 9).sum());
                for (facts, cell) in self.facts.iter_mut().zip(cells) {
                    facts.see(line, cell);
                }
            }
            Item::Irregular { line, problem } => {
                self.irregular.count += 1;
                if self.irregular.first.len() < NAMED_MAX {
                    self.irregular.first.push((line, problem));
                }
            }
        }
    }
}

fn columns(
    header: Option<&[String]>,
    facts: &[ColumnFacts],
    notes: &mut Vec<String>,
) -> (Vec<Column>, Vec<ColumnType>) {
    // What one column proves is likely for the others of the file.
    let mark = only(facts.iter().filter_map(ColumnFacts::sure_mark));
    let order = only(facts.iter().filter_map(ColumnFacts::sure_order));
    let mut names: Vec<String> = Vec::new();
    let (mut columns, mut types) = (Vec::new(), Vec::new());
    for (at, facts) in facts.iter().enumerate() {
        let otherwise = format!("c{}", at + 1);
        let title = header.map_or(otherwise.as_str(), |header| header[at].trim());
        let name = identifier(title, &otherwise, &names);
        let mut own = Vec::new();
        let decided = facts.decide(mark, order, &mut own);
        notes.extend(own.into_iter().map(|note| format!("column {name}: {note}")));
        columns.push(Column {
            name: name.clone(),
            title: if title.is_empty() { name.clone() } else { title.to_owned() },
            kind: decided.kind,
            unit: decided.unit.clone(),
            values: Vec::new(),
            has_more_values: false,
            range: None,
            has_empty: false,
        });
        names.push(name);
        types.push(decided);
    }
    (columns, types)
}

/// The value that all agree on.
fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// The type that SQLite sees. A query's result has it back for columns that are shown as they are.
pub(super) fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "INTEGER",
        Kind::Decimal => "REAL",
        Kind::Date => "DATE_TEXT",
        Kind::DateTime => "DATETIME_TEXT",
        Kind::Boolean => "BOOLEAN_INT",
        Kind::Text => "TEXT",
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Empty => ValueRef::Null,
            Cell::Integer(value) => ValueRef::Integer(*value),
            Cell::Real(value) => ValueRef::Real(*value),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn store(
    connection: &mut Connection,
    table: &Table,
    types: &[ColumnType],
    visit: Visit<'_>,
) -> rusqlite::Result<()> {
    let declared = table.columns.iter().map(|column| format!("{} {}", column.name, sql_type(column.kind)));
    let declared = declared.collect::<Vec<_>>().join(", ");
    let transaction = connection.transaction()?;
    transaction.execute_batch(&format!("CREATE TABLE {} ({declared})", table.name))?;
    {
        let places = vec!["?"; types.len()].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO {} VALUES ({places})", table.name))?;
        let mut outcome = Ok(());
        rows(visit, &mut |item| {
            if let (Item::Row { cells, .. }, Ok(())) = (item, &outcome) {
                let values = types.iter().zip(cells).map(|(kind, cell)| kind.cell(cell));
                outcome = insert.execute(params_from_iter(values)).map(|_| ());
            }
        });
        outcome?;
    }
    transaction.commit()
}

/// Fills in what is shown of the columns: their first values and their range.
fn profile(connection: &Connection, table: &mut Table) -> rusqlite::Result<()> {
    let name = &table.name;
    for column in &mut table.columns {
        let own = &column.name;
        let mut select =
            connection.prepare(&format!("SELECT DISTINCT {own} FROM {name} LIMIT {}", VALUES_MAX + 2))?;
        let values = select.query_map([], |row| Ok(shown(row.get_ref(0)?, column.kind)))?;
        let values: Vec<Option<String>> = values.collect::<rusqlite::Result<_>>()?;
        column.values = values.into_iter().flatten().collect();
        column.has_more_values = column.values.len() > VALUES_MAX;
        column.values.truncate(VALUES_MAX);
        let sql = format!("SELECT MIN({own}), MAX({own}), COUNT(*) > COUNT({own}) FROM {name}");
        let (least, most, has_empty) = connection.query_row(&sql, [], |row| {
            let end = |at| Ok::<_, rusqlite::Error>(shown(row.get_ref(at)?, column.kind));
            Ok((end(0)?, end(1)?, row.get(2)?))
        })?;
        column.has_empty = has_empty;
        let has_range = !matches!(column.kind, Kind::Text | Kind::Boolean);
        column.range = least.zip(most).filter(|_| has_range);
    }
    Ok(())
}

fn shown(value: ValueRef<'_>, kind: Kind) -> Option<String> {
    match (value, kind) {
        (ValueRef::Integer(value), Kind::Boolean) => Some((value != 0).to_string()),
        (ValueRef::Integer(value), _) => Some(value.to_string()),
        (ValueRef::Real(value), _) => Some(value.to_string()),
        (ValueRef::Text(text), _) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}

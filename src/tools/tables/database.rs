//! Tables in memory that statements can be put to.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, Statement};

use super::answer::{Answer, Row, Value};
use super::describe::describe;
use super::error::TableError;
use super::grammar::{Grammar, joins};
use super::load::{Draft, Visit, load, sql_type};
use super::read::{Format, Item, Sheet, sheets};
use super::schema::{Place, Places, Table};
use super::sql::{
    Compared, Guard, Interruption, Limits, STATEMENT_BYTES_MAX, Traced, add_functions, compared, decimal_of,
    protect, traced, unprotect,
};
use super::types::Kind;

/// SQLite's own limit for a value.
const LENGTH_MAX: usize = 1_000_000_000;

/// A database of tables. It is read-only except for adding tables.
pub struct Tables {
    connection: Connection,
    guard: Guard,
    limits: Limits,
    tables: Vec<Table>,
    /// Bytes that a value or a row may have.
    length_max: usize,
}

/// A row that the program made, with the place that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcedRow {
    pub place: Place,
    pub cells: Vec<String>,
}

impl Tables {
    /// A database without tables.
    ///
    /// # Errors
    /// When SQLite can't be set up.
    pub fn new(limits: Limits) -> Result<Self, TableError> {
        let connection = Connection::open_in_memory().map_err(other)?;
        add_functions(&connection).map_err(other)?;
        let guard = Guard::new(&limits);
        let mut tables = Self { connection, guard, limits, tables: Vec::new(), length_max: 0 };
        tables.protect()?;
        Ok(tables)
    }

    /// Adds every table that `text` holds. `file` is the name under which sources are cited; its ending says which
    /// format to expect. Returns the tables' numbers.
    ///
    /// # Errors
    /// [`TableError::NoTable`] when the text holds none, and errors of the format.
    pub fn add(&mut self, file: &str, text: &str) -> Result<std::ops::Range<usize>, TableError> {
        let first = self.tables.len();
        let stem = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
        let found = sheets(file, text)?;
        let is_alone = found.len() == 1;
        self.unprotect()?;
        let added = found.into_iter().try_for_each(|sheet| {
            let title = sheet.title.clone().filter(|_| !is_alone);
            let draft = draft(file, title.unwrap_or_else(|| stem.to_owned()), &sheet);
            self.load(draft, &|take| sheet.visit(text, take))
        });
        self.protect()?;
        added.map(|()| first..self.tables.len())
    }

    /// Adds a table of rows that the program collected, each with the place that it came from. Types follow from the
    /// values, as they do for a file. Rows need as many cells as `header`.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn add_rows(
        &mut self,
        title: &str,
        header: &[String],
        rows: &[SourcedRow],
    ) -> Result<usize, TableError> {
        let draft = Draft {
            file: title.to_owned(),
            title: title.to_owned(),
            header: Some(header.to_vec()),
            width: header.len(),
            format: Format::Rows,
            confidence: 1.0,
            notes: Vec::new(),
        };
        self.unprotect()?;
        let added = self.load(draft, &|take| {
            for (at, row) in rows.iter().enumerate() {
                let line = at + 1;
                if row.cells.len() == header.len() {
                    let cells: Vec<_> = row.cells.iter().map(|cell| cell.trim().into()).collect();
                    take(Item::Row { line, cells: &cells });
                } else {
                    let problem = format!("it has {} values instead of {}", row.cells.len(), header.len());
                    take(Item::Irregular { line, problem });
                }
            }
        });
        self.protect()?;
        added?;
        let number = self.tables.len() - 1;
        let table = &mut self.tables[number];
        if let Places::Lines(lines) = &table.places {
            let numbers = (0..lines.count).filter_map(|row| lines.line(row));
            table.places = Places::Each(numbers.map(|number| rows[number - 1].place.clone()).collect());
        }
        Ok(number)
    }

    fn load(&mut self, draft: Draft, visit: Visit<'_>) -> Result<(), TableError> {
        let taken: Vec<String> = self.names();
        self.tables.push(load(&mut self.connection, &taken, draft, visit)?);
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        self.tables.iter().map(|table| table.name.clone()).collect()
    }

    fn unprotect(&mut self) -> Result<(), TableError> {
        unprotect(&mut self.connection, LENGTH_MAX).map_err(other)
    }

    fn protect(&mut self) -> Result<(), TableError> {
        let rows = self.tables.iter().map(|table| table.rows).sum();
        let longest = self.tables.iter().map(|table| table.row_bytes_max).max().unwrap_or(0);
        let names = self.names();
        self.length_max =
            protect(&mut self.connection, &self.guard, &self.limits, names, rows, longest).map_err(other)?;
        Ok(())
    }

    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The tables in words, for a prompt.
    #[must_use]
    pub fn describe(&self) -> String {
        describe(&self.tables)
    }

    /// Pairs of columns that join two tables, each as table and column, the likeliest of two tables first.
    ///
    /// # Errors
    /// When the values of columns can't be compared within the limits.
    pub fn joins(&self) -> Result<Vec<[(usize, usize); 2]>, TableError> {
        joins(&self.tables, &|left, right| self.share_values(left, right))
    }

    /// The texts that a statement compares with columns.
    #[must_use]
    pub fn compared(&self, sql: &str) -> Vec<Compared> {
        compared(sql, &self.tables)
    }

    /// A grammar of SELECT statements over these tables.
    ///
    /// # Errors
    /// When the values of columns can't be compared within the limits.
    pub fn grammar(&self) -> Result<Grammar, TableError> {
        Grammar::of(&self.tables, &|left, right| self.share_values(left, right))
    }

    /// Whether two columns, given as table and column, have a value in common.
    fn share_values(&self, left: (&str, &str), right: (&str, &str)) -> Result<bool, TableError> {
        let ((left_table, left), (right_table, right)) = (left, right);
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {left_table} WHERE {left} IN (SELECT {right} FROM {right_table}))"
        );
        self.guard.begin();
        self.connection.query_row(&sql, [], |row| row.get(0)).map_err(|error| self.explained(error))
    }

    /// Checks that a statement could run, without running it.
    ///
    /// # Errors
    /// The same as [`Self::query`], except for those that only running it shows.
    pub fn check(&self, sql: &str) -> Result<(), TableError> {
        self.prepare(sql).map(|_| ())
    }

    /// Runs one SELECT and returns its rows, each with the lines of the files that it comes from where that is known.
    ///
    /// # Errors
    /// [`TableError::Refused`] when it would do something else than read the tables, [`TableError::Statement`] when it
    /// is wrong, and others when it fails or reaches a limit.
    pub fn query(&self, sql: &str) -> Result<Answer, TableError> {
        self.run(sql, true)
    }

    /// Runs a statement, with the sources of its rows if `is_followed` and if they can be followed.
    pub(super) fn run(&self, sql: &str, is_followed: bool) -> Result<Answer, TableError> {
        // The statement itself is checked first, so that an error is about what was written.
        let mut statement = self.prepare(sql)?;
        let mut followed = None;
        if let Some(traced) = traced(sql, &self.names()).filter(|_| is_followed)
            && let Ok(with_sources) = self.prepare(&traced.sql)
        {
            statement = with_sources;
            followed = Some(traced);
        }
        self.guard.begin();
        self.rows(statement, followed)
    }

    fn prepare(&self, sql: &str) -> Result<Statement<'_>, TableError> {
        if sql.len() > STATEMENT_BYTES_MAX {
            return Err(TableError::TooLong { bytes: sql.len(), most: STATEMENT_BYTES_MAX });
        }
        self.guard.begin();
        let first = sql.trim_start().get(..6).unwrap_or_default().to_ascii_lowercase();
        if first != "select" && !first.starts_with("with") {
            return Err(self.refused("it doesn't begin with SELECT"));
        }
        let statement = self.connection.prepare(sql).map_err(|error| match self.explained(error) {
            TableError::Failed { problem } => {
                TableError::Statement { problem: self.with_names(problem), at: None }
            }
            error => error,
        })?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(self.refused("it does something else than reading"));
        }
        if statement.parameter_count() > 0 {
            return Err(self.refused("it has parameters: write the values"));
        }
        Ok(statement)
    }

    fn rows(&self, mut statement: Statement<'_>, followed: Option<Traced>) -> Result<Answer, TableError> {
        let added = followed.as_ref().map_or(0, |traced| traced.tables.len());
        let width = statement.column_count() - added;
        let types: Vec<Option<String>> =
            statement.columns().map(|column| column.decl_type().map(str::to_owned)).collect();
        let columns = statement.column_names().take(width).map(str::to_owned).collect();
        let mut answer =
            Answer { columns, rows: Vec::new(), has_more: false, has_sources: followed.is_some() };
        let mut bytes = 0;
        let mut rows = statement.query([]).map_err(|error| self.explained(error))?;
        while let Some(row) = rows.next().map_err(|error| self.explained(error))? {
            let value = |at: usize| value(row.get_ref(at)?, types[at].as_deref());
            let values: Vec<Value> = (0..width)
                .map(value)
                .collect::<rusqlite::Result<_>>()
                .map_err(|error| self.explained(error))?;
            bytes += values.iter().map(|value| value.to_string().len() + 1).sum::<usize>();
            if answer.rows.len() == self.limits.rows || bytes > self.limits.bytes {
                answer.has_more = true;
                break;
            }
            let mut sources = Vec::new();
            let mut has_more_sources = false;
            for (at, table) in followed.iter().flat_map(|traced| traced.tables.iter().enumerate()) {
                let numbers = row.get_ref(width + at).map_err(|error| self.explained(error))?;
                has_more_sources |= self.add_places(*table, numbers, &mut sources);
            }
            answer.rows.push(Row { values, sources, has_more_sources });
        }
        Ok(answer)
    }

    /// Adds the places of a table's rows to `sources`; returns whether there are more.
    fn add_places(&self, table: usize, numbers: ValueRef<'_>, sources: &mut Vec<Place>) -> bool {
        let mut add = |number: &str| {
            let row = number.parse().unwrap_or(0);
            sources.extend(self.tables[table].place(row).filter(|place| !sources.contains(place)));
        };
        match numbers {
            ValueRef::Integer(number) => add(&number.to_string()),
            ValueRef::Text(text) => String::from_utf8_lossy(text).split(',').for_each(add),
            _ => {}
        }
        matches!(numbers, ValueRef::Text(text) if text.ends_with(b","))
    }

    fn refused(&self, what: &str) -> TableError {
        TableError::Refused { what: what.to_owned(), tables: self.names().join(", ") }
    }

    /// What an error of SQLite means for the statement.
    fn explained(&self, error: rusqlite::Error) -> TableError {
        if let Some(interruption) = self.guard.interruption() {
            return match interruption {
                Interruption::Steps { most } => TableError::TooManySteps { most },
                Interruption::Time { most_ms } => TableError::TooSlow { most_ms },
            };
        }
        if let Some(what) = self.guard.refused() {
            return self.refused(&what);
        }
        match error {
            rusqlite::Error::SqlInputError { msg, sql, offset, .. } => {
                let at = usize::try_from(offset).ok();
                let at = at.map(|at| sql.get(..at).map_or(at, |before| before.chars().count()) + 1);
                TableError::Statement { problem: self.with_names(msg), at }
            }
            rusqlite::Error::MultipleStatement => self.refused("it is more than one statement"),
            rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::TooBig => {
                TableError::TooWide { most: self.length_max }
            }
            error => TableError::Failed { problem: error.to_string() },
        }
    }

    /// A message of SQLite with the names that there are, where a name is wrong.
    fn with_names(&self, message: String) -> String {
        if message.starts_with("no such table") {
            return format!("{message} (there are: {})", self.names().join(", "));
        }
        if message.starts_with("no such column") {
            let columns = self.tables.iter().map(|table| {
                let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
                format!("{}({})", table.name, columns.join(", "))
            });
            return format!("{message} (there are: {})", columns.collect::<Vec<_>>().join(", "));
        }
        message
    }
}

fn draft(file: &str, title: String, sheet: &Sheet) -> Draft {
    Draft {
        file: file.to_owned(),
        title,
        header: sheet.header.clone(),
        width: sheet.width,
        format: sheet.format,
        confidence: sheet.confidence,
        notes: sheet.notes.clone(),
    }
}

fn other(error: rusqlite::Error) -> TableError {
    TableError::Failed { problem: error.to_string() }
}

/// A value of a result. `declared` is the type of the column that it was taken from, if it was taken from one.
fn value(value: ValueRef<'_>, declared: Option<&str>) -> rusqlite::Result<Value> {
    let is = |kind: Kind| declared == Some(sql_type(kind));
    Ok(match value {
        ValueRef::Null => Value::Empty,
        ValueRef::Integer(value) if is(Kind::Boolean) => Value::Boolean(value != 0),
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => {
            let decimal =
                decimal_of(value).map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
            Value::Decimal(decimal)
        }
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            let text = String::from_utf8_lossy(text).into_owned();
            if is(Kind::Date) {
                Value::Date(text)
            } else if is(Kind::DateTime) {
                Value::DateTime(text)
            } else {
                Value::Text(text)
            }
        }
    })
}

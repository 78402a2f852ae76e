//! The tables among the inputs of a run. They are read once, and only if a strategy asks for them. What a statement
//! gives depends on the inputs alone: it is limited by steps, not by time.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bandmaster_tools::tables::{Answer, Compared, Limits, Table, TableError, Tables, Value, format_of};

use super::request::Input;

/// Far more than any statement takes that is any use. The time is there for a bug in the limit of steps.
const LIMITS: Limits = Limits { steps: 40_000_000, time_ms: 600_000, rows: VALUES_MAX + 1, bytes: 8 << 20 };
/// Different values of a text column that are compared with the goal. Of a column with more, none is.
const VALUES_MAX: usize = 20_000;

/// A column by the number of its table and its own.
pub(crate) type ColumnAt = (usize, usize);

pub(crate) struct Attached {
    /// Every table, in the order of the inputs.
    pub tables: Vec<Table>,
    /// Pairs of columns that join two tables.
    pub joins: Vec<[ColumnAt; 2]>,
    /// Why inputs hold no table that can be read.
    pub problems: Vec<String>,
    /// The different values of each text column, by table and column. Empty if there are too many.
    values: Vec<Vec<Vec<String>>>,
    /// SQLite's connection can't be shared, so statements run one after another.
    database: Option<Mutex<Tables>>,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
        f.debug_struct("Attached").field("tables", &names).finish_non_exhaustive()
    }
}

/// How many of the inputs are nothing but tables, by their names and contents.
#[must_use]
pub(crate) fn tables_among(inputs: &[Input]) -> usize {
    inputs.iter().filter(|input| format_of(&input.name, &input.text).is_some()).count()
}

impl Attached {
    /// Reads the tables of all inputs.
    #[must_use]
    pub(crate) fn read(inputs: &[Input]) -> Self {
        let mut problems = Vec::new();
        let database = match Tables::new(LIMITS) {
            Ok(mut database) => {
                for input in inputs {
                    if let Err(error) = database.add(&input.name, &input.text) {
                        problems.push(error.to_string());
                    }
                }
                Some(database)
            }
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        let mut attached =
            Self { tables: Vec::new(), joins: Vec::new(), problems, values: Vec::new(), database: None };
        if let Some(database) = database {
            attached.tables = database.tables().to_vec();
            attached.joins = database.joins().unwrap_or_default();
            attached.values = (0..attached.tables.len()).map(|table| values(&database, table)).collect();
            attached.database = Some(Mutex::new(database));
        }
        attached
    }

    fn database(&self) -> Result<MutexGuard<'_, Tables>, TableError> {
        let none = || TableError::Failed { problem: self.problems.join("; ") };
        // A statement leaves nothing behind that a panic could have left half made.
        Ok(self.database.as_ref().ok_or_else(none)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs one SELECT over the attached tables.
    ///
    /// # Errors
    /// When the tables can't be read, and whenever [`Tables::query`] gives an error.
    pub(crate) fn query(&self, sql: &str) -> Result<Answer, TableError> {
        self.database()?.query(sql)
    }

    /// The first value of the first row of a SELECT that counts something; `None` if it fails.
    pub(crate) fn number(&self, sql: &str) -> Option<i64> {
        match self.query(sql).ok()?.rows.first()?.values.first()? {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The tables in words, for a prompt.
    pub(crate) fn described(&self) -> String {
        self.database().map_or_else(|_| String::new(), |database| database.describe())
    }

    /// A grammar of statements over the tables; `None` if there is none.
    pub(crate) fn grammar(&self) -> Option<String> {
        Some(self.database().ok()?.grammar().ok()?.lark())
    }

    /// The texts that a statement compares with columns.
    pub(crate) fn compared(&self, sql: &str) -> Vec<Compared> {
        self.database().map_or_else(|_| Vec::new(), |database| database.compared(sql))
    }

    /// The different values of a text column. Empty if it has too many, or other than texts.
    pub(crate) fn values(&self, (table, column): ColumnAt) -> &[String] {
        self.values.get(table).and_then(|columns| columns.get(column)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn column(&self, (table, column): ColumnAt) -> &bandmaster_tools::tables::Column {
        &self.tables[table].columns[column]
    }

    /// The column with its table, such as `orders.amount`.
    pub(crate) fn qualified(&self, at: ColumnAt) -> String {
        format!("{}.{}", self.tables[at.0].name, self.column(at).name)
    }

    /// Whether every row has another value in the column.
    pub(crate) fn is_unique(&self, at: ColumnAt) -> bool {
        let (table, column) = (&self.tables[at.0], self.column(at));
        // A column with few values is unique in a short table only, which spares most statements.
        let is_closed = !column.has_more_values && column.values.len() < table.rows;
        let sql = format!("SELECT COUNT(DISTINCT {}) FROM {}", column.name, table.name);
        !is_closed && self.number(&sql) == i64::try_from(table.rows).ok()
    }
}

fn values(database: &Tables, table: usize) -> Vec<Vec<String>> {
    let table = &database.tables()[table];
    let of = |column: &bandmaster_tools::tables::Column| {
        if column.kind != bandmaster_tools::tables::Kind::Text {
            return Vec::new();
        }
        let sql = format!("SELECT DISTINCT {0} FROM {1} WHERE {0} IS NOT NULL", column.name, table.name);
        let Ok(answer) = database.query(&sql) else { return Vec::new() };
        if answer.has_more {
            return Vec::new();
        }
        answer.rows.iter().map(|row| row.values[0].to_string()).collect()
    };
    table.columns.iter().map(of).collect()
}

//! Tables out of files, and SQL over them. CSV, JSON, Markdown tables and regular logs become typed tables in SQLite,
//! in memory and read-only. A statement is one SELECT; its result names the file and line of every row that it came
//! from. Who asks, and which model writes the statements, is not known here.
//!
//! 1. `read/` finds the tables in a text and visits their rows. Lines that are no rows are counted and named.
//! 2. `types/` decides each column's type from all of its values.
//! 3. `load.rs` puts the rows into SQLite. Decimals are exact up to 15 digits, dates are texts that sort as dates do.
//! 4. `sql/` keeps statements to reading, within limits, and adds the functions below. It also finds out from which
//!    rows a result came.
//! 5. `grammar/` writes a grammar of the statements that are valid over the tables.
//!
//! Functions besides SQLite's own: `median(x)`; `year`, `quarter`, `month`, `day`, `hour` and `weekday` (a name) of a
//! date; `days_between(from, to)` and `months_between(from, to)`, which count whole days and months and are negative if
//! `to` is earlier; `date`, `julianday` and `strftime(format, date)` of one date. `sum`, `avg`, `total` and `round` are
//! exact. `sum` of a text is an error. There is no current date, so a statement gives the same result on every day.

mod answer;
mod database;
mod describe;
mod error;
mod grammar;
mod load;
mod names;
mod read;
mod schema;
mod sql;
#[cfg(test)]
mod tests;
mod types;

pub use answer::{Answer, Row, Value};
pub use database::{SourcedRow, Tables};
pub use error::TableError;
pub use grammar::Grammar;
pub(crate) use read::sheet_rows;
pub use read::{Format, format_of};
pub use schema::{Column, Irregular, Place, Table};
pub use sql::{Compared, Limits};
pub use types::{Kind, days_meant};

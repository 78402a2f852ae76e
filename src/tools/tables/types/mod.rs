//! From the texts of a column to its type. Every value counts, not a sample. Where files and SQL come in is not known
//! here.

mod column;
mod dates;
mod numbers;
#[cfg(test)]
mod tests;

pub(super) use column::{Cell, ColumnFacts, ColumnType};
pub(super) use dates::{days_between, is_date, months_between};
pub(super) use numbers::is_number;

pub use column::Kind;
pub use dates::days_meant;

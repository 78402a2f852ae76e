//! What can go wrong with tables, as values that say what, where, and what to do.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("{file} holds no table: {why}")]
    NoTable { file: String, why: String },
    #[error("{file}, line {line}, column {column}: {problem}: correct the file")]
    Json { file: String, line: usize, column: usize, problem: String },
    #[error("{file} has {columns} columns, but at most {most} are read: leave out those that aren't needed")]
    TooManyColumns { file: String, columns: usize, most: usize },
    #[error("{file} has {bytes} bytes, but at most {most} are read: split it")]
    TooLarge { file: String, bytes: usize, most: usize },
    /// The statement would do something else than read the tables.
    #[error("the statement is refused ({what}): write one SELECT over {tables}")]
    Refused { what: String, tables: String },
    /// SQLite can't compile the statement. `at` counts characters from 1, where SQLite says where.
    #[error("the statement is wrong{}: {problem}: correct it", place(*at))]
    Statement { problem: String, at: Option<usize> },
    #[error("the statement takes more than {most} steps: narrow it with WHERE, or join on equal columns")]
    TooManySteps { most: u64 },
    #[error("the statement takes more than {most_ms} ms: narrow it with WHERE, or join on equal columns")]
    TooSlow { most_ms: u64 },
    #[error("the statement has {bytes} bytes, but at most {most} are allowed: shorten it")]
    TooLong { bytes: usize, most: usize },
    #[error("a value or a row of the result is longer than {most} bytes: select fewer or shorter values")]
    TooWide { most: usize },
    /// The statement failed while it ran, for example because a sum has too many digits.
    #[error("the statement failed: {problem}")]
    Failed { problem: String },
}

fn place(at: Option<usize>) -> String {
    at.map(|at| format!(" at character {at}")).unwrap_or_default()
}

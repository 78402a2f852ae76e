//! A record that is reached, and what it is reached from.

use super::records::Record;

/// A sentence or a line of a file that is prose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Index of the file.
    pub file: usize,
    pub text: String,
}

/// A record that the goal leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Index of the file.
    pub file: usize,
    pub record: Record,
}

/// What names a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Goal,
    /// Index of a sentence.
    Prose(usize),
    /// Index of a record that was reached before.
    Reached(usize),
}

/// A record that is reached, and everything that names it.
pub(super) struct Reached {
    pub(super) link: Link,
    pub(super) from: Vec<Source>,
}

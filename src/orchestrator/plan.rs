//! A plan is data: tasks with ids, workers, needs and shapes. Needs name earlier tasks only, so a cycle cannot be written.

use serde::Serialize;

/// Tasks in an order in which each comes after those it needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The tasks.
    pub tasks: Vec<Task>,
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// `t1`, `t2` …
    pub id: String,
    /// Name of the worker that gets it first.
    pub worker: String,
    /// What is to be done.
    pub instruction: String,
    /// The input it reads, if it reads one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Slice>,
    /// Ids of earlier tasks whose results it uses.
    pub needs: Vec<String>,
    /// What its result looks like.
    pub output: Shape,
    /// Tokens it may generate in one attempt.
    pub tokens_max: u32,
}

/// An input, or a part of one too long to read at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// Index of the input.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// 0 for the first part.
    pub part: usize,
    /// How many parts the input has.
    pub parts: usize,
    /// Where the part lies, in bytes.
    pub bytes: std::ops::Range<usize>,
}

/// What a task's result looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Free text.
    Text,
}

//! A map that reads several facts of each text: the rows of a table. A worker reads a text once for all columns. Which
//! rows count, their order and every figure follow by rule.

mod agree;
mod cells;
mod columns;
mod conditions;
mod demanded;
mod evidence;
mod kinds;
mod limits;
mod moments;
mod names;
mod numerals;
mod rows;
#[cfg(test)]
mod tests;
mod told;

use bandmaster_tools::calculator::Aggregate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::plan::{AnswerIs, Column};

pub(super) use agree::{foreign, misses, settle, unused};
pub(super) use cells::{check, prompt, schema, tokens_max};
pub(super) use conditions::Condition;
pub(super) use told::end;

/// Most columns of a table.
pub(super) const COLUMNS_MAX: usize = 6;

/// The schema of a planner's table.
pub(super) fn plan_schema() -> Value {
    let kinds: Vec<&str> = AnswerIs::ALL.iter().map(|kind| kind.name()).collect();
    let mut combine = vec!["list", "ascending", "descending", "summary"];
    combine.extend(Aggregate::ALL.iter().map(|aggregate| aggregate.name()));
    let text = json!({"type": "string", "minLength": 1});
    let column = json!({
        "type": "object",
        "properties": {"name": text, "kind": {"enum": kinds}},
        "required": ["name", "kind"],
        "additionalProperties": false,
    });
    let condition = json!({
        "type": "object",
        "properties": {
            "column": text,
            "is": {"enum": conditions::Comparison::SIGNS},
            "value": {"anyOf": [{"type": "number"}, text]},
        },
        "required": ["column", "is", "value"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": column, "minItems": 1, "maxItems": COLUMNS_MAX},
            "only_if": {"type": "array", "items": condition, "maxItems": COLUMNS_MAX},
            "combine": {"type": "array", "items": {"enum": &combine}, "minItems": 1, "maxItems": 3},
            "of": {"anyOf": [text, {"type": "null"}]},
            "limit": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        },
        "required": ["columns", "only_if", "combine"],
        "additionalProperties": false,
    })
}

/// How the answers are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Combine {
    List,
    /// Sum them up in a few sentences.
    Summary,
    /// The rows of a table, smallest first.
    Ascending,
    /// The rows of a table, largest first.
    Descending,
    /// Calculate a figure, such as the total.
    #[serde(untagged)]
    Figure(Aggregate),
}

/// What the planner wants to know of each text, and what is to be done with the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    /// In the order in which the goal names them.
    pub columns: Vec<Column>,
    /// What a row must meet to count.
    #[serde(default)]
    pub only_if: Vec<Condition>,
    /// Has one entry or more.
    pub combine: Vec<Combine>,
    /// The column by which rows are ordered, or of which a figure is calculated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// How many rows are wanted at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Table {
    /// A table of which nothing but the columns is known.
    #[must_use]
    pub(super) fn of(columns: Vec<Column>) -> Self {
        Self { columns, only_if: Vec::new(), combine: vec![Combine::List], of: None, limit: None }
    }

    /// The place of a column, by its name.
    #[must_use]
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name.trim()))
    }

    /// The place of the column that rows are ordered by or of which a figure is calculated.
    #[must_use]
    pub(super) fn of_place(&self) -> Option<usize> {
        self.place(self.of.as_deref()?)
    }

    /// What is read, for people.
    #[must_use]
    pub(super) fn named(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }
}

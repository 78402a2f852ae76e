//! The slots of a map, which the planner fills in: what to find in each input, what kind of answer that is, and how
//! the answers are combined. Of several facts it makes a table.

use bandmaster_tools::calculator::Aggregate;
use serde::{Deserialize, Serialize};

use super::table::{self, Table};
use crate::band::Skill;
use crate::plan::{AnswerIs, Column, Shape, Task};

/// Most tokens of one finding, which is a subject and an answer. This is more than either needs, so a finding that
/// comes near it was cut off.
const FINDING_TOKENS_MAX: u32 = 160;
/// The same if the answer is a text or a list. A reading that is cut off is repeated with twice as many.
const LONG_FINDING_TOKENS_MAX: u32 = 480;

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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Slots {
    /// What to find in each input, as a noun: "number of sailors on the ship". Asked for a whole question, a small
    /// planner would write one about the largest of all ships, which a reader of one text cannot answer.
    pub find: String,
    pub answer_is: AnswerIs,
    /// Has one entry or more.
    pub combine: Vec<Combine>,
    /// Several facts of each input, or conditions that an input must meet. What is found is then a row of it.
    pub table: Option<Table>,
}

/// Slots as they are written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Table(Table),
    Fact { find: String, answer_is: AnswerIs, combine: Vec<Combine> },
}

impl From<Written> for Slots {
    fn from(written: Written) -> Self {
        match written {
            Written::Table(table) => Self::of_table(table),
            Written::Fact { find, answer_is, combine } => Self { find, answer_is, combine, table: None },
        }
    }
}

impl From<Slots> for Written {
    fn from(Slots { find, answer_is, combine, table }: Slots) -> Self {
        match table {
            Some(table) => Self::Table(table),
            None => Self::Fact { find, answer_is, combine },
        }
    }
}

impl Slots {
    pub(super) fn of_table(table: Table) -> Self {
        let (find, combine) = (table.named(), vec![Combine::List]);
        Self { find, answer_is: AnswerIs::Text, combine, table: Some(table) }
    }

    /// Used if the planner gives nothing usable: the goal itself is the question.
    pub(super) fn fallback(goal: &str) -> Self {
        let find = format!("answer to: {goal}");
        Self { find, answer_is: AnswerIs::Text, combine: vec![Combine::List], table: None }
    }

    /// What a reading finds. How findings are combined is nothing to it.
    pub(super) fn of_reading(task: &Task) -> Option<Self> {
        let (find, combine) = (task.instruction.clone(), vec![Combine::List]);
        match task.output {
            Shape::Finding(answer_is) => Some(Self { find, answer_is, combine, table: None }),
            Shape::Row => Some(Self::of_table(Table::of(task.columns.clone()))),
            _ => None,
        }
    }

    /// Whether a reading finds what these slots ask for.
    pub(super) fn ask(&self, task: &Task) -> bool {
        match &self.table {
            Some(table) => task.output == Shape::Row && task.columns == table.columns,
            None => task.instruction == self.find && task.output == Shape::Finding(self.answer_is),
        }
    }

    /// What the result of a reading looks like.
    pub(super) fn shape(&self) -> Shape {
        if self.table.is_some() { Shape::Row } else { Shape::Finding(self.answer_is) }
    }

    /// The columns of which a reading gives a row; none if it finds a single fact.
    pub(super) fn columns(&self) -> &[Column] {
        self.table.as_ref().map_or(&[], |table| &table.columns)
    }

    /// Whether the answer of an input may be longer than a single fact.
    #[must_use]
    pub(super) fn is_long(&self) -> bool {
        matches!(self.answer_is, AnswerIs::Text | AnswerIs::List)
    }

    #[must_use]
    pub(super) fn answer_tokens_max(&self) -> u32 {
        if let Some(table) = &self.table {
            return table::tokens_max(&table.columns);
        }
        if self.is_long() { LONG_FINDING_TOKENS_MAX } else { FINDING_TOKENS_MAX }
    }

    /// A number can be checked against the text. What can't be checked needs a model that reads well.
    #[must_use]
    pub(super) fn skill(&self) -> Skill {
        let is_checked = self.answer_is == AnswerIs::Number || self.table.is_some();
        if is_checked { Skill::Find } else { Skill::Read }
    }

    pub(super) fn aggregates(&self) -> impl Iterator<Item = Aggregate> + '_ {
        self.combine.iter().filter_map(|combine| match combine {
            Combine::Figure(aggregate) => Some(*aggregate),
            _ => None,
        })
    }

    #[must_use]
    pub(super) fn aggregates_named(&self) -> Vec<&'static str> {
        self.aggregates().map(Aggregate::name).collect()
    }

    /// Whether the calculator has anything to do.
    #[must_use]
    pub(super) fn wants_figures(&self) -> bool {
        self.aggregates().next().is_some()
    }

    /// Whether the answers of all inputs are to be listed.
    #[must_use]
    pub(super) fn wants_list(&self) -> bool {
        self.combine.contains(&Combine::List)
    }
}

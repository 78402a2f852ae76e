//! The slots of a map, which the planner fills in: what to find in each input, what kind of answer that is, and how
//! the answers are combined.

use bandmaster_tools::calculator::Aggregate;
use serde::{Deserialize, Serialize};

use crate::band::Skill;
use crate::plan::{AnswerIs, Shape, Task};

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
    /// Calculate a figure, such as the total.
    #[serde(untagged)]
    Figure(Aggregate),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slots {
    /// What to find in each input, as a noun: "number of sailors on the ship". Asked for a whole question, a small
    /// planner would write one about the largest of all ships, which a reader of one text cannot answer.
    pub find: String,
    pub answer_is: AnswerIs,
    /// Has one entry or more.
    pub combine: Vec<Combine>,
}

impl Slots {
    /// Used if the planner gives nothing usable: the goal itself is the question.
    pub(super) fn fallback(goal: &str) -> Self {
        Self { find: format!("answer to: {goal}"), answer_is: AnswerIs::Text, combine: vec![Combine::List] }
    }

    /// What a reading finds. How findings are combined is nothing to it.
    pub(super) fn of_reading(task: &Task) -> Option<Self> {
        let Shape::Finding(answer_is) = task.output else { return None };
        Some(Self { find: task.instruction.clone(), answer_is, combine: vec![Combine::List] })
    }

    /// Whether a reading finds what these slots ask for.
    pub(super) fn ask(&self, task: &Task) -> bool {
        task.instruction == self.find && task.output == Shape::Finding(self.answer_is)
    }

    /// Whether the answer of an input may be longer than a single fact.
    #[must_use]
    pub(super) fn is_long(&self) -> bool {
        matches!(self.answer_is, AnswerIs::Text | AnswerIs::List)
    }

    #[must_use]
    pub(super) fn answer_tokens_max(&self) -> u32 {
        if self.is_long() { LONG_FINDING_TOKENS_MAX } else { FINDING_TOKENS_MAX }
    }

    /// A number can be checked against the text. What can't be checked needs a model that reads well.
    #[must_use]
    pub(super) fn skill(&self) -> Skill {
        if self.answer_is == AnswerIs::Number { Skill::Find } else { Skill::Read }
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

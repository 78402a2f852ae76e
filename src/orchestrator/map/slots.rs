//! The slots of a map: the question to each input, what kind of thing answers it, and what is made of the answers.

use serde::{Deserialize, Serialize};

use super::super::plan::AnswerIs;
use crate::tools::calculator::Aggregate;

/// What is made of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Each one is told.
    List,
    /// They are told together in a few sentences.
    Summary,
    /// A figure by rule.
    #[serde(untagged)]
    Figure(Aggregate),
}

/// The planner's part of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// What is to be found in each input, as a noun: "number of sailors on the ship". A small planner asked for a whole
    /// question asks for the largest of all ships, which a reader of one text cannot know.
    pub find: String,
    /// What kind of thing answers it.
    pub answer_is: AnswerIs,
    /// What is made of the answers; not empty.
    pub combine: Vec<Combine>,
}

impl Slots {
    /// What is done when the planner gives nothing usable: the goal itself is the question.
    pub fn fallback(goal: &str) -> Self {
        Self { find: format!("answer to: {goal}"), answer_is: AnswerIs::Text, combine: vec![Combine::List] }
    }

    /// Whether an answer may be longer than a fact.
    #[must_use]
    pub fn is_long(&self) -> bool {
        matches!(self.answer_is, AnswerIs::Text | AnswerIs::List)
    }

    /// The figures that are asked for.
    pub fn aggregates(&self) -> impl Iterator<Item = Aggregate> + '_ {
        self.combine.iter().filter_map(|combine| match combine {
            Combine::Figure(aggregate) => Some(*aggregate),
            _ => None,
        })
    }

    /// Their names.
    #[must_use]
    pub fn aggregates_named(&self) -> Vec<&'static str> {
        self.aggregates().map(Aggregate::name).collect()
    }

    /// Whether the calculator has anything to do.
    #[must_use]
    pub fn wants_figures(&self) -> bool {
        self.aggregates().next().is_some()
    }

    /// Whether every answer is to be told.
    #[must_use]
    pub fn wants_list(&self) -> bool {
        self.combine.contains(&Combine::List)
    }
}

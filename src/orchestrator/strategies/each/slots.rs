//! The slots of `each`, which the planner fills in: what to do to one text, what the result must be, and how the
//! results are put together.

use serde::{Deserialize, Serialize};

use crate::strategies::limit::Limit;

/// The kind of the work. It decides which checks a result has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    Translate,
    Shorten,
    SumUp,
    Classify,
    Rewrite,
    /// Points taken from the text, one on each line.
    Points,
    /// Anything else, such as a headline for the text or a reply to it.
    Other,
}

impl Work {
    pub(super) const NAMES: [&str; 7] =
        ["translate", "shorten", "sum_up", "classify", "rewrite", "points", "other"];

    /// Whether the results of a long text's parts, in order, are the result for the text.
    pub(super) fn keeps_all(self) -> bool {
        matches!(self, Self::Translate | Self::Rewrite)
    }
}

/// How the results are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Together {
    /// Each under the name of its text.
    Sections,
    /// A line for each text.
    List,
    /// A list, and how many texts have each label.
    Count,
    /// Merged into one text.
    OneText,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slots {
    /// What to do to one text, in the goal's words.
    pub instruction: String,
    pub work: Work,
    /// English name of the language that a result is to be in, if the goal names one.
    #[serde(default)]
    pub language: Option<String>,
    #[serde(default)]
    pub limit: Option<Limit>,
    /// What a text may be classified as; empty if the goal leaves that open.
    #[serde(default)]
    pub labels: Vec<String>,
    pub together: Together,
}

impl Slots {
    /// Used if the planner gives nothing usable: the goal itself is the instruction.
    pub(super) fn fallback(goal: &str) -> Self {
        Self {
            instruction: goal.trim().to_owned(),
            work: Work::Other,
            language: None,
            limit: None,
            labels: Vec::new(),
            together: Together::Sections,
        }
    }

    /// Whether a result is one of the labels.
    pub(super) fn wants_label(&self) -> bool {
        self.work == Work::Classify && self.labels.len() >= 2
    }
}

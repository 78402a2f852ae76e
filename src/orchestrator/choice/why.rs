//! Why a strategy was chosen, as events and outcomes show it.

use serde::{Deserialize, Serialize};

use super::super::request::StrategyName;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StrategyWhy {
    pub facts: Facts,
    /// The worked examples closest in meaning, closest first. Empty without an embedder or if it was not needed.
    pub nearest: Vec<Nearest>,
    /// What decided, in a sentence.
    pub because: String,
}

/// What can be counted about a goal and its inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// How many inputs the run was given.
    pub inputs: usize,
    /// Tokens of all inputs together, by the planner's tokenizer.
    pub input_tokens: usize,
    /// Tokens of the messages before the goal.
    #[serde(default)]
    pub conversation_tokens: usize,
    /// Whether the messages before the goal may contain the text that the goal refers to.
    #[serde(default)]
    pub conversation_has_it: bool,
    /// How many inputs are nothing but tables, by their names and contents.
    #[serde(default)]
    pub tables: usize,
    /// Whether the planner can read all inputs and the conversation in one call.
    pub inputs_fit_together: bool,
    /// Whether the goal leads from one input to another by what their lines name, with few lines in each.
    #[serde(default)]
    pub inputs_lead_on: bool,
    /// Whether the goal refers to something attached or sent.
    pub speaks_of_attachment: Attachment,
    /// The parts the goal names, such as headings of sections.
    pub named_aspects: Vec<String>,
    /// Whether the goal mentions sections, parts or viewpoints.
    pub speaks_of_parts: bool,
    /// Whether the goal asks for a table, with columns or rows.
    pub speaks_of_table: bool,
    /// Whether the goal names steps that follow one another: "then", "after that", "finally".
    pub speaks_of_steps: bool,
    /// How many numbers the goal has, in digits or in words.
    pub numbers: usize,
    /// The goal as an expression, if it is only arithmetic.
    pub arithmetic: Option<String>,
    /// Whether the goal refers to inputs one at a time: each, every, which of them.
    pub speaks_of_each: bool,
    /// Whether the goal asks where inputs contradict each other.
    #[serde(default)]
    pub speaks_of_contradiction: bool,
}

/// A worked example that is close to the goal in meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// The goal of the worked example.
    pub goal: String,
    /// The best strategy for that goal.
    pub strategy: StrategyName,
    /// Cosine similarity of the two goals' embeddings.
    pub similarity: f32,
}

/// Whether a goal refers to something attached or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    #[default]
    No,
    /// It refers to a text that may be the one to write: "the report".
    Perhaps,
    /// It says so: "the attached letter", "the file I sent".
    Yes,
}

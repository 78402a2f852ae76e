//! Why a strategy was chosen, as events and outcomes tell it.

use serde::{Deserialize, Serialize};

use super::super::request::Strategy;

/// Why a strategy was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StrategyWhy {
    /// What can be counted.
    pub facts: Facts,
    /// The worked examples nearest in meaning, nearest first; empty without an embedder or when it was not needed.
    pub nearest: Vec<Nearest>,
    /// What decided, in a sentence.
    pub because: String,
}

/// What can be counted about a goal and its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// How many inputs the run was given.
    pub inputs: usize,
    /// Tokens of all inputs together, by the planner's tokenizer.
    pub input_tokens: usize,
    /// Tokens of what was said before the goal.
    #[serde(default)]
    pub conversation_tokens: usize,
    /// Whether what was said before may hold the text that the goal speaks of.
    #[serde(default)]
    pub conversation_has_it: bool,
    /// Whether the planner can read all of them, and what was said before, in one call.
    pub inputs_fit_together: bool,
    /// Whether the goal speaks of something attached or sent.
    pub speaks_of_attachment: Attachment,
    /// The parts the goal names, such as headings of sections.
    pub named_aspects: Vec<String>,
    /// Whether the goal speaks of sections, parts or viewpoints.
    pub speaks_of_parts: bool,
    /// How many numbers the goal gives.
    pub numbers: usize,
    /// The goal as an expression, where it is arithmetic and nothing else.
    pub arithmetic: Option<String>,
    /// Whether the goal speaks of inputs one at a time: each, every, which of them.
    pub speaks_of_each: bool,
}

/// A worked example near the goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// The goal of the worked example.
    pub goal: String,
    /// What was best for it.
    pub strategy: Strategy,
    /// Cosine of the two embeddings.
    pub similarity: f32,
}

/// Whether a goal speaks of something attached or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    /// The goal has no words that speak of it.
    No,
    /// It points at a text that may be the one to be written: "the report".
    Perhaps,
    /// "the attached letter", "the file I sent".
    Yes,
}

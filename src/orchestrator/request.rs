//! What a run is asked to do, and its limits.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::band::Message;

/// A text that came with the goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name as shown to people and models, such as `kelso.md`.
    pub name: String,
    pub text: String,
}

/// The name of a strategy, which is a way to work on a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyName {
    /// One call of the planner.
    Direct,
    /// The parts of long inputs that are nearest to the question, read until one answers it.
    Find,
    /// The same question to each input, then one answer from all.
    Map,
    /// The same work done to each input, then all results put together.
    Each,
    /// What the inputs state, compared with each other.
    Compare,
    /// A SELECT over attached tables.
    Query,
    /// The lines that lead from one file to another, then one answer from these.
    Follow,
    /// Steps, each with the results of the earlier ones.
    Sequence,
    /// Sections written at the same time, then joined.
    Parallel,
    /// Code that is run against tests and repaired.
    WriteTestFix,
    /// Several answers, of which the most frequent wins.
    Vote,
    /// A small model first, and a larger one if it is unsure.
    Cascade,
    /// Reasoning and tool calls in turns.
    React,
    /// Any graph of tasks.
    Free,
    /// A question to the user.
    Ask,
    /// A strategy from outside this crate.
    Other,
}

impl StrategyName {
    /// Every known strategy, including those that can't be run yet.
    pub const ALL: [Self; 15] = [
        Self::Direct,
        Self::Find,
        Self::Map,
        Self::Each,
        Self::Compare,
        Self::Query,
        Self::Follow,
        Self::Sequence,
        Self::Parallel,
        Self::WriteTestFix,
        Self::Vote,
        Self::Cascade,
        Self::React,
        Self::Free,
        Self::Ask,
    ];

    /// The strategies that can be run.
    pub const AVAILABLE: [Self; 12] = [
        Self::Direct,
        Self::Find,
        Self::Map,
        Self::Each,
        Self::Compare,
        Self::Query,
        Self::Follow,
        Self::Sequence,
        Self::Parallel,
        Self::Vote,
        Self::Free,
        Self::Ask,
    ];

    /// The name in flags, events and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Find => "find",
            Self::Map => "map",
            Self::Each => "each",
            Self::Compare => "compare",
            Self::Query => "query",
            Self::Follow => "follow",
            Self::Sequence => "sequence",
            Self::Parallel => "parallel",
            Self::WriteTestFix => "write-test-fix",
            Self::Vote => "vote",
            Self::Cascade => "cascade",
            Self::React => "react",
            Self::Free => "free",
            Self::Ask => "ask",
            Self::Other => "other",
        }
    }

    #[must_use]
    pub fn is_available(self) -> bool {
        Self::AVAILABLE.contains(&self)
    }
}

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    #[error("no strategy {name:?}; the strategies are auto, {}", names(&StrategyName::AVAILABLE))]
    Unknown { name: String },
    #[error("strategy {name} is not available in this version; use auto, {}", names(&StrategyName::AVAILABLE))]
    Unavailable { name: StrategyName },
}

fn names(strategies: &[StrategyName]) -> String {
    let names: Vec<&str> = strategies.iter().map(|strategy| strategy.name()).collect();
    names.join(", ")
}

impl FromStr for StrategyName {
    type Err = StrategyError;

    /// Parses a name. A strategy that can't be run is an error that lists those that can. `auto` is not known here:
    /// callers take it as no strategy.
    fn from_str(name: &str) -> Result<Self, StrategyError> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.name() == name);
        match found {
            Some(strategy) if strategy.is_available() => Ok(strategy),
            Some(name) => Err(StrategyError::Unavailable { name }),
            None => Err(StrategyError::Unknown { name: name.to_owned() }),
        }
    }
}

/// What a run may use. When it is used up, the run ends with the best answer there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Prompt tokens that are not cached and completion tokens, of all calls together.
    pub tokens: Option<u64>,
    /// Time from the start to the answer.
    pub time: Option<Duration>,
    /// Tasks of the plan that a model works on. The planner's own calls and calculations don't count.
    pub tasks: Option<u64>,
    /// Tasks in a row, each of which needs the one before it.
    pub depth: Option<u64>,
}

/// The model files of a run and how they are loaded, so that the run can go on with the same ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFiles {
    pub planner: String,
    pub workers: Vec<String>,
    /// Whether the user named the workers or the planner; if not, they were chosen for the machine.
    pub workers_named: bool,
    pub context_tokens: usize,
    /// Type of the KV cache.
    pub kv_type: String,
    /// What told each file apart when the run began, by its path. Records of earlier versions don't say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stamps: BTreeMap<String, FileStamp>,
}

/// Tells a file apart from a later one at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    pub bytes: u64,
    /// When it was last written, in milliseconds since 1970.
    pub modified_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    /// What is wanted, in the user's words. Not empty.
    pub goal: String,
    /// Texts that came with the goal, in order.
    pub inputs: Vec<Input>,
    /// Absolute path of the file of each input, if it was read from one. Inputs without a path here have none.
    pub paths: Vec<Option<String>>,
    /// Messages before the goal. A call that works on the whole goal reads them first.
    pub conversation: Vec<Message>,
    /// `None` lets the run choose.
    pub strategy: Option<StrategyName>,
    pub budget: Budget,
    /// Whether the plan is carried out only after the user has approved it.
    pub approve: bool,
    /// Seed for sampling. The same seed and models give the same answer.
    pub seed: u64,
    /// A call that reports no progress for this long has failed.
    pub stall_after: Duration,
    /// Recorded with the run, for whoever takes it up.
    pub models: Option<ModelFiles>,
}

impl RunRequest {
    /// A request with only a goal: nothing attached, no conversation, no budget.
    #[must_use]
    pub fn new(goal: impl Into<String>) -> Self {
        Self {
            goal: goal.into(),
            inputs: Vec::new(),
            paths: Vec::new(),
            conversation: Vec::new(),
            strategy: None,
            budget: Budget::default(),
            approve: false,
            seed: 0,
            stall_after: Duration::from_secs(180),
            models: None,
        }
    }
}

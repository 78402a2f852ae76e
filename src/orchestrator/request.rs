//! What a run is asked to do, and the limits it keeps.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::band::{Message, Role};
use super::own_words::Topic;

/// A text that came with the goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name, as a person would say it: `kelso.md`.
    pub name: String,
    /// The text.
    pub text: String,
}

/// How a goal is gone about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One call of the planner.
    Direct,
    /// Each input on its own, then all together.
    Map,
    /// Steps, each with what the earlier ones found.
    Sequence,
    /// Aspects side by side, then joined.
    Parallel,
    /// Code, run against tests, repaired.
    WriteTestFix,
    /// Several answers, the most frequent wins.
    Vote,
    /// A small model first, a larger one where it is unsure.
    Cascade,
    /// Thoughts and tool calls by turns.
    React,
    /// Any graph.
    Free,
    /// A question back.
    Ask,
}

impl Strategy {
    /// All that can be named, in the order of the interface.
    pub const ALL: [Self; 10] = [
        Self::Direct,
        Self::Map,
        Self::Sequence,
        Self::Parallel,
        Self::WriteTestFix,
        Self::Vote,
        Self::Cascade,
        Self::React,
        Self::Free,
        Self::Ask,
    ];

    /// Those that can be run.
    pub const AVAILABLE: [Self; 6] =
        [Self::Direct, Self::Map, Self::Sequence, Self::Parallel, Self::Vote, Self::Ask];

    /// The name in flags, events and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Map => "map",
            Self::Sequence => "sequence",
            Self::Parallel => "parallel",
            Self::WriteTestFix => "write-test-fix",
            Self::Vote => "vote",
            Self::Cascade => "cascade",
            Self::React => "react",
            Self::Free => "free",
            Self::Ask => "ask",
        }
    }

    /// Whether it can be run.
    #[must_use]
    pub fn is_available(self) -> bool {
        Self::AVAILABLE.contains(&self)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A strategy that is not known, or known but not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// No such name.
    #[error("no strategy {name:?}; there are auto, {}", names(&Strategy::AVAILABLE))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Recognised, but this version cannot run it.
    #[error("strategy {name} is not available in this version; use auto, {}", names(&Strategy::AVAILABLE))]
    Unavailable {
        /// What was asked for.
        name: Strategy,
    },
}

fn names(strategies: &[Strategy]) -> String {
    let names: Vec<&str> = strategies.iter().map(|strategy| strategy.name()).collect();
    names.join(", ")
}

impl FromStr for Strategy {
    type Err = StrategyError;

    /// Reads a name; one that cannot be run is an error that says which can. `auto` is the caller's: no strategy given.
    fn from_str(name: &str) -> Result<Self, StrategyError> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.name() == name);
        match found {
            Some(strategy) if strategy.is_available() => Ok(strategy),
            Some(name) => Err(StrategyError::Unavailable { name }),
            None => Err(StrategyError::Unknown { name: name.to_owned() }),
        }
    }
}

/// What a run may use. Reaching it ends the run with the best answer there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Prompt (not cached) and completion tokens of all calls together.
    pub tokens: Option<u64>,
    /// Time from the start to the answer.
    pub time: Option<Duration>,
}

/// A goal and what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    /// What is wanted, in a person's words; not empty.
    pub goal: String,
    /// What came with it, in order.
    pub inputs: Vec<Input>,
    /// What was said before the goal; a call that works on the whole goal reads it first.
    pub conversation: Vec<Message>,
    /// `None` lets the run choose.
    pub strategy: Option<Strategy>,
    /// Hard limits.
    pub budget: Budget,
    /// Same seed, same models, same answer.
    pub seed: u64,
    /// A call that shows no sign of life for this long has failed.
    pub stall_after: Duration,
}

impl RunRequest {
    /// A goal with nothing attached, no budget and the ordinary limits.
    #[must_use]
    pub fn new(goal: impl Into<String>) -> Self {
        Self {
            goal: goal.into(),
            inputs: Vec::new(),
            conversation: Vec::new(),
            strategy: None,
            budget: Budget::default(),
            seed: 0,
            stall_after: Duration::from_secs(180),
        }
    }

    /// A call's messages: what was said before the goal, then `prompt`.
    #[must_use]
    pub fn messages(&self, prompt: impl Into<String>) -> Vec<Message> {
        let mut messages = self.conversation.clone();
        messages.push(Message::new(Role::User, prompt));
        messages
    }

    /// What a plan for the goal may speak of, where the planner sees worked examples with these words before it.
    pub(super) fn topic(&self, examples_own: &[&'static str]) -> Topic {
        let inputs = self.inputs.iter().map(|input| (input.name.as_str(), input.text.as_str()));
        let before = self.conversation.iter().map(|message| (message.content.as_str(), ""));
        Topic::new(&self.goal, inputs.chain(before), examples_own)
    }
}

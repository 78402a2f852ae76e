//! What happens in a run, as it is shown and recorded.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::band::Message;
use super::outcome::{Outcome, Status, TokenUsage};
use super::plan::Plan;
use super::request::Strategy;
use super::strategy::why::StrategyWhy;

/// One event: `{"seq": n, "ms": n, "type": "...", ...}` on a line of `run --events`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunEvent {
    /// 1, 2, 3 … within the run; a transient event carries the number of the one before it.
    pub seq: u64,
    /// Milliseconds since the run began.
    pub ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
#[allow(missing_docs)] // The fields are the interface's own words.
pub enum EventKind {
    /// The first event.
    #[serde(rename = "run.started")]
    RunStarted {
        run: String,
        goal: String,
        inputs: Vec<InputInfo>,
        planner: String,
        workers: Vec<String>,
        #[serde(default)]
        asked: Asked,
    },
    /// How the goal is gone about, and why so.
    #[serde(rename = "strategy.chosen")]
    StrategyChosen { strategy: Strategy, why: StrategyWhy },
    /// What the planner wrote, unchecked.
    #[serde(rename = "plan.proposed")]
    PlanProposed { slots: Value },
    /// The tasks that will be done.
    #[serde(rename = "plan.accepted")]
    PlanAccepted { plan: Plan },
    /// All its needs are met.
    #[serde(rename = "task.ready")]
    TaskReady { task: String },
    /// First attempt.
    #[serde(rename = "task.started")]
    TaskStarted { task: String, attempt: u32, worker: String, model: String },
    /// What an attempt gave, unchecked.
    #[serde(rename = "task.output")]
    TaskOutput {
        task: String,
        attempt: u32,
        worker: String,
        model: String,
        prompt: String,
        sampling: Value,
        output: String,
        usage: TokenUsage,
    },
    /// A worker asks for something.
    #[serde(rename = "task.asked")]
    TaskAsked { task: String, question: String },
    /// An attempt that was not accepted.
    #[serde(rename = "task.failed")]
    TaskFailed { task: String, attempt: u32, class: FailureClass, error: String },
    /// A further attempt.
    #[serde(rename = "task.retried")]
    TaskRetried { task: String, attempt: u32, worker: String, model: String },
    /// The end of a task.
    #[serde(rename = "task.finished")]
    TaskFinished { task: String, status: Status, attempts: u32, output: String, usage: TokenUsage },
    /// A task's progress; shown, not recorded.
    #[serde(rename = "task.progress")]
    TaskProgress { task: String, prefill_tokens: u32, prompt_tokens: u32, completion_tokens: u32 },
    /// The plan is made anew around what is finished.
    #[serde(rename = "replan.started")]
    ReplanStarted { why: String },
    /// More of the answer. After a `task.retried` it begins anew: what came before was not accepted.
    #[serde(rename = "answer.delta")]
    AnswerDelta { text: String },
    /// A limit was reached; the run ends with what it has.
    #[serde(rename = "budget.reached")]
    BudgetReached { which: Cow<'static, str>, limit: u64 },
    /// The last event; the outcome's fields lie beside `type`.
    #[serde(rename = "run.finished")]
    RunFinished {
        #[serde(flatten)]
        outcome: Box<Outcome>,
    },
}

impl EventKind {
    /// Whether it is only shown: not numbered, not recorded, and no line of `run --events`.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TaskProgress { .. })
    }
}

/// What was asked for beside the goal, so that a run can be taken up again as it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// How to go about it; none where the run chooses.
    pub strategy: Option<Strategy>,
    /// Of all draws.
    pub seed: u64,
    /// Tokens it may use.
    pub budget_tokens: Option<u64>,
    /// Seconds it may take.
    pub budget_seconds: Option<f64>,
    /// What was said before the goal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversation: Vec<Message>,
}

/// An input, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputInfo {
    /// Its name.
    pub name: String,
    /// Tokens by the planner's tokenizer.
    pub tokens: usize,
}

/// Why an attempt failed, which says what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureClass {
    /// May pass: tried again, elsewhere if possible.
    Transient,
    /// Does not fit.
    Resource,
    /// The answer was wrong in a way that can be said: tried again with that said.
    Content,
}

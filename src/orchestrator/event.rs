//! The events of a run, as they are shown and recorded.

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
    /// 1, 2, 3 … within the run. A transient event has the number of the event before it.
    pub seq: u64,
    /// Milliseconds since the run began.
    pub ms: u64,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
#[allow(missing_docs)] // The names of the fields say what they hold.
pub enum EventKind {
    /// Always the first event.
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
    /// The strategy was chosen.
    #[serde(rename = "strategy.chosen")]
    StrategyChosen { strategy: Strategy, why: StrategyWhy },
    /// The planner's part of the plan, after checks and corrections.
    #[serde(rename = "plan.proposed")]
    PlanProposed { slots: Value },
    /// The tasks that will be carried out.
    #[serde(rename = "plan.accepted")]
    PlanAccepted { plan: Plan },
    /// Every task that this one needs has ended.
    #[serde(rename = "task.ready")]
    TaskReady { task: String },
    /// The first attempt begins.
    #[serde(rename = "task.started")]
    TaskStarted { task: String, attempt: u32, worker: String, model: String },
    /// What the model returned in one attempt, before it is checked.
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
    /// A worker asks the user something. No strategy sends this yet.
    #[serde(rename = "task.asked")]
    TaskAsked { task: String, question: String },
    /// One attempt failed or was rejected. The task may still succeed.
    #[serde(rename = "task.failed")]
    TaskFailed { task: String, attempt: u32, class: FailureClass, error: String },
    #[serde(rename = "task.retried")]
    TaskRetried { task: String, attempt: u32, worker: String, model: String },
    /// The task has ended, whatever its status.
    #[serde(rename = "task.finished")]
    TaskFinished { task: String, status: Status, attempts: u32, output: String, usage: TokenUsage },
    /// Progress of a running task. It is shown and not recorded.
    #[serde(rename = "task.progress")]
    TaskProgress { task: String, prefill_tokens: u32, prompt_tokens: u32, completion_tokens: u32 },
    /// A new plan is made around the finished tasks. No strategy sends this yet.
    #[serde(rename = "replan.started")]
    ReplanStarted { why: String },
    /// New text of the answer. After `task.retried` the answer starts over, because the earlier text was rejected.
    #[serde(rename = "answer.delta")]
    AnswerDelta { text: String },
    /// A budget is used up. The run ends with what it has.
    #[serde(rename = "budget.reached")]
    BudgetReached { which: Cow<'static, str>, limit: u64 },
    /// Always the last event. The outcome's fields stand beside `type`.
    #[serde(rename = "run.finished")]
    RunFinished {
        #[serde(flatten)]
        outcome: Box<Outcome>,
    },
}

impl EventKind {
    /// Whether the event is only shown: it has no number of its own, is not recorded, and is no line of `run --events`.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TaskProgress { .. })
    }
}

/// The other settings of a request, recorded so that the run can be repeated with them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// `None` if the run chooses the strategy itself.
    pub strategy: Option<Strategy>,
    /// Seed for sampling.
    pub seed: u64,
    pub budget_tokens: Option<u64>,
    pub budget_seconds: Option<f64>,
    /// Messages before the goal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversation: Vec<Message>,
}

/// An input, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputInfo {
    pub name: String,
    /// Counted by the planner's tokenizer.
    pub tokens: usize,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureClass {
    /// The same call may succeed if it is tried again.
    Transient,
    /// The call cannot succeed as it is, for example because the prompt does not fit the context.
    Resource,
    /// The reply was rejected by its check.
    Content,
}

//! The events of a run, as they are shown and recorded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::band::{Finish, Message};
use super::choice::why::StrategyWhy;
use super::goal::BandInfo;
use super::limits;
use super::outcome::{Outcome, Status, TokenUsage};
use super::parked::Answer;
use super::plan::{Plan, Task};
use super::request::{ModelFiles, StrategyName};

/// One event: `{"seq": n, "ms": n, "type": "...", ...}` on a line of `run --events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// 1, 2, 3 … within the run. A transient event has the number of the event before it.
    pub seq: u64,
    /// Milliseconds since the run began.
    pub ms: u64,
    #[serde(flatten)]
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[allow(missing_docs)] // The names of the fields say what they hold.
pub enum EventKind {
    /// Always the first event.
    #[serde(rename = "run.started")]
    RunStarted {
        #[serde(default)]
        run: String,
        goal: String,
        #[serde(default)]
        inputs: Vec<InputInfo>,
        #[serde(default)]
        planner: String,
        #[serde(default)]
        workers: Vec<String>,
        #[serde(default)]
        asked: Asked,
        /// The models, as far as strategies know them. Records of earlier versions lack it.
        #[serde(default)]
        band: Option<BandInfo>,
    },
    /// The strategy was chosen.
    #[serde(rename = "strategy.chosen")]
    StrategyChosen {
        strategy: StrategyName,
        #[serde(default)]
        why: StrategyWhy,
    },
    /// Where inputs can be cut so that their parts fit the models that read them.
    #[serde(rename = "inputs.split")]
    InputsSplit {
        #[serde(default)]
        splits: Vec<Split>,
    },
    /// The parts of the inputs that are nearest to what a strategy searched for.
    #[serde(rename = "inputs.searched")]
    InputsSearched {
        #[serde(flatten)]
        search: Search,
    },
    /// The planner's part of the plan, after checks and corrections.
    #[serde(rename = "plan.proposed")]
    PlanProposed {
        #[serde(default)]
        slots: Value,
    },
    /// The tasks that will be carried out.
    #[serde(rename = "plan.accepted")]
    PlanAccepted { plan: Plan },
    /// More tasks, which are there together or not at all: calls of the planner, and tasks that are added to the plan.
    #[serde(rename = "tasks.added")]
    TasksAdded { tasks: Vec<Task> },
    /// Every task that this one needs has ended.
    #[serde(rename = "task.ready")]
    TaskReady { task: String },
    /// The first attempt begins. The event is recorded before the model is called.
    #[serde(rename = "task.started")]
    TaskStarted {
        task: String,
        #[serde(default = "first")]
        attempt: u32,
        #[serde(default)]
        worker: String,
        #[serde(default)]
        model: String,
        /// Place on the task's ladder.
        #[serde(default)]
        rung: usize,
    },
    /// What the model returned in one attempt, before it is checked.
    #[serde(rename = "task.output")]
    TaskOutput {
        task: String,
        #[serde(default = "first")]
        attempt: u32,
        #[serde(default)]
        worker: String,
        #[serde(default)]
        model: String,
        #[serde(default)]
        prompt: String,
        /// Name and version of the template of the prompt, such as `map.plan@1`, if it was made from one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt_template: Option<String>,
        #[serde(default)]
        sampling: Value,
        #[serde(default)]
        output: String,
        #[serde(default)]
        usage: TokenUsage,
        /// How the call ended. Records of earlier versions lack it.
        #[serde(default)]
        end: CallEnd,
        /// Engine steps that computed something for the call, and the sequences in them summed over steps.
        #[serde(default)]
        steps: [u64; 2],
    },
    /// A call that is being made has finished one more part of its JSON reply.
    #[serde(rename = "task.partial")]
    TaskPartial {
        task: String,
        #[serde(default = "first")]
        attempt: u32,
        /// The reply's text since the last part.
        #[serde(default)]
        output: String,
    },
    /// A worker asks something. The planner answers it if it can, or else the user.
    #[serde(rename = "task.asked")]
    TaskAsked {
        task: String,
        /// The attempt that asks.
        #[serde(default = "first")]
        attempt: u32,
        #[serde(default)]
        question: String,
    },
    /// The planner has answered the question of a task, which is tried again with the answer.
    #[serde(rename = "task.answered")]
    TaskAnswered {
        task: String,
        #[serde(default)]
        answer: String,
    },
    /// One attempt failed or was rejected. The task may still succeed.
    #[serde(rename = "task.failed")]
    TaskFailed {
        task: String,
        #[serde(default = "first")]
        attempt: u32,
        #[serde(default)]
        class: FailureClass,
        #[serde(default)]
        error: String,
        /// What to use of the reply if no later attempt is better.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<String>,
        /// Whether `kept` may be right, so that the last model on the ladder decides.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        doubtful: bool,
    },
    #[serde(rename = "task.retried")]
    TaskRetried {
        task: String,
        #[serde(default = "first")]
        attempt: u32,
        #[serde(default)]
        worker: String,
        #[serde(default)]
        model: String,
        #[serde(default)]
        rung: usize,
        /// Milliseconds before the call is made, so that a passing trouble can pass.
        #[serde(default, skip_serializing_if = "is_zero")]
        wait_ms: u64,
    },
    /// The task has ended, whatever its status.
    #[serde(rename = "task.finished")]
    TaskFinished {
        task: String,
        status: Status,
        #[serde(default)]
        attempts: u32,
        #[serde(default)]
        output: String,
        #[serde(default)]
        usage: TokenUsage,
        /// Why there is no accepted result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Whether the result was cut off at its token limit.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// Progress of a running task. It is shown and not recorded.
    #[serde(rename = "task.progress")]
    TaskProgress {
        task: String,
        /// Tokens of the prompt that are computed or were found in the prefix cache.
        prefill_tokens: u32,
        /// Of these, the tokens that were found in the cache.
        #[serde(default)]
        cached_tokens: u32,
        prompt_tokens: u32,
        completion_tokens: u32,
    },
    /// The planner is asked again. What is added next is the new part of the plan.
    #[serde(rename = "replan.started")]
    ReplanStarted {
        #[serde(default)]
        why: String,
        /// Ids of the tasks whose results stay in use.
        #[serde(default)]
        kept: Vec<String>,
        /// Ids of the tasks that the plan goes on without.
        #[serde(default)]
        dropped: Vec<String>,
    },
    /// New text of the answer. It is shown and not recorded. After `task.retried` the answer starts over, because the
    /// earlier text was rejected.
    #[serde(rename = "answer.delta")]
    AnswerDelta {
        #[serde(default)]
        text: String,
    },
    /// A budget is used up. At a limit of tokens or seconds, the run ends with what it has. At a limit of tasks or depth,
    /// the tasks beyond it are skipped.
    #[serde(rename = "budget.reached")]
    BudgetReached {
        #[serde(default)]
        which: Cow<'static, str>,
        #[serde(default, serialize_with = "as_short_as_possible")]
        limit: f64,
    },
    /// The user ends the run.
    #[serde(rename = "run.cancelled")]
    RunCancelled,
    /// The run goes on after it had ended or its process was killed. Tasks without an accepted result, and those that
    /// need them, are done again.
    #[serde(rename = "run.resumed")]
    RunResumed {
        /// The user's answer to what the run was parked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer: Option<Answer>,
        /// The models of this process.
        band: BandInfo,
        /// Inputs whose files have changed, with their new texts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<ChangedInput>,
    },
    /// The run begins with the events of another one up to event `at`, with other settings.
    #[serde(rename = "run.forked")]
    RunForked {
        /// Id of this run.
        run: String,
        /// Id of the other run.
        from: String,
        at: u64,
        /// Settings that differ, by name.
        #[serde(default)]
        set: BTreeMap<String, String>,
        /// The models of this process.
        band: BandInfo,
    },
    /// The last event, until the run is resumed. The outcome's fields stand beside `type`.
    #[serde(rename = "run.finished")]
    RunFinished {
        #[serde(flatten)]
        outcome: Box<Outcome>,
    },
}

impl EventKind {
    /// Whether the event is only shown: it has no number of its own and is not recorded.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TaskProgress { .. } | Self::AnswerDelta { .. })
    }

    /// Whether the event says what happened from outside, as opposed to what follows from the state of the run.
    #[must_use]
    pub fn is_external(&self) -> bool {
        match self {
            Self::RunStarted { .. }
            | Self::StrategyChosen { .. }
            | Self::InputsSplit { .. }
            | Self::InputsSearched { .. }
            | Self::TaskPartial { .. }
            | Self::TaskOutput { .. }
            | Self::RunCancelled
            | Self::RunResumed { .. }
            | Self::RunForked { .. } => true,
            Self::BudgetReached { which, .. } => !matches!(which.as_ref(), limits::TASKS | limits::DEPTH),
            _ => false,
        }
    }

    /// The task that the event is about, if it is about one.
    #[must_use]
    pub fn task(&self) -> Option<&str> {
        match self {
            Self::TaskReady { task }
            | Self::TaskStarted { task, .. }
            | Self::TaskPartial { task, .. }
            | Self::TaskOutput { task, .. }
            | Self::TaskAsked { task, .. }
            | Self::TaskAnswered { task, .. }
            | Self::TaskFailed { task, .. }
            | Self::TaskRetried { task, .. }
            | Self::TaskFinished { task, .. }
            | Self::TaskProgress { task, .. } => Some(task),
            _ => None,
        }
    }

    /// Reads an event of the record. Fields that records of earlier versions lack may be missing. An event of an
    /// unknown type is `None`.
    ///
    /// # Errors
    /// What is wrong with its fields.
    pub fn read(kind: &str, body: &Value) -> Result<Option<Self>, serde_json::Error> {
        let mut object = body.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("type".to_owned(), kind.into());
        }
        match serde_json::from_value(object) {
            Ok(event) => Ok(Some(event)),
            Err(_) if !TYPES.contains(&kind) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// All types of events, by their names in the record.
const TYPES: [&str; 24] = [
    "run.started",
    "strategy.chosen",
    "inputs.split",
    "inputs.searched",
    "plan.proposed",
    "plan.accepted",
    "tasks.added",
    "task.ready",
    "task.started",
    "task.partial",
    "task.output",
    "task.asked",
    "task.answered",
    "task.failed",
    "task.retried",
    "task.finished",
    "task.progress",
    "replan.started",
    "answer.delta",
    "budget.reached",
    "run.cancelled",
    "run.resumed",
    "run.forked",
    "run.finished",
];

/// The attempt that an event is about if it does not say so.
fn first() -> u32 {
    1
}

/// Writes a whole number without a decimal point.
fn as_short_as_possible<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && (0.0..=MAX_SAFE).contains(number) {
        to.serialize_u64(*number as u64)
    } else {
        to.serialize_f64(*number)
    }
}

/// Up to this, every whole number is exact.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How one call of a model ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// Records of earlier versions don't say.
    #[default]
    Unrecorded,
    /// There is a whole reply, or as much of it as the limits of the call allowed.
    Reply(Finish),
    /// There is no reply that could be checked.
    Failed { class: FailureClass, error: String },
    /// The run was stopped meanwhile.
    Stopped,
}

/// Where an input can be cut so that its parts fit a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Index of the input.
    pub input: usize,
    pub worker: String,
    pub tokens_max: usize,
    /// Byte ranges that cover the input.
    pub parts: Vec<std::ops::Range<usize>>,
}

/// What a search in the inputs found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Search {
    pub query: String,
    pub parts_max: usize,
    /// How many parts all inputs have together.
    pub parts: usize,
    /// Whether the parts were compared by meaning as well as by words.
    pub by_meaning: bool,
    /// The parts that were found, beginning with the one that is nearest to the question.
    pub found: Vec<Found>,
}

/// A part of an input that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Index of the input.
    pub input: usize,
    /// Byte range of the part in the input's text.
    pub bytes: std::ops::Range<usize>,
    /// Byte ranges of its sentences, list items, rows or lines of code, in order.
    pub sentences: Vec<std::ops::Range<usize>>,
    /// Place in `sentences` of the one that is nearest.
    pub nearest: usize,
    /// The one that is nearest by meaning alone. `None` without an embedding model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closest: Option<Closest>,
}

/// The sentence of a part that is nearest by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closest {
    /// Place in the part's `sentences`.
    pub sentence: usize,
    /// Its place among those of all parts that were found, from 0 for the nearest.
    pub rank: usize,
}

/// The other settings of a request, recorded so that the run can be repeated with them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// `None` if the run chooses the strategy itself.
    pub strategy: Option<StrategyName>,
    /// Seed for sampling.
    pub seed: u64,
    pub budget_tokens: Option<u64>,
    pub budget_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_depth: Option<u64>,
    /// Whether the plan is carried out only after the user has approved it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approve: bool,
    /// Messages before the goal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversation: Vec<Message>,
    /// The files of the models, if the run knew them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<ModelFiles>,
}

/// An input, without its text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputInfo {
    pub name: String,
    /// Counted by the planner's tokenizer.
    #[serde(default)]
    pub tokens: usize,
    /// Absolute path of the file that it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// SHA-256 of the text in hex, if it was read from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// An input whose file has changed since the run read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedInput {
    /// Index of the input.
    pub input: usize,
    #[serde(flatten)]
    pub info: InputInfo,
    /// The new text. Clients that follow a run on a server don't get it.
    #[serde(default)]
    pub text: String,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureClass {
    /// The same call may succeed if it is tried again.
    Transient,
    /// The model stopped making progress, or stopped unexpectedly.
    Stalled,
    /// The call cannot succeed as it is, for example because the prompt does not fit the context.
    Resource,
    /// The reply was rejected by its check.
    #[default]
    Content,
}

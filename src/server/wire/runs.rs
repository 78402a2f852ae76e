//! `/v1/runs`: goals for the band, in this program's own format.

use std::collections::BTreeMap;

use bandmaster_journal::Event;
use bandmaster_orchestrator::{Answer, Budget, Input, Label, RunRequest, RunState, StrategyName, labels};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::error::ApiError;
use crate::serve::Peer;

/// A request to start a run.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RunAsked)]
pub(crate) struct CreateRun {
    /// What the run is to achieve, in natural language.
    #[schema(min_length = 1)]
    pub goal: String,
    /// Texts that come with the goal.
    pub files: Option<Vec<RunFile>>,
    /// How to work on the goal: `auto` (the default), `direct`, `find`, `map`, `each`, `compare`, `query`, `follow`,
    /// `sequence`, `parallel`, `vote`, `free` or `ask`.
    pub strategy: Option<String>,
    /// Limits on tokens and time.
    pub budget: Option<RunBudget>,
    /// Seed for sampling, 0 by default. The same seed and models give the same answer.
    pub seed: Option<u64>,
    /// Whether the plan is carried out only after it was approved; false by default. The run then ends with the status
    /// `requires_action`, and `answer` goes on with it. Only the first plan is shown: if tasks of it fail and the planner
    /// plans again, the run doesn't wait.
    pub approve: Option<bool>,
}

/// A text that comes with a goal.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FileGiven)]
pub(crate) struct RunFile {
    /// Name of the text, such as a file name.
    pub name: String,
    /// Content of the text, also accepted as `content`.
    #[serde(alias = "content")]
    pub text: String,
    /// Absolute path of the file, from which `bandmaster runs resume` reads it again. It has no effect unless the request
    /// comes over the private socket of this home, because another machine's files can't be read here.
    pub path: Option<String>,
}

/// What has changed since a run was worked on.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct ResumeRun {
    /// Inputs whose files have changed. Tasks that read them are done again.
    #[serde(default)]
    pub changed: Vec<NewText>,
}

/// The new text of an input.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewText {
    /// Index of the input.
    pub input: usize,
    /// Content of the text.
    pub text: String,
}

/// Limits of a run. Reaching one ends the run with the best answer so far.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = BudgetGiven)]
pub(crate) struct RunBudget {
    /// Maximum number of tokens: prompt tokens not taken from the cache, and generated tokens.
    #[schema(minimum = 1)]
    pub tokens: Option<u64>,
    /// Maximum time to the answer, in seconds.
    #[schema(exclusive_minimum = 0)]
    pub seconds: Option<f64>,
    /// Maximum number of tasks of the plan that a model begins. The others are skipped, and the answer is made from what
    /// there is.
    #[schema(minimum = 1)]
    pub tasks: Option<u64>,
    /// Maximum number of tasks in a row, each of which needs the one before it.
    #[schema(minimum = 1)]
    pub depth: Option<u64>,
}

/// An answer to what a run requires. One of `text`, `approve` and `plan` is given.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AnswerGiven)]
pub(crate) struct RunAnswer {
    /// Answer to the question.
    #[schema(min_length = 1)]
    pub text: Option<String>,
    /// Task whose question `text` answers, if several tasks ask.
    pub task: Option<String>,
    /// Whether the plan is to be carried out. False ends the run, whatever it asks.
    pub approve: Option<bool>,
    /// Plan that is to be carried out instead of the proposed one, in the form of `required_action.plan`.
    #[schema(value_type = Option<Object>)]
    pub plan: Option<Value>,
}

impl RunAnswer {
    /// Converts to the orchestrator's answer.
    ///
    /// # Errors
    /// 400 unless exactly one answer is given.
    pub(crate) fn read(self) -> Result<Answer, ApiError> {
        match (self.text, self.task, self.approve, self.plan) {
            (Some(text), None, None, None) => Ok(Answer::Text(text)),
            (Some(text), Some(task), None, None) => Ok(Answer::Task { task, text }),
            (None, None, Some(approve), None) => Ok(Answer::Approval { approve }),
            (None, None, None | Some(true), Some(plan)) => Ok(Answer::Plan { plan }),
            (None, Some(_), None, None) => {
                Err(ApiError::invalid("text", "text is missing: it answers the task"))
            }
            (None, None, None, None) => {
                Err(ApiError::invalid("text", "the answer is missing: give text, approve or plan"))
            }
            _ => {
                Err(ApiError::invalid("text", "text, approve and plan are given together: give one of them"))
            }
        }
    }
}

/// Where and how a run is forked.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ForkRun {
    /// Number of the last event that the two runs share.
    pub at: u64,
    /// Settings that differ: `seed`, `goal` (before the first task), `budget-tokens`, `budget-seconds`, `budget-tasks`,
    /// `budget-depth` (a number, or `none` for no limit), `strategy` (before one was chosen), or `output.TASK` for the
    /// result of a finished task.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

impl CreateRun {
    /// Converts to the orchestrator's request.
    ///
    /// # Errors
    /// 400 with the field that can't be used.
    pub(crate) fn request(self, from: Option<Peer>) -> Result<RunRequest, ApiError> {
        let goal = self.goal.trim();
        if goal.is_empty() {
            return Err(ApiError::invalid("goal", "goal is empty: describe the task"));
        }
        let strategy =
            self.strategy.filter(|name| name != "auto").map(|name| name.parse::<StrategyName>()).transpose();
        let is_local = from == Some(Peer::Socket);
        let file = |file: RunFile| {
            let path = file.path.filter(|_| is_local);
            (Input { name: file.name, text: file.text }, path)
        };
        let (inputs, paths) = self.files.unwrap_or_default().into_iter().map(file).unzip();
        Ok(RunRequest {
            strategy: strategy.map_err(|error| ApiError::invalid("strategy", error.to_string()))?,
            inputs,
            paths,
            budget: self.budget.unwrap_or_default().read()?,
            seed: self.seed.unwrap_or(0),
            approve: self.approve.unwrap_or(false),
            ..RunRequest::new(goal)
        })
    }
}

impl RunBudget {
    fn read(self) -> Result<Budget, ApiError> {
        for (name, limit) in [("tokens", self.tokens), ("tasks", self.tasks), ("depth", self.depth)] {
            if limit == Some(0) {
                let field = format!("budget.{name}");
                return Err(ApiError::invalid(&field, format!("{field} is 0: give at least 1")));
            }
        }
        let seconds = |seconds: f64| {
            let time = std::time::Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
            time.ok_or_else(|| {
                ApiError::invalid(
                    "budget.seconds",
                    format!("budget.seconds is {seconds}: it must be above 0"),
                )
            })
        };
        let time = self.seconds.map(seconds).transpose()?;
        Ok(Budget { tokens: self.tokens, time, tasks: self.tasks, depth: self.depth })
    }
}

/// The state of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    /// Object type, always `run`.
    pub object: &'static str,
    /// Id of the run that goes on, if this request resumed or answered it; of the other run, if this one is its fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// State of the run, as in `bandmaster runs show --json`. While its `status` is `requires_action`, `required_action`
    /// says what it waits for: `kind` (`approve_plan` or `answer_question`), `question` in words, `plan` (in a form that
    /// can be edited, if it can), `plan_fields` (what the fields of `plan` mean), `task` (the task that asks, if exactly
    /// one does) and `questions` (`task` and `question` of each task that asks).
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub state: RunState,
    /// Known failure modes that rules find in the record of the run.
    #[schema(value_type = Vec<Object>)]
    pub labels: Vec<Label>,
}

impl Run {
    pub(crate) fn new(resumes: Option<String>, state: RunState) -> Self {
        Self { object: "run", resumes, labels: labels(&state), state }
    }
}

/// Runs in a list by default.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// Which page of the list of runs to return.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListRuns {
    /// Return runs that began before the one with this id. For the next page, pass `last_id`.
    pub after: Option<String>,
    /// Maximum number of runs to return; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl ListRuns {
    /// Maximum number of runs to return.
    ///
    /// # Errors
    /// 400 if it is out of range.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            let message = format!("limit is {limit}: it must be between 1 and {LIMIT_MAX}");
            return Err(ApiError::invalid("limit", message));
        }
        Ok(limit as usize)
    }
}

/// A page of runs, latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunList {
    /// Object type, always `list`.
    pub object: &'static str,
    /// Runs of this page.
    pub data: Vec<RunSummary>,
    /// Id of the last run; empty if there are none.
    pub last_id: String,
    /// Whether there are earlier runs.
    pub has_more: bool,
}

/// A run in a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunListed)]
pub(crate) struct RunSummary {
    /// Id of the run.
    pub id: String,
    /// Object type, always `run`.
    pub object: &'static str,
    /// When the run began, in milliseconds since 1970.
    pub created_ms: u64,
    /// Status, such as `in_progress` or `completed`.
    pub status: String,
    /// Strategy that was chosen.
    pub strategy: String,
    /// Goal of the run.
    pub goal: String,
    /// What can no longer be read of the run; absent if nothing is damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}

/// A recorded event, as `bandmaster run --events` writes it.
#[must_use]
pub(crate) fn event_json(event: &Event) -> Value {
    let mut object = Map::new();
    object.insert("seq".to_owned(), event.seq.into());
    object.insert("ms".to_owned(), event.ms.into());
    object.insert("type".to_owned(), event.kind.clone().into());
    object.extend(event.body.as_object().cloned().unwrap_or_default());
    // Whoever sent the new texts of inputs has them, and they may be long.
    if let Some(changed) = object.get_mut("changed").and_then(Value::as_array_mut) {
        for input in changed.iter_mut().filter_map(Value::as_object_mut) {
            input.shift_remove("text");
        }
    }
    Value::Object(object)
}

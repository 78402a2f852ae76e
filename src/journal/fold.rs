//! A run's state, computed from its events alone: no state is stored. Which process runs a run is not known here.

use serde::Serialize;
use serde_json::Value;

use super::Event;

/// The type of an event that was recorded and can't be read any more.
pub const DAMAGED: &str = "record.damaged";

/// The state of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunState {
    pub id: String,
    /// When the run began, in milliseconds since 1970.
    pub created_ms: u64,
    pub goal: String,
    /// `in_progress` until the run ends, `incomplete` if it was interrupted, `damaged` if nothing of it can be read.
    pub status: String,
    pub strategy: String,
    pub strategy_why: Value,
    /// The answer, or as much of it as there is so far.
    pub answer: String,
    /// What the answer lacks.
    pub missing: Vec<String>,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// The plan that was accepted, if there was one.
    pub plan: Value,
    /// Tasks and the planner's own calls (`plan`, `synthesis`), in the order in which they first occur.
    pub tasks: Vec<TaskState>,
    /// The run's cost, from its last event.
    pub usage: Value,
    /// What is damaged in the record of the run; also in `missing`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// Time of the last event, in milliseconds since the run began.
    pub wall_ms: u64,
    /// Number of the last event.
    pub last_seq: u64,
}

/// The state of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TaskState {
    pub id: String,
    /// `queued`, `in_progress`, `completed`, `failed`, `skipped`, `cancelled`, `incomplete`.
    pub status: String,
    /// The worker of the last attempt.
    pub worker: String,
    /// The model of the last attempt.
    pub model: String,
    /// The accepted result, or else the text of the last attempt.
    pub output: String,
    /// All attempts, in order.
    pub attempts: Vec<Attempt>,
    /// Start of the first attempt, in milliseconds since the run began.
    pub started_ms: Option<u64>,
    /// End of the task, in milliseconds since the run began.
    pub finished_ms: Option<u64>,
}

/// One attempt at a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub attempt: u64,
    pub worker: String,
    pub model: String,
    /// The prompt after the chat template.
    pub prompt: String,
    /// Temperature, seed, token limit and schema.
    pub sampling: Value,
    /// What the model returned, before it was checked.
    pub output: String,
    /// Why the attempt failed, if it did.
    pub error: Option<String>,
    pub usage: Value,
}

impl RunState {
    /// A run of which nothing can be read.
    pub(super) fn unreadable(id: String, created_ms: u64, why: &str) -> Self {
        let missing = vec![format!("everything: {why}; `bandmaster runs rm {id}` removes it")];
        let damaged = missing.clone();
        Self { id, created_ms, status: "damaged".to_owned(), missing, damaged, ..Self::default() }
    }

    /// Marks a run as interrupted: what has not ended is incomplete.
    pub(super) fn leave(&mut self) {
        if self.status != "in_progress" {
            return;
        }
        "incomplete".clone_into(&mut self.status);
        self.missing.push(format!(
            "the rest: the run was interrupted: its process was killed, or its end could not be recorded; `bandmaster runs resume {}` runs it again",
            self.id
        ));
        for task in &mut self.tasks {
            if matches!(task.status.as_str(), "queued" | "in_progress") {
                "incomplete".clone_into(&mut task.status);
            }
        }
    }
}

/// Computes a run's state from its events, in order. Unknown types and fields are ignored.
#[must_use]
pub fn fold(id: &str, created_ms: u64, events: &[Event]) -> RunState {
    let mut run =
        RunState { id: id.to_owned(), created_ms, status: "in_progress".to_owned(), ..RunState::default() };
    for event in events {
        run.wall_ms = event.ms;
        run.last_seq = event.seq;
        if event.kind.starts_with("task.") {
            take_task_event(&mut run, event);
        } else {
            take_run_event(&mut run, event);
        }
    }
    run.damaged = events.iter().filter_map(damage).collect();
    run.missing.extend(run.damaged.iter().cloned());
    run
}

/// What a [`DAMAGED`] event stands for and why it can't be read; `None` for all others.
pub(super) fn damage(event: &Event) -> Option<String> {
    let (kind, why) = (text(&event.body, "event"), text(&event.body, "why"));
    (event.kind == DAMAGED).then(|| format!("event {} ({kind}), whose record is damaged: {why}", event.seq))
}

fn take_run_event(run: &mut RunState, event: &Event) {
    let body = &event.body;
    match event.kind.as_str() {
        "run.started" => {
            run.goal = text(body, "goal");
            let inputs = body["inputs"].as_array();
            run.inputs = inputs.into_iter().flatten().map(|input| text(input, "name")).collect();
        }
        "strategy.chosen" => {
            run.strategy = text(body, "strategy");
            run.strategy_why = body["why"].clone();
        }
        "plan.accepted" => run.plan = body["plan"].clone(),
        // The text of a rejected attempt is not part of the answer.
        "task.retried" => run.answer.clear(),
        "answer.delta" => run.answer.push_str(body["text"].as_str().unwrap_or_default()),
        "run.finished" => {
            run.status = status(body);
            run.answer = text(body, "answer");
            run.usage = body["usage"].clone();
            let missing = body["missing"].as_array();
            run.missing =
                missing.into_iter().flatten().filter_map(|m| m.as_str().map(str::to_owned)).collect();
        }
        _ => {}
    }
}

fn take_task_event(run: &mut RunState, event: &Event) {
    let body = &event.body;
    let id = text(body, "task");
    let at = run.tasks.iter().position(|task| task.id == id).unwrap_or_else(|| {
        run.tasks.push(TaskState { id, status: "queued".to_owned(), ..TaskState::default() });
        run.tasks.len() - 1
    });
    let task = &mut run.tasks[at];
    match event.kind.as_str() {
        "task.started" | "task.retried" => {
            task.status = "in_progress".to_owned();
            task.worker = text(body, "worker");
            task.model = text(body, "model");
            task.started_ms.get_or_insert(event.ms);
            let attempt = attempt_of(task, body);
            attempt.worker = text(body, "worker");
            attempt.model = text(body, "model");
        }
        "task.output" => {
            let attempt = attempt_of(task, body);
            attempt.prompt = text(body, "prompt");
            attempt.sampling = body["sampling"].clone();
            attempt.output = text(body, "output");
            attempt.usage = body["usage"].clone();
        }
        "task.failed" => attempt_of(task, body).error = Some(text(body, "error")),
        "task.finished" => {
            task.status = status(body);
            task.output = text(body, "output");
            task.finished_ms = Some(event.ms);
        }
        _ => {}
    }
}

fn attempt_of<'a>(task: &'a mut TaskState, body: &Value) -> &'a mut Attempt {
    let number = body["attempt"].as_u64().unwrap_or(1);
    let at = task.attempts.iter().position(|a| a.attempt == number).unwrap_or_else(|| {
        task.attempts.push(Attempt { attempt: number, ..Attempt::default() });
        task.attempts.len() - 1
    });
    &mut task.attempts[at]
}

/// Every status that a run or a task may have.
const STATUSES: [&str; 9] = [
    "queued",
    "in_progress",
    "requires_action",
    "completed",
    "incomplete",
    "failed",
    "cancelled",
    "skipped",
    "damaged",
];

/// The status in an event. An unknown status is damage: how the run or task ended is not certain.
fn status(body: &Value) -> String {
    let said = body["status"].as_str().unwrap_or_default();
    if STATUSES.contains(&said) { said.to_owned() } else { "incomplete".to_owned() }
}

fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_default().to_owned()
}

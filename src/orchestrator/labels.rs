//! Labels of a run: known failure modes that rules find in its record. They follow Cemri et al., "Why do multi-agent LLM
//! systems fail?" (arXiv 2503.13657), as far as a rule can tell.

use serde::Serialize;
use serde_json::Value;

use super::checks::{runs_in_circles, words};
use super::event::{CallEnd, FailureClass};
use super::outcome::Status;
use super::plan::Job;
use super::state::{Attempt, RunState, TaskState};

/// A known way in which runs of language models go wrong. A label says that a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureMode {
    /// A task was done twice, or a rejected reply was given again.
    StepRepeated,
    /// A planned task never ended.
    TaskLost,
    /// A reply does not follow the schema that it was asked for.
    ShapeDisobeyed,
    /// A reply was cut off at its token limit, or repeats itself without end.
    UnawareOfEnd,
    /// The answer lacks the result of a planned task.
    AnswerWithoutTask,
    /// A reply speaks for the user, or refuses to do the task.
    RoleDisobeyed,
}

impl FailureMode {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StepRepeated => "step_repeated",
            Self::TaskLost => "task_lost",
            Self::ShapeDisobeyed => "shape_disobeyed",
            Self::UnawareOfEnd => "unaware_of_end",
            Self::AnswerWithoutTask => "answer_without_task",
            Self::RoleDisobeyed => "role_disobeyed",
        }
    }
}

/// A failure mode that a task of a run shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    pub mode: FailureMode,
    pub task: String,
    /// What in the record shows it, in words for people.
    pub why: String,
}

/// The labels of a run, in the order of its tasks. A task has each label once.
#[must_use]
pub fn labels(run: &RunState) -> Vec<Label> {
    type Rule = fn(&RunState, &TaskState) -> Option<String>;
    const RULES: [(FailureMode, Rule); 6] = [
        (FailureMode::StepRepeated, step_repeated),
        (FailureMode::TaskLost, task_lost),
        (FailureMode::ShapeDisobeyed, |_, task| in_an_attempt(task, shape_disobeyed)),
        (FailureMode::UnawareOfEnd, |_, task| in_an_attempt(task, |attempt| unaware_of_end(task, attempt))),
        (FailureMode::AnswerWithoutTask, answer_without_task),
        (FailureMode::RoleDisobeyed, |_, task| in_an_attempt(task, role_disobeyed)),
    ];
    let of_task = |task: &TaskState| {
        let found = RULES.iter().filter_map(|(mode, rule)| Some((*mode, rule(run, task)?)));
        let label = |(mode, why)| Label { mode, task: task.id.clone(), why };
        found.map(label).collect::<Vec<_>>()
    };
    run.tasks.iter().flat_map(of_task).collect()
}

fn in_an_attempt(task: &TaskState, rule: impl Fn(&Attempt) -> Option<String>) -> Option<String> {
    let mut replied = task.attempts.iter().filter(|attempt| {
        // Records of earlier versions don't say how a call ended.
        matches!(attempt.end, Some(CallEnd::Reply(_) | CallEnd::Unrecorded)) && !attempt.output.is_empty()
    });
    replied.find_map(|attempt| Some(format!("attempt {} {}", attempt.attempt, rule(attempt)?)))
}

fn step_repeated(run: &RunState, task: &TaskState) -> Option<String> {
    let rejected = |attempt: &&Attempt| {
        let failure = attempt.failure.as_ref().filter(|failure| !failure.doubtful);
        failure.is_some_and(|failure| failure.class == FailureClass::Content) && !attempt.output.is_empty()
    };
    let rejected: Vec<&Attempt> = task.attempts.iter().filter(rejected).collect();
    for (at, attempt) in rejected.iter().enumerate() {
        if let Some(earlier) = rejected[..at].iter().find(|earlier| earlier.output == attempt.output) {
            let (first, again) = (earlier.attempt, attempt.attempt);
            return Some(format!(
                "attempt {again} gave the reply again that was rejected in attempt {first}"
            ));
        }
    }
    // Ballots are repeated on purpose, and a calculation when there is more to calculate with.
    let repeats = !matches!(task.task.job, Job::Ballot { .. } | Job::Calculate) && task.accepted().is_some();
    let same = |other: &&TaskState| {
        other.accepted() == task.accepted()
            && (&other.task.job, &other.task.input) == (&task.task.job, &task.task.input)
            && words(&other.task.instruction) == words(&task.task.instruction)
    };
    let earlier = run.tasks.iter().take_while(|other| other.id != task.id).find(same).filter(|_| repeats)?;
    Some(format!("it did what {} had done, with the same result", earlier.id))
}

fn task_lost(run: &RunState, task: &TaskState) -> Option<String> {
    (run.has_ended() && !task.has_ended()).then(|| format!("it is {} and the run has ended", task.status))
}

fn shape_disobeyed(attempt: &Attempt) -> Option<String> {
    let schema = attempt.sampling.get("schema").filter(|schema| schema.is_object())?;
    match serde_json::from_str::<Value>(&attempt.output) {
        Ok(reply) => breach(schema, &reply).map(|breach| format!("has another shape: {breach}")),
        Err(_) => Some("is not JSON".to_owned()),
    }
}

/// Where a value breaks a schema: its type, its fields, or its list of values.
fn breach(schema: &Value, value: &Value) -> Option<String> {
    if let Some(ways) = schema["anyOf"].as_array() {
        let mut breaches = ways.iter().map(|way| breach(way, value));
        let first = breaches.next()?;
        return if breaches.any(|breach| breach.is_none()) { None } else { first };
    }
    if let Some(allowed) = schema["enum"].as_array() {
        return (!allowed.contains(value)).then(|| format!("{value} is not among {}", schema["enum"]));
    }
    let is_type = match schema["type"].as_str().unwrap_or_default() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => true,
    };
    if !is_type {
        return Some(format!("{value} is not of type {}", schema["type"]));
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(field) = required.into_iter().find(|field| value.get(field).is_none()) {
        return Some(format!("it lacks {field}"));
    }
    let fields = value.as_object().into_iter().flatten();
    let of_field = |(name, field): (&String, &Value)| breach(schema["properties"].get(name)?, field);
    let of_item = |item: &Value| breach(&schema["items"], item);
    fields.filter_map(of_field).next().or_else(|| value.as_array().into_iter().flatten().find_map(of_item))
}

fn unaware_of_end(task: &TaskState, attempt: &Attempt) -> Option<String> {
    // A budget may have left fewer tokens than the task has.
    let tokens_max = attempt.sampling["tokens_max"].as_u64().unwrap_or(u64::MAX);
    if runs_in_circles(&attempt.output) {
        return Some("repeats itself without end".to_owned());
    }
    let is_cut = attempt.is_cut() && tokens_max >= u64::from(task.task.tokens_max);
    is_cut.then(|| "was cut off at its token limit".to_owned())
}

fn answer_without_task(run: &RunState, task: &TaskState) -> Option<String> {
    let has_answer = run.has_ended() && !run.answer.trim().is_empty();
    let is_planned = run.plan_tasks().any(|planned| planned.id == task.id);
    if !has_answer || !is_planned || task.accepted().is_some() || is_replaced(run, task) {
        return None;
    }
    // A task that was dropped is not missed.
    if run.replans.iter().any(|replan| replan.dropped.contains(&task.id)) {
        return None;
    }
    let lacks_need = task.task.needs.iter().any(|need| run.result(need).is_none());
    let is_missed = match task.status {
        Status::Skipped => lacks_need || (task.task.counts() && !run.budgets_reached.is_empty()),
        _ => true,
    };
    let why = task.error.as_deref().unwrap_or("it has no result");
    is_missed.then(|| format!("the answer was made without its result: {why}"))
}

/// Whether other tasks read the parts of what this one was to read.
fn is_replaced(run: &RunState, task: &TaskState) -> bool {
    let Some(slice) = &task.task.input else { return false };
    let others = run.tasks.iter().filter_map(|other| other.task.input.as_ref());
    others.into_iter().any(|other| other.is_part_of(slice))
}

/// What begins a turn of the user, where a model goes on with the conversation by itself.
const TURNS: [&str; 8] = [
    "User:",
    "Human:",
    "<|im_start|>",
    "<|user|>",
    "<|start_header_id|>",
    "[INST]",
    "### Instruction",
    "### User",
];
/// What begins the reply of a model that speaks of itself instead of the task. In lower case.
const REFUSALS: [&str; 6] =
    ["as an ai", "i'm sorry, but i", "i am sorry, but i", "i'm an ai", "i am an ai", "i cannot assist"];

fn role_disobeyed(attempt: &Attempt) -> Option<String> {
    let begins = |turn: &&&str| attempt.output.lines().any(|line| line.trim_start().starts_with(**turn));
    // A template's own marks are in every prompt. Words may be there because the text is a dialogue.
    let is_own =
        |turn: &&&str| turn.starts_with('<') || turn.starts_with('[') || !attempt.prompt.contains(**turn);
    if let Some(turn) = TURNS.iter().filter(is_own).find(begins) {
        return Some(format!("speaks for the user (\"{turn}\")"));
    }
    let start = attempt.output.trim_start().to_lowercase().replace('’', "'");
    let refusal = REFUSALS.iter().find(|refusal| start.starts_with(**refusal))?;
    Some(format!("refuses the task (\"{refusal}\")"))
}

#[cfg(test)]
mod tests;

//! Other wordings of a question that the nearest parts did not answer, to search again.

use serde::Deserialize;
use serde_json::{Value, json};

use super::question;
use crate::band::{Finish, Reply};
use crate::goal::Goal;
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::{Prompt, Verdict};

/// Wordings that are asked for.
const WORDINGS: usize = 2;
const WORDINGS_TOKENS_MAX: u32 = 120;

pub(super) fn task(goal: &Goal) -> Task {
    let task = Task::new("plan", Job::Plan, super::ladder(goal));
    let instruction = "word the question in other ways".to_owned();
    Task { instruction, tokens_max: WORDINGS_TOKENS_MAX, ..task }
}

pub(super) fn prompt(goal: &Goal, state: &RunState) -> Prompt {
    prompts::FIND_WORDINGS.prompt(&[("question", question::searched(goal, state))]).with_schema(schema())
}

fn schema() -> Value {
    let wording = json!({"type": "string", "minLength": 3});
    json!({
        "type": "object",
        "properties": {"wordings": {"type": "array", "items": wording, "minItems": WORDINGS, "maxItems": WORDINGS}},
        "required": ["wordings"],
        "additionalProperties": false,
    })
}

#[derive(Deserialize)]
struct Raw {
    wordings: Vec<String>,
}

pub(super) fn check(goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
    if reply.finish == Finish::Length {
        return Verdict::reject("it was cut off at its limit");
    }
    match serde_json::from_str::<Raw>(&reply.text) {
        Ok(raw) if raw.wordings.iter().any(|one| one.trim() != question::searched(goal, state)) => {
            Verdict::Accept(reply.text.clone())
        }
        Ok(_) => Verdict::reject("it only repeats the question"),
        Err(error) => Verdict::reject(format!("not the JSON that was asked for: {error}")),
    }
}

/// The wordings that the planner has given; none without a result.
pub(super) fn of(plan: &TaskState) -> Vec<String> {
    let raw = plan.accepted().and_then(|json| serde_json::from_str::<Raw>(json).ok());
    let wordings = raw.map(|raw| raw.wordings).unwrap_or_default();
    wordings
        .into_iter()
        .take(WORDINGS)
        .map(|one| one.trim().to_owned())
        .filter(|one| !one.is_empty())
        .collect()
}

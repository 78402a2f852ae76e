//! Plans that are carried out only after the user has approved them: how a plan is shown, and the check of one that the
//! user has edited.

use serde_json::{Value, json};

use super::band::{CallUsage, Finish, Reply};
use super::goal::Goal;
use super::parked::{ActionKind, RequiredAction};
use super::plan::{Job, Plan, Task};
use super::state::RunState;
use super::strategy::{Move, Strategy, Verdict};

/// Most tasks of a plan that are told one by one.
const TOLD_MAX: usize = 20;

/// Why an edited plan is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    #[error("this plan can't be edited: it can be approved (yes) or declined (no)")]
    NotEditable,
    /// It has not the form of a planner's reply.
    #[error("{place}: {why}")]
    Form { place: String, why: String },
    #[error("{0}")]
    Content(String),
}

/// What the user is asked about a plan.
#[must_use]
pub(crate) fn action(tasks: &[Task], proposed: Option<&Value>, strategy: &dyn Strategy) -> RequiredAction {
    let fields = strategy.plan_fields().filter(|_| proposed.is_some());
    let (plan, edit) = match fields {
        Some(_) => (proposed.cloned(), ", or give a plan that you have edited"),
        None => (None, ""),
    };
    RequiredAction {
        kind: ActionKind::ApprovePlan,
        plan,
        plan_fields: fields.map(str::to_owned),
        ..RequiredAction::ask(&format!(
            "This is the plan:\n{}\nShall it be carried out? Answer yes or no{edit}.",
            told(tasks)
        ))
    }
}

/// The planner's part of a plan as the record shows it. A plan in which no planner had a part consists of its tasks.
#[must_use]
pub(crate) fn shown(tasks: &[Task], proposed: Option<Value>) -> Value {
    let brief = |task: &Task| {
        let Task { id, worker, instruction, needs, .. } = task;
        json!({"id": id, "worker": worker, "instruction": instruction, "needs": needs})
    };
    proposed.unwrap_or_else(|| json!({"tasks": tasks.iter().map(brief).collect::<Vec<_>>()}))
}

/// A plan in plain words, a line for each task.
fn told(tasks: &[Task]) -> String {
    let line = |task: &Task| {
        let of = task.input.as_ref().map_or_else(String::new, |slice| {
            let part = if slice.parts > 1 {
                format!(", part {} of {}", slice.part + 1, slice.parts)
            } else {
                String::new()
            };
            format!(" in {}{part}", slice.name)
        });
        let after = match task.needs.len() {
            0 => String::new(),
            1..=5 => format!(", after {}", task.needs.join(", ")),
            more => format!(", after {more} other tasks"),
        };
        format!("- {} ({}): {}{of}{after}\n", task.id, task.worker, task.instruction)
    };
    let mut text: String = tasks.iter().take(TOLD_MAX).map(line).collect();
    if tasks.len() > TOLD_MAX {
        text.push_str(&format!("- and {} more tasks\n", tasks.len() - TOLD_MAX));
    }
    text
}

/// Checks a plan that the user has edited as a reply of the planner is checked, and that it can be carried out.
///
/// Returns the plan as the check accepts it.
///
/// # Errors
/// Why it is refused.
pub(crate) fn check(
    strategy: &dyn Strategy,
    goal: &Goal,
    state: &RunState,
    plan: &Value,
) -> Result<Value, PlanRefused> {
    let shown = state.required_action.as_ref().is_some_and(|action| action.plan.is_some());
    if !shown {
        return Err(PlanRefused::NotEditable);
    }
    let planning = state.tasks.iter().find(|task| task.task.job == Job::Plan);
    // Without a planner's reply, the plan followed from the goal by rule.
    let task = planning.map_or_else(
        || Task { id: "plan".to_owned(), job: Job::Plan, ..Task::default() },
        |planning| planning.task.clone(),
    );
    if let Some(schema) = strategy.prompt(&task, goal, state).schema {
        check_form(&schema, plan)?;
    }
    let reply = Reply { text: plan.to_string(), finish: Finish::Stop, usage: CallUsage::default() };
    let text = match strategy.check(&task, goal, state, &reply) {
        // What would be used of a planner's reply if no better one came is used here as well.
        Verdict::Accept(text) | Verdict::Doubt(text) | Verdict::Reject { kept: Some(text), .. } => text,
        Verdict::Reject { why, kept: None } => return Err(PlanRefused::Content(why)),
        Verdict::Ask(question) => return Err(PlanRefused::Content(question)),
    };
    let plan: Value = serde_json::from_str(&text).map_err(|error| PlanRefused::Content(error.to_string()))?;
    let mut edited = state.clone();
    edited.take_plan(&plan);
    edited.outcome = None;
    match strategy.next(goal, &edited) {
        Move::Add { tasks, .. } => match Plan::new(tasks) {
            Ok(_) => Ok(plan),
            Err(error) => Err(PlanRefused::Content(error.to_string())),
        },
        Move::Answer(ended) => {
            let why = ended.error.unwrap_or_else(|| "it has no tasks".to_owned());
            Err(PlanRefused::Content(why))
        }
        Move::Wait | Move::Split(_) | Move::Search(_) | Move::Drop { .. } | Move::Replan { .. } => Ok(plan),
    }
}

/// The alternative of a schema whose fields a plan has, so that an error can name the field; else the whole schema.
fn form_of<'a>(schema: &'a Value, plan: &Value) -> &'a Value {
    let has_its_field = |form: &&Value| {
        let first = form["required"].get(0).and_then(Value::as_str);
        first.is_some_and(|field| plan.get(field).is_some())
    };
    schema["anyOf"].as_array().and_then(|forms| forms.iter().find(has_its_field)).unwrap_or(schema)
}

fn check_form(schema: &Value, plan: &Value) -> Result<(), PlanRefused> {
    let validator = jsonschema::validator_for(form_of(schema, plan)).map_err(|error| PlanRefused::Form {
        place: "the strategy's schema".to_owned(),
        why: error.to_string(),
    })?;
    let Some(error) = validator.iter_errors(plan).next() else { return Ok(()) };
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "the plan".to_owned() } else { place };
    Err(PlanRefused::Form { place, why: error.to_string() })
}

#[cfg(test)]
mod tests;

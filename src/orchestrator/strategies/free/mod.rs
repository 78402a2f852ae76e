//! The free strategy: any graph of tasks. The planner writes it under a schema that no invalid graph follows, and each
//! of its tasks begins as soon as it is written. The tasks that no other one needs give the answer.

mod answer;
mod checks;
mod items;
mod prompts;
mod registry;
#[cfg(test)]
mod tests;

use serde_json::json;

use super::rounds;
use crate::band::Reply;
use crate::goal::{Goal, PLANNER};
use crate::partial::closed;
use crate::plan::{Job, Task};
use crate::request::StrategyName;
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

/// Most times the planner is asked for a plan.
const DRAWS: usize = 3;
/// A plan of [`registry::TASKS_MAX`] tasks with long instructions fits.
const PLAN_TOKENS_MAX: u32 = 1400;
const GOAL_TOKENS_MAX: u32 = 600;
/// Words that are typical of the worked example in the planner's prompt.
const EXAMPLES_OWN: &[&str] = &["salt", "tons", "harbour", "ship", "anna", "bertha"];

pub(super) struct Free;

impl Strategy for Free {
    fn name(&self) -> StrategyName {
        StrategyName::Free
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let round = rounds::current(state);
        let Some(plan) = state.task(&rounds::plan_id(round)) else {
            return if state.is_stopped() { answer::next(goal, state) } else { Move::add(plan_task(round)) };
        };
        if !state.is_stopped() {
            let changed = rounds::let_stand(state, plan, |part| {
                items::planned(goal, state, round, &closed(part))
                    .is_ok_and(|planned| !planned.tasks.is_empty())
            })
            .or_else(|| rounds::give_up(state));
            if let Some(moved) = changed.or_else(|| self.add(goal, state, plan, round)) {
                return moved;
            }
        }
        if !plan.has_ended() || state.plan_tasks().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        rounds::again(state).unwrap_or_else(|| answer::next(goal, state))
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        let prompt = match task.job {
            Job::Plan => plan_prompt(task, goal, state),
            Job::Synthesis => prompts::answer(goal, &answer::ends_of(task, state)),
            _ => prompts::task(task, goal, state),
        };
        prompt.after(&goal.conversation)
    }

    fn plan_fields(&self) -> Option<&'static str> {
        Some(
            "tasks: the tasks in order, t1, t2 and so on. What no other task needs is the answer.
task.job: read (find in \"input\" what \"do\" says), step (do what \"do\" says with the results of \"needs\"),
  write (the section \"title\", with what \"do\" says) or calculate (the \"figure\" of the numbers in \"needs\")
needs: earlier tasks whose results the task gets",
        )
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match task.job {
            Job::Plan => checks::plan(goal, state, reply),
            Job::Synthesis => checks::answer(&answer::ends_of(task, state), reply),
            _ => checks::task(task, goal, state, reply),
        }
    }

    fn calculate(&self, task: &Task, _: &Goal, state: &RunState) -> Result<String, String> {
        checks::calculate(task, state)
    }
}

impl Free {
    /// The tasks that the planner has finished and that are not there yet. If a whole plan gives none, the goal itself
    /// is the only task.
    fn add(&self, goal: &Goal, state: &RunState, plan: &TaskState, round: usize) -> Option<Move> {
        let json = match (plan.running(), plan.accepted()) {
            (Some(attempt), _) if attempt.partial.is_empty() => return None,
            (Some(attempt), _) => closed(&attempt.partial),
            (None, Some(json)) => json.to_owned(),
            (None, None) if plan.has_ended() => String::new(),
            (None, None) => return None,
        };
        let planned = items::planned(goal, state, round, &json).unwrap_or_default();
        let edited = state.approval.edited.is_some() && rounds::added(state).is_empty() && round == 0;
        if edited && !planned.left_out.is_empty() {
            return Some(Move::refuse(planned.left_out.join("; ")));
        }
        // A plan that the user may edit is shown in the form in which it is edited.
        let written = (state.asked.approve && plan.accepted().is_some()).then(|| planned.written());
        let tasks = rounds::new_tasks(state, planned.tasks);
        if tasks.is_empty() && plan.has_ended() && round == 0 && rounds::added(state).is_empty() {
            // There is no plan that the user could edit.
            return Some(Move::add(whole_goal(goal)));
        }
        if tasks.is_empty() {
            return None;
        }
        let told = |task: &Task| json!({"id": task.id, "task": task.instruction, "needs": task.needs});
        let told = || json!({"tasks": tasks.iter().map(told).collect::<Vec<_>>()});
        let proposed = Some(written.unwrap_or_else(told));
        Some(Move::Add { tasks, proposed })
    }
}

fn plan_task(round: usize) -> Task {
    Task {
        id: rounds::plan_id(round),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); DRAWS],
        instruction: if round == 0 { "plan the tasks" } else { "plan again" }.to_owned(),
        tokens_max: PLAN_TOKENS_MAX,
        partial_depth: checks::ITEMS_DEPTH,
        ..Task::default()
    }
}

fn plan_prompt(task: &Task, goal: &Goal, state: &RunState) -> Prompt {
    let round = rounds::of_plan(state, &task.id);
    let replan = round.checked_sub(1).and_then(|last| state.replans.get(last));
    let kept = replan.map(|replan| replan.kept.as_slice()).unwrap_or_default();
    let schema = registry::schema(goal, rounds::tasks_before(state, round), kept);
    prompts::plan(goal, &rounds::told(state, round)).with_schema(schema)
}

/// Without a usable plan, the planner does what it can.
fn whole_goal(goal: &Goal) -> Task {
    Task {
        id: "t1".to_owned(),
        job: Job::Answer,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: goal.text.clone(),
        tokens_max: GOAL_TOKENS_MAX,
        ..Task::default()
    }
}

/// The end of a run with an answer of `ends`.
fn ended(answer: String, missing: Vec<String>, failed_tasks: usize) -> Move {
    Move::Answer(Ended { answer, missing, failed_tasks, ..Ended::default() })
}

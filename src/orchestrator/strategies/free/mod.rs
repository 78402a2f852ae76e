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
use crate::band::{Reply, Skill};
use crate::choice::ANSWER_TOKENS_RESERVED;
use crate::goal::{Goal, PLANNER};
use crate::partial::closed;
use crate::plan::{Job, Slice, Task};
use crate::request::{Input, StrategyName};
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

/// Most times the planner is asked for a plan.
const DRAWS: usize = 3;
/// A plan of [`registry::TASKS_MAX`] tasks with long instructions fits.
const PLAN_TOKENS_MAX: u32 = 1400;
const GOAL_TOKENS_MAX: u32 = 600;
/// Most tokens of what one input says on the goal.
const PART_TOKENS_MAX: u32 = 240;
/// What the planner is told in a later round.
const CUT_OFF: &str = "The last plan was cut off before its end, so plan the rest of the work as well.\n";
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
    /// The tasks that the planner has finished and that are not there yet. If a whole plan gives none, the tasks follow
    /// from the goal.
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
            return Some(Move::Add { tasks: without_plan(goal), proposed: None });
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
    let mut told = rounds::told(state, round);
    if round > 0 && answer::is_unfinished(goal, state, round - 1) {
        told.push_str(CUT_OFF);
    }
    prompts::plan(goal, &told).with_schema(schema)
}

/// What is done without a usable plan. The planner answers the whole goal. If it can't read all inputs in one call,
/// each of them is asked the goal.
fn without_plan(goal: &Goal) -> Vec<Task> {
    if goal.inputs.is_empty() || fit_together(goal) {
        let ladder = [PLANNER; 2];
        let task = Task::new("t1", Job::Answer, ladder);
        return vec![Task { instruction: goal.text.clone(), tokens_max: GOAL_TOKENS_MAX, ..task }];
    }
    let task = |(index, input): (usize, &Input)| {
        let worker = goal.band.assign(Skill::Read, index);
        let (name, bytes) = (input.name.clone(), 0..input.text.len());
        Task {
            instruction: "answer the goal from this text".to_owned(),
            input: Some(Slice { index, name, part: 0, parts: 1, bytes }),
            tokens_max: PART_TOKENS_MAX,
            ..Task::new(format!("t{}", index + 1), Job::Answer, goal.band.ladder(worker, Skill::Read))
        }
    };
    goal.inputs.iter().enumerate().map(task).collect()
}

/// Whether the planner has room for all inputs in one call. The run may go on with another planner than it began with.
fn fit_together(goal: &Goal) -> bool {
    let tokens = goal.facts.input_tokens + goal.facts.conversation_tokens + ANSWER_TOKENS_RESERVED;
    goal.facts.inputs_fit_together && tokens <= goal.band.planner.context_tokens
}

/// The end of a run with an answer of `ends`.
fn ended(answer: String, missing: Vec<String>, failed_tasks: usize) -> Move {
    let unchecked = (!answer.is_empty())
        .then(|| "the results of the tasks, each of which is the reply of a single call".to_owned());
    let unchecked = unchecked.into_iter().collect();
    Move::Answer(Ended { answer, missing, failed_tasks, unchecked, ..Ended::default() })
}

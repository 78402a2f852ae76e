//! The answer from the tasks that no other one needs: the text of the only one, or else what the planner words from all
//! of them.

use super::prompts::{asked, results};
use super::{ended, items};
use crate::goal::{Goal, PLANNER};
use crate::missing::with_missing;
use crate::plan::{Job, Task};
use crate::state::{RunState, TaskState};
use crate::strategies::{dropped, rounds};
use crate::strategy::Move;

const ANSWER_TOKENS_MAX: u32 = 700;

/// The next move when every task has ended and none is to be added.
pub(super) fn next(goal: &Goal, state: &RunState) -> Move {
    let ends = ends(state);
    let missing = missing(goal, state);
    let is_of_ends = |answer: &TaskState| answer.task.needs.iter().eq(ends.iter().map(|end| &end.id));
    // When the run had ended and was taken up, there may be other results than before.
    let stale = answers(state).filter(|answer| !answer.has_ended() && !is_of_ends(answer));
    let stale: Vec<String> = stale.map(|answer| answer.id.clone()).collect();
    if !stale.is_empty() {
        return Move::Drop { tasks: stale, why: "there are other results now".to_owned() };
    }
    let worded = answers(state).filter(|answer| is_of_ends(answer)).last();
    if let ([only], true, None) = (&ends[..], missing.is_empty(), worded)
        && only.task.job != Job::Calculate
    {
        return ended(only.output.trim().to_owned(), missing, 0);
    }
    match worded {
        None if !ends.is_empty() && !state.is_stopped() => Move::add(task(state, &ends)),
        Some(answer) if !answer.has_ended() => Move::Wait,
        _ if ends.is_empty() => ended(String::new(), missing.clone(), missing.len()),
        worded => {
            let answer = worded.and_then(TaskState::accepted).map_or_else(|| results(&ends), str::to_owned);
            let failed_tasks = missing.len();
            ended(with_missing(answer, &missing), missing, failed_tasks)
        }
    }
}

/// The planner's calls that word the answer.
fn answers(state: &RunState) -> impl Iterator<Item = &TaskState> {
    state.planner_tasks().filter(|task| task.task.job == Job::Synthesis && !state.is_dropped(&task.id))
}

/// The tasks with a result that no other task with a result needs.
fn ends(state: &RunState) -> Vec<&TaskState> {
    let done: Vec<&TaskState> =
        rounds::live(state).into_iter().filter(|task| task.accepted().is_some()).collect();
    let is_needed = |id: &String| done.iter().any(|task| task.task.needs.contains(id));
    done.iter().copied().filter(|task| !is_needed(&task.id)).collect()
}

/// The tasks that an answer is worded from.
pub(super) fn ends_of<'a>(answer: &Task, state: &'a RunState) -> Vec<&'a TaskState> {
    answer.needs.iter().filter_map(|need| state.task(need)).collect()
}

fn task(state: &RunState, ends: &[&TaskState]) -> Task {
    Task {
        id: rounds::synthesis_id(
            state.planner_tasks().filter(|task| task.task.job == Job::Synthesis).count(),
        ),
        job: Job::Synthesis,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: "answer the goal from the results".to_owned(),
        needs: ends.iter().map(|end| end.id.clone()).collect(),
        tokens_max: ANSWER_TOKENS_MAX,
        with_gaps: true,
        ..Task::default()
    }
}

fn missing(goal: &Goal, state: &RunState) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    if is_unfinished(goal, state, rounds::current(state)) {
        missing.push("the rest of the plan, which the planner did not finish".to_owned());
    }
    let repeats = |round: usize, task: &TaskState| {
        planned(goal, state, round).is_some_and(|planned| planned.repeated.contains(&task.id))
    };
    for task in dropped::counted(state, repeats) {
        match (task.accepted(), &task.error) {
            (None, error) => {
                let why = error.as_deref().unwrap_or("not done");
                missing.push(format!("{} ({}): {why}", task.id, asked(task)));
            }
            (Some(_), _) if task.cut => {
                missing.push(format!(
                    "the end of {} ({}), which was cut off at its limit",
                    task.id,
                    asked(task)
                ));
            }
            _ => {}
        }
    }
    missing
}

/// What became of the items of the plan that was accepted in a round.
fn planned(goal: &Goal, state: &RunState, round: usize) -> Option<items::Planned> {
    let json = state.result(&rounds::plan_id(round))?;
    items::planned(goal, state, round, json).ok()
}

/// Whether the planner has not finished the last plan that gave tasks up to a round. In later rounds it is told so.
pub(super) fn is_unfinished(goal: &Goal, state: &RunState, round: usize) -> bool {
    let Some(round) = (0..=round).rev().find(|round| !rounds::added_in(state, *round).is_empty()) else {
        return false;
    };
    let Some(plan) = state.task(&rounds::plan_id(round)) else { return false };
    // Where the planner gave no plan at all, the tasks follow from the goal.
    if rounds::added_in(state, round).iter().any(|task| task.task.job == Job::Answer) {
        return false;
    }
    let is_edited = round == 0 && state.approval.edited.is_some();
    let whole = planned(goal, state, round);
    (rounds::is_cut_short(plan) && !is_edited)
        // A reply that can't be read says nothing of the tasks that are still to come.
        || whole.is_none_or(|whole| !rounds::are_added(state, round, &whole.tasks))
}

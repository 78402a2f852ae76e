//! The tasks of a map: a reading of each input or part of one, and the calculation over all.

use super::slots::Slots;
use crate::goal::{Goal, PLANNER, WorkerInfo};
use crate::plan::{Job, Shape, Slice, Task};
use crate::state::RunState;
use crate::strategy::{Move, SplitAsked};

/// Tokens of a worker's context kept free for the question, the chat template and the reason of a rejection.
const FRAME_TOKENS: usize = 700;

/// Adds one task for each input or part of one, and one for the calculator over all of them if figures are wanted.
pub(super) fn read(goal: &Goal, state: &RunState, slots: &Slots) -> Move {
    let mut tasks = match readings(goal, state, slots) {
        Ok(tasks) => tasks,
        Err(unsplit) => return Move::Split(unsplit),
    };
    if slots.wants_figures() {
        let needs = tasks.iter().map(|task| task.id.clone()).collect();
        let place = state.plan_tasks().count() + tasks.len();
        tasks.push(figures_task(goal, slots, place, needs));
    }
    Move::Add { tasks, proposed: serde_json::to_value(slots).ok() }
}

/// One task for each input or part of one.
///
/// # Errors
/// The inputs that have to be cut first.
pub(super) fn readings(goal: &Goal, state: &RunState, slots: &Slots) -> Result<Vec<Task>, Vec<SplitAsked>> {
    let mut unsplit = Vec::new();
    let mut tasks = Vec::new();
    let there = state.plan_tasks().count();
    for (index, input) in goal.inputs.iter().enumerate() {
        let worker = goal.band.assign(slots.skill(), index);
        let tokens_max = worker
            .context_tokens
            .saturating_sub(FRAME_TOKENS + 2 * slots.answer_tokens_max() as usize)
            .max(64);
        match state.parts_for(index, &worker.worker, tokens_max, input.text.len()) {
            Some(parts) => {
                let count = parts.len();
                for (part, bytes) in parts.into_iter().enumerate() {
                    let slice = Slice { index, name: input.name.clone(), part, parts: count, bytes };
                    tasks.push(reading(goal, slots, worker, slice, there + tasks.len()));
                }
            }
            None => unsplit.push(SplitAsked { input: index, worker: worker.worker.clone(), tokens_max }),
        }
    }
    if unsplit.is_empty() { Ok(tasks) } else { Err(unsplit) }
}

pub(super) fn reading(goal: &Goal, slots: &Slots, worker: &WorkerInfo, slice: Slice, place: usize) -> Task {
    Task {
        id: format!("t{}", place + 1),
        job: Job::Read,
        worker: worker.worker.clone(),
        ladder: ladder(goal, slots, worker),
        instruction: slots.find.clone(),
        input: Some(slice),
        columns: slots.columns().to_vec(),
        output: slots.shape(),
        tokens_max: slots.answer_tokens_max(),
        ..Task::default()
    }
}

/// A row that a worker and the planner read differently is read once more by the planner, so that two of three agree.
fn ladder(goal: &Goal, slots: &Slots, worker: &WorkerInfo) -> Vec<String> {
    let mut ladder = goal.band.ladder(worker, slots.skill());
    if slots.table.is_some() && ladder.last().is_some_and(|last| last == PLANNER) {
        ladder.push(PLANNER.to_owned());
    }
    ladder
}

pub(super) fn figures_task(goal: &Goal, slots: &Slots, place: usize, needs: Vec<String>) -> Task {
    Task {
        id: format!("t{}", place + 1),
        job: Job::Calculate,
        worker: goal.band.calculator().to_owned(),
        instruction: slots.aggregates_named().join(", "),
        needs,
        output: Shape::Figures,
        with_gaps: true,
        ..Task::default()
    }
}

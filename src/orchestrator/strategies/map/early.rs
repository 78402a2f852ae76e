//! Reading begins while the planner still writes. It writes what to find before how the findings are combined, and a
//! reading needs only the first. If the plan asks for something else in the end, the readings are dropped.

#[cfg(test)]
mod tests;

use super::fill;
use super::slots::Slots;
use super::smaller::readings;
use super::tasks;
use crate::goal::Goal;
use crate::plan::Job;
use crate::state::{RunState, TaskState};
use crate::strategy::Move;

/// Why a reading was dropped.
const OTHER_QUESTION: &str = "the planner asks for something else in the end";

/// The next move while the planner writes.
pub(super) fn next(goal: &Goal, state: &RunState, plan: &TaskState) -> Move {
    let waits = state.is_stopped() || state.asked.approve || state.plan_tasks().next().is_some();
    // Another draw of the plan would hardly ask for the same.
    let [first] = &plan.attempts[..] else { return Move::Wait };
    match fill::begun(goal, &first.partial).filter(|_| !waits) {
        Some(slots) => match tasks::readings(goal, state, &slots) {
            Ok(tasks) => {
                let proposed = match slots.columns() {
                    [] => serde_json::json!({"find": slots.find, "answer_is": slots.answer_is}),
                    columns => serde_json::json!({"columns": columns}),
                };
                Move::Add { tasks, proposed: Some(proposed) }
            }
            Err(unsplit) => Move::Split(unsplit),
        },
        None => Move::Wait,
    }
}

/// What the whole plan changes about readings that began before it was there: those of another question end, and the
/// figures are calculated as well.
pub(super) fn go_on(goal: &Goal, state: &RunState, slots: &Slots) -> Option<Move> {
    if state.is_stopped() {
        return None;
    }
    let reads = state.plan_tasks().filter(|task| task.task.job == Job::Read);
    let other = reads.filter(|task| !task.has_ended() && !slots.ask(&task.task));
    let other: Vec<String> = other.map(|task| task.id.clone()).collect();
    if !other.is_empty() {
        return Some(Move::Drop { tasks: other, why: OTHER_QUESTION.to_owned() });
    }
    let needs: Vec<String> = readings(state, slots).iter().map(|(_, task)| task.id.clone()).collect();
    if needs.is_empty() || !slots.wants_figures() || super::calculated(state, slots).is_some() {
        return None;
    }
    let figures = tasks::figures_task(goal, slots, state.plan_tasks().count(), needs);
    Some(Move::Add { tasks: vec![figures], proposed: serde_json::to_value(slots).ok() })
}

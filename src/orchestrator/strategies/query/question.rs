//! The goal without what stands around the question.

use super::reading::read;
use crate::goal::Goal;
use crate::state::RunState;

/// The question as the planner has taken it out of the goal, if rules find all the conditions of the goal in it; or else
/// the goal.
pub(super) fn question<'a>(goal: &'a Goal, state: &'a RunState) -> &'a str {
    let taken = state.task("question").and_then(|task| task.accepted());
    taken.filter(|question| keeps_conditions(goal, question)).unwrap_or(&goal.text)
}

fn keeps_conditions(goal: &Goal, question: &str) -> bool {
    let kept = read(question, goal.attached(), None).hints;
    read(&goal.text, goal.attached(), None).hints.iter().all(|hint| kept.contains(hint))
}

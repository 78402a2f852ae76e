//! The each strategy: the goal's instruction is done to every input at the same time, each result is checked by rule,
//! and the results are put together as the goal says.

mod checks;
mod fill;
mod join;
mod slots;
mod tasks;
#[cfg(test)]
mod tests;

use crate::band::Reply;
use crate::goal::Goal;
use crate::plan::{Job, Task};
use crate::prompts;
use crate::request::StrategyName;
use crate::state::RunState;
use crate::strategy::{Move, Prompt, Strategy, Verdict};

use fill::planned;

pub(super) struct Each;

impl Strategy for Each {
    fn name(&self) -> StrategyName {
        StrategyName::Each
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        if goal.inputs.is_empty() {
            return Move::refuse("the strategy each needs input files: attach them with -f");
        }
        let Some(plan) = state.task("plan") else { return Move::add(fill::task()) };
        if !plan.has_ended() || state.plan_tasks().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        let slots = planned(goal, state);
        if state.is_stopped() {
            return Move::Answer(join::ended(goal, state, &slots));
        }
        if state.plan_tasks().next().is_none() {
            return tasks::first(goal, state, &slots);
        }
        let folds = tasks::folds(goal, state, &slots);
        if !folds.is_empty() {
            return Move::Add { tasks: folds, proposed: None };
        }
        match state.task("synthesis") {
            Some(merged) if !merged.has_ended() => Move::Wait,
            None if join::wants_merge(goal, state, &slots) => Move::add(join::task(goal, state)),
            _ => Move::Answer(join::ended(goal, state, &slots)),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match task.job {
            Job::Plan => prompts::EACH_PLAN.prompt(&[("goal", &goal.text)]).with_schema(fill::schema()),
            Job::Synthesis => join::prompt(goal, state),
            _ => tasks::prompt(task, goal, state, &planned(goal, state)),
        }
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match task.job {
            Job::Plan => fill::check(goal, reply),
            Job::Synthesis => join::check(goal, state, &planned(goal, state), reply),
            _ => tasks::check(task, goal, state, &planned(goal, state), reply),
        }
    }

    fn plan_fields(&self) -> Option<&'static str> {
        Some(fill::FIELDS)
    }
}

//! The find strategy, for a question whose answer stands somewhere in long texts.
//!
//! The planner takes the question out of what was typed (`strategies/question.rs`). The parts nearest to it are searched
//! for. From each of their nearest sentences the planner takes a short answer (`extract.rs`), and it says how likely that
//! is the answer (`judge.rs`). If none is, whole parts are read (`read.rs`). The answer quotes the sentence and says where
//! it stands (`answer.rs`).

mod answer;
mod extract;
mod judge;
mod nearness;
mod place;
mod question;
mod read;
#[cfg(test)]
mod tests;

use crate::band::{Reply, Skill};
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::request::StrategyName;
use crate::state::RunState;
use crate::strategy::{Move, Prompt, SearchAsked, Strategy, Verdict};

use super::question::needs_planner;
use super::weigh::log_odds;

/// Parts that one search finds. A question that none of them answers counts as not answered.
const PARTS_FOUND: usize = 24;

pub(super) struct Find;

impl Strategy for Find {
    fn name(&self) -> StrategyName {
        StrategyName::Find
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        if goal.inputs.is_empty() {
            return Move::refuse("the strategy find needs input files: attach them with -f");
        }
        if state.tasks.iter().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        if state.is_stopped() {
            return Move::Answer(answer::ended(goal, state));
        }
        if state.searches.is_empty() {
            return match state.task("plan") {
                None if needs_planner(goal) => Move::add(super::question::task("plan")),
                plan => search(question::question(goal, plan)),
            };
        }
        let tasks = judge::tasks(goal, state);
        if !tasks.is_empty() {
            return Move::Add { tasks, proposed: None };
        }
        if !judge::told(state).is_empty() {
            return Move::Answer(answer::ended(goal, state));
        }
        match read::task(goal, state) {
            Some(task) => Move::add(task),
            None => Move::Answer(answer::ended(goal, state)),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match &task.job {
            Job::Plan => super::question::prompt(goal),
            Job::Extract { passage } => extract::prompt(goal, state, passage),
            Job::Judge { passage, wording } => judge::prompt(goal, state, passage, *wording),
            Job::Find { passages } => read::prompt(goal, state, passages),
            _ => Prompt::default(),
        }
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match &task.job {
            Job::Plan => super::question::check(goal, reply),
            Job::Extract { passage } => extract::check(goal, state, passage, reply),
            Job::Judge { .. } => log_odds(reply),
            Job::Find { passages } => read::check(goal, state, passages, reply),
            _ => Verdict::reject("find has no such task"),
        }
    }
}

/// The planner twice, and then another model that reads, if there is one.
fn ladder(goal: &Goal) -> Vec<String> {
    let mut ladder = vec![PLANNER.to_owned(); 2];
    let other = goal.band.workers.iter().find(|worker| {
        let writes = worker.skills.iter().any(|skill| matches!(skill, Skill::Read | Skill::Write));
        !worker.is_calculator() && writes && worker.model != goal.band.planner.model
    });
    ladder.extend(other.map(|worker| worker.worker.clone()));
    ladder
}

fn search(query: String) -> Move {
    Move::Search(SearchAsked { query, parts_max: PARTS_FOUND })
}

//! The compare strategy: what do documents say differently? Rules find the values in every text with the words around
//! them. Statements of different texts are joined by what they speak of, compared by rule, and the planner says of the
//! few that differ whether they speak of the same thing. If rules find no contradiction, a model reads each text once
//! for all that it states, and what it finds is compared as well.

mod answer;
mod join;
mod judge;
mod read;
mod scan;
mod statement;
#[cfg(test)]
mod tests;
mod value;

pub(super) use scan::statements;
pub(super) use value::Value;

use crate::band::Reply;
use crate::goal::Goal;
use crate::plan::{Job, Task};
use crate::request::StrategyName;
use crate::state::RunState;
use crate::strategy::{Move, Prompt, Strategy, Verdict};

use super::weigh::log_odds;
use statement::Statement;

pub(super) struct Compare;

impl Strategy for Compare {
    fn name(&self) -> StrategyName {
        StrategyName::Compare
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        if goal.inputs.len() < 2 {
            return Move::refuse("the strategy compare needs two input files or more: attach them with -f");
        }
        if state.plan_tasks().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        let statements = all_statements(goal, state);
        let joined = join::joined(&statements);
        if state.is_stopped() {
            return Move::Answer(answer::ended(goal, state, &statements, &joined));
        }
        // Reading takes most of the time. It is not needed where rules find a contradiction, or something that the planner
        // takes for one.
        let is_found = joined.facts.iter().any(|fact| {
            fact.is_sure || judge::judgement(goal, state, &statements, fact) == judge::Judgement::Same
        });
        if read::readings(state).next().is_none() && !is_found {
            let open = judge::tasks(goal, state, &statements, &joined.facts);
            if open.is_empty() {
                return read::first(goal, state);
            }
            return Move::Add { tasks: open, proposed: None };
        }
        let halves = read::halves(goal, state);
        let tasks =
            if halves.is_empty() { judge::tasks(goal, state, &statements, &joined.facts) } else { halves };
        match tasks.is_empty() {
            true => Move::Answer(answer::ended(goal, state, &statements, &joined)),
            false => Move::Add { tasks, proposed: None },
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, _: &RunState) -> Prompt {
        match task.job {
            Job::Read => read::prompt(task, goal),
            _ => judge::prompt(task),
        }
    }

    fn check(&self, task: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        match task.job {
            Job::Read => read::check(reply),
            _ => log_odds(reply),
        }
    }
}

/// What the texts state, by rule and by what models have read.
fn all_statements(goal: &Goal, state: &RunState) -> Vec<Statement> {
    let inputs = goal.inputs.iter().enumerate();
    let mut statements: Vec<Statement> =
        inputs.flat_map(|(index, input)| scan::statements(index, &input.text)).collect();
    read::add(goal, state, &mut statements);
    statements
}

//! The query strategy: a goal over attached tables is answered by one SELECT, and never by reading. The planner
//! writes the statement. Rules read the goal as well, as far as they can, and a statement is used if both give the
//! same rows.

mod agree;
mod answer;
mod column;
mod compose;
mod draws;
mod ended;
mod literals;
mod question;
mod reading;
#[cfg(test)]
mod tests;

use crate::attached::ColumnAt;
use crate::band::Reply;
use crate::goal::Goal;
use crate::plan::{Job, Task};
use crate::request::StrategyName;
use crate::state::RunState;
use crate::strategy::{Move, Prompt, Strategy, Verdict};

use super::question::needs_planner;
use column::Named;
use question::question;
use reading::{Read, read};

pub(super) struct Query;

/// The goal as rules read it, with the column that the planner has named for what is measured.
fn read_goal(goal: &Goal, state: &RunState) -> Read {
    let measured: Option<ColumnAt> = match column::named(goal, state) {
        Named::Column(at) => Some(at),
        Named::None | Named::Unanswered => None,
    };
    read(question(goal, state), goal.attached(), measured)
}

impl Strategy for Query {
    fn name(&self) -> StrategyName {
        StrategyName::Query
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let attached = goal.attached();
        if attached.tables.is_empty() {
            let why = attached.problems.join("; ");
            return Move::refuse(
                format!("the strategy query needs tables: attach them with -f. {why}").trim().to_owned(),
            );
        }
        if state.tasks.iter().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        if state.is_stopped() {
            return Move::Answer(ended::ended(goal, state));
        }
        if state.task("question").is_none() && needs_planner(goal) {
            return Move::add(super::question::task("question"));
        }
        let read = read_goal(goal, state);
        if !read.strangers.is_empty() {
            return Move::Answer(ended::without(goal, &read.strangers));
        }
        if read.unnamed.is_some()
            && state.task("column").is_none()
            && !column::candidates(attached).is_empty()
        {
            return Move::add(column::task());
        }
        if column::named(goal, state) == Named::None {
            return Move::Answer(ended::unnamed(goal, state));
        }
        if state.task("plan").is_none() {
            return Move::add(draws::task());
        }
        match state.task("t1") {
            None => {
                if let Some(ended) = ended::not_there(goal, state) {
                    return Move::Answer(ended);
                }
                let proposed =
                    ended::chosen(goal, state).map(|chosen| serde_json::json!({"statement": chosen.sql}));
                Move::Add { tasks: vec![ended::task(goal)], proposed }
            }
            Some(_) => Move::Answer(ended::ended(goal, state)),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match task.id.as_str() {
            "question" => super::question::prompt(goal),
            "column" => {
                let question = question(goal, state);
                let read = read(question, goal.attached(), None);
                column::prompt(goal, question, &read.unnamed.unwrap_or_default())
            }
            _ => draws::prompt(goal, state, &read_goal(goal, state)),
        }
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match (task.id.as_str(), &task.job) {
            ("question", _) => super::question::check(goal, reply),
            ("column", _) => column::check(goal, reply),
            (_, Job::Plan) => draws::check(goal, &read_goal(goal, state), reply),
            _ => Verdict::reject("no model does this"),
        }
    }

    fn calculate(&self, _: &Task, goal: &Goal, state: &RunState) -> Result<String, String> {
        let chosen = ended::chosen(goal, state).ok_or("no statement could be run")?;
        Ok(chosen.worded(goal))
    }
}

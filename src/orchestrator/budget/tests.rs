use std::sync::Arc;

use super::*;
use crate::advance::Core;
use crate::band::Reply;
use crate::goal::{Goal, PLANNER, plain_goal};
use crate::outcome::{Outcome, Status};
use crate::plan::{Job, Task};
use crate::simulation::play::{play, says};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

/// A plan that is carried out, of which every reply is good. The answer names what has a result.
struct Planned(Vec<Task>);

impl Strategy for Planned {
    fn next(&self, _: &Goal, state: &RunState) -> Move {
        if state.tasks.is_empty() {
            return Move::Add { tasks: self.0.clone(), proposed: None };
        }
        if state.tasks.iter().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        let done = state.tasks.iter().filter(|task| task.accepted().is_some()).map(|task| task.id.as_str());
        Move::Answer(Ended { answer: done.collect::<Vec<_>>().join(" "), ..Ended::default() })
    }

    fn prompt(&self, _: &Task, _: &Goal, _: &RunState) -> Prompt {
        Prompt::default()
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        Verdict::Accept(reply.text.clone())
    }

    fn calculate(&self, _: &Task, _: &Goal, _: &RunState) -> Result<String, String> {
        Ok("a figure".to_owned())
    }
}

fn task(id: &str, job: Job, needs: &[&str]) -> Task {
    Task {
        id: id.to_owned(),
        job,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned()],
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        with_gaps: true,
        ..Task::default()
    }
}

/// Runs a plan to its end; returns the outcome and the budgets that were said to be reached, with their limits.
fn run(tasks: Vec<Task>, tasks_max: Option<u64>, depth_max: Option<u64>) -> (Outcome, Vec<(String, f64)>) {
    let mut state = RunState::new("r", 0);
    (state.asked.budget_tasks, state.asked.budget_depth) = (tasks_max, depth_max);
    let core = Core::new(Arc::new(plain_goal("a goal")), state, Some(Arc::new(Planned(tasks))));
    let (events, state) = play(core, |_| says("a result"));
    let reached = events.into_iter().filter_map(|event| match event {
        EventKind::BudgetReached { which, limit } => Some((which.into_owned(), limit)),
        _ => None,
    });
    (*state.outcome.expect("the run has ended"), reached.collect())
}

#[test]
fn tasks_beyond_the_budget_are_skipped_and_the_others_answered_from() {
    let plan = || {
        let steps = ["a", "b", "c"].map(|id| task(id, Job::Step, &[]));
        let calculated = task("sum", Job::Calculate, &["a", "b", "c"]);
        let worded = task("synthesis", Job::Synthesis, &["sum"]);
        steps.into_iter().chain([calculated, worded]).collect::<Vec<_>>()
    };
    let (outcome, reached) = run(plan(), Some(2), None);
    assert_eq!((outcome.status, outcome.answer.as_str()), (Status::Incomplete, "a b sum synthesis"));
    assert_eq!(reached, [("tasks".to_owned(), 2.0)]);
    assert_eq!(outcome.missing, ["the budget of 2 tasks was reached"]);
    let skipped = &outcome.tasks[2];
    assert_eq!((skipped.status, skipped.attempts), (Status::Skipped, 0));
    assert_eq!(skipped.error.as_deref(), Some("the budget of 2 tasks was reached"));
    let (outcome, reached) = run(plan(), Some(3), None);
    assert_eq!((outcome.status, reached.len(), outcome.missing.len()), (Status::Completed, 0, 0));
}

#[test]
fn tasks_deeper_than_the_budget_are_skipped() {
    let plan = vec![
        task("a", Job::Step, &[]),
        task("b", Job::Step, &["a"]),
        task("sum", Job::Calculate, &["b"]),
        task("c", Job::Step, &["sum"]),
        task("d", Job::Step, &["a"]),
    ];
    let (outcome, reached) = run(plan.clone(), None, Some(2));
    assert_eq!((outcome.status, outcome.answer.as_str()), (Status::Incomplete, "a b sum d"));
    assert_eq!(reached, [("depth".to_owned(), 2.0)]);
    assert_eq!(outcome.missing, ["the budget of 2 tasks in a row was reached"]);
    let (outcome, reached) = run(plan.clone(), None, Some(3));
    assert_eq!((outcome.status, reached.len()), (Status::Completed, 0));
    let (outcome, reached) = run(plan, Some(2), Some(1));
    assert_eq!((outcome.answer.as_str(), reached.len()), ("a sum", 1), "each is said once, if it matters");
}

#[test]
fn limits_are_told_with_their_unit() {
    let told = [("tokens", 60.0), ("tokens", 1.0), ("seconds", 0.5), ("tasks", 5.0), ("depth", 1.0)];
    let expected = ["60 tokens", "1 token", "0.5 seconds", "5 tasks", "1 task in a row"];
    assert_eq!(told.map(|(which, limit)| limit_in_words(which, limit)), expected);
}

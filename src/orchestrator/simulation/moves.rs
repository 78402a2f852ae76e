//! Moves of strategies from outside this crate, each in a run whose process is killed after every event.

use std::sync::Arc;

use super::play::{output, play, says};
use crate::advance::{Core, Waits};
use crate::band::Reply;
use crate::event::{EventKind, Search, Split};
use crate::goal::{Goal, PLANNER, plain_goal};
use crate::outcome::{Outcome, Status};
use crate::plan::{Job, Task};
use crate::request::Input;
use crate::state::RunState;
use crate::strategy::{Ended, Move, Prompt, SearchAsked, SplitAsked, Strategy, Verdict};

/// A strategy of which only the moves matter. Every reply is good.
struct Moves(fn(&RunState) -> Move);

impl Strategy for Moves {
    fn next(&self, _: &Goal, state: &RunState) -> Move {
        match (self.0)(state) {
            Move::Wait if state.tasks.iter().all(|task| task.has_ended()) => {
                Move::Answer(Ended { answer: "done".to_owned(), ..Ended::default() })
            }
            other => other,
        }
    }

    fn prompt(&self, _: &Task, _: &Goal, _: &RunState) -> Prompt {
        Prompt::default()
    }

    fn check(&self, _: &Task, _: &Goal, _: &RunState, reply: &Reply) -> Verdict {
        Verdict::Accept(reply.text.clone())
    }
}

fn task(id: &str, job: Job, needs: &[&str]) -> Task {
    Task {
        id: id.to_owned(),
        job,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned()],
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        ..Task::default()
    }
}

fn core(state: RunState, moves: fn(&RunState) -> Move) -> Core {
    let mut goal = plain_goal("a goal");
    goal.inputs.push(Input { name: "a.md".to_owned(), text: "a text".to_owned() });
    Core::new(Arc::new(goal), state, Some(Arc::new(Moves(moves))))
}

fn work(core: Core) -> (Vec<EventKind>, Outcome) {
    let (record, state) = play(core, |_| says("a result"));
    (record, *state.outcome.expect("the run has ended"))
}

/// Runs to the end, and again with a kill after each event.
fn check(moves: fn(&RunState) -> Move, expected: &[&str]) {
    let (record, outcome) = work(core(RunState::new("r", 0), moves));
    let completed = |outcome: &Outcome| -> Vec<String> {
        let reports = outcome.tasks.iter().chain(&outcome.planner_tasks);
        let mut ids: Vec<String> =
            reports.filter(|task| task.status == Status::Completed).map(|task| task.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!((outcome.status, &outcome.error), (Status::Completed, &None));
    assert_eq!(completed(&outcome), expected);
    for kept in 1..record.len() {
        let mut state = RunState::new("r", 0);
        let band = plain_goal("").band;
        let resumed = EventKind::RunResumed { answer: None, band, changed: Vec::new() };
        for (at, event) in record[..kept].iter().chain([&resumed]).enumerate() {
            state.apply(at as u64 + 1, 0, event);
        }
        let (_, outcome) = work(core(state, moves));
        assert_eq!(completed(&outcome), expected, "killed after {:?}", record[kept - 1]);
    }
}

#[test]
fn the_tasks_of_one_move_are_there_together_or_not_at_all() {
    let moves = |state: &RunState| match (state.task("a"), state.task("b")) {
        (None, _) => Move::add(task("a", Job::Step, &[])),
        (Some(a), None) if a.has_ended() => {
            // A task that needs a call of the planner, which is added with it.
            let tasks = vec![task("b", Job::Synthesis, &["a"]), task("c", Job::Step, &["b"])];
            Move::Add { tasks, proposed: None }
        }
        _ => Move::Wait,
    };
    check(moves, &["a", "b", "c"]);
}

#[test]
fn a_task_of_the_plan_may_need_a_call_of_the_planner() {
    let moves = |state: &RunState| match (state.task("plan"), state.task("a")) {
        (None, _) => Move::add(task("plan", Job::Plan, &[])),
        (Some(plan), None) if plan.has_ended() => Move::add(task("a", Job::Step, &["plan"])),
        _ => Move::Wait,
    };
    check(moves, &["a", "plan"]);
}

#[test]
fn a_strategy_that_asks_where_to_cut_an_input_that_is_not_there_fails_and_says_so() {
    let asked =
        |_: &RunState| Move::Split(vec![SplitAsked { input: 7, worker: PLANNER.to_owned(), tokens_max: 9 }]);
    let error = work(core(RunState::new("r", 0), asked)).1.error.unwrap_or_default();
    assert!(error.contains("input 7, but the run has 1"), "{error}");
}

fn replan() -> Move {
    Move::Replan { why: "why not".to_owned(), kept: Vec::new(), dropped: Vec::new() }
}

fn search(query: String) -> Move {
    Move::Search(SearchAsked { query, parts_max: 4 })
}

fn split(tokens_max: usize) -> Move {
    Move::Split(vec![SplitAsked { input: 0, worker: PLANNER.to_owned(), tokens_max }])
}

/// The error of a run whose strategy has a bug, which may be that its run would never end.
fn fault(moves: fn(&RunState) -> Move) -> String {
    let mut core = core(RunState::new("r", 0), moves);
    loop {
        match core.advance(0).1 {
            Waits::Over => break,
            Waits::ForSplits(asked) => {
                let split = |SplitAsked { input, worker, tokens_max }| Split {
                    input,
                    worker,
                    tokens_max,
                    parts: Vec::new(),
                };
                core.take(0, &EventKind::InputsSplit { splits: asked.into_iter().map(split).collect() });
            }
            Waits::ForSearch(asked) => {
                let search = Search { query: asked.query, ..Search::default() };
                core.take(0, &EventKind::InputsSearched { search });
            }
            Waits::ForCalls => {
                let planned = core.calls(&|_, _| false).swap_remove(0);
                core.take(0, &output(planned, says("a result")));
            }
        }
    }
    let outcome = core.state.outcome.expect("the run has ended");
    assert_eq!(outcome.status, Status::Failed);
    outcome.error.unwrap_or_default()
}

#[test]
fn a_run_that_would_never_end_fails_and_says_that_the_strategy_has_a_bug() {
    let check = |moves: fn(&RunState) -> Move, expected: &str| {
        let error = fault(moves);
        assert!(error.contains(expected) && error.ends_with("this is a bug in it"), "{error}");
    };
    check(|_| replan(), "plans again more than 100 times");
    // Each new plan is made after a call.
    check(
        |state| match state.tasks.last() {
            Some(last) if !last.has_ended() => Move::Wait,
            _ if state.tasks.len() > state.replans.len() => replan(),
            _ => Move::add(task(&format!("plan{}", state.tasks.len()), Job::Plan, &[])),
        },
        "plans again more than 100 times",
    );
    check(
        |state| Move::add(task(&format!("t{}", state.tasks.len()), Job::Calculate, &[])),
        "makes more than 1000 moves without waiting for a call",
    );
    check(
        |_| {
            let tasks = (0..100_001).map(|number| task(&format!("t{number}"), Job::Calculate, &[]));
            Move::Add { tasks: tasks.collect(), proposed: None }
        },
        "adds more than 100000 tasks",
    );
    check(|_| split(9), "asks again where to cut input 0 for planner");
    check(|state| split(state.splits.len()), "asks in more than 100 ways where to cut input 0");
    check(|_| Move::Split(Vec::new()), "asks to cut no input");
    check(|_| search("sheep".to_owned()), "searches again for \"sheep\"");
    check(|state| search(state.searches.len().to_string()), "searches more than 100 times");
}

#[test]
fn nothing_is_cut_in_a_run_that_is_being_stopped() {
    let mut state = RunState::new("r", 0);
    state.apply(1, 0, &EventKind::RunCancelled);
    let moves =
        |_: &RunState| Move::Split(vec![SplitAsked { input: 0, worker: PLANNER.to_owned(), tokens_max: 9 }]);
    assert_eq!(work(core(state, moves)).1.status, Status::Cancelled);
}

//! Moves of strategies from outside this crate, each in a run whose process is killed after every event.

use std::sync::Arc;

use crate::advance::{Core, Planned, Waits};
use crate::band::{Finish, Reply};
use crate::event::{CallEnd, EventKind};
use crate::goal::{Goal, PLANNER, plain_goal};
use crate::outcome::{Outcome, Status};
use crate::plan::{Job, Task};
use crate::state::RunState;
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};

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
    Core::new(Arc::new(plain_goal("a goal")), state, Some(Arc::new(Moves(moves))))
}

/// Works until the run ends, and returns all events.
fn work(mut core: Core) -> (Vec<EventKind>, Outcome) {
    let mut record = Vec::new();
    loop {
        let (events, waits) = core.advance(0);
        record.extend(events);
        if waits == Waits::Over {
            return (record, *core.state.outcome.expect("the run has ended"));
        }
        let Planned { task, attempt, worker, .. } = core.calls(&|_, _| false).swap_remove(0);
        let event = EventKind::TaskOutput {
            task,
            attempt,
            worker,
            model: String::new(),
            prompt: String::new(),
            prompt_template: None,
            sampling: serde_json::Value::Null,
            output: "a result".to_owned(),
            usage: Default::default(),
            end: CallEnd::Reply(Finish::Stop),
            steps: [0, 0],
        };
        core.take(0, &event);
        record.push(event);
    }
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

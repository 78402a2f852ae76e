use super::*;
use crate::goal::PLANNER;
use crate::outcome::Status;
use crate::state::{Failure, RunState};

fn worker(name: &str, context_tokens: usize, skills: &[Skill]) -> WorkerInfo {
    WorkerInfo {
        worker: name.to_owned(),
        model: format!("m-{name}"),
        context_tokens,
        skills: skills.to_vec(),
    }
}

/// A planner of 4000 tokens, a finder of 2000, a reader of 8000 and one that only writes and has 6000.
fn band() -> BandInfo {
    BandInfo {
        planner: worker(PLANNER, 4000, &[]),
        workers: vec![
            worker("finder", 2000, &[Skill::Find]),
            worker("writer", 6000, &[Skill::Write]),
            worker("reader", 8000, &[Skill::Read, Skill::Find]),
        ],
    }
}

/// A task after attempts, each with its place on the ladder and why it failed.
fn task(job: Job, ladder: &[&str], attempts: &[(usize, FailureClass, Option<&str>)]) -> TaskState {
    let task = Task {
        id: "t1".to_owned(),
        job,
        ladder: ladder.iter().map(|worker| (*worker).to_owned()).collect(),
        ..Task::default()
    };
    let mut state = RunState::new("r", 0);
    state.apply(1, 0, &crate::event::EventKind::TasksAdded { tasks: vec![task.clone()] });
    let mut state = state.tasks.swap_remove(0);
    state.status = Status::InProgress;
    for (at, (rung, class, kept)) in attempts.iter().enumerate() {
        let worker = worker_at(&task, &band(), *rung).unwrap_or_default().to_owned();
        state.attempts.push(Attempt {
            attempt: at as u32 + 1,
            model: band().get(&worker).map_or_else(String::new, |info| info.model.clone()),
            worker,
            rung: *rung,
            error: Some("why".to_owned()),
            failure: Some(Failure { class: *class, kept: kept.map(str::to_owned), doubtful: false }),
            ..Attempt::default()
        });
    }
    state
}

/// Who tries a task next and after how long, or how it ends.
fn then(job: Job, ladder: &[&str], attempts: &[(usize, FailureClass, Option<&str>)]) -> String {
    let state = task(job, ladder, attempts);
    match next(&state, &band()) {
        Next::Try { rung, wait_ms } => {
            format!("{} {wait_ms}", worker_at(&state.task, &band(), rung).unwrap())
        }
        Next::Accept { output, .. } => format!("accept {output}"),
        Next::Fail { .. } => "fail".to_owned(),
    }
}

use FailureClass::{Content, Resource, Stalled, Transient};

#[test]
fn trouble_that_may_pass_is_tried_three_times_and_then_left_to_the_next() {
    let ladder = ["finder", "finder", PLANNER];
    let attempts = [(0, Transient, None); 4];
    for (made, expected) in [(1, "finder 250"), (2, "finder 500"), (3, "finder 1000"), (4, "finder 0")] {
        assert_eq!(then(Job::Read, &ladder, &attempts[..made]), expected, "{made}");
    }
}

#[test]
fn what_a_model_has_no_room_for_goes_to_one_with_more_even_if_it_is_not_on_the_ladder() {
    let ladder = ["finder", "finder", PLANNER];
    assert_eq!(then(Job::Read, &ladder, &[(0, Resource, None)]), "planner 0", "not the same model");
    let both = [(0, Resource, None), (2, Resource, None)];
    assert_eq!(then(Job::Read, &ladder, &both), "reader 0", "the one with most room");
    let three = [both[0], both[1], (3, Resource, None)];
    assert_eq!(then(Job::Read, &ladder, &three), "fail", "the others have less room");
    let alone = ["reader", "reader"];
    assert_eq!(then(Job::Read, &alone, &[(0, Resource, None)]), "fail", "nobody has more");
}

#[test]
fn a_model_that_stalls_twice_is_not_asked_again() {
    let ladder = [PLANNER, PLANNER, PLANNER];
    assert_eq!(then(Job::Plan, &ladder, &[(0, Stalled, None)]), "planner 0");
    let dead = [(0, Stalled, None), (1, Stalled, None)];
    assert_eq!(then(Job::Plan, &ladder, &dead), "reader 0");
    assert_eq!(then(Job::Synthesis, &ladder, &dead), "reader 0", "another one words the answer");
    let again = [dead[0], dead[1], (3, Stalled, None)];
    assert_eq!(then(Job::Plan, &ladder, &again), "writer 0");
    let all = [dead[0], dead[1], (3, Stalled, None), (4, Stalled, None)];
    assert_eq!(then(Job::Plan, &ladder, &all), "fail", "a finder can't plan");
}

#[test]
fn a_planner_that_writes_no_plan_is_replaced_and_other_bad_replies_are_not() {
    let ladder = [PLANNER, PLANNER];
    let bad = [(0, Content, None), (1, Content, None)];
    assert_eq!(then(Job::Plan, &ladder, &bad), "reader 0");
    assert_eq!(then(Job::Step, &ladder, &bad), "fail");
    let kept = [(0, Content, Some("usable")), (1, Content, None)];
    assert_eq!(then(Job::Plan, &ladder, &kept), "accept usable", "what can be used is used");
}

#[test]
fn trouble_of_one_that_stands_in_may_pass_too() {
    let ladder = [PLANNER, PLANNER];
    let bad = [(0, Content, None), (1, Content, None), (2, Transient, None)];
    assert_eq!(then(Job::Plan, &ladder, &bad), "reader 250");
}

#[test]
fn a_worker_that_asked_goes_on_with_the_answer_though_one_before_it_can_be_had_again() {
    let ladder = ["finder", "writer", "reader"];
    let mut state =
        task(Job::Read, &ladder, &[(0, FailureClass::Resource, None), (2, FailureClass::Content, None)]);
    // It asked instead of failing. The writer was passed over when it did.
    state.attempts[1].failure = None;
    assert_eq!(next(&state, &band()), Next::Try { rung: 2, wait_ms: 0 });
}

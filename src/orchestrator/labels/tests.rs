use serde_json::json;

use super::*;
use crate::band::Finish;
use crate::event::EventKind;
use crate::goal::plain_goal;
use crate::plan::{Slice, Task};
use crate::report::conclude;
use crate::strategy::Ended;

/// A run of the tasks, in progress.
fn run(tasks: Vec<Task>) -> RunState {
    let mut run = RunState::new("r", 0);
    run.band = Some(plain_goal("").band);
    run.apply(1, 0, &EventKind::TasksAdded { tasks });
    run
}

fn task(id: &str, instruction: &str) -> Task {
    Task {
        id: id.to_owned(),
        job: Job::Step,
        instruction: instruction.to_owned(),
        tokens_max: 50,
        ..Task::default()
    }
}

fn one() -> RunState {
    run(vec![task("t1", "name the ship")])
}

/// Adds an attempt with its reply and, if it was rejected, why.
fn reply(run: &mut RunState, task: &str, output: &str, more: impl Fn(&mut Attempt)) {
    let task = run.tasks.iter_mut().find(|one| one.id == task).unwrap();
    let mut attempt = Attempt {
        attempt: task.attempts.len() as u32 + 1,
        output: output.to_owned(),
        end: Some(CallEnd::Reply(Finish::Stop)),
        ..Attempt::default()
    };
    more(&mut attempt);
    task.attempts.push(attempt);
}

fn rejected(attempt: &mut Attempt) {
    let failure = crate::state::Failure { class: FailureClass::Content, kept: None, doubtful: false };
    attempt.failure = Some(failure);
}

fn finish(run: &mut RunState, task: &str, status: Status, output: &str) {
    let task = run.tasks.iter_mut().find(|one| one.id == task).unwrap();
    (task.status, task.output) = (status, output.to_owned());
}

fn end(run: &mut RunState, answer: &str) {
    let ended = Ended { answer: answer.to_owned(), ..Ended::default() };
    let outcome = Box::new(conclude(run, ended, 0));
    run.apply(9, 0, &EventKind::RunFinished { outcome });
}

fn modes(run: &RunState) -> Vec<(FailureMode, String)> {
    labels(run).into_iter().map(|label| (label.mode, label.task)).collect()
}

/// Checks that a run has one label and no other.
fn check(run: &RunState, mode: FailureMode, task: &str, why: &str) {
    let found = labels(run);
    let [label] = &found[..] else { panic!("{found:?}") };
    assert_eq!((label.mode, label.task.as_str()), (mode, task));
    assert!(label.why.contains(why), "{label:?}");
}

#[test]
fn a_run_without_trouble_has_no_label() {
    let mut run = run(vec![task("t1", "name the ship"), task("t2", "name its captain")]);
    for (id, output) in [("t1", "The Anna."), ("t2", "Ada Brown.")] {
        reply(&mut run, id, output, |_| {});
        finish(&mut run, id, Status::Completed, output);
    }
    assert_eq!(modes(&run), [], "in progress");
    end(&mut run, "Ada Brown, of the Anna.");
    assert_eq!(modes(&run), []);
}

#[test]
fn a_rejected_reply_that_is_given_again_is_a_repeated_step() {
    let mut again = one();
    reply(&mut again, "t1", "The Anna", rejected);
    reply(&mut again, "t1", "The Berta", rejected);
    assert_eq!(modes(&again), []);
    reply(&mut again, "t1", "The Anna", rejected);
    check(
        &again,
        FailureMode::StepRepeated,
        "t1",
        "attempt 3 gave the reply again that was rejected in attempt 1",
    );
}

#[test]
fn a_task_that_does_what_another_has_done_is_a_repeated_step() {
    let twice = |second: Task, result: &str| {
        let mut run = run(vec![task("t1", "Name the ship."), second]);
        finish(&mut run, "t1", Status::Completed, "The Anna");
        finish(&mut run, "t2", Status::Completed, result);
        run
    };
    check(
        &twice(task("t2", "name the ship"), "The Anna"),
        FailureMode::StepRepeated,
        "t2",
        "what t1 had done",
    );
    assert_eq!(modes(&twice(task("t2", "name the ship"), "The Berta")), []);
    assert_eq!(modes(&twice(task("t2", "name the captain"), "The Anna")), []);
    let ballot = Task { job: Job::Ballot { number: 1 }, ..task("t2", "Name the ship.") };
    assert_eq!(modes(&twice(ballot, "The Anna")), []);
}

#[test]
fn a_task_that_never_ended_is_lost() {
    let mut run = one();
    assert_eq!(modes(&run), [], "the run may still do it");
    end(&mut run, "");
    check(&run, FailureMode::TaskLost, "t1", "it is queued");
    let mut run = one();
    finish(&mut run, "t1", Status::Cancelled, "");
    end(&mut run, "");
    assert_eq!(modes(&run), [], "it was cancelled");
}

#[test]
fn a_reply_of_another_shape_disobeys_it() {
    let item = json!({"type": "string"});
    let schema = json!({
        "type": "object",
        "properties": {
            "answer": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "kind": {"enum": ["a", "b"]},
            "names": {"type": "array", "items": item},
        },
        "required": ["answer"],
    });
    for (output, why) in [
        (r#"{"answer": 5}"#, None),
        (r#"{"answer": null, "kind": "b", "names": ["x"], "more": 1}"#, None),
        ("five", Some("is not JSON")),
        ("5", Some("5 is not of type")),
        ("{}", Some("it lacks answer")),
        (r#"{"answer": "5"}"#, Some("is not of type")),
        (r#"{"answer": 5, "kind": "c"}"#, Some("is not among")),
        (r#"{"answer": 5, "names": [7]}"#, Some("7 is not of type")),
    ] {
        let mut run = one();
        reply(&mut run, "t1", output, |attempt| {
            attempt.sampling = json!({"schema": schema, "tokens_max": 50})
        });
        match why {
            Some(why) => check(&run, FailureMode::ShapeDisobeyed, "t1", why),
            None => assert_eq!(modes(&run), [], "{output}"),
        }
    }
    let mut free = one();
    reply(&mut free, "t1", "five", |attempt| attempt.sampling = json!({"schema": null}));
    assert_eq!(modes(&free), [], "no shape was asked for");
}

#[test]
fn a_reply_that_does_not_come_to_its_end_is_unaware_of_it() {
    let cut = |tokens_max: u32| {
        let mut run = one();
        reply(&mut run, "t1", "and so on and", |attempt| {
            attempt.end = Some(CallEnd::Reply(Finish::Length));
            attempt.sampling = json!({"tokens_max": tokens_max});
        });
        run
    };
    check(&cut(50), FailureMode::UnawareOfEnd, "t1", "cut off");
    assert_eq!(modes(&cut(7)), [], "a budget cut it off");
    let mut run = one();
    reply(&mut run, "t1", &"and it grows in the sun ".repeat(12), |_| {});
    check(&run, FailureMode::UnawareOfEnd, "t1", "attempt 1 repeats itself");
}

#[test]
fn an_answer_that_lacks_the_result_of_a_task_is_made_without_it() {
    let ended = |status: Status, error: &str| {
        let mut run = run(vec![task("t1", "name the ship"), task("t2", "name its captain")]);
        finish(&mut run, "t1", Status::Completed, "The Anna");
        finish(&mut run, "t2", status, "");
        run.tasks[1].error = Some(error.to_owned());
        run
    };
    let mut failed = ended(Status::Failed, "the model stopped");
    assert_eq!(modes(&failed), [], "there is no answer yet");
    end(&mut failed, "The Anna.");
    check(&failed, FailureMode::AnswerWithoutTask, "t2", "the model stopped");
    let mut dropped = ended(Status::Skipped, "nobody needs it");
    end(&mut dropped, "The Anna.");
    assert_eq!(modes(&dropped), []);
    let mut over = ended(Status::Skipped, "the budget of 1 task was reached");
    over.budgets_reached.push(("tasks".to_owned(), 1.0));
    end(&mut over, "The Anna.");
    check(&over, FailureMode::AnswerWithoutTask, "t2", "budget");
}

#[test]
fn a_text_that_was_read_in_parts_is_not_missed() {
    let reading = |id: &str, bytes| Task {
        job: Job::Read,
        input: Some(Slice { index: 0, name: "a".to_owned(), part: 0, parts: 1, bytes }),
        ..task(id, "find the ship")
    };
    let mut run = run(vec![reading("t1", 0..100), reading("t2", 0..50), reading("t3", 50..100)]);
    finish(&mut run, "t1", Status::Failed, "");
    finish(&mut run, "t2", Status::Completed, "a");
    finish(&mut run, "t3", Status::Completed, "b");
    end(&mut run, "The Anna.");
    assert_eq!(modes(&run), []);
}

#[test]
fn a_reply_that_speaks_for_the_user_or_refuses_disobeys_its_role() {
    for (output, prompt, why) in [
        ("The Anna.\nUser: And its captain?", "Name the ship.", Some("speaks for the user")),
        ("The Anna.\nUser: And its captain?", "User: Hello.\nGo on with the dialogue.", None),
        ("The Anna.<|im_end|>\n<|im_start|>user", "<|im_start|>user\nName it.", Some("speaks for the user")),
        ("As an AI language model, I have no ships.", "Name the ship.", Some("refuses")),
        ("I’m sorry, but I can’t do that.", "Name the ship.", Some("refuses")),
        ("Every user: a ship.", "Name the ship.", None),
        ("It answers as an AI would.", "Name the ship.", None),
    ] {
        let mut run = one();
        reply(&mut run, "t1", output, |attempt| prompt.clone_into(&mut attempt.prompt));
        match why {
            Some(why) => check(&run, FailureMode::RoleDisobeyed, "t1", why),
            None => assert_eq!(modes(&run), [], "{output}"),
        }
    }
}

#[test]
fn names_are_those_of_the_json() {
    for mode in [
        FailureMode::StepRepeated,
        FailureMode::TaskLost,
        FailureMode::ShapeDisobeyed,
        FailureMode::UnawareOfEnd,
        FailureMode::AnswerWithoutTask,
        FailureMode::RoleDisobeyed,
    ] {
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
    }
}

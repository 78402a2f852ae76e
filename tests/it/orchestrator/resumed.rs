//! Runs that go on after they were stopped, after their process was killed, or with an answer to their question.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bandmaster::journal::Event;
use bandmaster::orchestrator::{
    Answer, Call, Cancel, EventKind, RunRequest, StartError, Status, StrategyName, answer, recorded, replay,
    resume, state,
};
use serde_json::{Value, json};

use super::scripted::*;

/// How often a model was called.
fn calls(model: &Arc<Scripted>) -> usize {
    model.calls.load(Ordering::SeqCst)
}

#[test]
fn a_cancelled_run_goes_on_with_what_was_not_done() {
    let stalls = scripted("small", |call, _| if sheep(call) == 30 { Act::Stall } else { reading(call) });
    let cancel = Cancel::new();
    let from_inside = cancel.clone();
    let mut finished = 0;
    let ran = play_with(&obedient_planner(), &[stalls], None, &map_request(3), &cancel, move |event| {
        if matches!(&event.kind, EventKind::TaskFinished { task, .. } if task != "plan") {
            finished += 1;
            if finished == 2 {
                from_inside.cancel();
            }
        }
    });
    assert_eq!(ran.outcome.status, Status::Cancelled);
    let (id, answered) = (ran.outcome.id.clone(), ran.outcome.answer.clone());
    let start = resume(&ran.journal, &id).unwrap();
    assert!(answered.contains("Farm number 0: 10") && start.state().answer == answered);
    let (planner, worker) = (obedient_planner(), scripted("small", |call, _| reading(call)));
    let ran = ran.go_on(&planner, &[Arc::clone(&worker)], start);
    assert_eq!((ran.outcome.id.as_str(), ran.outcome.status), (id.as_str(), Status::Completed));
    assert!(ran.outcome.answer.contains("Total: 60"), "{}", ran.outcome.answer);
    assert!(ran.outcome.missing.is_empty(), "{:?}", ran.outcome.missing);
    assert_eq!(calls(&worker), 1, "only what was not read is read");
    assert_eq!(sheep(&worker.seen.lock().unwrap()[0]), 30);
    assert_eq!(calls(&planner), 1, "the plan stays, and the answer is worded");
    assert_eq!((ran.types()[0], ran.types().len()), ("run.resumed", ran.events.len()));
    let state = state(&ran.journal, &id).unwrap();
    assert_eq!((state.status, &state.answer), (Status::Completed, &ran.outcome.answer));
    assert!(matches!(resume(&ran.journal, &id), Err(StartError::Ended { .. })));
}

/// Readers of which one is wrong at first.
fn readers() -> Arc<Scripted> {
    let wrong = |call: &Call| sheep(call) == 20 && call.temperature == 0.0;
    scripted("small", move |call, _| if wrong(call) { say("no JSON") } else { reading(call) })
}

#[test]
fn a_run_that_is_killed_at_any_moment_comes_to_the_same_end() {
    let request = map_request(3);
    let ran = play(&obedient_planner(), &[readers()], &request);
    assert!(ran.outcome.status == Status::Completed && ran.count("task.retried") == 1);
    let events: Vec<Event> = ran.journal.events(&ran.outcome.id, 0).unwrap();
    let outputs = |events: &[Event]| events.iter().filter(|event| event.kind == "task.output").count();
    for left in 1..events.len() {
        let (folder, journal, id) = killed_after(&events[..left], &request.inputs);
        let start = resume(&journal, &id).unwrap();
        assert_eq!(start.state().last_seq, left as u64);
        drop(journal);
        let (planner, worker) = (obedient_planner(), readers());
        let after = go_on(folder, &planner, &[Arc::clone(&worker)], start);
        let last = &events[left - 1].kind;
        assert_eq!(after.outcome.status, Status::Completed, "{left}, {last}: {:?}", after.outcome);
        assert_eq!(after.outcome.answer, ran.outcome.answer, "{left}, {last}");
        let made = calls(&planner) + calls(&worker);
        assert_eq!(
            made,
            outputs(&events) - outputs(&events[..left]),
            "{left}, {last}: nothing is done twice"
        );
        let attempts = |outcome: &bandmaster::orchestrator::Outcome| -> Vec<(String, u32)> {
            outcome.tasks.iter().map(|task| (task.id.clone(), task.attempts)).collect()
        };
        assert_eq!(attempts(&after.outcome), attempts(&ran.outcome), "{left}, {last}");
        let whole = after.journal.events(&id, 0).unwrap();
        assert_eq!((whole[left].kind.as_str(), whole[left].seq), ("run.resumed", left as u64 + 1));
    }
}

#[test]
fn a_question_is_answered_in_the_same_run() {
    let ran =
        play(&scripted("big", |_, _| Act::Panic), &[], &RunRequest::new("Summarise the attached minutes."));
    let id = ran.outcome.id.clone();
    assert_eq!((ran.outcome.status, ran.outcome.strategy), (Status::RequiresAction, StrategyName::Ask));
    assert!(matches!(resume(&ran.journal, &id), Err(StartError::NeedsAnswer { .. })));
    let start = answer(&ran.journal, &id, Answer::Text("They met on Monday.".to_owned())).unwrap();
    let planner = scripted("big", |_, _| say("It was a Monday."));
    let ran = ran.go_on(&planner, &[], start);
    assert_eq!((ran.outcome.id.as_str(), ran.outcome.is_whole()), (id.as_str(), true));
    assert_eq!(
        (ran.outcome.answer.as_str(), ran.outcome.strategy),
        ("It was a Monday.", StrategyName::Direct)
    );
    assert_eq!(ran.streamed, "It was a Monday.");
    let prompt = &planner.seen.lock().unwrap()[0];
    assert!(last(prompt).contains("(answer)") && last(prompt).contains("They met on Monday."), "{prompt:?}");
    let resumed: &Value = &ran.events[0];
    assert_eq!(
        (&resumed["type"], &resumed["answer"]),
        (&"run.resumed".into(), &"They met on Monday.".into())
    );
    assert!(ran.journal.inputs(&id).unwrap().is_empty(), "an answer is in the events");
    assert!(matches!(
        answer(&ran.journal, &id, Answer::Text("More.".to_owned())),
        Err(StartError::NoQuestion { .. })
    ));
}

#[test]
fn a_failed_run_is_tried_again_from_the_first_on_the_ladder() {
    let ran = play(&scripted("big", |_, _| Act::Panic), &[], &RunRequest::new("Who was here?"));
    assert_eq!((ran.outcome.status, ran.outcome.tasks[0].attempts), (Status::Failed, 2));
    let start = resume(&ran.journal, &ran.outcome.id).unwrap();
    let ran = ran.go_on(&scripted("big", |_, _| say("Nobody.")), &[], start);
    assert_eq!((ran.outcome.is_whole(), ran.outcome.answer.as_str()), (true, "Nobody."));
    // Attempts are counted on, so that each has its own number.
    assert_eq!(ran.outcome.tasks[0].attempts, 3);
    let retried = ran.events.iter().find(|event| event["type"] == "task.retried").unwrap();
    assert_eq!((&retried["attempt"], &retried["rung"]), (&3.into(), &0.into()));
}

#[test]
fn an_input_whose_file_has_changed_is_named_and_what_read_it_is_done_again() {
    let mut request = map_request(3);
    request.paths = (0..3).map(|n| Some(format!("/farms/farm{n}.md"))).collect();
    let reader = || {
        scripted("small", |call, _| match last(call).contains("sheep in winter") {
            true => reading(call),
            false => say(json!({"subject": "", "answer": null}).to_string()),
        })
    };
    let ran = play(&obedient_planner(), &[reader()], &request);
    let events: Vec<Event> = ran.journal.events(&ran.outcome.id, 0).unwrap();
    let worded = |event: &Event| event.kind == "task.started" && event.body["task"] == "synthesis";
    let left = events.iter().position(worded).unwrap();
    let short = "Farm number 6 lies by the sea.\n\nIt keeps 70 sheep in winter.".to_owned();
    // One that has to be read in parts, so that all are planned anew.
    let long = format!("{short}\n\n{}", "And so on.\n\n".repeat(4_000));
    for (new, read) in [(short, 1..=1), (long, 4..=9)] {
        let (folder, journal, id) = killed_after(&events[..left], &request.inputs);
        let mut start = resume(&journal, &id).unwrap();
        drop(journal);
        assert!(!start.read_again(0, request.inputs[0].text.clone()).unwrap(), "it is the same");
        assert!(start.read_again(1, new.clone()).unwrap());
        assert!(matches!(start.read_again(3, new.clone()), Err(StartError::NoInput { .. })));
        let worker = reader();
        let ran = go_on(folder, &obedient_planner(), &[Arc::clone(&worker)], start);
        assert!(ran.outcome.answer.contains("Total: 110"), "{}", ran.outcome.answer);
        assert!(read.contains(&calls(&worker)), "{} calls", calls(&worker));
        assert!(worker.seen.lock().unwrap().iter().any(|call| last(call).contains("70 sheep")));
        let changed = &ran.events[0]["changed"];
        assert_eq!((changed.as_array().unwrap().len(), &changed[0]["input"]), (1, &json!(1)));
        assert_eq!((&changed[0]["name"], &changed[0]["text"]), (&json!("farm1.md"), &json!(new)));
        assert_eq!(changed[0]["path"], "/farms/farm1.md");
        assert_ne!(changed[0]["sha256"], events[0].body["inputs"][1]["sha256"]);
        // Each stretch of the run is replayed with the texts that it had.
        let (run, start) = recorded(&ran.journal, &id).unwrap();
        let replayed = replay(&run, &start, None);
        assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
        assert_eq!((&replayed.answer, &start.request.inputs[1].text), (&ran.outcome.answer, &new));
        assert!(start.changed_inputs().next().is_none());
    }
}

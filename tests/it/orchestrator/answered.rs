//! What a record must say so that a run that had a question or a budget can be replayed and taken up.

use bandmaster::journal::Event;
use bandmaster::orchestrator::{
    Answer, Budget, RunRequest, Status, StrategyName, answer, recorded, replay, resume, state,
};

use super::scripted::*;

/// A run that asked for a text, got it and was completed.
fn answered() -> Ran {
    let planner = scripted("big", |_, _| Act::Panic);
    let ran = play(&planner, &[], &RunRequest::new("Summarise the attached minutes."));
    assert_eq!(ran.outcome.status, Status::RequiresAction);
    let start =
        answer(&ran.journal, &ran.outcome.id, Answer::Text("They met on Monday.".to_owned())).unwrap();
    let ran = ran.go_on(&scripted("big", |_, _| say("It was a Monday.")), &[], start);
    assert!(ran.outcome.is_whole());
    ran
}

#[test]
fn a_run_that_was_given_an_answer_is_replayed_without_differences() {
    let ran = answered();
    let (run, start) = recorded(&ran.journal, &ran.outcome.id).unwrap();
    let replayed = replay(&run, &start, None);
    assert!(replayed.differences.is_empty(), "{:#?}", replayed.differences);
    assert_eq!(replayed.answer, "It was a Monday.");
}

#[test]
fn a_run_that_is_killed_after_it_was_given_an_answer_does_not_ask_again() {
    let ran = answered();
    let events: Vec<Event> = ran.journal.events(&ran.outcome.id, 0).unwrap();
    let resumed = events.iter().position(|event| event.kind == "run.resumed").unwrap();
    for left in resumed + 1..events.len() {
        let (folder, journal, id) = killed_after(&events[..left], &[]);
        let start = resume(&journal, &id).unwrap();
        drop(journal);
        let after = go_on(folder, &scripted("big", |_, _| say("It was a Monday.")), &[], start);
        let outcome = &after.outcome;
        assert_eq!((outcome.is_whole(), outcome.strategy), (true, StrategyName::Direct), "{left} events");
    }
}

#[test]
fn the_record_says_how_many_tokens_a_budget_left_for_a_call() {
    let planner = scripted("big", |_, _| Act::Babble);
    let budget = Budget { tokens: Some(60), ..Budget::default() };
    let ran = play(&planner, &[], &RunRequest { budget, ..RunRequest::new("Who was here?") });
    let made = planner.seen.lock().unwrap()[0].tokens_max;
    let state = state(&ran.journal, &ran.outcome.id).unwrap();
    assert_eq!(made, 60);
    assert_eq!(state.tasks[0].attempts[0].sampling["tokens_max"], made);
}

//! What happens when a model fails, lies, stalls, panics or never stops, and when a budget or a person ends the run.

use std::time::{Duration, Instant};

use bandmaster::orchestrator::{
    Budget, Call, CallErrorKind, Cancel, EventKind, RunRequest, Status, StrategyName, state,
};
use serde_json::{Value, json};

use super::scripted::*;

#[test]
fn a_lying_worker_is_corrected_by_the_planner() {
    let liar = scripted("small", |_, _| say(json!({"subject": "Farm", "answer": 999}).to_string()));
    let ran = play(&obedient_planner(), &[liar], &map_request(3));
    assert_eq!(ran.outcome.status, Status::Completed);
    assert!(ran.outcome.answer.contains("Total: 60"), "{}", ran.outcome.answer);
    assert!(ran.outcome.tasks[..3].iter().all(|task| task.model == "big" && task.attempts == 3));
    assert_eq!(ran.count("task.retried"), 6);
}

#[test]
fn a_model_that_fails_panics_or_stalls_costs_a_task_and_not_the_run() {
    for fault in ["fail", "panic", "stall"] {
        let act = move || match fault {
            "fail" => Act::Fail(CallErrorKind::Transient),
            "panic" => Act::Panic,
            _ => Act::Stall,
        };
        let broken = move |call: &Call| call.messages[0].content.contains("keeps 20 sheep");
        let worker = scripted("small", move |call, _| if broken(call) { act() } else { reading(call) });
        let planner = scripted("big", move |call, _| {
            if call.schema.is_none() {
                return say("unusable");
            }
            if last(call).contains("look up in every single text") {
                return say(slots());
            }
            act()
        });
        let mut request = map_request(3);
        request.stall_after = Duration::from_millis(60);
        let ran = play(&planner, &[worker], &request);
        let outcome = &ran.outcome;
        assert_eq!((outcome.status, outcome.exit_code()), (Status::Incomplete, 3), "{fault}: {outcome:?}");
        assert_eq!(outcome.tasks[1].status, Status::Failed, "{fault}");
        // The worker is tried twice and then the planner. What may pass is tried four times by each.
        let attempts = if fault == "fail" { 12 } else { 3 };
        assert_eq!(outcome.tasks[1].attempts, attempts, "{fault}");
        assert_eq!((outcome.tasks[1].worker.as_str(), outcome.tasks[1].model.as_str()), ("planner", "big"));
        assert!(outcome.missing[0].contains("farm1.md"), "{fault}: {:?}", outcome.missing);
        // The planner's wording had none of the facts, so they are listed plainly.
        assert!(
            outcome.answer.contains("Farm number 0: 10") && outcome.answer.contains("Total: 40"),
            "{}",
            outcome.answer
        );
        assert!(outcome.answer.contains("Missing"), "{}", outcome.answer);
    }
}

#[test]
fn a_section_that_runs_in_circles_is_written_again() {
    let worker = scripted("small", |_, number| {
        if number == 0 { say("and it grows in the sun ".repeat(12)) } else { say("It grows.") }
    });
    let mut request = RunRequest::new("Write about roses in sections: soil, water.");
    request.strategy = Some(StrategyName::Parallel);
    let ran = play(&scripted("big", |_, _| Act::Panic), &[worker], &request);
    assert_eq!(ran.outcome.status, Status::Completed);
    assert_eq!(ran.count("task.failed"), 1);
}

#[test]
fn a_token_budget_ends_the_run_with_the_best_answer() {
    let planner = scripted("big", |_, _| Act::Babble);
    let mut request = RunRequest::new("Tell me a long story.");
    request.budget = Budget { tokens: Some(60), ..Budget::default() };
    let ran = play(&planner, &[], &request);
    assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::Incomplete, 3));
    assert!(ran.outcome.answer.starts_with("word0 word1"), "{}", ran.outcome.answer);
    assert!(ran.outcome.usage.tokens.completion_tokens <= 60);
    assert!(!ran.outcome.missing.is_empty());
}

#[test]
fn a_time_budget_keeps_what_is_finished() {
    let worker = scripted("small", |call, _| if sheep(call) == 30 { Act::Stall } else { reading(call) });
    let mut request = map_request(3);
    request.budget = Budget { time: Some(Duration::from_millis(300)), ..Budget::default() };
    let started = Instant::now();
    let ran = play(&obedient_planner(), &[worker], &request);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(ran.outcome.status, Status::Incomplete);
    assert!(ran.outcome.answer.contains("Farm number 1: 20"), "{}", ran.outcome.answer);
    assert_eq!(ran.count("budget.reached"), 1);
    assert!(ran.outcome.missing.iter().any(|missing| missing.contains("budget")));
}

#[test]
fn a_person_who_cancels_gets_what_is_finished() {
    let worker = scripted("small", |call, _| if sheep(call) == 30 { Act::Stall } else { reading(call) });
    let cancel = Cancel::new();
    let from_inside = cancel.clone();
    let mut finished = 0;
    let ran = play_with(&obedient_planner(), &[worker], None, &map_request(3), &cancel, move |event| {
        if matches!(&event.kind, EventKind::TaskFinished { task, .. } if task != "plan") {
            finished += 1;
            if finished == 2 {
                from_inside.cancel();
            }
        }
    });
    assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::Cancelled, 130));
    assert!(ran.outcome.answer.contains("Farm number 0: 10"), "{}", ran.outcome.answer);
}

#[test]
fn what_cannot_be_done_says_why() {
    let planner = scripted("big", |_, _| Act::Panic);
    let check = |request: &RunRequest, part: &str| {
        let ran = play(&planner, &[], request);
        assert_eq!((ran.outcome.status, ran.outcome.exit_code()), (Status::Failed, 1));
        assert!(ran.outcome.error.as_deref().unwrap().contains(part), "{:?}", ran.outcome.error);
    };
    check(&RunRequest::new("  "), "empty");
    check(&RunRequest::new("word ".repeat(9000)), "--context-tokens");
    check(&RunRequest { strategy: Some(StrategyName::Map), ..RunRequest::new("Sum them.") }, "-f");
    check(&RunRequest { strategy: Some(StrategyName::Cascade), ..RunRequest::new("Sum.") }, "not available");
    check(&RunRequest::new("Anything?"), "stopped unexpectedly");
    let named = |name: &str| name.parse::<StrategyName>().unwrap_err().to_string();
    assert!(named("react").contains("not available") && named("react").contains("direct, find, map"));
    assert!(named("juggle").contains("no strategy"));
}

#[test]
fn a_rejected_attempt_is_not_part_of_the_streamed_answer() {
    let planner = scripted("big", |_, number| {
        if number == 0 { say("again and again it is so ".repeat(12)) } else { say("It is Paris.") }
    });
    let ran = play(&planner, &[], &RunRequest::new("What is the capital of France?"));
    assert_eq!((ran.streamed.as_str(), ran.outcome.answer.as_str()), ("It is Paris.", "It is Paris."));
    assert_eq!(ran.count("task.retried"), 1);
    let run = state(&ran.journal, &ran.outcome.id).unwrap();
    assert_eq!(run.answer, "It is Paris.");
}

#[test]
fn a_step_cut_off_at_its_limit_is_used_and_said_to_be_cut() {
    let planner = scripted("big", |call, _| {
        let prompt = last(call);
        if prompt.contains("Split the goal") {
            say(json!({"steps": ["Name the ship.", "Name its captain."]}).to_string())
        } else if prompt.ends_with("Name its captain.") {
            Act::Babble
        } else {
            say("It is told: word0 word1 word2 word3 word4.")
        }
    });
    let mut request = RunRequest::new("Find the ship and then name its captain.");
    request.strategy = Some(StrategyName::Sequence);
    let ran = play(&planner, &[], &request);
    assert_eq!(ran.outcome.status, Status::Incomplete);
    assert!(ran.outcome.missing.iter().any(|one| one.contains("cut off at")), "{:?}", ran.outcome.missing);
}

#[test]
fn the_prompt_of_an_attempt_that_stalled_is_recorded() {
    let planner = scripted("big", |_, number| if number == 0 { Act::Stall } else { say("It is Paris.") });
    let mut request = RunRequest::new("What is the capital of France?");
    request.stall_after = Duration::from_millis(50);
    let ran = play(&planner, &[], &request);
    let prompts: Vec<&str> = ran
        .events
        .iter()
        .filter(|e| e["type"] == "task.output")
        .map(|e| e["prompt"].as_str().unwrap())
        .collect();
    assert_eq!(prompts, ["What is the capital of France?"; 2]);
}

/// The waits of a run's repeated attempts in milliseconds, each with its place on the ladder.
fn waits(ran: &Ran) -> Vec<(u64, u64)> {
    let retried = ran.events.iter().filter(|event| event["type"] == "task.retried");
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    retried.map(|event| (number(&event["wait_ms"]), number(&event["rung"]))).collect()
}

#[test]
fn trouble_that_may_pass_is_waited_for_and_the_same_call_made_again() {
    let planner = scripted("big", |_, number| match number {
        0 | 1 => Act::Fail(CallErrorKind::Transient),
        _ => say("It is Paris."),
    });
    let started = Instant::now();
    let ran = play(&planner, &[], &RunRequest::new("What is the capital of France?"));
    assert!(started.elapsed() >= Duration::from_millis(250 + 500), "{:?}", started.elapsed());
    assert_eq!((ran.outcome.is_whole(), ran.outcome.tasks[0].attempts), (true, 3));
    assert_eq!(waits(&ran), [(250, 0), (500, 0)]);
    let seen = planner.seen.lock().unwrap();
    for call in &seen[1..] {
        assert_eq!(
            (&call.messages, call.seed, call.tokens_max),
            (&seen[0].messages, seen[0].seed, seen[0].tokens_max)
        );
        assert_eq!(call.temperature, 0.0);
    }
}

#[test]
fn trouble_that_does_not_pass_is_left_to_the_next_on_the_ladder() {
    let worker = scripted("small", |_, _| Act::Fail(CallErrorKind::Transient));
    let goal = "Write a guide to roses with a section on each of: soil, water.";
    let planner = scripted("big", |_, _| say("It is described here."));
    let ran = play(&planner, &[worker], &RunRequest::new(goal));
    assert_eq!(ran.outcome.status, Status::Completed);
    let mut waits = waits(&ran);
    waits.sort_unstable_by_key(|(wait, rung)| (*rung, *wait));
    let expected = [(250, 0), (500, 0), (1000, 0), (0, 1), (250, 1), (500, 1), (1000, 1), (0, 2)];
    assert_eq!(waits, expected.iter().flat_map(|wait| [*wait; 2]).collect::<Vec<_>>(), "two sections");
    assert!(ran.outcome.tasks.iter().all(|task| (task.attempts, task.model.as_str()) == (9, "big")));
}

#[test]
fn a_person_who_cancels_does_not_wait_until_trouble_passes() {
    let planner = scripted("big", |_, _| Act::Fail(CallErrorKind::Transient));
    let cancel = Cancel::new();
    let (from_inside, mut retried) = (cancel.clone(), 0);
    let mut began = Instant::now();
    let ended = std::sync::Mutex::new(Duration::ZERO);
    let request = RunRequest::new("What is the capital of France?");
    let ran = play_with(&planner, &[], None, &request, &cancel, |event| match &event.kind {
        EventKind::TaskRetried { .. } => {
            retried += 1;
            if retried == 3 {
                began = Instant::now();
                from_inside.cancel();
            }
        }
        EventKind::RunFinished { .. } => *ended.lock().unwrap() = began.elapsed(),
        _ => {}
    });
    assert_eq!((ran.outcome.status, waits(&ran).len()), (Status::Cancelled, 3));
    assert!(*ended.lock().unwrap() < Duration::from_millis(900), "{ended:?}");
}

#[test]
fn a_reply_that_is_rejected_is_drawn_afresh() {
    let planner = scripted("big", |_, number| {
        if number == 0 { say("again and again it is so ".repeat(12)) } else { say("It is Paris.") }
    });
    let request = RunRequest { seed: 7, ..RunRequest::new("What is the capital of France?") };
    let ran = play(&planner, &[], &request);
    assert!(ran.outcome.is_whole());
    assert_eq!(waits(&ran), [(0, 1)], "there is nothing to wait for");
    let seen = planner.seen.lock().unwrap();
    assert_eq!(seen[1].messages, seen[0].messages, "a fresh draw, and no argument");
    assert_eq!((seen[0].temperature, seen[0].seed), (0.0, 7));
    assert_eq!((seen[1].temperature, seen[1].seed), (0.6, 8));
}

#[test]
fn who_waits_for_its_turn_has_not_stalled() {
    let planner = scripted("big", |_, _| Act::Queued(Duration::from_millis(200), "It is Paris.".to_owned()));
    let mut request = RunRequest::new("What is the capital of France?");
    request.stall_after = Duration::from_millis(50);
    let ran = play(&planner, &[], &request);
    assert_eq!((ran.outcome.is_whole(), ran.outcome.tasks[0].attempts), (true, 1));
}

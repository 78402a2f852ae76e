mod resume;

use bandmaster_journal::{DAMAGED, Event};
use serde_json::json;

use super::super::band::Finish;
use super::super::plan::Job;
use super::*;

/// Events as a record has them, numbered from 1, the first at 0 ms and each a millisecond after the one before it.
fn recorded(events: &[(&str, Value)]) -> Vec<Event> {
    let event = |(at, (kind, body)): (usize, &(&str, Value))| Event {
        seq: at as u64 + 1,
        ms: at as u64,
        kind: (*kind).to_owned(),
        body: body.clone(),
    };
    events.iter().enumerate().map(event).collect()
}

fn folded(events: &[(&str, Value)]) -> RunState {
    RunState::fold("r1", 5, &recorded(events))
}

/// The same for a run that no process runs any more.
fn left(events: &[(&str, Value)]) -> RunState {
    let mut run = folded(events);
    run.leave();
    run
}

/// The fields of the last event of a run.
fn finished(status: &str, answer: &str, missing: &[&str]) -> Value {
    json!({
        "id": "r1", "status": status, "answer": answer, "strategy": "map",
        "strategy_why": StrategyWhy::default(), "tasks": [], "planner_tasks": [],
        "usage": RunUsage::default(), "missing": missing,
    })
}

fn started() -> (&'static str, Value) {
    ("run.started", json!({"goal": "sum"}))
}

/// An event about the task `t1`, with more fields.
fn of_task(kind: &'static str, more: Value) -> (&'static str, Value) {
    let mut body = json!({"task": "t1"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (kind, body)
}

/// The tasks' ids with their statuses.
fn statuses(run: &RunState) -> Vec<(&str, Status)> {
    run.tasks.iter().map(|task| (task.id.as_str(), task.status)).collect()
}

/// Every status with its name.
const STATUSES: [Status; 9] = [
    Status::Queued,
    Status::InProgress,
    Status::RequiresAction,
    Status::Completed,
    Status::Incomplete,
    Status::Failed,
    Status::Cancelled,
    Status::Skipped,
    Status::Damaged,
];

#[test]
fn a_state_is_the_fold_of_the_events() {
    let mut events = vec![
        ("run.started", json!({"goal": "sum", "inputs": [{"name": "a.md"}]})),
        ("strategy.chosen", json!({"strategy": "map"})),
        of_task("task.ready", json!({})),
        of_task("task.started", json!({"attempt": 1, "worker": "w", "model": "m"})),
        of_task(
            "task.output",
            json!({"attempt": 1, "prompt": "p", "output": "bad", "sampling": {"seed": 1}}),
        ),
        of_task("task.failed", json!({"attempt": 1, "error": "not JSON"})),
        of_task("task.retried", json!({"attempt": 2, "worker": "x", "model": "n"})),
        of_task("task.output", json!({"attempt": 2, "prompt": "p2", "output": "good"})),
        of_task("task.finished", json!({"status": "completed", "output": "good"})),
    ];
    let run = folded(&events);
    assert_eq!((run.id.as_str(), run.created_ms, run.goal.as_str()), ("r1", 5, "sum"));
    assert_eq!((run.status, run.strategy), (Status::InProgress, Some(StrategyName::Map)));
    assert_eq!(run.inputs, [InputInfo { name: "a.md".to_owned(), ..InputInfo::default() }]);
    assert_eq!((run.last_seq, run.wall_ms, run.damaged.len()), (9, 8, 0), "{:?}", run.damaged);
    let task = &run.tasks[0];
    assert_eq!((task.status, task.output.as_str(), task.attempts.len()), (Status::Completed, "good", 2));
    assert_eq!((task.worker.as_str(), task.model.as_str()), ("x", "n"), "of the last attempt");
    assert_eq!((task.started_ms, task.finished_ms), (Some(3), Some(8)));
    let [first, second] = &task.attempts[..] else { panic!("{:?}", task.attempts) };
    assert_eq!((first.attempt, first.worker.as_str(), first.model.as_str()), (1, "w", "m"));
    assert_eq!((first.prompt.as_str(), first.output.as_str()), ("p", "bad"));
    assert_eq!((first.error.as_deref(), &first.sampling), (Some("not JSON"), &json!({"seed": 1})));
    assert_eq!((second.attempt, second.output.as_str(), &second.error), (2, "good", &None));
    assert_eq!(run.result("t1"), Some("good"));

    events.push(("run.finished", finished("incomplete", "A", &["b"])));
    let run = folded(&events);
    assert_eq!((run.status, run.answer.as_str(), run.missing.len()), (Status::Incomplete, "A", 1));
    assert!(run.usage.is_some() && run.outcome.is_some());
}

#[test]
fn every_status_is_read_as_it_is_written() {
    for status in STATUSES {
        let task = of_task("task.finished", json!({"status": status.name()}));
        let run = folded(&[started(), task, ("run.finished", finished(status.name(), "", &[]))]);
        assert_eq!((run.status, run.tasks[0].status), (status, status), "{:?}", run.damaged);
        assert_eq!(serde_json::to_value(&run).unwrap()["status"], status.name());
    }
}

#[test]
fn records_of_earlier_versions_may_lack_fields() {
    let events = [
        ("run.started", json!({"goal": "sum"})),
        ("strategy.chosen", json!({"strategy": "map"})),
        ("inputs.split", json!({})),
        ("plan.proposed", json!({})),
        ("plan.accepted", json!({"plan": {"tasks": []}})),
        of_task("task.ready", json!({})),
        of_task("task.started", json!({})),
        of_task("task.partial", json!({})),
        of_task("task.output", json!({})),
        of_task("task.asked", json!({})),
        of_task("task.failed", json!({})),
        of_task("task.retried", json!({"attempt": 2})),
        of_task("task.finished", json!({"status": "failed"})),
        ("replan.started", json!({})),
        ("answer.delta", json!({})),
        ("budget.reached", json!({})),
        ("run.cancelled", json!({})),
        ("run.finished", finished("completed", "A", &[])),
    ];
    for (at, (kind, body)) in events.iter().enumerate() {
        let read = EventKind::read(kind, body);
        assert!(matches!(read, Ok(Some(_))), "{at}: {kind}: {read:?}");
    }
    let run = folded(&events);
    assert_eq!((run.damaged.len(), run.goal.as_str(), run.strategy), (0, "sum", Some(StrategyName::Map)));
    assert_eq!(statuses(&run), [("t1", Status::Failed)]);
    let attempts: Vec<u32> = run.tasks[0].attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(attempts, [1, 2], "an event that does not say so is about the first attempt");
    assert_eq!(run.asked, Asked::default());
}

#[test]
fn a_record_says_what_the_request_asked_for() {
    let asked = json!({"strategy": "vote", "seed": 7, "budget_seconds": 1.5});
    let run = folded(&[(
        "run.started",
        json!({"goal": "g", "inputs": [{"name": "a", "tokens": 3}], "asked": asked}),
    )]);
    assert_eq!((run.asked.strategy, run.asked.seed), (Some(StrategyName::Vote), 7));
    assert_eq!((run.asked.budget_tokens, run.asked.budget_seconds), (None, Some(1.5)));
    assert_eq!(run.inputs[0].tokens, 3);
}

#[test]
fn what_must_be_there_is_missed_and_the_event_is_named() {
    let lacking = [
        ("run.started", json!({"inputs": []})),
        ("run.started", json!({"goal": 5})),
        ("run.started", json!({"goal": "g", "asked": {"strategy": "nonsense", "seed": 1}})),
        ("strategy.chosen", json!({})),
        ("strategy.chosen", json!({"strategy": "nonsense"})),
        ("plan.accepted", json!({})),
        ("plan.accepted", json!({"plan": 5})),
        ("tasks.added", json!({})),
        ("task.ready", json!({})),
        ("task.started", json!({"attempt": 1})),
        ("task.output", json!({"task": 5})),
        ("task.finished", json!({"task": "t1"})),
        ("task.finished", json!({"status": "completed"})),
        ("task.finished", json!({"task": "t1", "status": "nonsense"})),
        ("run.finished", json!({})),
        ("run.finished", json!({"status": "completed"})),
    ];
    for (kind, body) in lacking {
        let run = folded(&[("run.cancelled", json!({})), (kind, body.clone())]);
        let [damaged] = &run.damaged[..] else { panic!("{kind} {body}: {:?}", run.damaged) };
        assert!(damaged.starts_with(&format!("event 2 ({kind}), whose record is damaged: ")), "{damaged}");
        assert_eq!(run.missing, run.damaged);
        assert_eq!((run.last_seq, run.wall_ms), (2, 1), "{kind} {body}");
    }
}

#[test]
fn events_of_later_versions_are_passed_over() {
    let run = folded(&[
        ("run.started", json!({"goal": "g", "mood": "good", "type": "other"})),
        ("run.sang", json!({"song": 1})),
        of_task("task.sang", json!({})),
        of_task("task.started", json!({"attempt": 1, "later": [1]})),
    ]);
    assert_eq!((run.goal.as_str(), run.damaged.len(), run.last_seq), ("g", 0, 4));
    assert_eq!(statuses(&run), [("t1", Status::InProgress)]);
}

#[test]
fn a_damaged_event_is_named_and_hides_nothing_else() {
    let damaged = |kind: &str| (DAMAGED, json!({"event": kind, "why": "cut off"}));
    let answered = ("run.finished", finished("completed", "kept", &["page 2"]));
    let delta = || ("answer.delta", json!({"text": "t"}));
    let run = folded(&[started(), damaged("answer.delta"), delta(), answered.clone()]);
    assert_eq!((run.status, run.goal.as_str(), run.answer.as_str()), (Status::Completed, "sum", "kept"));
    let named = "event 2 (answer.delta), whose record is damaged: cut off";
    assert_eq!(
        (&run.damaged[..], &run.missing[..]),
        (&[named.to_owned()][..], &["page 2".to_owned(), named.to_owned()][..])
    );
    // A run whose end can't be read has ended all the same, and was not interrupted.
    let run = left(&[started(), damaged("run.finished")]);
    assert_eq!((run.status, run.missing.len()), (Status::Incomplete, 1));
    assert!(run.missing[0].contains("event 2 (run.finished)"), "{:?}", run.missing);
    let run = folded(&[damaged("run.started"), answered]);
    assert_eq!((run.goal.as_str(), run.answer.as_str(), run.damaged.len()), ("", "kept", 1));
}

#[test]
fn what_ended_in_an_unknown_way_did_end() {
    let unknown = "nonsense";
    let mut end = finished(unknown, "A", &["b"]);
    let task = |status: &str| of_task("task.finished", json!({"status": status, "output": "o"}));
    let begun = of_task("task.started", json!({"attempt": 1}));
    let run = folded(&[started(), begun.clone(), task(unknown), ("run.finished", end.clone())]);
    assert_eq!((run.status, run.answer.as_str()), (Status::Incomplete, "A"));
    assert_eq!((statuses(&run), run.result("t1")), (vec![("t1", Status::Incomplete)], None));
    assert_eq!(run.damaged.len(), 2, "{:?}", run.damaged);
    assert!(
        run.damaged[0].contains("event 3 (task.finished)") && run.damaged[0].contains(unknown),
        "{:?}",
        run.damaged
    );
    assert!(
        run.damaged[1].contains("event 4 (run.finished)") && run.damaged[1].contains(unknown),
        "{:?}",
        run.damaged
    );
    // It was not interrupted.
    let left = left(&[started(), begun, task(unknown), ("run.finished", end.clone())]);
    assert_eq!(left, run);
    // The same if any other field makes no sense.
    end["status"] = json!("completed");
    end["usage"] = json!(5);
    let run = folded(&[started(), ("run.finished", end)]);
    assert_eq!((run.status, run.answer.as_str(), run.damaged.len()), (Status::Incomplete, "A", 1));
}

#[test]
fn the_text_of_a_rejected_attempt_is_not_part_of_the_answer() {
    let delta = |text: &str| ("answer.delta", json!({"text": text}));
    let mut events = vec![
        started(),
        of_task("task.started", json!({"attempt": 1})),
        delta("It is "),
        delta("Rome."),
        of_task("task.failed", json!({"attempt": 1})),
    ];
    assert_eq!(folded(&events).answer, "It is Rome.", "as much of it as there is so far");
    events.push(of_task("task.retried", json!({"attempt": 2})));
    assert_eq!(folded(&events).answer, "");
    events.push(delta("It is Paris."));
    assert_eq!(folded(&events).answer, "It is Paris.");
    events.push(("run.finished", finished("completed", "Paris.", &[])));
    assert_eq!(folded(&events).answer, "Paris.");
}

#[test]
fn what_was_interrupted_is_incomplete() {
    let events = [
        started(),
        ("task.ready", json!({"task": "t1"})),
        ("task.started", json!({"task": "t2"})),
        ("task.started", json!({"task": "t3"})),
        ("task.finished", json!({"task": "t3", "status": "completed", "output": "o"})),
    ];
    let run = folded(&events);
    assert_eq!((run.status, run.missing.len()), (Status::InProgress, 0));
    assert_eq!(
        statuses(&run),
        [("t1", Status::Queued), ("t2", Status::InProgress), ("t3", Status::Completed)]
    );
    let run = left(&events);
    assert_eq!(run.status, Status::Incomplete);
    assert_eq!(
        statuses(&run),
        [("t1", Status::Incomplete), ("t2", Status::Incomplete), ("t3", Status::Completed)]
    );
    let missing = &run.missing[0];
    assert!(missing.contains("interrupted") && missing.contains("`bandmaster runs resume r1`"), "{missing}");
}

#[test]
fn a_run_that_said_how_it_ended_was_not_interrupted() {
    for status in STATUSES.into_iter().filter(|status| *status != Status::InProgress) {
        let events = [started(), ("run.finished", finished(status.name(), "A", &[]))];
        assert_eq!(left(&events), folded(&events), "{status}");
    }
}

#[test]
fn a_run_of_which_nothing_can_be_read_says_so() {
    let run = RunState::unreadable("r1", 5, "the disk is gone");
    assert_eq!((run.status, run.created_ms), (Status::Damaged, 5));
    assert_eq!(run.missing, ["everything: the disk is gone; `bandmaster runs rm r1` removes it"]);
    assert_eq!(run.missing, run.damaged);
}

#[test]
fn a_state_is_shown_with_plain_names() {
    let shown = |run: &RunState| serde_json::to_value(run).unwrap();
    let run = shown(&RunState::new("r1", 5));
    assert_eq!(
        (&run["strategy"], &run["status"], &run["inputs"]),
        (&json!(""), &json!("in_progress"), &json!([]))
    );
    assert_eq!((&run["plan"], &run["usage"], run.get("damaged")), (&Value::Null, &Value::Null, None));
    let run = shown(&folded(&[
        ("run.started", json!({"goal": "g", "inputs": [{"name": "a.md", "tokens": 3}, {"name": "b.md"}]})),
        ("strategy.chosen", json!({"strategy": "write-test-fix"})),
        of_task("task.started", json!({"worker": "w", "rung": 2})),
        ("task.ready", json!({})),
    ]));
    assert_eq!((&run["strategy"], &run["inputs"]), (&json!("write-test-fix"), &json!(["a.md", "b.md"])));
    assert_eq!(run["damaged"].as_array().unwrap().len(), 1);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&run),
        "id created_ms goal status strategy strategy_why answer missing unchecked inputs plan tasks usage damaged \
wall_ms last_seq"
    );
    assert_eq!(keys(&run["tasks"][0]), "id status worker model output attempts started_ms finished_ms");
    assert_eq!(
        keys(&run["tasks"][0]["attempts"][0]),
        "attempt worker model prompt sampling output error usage"
    );
}

/// The end of a call, whose text has three tokens.
fn output(attempt: u32, end: CallEnd) -> Value {
    let usage = TokenUsage { prompt_tokens: 10, completion_tokens: 3, ..TokenUsage::default() };
    json!({"attempt": attempt, "output": "text", "usage": usage, "end": end})
}

fn replied() -> CallEnd {
    CallEnd::Reply(Finish::Stop)
}

#[test]
fn a_call_that_has_not_ended_is_running() {
    let mut events = vec![started(), of_task("task.started", json!({"worker": "w", "rung": 1}))];
    let run = folded(&events);
    let attempt = run.tasks[0].running().unwrap();
    assert_eq!((attempt.attempt, attempt.rung, attempt.wait_ms, &attempt.end), (1, 1, 0, &None));
    events.push(of_task("task.output", output(1, CallEnd::Stopped)));
    let run = folded(&events);
    assert!(run.tasks[0].running().is_none() && !run.tasks[0].has_ended());
    assert_eq!(run.tasks[0].attempts[0].end, Some(CallEnd::Stopped));
    events.push(of_task("task.failed", json!({"class": "transient", "error": "e"})));
    events.push(of_task("task.retried", json!({"attempt": 2, "rung": 1, "wait_ms": 250})));
    let run = folded(&events);
    let failure = Failure { class: FailureClass::Transient, kept: None, doubtful: false };
    assert_eq!(run.tasks[0].attempts[0].failure, Some(failure));
    assert_eq!(run.tasks[0].running().map(|attempt| (attempt.attempt, attempt.wait_ms)), Some((2, 250)));
    events.push(of_task("task.output", output(2, replied())));
    let run = folded(&events);
    assert_eq!(run.used().tokens, 26, "of all attempts");
    assert_eq!((run.tasks[0].usage.prompt_tokens, run.tasks[0].usage.completion_tokens), (20, 6));
}

#[test]
fn a_stopped_run_says_why_and_the_first_reason_stays() {
    let spent = ("budget.reached", json!({"which": "tokens", "limit": 60}));
    let late = ("budget.reached", json!({"which": "seconds", "limit": 3}));
    let cancelled = ("run.cancelled", json!({}));
    let stopped =
        |events: &[(&str, Value)]| folded(events).stopped.map(|stopped| (stopped.reason, stopped.limit));
    assert_eq!(stopped(&[started()]), None);
    assert_eq!(
        stopped(&[started(), spent.clone(), cancelled.clone()]),
        Some((StopReason::TokensSpent, 60.0))
    );
    assert_eq!(stopped(&[started(), late, spent]), Some((StopReason::TimeSpent, 3.0)));
    assert_eq!(stopped(&[started(), cancelled]), Some((StopReason::Interrupted, 0.0)));
}

fn band() -> Value {
    json!({"planner": {"worker": "planner", "model": "big", "context_tokens": 9, "skills": []}, "workers": []})
}

fn resumed(more: Value) -> (&'static str, Value) {
    let mut body = json!({"band": band()});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ("run.resumed", body)
}

/// A run of four tasks over two inputs: `a` reads the first, `b` the second, `c` calculates from both, and `d` writes.
fn planned() -> Vec<(&'static str, Value)> {
    let bytes = json!({"start": 0, "end": 4});
    let slice = |index: usize| json!({"index": index, "name": "n", "part": 0, "parts": 1, "bytes": bytes});
    let task = |id: &str, kind: &str, needs: Value| {
        json!({"id": id, "job": {"kind": kind}, "worker": "w", "instruction": "i", "needs": needs, "output": "text",
            "tokens_max": 9})
    };
    let mut tasks = [
        task("a", "read", json!([])),
        task("b", "read", json!([])),
        task("c", "calculate", json!(["a", "b"])),
        task("d", "step", json!([])),
    ];
    (tasks[0]["input"], tasks[1]["input"]) = (slice(0), slice(1));
    vec![
        (
            "run.started",
            json!({"goal": "g", "inputs": [{"name": "x", "tokens": 1}, {"name": "y", "tokens": 2}]}),
        ),
        ("strategy.chosen", json!({"strategy": "map"})),
        (
            "inputs.split",
            json!({"splits": [
                {"input": 0, "worker": "w", "tokens_max": 9, "parts": [{"start": 0, "end": 4}]},
                {"input": 1, "worker": "w", "tokens_max": 9, "parts": [{"start": 0, "end": 4}]},
            ]}),
        ),
        ("plan.accepted", json!({"plan": {"tasks": tasks}})),
    ]
}

fn ended(task: &str, status: &str) -> (&'static str, Value) {
    ("task.finished", json!({"task": task, "status": status, "output": task}))
}

/// The tasks that are done again.
fn open(run: &RunState) -> Vec<&str> {
    run.tasks.iter().filter(|task| !task.has_ended()).map(|task| task.id.as_str()).collect()
}

#[test]
fn a_plan_s_tasks_are_there_before_they_begin() {
    let run = folded(&planned());
    assert_eq!(statuses(&run), ["a", "b", "c", "d"].map(|id| (id, Status::Queued)));
    assert_eq!((run.tasks[2].task.needs.len(), run.tasks[2].task.job.clone()), (2, Job::Calculate));
    assert!(run.plan.is_some() && run.tasks.iter().all(|task| !task.ready && task.worker == "w"));
    let mut events = planned();
    events.push((
        "tasks.added",
        json!({"tasks": [{"id": "synthesis", "job": {"kind": "synthesis"}, "worker": "planner",
        "instruction": "i", "needs": ["c"], "output": "text", "tokens_max": 9}]}),
    ));
    let run = folded(&events);
    assert_eq!((run.plan_tasks().count(), run.planner_tasks().count()), (4, 1));
}

#[test]
fn a_run_that_is_taken_up_keeps_what_was_accepted() {
    let mut events = planned();
    events.extend([
        ended("a", "completed"),
        ended("b", "failed"),
        ended("c", "skipped"),
        ended("d", "cancelled"),
    ]);
    // Its process was killed: what failed stays so.
    let killed = folded(&[&events[..], &[resumed(json!({}))]].concat());
    assert_eq!(open(&killed), ["d"]);
    // It had ended: what failed is tried again, and what needs that.
    events.push(("run.finished", finished("incomplete", "A", &["b"])));
    let run = folded(&[&events[..], &[resumed(json!({}))]].concat());
    assert_eq!(open(&run), ["b", "c", "d"]);
    assert_eq!((run.status, run.result("a")), (Status::InProgress, Some("a")));
    assert_eq!((run.answer.as_str(), run.missing.len(), run.is_stopped()), ("", 0, false));
    assert!(run.outcome.is_none() && run.usage.is_none() && run.damaged.is_empty(), "{:?}", run.damaged);
    assert_eq!((run.splits.len(), run.last_seq, run.band.is_some()), (2, 10, true));
    assert!(run.tasks[1].finished_ms.is_none() && run.tasks[1].error.is_none());
}

#[test]
fn an_attempt_that_was_cut_short_is_made_again_under_its_number() {
    let begin = |attempt: u32| {
        of_task(if attempt == 1 { "task.started" } else { "task.retried" }, json!({"attempt": attempt}))
    };
    let add = (
        "tasks.added",
        json!({"tasks": [{"id": "t1", "job": {"kind": "answer"}, "worker": "w", "instruction": "i",
        "needs": [], "output": "text", "tokens_max": 9}]}),
    );
    let rejected = of_task("task.failed", json!({"attempt": 1, "class": "content", "error": "e"}));
    let mut events =
        vec![started(), add, begin(1), of_task("task.output", output(1, replied())), rejected, begin(2)];
    let attempts = |run: &RunState| {
        (run.tasks[0].status, run.tasks[0].attempts.len(), run.tasks[0].attempts_now().len())
    };
    // Killed during the second attempt: the first one counts.
    let killed = folded(&[&events[..], &[resumed(json!({}))]].concat());
    assert_eq!(attempts(&killed), (Status::InProgress, 1, 1));
    // Cancelled during it: the same.
    events.push(of_task("task.output", output(2, CallEnd::Stopped)));
    events.push(of_task("task.finished", json!({"status": "cancelled"})));
    events.push(("run.finished", finished("cancelled", "", &[])));
    let cancelled = folded(&[&events[..], &[resumed(json!({}))]].concat());
    assert_eq!(attempts(&cancelled), (Status::InProgress, 1, 1));
    assert_eq!(cancelled.tasks[0].usage.completion_tokens, 6, "what was spent stays spent");
    // Tried by everybody and failed: all begin anew, and the attempts are still there.
    events.truncate(5);
    events.push(of_task("task.finished", json!({"status": "failed", "error": "e"})));
    events.push(("run.finished", finished("failed", "", &[])));
    let failed = folded(&[&events[..], &[resumed(json!({}))]].concat());
    assert_eq!(attempts(&failed), (Status::Queued, 1, 0));
}

#[test]
fn what_read_a_changed_input_is_done_again() {
    let mut events = planned();
    events.extend(["a", "b", "c", "d"].map(|task| ended(task, "completed")));
    events.push(("run.finished", finished("incomplete", "A", &["b"])));
    let changed = resumed(
        json!({"changed": [{"input": 1, "name": "y", "tokens": 7}, {"input": 2, "name": "unknown"}]}),
    );
    let run = folded(&[&events[..], &[changed]].concat());
    // The step reads all inputs.
    assert_eq!(open(&run), ["b", "c", "d"]);
    assert_eq!((run.inputs[0].tokens, run.inputs[1].tokens, run.inputs.len()), (1, 7, 2));
    assert_eq!(run.splits.iter().map(|split| split.input).collect::<Vec<_>>(), [0]);
}

#[test]
fn an_answer_is_kept_with_its_question() {
    let asked = ("run.finished", finished("requires_action", "Which text?", &[]));
    let answer = |text: &str| resumed(json!({"answer": text}));
    let run = folded(&[started(), asked.clone(), answer("This."), asked, answer("That.")]);
    let pair = |answer: &str| ("Which text?".to_owned(), answer.to_owned());
    assert_eq!(run.answers, [pair("This."), pair("That.")]);
    assert_eq!((run.status, run.answer.as_str()), (Status::InProgress, ""));
}

#[test]
fn a_run_of_an_earlier_version_begins_anew() {
    // It did not record what the tasks are.
    let events = [
        started(),
        (
            "plan.accepted",
            json!({"plan": {"tasks": [{"id": "t1", "worker": "w", "instruction": "i", "needs": [],
            "output": "text", "tokens_max": 9}]}}),
        ),
        of_task("task.started", json!({"attempt": 1})),
        ended("t1", "completed"),
        ("run.finished", finished("incomplete", "A", &["b"])),
    ];
    assert_eq!(folded(&events).tasks.len(), 1);
    let run = folded(&[&events[..], &[resumed(json!({}))]].concat());
    assert_eq!((run.tasks.len(), run.plan, run.goal.as_str()), (0, None, "sum"));
}

#[test]
fn a_run_that_is_interrupted_again_is_incomplete_again() {
    let ended = ("run.finished", finished("cancelled", "A", &[]));
    let events = [started(), ended.clone(), resumed(json!({})), of_task("task.started", json!({}))];
    let run = left(&events);
    assert_eq!((run.status, run.missing.len()), (Status::Incomplete, 1));
    let run = left(&[&events[..], &[ended]].concat());
    assert_eq!((run.status, run.missing.len()), (Status::Cancelled, 0));
}

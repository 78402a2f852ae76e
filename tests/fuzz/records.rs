//! Fuzzes files from the user's own machine: the events of a run, plans and traces. Settings are fuzzed in
//! `src/cli/tests.rs`, because their reader is private to the command line.

use bandmaster::bench::workflow::Trace;
use bandmaster::journal::{Event, fold};
use bandmaster::orchestrator::Plan;
use serde_json::Value;

use crate::harness::{Target, fuzz};

const STATUSES: [&str; 8] =
    ["queued", "in_progress", "requires_action", "completed", "incomplete", "failed", "cancelled", "skipped"];

/// Parses a line as `runs show --events` writes it.
fn event(line: &str) -> Option<Event> {
    let body: Value = serde_json::from_str(line).ok()?;
    Some(Event {
        seq: body["seq"].as_u64()?,
        ms: body["ms"].as_u64()?,
        kind: body["type"].as_str()?.to_owned(),
        body,
    })
}

#[test]
fn events_of_a_run() {
    fuzz(&Target {
        name: "journal events",
        seeds: &[concat!(
            r#"{"seq": 1, "ms": 0, "type": "run.started", "goal": "g", "inputs": [{"name": "a.txt"}]}"#,
            "\n",
            r#"{"seq": 2, "ms": 1, "type": "strategy.chosen", "strategy": "map", "why": {"facts": {}}}"#,
            "\n",
            r#"{"seq": 3, "ms": 2, "type": "plan.accepted", "plan": {"tasks": []}}"#,
            "\n",
            r#"{"seq": 4, "ms": 3, "type": "task.started", "task": "t1", "worker": "w", "model": "m", "attempt": 1}"#,
            "\n",
            r#"{"seq": 5, "ms": 4, "type": "task.output", "task": "t1", "attempt": 1, "output": "o", "usage": {"prompt_tokens": 3}}"#,
            "\n",
            r#"{"seq": 6, "ms": 5, "type": "task.failed", "task": "t1", "attempt": 1, "error": "e"}"#,
            "\n",
            r#"{"seq": 7, "ms": 6, "type": "task.finished", "task": "t1", "status": "completed", "output": "o"}"#,
            "\n",
            r#"{"seq": 8, "ms": 7, "type": "run.finished", "status": "completed", "answer": "a", "missing": ["m"], "usage": {}}"#,
        )],
        words: &[
            "{",
            "}",
            "[",
            "]",
            ",",
            "\n",
            "seq",
            "type",
            "run.started",
            "task.started",
            "task.retried",
            "answer.delta",
            "task.asked",
            "budget.reached",
            "status",
            "completed",
            "task",
            "t1",
            "t2",
            "attempt",
            "output",
            "missing",
            "plan",
        ],
        read: &|bytes| {
            let text = String::from_utf8_lossy(bytes);
            let events: Vec<Event> = text.lines().filter_map(event).collect();
            let run = fold("run-1", 0, &events);
            let mut ids: Vec<&str> = run.tasks.iter().map(|task| task.id.as_str()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), run.tasks.len(), "a task is told once");
            assert!(STATUSES.contains(&run.status.as_str()), "the run is {:?}", run.status);
            for task in &run.tasks {
                assert!(STATUSES.contains(&task.status.as_str()), "task {:?} is {:?}", task.id, task.status);
            }
            assert!(serde_json::to_string(&run).is_ok());
            events.len() >= 4
        },
    });
}

#[test]
fn plans() {
    fuzz(&Target {
        name: "plan",
        seeds: &[
            r#"{"tasks": [{"id": "t1", "worker": "w", "instruction": "i", "input": {"index": 0, "name": "a", "part": 0, "parts": 1, "bytes": {"start": 0, "end": 4}}, "needs": [], "output": {"finding": "number"}, "tokens_max": 64}, {"id": "t2", "worker": "w", "instruction": "i", "needs": ["t1"], "output": "text", "tokens_max": 4294967295}]}"#,
        ],
        words: &[
            "{", "}", "[", "]", ",", "\"", "t1", "t2", "t3", "needs", "id", "output", "figures", "finding",
            "date", "tasks",
        ],
        read: &|bytes| {
            let Ok(plan) = serde_json::from_slice::<Plan>(bytes) else { return false };
            let behind = plan.critical_path_tokens();
            for (at, task) in plan.tasks().iter().enumerate() {
                for need in &task.needs {
                    let earlier = plan.tasks()[..at].iter().position(|task| task.id == *need);
                    let need = earlier.expect("needs name earlier tasks");
                    assert!(behind[need] >= behind[at], "a path does not shorten towards its start");
                }
            }
            true
        },
    });
}

#[test]
fn traces() {
    fuzz(&Target {
        name: "trace",
        seeds: &[
            r#"{"schema": "bandmaster.trace/1", "name": "n", "about": "a", "models": {"planner": {"model": "m"}, "worker": {"model": "w"}}, "tasks": [{"id": "a", "model": "planner", "prefix": {"name": "d", "tokens": 70}, "prompt_tokens": 8, "output_tokens": 9}, {"id": "b", "model": "worker", "needs": ["a"], "prompt": "p", "output_tokens": 20}]}"#,
        ],
        words: &[
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"",
            "a",
            "b",
            "needs",
            "id",
            "tokens",
            "prompt_tokens",
            "output_tokens",
            "model",
        ],
        read: &|bytes| std::str::from_utf8(bytes).is_ok_and(|text| Trace::parse("fuzz", text).is_ok()),
    });
}

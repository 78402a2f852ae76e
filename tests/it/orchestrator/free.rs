//! Free plans: their tasks begin while the planner writes, and the planner is asked again around what is finished.

use std::time::Duration;

use bandmaster::journal::Event;
use bandmaster::orchestrator::{Call, Input, RunRequest, Status, StrategyName, recorded, replay, resume};
use serde_json::{Value, json};

use super::scripted::*;

const WISH: &str = "Find out how many sheep the farms keep together, and write a note on the farms.";

fn request() -> RunRequest {
    RunRequest { inputs: farms(2), strategy: Some(StrategyName::Free), ..RunRequest::new(WISH) }
}

fn read(id: &str, farm: usize) -> Value {
    let task = json!({
        "job": "read", "input": format!("farm{farm}.md"), "do": "How many sheep the farm keeps", "result": "number",
        "worker": "small",
    });
    json!({"id": id, "task": task, "needs": []})
}

fn write(id: &str, title: &str, needs: &[&str]) -> Value {
    let task = json!({"job": "write", "title": title, "do": "Tell what the farms keep", "worker": "small"});
    json!({"id": id, "task": task, "needs": needs})
}

fn plan() -> String {
    let total = json!({"id": "t3", "task": {"job": "calculate", "figure": "total"}, "needs": ["t1", "t2"]});
    json!({"tasks": [read("t1", 0), read("t2", 1), total, write("t4", "Note", &["t3"])]})
        .to_string()
        .replace(',', ", ")
}

/// Does what it is told, if it is about the farms.
fn obedient(call: &Call) -> Act {
    let prompt = last(call);
    if prompt.contains("with one number and nothing else") {
        return say(sheep(call).to_string());
    }
    if let Some((_, known)) = prompt.split_once("Results:\n") {
        return say(known.split("\n\nAnswer the goal").next().unwrap());
    }
    let known = prompt.split("Known so far:\n").nth(1).unwrap_or_default();
    say(format!("A note: {}", known.lines().next().unwrap_or_default()))
}

#[test]
fn a_task_begins_while_the_planner_still_writes_and_the_run_is_the_same_after_a_kill_at_any_event() {
    let planner = |wait: u64| {
        scripted("big", move |call, _| match call.schema {
            Some(_) => Act::SayWords(Duration::from_millis(wait), plan()),
            None => obedient(call),
        })
    };
    let workers = || [scripted("small", |call, _| obedient(call))];
    let ran = play(&planner(5), &workers(), &request());
    assert!(ran.outcome.is_whole(), "{:#?}", ran.outcome);
    assert_eq!(ran.outcome.answer, "A note: - t3 (total of t1, t2): 30");
    let place = |kind: &str, task: &str| {
        let is_it = |event: &Value| event["type"] == kind && event["task"] == task;
        ran.events.iter().position(is_it).unwrap_or_else(|| panic!("no {kind} of {task}: {:?}", ran.types()))
    };
    assert!(place("task.finished", "t1") < place("task.output", "plan"), "{:?}", ran.types());
    assert_eq!(ran.count("task.partial"), 3, "one for each task but the last");
    let events: Vec<Event> = ran.journal.events(&ran.outcome.id, 0).unwrap();
    for left in 1..events.len() {
        let (folder, journal, id) = killed_after(&events[..left], &farms(2));
        let start = resume(&journal, &id).unwrap();
        drop(journal);
        let again = go_on(folder, &planner(0), &workers(), start);
        assert_eq!(again.outcome.answer, ran.outcome.answer, "killed after {left} events");
        let tasks = |outcome: &bandmaster::orchestrator::Outcome| -> Vec<(String, String)> {
            outcome.tasks.iter().map(|task| (task.id.clone(), task.output.clone())).collect()
        };
        assert_eq!(tasks(&again.outcome), tasks(&ran.outcome));
        let (run, start) = recorded(&again.journal, &id).unwrap();
        let replayed = replay(&run, &start, None);
        assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
    }
}

#[test]
fn a_plan_that_is_drawn_again_is_carried_out_whole() {
    let foreign =
        json!({"job": "step", "do": "Polish the brass telescope", "result": "text", "worker": "small"});
    let foreign = json!({"tasks": [{"id": "t1", "task": foreign, "needs": []}]}).to_string();
    let planner = scripted("big", move |call, number| match call.schema {
        Some(_) if number == 0 => say(foreign.clone()),
        Some(_) => Act::SayWords(Duration::from_millis(2), plan()),
        None => obedient(call),
    });
    let ran = play(&planner, &[scripted("small", |call, _| obedient(call))], &request());
    assert_eq!(ran.count("task.partial"), 3, "{:?}", ran.types());
    assert_eq!((ran.outcome.is_whole(), ran.outcome.tasks.len()), (true, 4), "{:#?}", ran.outcome);
}

#[test]
fn the_planner_is_asked_again_around_what_is_finished() {
    let first = json!({"tasks": [read("t1", 0), write("t2", "Note", &["t1"]), write("t3", "Song", &["t1"])]});
    let second = json!({"tasks": [write("t4", "Poem", &["t1", "t2"])]});
    let planner =
        scripted("big", move |call, _| match (&call.schema, last(call).contains("This went wrong")) {
            (Some(_), false) => say(first.to_string()),
            (Some(schema), true) => {
                assert!(last(call).contains("- t1 (How many sheep the farm keeps): 10"), "{}", last(call));
                assert!(last(call).contains("- t3 (Song: "), "{}", last(call));
                let item = &schema["properties"]["tasks"]["prefixItems"][0]["anyOf"][0]["properties"];
                assert_eq!(
                    (&item["id"]["const"], &item["needs"]["items"]["enum"]),
                    (&json!("t4"), &json!(["t1", "t2"]))
                );
                say(second.to_string())
            }
            (None, _) if last(call).contains("\"Song\"") => say(""),
            _ => obedient(call),
        });
    let workers = [scripted("small", |call, _| match last(call).contains("\"Song\"") {
        true => say(""),
        false => obedient(call),
    })];
    let ran = play(&planner, &workers, &request());
    assert!(ran.outcome.is_whole(), "{:#?}", ran.outcome);
    let event = ran.events.iter().find(|event| event["type"] == "replan.started").unwrap();
    assert_eq!((&event["kept"], &event["dropped"]), (&json!(["t1", "t2"]), &json!(["t3"])), "{event}");
    let statuses: Vec<(&str, Status)> =
        ran.outcome.tasks.iter().map(|task| (task.id.as_str(), task.status)).collect();
    let completed = Status::Completed;
    assert_eq!(statuses, [("t1", completed), ("t2", completed), ("t3", Status::Failed), ("t4", completed)]);
    let (run, start) = recorded(&ran.journal, &ran.outcome.id).unwrap();
    assert!(replay(&run, &start, None).differences.is_empty());
}

#[test]
fn after_three_new_plans_the_best_answer_says_what_is_missing() {
    let planner = scripted("big", |call, number| match &call.schema {
        Some(schema) => {
            let item = &schema["properties"]["tasks"]["prefixItems"][0];
            let item = item["anyOf"].get(0).unwrap_or(item);
            let id = item["properties"]["id"]["const"].as_str().unwrap();
            let song = write(id, &format!("Song {number}"), &[]);
            let mut tasks = vec![song];
            if id == "t1" {
                tasks = vec![write("t1", "Note", &[]), write("t2", "Song of the farms", &[])];
            }
            say(json!({"tasks": tasks}).to_string())
        }
        None if last(call).contains("\"Song") => say(""),
        None => obedient(call),
    });
    let workers = [scripted("small", |call, _| match last(call).contains("\"Song") {
        true => say(""),
        false => obedient(call),
    })];
    let request = RunRequest { inputs: Vec::<Input>::new(), ..request() };
    let ran = play(&planner, &workers, &request);
    assert_eq!(
        (ran.outcome.status, ran.count("replan.started")),
        (Status::Incomplete, 3),
        "{:#?}",
        ran.outcome
    );
    assert_eq!(ran.outcome.missing.len(), 1, "{:?}", ran.outcome.missing);
    assert!(ran.outcome.missing[0].contains("Song"), "{:?}", ran.outcome.missing);
    assert!(ran.outcome.answer.contains("A note:") && ran.outcome.answer.contains("Missing: "));
}

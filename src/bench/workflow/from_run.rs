//! Makes a trace from a recorded run: every model call as it was made, with the calls it had to wait for. Tools and
//! rules appear as time between calls.

use std::collections::{BTreeMap, HashMap, HashSet};

use bandmaster_journal::{DAMAGED, Event};
use serde_json::Value;

use super::trace::{RoleModel, Task, TaskClass, Trace};

/// Shorter gaps between a call and what it waited for are the orchestrator's own time and are left out.
const THINK_MS_MIN: u64 = 20;

/// One attempt at a task.
struct Call {
    task: String,
    id: String,
    model: String,
    text: String,
    output_tokens: u32,
    temperature: f32,
    start_ms: u64,
    end_ms: u64,
    /// Indexes of earlier calls.
    needs: Vec<usize>,
}

/// Makes a trace from a run's events.
///
/// # Errors
/// A sentence if the run made no model call, or if one of its events can't be read: a call may then be missing.
pub fn trace_of_run(run: &str, events: &[Event]) -> Result<Trace, String> {
    if let Some(event) = events.iter().find(|event| event.kind == DAMAGED) {
        let (seq, why) = (event.seq, event.body["why"].as_str().unwrap_or_default());
        return Err(format!(
            "event {seq} of run {run} is damaged ({why}), so that its calls are not known: `bandmaster runs show {run} --events` shows the others"
        ));
    }
    let plan = plan_needs(events);
    let mut calls: Vec<Call> = Vec::new();
    let mut started: HashMap<&str, u64> = HashMap::new();
    for event in events {
        let task = event.body["task"].as_str().unwrap_or_default();
        match event.kind.as_str() {
            "task.started" | "task.retried" => drop(started.insert(task, event.ms)),
            "task.output" => {
                let Some(call) = call(event, task, started.get(task).copied()) else { continue };
                let needs = needs(&call, &calls, &plan);
                calls.push(Call { needs, ..call });
            }
            _ => {}
        }
    }
    if calls.is_empty() {
        return Err(format!("run {run} called no model: there is nothing to replay"));
    }
    let models: BTreeMap<String, RoleModel> = calls
        .iter()
        .map(|call| (call.model.clone(), RoleModel { model: call.model.clone(), load_at_ms: None }))
        .collect();
    let tasks = calls.iter().map(|call| task_of(call, &calls)).collect();
    let about = format!("Recorded from run {run}.");
    Ok(Trace { schema: Trace::SCHEMA.to_owned(), name: run.to_owned(), about, models, tasks })
}

/// For each planned task, the tasks it needs.
fn plan_needs(events: &[Event]) -> HashMap<String, Vec<String>> {
    let plans = events.iter().filter(|event| event.kind == "plan.accepted");
    let tasks = plans.flat_map(|event| event.body["plan"]["tasks"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let needs = |task: &Value| task["needs"].as_array().into_iter().flatten().map(text).collect();
    tasks.map(|task| (text(&task["id"]), needs(task))).collect()
}

/// The call of an attempt, if it wrote something.
fn call(event: &Event, task: &str, started_ms: Option<u64>) -> Option<Call> {
    let body = &event.body;
    let output_tokens = u32::try_from(body["usage"]["completion_tokens"].as_u64()?).ok()?;
    let text = body["prompt"].as_str()?.to_owned();
    if output_tokens == 0 || text.is_empty() {
        return None;
    }
    let attempt = body["attempt"].as_u64().unwrap_or(1);
    Some(Call {
        task: task.to_owned(),
        id: if attempt == 1 { task.to_owned() } else { format!("{task}.{attempt}") },
        model: body["model"].as_str()?.to_owned(),
        text,
        output_tokens,
        temperature: body["sampling"]["temperature"].as_f64().unwrap_or(0.0) as f32,
        start_ms: started_ms.unwrap_or(event.ms),
        end_ms: event.ms,
        needs: Vec::new(),
    })
}

/// What a call had to wait for: its previous attempt; else what the plan says; else, for the planner's own calls,
/// everything that had ended.
fn needs(call: &Call, before: &[Call], plan: &HashMap<String, Vec<String>>) -> Vec<usize> {
    let last_of = |task: &str| before.iter().rposition(|other| other.task == task);
    if let Some(attempt) = last_of(&call.task) {
        return vec![attempt];
    }
    if plan.contains_key(&call.task) {
        let mut found = Vec::new();
        let (mut open, mut seen) = (plan[&call.task].clone(), HashSet::new());
        while let Some(task) = open.pop().filter(|_| seen.len() <= plan.len()) {
            match last_of(&task) {
                _ if !seen.insert(task.clone()) => {}
                Some(index) => found.push(index),
                // A rule's work takes almost no time, so wait for what it needed instead.
                None => open.extend(plan.get(&task).cloned().unwrap_or_default()),
            }
        }
        if !found.is_empty() {
            found.sort_unstable();
            return found;
        }
        let planners = |other: &Call| !plan.contains_key(&other.task) && other.end_ms <= call.start_ms;
        return last_calls(before, planners);
    }
    last_calls(before, |other| other.end_ms <= call.start_ms)
}

/// Of the calls selected by `counts`, those that no other selected call waited for.
fn last_calls(calls: &[Call], counts: impl Fn(&Call) -> bool) -> Vec<usize> {
    let counted: Vec<usize> = (0..calls.len()).filter(|&index| counts(&calls[index])).collect();
    let needed: HashSet<usize> =
        counted.iter().flat_map(|&index| calls[index].needs.iter().copied()).collect();
    counted.into_iter().filter(|index| !needed.contains(index)).collect()
}

fn task_of(call: &Call, calls: &[Call]) -> Task {
    let ready_ms = call.needs.iter().map(|&need| calls[need].end_ms).max().unwrap_or(0);
    let gap_ms = call.start_ms.saturating_sub(ready_ms);
    Task {
        id: call.id.clone(),
        model: call.model.clone(),
        needs: call.needs.iter().map(|&need| calls[need].id.clone()).collect(),
        think_ms: if gap_ms < THINK_MS_MIN { 0 } else { gap_ms },
        prefix: None,
        reads_needs: false,
        prompt_tokens: 0,
        prompt: None,
        text: Some(call.text.clone()),
        temperature: call.temperature,
        output_tokens: call.output_tokens,
        class: TaskClass::Run,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn events(lines: &[(u64, &str, Value)]) -> Vec<Event> {
        let event = |(seq, (ms, kind, body)): (usize, &(u64, &str, Value))| Event {
            seq: seq as u64 + 1,
            ms: *ms,
            kind: (*kind).to_owned(),
            body: body.clone(),
        };
        lines.iter().enumerate().map(event).collect()
    }

    fn started(task: &str) -> Value {
        json!({"task": task, "attempt": 1})
    }

    fn output(task: &str, attempt: u32, model: &str, tokens: u32) -> Value {
        json!({"task": task, "attempt": attempt, "model": model, "prompt": format!("<s>{task}"), "sampling": {"temperature": 0.5},
               "usage": {"completion_tokens": tokens}})
    }

    #[test]
    fn a_run_becomes_its_calls_with_what_each_waited_for() {
        let plan = json!({"plan": {"tasks": [{"id": "t1", "needs": []}, {"id": "t2", "needs": []},
            {"id": "sum", "needs": ["t1", "t2"]}, {"id": "t3", "needs": ["sum"]}]}});
        let events = events(&[
            (10, "task.started", started("plan")),
            (100, "task.output", output("plan", 1, "big", 9)),
            (101, "plan.accepted", plan),
            (102, "task.started", started("t1")),
            (102, "task.started", started("t2")),
            (200, "task.output", output("t1", 1, "small", 5)),
            (210, "task.retried", started("t1")),
            (300, "task.output", output("t2", 1, "small", 6)),
            (400, "task.output", output("t1", 2, "big", 7)),
            (900, "task.started", started("t3")),
            (950, "task.output", output("t3", 1, "small", 8)),
            (960, "task.output", output("empty", 1, "small", 0)),
            (970, "task.started", started("synthesis")),
            (999, "task.output", output("synthesis", 1, "big", 4)),
        ]);
        let trace = trace_of_run("r1", &events).expect("six calls");
        let json = serde_json::to_string(&trace).expect("JSON");
        assert_eq!(Trace::parse("r1", &json).expect("it can be read again"), trace);
        let found_tasks: Vec<(&str, Vec<&str>, u64, u32)> = trace
            .tasks
            .iter()
            .map(|task| {
                let needs = task.needs.iter().map(String::as_str).collect();
                (task.id.as_str(), needs, task.think_ms, task.output_tokens)
            })
            .collect();
        let expected = [
            ("plan", vec![], 0, 9),
            ("t1", vec!["plan"], 0, 5),
            ("t2", vec!["plan"], 0, 6),
            ("t1.2", vec!["t1"], 0, 7),
            ("t3", vec!["t2", "t1.2"], 500, 8),
            ("synthesis", vec!["t3"], 20, 4),
        ];
        assert_eq!(found_tasks, expected);
        assert_eq!(trace.tasks[1].text.as_deref(), Some("<s>t1"));
        assert!(trace_of_run("r2", &events[..1]).expect_err("no calls").contains("r2 called no model"));
    }
}

//! A manager, which is the planner, hands out tasks to the workers, looks at their results, and hands out more until it
//! has enough or a limit is reached. Then it answers.

use bandmaster::orchestrator::{
    Ended, Goal, Job, Move, PLANNER, Prompt, Reply, RunState, Skill, Strategy, Task, TaskState, Template,
    Verdict,
};
use serde::Deserialize;
use serde_json::json;

const ORDERS: Template = Template::new("manager.orders", 1, include_str!("orders.txt"));
const WORK: Template = Template::new("manager.work", 1, include_str!("work.txt"));
const ANSWER: Template = Template::new("manager.answer", 1, include_str!("answer.txt"));

/// Most times that the manager hands out tasks, and most tasks that it hands out at a time.
const ROUNDS_MAX: usize = 3;
const TASKS_MAX: usize = 3;

/// What the manager writes. No tasks means that it has enough.
#[derive(Deserialize)]
struct Orders {
    tasks: Vec<Order>,
}

#[derive(Deserialize)]
struct Order {
    worker: String,
    instruction: String,
}

pub struct Manager;

impl Strategy for Manager {
    fn next(&self, _: &Goal, state: &RunState) -> Move {
        if state.tasks.iter().any(|task| !task.has_ended()) {
            return Move::Wait;
        }
        let rounds = state.tasks.iter().filter(|task| task.task.job == Job::Plan).count();
        let last = state.tasks.last();
        if last.is_some_and(|task| task.task.job == Job::Synthesis) || state.is_stopped() {
            return Move::Answer(end(state));
        }
        let orders = last.filter(|task| task.task.job == Job::Plan).and_then(orders);
        match orders {
            Some(orders) if !orders.tasks.is_empty() => hand_out(rounds, &orders),
            None if rounds < ROUNDS_MAX && last.is_none_or(|task| task.task.job != Job::Plan) => {
                Move::add(of_manager(&format!("orders{}", rounds + 1), Job::Plan, state))
            }
            _ => Move::add(Task { streams_answer: true, ..of_manager("answer", Job::Synthesis, state) }),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        let (asked, mut results) = (("goal", goal.text.as_str()), results(state));
        if results.is_empty() {
            "none yet".clone_into(&mut results);
        }
        match task.job {
            Job::Plan => {
                let workers: Vec<&str> = writers(goal).collect();
                // The first time, it can't have enough.
                let tasks_min = if task.needs.is_empty() { 2 } else { 0 };
                ORDERS.prompt(&[asked, ("results", &results)]).with_schema(schema(&workers, tasks_min))
            }
            Job::Synthesis => ANSWER.prompt(&[asked, ("results", &results)]),
            _ => WORK.prompt(&[("inputs", &goal.inputs_under("Text")), ("instruction", &task.instruction)]),
        }
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        let text = reply.text.trim();
        if text.is_empty() {
            return Verdict::reject("it is empty");
        }
        let orders = (task.job == Job::Plan).then(|| serde_json::from_str::<Orders>(text));
        let known = |order: &Order| state.tasks.iter().any(|task| task.task.instruction == order.instruction);
        let nobody = |order: &Order| !writers(goal).any(|worker| worker == order.worker);
        match orders {
            Some(Err(error)) => Verdict::reject(format!("not the JSON that was asked for: {error}")),
            Some(Ok(orders)) if orders.tasks.iter().any(known) => Verdict::reject("it repeats a task"),
            Some(Ok(orders)) if orders.tasks.iter().any(nobody) => Verdict::reject("there is no such worker"),
            _ => Verdict::Accept(text.to_owned()),
        }
    }
}

/// The workers that write.
fn writers(goal: &Goal) -> impl Iterator<Item = &str> {
    goal.band.workers.iter().filter(|info| info.skills.contains(&Skill::Write)).map(|info| &*info.worker)
}

/// The orders of the manager; none if it failed.
fn orders(task: &TaskState) -> Option<Orders> {
    Some(task.accepted().and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Orders { tasks: vec![] }))
}

fn of_manager(id: &str, job: Job, state: &RunState) -> Task {
    let needs = state.tasks.iter().map(|task| task.id.clone()).collect();
    let instruction = id.to_owned();
    // It can do with what there is.
    Task { needs, instruction, with_gaps: true, ..Task::new(id, job, [PLANNER, PLANNER]) }
}

fn hand_out(round: usize, orders: &Orders) -> Move {
    let task = |(at, order): (usize, &Order)| Task {
        instruction: order.instruction.clone(),
        ..Task::new(format!("t{round}.{}", at + 1), Job::Step, [&*order.worker, PLANNER])
    };
    Move::Add { tasks: orders.tasks.iter().enumerate().map(task).collect(), proposed: None }
}

/// One line for each result.
fn results(state: &RunState) -> String {
    let line = |task: &TaskState| Some(format!("- {}: {}", task.task.instruction, task.accepted()?));
    state.plan_tasks().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Without an answer, the results stand for themselves.
fn end(state: &RunState) -> Ended {
    let answer = state.result("answer").map_or_else(|| results(state), str::to_owned);
    let failed = state.tasks.iter().filter(|task| task.accepted().is_none());
    let missing: Vec<String> = failed
        .map(|task| format!("{}: {}", task.task.instruction, task.error.as_deref().unwrap_or("not done")))
        .collect();
    Ended { answer, failed_tasks: missing.len(), missing, ..Ended::default() }
}

fn schema(workers: &[&str], tasks_min: usize) -> serde_json::Value {
    let properties = json!({"worker": {"enum": workers}, "instruction": {"type": "string", "minLength": 6}});
    let task = json!({
        "type": "object", "properties": properties, "required": ["worker", "instruction"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {"tasks": {"type": "array", "items": task, "minItems": tasks_min, "maxItems": TASKS_MAX}},
        "required": ["tasks"],
        "additionalProperties": false,
    })
}

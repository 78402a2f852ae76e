//! The sequence strategy: the planner splits the goal into steps, does each with the results of the earlier ones, and
//! answers from all results.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::aside::topic;
use super::attempt::Context;
use super::band::{Finish, Message, Reply, Role};
use super::checks::{check_text, check_whole, mostly_in, words};
use super::dispatch::{Build, Done, Draw, ModelWork, Results, Verdict, Work, dispatch};
use super::event::EventKind;
use super::outcome::Ended;
use super::outcome::TaskReport;
use super::own_words::{Foreign, Topic};
use super::plan::{Plan, Shape, Task};
use super::planner::{Question, ask};
use super::registry::{PLANNER, Registry};
use super::request::RunRequest;

/// Most steps, unless the goal names more. A small planner that writes more repeats itself.
const STEPS_MAX: usize = 4;
/// Most tokens of the list of steps, with `STEP_WORDS_TOKENS` more for each step that is allowed.
const STEPS_TOKENS_MAX: u32 = 160;
const STEP_WORDS_TOKENS: u32 = 60;
/// Most times the planner is asked for steps.
const DRAWS: usize = 3;
/// Words that are typical of the worked example in the prompt.
const EXAMPLES_OWN: &[&str] = &["ship", "lost", "captain"];
const STEP_TOKENS_MAX: u32 = 400;
const ANSWER_TOKENS_MAX: u32 = 600;

#[derive(Serialize, Deserialize)]
struct Steps {
    steps: Vec<String>,
}

pub async fn run(context: &Context, registry: &Registry, request: &Arc<RunRequest>) -> Ended {
    let mut ended = Ended::default();
    let (steps, report) = write_steps(context, registry, request).await;
    ended.planner_tasks.push(report);
    context.send(EventKind::PlanProposed { slots: json!({"steps": steps}) });
    let (plan, builds) = lay_out(registry, request, &steps);
    context.send(EventKind::PlanAccepted { plan: plan.clone() });
    let done = dispatch(context, &plan, builds).await;
    for (step, one) in steps.iter().zip(&done).filter(|(_, one)| one.accepted.is_none()) {
        let error = one.report.error.as_deref().unwrap_or("not done");
        ended.missing.push(format!("the step \"{step}\": {error}"));
    }
    for (step, _) in steps.iter().zip(&done).filter(|(_, one)| one.cut) {
        ended.missing.push(format!("what the step \"{step}\" found was cut off at {STEP_TOKENS_MAX} tokens"));
    }
    ended.failed_tasks = ended.missing.len();
    let results = told(steps.iter().zip(&done).map(|(step, one)| (step.as_str(), one.accepted.as_deref())));
    ended.answer = if results.is_empty() {
        String::new()
    } else {
        let (answer, report) = conclude(context, registry, request, &results, &done).await;
        ended.planner_tasks.extend(report);
        super::missing::with_missing(answer, &ended.missing)
    };
    ended.tasks = done.into_iter().map(|one| one.report).collect();
    ended
}

/// How many steps a goal may name: one, and one more for each word or mark that may join two steps.
fn steps_max(goal: &str) -> usize {
    const JOINTS: [&str; 9] =
        ["then", "next", "after", "afterwards", "finally", "and", "dann", "puis", "ensuite"];
    let joints = words(goal).iter().filter(|word| JOINTS.contains(&word.as_str())).count();
    let marks = goal.matches([';', '\n', ',']).count();
    STEPS_MAX.max(1 + joints + marks).min(3 * STEPS_MAX)
}

fn schema(steps_max: usize) -> Value {
    let step = json!({"type": "string", "minLength": 6});
    json!({
        "type": "object",
        "properties": {"steps": {"type": "array", "items": step, "minItems": 2, "maxItems": steps_max}},
        "required": ["steps"],
        "additionalProperties": false,
    })
}

async fn write_steps(
    context: &Context,
    registry: &Registry,
    request: &Arc<RunRequest>,
) -> (Vec<String>, TaskReport) {
    let prompt = format!(
        "Split the goal into the steps it names, in order. Each step is one short, complete instruction; a later step may \
speak of what an earlier one found.\n\
Goal: Find out which ship was lost and then say who its captain was.\n\
{{\"steps\": [\"Find out which ship was lost.\", \"Say who was the captain of the ship that was lost.\"]}}\n\n\
Goal: {}",
        request.goal
    );
    let topic = topic(request, EXAMPLES_OWN).await;
    let steps_max = steps_max(&request.goal);
    let question = Question {
        id: "plan",
        purpose: "write the steps",
        messages: request.messages(prompt),
        schema: Some(schema(steps_max)),
        tokens_max: STEPS_TOKENS_MAX + steps_max as u32 * STEP_WORDS_TOKENS,
        critical_path_tokens: 2 * STEP_TOKENS_MAX,
        check: Arc::new(move |reply: &Reply| check_steps(reply, &topic)),
        tries: DRAWS,
    };
    let done = ask(context, registry, question).await;
    let steps = done.accepted.as_deref().and_then(|json| serde_json::from_str::<Steps>(json).ok());
    // Without usable steps, the goal itself is the only one.
    (steps.map_or_else(|| vec![request.goal.clone()], |steps| steps.steps), done.report)
}

/// Accepts two or more steps that were not cut off and are about the goal.
fn check_steps(reply: &Reply, topic: &Topic) -> Verdict {
    let redraw = |why: &str| Verdict::Redraw { why: why.to_owned(), kept: None };
    if reply.finish == Finish::Length {
        return redraw("it was cut off at its limit");
    }
    match serde_json::from_str::<Steps>(&reply.text) {
        Ok(steps) if steps.steps.iter().any(|step| topic.foreign(step) == Some(Foreign::Example)) => {
            redraw("a step comes from a worked example, not from the goal")
        }
        Ok(steps) if topic.foreign(&steps.steps.join(" ")) == Some(Foreign::Nobody) => {
            redraw("the steps have nothing to do with the goal")
        }
        Ok(steps) if steps.steps.len() >= 2 => Verdict::Accept(reply.text.clone()),
        Ok(_) => Verdict::Reject("there must be two steps or more".to_owned()),
        Err(e) => Verdict::Reject(format!("not the JSON that was asked for: {e}")),
    }
}

fn lay_out(registry: &Registry, request: &RunRequest, steps: &[String]) -> (Plan, Vec<Build>) {
    let mut tasks: Vec<Task> = Vec::new();
    let mut builds: Vec<Build> = Vec::new();
    let inputs: Arc<str> = request
        .inputs
        .iter()
        .map(|input| format!("Text ({}):\n{}\n\n", input.name, input.text.trim()))
        .collect::<String>()
        .into();
    for (at, step) in steps.iter().enumerate() {
        let needs: Vec<String> = tasks.iter().map(|task| task.id.clone()).collect();
        tasks.push(Task {
            id: format!("t{}", at + 1),
            worker: PLANNER.to_owned(),
            instruction: step.clone(),
            input: None,
            needs: needs.clone(),
            output: Shape::Text,
            tokens_max: STEP_TOKENS_MAX,
        });
        let (inputs, step, planner) = (Arc::clone(&inputs), step.clone(), registry.planner());
        let earlier: Vec<String> = steps[..at].to_vec();
        let before = request.conversation.clone();
        builds.push(Box::new(move |results: &Results| {
            let found = needs.iter().map(|need| results.get(need).and_then(Option::as_deref));
            let found = told(earlier.iter().map(String::as_str).zip(found));
            Work::Model(ModelWork {
                messages: [&before[..], &[Message::new(Role::User, step_prompt(&inputs, &found, &step))]]
                    .concat(),
                schema: None,
                ladder: vec![planner.clone(), planner],
                check: Arc::new(|reply: &Reply| match check_text(&reply.text) {
                    Ok(text) => Verdict::Accept(text),
                    Err(why) => Verdict::Reject(why),
                }),
                draw: Draw::MostLikely,
                streams_answer: false,
            })
        }));
    }
    (Plan::new(tasks).expect("a step needs the ones before it"), builds)
}

/// The prompt of a step. The texts come first: they are the same in every step and are computed once.
fn step_prompt(inputs: &str, found: &str, step: &str) -> String {
    let found = if found.is_empty() { String::new() } else { format!("Known so far:\n{found}\n\n") };
    format!("{inputs}{found}Do this step and nothing else, shortly: {step}")
}

/// One line for each step that found something.
fn told<'a>(steps: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let lines = steps.filter_map(|(step, found)| Some(format!("- {step} {}", found?.trim())));
    lines.collect::<Vec<_>>().join("\n")
}

async fn conclude(
    context: &Context,
    registry: &Registry,
    request: &RunRequest,
    results: &str,
    done: &[Done],
) -> (String, Option<TaskReport>) {
    let last = done.iter().rev().find_map(|one| one.accepted.clone()).unwrap_or_default();
    if context.cancel.reason().is_some() {
        return (results.to_owned(), None);
    }
    let prompt = format!(
        "The goal was worked on in steps. Results:\n{results}\n\nAnswer the goal from these results, telling what each \
step found.\n\nGoal: {}",
        request.goal
    );
    let wanted = last.clone();
    let question = Question {
        id: "synthesis",
        purpose: "answer the goal from the steps",
        messages: request.messages(prompt),
        schema: None,
        tokens_max: ANSWER_TOKENS_MAX,
        critical_path_tokens: 0,
        tries: 2,
        check: Arc::new(move |reply: &Reply| match check_whole(reply) {
            // The last step's result is what the goal wants; an answer without it was made up.
            Ok(text) if mostly_in(&text, &wanted) => Verdict::Accept(text),
            Ok(_) => Verdict::Reject(format!("it does not tell the last result: {wanted}")),
            Err(why) => Verdict::Reject(why),
        }),
    };
    let answered = ask(context, registry, question).await;
    (answered.accepted.unwrap_or_else(|| results.to_owned()), Some(answered.report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_what_the_earlier_ones_found_and_not_what_failed() {
        let found = told([("Find the ship.", Some("The Anna.\n")), ("Find the port.", None)].into_iter());
        assert_eq!(found, "- Find the ship. The Anna.");
        let prompt = step_prompt("Text (a.md):\nx\n\n", &found, "Name its captain.");
        assert!(prompt.starts_with("Text (a.md)") && prompt.ends_with("Name its captain."));
        assert!(prompt.contains("Known so far:\n- Find the ship. The Anna."));
        assert!(!step_prompt("", "", "Go.").contains("Known"));
    }
}

//! The sequence strategy: the planner splits the goal into steps, does each with the results of the earlier ones, and
//! answers from all results.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::band::{Finish, Reply};
use crate::checks::{check_text, check_whole, mostly_in, request_in, words};
use crate::goal::{Goal, PLANNER};
use crate::missing::with_missing;
use crate::plan::{Job, Task};
use crate::prompts;
use crate::request::StrategyName;
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Move, Prompt, Strategy, Verdict};
use crate::topic::{Foreign, Topic};

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

pub(super) struct Sequence;

impl Strategy for Sequence {
    fn name(&self) -> StrategyName {
        StrategyName::Sequence
    }

    fn next(&self, goal: &Goal, state: &RunState) -> Move {
        let Some(plan) = state.task("plan") else { return Move::add(plan_task(goal)) };
        if !plan.has_ended() {
            return Move::Wait;
        }
        let done: Vec<&TaskState> = state.plan_tasks().collect();
        if done.is_empty() {
            return add_steps(goal, plan);
        }
        if done.iter().any(|step| !step.has_ended()) {
            return Move::Wait;
        }
        let results = found(&done);
        match state.task("synthesis") {
            None if !results.is_empty() && !state.is_stopped() => Move::add(synthesis_task(&done)),
            Some(answer) if !answer.has_ended() => Move::Wait,
            answer => Move::Answer(end(&done, results, answer)),
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match task.job {
            Job::Plan => prompts::SEQUENCE_PLAN
                .prompt(&[("goal", &goal.text)])
                .with_schema(schema(steps_max(&goal.text))),
            Job::Synthesis => {
                let done: Vec<&TaskState> = state.plan_tasks().collect();
                prompts::SEQUENCE_SYNTHESIS.prompt(&[("found", &found(&done)), ("goal", &goal.text)])
            }
            _ => {
                let needs = task.needs.iter().filter_map(|need| state.task(need));
                let found = found(&needs.collect::<Vec<_>>());
                step_prompt(&goal.inputs_under("Text"), &found, &task.instruction)
            }
        }
        .after(&goal.conversation)
    }

    fn plan_fields(&self) -> Option<&'static str> {
        Some(
            "steps: the steps in order, two or more. Each is a complete instruction and is given the results of those before it.",
        )
    }

    fn check(&self, task: &Task, goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
        match task.job {
            Job::Plan => check_steps(reply, goal.topic(EXAMPLES_OWN)),
            Job::Synthesis => check_answer(reply, state),
            _ => match check_text(&reply.text) {
                Ok(text) => check_step(task, state, text),
                Err(why) => Verdict::reject(why),
            },
        }
    }
}

/// A step that asks for something instead of doing what it should is tried once more. If it asks again, it does need an
/// answer. A step may be to write a request, though.
fn check_step(task: &Task, state: &RunState, text: String) -> Verdict {
    const TO_ASK: [&str; 12] = [
        "ask",
        "asks",
        "asking",
        "question",
        "questions",
        "request",
        "interview",
        "survey",
        "letter",
        "email",
        "message",
        "reply",
    ];
    let is_to_ask = words(&task.instruction).iter().any(|word| TO_ASK.contains(&word.as_str()));
    let Some(question) = request_in(&text).filter(|_| !is_to_ask) else { return Verdict::Accept(text) };
    let attempts = state.task(&task.id).map_or(&[][..], |task| &task.attempts);
    let before = &attempts[..attempts.len().saturating_sub(1)];
    if before.iter().any(|attempt| request_in(&attempt.output).is_some()) {
        return Verdict::Ask(question);
    }
    Verdict::Reject { why: format!("it asks instead of answering: {question}"), kept: Some(text) }
}

fn plan_task(goal: &Goal) -> Task {
    Task {
        id: "plan".to_owned(),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); DRAWS],
        instruction: "write the steps".to_owned(),
        tokens_max: STEPS_TOKENS_MAX + steps_max(&goal.text) as u32 * STEP_WORDS_TOKENS,
        ..Task::default()
    }
}

fn add_steps(goal: &Goal, plan: &TaskState) -> Move {
    let steps = plan.accepted().and_then(|json| serde_json::from_str::<Steps>(json).ok());
    // Without usable steps, the goal itself is the only one.
    let steps = steps.map_or_else(|| vec![goal.text.clone()], |steps| steps.steps);
    let task = |(at, step): (usize, &String)| Task {
        id: format!("t{}", at + 1),
        job: Job::Step,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: step.clone(),
        needs: (1..=at).map(|earlier| format!("t{earlier}")).collect(),
        tokens_max: STEP_TOKENS_MAX,
        with_gaps: true,
        ..Task::default()
    };
    Move::Add { tasks: steps.iter().enumerate().map(task).collect(), proposed: Some(json!({"steps": steps})) }
}

fn synthesis_task(done: &[&TaskState]) -> Task {
    Task {
        id: "synthesis".to_owned(),
        job: Job::Synthesis,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: "answer the goal from the steps".to_owned(),
        needs: done.iter().map(|step| step.id.clone()).collect(),
        tokens_max: ANSWER_TOKENS_MAX,
        with_gaps: true,
        ..Task::default()
    }
}

fn end(done: &[&TaskState], results: String, answer: Option<&TaskState>) -> Ended {
    let mut ended = Ended::default();
    for step in done.iter().filter(|step| step.accepted().is_none()) {
        let error = step.error.as_deref().unwrap_or("not done");
        ended.missing.push(format!("the step \"{}\": {error}", step.task.instruction));
    }
    for step in done.iter().filter(|step| step.cut) {
        let instruction = &step.task.instruction;
        ended
            .missing
            .push(format!("what the step \"{instruction}\" found was cut off at {STEP_TOKENS_MAX} tokens"));
    }
    ended.failed_tasks = ended.missing.len();
    if !results.is_empty() {
        let answer = answer.and_then(TaskState::accepted).map_or(results, str::to_owned);
        ended.answer = with_missing(answer, &ended.missing);
    }
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

/// Accepts two or more steps that were not cut off and are about the goal.
fn check_steps(reply: &Reply, topic: &Topic) -> Verdict {
    if reply.finish == Finish::Length {
        return Verdict::reject("it was cut off at its limit");
    }
    match serde_json::from_str::<Steps>(&reply.text) {
        Ok(steps) if steps.steps.iter().any(|step| topic.foreign(step) == Some(Foreign::Example)) => {
            Verdict::reject("a step comes from a worked example, not from the goal")
        }
        Ok(steps) if topic.foreign(&steps.steps.join(" ")) == Some(Foreign::Nobody) => {
            Verdict::reject("the steps have nothing to do with the goal")
        }
        Ok(steps) if steps.steps.len() >= 2 => Verdict::Accept(reply.text.clone()),
        Ok(_) => Verdict::reject("there must be two steps or more"),
        Err(e) => Verdict::reject(format!("not the JSON that was asked for: {e}")),
    }
}

/// `found` is what earlier steps found.
fn step_prompt(inputs: &str, found: &str, step: &str) -> Prompt {
    if found.is_empty() {
        return prompts::SEQUENCE_STEP.prompt(&[("inputs", inputs), ("step", step)]);
    }
    prompts::SEQUENCE_LATER_STEP.prompt(&[("inputs", inputs), ("found", found), ("step", step)])
}

/// One line for each step that found something.
fn found(steps: &[&TaskState]) -> String {
    lines(steps.iter().map(|step| (step.task.instruction.as_str(), step.accepted())))
}

fn lines<'a>(steps: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let lines = steps.filter_map(|(step, found)| Some(format!("- {step} {}", found?.trim())));
    lines.collect::<Vec<_>>().join("\n")
}

/// The last step's result is what the goal wants; an answer without it was made up.
fn check_answer(reply: &Reply, state: &RunState) -> Verdict {
    let results: Vec<&str> = state.plan_tasks().filter_map(TaskState::accepted).collect();
    let wanted = results.last().copied().unwrap_or_default();
    match check_whole(reply) {
        Ok(text) if mostly_in(&text, wanted) => Verdict::Accept(text),
        Ok(_) => Verdict::reject(format!("the last result is missing: {wanted}")),
        Err(why) => Verdict::reject(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_what_the_earlier_ones_found_and_not_what_failed() {
        let found = lines([("Find the ship.", Some("The Anna.\n")), ("Find the port.", None)].into_iter());
        assert_eq!(found, "- Find the ship. The Anna.");
        let asked = |inputs, found, step| step_prompt(inputs, found, step).messages.remove(0).content;
        let prompt = asked("Text (a.md):\nx\n\n", &found, "Name its captain.");
        assert!(prompt.starts_with("Text (a.md)") && prompt.ends_with("Name its captain."));
        assert!(prompt.contains("Known so far:\n- Find the ship. The Anna."));
        assert!(!asked("", "", "Go.").contains("Known"));
    }
}

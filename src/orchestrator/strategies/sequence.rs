//! The sequence strategy: the planner splits the goal into steps, does each with the results of the earlier ones, and
//! answers from all results. If steps fail for good, it is asked for other ones.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::band::{Finish, Reply};
use crate::checks::{check_text, check_whole, mostly_in, words};
use crate::goal::{Goal, PLANNER};
use crate::missing::with_missing;
use crate::plan::{Job, Task};
use crate::prompts;
use crate::request::StrategyName;
use crate::state::{RunState, TaskState};
use crate::strategies::{asking, dropped, rounds};
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
        let round = rounds::current(state);
        let may_plan = round == 0 || !state.is_stopped();
        match state.task(&rounds::plan_id(round)) {
            None if may_plan => return Move::add(plan_task(goal, round)),
            Some(plan) if !plan.has_ended() => return Move::Wait,
            // Without a plan, the goal itself is the only step, but not after other steps.
            Some(plan)
                if rounds::added(state).is_empty()
                    && may_plan
                    && (round == 0 || plan.accepted().is_some()) =>
            {
                return add_steps(goal, state, plan, round);
            }
            _ => {}
        }
        let done = rounds::live(state);
        if done.iter().any(|step| !step.has_ended()) {
            return Move::Wait;
        }
        if let Some(again) = rounds::again(state) {
            return again;
        }
        let results = found(&done);
        match state.task(&rounds::synthesis_id(round)) {
            None if !results.is_empty() && !state.is_stopped() => Move::add(synthesis_task(&done, round)),
            Some(answer) if !answer.has_ended() => Move::Wait,
            answer => {
                let counted = dropped::counted(state, |round, step| is_written_again(state, round, step));
                Move::Answer(end(&counted, results, answer))
            }
        }
    }

    fn prompt(&self, task: &Task, goal: &Goal, state: &RunState) -> Prompt {
        match task.job {
            Job::Plan => plan_prompt(goal, state, rounds::of_plan(state, &task.id)),
            Job::Synthesis => prompts::SEQUENCE_SYNTHESIS
                .prompt(&[("found", &found(&rounds::live(state))), ("goal", &goal.text)]),
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
            Job::Plan => check_steps(reply, goal.topic(EXAMPLES_OWN), state),
            Job::Synthesis => check_answer(reply, state),
            _ => match check_text(&reply.text) {
                Ok(text) => asking::check(task, goal, state, text),
                Err(why) => Verdict::reject(why),
            },
        }
    }
}

fn plan_task(goal: &Goal, round: usize) -> Task {
    Task {
        id: rounds::plan_id(round),
        job: Job::Plan,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); DRAWS],
        instruction: "write the steps".to_owned(),
        tokens_max: STEPS_TOKENS_MAX + steps_max(&goal.text) as u32 * STEP_WORDS_TOKENS,
        ..Task::default()
    }
}

fn add_steps(goal: &Goal, state: &RunState, plan: &TaskState, round: usize) -> Move {
    let steps = plan.accepted().and_then(|json| serde_json::from_str::<Steps>(json).ok());
    let steps = steps.map_or_else(|| vec![goal.text.clone()], |steps| new_steps(steps.steps, state));
    let (before, found) = (rounds::tasks_before(state, round), rounds::live(state));
    let task = |(at, step): (usize, &String)| Task {
        id: format!("t{}", before + at + 1),
        job: Job::Step,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: step.clone(),
        needs: found
            .iter()
            .map(|step| step.id.clone())
            .chain((0..at).map(|earlier| format!("t{}", before + earlier + 1)))
            .collect(),
        tokens_max: STEP_TOKENS_MAX,
        with_gaps: true,
        ..Task::default()
    };
    Move::Add { tasks: steps.iter().enumerate().map(task).collect(), proposed: Some(json!({"steps": steps})) }
}

/// Steps that were done or have failed in an earlier round are not done again.
fn new_steps(mut steps: Vec<String>, state: &RunState) -> Vec<String> {
    let known = |step: &String| state.plan_tasks().any(|task| words(&task.task.instruction) == words(step));
    steps.retain(|step| !known(step));
    steps
}

/// Whether the planner has written a step that had failed again in a later round.
fn is_written_again(state: &RunState, round: usize, step: &TaskState) -> bool {
    let plan = state.result(&rounds::plan_id(round));
    let steps = plan.and_then(|json| serde_json::from_str::<Steps>(json).ok());
    steps.is_some_and(|steps| steps.steps.iter().any(|one| words(one) == words(&step.task.instruction)))
}

fn synthesis_task(done: &[&TaskState], round: usize) -> Task {
    Task {
        id: rounds::synthesis_id(round),
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
        let (instruction, tokens) = (&step.task.instruction, step.cut_at());
        ended.missing.push(format!("what the step \"{instruction}\" found was cut off at {tokens} tokens"));
    }
    ended.failed_tasks = ended.missing.len();
    if !results.is_empty() {
        let answer = answer.and_then(TaskState::accepted).map_or(results, str::to_owned);
        ended.answer = with_missing(answer, &ended.missing);
        ended.unchecked.push("what the steps found, each of which is the reply of a single call".to_owned());
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

/// What the goal's only step would be needs no plan, but one step may be all that is still to be done.
fn steps_min(round: usize) -> usize {
    if round == 0 { 2 } else { 1 }
}

fn schema(steps_min: usize, steps_max: usize) -> Value {
    let step = json!({"type": "string", "minLength": 6});
    json!({
        "type": "object",
        "properties": {"steps": {"type": "array", "items": step, "minItems": steps_min, "maxItems": steps_max}},
        "required": ["steps"],
        "additionalProperties": false,
    })
}

fn plan_prompt(goal: &Goal, state: &RunState, round: usize) -> Prompt {
    let prompt = match rounds::told(state, round) {
        told if told.is_empty() => prompts::SEQUENCE_PLAN.prompt(&[("goal", &goal.text)]),
        told => prompts::SEQUENCE_PLAN_AGAIN.prompt(&[("told", &told), ("goal", &goal.text)]),
    };
    prompt.with_schema(schema(steps_min(round), steps_max(&goal.text)))
}

/// Accepts two or more steps, or one after others, that were not cut off and are about the goal.
fn check_steps(reply: &Reply, topic: &Topic, state: &RunState) -> Verdict {
    let round = rounds::current(state);
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
        Ok(steps) if new_steps(steps.steps.clone(), state).len() >= steps_min(round) => {
            Verdict::Accept(reply.text.clone())
        }
        Ok(_) if round > 0 => Verdict::reject("no step is left that was not tried before"),
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
    let results: Vec<&str> = rounds::live(state).into_iter().filter_map(TaskState::accepted).collect();
    let wanted = results.last().copied().unwrap_or_default();
    match check_whole(reply) {
        Ok(text) if mostly_in(&text, wanted) => Verdict::Accept(text),
        Ok(_) => Verdict::reject(format!("the last result is missing: {wanted}")),
        Err(why) => Verdict::reject(why),
    }
}

#[cfg(test)]
mod tests;

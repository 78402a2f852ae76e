//! The planner says of two statements whether they speak of the same thing. It is asked twice, with the statements in
//! either order, because a small model may prefer an order to an answer.

use serde_json::{Value, json};

use super::join::Fact;
use super::statement::Statement;
use crate::band::{Finish, Reply, Skill};
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::{Prompt, Verdict};

/// Most facts that the planner is asked about.
pub(super) const FACTS_MAX: usize = 6;
const REPLY_TOKENS_MAX: u32 = 120;

/// What was found out about a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The statements speak of the same thing.
    Same,
    /// The statements speak of different things, so that they can't contradict each other.
    Other,
    /// Their words and the planner disagree, or the planner's replies do, or one is missing.
    Undecided,
}

/// The questions about facts that have not been asked yet.
pub(super) fn tasks(goal: &Goal, state: &RunState, statements: &[Statement], facts: &[Fact]) -> Vec<Task> {
    // Another model decides if the planner gives no usable reply.
    let reader = goal.band.assign(Skill::Read, 0).worker.clone();
    let ladder = [PLANNER.to_owned(), PLANNER.to_owned(), reader];
    let ladder = if ladder[2] == PLANNER { &ladder[..2] } else { &ladder[..] };
    let mut tasks: Vec<Task> = Vec::new();
    for fact in facts.iter().take(FACTS_MAX) {
        for question in questions(goal, statements, fact) {
            if asked(state, &question).is_none() {
                let id = format!("t{}", state.plan_tasks().count() + tasks.len() + 1);
                let task = Task::new(id, Job::Step, ladder.to_vec());
                tasks.push(Task { instruction: question, tokens_max: REPLY_TOKENS_MAX, ..task });
            }
        }
    }
    tasks
}

fn asked<'a>(state: &'a RunState, question: &str) -> Option<&'a TaskState> {
    state.plan_tasks().find(|task| task.task.job == Job::Step && task.task.instruction == question)
}

/// The same question in both orders of the statements.
fn questions(goal: &Goal, statements: &[Statement], fact: &Fact) -> [String; 2] {
    let (a, b) = (&statements[fact.pair.0], &statements[fact.pair.1]);
    [(a, b), (b, a)].map(|(first, second)| format!("1. {}\n2. {}", told(goal, first), told(goal, second)))
}

/// A statement as the planner sees it.
fn told(goal: &Goal, statement: &Statement) -> String {
    let quote = &goal.inputs[statement.input].text[statement.quote.clone()];
    let words: Vec<&str> = quote.split_whitespace().collect();
    words.join(" ")
}

pub(super) fn prompt(task: &Task) -> Prompt {
    prompts::COMPARE_SAME.prompt(&[("statements", &task.instruction)]).with_schema(schema())
}

fn schema() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": 80});
    json!({
        "type": "object",
        "properties": {"about_1": text, "about_2": text, "same_thing": {"enum": ["yes", "no"]}},
        "required": ["about_1", "about_2", "same_thing"],
        "additionalProperties": false,
    })
}

pub(super) fn check(reply: &Reply) -> Verdict {
    match (reply.finish, verdict(&reply.text)) {
        (Finish::Length, _) => Verdict::reject("it was cut off at its limit"),
        (_, Some(_)) => Verdict::Accept(reply.text.clone()),
        (_, None) => Verdict::reject("not the JSON that was asked for"),
    }
}

fn verdict(reply: &str) -> Option<bool> {
    let reply: Value = serde_json::from_str(reply).ok()?;
    match reply["same_thing"].as_str()? {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

pub(super) fn judgement(goal: &Goal, state: &RunState, statements: &[Statement], fact: &Fact) -> Judgement {
    let replies = questions(goal, statements, fact)
        .map(|question| asked(state, &question).and_then(|task| verdict(task.accepted()?)));
    let said = |answer: bool| replies.iter().filter(|reply| **reply == Some(answer)).count();
    match fact.is_sure {
        // A small planner says no too often to overrule the words with one reply.
        true if said(true) + said(false) > 0 && said(false) < 2 => Judgement::Same,
        true => Judgement::Undecided,
        false if said(true) == 2 => Judgement::Same,
        false if said(false) == 2 => Judgement::Other,
        false => Judgement::Undecided,
    }
}

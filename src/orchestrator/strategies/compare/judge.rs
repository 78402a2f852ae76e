//! The planner says of two statements whether they speak of the same thing. It writes nothing: its log-probabilities of
//! two replies are compared, in two questions, and in both orders of the statements, because a small model may prefer
//! an order to an answer.

use super::join::Fact;
use super::statement::Statement;
use crate::goal::{Goal, PLANNER};
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::Prompt;

/// Most facts that the planner is asked about.
pub(super) const FACTS_MAX: usize = 6;
/// The sum of the four log-odds, in nats, from which statements whose words leave it open speak of the same thing. This
/// limit and the next two were fitted by hand to the default planner's replies about statements of generated texts.
const SAME: f64 = -3.9;
/// The same if their words show it.
const SAME_IF_SURE: f64 = -6.5;
/// Between this and [`SAME`] it is not clear. Below this they speak of different things.
const OTHER: f64 = -5.5;

/// What was found out about a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The statements speak of the same thing.
    Same,
    /// The statements speak of different things, so that they can't contradict each other.
    Other,
    /// The planner leaves it open, or contradicts their words, or a reply is missing.
    Undecided,
}

/// The questions about facts that have not been asked yet.
pub(super) fn tasks(goal: &Goal, state: &RunState, statements: &[Statement], facts: &[Fact]) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for fact in facts.iter().take(FACTS_MAX) {
        for question in questions(goal, statements, fact) {
            let is_new = tasks.iter().all(|task| task.instruction != question);
            if is_new && asked(state, &question).is_none() {
                let id = format!("t{}", state.plan_tasks().count() + tasks.len() + 1);
                let task = Task::new(id, Job::Step, [PLANNER; 2]);
                tasks.push(Task { instruction: question, tokens_max: 1, ..task });
            }
        }
    }
    tasks
}

fn asked<'a>(state: &'a RunState, question: &str) -> Option<&'a TaskState> {
    state.plan_tasks().find(|task| task.task.job == Job::Step && task.task.instruction == question)
}

/// Both questions in both orders of the statements.
fn questions(goal: &Goal, statements: &[Statement], fact: &Fact) -> [String; 4] {
    let (a, b) = (&statements[fact.pair.0], &statements[fact.pair.1]);
    let both = |first, second| format!("1. {}\n2. {}", told(goal, first), told(goal, second));
    let of_values = |first, second| {
        format!(
            "{VALUES}\"{}\" The other says: \"{}\"\n\nAre \"{}\" and \"{}\" two values for one and the same thing, of \
             which only one can be right?",
            told(goal, first),
            told(goal, second),
            value(goal, first),
            value(goal, second)
        )
    };
    [both(a, b), both(b, a), of_values(a, b), of_values(b, a)]
}

/// How the question about the values begins.
const VALUES: &str = "One says: ";

fn value<'a>(goal: &'a Goal, statement: &Statement) -> &'a str {
    &goal.inputs[statement.input].text[statement.bytes.clone()]
}

/// A statement as the planner sees it.
fn told(goal: &Goal, statement: &Statement) -> String {
    let quote = &goal.inputs[statement.input].text[statement.quote.clone()];
    let words: Vec<&str> = quote.split_whitespace().collect();
    words.join(" ")
}

pub(super) fn prompt(task: &Task) -> Prompt {
    let values = [("statements", task.instruction.as_str())];
    match task.instruction.starts_with(VALUES) {
        true => prompts::COMPARE_VALUES
            .prompt(&values)
            .with_options(&[r#"{"same_thing": "yes"}"#, r#"{"same_thing": "no"}"#]),
        false => prompts::COMPARE_SAME
            .prompt(&values)
            .with_options(&[r#"{"they_tell": "the same thing"}"#, r#"{"they_tell": "different things"}"#]),
    }
}

pub(super) fn judgement(goal: &Goal, state: &RunState, statements: &[Statement], fact: &Fact) -> Judgement {
    let odds = questions(goal, statements, fact)
        .map(|question| asked(state, &question).and_then(|task| task.accepted()?.parse::<f64>().ok()));
    let Some(sum) = odds.into_iter().sum::<Option<f64>>() else { return Judgement::Undecided };
    match fact.is_sure {
        true if sum > SAME_IF_SURE => Judgement::Same,
        false if sum > SAME => Judgement::Same,
        false if sum <= OTHER => Judgement::Other,
        _ => Judgement::Undecided,
    }
}

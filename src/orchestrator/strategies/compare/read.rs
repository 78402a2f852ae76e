//! A model reads each text for what it states. Its topics name the values that rules find in the text, and it finds
//! names and places that have no form of their own. What does not stand in the text is dropped.

use std::ops::Range;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::statement::Statement;
use super::value::Value;
use crate::band::{Finish, Reply, Skill};
use crate::checks::words;
use crate::goal::{Goal, PLANNER, WorkerInfo};
use crate::plan::{Job, Slice, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::{Move, Prompt, SplitAsked, Verdict};
use crate::topic::content_words;

/// Tokens of a model's context kept free for the prompt's own words.
const FRAME_TOKENS: usize = 500;
/// Most tokens of a part. Small models leave out more of a longer text.
const PART_TOKENS_MAX: usize = 600;
/// Most facts of one reading. A longer list is read again in two parts.
const FACTS_MAX: usize = 24;
/// A part of fewer bytes is not cut further.
const HALF_BYTES_MIN: usize = 200;
/// A value of more words is a sentence.
const VALUE_WORDS_MAX: usize = 6;

#[derive(Debug, Deserialize)]
struct Reading {
    facts: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    words: String,
    value: String,
    topic: String,
}

/// Adds a reading of each input or part of one.
pub(super) fn first(goal: &Goal, state: &RunState) -> Move {
    let (mut unsplit, mut tasks) = (Vec::new(), Vec::new());
    for (index, input) in goal.inputs.iter().enumerate() {
        let worker = reader(goal, index);
        let tokens_max = (worker.context_tokens.saturating_sub(FRAME_TOKENS) / 3).clamp(64, PART_TOKENS_MAX);
        match state.parts_for(index, &worker.worker, tokens_max, input.text.len()) {
            Some(parts) => {
                let count = parts.len();
                for (part, bytes) in parts.into_iter().enumerate() {
                    let slice = Slice { index, name: input.name.clone(), part, parts: count, bytes };
                    tasks.push(task(goal, slice, state.plan_tasks().count() + tasks.len()));
                }
            }
            None => unsplit.push(SplitAsked { input: index, worker: worker.worker.clone(), tokens_max }),
        }
    }
    if unsplit.is_empty() { Move::Add { tasks, proposed: None } } else { Move::Split(unsplit) }
}

fn reader(goal: &Goal, index: usize) -> &WorkerInfo {
    goal.band.assign(Skill::Read, index)
}

fn task(goal: &Goal, slice: Slice, place: usize) -> Task {
    let worker = reader(goal, slice.index);
    let ladder = if worker.worker == PLANNER {
        vec![PLANNER.to_owned(); 2]
    } else {
        goal.band.ladder(worker, Skill::Read)
    };
    let bytes = u32::try_from(slice.bytes.len()).unwrap_or(u32::MAX / 4);
    let task = Task::new(format!("t{}", place + 1), Job::Read, ladder);
    Task {
        instruction: "list what it states".to_owned(),
        input: Some(slice),
        tokens_max: 160 + bytes,
        ..task
    }
}

/// Readings of the halves of parts whose own reading failed.
pub(super) fn halves(goal: &Goal, state: &RunState) -> Vec<Task> {
    let all: Vec<&TaskState> = readings(state).collect();
    let has_parts = |slice: &Slice| {
        all.iter().any(|other| other.task.input.as_ref().is_some_and(|other| other.is_part_of(slice)))
    };
    let failed = all.iter().filter(|task| task.has_ended() && task.accepted().is_none());
    let slices = failed.filter_map(|task| task.task.input.as_ref()).filter(|slice| !has_parts(slice));
    let mut tasks: Vec<Task> = Vec::new();
    for slice in slices {
        let text = goal.part(slice);
        let middle = text.floor_char_boundary(text.len() / 2);
        let Some(cut) = text[..middle].rfind('\n').map(|at| at + 1) else { continue };
        if cut < HALF_BYTES_MIN || text.len() - cut < HALF_BYTES_MIN {
            continue;
        }
        let start = slice.bytes.start;
        for (part, bytes) in [start..start + cut, start + cut..slice.bytes.end].into_iter().enumerate() {
            let half = Slice { part, parts: 2, bytes, ..slice.clone() };
            tasks.push(task(goal, half, state.plan_tasks().count() + tasks.len()));
        }
    }
    tasks
}

pub(super) fn readings(state: &RunState) -> impl Iterator<Item = &TaskState> {
    state.plan_tasks().filter(|task| task.task.job == Job::Read)
}

pub(super) fn prompt(task: &Task, goal: &Goal) -> Prompt {
    let Some(slice) = &task.input else { return Prompt::default() };
    let values = [("source", slice.name.as_str()), ("text", goal.part(slice).trim())];
    prompts::COMPARE_READ.prompt(&values).with_schema(schema())
}

fn schema() -> Json {
    let text = json!({"type": "string", "minLength": 1});
    let fact = json!({
        "type": "object",
        "properties": {"words": text, "value": text, "topic": text},
        "required": ["words", "value", "topic"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {"facts": {"type": "array", "items": fact, "maxItems": FACTS_MAX}},
        "required": ["facts"],
        "additionalProperties": false,
    })
}

/// Accepts a whole list. Its items are checked one by one when they are used.
pub(super) fn check(reply: &Reply) -> Verdict {
    if reply.finish == Finish::Length {
        return Verdict::reject("it was cut off at its limit");
    }
    match serde_json::from_str::<Reading>(&reply.text) {
        Ok(reading) if reading.facts.len() >= FACTS_MAX => {
            Verdict::reject("the text states more than one list holds")
        }
        Ok(_) => Verdict::Accept(reply.text.clone()),
        Err(error) => Verdict::reject(format!("not the JSON that was asked for: {error}")),
    }
}

/// Adds what the readings say to the statements that rules have found.
pub(super) fn add(goal: &Goal, state: &RunState, statements: &mut Vec<Statement>) {
    for task in readings(state) {
        let Some(slice) = &task.task.input else { continue };
        let reading = task.accepted().and_then(|text| serde_json::from_str::<Reading>(text).ok());
        for item in reading.into_iter().flat_map(|reading| reading.facts) {
            add_item(goal, slice, &item, statements);
        }
    }
}

fn add_item(goal: &Goal, slice: &Slice, item: &Item, statements: &mut Vec<Statement>) {
    let Some(input) = goal.inputs.get(slice.index) else { return };
    let Some(quote) = place(&input.text, slice.bytes.clone(), &item.words) else { return };
    let Some(bytes) = place(&input.text, quote.clone(), &item.value) else { return };
    let topic = content_words(&item.topic);
    let overlaps = |one: &&mut Statement| {
        one.input == slice.index && one.bytes.start < bytes.end && bytes.start < one.bytes.end
    };
    let mut known = statements.iter_mut().filter(overlaps).peekable();
    if known.peek().is_some() {
        known.for_each(|one| one.label.extend(topic.iter().cloned()));
        return;
    }
    let value = words(&input.text[bytes.clone()]);
    let is_name = input.text[bytes.clone()].starts_with(char::is_uppercase);
    if is_name && (1..=VALUE_WORDS_MAX).contains(&value.len()) {
        let clause = content_words(&input.text[quote.clone()]);
        let value = Value::Name(value);
        let around = Vec::new();
        statements.push(Statement {
            input: slice.index,
            bytes,
            quote,
            value,
            label: topic,
            clause,
            around,
            occasion: Vec::new(),
            period: Vec::new(),
        });
    }
}

/// Where words stand in a part of a text, white space aside.
fn place(text: &str, part: Range<usize>, words: &str) -> Option<Range<usize>> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let first = words.first()?;
    let inner = &text[part.clone()];
    inner.match_indices(first).find_map(|(at, _)| {
        let mut end = at;
        for word in &words {
            let rest = &inner[end..];
            let skipped = rest.len() - rest.trim_start().len();
            end += skipped;
            end += inner[end..].starts_with(word).then_some(word.len())?;
        }
        Some(part.start + at..part.start + end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_their_part_whatever_the_white_space() {
        let text = "at the Old Mill.\nWe meet at the\n  Old Mill today.";
        let check = |part: Range<usize>, words: &str, expected: Option<&str>| {
            assert_eq!(place(text, part, words).map(|range| &text[range]), expected, "{words}");
        };
        check(0..text.len(), "the Old Mill", Some("the Old Mill"));
        check(17..text.len(), "the Old Mill", Some("the\n  Old Mill"));
        check(0..text.len(), "the Red Mill", None);
        check(0..8, "the Old Mill", None);
        check(0..text.len(), "", None);
    }
}

//! Puts the results together: by rule under the names of their texts or as a list, or merged by the planner, whose text
//! must hold every result.

use super::fill::planned;
use super::slots::{Slots, Together, Work};
use super::tasks::{doubt, fold_failed, results};
use crate::band::Reply;
use crate::checks::{check_whole, numbers_in};
use crate::goal::{Goal, PLANNER};
use crate::missing::with_missing;
use crate::outcome::Status;
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::{Ended, Prompt, Verdict};
use crate::topic::{content_words, is_same_word};

/// Tokens of the planner's context kept free for the goal and the chat template.
const FRAME_TOKENS: usize = 500;
/// Of ten content words of a result, how many have to be in a merged text.
const WORDS_KEPT: usize = 6;

/// The result for an input; `None` without one.
fn result(state: &RunState, slots: &Slots, index: usize) -> Option<String> {
    let all = results(state, index);
    let texts: Vec<&str> = all.iter().filter_map(|task| task.accepted()).map(str::trim).collect();
    if texts.is_empty() {
        return None;
    }
    if !slots.wants_label() {
        return Some(texts.join(if slots.work.keeps_all() { "\n\n" } else { "\n" }));
    }
    // The parts of a text may have different labels. The most frequent one counts, and of several the first.
    let votes = |label: &str| texts.iter().filter(|text| **text == label).count();
    let most = texts.iter().map(|label| votes(label)).max()?;
    texts.iter().find(|label| votes(label) == most).map(|label| (*label).to_owned())
}

/// The results that there are, each with the name of its input.
fn done<'a>(goal: &'a Goal, state: &RunState, slots: &Slots) -> Vec<(&'a str, String)> {
    let inputs = goal.inputs.iter().enumerate();
    inputs.filter_map(|(index, input)| Some((input.name.as_str(), result(state, slots, index)?))).collect()
}

/// Whether the planner is to merge the results, and has room for them.
pub(super) fn wants_merge(goal: &Goal, state: &RunState, slots: &Slots) -> bool {
    let done = done(goal, state, slots);
    let bytes: usize = done.iter().map(|(_, text)| text.len()).sum();
    let has_room = bytes + FRAME_TOKENS <= goal.band.planner.context_tokens;
    slots.together == Together::OneText && done.len() > 1 && has_room
}

pub(super) fn task(goal: &Goal, state: &RunState) -> Task {
    let slots = planned(goal, state);
    let bytes: usize = done(goal, state, &slots).iter().map(|(_, text)| text.len()).sum();
    Task {
        id: "synthesis".to_owned(),
        job: Job::Synthesis,
        worker: PLANNER.to_owned(),
        ladder: vec![PLANNER.to_owned(); 2],
        instruction: "merge the results into one text".to_owned(),
        needs: state.plan_tasks().map(|task| task.id.clone()).collect(),
        tokens_max: u32::try_from(bytes / 2).unwrap_or(u32::MAX / 4) + 128,
        with_gaps: true,
        ..Task::default()
    }
}

pub(super) fn prompt(goal: &Goal, state: &RunState) -> Prompt {
    let slots = planned(goal, state);
    let texts: Vec<String> = done(goal, state, &slots).into_iter().map(|(_, text)| text).collect();
    let language = slots.language.map_or_else(String::new, |language| format!(" Write in {language}."));
    prompts::EACH_MERGE.prompt(&[("texts", &texts.join("\n\n")), ("language", &language)])
}

/// Accepts a text that holds every result: their numbers, and most of their words.
pub(super) fn check(goal: &Goal, state: &RunState, slots: &Slots, reply: &Reply) -> Verdict {
    let done = done(goal, state, slots);
    let all: Vec<&str> = done.iter().map(|(_, text)| text.as_str()).collect();
    let all = all.join("\n\n");
    let text = super::checks::tidied(slots, &all, &reply.text);
    let checked = check_whole(&Reply { text, ..reply.clone() });
    let merged = match checked {
        Ok(text) => text,
        Err(why) => return Verdict::reject(why),
    };
    let (has, numbers) = (content_words(&merged), numbers_in(&merged));
    for (name, result) in &done {
        let told = content_words(result);
        let kept = told.iter().filter(|word| has.iter().any(|other| is_same_word(word, other))).count();
        if 10 * kept < WORDS_KEPT * told.len() || !numbers_in(result).is_subset(&numbers) {
            return Verdict::reject(format!("not all of what {name} gives is in it"));
        }
    }
    match numbers.is_subset(&numbers_in(&all)) {
        true => Verdict::Accept(merged),
        false => Verdict::reject("it has a number that none of the texts has"),
    }
}

pub(super) fn ended(goal: &Goal, state: &RunState, slots: &Slots) -> Ended {
    let done = done(goal, state, slots);
    let missing: Vec<String> =
        (0..goal.inputs.len()).flat_map(|index| missing_of(goal, state, slots, index)).collect();
    let merged = state.task("synthesis").and_then(TaskState::accepted);
    let answer = match (merged, slots.together) {
        (Some(merged), Together::OneText) => merged.to_owned(),
        (_, Together::OneText) => {
            let texts: Vec<&str> = done.iter().map(|(_, text)| text.as_str()).collect();
            texts.join("\n\n")
        }
        (_, Together::Sections) => under_names(&done),
        (_, Together::List | Together::Count) if done.iter().any(|(_, text)| text.contains('\n')) => {
            under_names(&done)
        }
        (_, together) => {
            let lines: Vec<String> = done.iter().map(|(name, text)| format!("- {name}: {text}")).collect();
            let counts = (together == Together::Count).then(|| format!("\n\n{}", counts(slots, &done)));
            lines.join("\n") + &counts.unwrap_or_default()
        }
    };
    let (failed_tasks, error) = match done.is_empty() {
        true => (missing.len(), Some(format!("no text has a result: {}", missing.join("; ")))),
        false => (missing.len(), None),
    };
    let answer = if done.is_empty() { String::new() } else { with_missing(answer, &missing) };
    let unchecked = (!done.is_empty()).then(|| unchecked(slots)).flatten().into_iter().collect();
    Ended { answer, missing, failed_tasks, unchecked, error, ..Ended::default() }
}

/// What of the work no rule can check.
fn unchecked(slots: &Slots) -> Option<String> {
    (slots.work == Work::Other).then(|| "whether each result is what the goal asks for".to_owned())
}

fn under_names(done: &[(&str, String)]) -> String {
    let sections: Vec<String> = done.iter().map(|(name, text)| format!("## {name}\n\n{text}")).collect();
    sections.join("\n\n")
}

/// How many texts have each label.
fn counts(slots: &Slots, done: &[(&str, String)]) -> String {
    let count = |label: &String| done.iter().filter(|(_, text)| text == label).count();
    let lines: Vec<String> = slots.labels.iter().map(|label| format!("{label}: {}", count(label))).collect();
    lines.join("\n")
}

/// What the answer lacks of an input's result.
fn missing_of(goal: &Goal, state: &RunState, slots: &Slots, index: usize) -> Vec<String> {
    let name = &goal.inputs[index].name;
    let mut missing = Vec::new();
    let all = results(state, index);
    if all.is_empty() {
        let stopped = state.stopped.map_or("the run was stopped", |stopped| stopped.reason.in_words());
        missing.push(format!("{name} was not worked on: {stopped} before it began"));
    }
    let of_parts = state.plan_tasks().filter(|task| {
        task.task.input.as_ref().is_some_and(|slice| slice.index == index) && task.accepted().is_none()
    });
    for task in of_parts {
        let part = task.task.input.as_ref().filter(|slice| slice.parts > 1);
        let part =
            part.map_or(String::new(), |slice| format!(", part {} of {}", slice.part + 1, slice.parts));
        let why = task.error.as_deref().unwrap_or("it was not done");
        missing.push(match task.status {
            Status::Cancelled | Status::Skipped => format!("{name}{part} was not worked on: {why}"),
            _ => format!("{name}{part} has no result: {why}"),
        });
    }
    for task in all {
        let doubt = doubt(task, goal, state, slots);
        missing.extend(doubt.map(|why| format!("the result for {name} is not as it should be: {why}")));
    }
    if fold_failed(state, index) {
        missing.push(format!("the results for the parts of {name} could not be made one"));
    }
    missing
}

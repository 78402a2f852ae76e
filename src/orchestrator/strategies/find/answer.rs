//! Words the answer: the planner says it shortly, in words of the sentence that answers, and the rest is put together by
//! rule: the sentence, and where it stands.

use serde::Deserialize;
use serde_json::json;

use super::nearness::Nearness;
use super::place::Place;
use super::{judge, question, read};
use crate::band::{Finish, Reply};
use crate::checks::{mostly_in, numbers_in, words};
use crate::goal::Goal;
use crate::missing::with_missing;
use crate::plan::{Job, Task};
use crate::prompts;
use crate::state::RunState;
use crate::strategy::{Ended, Prompt, Verdict};

const ANSWER_TOKENS_MAX: u32 = 120;
/// Of the words of the question that the texts use, the share that a sentence must have if nobody but the planner says
/// that it answers.
const SHARE_MIN: f64 = 0.5;

/// What is said before sentences that may answer.
const UNCERTAIN: &str = "It is not certain that the inputs say this.";

pub(super) fn task(goal: &Goal, state: &RunState) -> Task {
    let needs = state.plan_tasks().map(|task| task.id.clone()).collect();
    let task = Task::new("synthesis", Job::Synthesis, super::ladder(goal));
    let instruction = "answer in words of the sentence".to_owned();
    Task { needs, instruction, with_gaps: true, tokens_max: ANSWER_TOKENS_MAX, ..task }
}

pub(super) fn prompt(goal: &Goal, state: &RunState) -> Prompt {
    let sentence = judge::told(state).first().map(|place| place.shown(goal)).unwrap_or_default();
    let question = question::searched(goal, state);
    let schema = json!({
        "type": "object",
        "properties": {"answer": {"type": "string", "minLength": 1}},
        "required": ["answer"],
        "additionalProperties": false,
    });
    prompts::FIND_ANSWER.prompt(&[("question", question), ("sentence", &sentence)]).with_schema(schema)
}

#[derive(Deserialize)]
struct Raw {
    answer: String,
}

/// Accepts an answer whose words and numbers stand in the sentence.
pub(super) fn check(goal: &Goal, state: &RunState, reply: &Reply) -> Verdict {
    let places = judge::told(state);
    let Some(place) = places.first() else { return Verdict::reject("there is no sentence to answer from") };
    match serde_json::from_str::<Raw>(&reply.text) {
        _ if reply.finish == Finish::Length => Verdict::reject("it was cut off at its limit"),
        Ok(raw) if holds(place.text(goal), question::searched(goal, state), &raw.answer) => {
            Verdict::Accept(raw.answer.trim().to_owned())
        }
        Ok(_) => Verdict::reject("the sentence does not hold the answer"),
        Err(error) => Verdict::reject(format!("not the JSON that was asked for: {error}")),
    }
}

/// Whether a sentence holds the words of an answer, and with the question its numbers.
fn holds(sentence: &str, question: &str, answer: &str) -> bool {
    let known = &numbers_in(sentence) | &numbers_in(question);
    !words(answer).is_empty() && mostly_in(sentence, answer) && numbers_in(answer).is_subset(&known)
}

pub(super) fn ended(goal: &Goal, state: &RunState) -> Ended {
    let missing = missing(state);
    let failed_tasks = missing.len();
    let ended = match judge::told(state).as_slice() {
        [] => not_found(goal, state),
        found => told(goal, state, found),
    };
    Ended { answer: with_missing(ended.answer, &missing), missing, failed_tasks, ..ended }
}

fn told(goal: &Goal, state: &RunState, places: &[Place]) -> Ended {
    let cited = |place: &Place| format!("\"{}\" ({})", place.shown(goal), place.told(goal));
    let is_sure = !judge::answering(state).is_empty();
    let short = state.result("synthesis");
    let first = short.map(|answer| format!("{answer}\n\n")).unwrap_or_default();
    let perhaps = short.map(|answer| format!("Perhaps: {answer}\n\n")).unwrap_or_default();
    let lines = || places.iter().map(|place| format!("- {}", cited(place))).collect::<Vec<_>>().join("\n");
    let answer = match places {
        [only] if is_sure => format!("{first}{}", cited(only)),
        _ if is_sure => format!("Several sentences answer this, the nearest first:\n\n{}", lines()),
        [only] => format!("{perhaps}{UNCERTAIN} This sentence comes nearest: {}", cited(only)),
        _ => format!("{perhaps}{UNCERTAIN} These sentences come nearest:\n\n{}", lines()),
    };
    let unchecked = match places {
        [_] if !is_sure => Some("whether the quoted sentence answers exactly this question".to_owned()),
        _ if !is_sure => Some("which of the quoted sentences answers the question, if one does".to_owned()),
        [only] if Nearness::new(goal, state).share(only) >= SHARE_MIN => None,
        [_] => {
            Some("whether the quoted sentence, which has few of the question's words, answers it".to_owned())
        }
        several => Some(format!("which of the {} quoted sentences is meant", several.len())),
    };
    let citations = places.iter().map(|place| place.citation(goal)).collect();
    Ended { answer, citations, unchecked: unchecked.into_iter().collect(), ..Ended::default() }
}

/// Says plainly that the inputs don't say, and how much of them was read.
fn not_found(goal: &Goal, state: &RunState) -> Ended {
    let all = state.searches.first().map_or(0, |search| search.parts);
    let (read, judged) = (read::read_whole(state), judge::count(state));
    let names: Vec<&str> = goal.inputs.iter().map(|input| input.name.as_str()).collect();
    let whose = match names.as_slice() {
        [only] => format!("{only} does not say."),
        [a, b] => format!("{a} and {b} do not say."),
        several => format!("The answer was not found: none of the {} texts says it.", several.len()),
    };
    let question = question::searched(goal, state);
    let how = match read >= all {
        true => format!("All {all} parts were read for: {question}"),
        false => format!(
            "Of {all} parts, the {read} nearest to the question were read whole, and the {judged} nearest sentences were \
             compared with it: {question}"
        ),
    };
    let probable = judge::probable(state);
    let mut unchecked: Vec<String> = probable
        .first()
        .map(|place| format!("whether {} answers it", place.told(goal)))
        .into_iter()
        .collect();
    let mut nearest = String::new();
    if read < all {
        unchecked.push(format!("whether the other {} parts say it", all - read));
        if let Some(place) = judge::nearest(state) {
            nearest =
                format!("\n\nThe nearest sentence is: \"{}\" ({})", place.shown(goal), place.told(goal));
        }
    }
    Ended { answer: format!("{whose}\n\n{how}{nearest}"), unchecked, ..Ended::default() }
}

/// What could not be read because a call failed, one clause for each call.
fn missing(state: &RunState) -> Vec<String> {
    let failed = state.plan_tasks().filter(|task| task.has_ended() && task.accepted().is_none());
    let told = |why: Option<&str>| format!("a passage could not be read: {}", why.unwrap_or("no result"));
    let mut missing: Vec<String> = failed.map(|task| told(task.error.as_deref())).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

//! Judges sentences one by one: is a sentence the answer to the question, or does it speak of something similar? A small
//! model decides that for one sentence far better than it chooses among several. Two wordings of the question to it must
//! agree.

use serde::Deserialize;
use serde_json::{Value, json};

use super::nearness::Nearness;
use super::place::Place;
use super::{question, read};
use crate::band::{Finish, Reply};
use crate::goal::Goal;
use crate::plan::{Job, Passage, Task};
use crate::prompts;
use crate::state::RunState;
use crate::strategy::{Prompt, Verdict};

/// Sentences that are judged at the same time.
const AT_ONCE: usize = 6;
/// Most of the nearest sentences of one search that are judged.
const OF_SEARCH_MAX: usize = 12;
/// Of the sentences that are judged at the same time, how many are there for their words, wherever they stand.
const BY_WORDS: usize = 2;
/// In how many wordings each sentence is judged. All must agree.
const WORDINGS: u32 = 2;
const TOKENS_MAX: u32 = 40;

/// The sentences that answer the question, by both wordings.
pub(super) fn answering(state: &RunState) -> Vec<Place> {
    let judged =
        |wording: u32| judged(state).filter(move |(_, other, yes)| *other == wording && *yes == Some(true));
    let first = judged(0).map(|(place, ..)| place);
    let both: Vec<Place> = first.filter(|place| judged(1).any(|(other, ..)| other == *place)).collect();
    // A sentence that answers by itself needs none beside it.
    let shorter = |place: &Place| both.iter().any(|other| other != place && other.is_within(place));
    both.iter().filter(|place| !shorter(place)).cloned().collect()
}

/// The sentences of which only the first wording says that they answer.
pub(super) fn doubtful(state: &RunState) -> Vec<Place> {
    let answering = answering(state);
    let first = judged(state).filter(|(_, wording, yes)| *wording == 0 && *yes == Some(true));
    first.map(|(place, ..)| place).filter(|place| !answering.contains(place)).collect()
}

/// How many sentences were judged.
pub(super) fn count(state: &RunState) -> usize {
    judged(state).filter(|(_, wording, _)| *wording == 0).count()
}

/// The sentences that were given to the planner, each with the wording and what it said.
fn judged(state: &RunState) -> impl Iterator<Item = (Place, u32, Option<bool>)> {
    state.plan_tasks().filter_map(|task| match &task.task.job {
        Job::Judge { passage, wording } => {
            let said = task.accepted().map(|said| said == "yes");
            Some((Place::of(passage), *wording, said))
        }
        _ => None,
    })
}

/// The next sentences to be judged; none if enough were.
pub(super) fn tasks(goal: &Goal, state: &RunState) -> Vec<Task> {
    let known: Vec<(Place, u32, Option<bool>)> = judged(state).collect();
    let is_known = |place: &Place, wording: u32| {
        known.iter().any(|(other, of, _)| place.is_within(other) && *of == wording)
    };
    let again = known.iter().filter(|(_, wording, yes)| *wording == 0 && *yes == Some(true));
    let again = again.filter(|(place, ..)| !is_known(place, 1));
    let again: Vec<(Place, u32)> = again.map(|(place, ..)| (place.clone(), 1)).collect();
    if !again.is_empty() || !answering(state).is_empty() {
        return made(goal, state, again);
    }
    let nearness = Nearness::new(goal, state);
    let quoted = read::quoted(state).into_iter().filter(|place| !is_known(place, 0));
    let quoted: Vec<(Place, u32)> = quoted.map(|place| (place, 0)).collect();
    if !quoted.is_empty() {
        return made(goal, state, quoted);
    }
    let mut new: Vec<Place> = Vec::new();
    let mut take = |place: &Place, most: usize| {
        let place = nearness.with_context(place);
        let is_new = !is_known(&place, 0) && !new.iter().any(|other| place.is_within(other));
        if is_new && new.len() < most {
            new.push(place);
        }
    };
    let is_first = known.is_empty();
    let by_words = if is_first { BY_WORDS } else { 0 };
    let of_parts = of_parts(state);
    of_parts.iter().for_each(|place| take(place, AT_ONCE - by_words));
    if is_first {
        nearness.nearest().into_iter().take(AT_ONCE).for_each(|(place, _)| take(place, AT_ONCE));
    }
    made(goal, state, new.into_iter().map(|place| (place, 0)).collect())
}

/// The nearest sentence of each of the nearest parts.
fn of_parts(state: &RunState) -> Vec<Place> {
    let of_search =
        state.searches.iter().map(|search| &search.found[..search.found.len().min(OF_SEARCH_MAX)]);
    let searches: Vec<_> = of_search.collect();
    let ranks = 0..searches.iter().map(|found| found.len()).max().unwrap_or_default();
    let found = ranks.flat_map(|rank| searches.iter().filter_map(move |found| found.get(rank)));
    let place = |found: &crate::event::Found| {
        let bytes = found.sentences.get(found.nearest).unwrap_or(&found.bytes).clone();
        Place { input: found.input, bytes }
    };
    found.map(place).collect()
}

fn made(goal: &Goal, state: &RunState, places: Vec<(Place, u32)>) -> Vec<Task> {
    let there = state.plan_tasks().count();
    let task = |(number, (place, wording)): (usize, (Place, u32))| {
        let passage = Passage { input: place.input, bytes: place.bytes };
        let task = Task::new(format!("t{number}"), Job::Judge { passage, wording }, super::ladder(goal));
        Task { instruction: "judge whether a sentence answers".to_owned(), tokens_max: TOKENS_MAX, ..task }
    };
    (there + 1..).zip(places).map(task).collect()
}

pub(super) fn prompt(goal: &Goal, state: &RunState, passage: &Passage, wording: u32) -> Prompt {
    let (question, sentence) = (question::searched(goal, state), Place::of(passage).shown(goal));
    let values = [("question", question), ("sentence", sentence.as_str())];
    match wording % WORDINGS {
        0 => prompts::FIND_JUDGE.prompt(&values).with_schema(schema("sentence_is", &[IS, IS_NOT])),
        _ => prompts::FIND_JUDGE_AGAIN.prompt(&values).with_schema(schema("answers", &["yes", "no"])),
    }
}

const IS: &str = "the answer";
const IS_NOT: &str = "something similar";

fn schema(field: &str, says: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": {field: {"enum": says}},
        "required": [field],
        "additionalProperties": false,
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    First { sentence_is: String },
    Again { answers: String },
}

/// Accepts "yes" or "no".
pub(super) fn check(reply: &Reply) -> Verdict {
    let said = match serde_json::from_str::<Raw>(&reply.text) {
        _ if reply.finish == Finish::Length => return Verdict::reject("it was cut off at its limit"),
        Ok(Raw::First { sentence_is }) => sentence_is == IS,
        Ok(Raw::Again { answers }) => answers == "yes",
        Err(error) => return Verdict::reject(format!("not the JSON that was asked for: {error}")),
    };
    Verdict::Accept(if said { "yes" } else { "no" }.to_owned())
}

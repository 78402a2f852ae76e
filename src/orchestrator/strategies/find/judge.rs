//! Judges sentences one by one: how likely is it that a sentence answers the question, and does not just speak of
//! something similar? A small model decides that for one sentence far better than it chooses among several. The model
//! writes nothing. Its log-probabilities of the two replies are compared, in two wordings of the question to it.
//! Replies alone would not do: of a fact in other words a small model rarely says that it is the answer, but it finds
//! the reply likelier than for any other sentence.

use super::nearness::Nearness;
use super::place::Place;
use super::{question, read};
use crate::band::{Finish, Reply};
use crate::event::{Closest, Found};
use crate::goal::Goal;
use crate::plan::{Job, Passage, Task};
use crate::prompts;
use crate::state::{RunState, TaskState};
use crate::strategy::{Prompt, Verdict};

/// Sentences that are judged at the same time.
const AT_ONCE: usize = 10;
/// Of so many of the nearest parts the nearest sentence is judged.
const OF_SEARCH_MAX: usize = 8;
/// So many of the sentences that are nearest by meaning are judged, wherever they stand.
const BY_MEANING_MAX: usize = 12;
/// Of the first sentences that are judged, at least so many are there for their words, wherever they stand.
const BY_WORDS: usize = 2;
/// In how many wordings each sentence is judged.
const WORDINGS: u32 = 2;
/// The sum of both wordings' log-odds from which a sentence counts as the answer. Sentences about something similar stay
/// below it.
const ANSWERS: f64 = 0.5;
/// The same from which a sentence is told as one that may be the answer.
const PROBABLE: f64 = -2.0;
/// What is told as probable lies no more than this below the likeliest.
const NEAR_BEST: f64 = 1.0;

/// The sentences that answer the question, the likeliest first.
pub(super) fn answering(state: &RunState) -> Vec<Place> {
    let judged = judged(state);
    let likely: Vec<&Judged> = judged.iter().filter(|judged| judged.odds() > ANSWERS).collect();
    // A sentence that answers by itself needs none beside it.
    let shorter = |place: &Place| likely.iter().any(|one| one.place != *place && one.place.is_within(place));
    likely.iter().map(|one| one.place.clone()).filter(|place| !shorter(place)).collect()
}

/// The sentences that may answer it, if none does, the likeliest first.
pub(super) fn probable(state: &RunState) -> Vec<Place> {
    let judged = judged(state);
    let Some(best) = judged.first().map(Judged::odds).filter(|odds| *odds > PROBABLE) else {
        return Vec::new();
    };
    let near = judged.iter().filter(|one| one.odds() > PROBABLE.max(best - NEAR_BEST));
    near.map(|one| one.place.clone()).collect()
}

/// The sentences that the answer tells: those that answer, or else, in long inputs, those that may.
pub(super) fn told(state: &RunState) -> Vec<Place> {
    let answering = answering(state);
    if answering.is_empty() && read::is_long(state) { probable(state) } else { answering }
}

/// The sentence that is likeliest to answer it, however unlikely.
pub(super) fn nearest(state: &RunState) -> Option<Place> {
    judged(state).into_iter().next().map(|one| one.place)
}

/// How many sentences were judged.
pub(super) fn count(state: &RunState) -> usize {
    judged(state).len()
}

/// A sentence with the log-odds, in nats, that it answers: one for each wording.
struct Judged {
    place: Place,
    said: Vec<f64>,
}

impl Judged {
    /// The sum over the wordings. A wording without a result speaks against the sentence.
    fn odds(&self) -> f64 {
        let missing = (WORDINGS as usize).saturating_sub(self.said.len());
        self.said.iter().sum::<f64>() - 10.0 * missing as f64
    }
}

/// The sentences that were given to the planner.
fn tried(state: &RunState) -> Vec<Place> {
    let passage = |task: &TaskState| match &task.task.job {
        Job::Judge { passage, .. } => Some(Place::of(passage)),
        _ => None,
    };
    state.plan_tasks().filter_map(passage).collect()
}

/// The sentences that were judged, the likeliest first.
fn judged(state: &RunState) -> Vec<Judged> {
    let mut judged: Vec<Judged> = Vec::new();
    for task in state.plan_tasks() {
        let Job::Judge { passage, .. } = &task.task.job else { continue };
        let place = Place::of(passage);
        let said = task.accepted().and_then(|odds| odds.parse::<f64>().ok());
        match judged.iter_mut().find(|one| one.place == place) {
            Some(one) => one.said.extend(said),
            None => judged.push(Judged { place, said: said.into_iter().collect() }),
        }
    }
    // A sentence of which no call has told anything was not judged.
    judged.retain(|one| !one.said.is_empty());
    judged.sort_by(|a, b| b.odds().total_cmp(&a.odds()));
    judged
}

/// The next sentences to be judged; none if enough were.
pub(super) fn tasks(goal: &Goal, state: &RunState) -> Vec<Task> {
    let known = tried(state);
    if !told(state).is_empty() {
        return Vec::new();
    }
    let is_known = |place: &Place| known.iter().any(|one| place.is_within(one));
    let nearness = Nearness::new(goal, state);
    let quoted: Vec<Place> = read::quoted(state).into_iter().filter(|place| !is_known(place)).collect();
    if !quoted.is_empty() {
        return made(goal, state, quoted);
    }
    let mut new: Vec<Place> = Vec::new();
    let mut take = |place: &Place, most: usize| {
        let place = nearness.with_context(place);
        let is_new = !is_known(&place) && !new.iter().any(|other| place.is_within(other));
        if is_new && new.len() < most {
            new.push(place);
        }
    };
    let is_first = known.is_empty();
    let by_words = if is_first { BY_WORDS } else { 0 };
    by_meaning(state).iter().for_each(|place| take(place, AT_ONCE - by_words));
    if is_first {
        nearness.nearest().into_iter().take(AT_ONCE).for_each(|(place, _)| take(place, AT_ONCE));
    }
    of_parts(state).iter().for_each(|place| take(place, AT_ONCE));
    made(goal, state, new)
}

/// The sentences that are nearest by meaning, each of another part.
fn by_meaning(state: &RunState) -> Vec<Place> {
    let found = state.searches.iter().flat_map(|search| &search.found);
    let mut closest: Vec<(usize, Place)> = found
        .filter_map(|part| {
            let Closest { sentence, rank } = part.closest.filter(|closest| closest.rank < BY_MEANING_MAX)?;
            Some((rank, Place { input: part.input, bytes: part.sentences.get(sentence)?.clone() }))
        })
        .collect();
    closest.sort_by_key(|(rank, _)| *rank);
    closest.into_iter().map(|(_, place)| place).collect()
}

/// The nearest sentence of each of the nearest parts.
fn of_parts(state: &RunState) -> Vec<Place> {
    let found = state.searches.iter().flat_map(|search| search.found.iter().take(OF_SEARCH_MAX));
    let place = |found: &Found| {
        let bytes = found.sentences.get(found.nearest).unwrap_or(&found.bytes).clone();
        Place { input: found.input, bytes }
    };
    found.map(place).collect()
}

fn made(goal: &Goal, state: &RunState, places: Vec<Place>) -> Vec<Task> {
    let there = state.plan_tasks().count();
    let judgements =
        places.into_iter().flat_map(|place| (0..WORDINGS).map(move |wording| (place.clone(), wording)));
    let task = |(number, (place, wording)): (usize, (Place, u32))| {
        let passage = Passage { input: place.input, bytes: place.bytes };
        let task = Task::new(format!("t{number}"), Job::Judge { passage, wording }, super::ladder(goal));
        Task { instruction: "judge whether a sentence answers".to_owned(), tokens_max: 1, ..task }
    };
    (there + 1..).zip(judgements).map(task).collect()
}

pub(super) fn prompt(goal: &Goal, state: &RunState, passage: &Passage, wording: u32) -> Prompt {
    let (question, sentence) = (question::searched(goal, state), Place::of(passage).shown(goal));
    let values = [("question", question), ("sentence", sentence.as_str())];
    match wording % WORDINGS {
        0 => prompts::FIND_JUDGE
            .prompt(&values)
            .with_options(&[r#"{"sentence_is": "the answer"}"#, r#"{"sentence_is": "something similar"}"#]),
        _ => prompts::FIND_JUDGE_AGAIN
            .prompt(&values)
            .with_options(&[r#"{"answers": "yes"}"#, r#"{"answers": "no"}"#]),
    }
}

/// Accepts the log-probabilities of both replies, as the log-odds of the first.
pub(super) fn check(reply: &Reply) -> Verdict {
    match serde_json::from_str::<[f64; 2]>(&reply.text) {
        _ if reply.finish == Finish::Length => Verdict::reject("it was cut off at its limit"),
        Ok([yes, no]) => Verdict::Accept(format!("{:.3}", yes - no)),
        Err(error) => Verdict::reject(format!("not two log-probabilities: {error}")),
    }
}

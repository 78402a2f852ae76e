//! Judges the answers that were taken from sentences: how likely is it that a sentence answers the question, and does not
//! just speak of something similar? The planner writes nothing. Its log-probabilities of two replies are compared, in
//! two questions to it. Replies alone would not do: of a fact in other words a small model rarely says that it is the
//! answer, but it finds the reply likelier than for any other sentence.

use super::nearness::Nearness;
use super::place::Place;
use super::{extract, question, read};
use crate::event::{Closest, Found};
use crate::goal::Goal;
use crate::plan::{Job, Passage, Task};
use crate::prompts;
use crate::state::RunState;
use crate::strategy::Prompt;

/// Sentences that answers are taken from at first. One of the five nearest by meaning nearly always has the answer.
const FIRST_BY_MEANING: usize = 5;
/// Of the first sentences, at least so many are there for their words, wherever they stand.
const FIRST_BY_WORDS: usize = 2;
/// Sentences that answers are taken from at the same time if the first have none.
const AT_ONCE: usize = 10;
/// Of so many of the nearest parts the nearest sentence is taken.
const OF_SEARCH_MAX: usize = 8;
/// So many of the sentences that are nearest by meaning are taken, wherever they stand.
const BY_MEANING_MAX: usize = 12;

/// What the planner is asked about each answer, and how much its log-odds count. The weights and the three limits below
/// were fitted by hand to the default planner's replies about generated texts. `tests/long/book_questions.py` and
/// `judge.py` show how well they do on others.
const QUESTIONS: [(Asked, f64); 2] = [(Asked::Fits, 1.0), (Asked::IsNotSimilar, 0.25)];
/// The weighted sum of log-odds, in nats, from which an answer counts as the answer.
const ANSWERS: f64 = 0.0;
/// The same from which it is told as one that may be the answer.
const PROBABLE: f64 = -1.0;
/// What lies this far below the likeliest is not told beside it.
const NEAR_BEST: f64 = 1.25;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether the sentence says that this is the answer.
    Fits,
    /// Whether the sentence is about what was asked or about something similar.
    IsNotSimilar,
}

/// An answer from a sentence, with how likely it is to be the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    pub place: Place,
    pub answer: String,
    /// Weighted sum of log-odds, in nats.
    odds: f64,
}

impl Judged {
    pub(super) fn is_sure(&self) -> bool {
        self.odds > ANSWERS
    }
}

/// The answers that are told, the likeliest first: those near the likeliest, if that counts as the answer or, in long
/// inputs, if it may be the answer.
pub(super) fn told(state: &RunState) -> Vec<Judged> {
    let judged = judged(state);
    let Some(best) = judged.first().cloned() else { return Vec::new() };
    if !(best.is_sure() || (read::is_long(state) && best.odds > PROBABLE)) {
        return Vec::new();
    }
    let near: Vec<&Judged> =
        judged.iter().filter(|one| one.odds > PROBABLE.max(best.odds - NEAR_BEST)).collect();
    // A sentence that answers by itself needs none beside it.
    let has_shorter = |one: &Judged| {
        near.iter().any(|other| {
            let is_shorter = other.place != one.place && other.place.is_within(&one.place);
            is_shorter && (other.is_sure() || other.answer == one.answer)
        })
    };
    near.iter().filter(|one| !has_shorter(one)).map(|one| (*one).clone()).collect()
}

/// The answer that is likeliest, if it may be the answer.
pub(super) fn probable(state: &RunState) -> Option<Judged> {
    judged(state).into_iter().next().filter(|best| best.odds > PROBABLE)
}

/// The sentence that is likeliest to answer, however unlikely.
pub(super) fn nearest(state: &RunState) -> Option<Place> {
    let judged = judged(state).into_iter().next().map(|one| one.place);
    judged.or_else(|| extract::asked(state).into_iter().next().map(|(place, _)| place))
}

/// How many sentences were compared with the question.
pub(super) fn count(state: &RunState) -> usize {
    extract::asked(state).len()
}

/// The answers that were judged, the likeliest first.
fn judged(state: &RunState) -> Vec<Judged> {
    let answers = extract::asked(state).into_iter();
    let mut judged: Vec<Judged> = answers
        .filter_map(|(place, answer)| {
            let odds =
                (0..QUESTIONS.len()).map(|number| Some(QUESTIONS[number].1 * odds(state, &place, number)?));
            Some(Judged { odds: odds.sum::<Option<f64>>()?, answer: answer?.to_owned(), place })
        })
        .collect();
    judged.sort_by(|a, b| b.odds.total_cmp(&a.odds));
    judged
}

/// What a question to the planner has given for a sentence.
fn odds(state: &RunState, place: &Place, number: usize) -> Option<f64> {
    let is_it = |job: &Job| match job {
        Job::Judge { passage, wording } => Place::of(passage) == *place && *wording as usize == number,
        _ => false,
    };
    let task = state.plan_tasks().find(|task| is_it(&task.task.job))?;
    task.accepted()?.parse().ok()
}

/// The next tasks: judgements of the answers that there are, or else answers from more sentences; none if an answer was
/// found or no sentence is left.
pub(super) fn tasks(goal: &Goal, state: &RunState) -> Vec<Task> {
    let unjudged = unjudged(state);
    if !unjudged.is_empty() {
        return made(goal, state, unjudged);
    }
    if !told(state).is_empty() {
        return Vec::new();
    }
    extract::tasks(goal, state, next_places(goal, state))
}

/// The sentences whose answer was not judged yet.
fn unjudged(state: &RunState) -> Vec<Place> {
    let is_judged = |place: &Place| {
        let is_it = |job: &Job| matches!(job, Job::Judge { passage, .. } if Place::of(passage) == *place);
        state.plan_tasks().any(|task| is_it(&task.task.job))
    };
    let answers = extract::asked(state).into_iter().filter(|(_, answer)| answer.is_some());
    answers.map(|(place, _)| place).filter(|place| !is_judged(place)).collect()
}

/// The next sentences that answers are taken from.
fn next_places(goal: &Goal, state: &RunState) -> Vec<Place> {
    let known: Vec<Place> = extract::asked(state).into_iter().map(|(place, _)| place).collect();
    let is_known = |place: &Place| known.iter().any(|one| place.is_within(one));
    let nearness = Nearness::new(goal, state);
    let quoted: Vec<Place> = read::quoted(state).into_iter().filter(|place| !is_known(place)).collect();
    if !quoted.is_empty() {
        return quoted;
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
    let most = if is_first { FIRST_BY_MEANING + FIRST_BY_WORDS } else { AT_ONCE };
    by_meaning(state).iter().for_each(|place| take(place, if is_first { FIRST_BY_MEANING } else { AT_ONCE }));
    if is_first {
        nearness.nearest().into_iter().take(AT_ONCE).for_each(|(place, _)| take(place, most));
    }
    of_parts(state).iter().for_each(|place| take(place, most));
    new
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
    let number = 0..u32::try_from(QUESTIONS.len()).unwrap_or_default();
    let judgements =
        places.into_iter().flat_map(|place| number.clone().map(move |wording| (place.clone(), wording)));
    let task = |(number, (place, wording)): (usize, (Place, u32))| {
        let passage = Passage { input: place.input, bytes: place.bytes };
        let task = Task::new(format!("t{number}"), Job::Judge { passage, wording }, super::ladder(goal));
        Task { instruction: "judge whether a sentence answers".to_owned(), tokens_max: 1, ..task }
    };
    (there + 1..).zip(judgements).map(task).collect()
}

pub(super) fn prompt(goal: &Goal, state: &RunState, passage: &Passage, wording: u32) -> Prompt {
    let place = Place::of(passage);
    let sentence = place.shown(goal);
    let answer =
        extract::asked(state).into_iter().find(|(other, _)| *other == place).and_then(|(_, answer)| answer);
    let values = [
        ("question", question::searched(goal, state)),
        ("sentence", sentence.as_str()),
        ("answer", answer.unwrap_or_default()),
    ];
    match QUESTIONS[wording as usize % QUESTIONS.len()].0 {
        Asked::Fits => {
            prompts::FIND_FITS.prompt(&values).with_options(&[r#"{"fits": "yes"}"#, r#"{"fits": "no"}"#])
        }
        Asked::IsNotSimilar => prompts::FIND_JUDGE
            .prompt(&values[..2])
            .with_options(&[r#"{"sentence_is": "the answer"}"#, r#"{"sentence_is": "something similar"}"#]),
    }
}

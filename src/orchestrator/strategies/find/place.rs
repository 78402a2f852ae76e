//! Places in the inputs: sentences that a search found, words of a quote in a passage, and lines.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::checks::words;
use crate::goal::Goal;
use crate::outcome::Citation;
use crate::plan::Passage;
use crate::state::RunState;

/// A sentence of an input, or a few that stand together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Place {
    pub input: usize,
    pub bytes: Range<usize>,
}

impl Place {
    pub(super) fn of(passage: &Passage) -> Self {
        Self { input: passage.input, bytes: passage.bytes.clone() }
    }

    /// Whether both have some of the same text.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.input == other.input && self.bytes.start < other.bytes.end && other.bytes.start < self.bytes.end
    }

    /// Whether another place has all of its text.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.input == other.input
            && other.bytes.start <= self.bytes.start
            && self.bytes.end <= other.bytes.end
    }

    pub(super) fn text<'a>(&self, goal: &'a Goal) -> &'a str {
        let text = goal.inputs.get(self.input).and_then(|input| input.text.get(self.bytes.clone()));
        text.unwrap_or_default()
    }

    /// The text on one line.
    pub(super) fn shown(&self, goal: &Goal) -> String {
        self.text(goal).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn citation(&self, goal: &Goal) -> Citation {
        let input = &goal.inputs[self.input];
        let line = |at: usize| 1 + input.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        let lines = [line(self.bytes.start), line(self.bytes.end.saturating_sub(1).max(self.bytes.start))];
        Citation {
            file: input.name.clone(),
            lines,
            bytes: [self.bytes.start, self.bytes.end],
            quote: self.text(goal).to_owned(),
        }
    }

    /// Such as `history.md:412`.
    pub(super) fn told(&self, goal: &Goal) -> String {
        let Citation { file, lines: [first, _], .. } = self.citation(goal);
        format!("{file}:{first}")
    }
}

/// The sentences of all parts that were found, each once, the nearest parts first.
pub(super) fn sentences(state: &RunState) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for found in state.searches.iter().flat_map(|search| &search.found) {
        for bytes in &found.sentences {
            let place = Place { input: found.input, bytes: bytes.clone() };
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places
}

/// The sentences of some passages.
pub(super) fn sentences_in(state: &RunState, passages: &[Passage]) -> Vec<Place> {
    let within = |place: &Place| {
        passages.iter().any(|passage| {
            passage.input == place.input
                && passage.bytes.start <= place.bytes.start
                && place.bytes.end <= passage.bytes.end
        })
    };
    sentences(state).into_iter().filter(within).collect()
}

/// Of ten words of a quote, how many a sentence must have to be the one that is meant.
const QUOTE_WORDS_MIN: usize = 8;

/// The sentences that a quote comes from: those in which its words stand one after another, or else one that has nearly
/// all of them, because small models copy with slips.
pub(super) fn of_quote(goal: &Goal, places: &[Place], quote: &str) -> Option<Place> {
    let wanted = words(quote);
    if wanted.is_empty() {
        return None;
    }
    for (at, first) in places.iter().enumerate() {
        let mut whole = first.clone();
        for next in &places[at..] {
            if next.input != whole.input || next.bytes.end - whole.bytes.start > 4 * quote.len() + 400 {
                break;
            }
            whole.bytes.end = whole.bytes.end.max(next.bytes.end);
            if words(whole.text(goal)).windows(wanted.len()).any(|some| some == wanted) {
                return Some(narrowed(goal, whole, places, &wanted));
            }
        }
    }
    let shared = |place: &Place| {
        let has = words(place.text(goal));
        wanted.iter().filter(|word| has.contains(word)).count()
    };
    let best = places.iter().max_by_key(|place| (shared(place), std::cmp::Reverse(place.bytes.start)))?;
    (10 * shared(best) >= QUOTE_WORDS_MIN * wanted.len() && wanted.len() >= 3).then(|| best.clone())
}

/// Without sentences at the beginning that the words don't need.
fn narrowed(goal: &Goal, whole: Place, places: &[Place], wanted: &[String]) -> Place {
    let inner =
        places.iter().filter(|place| place.input == whole.input && place.bytes.end <= whole.bytes.end);
    let starts = inner.map(|place| place.bytes.start).filter(|start| *start >= whole.bytes.start);
    let has = |place: &Place| words(place.text(goal)).windows(wanted.len()).any(|some| some == wanted);
    let narrower =
        starts.map(|start| Place { input: whole.input, bytes: start..whole.bytes.end }).filter(has);
    narrower.max_by_key(|place| place.bytes.start).unwrap_or(whole)
}

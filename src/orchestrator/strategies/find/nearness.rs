//! How near sentences are to the question by its words. A word weighs more the fewer sentences have it.

use super::place::{self, Place};
use super::question;
use crate::goal::Goal;
use crate::state::RunState;
use crate::topic::{content_words, is_same_word};

/// The sentences of all parts that were found, with the words of the question that each has.
pub(super) struct Nearness {
    places: Vec<(Place, Vec<bool>)>,
    weights: Vec<f64>,
}

impl Nearness {
    pub(super) fn new(goal: &Goal, state: &RunState) -> Self {
        let mut wanted = content_words(question::searched(goal, state));
        wanted.sort_unstable();
        wanted.dedup();
        let has = |place: &Place| {
            let words = content_words(place.text(goal));
            wanted.iter().map(|word| words.iter().any(|other| is_same_word(word, other))).collect()
        };
        let places: Vec<(Place, Vec<bool>)> =
            place::sentences(state).into_iter().map(|place| (place.clone(), has(&place))).collect();
        let weight = |word: usize| {
            let having = places.iter().filter(|(_, has)| has[word]).count();
            // A word that the texts don't use says nothing about any sentence.
            if having == 0 { 0.0 } else { ((places.len() as f64 + 1.0) / having as f64).ln() }
        };
        let weights = (0..wanted.len()).map(weight).collect();
        Self { places, weights }
    }

    fn sum(&self, has: impl Fn(usize) -> bool) -> f64 {
        let weights = self.weights.iter().enumerate();
        weights.filter(|(word, _)| has(*word)).map(|(_, weight)| weight).sum()
    }

    /// The words of the question that some sentences have together, as a share of all that the texts use.
    pub(super) fn share(&self, place: &Place) -> f64 {
        let within: Vec<&Vec<bool>> =
            self.places.iter().filter(|(other, _)| other.overlaps(place)).map(|(_, has)| has).collect();
        self.sum(|word| within.iter().any(|has| has[word])) / self.sum(|_| true).max(f64::MIN_POSITIVE)
    }

    /// The sentences by nearness, the nearest first. Those with nothing of the question are left out.
    pub(super) fn nearest(&self) -> Vec<(&Place, f64)> {
        let mut near: Vec<(&Place, f64)> = self
            .places
            .iter()
            .map(|(place, has)| (place, self.sum(|word| has[word])))
            .filter(|(_, near)| *near > 0.0)
            .collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        near
    }

    /// The sentence, with the one before it if that has half as much again of the question's words: "She kept a diary.
    /// Its binding has five corners."
    pub(super) fn with_context(&self, place: &Place) -> Place {
        let before = self.places.iter().filter(|(other, _)| {
            other.input == place.input && other.bytes.end <= place.bytes.start && !other.overlaps(place)
        });
        let before = before.max_by_key(|(other, _)| other.bytes.end);
        let Some((before, _)) =
            before.filter(|(other, _)| place.bytes.start - other.bytes.end <= GAP_BYTES_MAX)
        else {
            return place.clone();
        };
        let both = Place { input: place.input, bytes: before.bytes.start..place.bytes.end };
        if self.share(&both) >= 1.5 * self.share(place) { both } else { place.clone() }
    }
}

/// White space between two sentences that stand together.
const GAP_BYTES_MAX: usize = 3;

//! An inverted index with BM25 scores (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), with the
//! inverse document frequency that is never negative, as Lucene computes it.

use std::collections::HashMap;

/// How soon more occurrences of a word stop to count.
const K1: f64 = 1.2;
/// How much a long text is held against it.
const B: f64 = 0.75;

#[derive(Default)]
pub(super) struct Bm25 {
    /// For each term the texts that have it, in order, and how often.
    postings: HashMap<Box<str>, Vec<(u32, u32)>>,
    /// Number of terms of each text.
    lengths: Vec<u32>,
    terms: u64,
}

impl Bm25 {
    pub(super) fn begin_text(&mut self) {
        self.lengths.push(0);
    }

    /// Adds a term to the text that was begun last.
    pub(super) fn add(&mut self, term: &str) {
        let Some(length) = self.lengths.last_mut() else { return };
        *length += 1;
        self.terms += 1;
        let text = self.lengths.len() as u32 - 1;
        let Some(texts) = self.postings.get_mut(term) else {
            self.postings.insert(term.into(), vec![(text, 1)]);
            return;
        };
        match texts.last_mut() {
            Some((last, count)) if *last == text => *count += 1,
            _ => texts.push((text, 1)),
        }
    }

    /// The score of every text. A term that the query has twice counts once.
    pub(super) fn scores(&self, query: &[String]) -> Vec<f64> {
        let mut scores = vec![0.0; self.lengths.len()];
        let mean = self.terms as f64 / self.lengths.len().max(1) as f64;
        let mut terms: Vec<&str> = query.iter().map(String::as_str).collect();
        terms.sort_unstable();
        terms.dedup();
        for texts in terms.into_iter().filter_map(|term| self.postings.get(term)) {
            let idf = idf(self.lengths.len(), texts.len());
            for &(text, count) in texts {
                let length = f64::from(self.lengths[text as usize]);
                let count = f64::from(count);
                scores[text as usize] +=
                    idf * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / mean));
            }
        }
        scores
    }
}

/// The weight of a term that `having` of `all` texts have.
fn idf(all: usize, having: usize) -> f64 {
    (1.0 + (all as f64 - having as f64 + 0.5) / (having as f64 + 0.5)).ln()
}

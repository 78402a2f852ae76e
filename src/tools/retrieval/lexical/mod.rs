//! Search by words: BM25 over the words of the parts and, so that inflected and compound words are found, over pieces
//! of words. No language is known here: there are no stems and no lists of stop words, since frequent words weigh little
//! anyway.

mod bm25;
mod terms;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bm25::Bm25;

/// Parts with their scores, best first. Parts without a word of the query are left out.
pub(super) type Ranking = Vec<(u32, f64)>;

/// How much pieces of words count beside whole words. Both weights were tried on the books of `tests/books.rs`.
const PIECES_WEIGHT: f64 = 0.5;
/// How much a part as a whole counts beside its best sentence.
const PART_WEIGHT: f64 = 0.25;

/// Words and pieces of words of the same texts.
#[derive(Default)]
struct Texts {
    words: Bm25,
    pieces: Bm25,
}

impl Texts {
    fn add(&mut self, texts: &mut dyn Iterator<Item = &str>) {
        self.words.begin_text();
        self.pieces.begin_text();
        for text in texts {
            terms::words(text, &mut |word| {
                self.words.add(word);
                terms::pieces(word, &mut |piece| self.pieces.add(piece));
            });
        }
    }

    /// The score of every text.
    fn scores(&self, query: &Query) -> Vec<f64> {
        let mut scores = self.words.scores(&query.words);
        for (score, more) in scores.iter_mut().zip(self.pieces.scores(&query.pieces)) {
            *score += PIECES_WEIGHT * more;
        }
        scores
    }
}

struct Query {
    words: Vec<String>,
    pieces: Vec<String>,
}

impl Query {
    fn new(text: &str) -> Self {
        let mut query = Self { words: Vec::new(), pieces: Vec::new() };
        terms::words(text, &mut |word| {
            query.words.push(word.to_owned());
            terms::pieces(word, &mut |piece| query.pieces.push(piece.to_owned()));
        });
        query
    }
}

/// What is searched: parts, and the sentences in them. In a whole part, the words of a question are often scattered over
/// sentences that have nothing to do with it.
#[derive(Default)]
pub(super) struct Lexical {
    parts: Texts,
    sentences: Texts,
    /// The part of each sentence.
    part_of: Vec<u32>,
    count: u32,
}

impl Lexical {
    /// Adds the next part. Parts are numbered from 0. `titles` are what the part stands under.
    pub(super) fn add<'t>(&mut self, titles: &[&'t str], sentences: &[&'t str]) {
        self.parts.add(&mut titles.iter().chain(sentences).copied());
        for &sentence in sentences {
            self.sentences.add(&mut std::iter::once(sentence));
            self.part_of.push(self.count);
        }
        self.count += 1;
    }

    /// The score of every sentence of all parts.
    pub(super) fn sentence_scores(&self, query: &str) -> Vec<f64> {
        self.sentences.scores(&Query::new(query))
    }

    /// The places of a part's sentences among all sentences.
    pub(super) fn sentences_of(&self, part: u32) -> Range<usize> {
        let first = |part| self.part_of.partition_point(|of| *of < part);
        first(part)..first(part + 1)
    }

    pub(super) fn search(&self, query: &str) -> Ranking {
        let query = Query::new(query);
        let mut best = vec![0f64; self.count as usize];
        for (&part, score) in self.part_of.iter().zip(self.sentences.scores(&query)) {
            best[part as usize] = best[part as usize].max(score);
        }
        let whole = self.parts.scores(&query).into_iter().map(|score| PART_WEIGHT * score);
        let scores = best.into_iter().zip(whole).map(|(best, whole)| best + whole);
        let mut ranking: Ranking = (0..).zip(scores).filter(|(_, score)| *score > 0.0).collect();
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranking
    }
}

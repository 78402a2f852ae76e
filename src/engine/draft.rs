//! Draft tokens for speculative decoding without a second model: what followed the same few tokens before, in the
//! sequence itself or in earlier outputs of its run. A draft token costs one token of prefill and is accepted only
//! where it equals the sampled token, so nothing here can change an answer.

use std::collections::HashMap;

use super::hash::{chain_hash, mix};

/// Tokens that must agree before what followed them becomes a draft.
const NGRAM_TOKENS: usize = 3;
/// Most draft tokens at a time.
const DRAFT_TOKENS_MAX: usize = 24;
/// Acceptance rate assumed before any draft token was tried.
const ACCEPTANCE_FIRST: f64 = 0.6;
/// Weight of one accepted or rejected token in the acceptance rate.
const ACCEPTANCE_STEP: f64 = 0.1;
/// The expected saving of a draft token must be this many times its cost.
const MARGIN: f64 = 1.6;
/// Most tokens of earlier outputs kept per run and model.
const HISTORY_TOKENS_MAX: usize = 1 << 16;

/// Where each sequence of `NGRAM_TOKENS` tokens occurred last.
#[derive(Debug, Clone, Default)]
pub(crate) struct NgramIndex {
    /// Hash of the tokens to the index of the token behind them.
    ends: HashMap<u64, u32>,
    /// Leading tokens that are indexed.
    indexed: usize,
}

impl NgramIndex {
    /// Indexes `tokens` beyond those already indexed. The last n-gram is left out: nothing has followed it.
    fn extend(&mut self, tokens: &[u32]) {
        for end in self.indexed.max(NGRAM_TOKENS)..tokens.len() {
            self.ends.insert(Self::hash(&tokens[end - NGRAM_TOKENS..end]), end as u32);
        }
        self.indexed = tokens.len();
    }

    /// Index into `tokens` of what followed the last tokens of `recent`, and how many tokens before it agree with them.
    fn find(&self, tokens: &[u32], recent: &[u32]) -> Option<(usize, usize)> {
        let last = recent.len().checked_sub(NGRAM_TOKENS).map(|first| &recent[first..])?;
        let end = *self.ends.get(&Self::hash(last))? as usize;
        let agree = tokens[..end].iter().rev().zip(recent.iter().rev()).take(64).take_while(|(a, b)| a == b);
        let agree = agree.count();
        // Other tokens may have the same hash.
        (agree >= NGRAM_TOKENS).then_some((end, agree))
    }

    fn hash(tokens: &[u32]) -> u64 {
        chain_hash(mix(NGRAM_TOKENS as u64), tokens)
    }
}

/// What earlier sequences of a run generated.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    tokens: Vec<u32>,
    ngrams: NgramIndex,
}

impl History {
    /// Adds an output. When the history would grow too long, it starts afresh.
    pub(crate) fn add(&mut self, tokens: &[u32]) {
        if self.tokens.len() + tokens.len() > HISTORY_TOKENS_MAX {
            *self = Self::default();
        }
        self.tokens.extend_from_slice(&tokens[..tokens.len().min(HISTORY_TOKENS_MAX)]);
        self.ngrams.extend(&self.tokens);
    }
}

/// Proposes draft tokens for one sequence.
#[derive(Debug, Clone)]
pub(crate) struct Drafter {
    ngrams: NgramIndex,
    /// Share of the recent draft tokens that were accepted.
    acceptance: f64,
    /// The last prediction of the next token. It is checked even when nothing was drafted, so that `acceptance`
    /// recovers.
    predicted: Option<u32>,
}

impl Default for Drafter {
    fn default() -> Self {
        Self { ngrams: NgramIndex::default(), acceptance: ACCEPTANCE_FIRST, predicted: None }
    }
}

impl Drafter {
    /// Appends to `draft` at most `most` tokens that probably follow `tokens`, as long as each is worth its cost: an
    /// accepted token saves `saved_us`, and computing one more takes `cost_us`.
    pub(crate) fn propose(
        &mut self,
        tokens: &[u32],
        history: Option<&History>,
        (saved_us, cost_us): (f64, f64),
        most: usize,
        draft: &mut Vec<u32>,
    ) {
        self.ngrams.extend(tokens);
        let own = self.ngrams.find(tokens, tokens).map(|(at, agree)| (agree, &tokens[at..]));
        let runs = history.and_then(|history| {
            let (at, agree) = history.ngrams.find(&history.tokens, tokens)?;
            Some((agree, &history.tokens[at..]))
        });
        let best = match (own, runs) {
            (Some(own), Some(runs)) => Some(if runs.0 > own.0 { runs } else { own }),
            (own, runs) => own.or(runs),
        };
        let Some((_, follows)) = best else {
            self.predicted = None;
            return;
        };
        self.predicted = follows.first().copied();
        let worth = |index: usize| self.acceptance.powi(index as i32 + 1) * saved_us >= MARGIN * cost_us;
        let length =
            (0..most.min(DRAFT_TOKENS_MAX).min(follows.len())).take_while(|&index| worth(index)).count();
        draft.extend_from_slice(&follows[..length]);
    }

    /// Learns from the token sampled where the first draft token would be.
    pub(crate) fn observe_next(&mut self, token: u32) {
        if let Some(predicted) = self.predicted.take() {
            self.learn(predicted == token);
        }
    }

    /// Learns from a draft token behind the first.
    pub(crate) fn learn(&mut self, accepted: bool) {
        self.acceptance += ACCEPTANCE_STEP * (f64::from(u8::from(accepted)) - self.acceptance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: (f64, f64) = (100.0, 1.0);

    fn drafted(
        drafter: &mut Drafter,
        tokens: &[u32],
        history: Option<&History>,
        costs: (f64, f64),
    ) -> Vec<u32> {
        let mut draft = Vec::new();
        drafter.propose(tokens, history, costs, 100, &mut draft);
        draft
    }

    #[test]
    fn what_followed_before_is_drafted_again() {
        let tokens = [1, 2, 3, 4, 5, 6, 7, 9, 1, 2, 3];
        assert_eq!(drafted(&mut Drafter::default(), &tokens, None, CHEAP)[..5], [4, 5, 6, 7, 9]);
        assert!(drafted(&mut Drafter::default(), &[1, 2, 3, 4, 5, 1, 2], None, CHEAP).is_empty());
        assert!(drafted(&mut Drafter::default(), &[1, 2], None, CHEAP).is_empty());
    }

    #[test]
    fn the_longer_match_wins_and_a_runs_history_is_searched() {
        let mut history = History::default();
        history.add(&[7, 8, 1, 2, 3, 50, 51]);
        history.add(&[60, 61]);
        let tokens = [1, 2, 3, 4, 7, 8, 1, 2, 3];
        assert_eq!(drafted(&mut Drafter::default(), &tokens, Some(&history), CHEAP)[..2], [50, 51]);
        assert_eq!(drafted(&mut Drafter::default(), &tokens, None, CHEAP)[..2], [4, 7]);
    }

    #[test]
    fn rejected_drafts_end_drafting_and_right_predictions_bring_it_back() {
        let tokens = [1, 2, 3, 4, 5, 6, 1, 2, 3];
        let mut drafter = Drafter::default();
        let costs = (2.0, 1.0);
        let mut lengths = Vec::new();
        for right in [false; 20].into_iter().chain([true; 30]) {
            lengths.push(drafted(&mut drafter, &tokens, None, costs).len());
            drafter.observe_next(if right { 4 } else { 99 });
        }
        assert!(lengths[19] == 0 && lengths[49] > 2, "{lengths:?}");
        assert_eq!(drafted(&mut drafter, &tokens, None, (1.0, 1.0)), [0; 0], "not worth it however sure");
    }
}

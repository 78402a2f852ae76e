//! Samples a token from a row of logits: a pure function of the row, the parameters, the tokens so far, the seed and
//! the position. Batches, threads and grammars are not known here; a grammar appears only as its mask.
//!
//! The order is: bias, penalties, mask, temperature, top-k, top-p, min-p, sampling. Equal logits go to the lower id. A
//! row of 150,000 logits is never sorted: the maxima of small chunks give a threshold that few other logits pass.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::hash::uniform;
use super::{Logprobs, Sampling};

/// Logits per chunk whose maximum is kept.
const CHUNK: usize = 64;
/// Temperatures below this are greedy.
const GREEDY_BELOW: f32 = 1e-5;
/// Logits further than this below the best, in units of the temperature, get weight 0 (e⁻⁸⁰ of the best's).
const WEIGHT_SPAN: f32 = 80.0;
/// How many of the most likely tokens top-p looks at first.
const NUCLEUS_FIRST: usize = 64;

/// One sequence's sampling parameters and, for penalties, the tokens in its prompt and output.
#[derive(Debug, Clone)]
pub struct Sampler {
    pub sampling: Sampling,
    /// How many alternatives to report with each token; `None` reports no log-probabilities.
    pub top_logprobs: Option<u32>,
    /// How often each token was generated; prompt tokens count 0. Empty unless a penalty is set.
    counts: HashMap<u32, u32>,
}

impl Sampler {
    #[must_use]
    pub fn new(sampling: Sampling, top_logprobs: Option<u32>, prompt: &[u32]) -> Self {
        let mut sampler = Self { sampling, top_logprobs, counts: HashMap::new() };
        if sampler.has_penalties() {
            sampler.counts.extend(prompt.iter().map(|&token| (token, 0)));
        }
        sampler
    }

    pub fn count_token(&mut self, token: u32) {
        if self.has_penalties() {
            *self.counts.entry(token).or_insert(0) += 1;
        }
    }

    /// Whether earlier tokens change the logits of later ones. If so, a row can't be sampled before all rows before it.
    #[must_use]
    pub fn has_penalties(&self) -> bool {
        let s = &self.sampling;
        s.repetition_penalty != 1.0 || s.presence_penalty != 0.0 || s.frequency_penalty != 0.0
    }
}

/// Buffers for sampling, reused from row to row.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The original logits of tokens that bias and penalties changed.
    replaced: Vec<(u32, f32)>,
    maxima: Vec<f32>,
    order: Vec<f32>,
    candidates: Vec<(f32, u32)>,
    sums: Vec<f32>,
}

/// A sampled token.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    pub token: u32,
    /// `None` unless [`Sampler::top_logprobs`] asks for them.
    pub logprobs: Option<Logprobs>,
}

/// Why no token can be sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleError {
    /// `logit_bias` forbids every token with a finite logit.
    LogitBias,
    /// Every logit of an allowed token is minus infinity or not a number.
    NoFiniteLogit,
}

/// Samples the token at `position`, counted from the start of the sequence. Changes the row. In `allowed`, bit `t % 32`
/// of word `t / 32` is set for every token that may be sampled.
///
/// # Errors
/// `SampleError` says why there is none.
pub fn sample(
    row: &mut [f32],
    sampler: &Sampler,
    allowed: Option<&[u32]>,
    position: usize,
    scratch: &mut Scratch,
) -> Result<Sampled, SampleError> {
    let sampling = &sampler.sampling;
    let unaltered = sampler.top_logprobs.map(|top| {
        let log_sum = log_sum_exp(row, scratch);
        (log_sum, most_likely(row, top as usize, log_sum, scratch))
    });
    scratch.replaced.clear();
    adjust(row, sampler, &mut scratch.replaced);
    if let Some(allowed) = allowed {
        mask(row, allowed);
    }
    let mut best = best_of(row, &mut scratch.maxima);
    if best == f32::NEG_INFINITY
        && let Some(allowed) = allowed
    {
        // The grammar wins over biases that forbid all it allows, as it does where it forces a token.
        restore(row, allowed, &scratch.replaced);
        best = best_of(row, &mut scratch.maxima);
    }
    if best == f32::NEG_INFINITY {
        let is_biased =
            allowed.is_none() && scratch.replaced.iter().any(|(_, logit)| *logit > f32::NEG_INFINITY);
        return Err(if is_biased { SampleError::LogitBias } else { SampleError::NoFiniteLogit });
    }
    let token = if sampling.temperature < GREEDY_BELOW || best == f32::INFINITY {
        first_equal(row, best, &scratch.maxima)
    } else {
        let number = uniform(sampling.seed, position as u64, 0);
        sample_by_weight(row, best, sampling, number, scratch)
    };
    let logprobs = unaltered.map(|(log_sum, top)| {
        let replaced = scratch.replaced.iter().find(|(id, _)| *id == token);
        Logprobs { logprob: replaced.map_or(row[token as usize], |&(_, logit)| logit) - log_sum, top }
    });
    Ok(Sampled { token, logprobs })
}

fn best_of(row: &[f32], maxima: &mut Vec<f32>) -> f32 {
    chunk_maxima(row, maxima);
    maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Restores the original logits of the tokens that are allowed.
fn restore(row: &mut [f32], allowed: &[u32], replaced: &[(u32, f32)]) {
    let is_allowed =
        |token: u32| allowed.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1);
    for &(token, logit) in replaced.iter().rev().filter(|(token, _)| is_allowed(*token)) {
        row[token as usize] = logit;
    }
}

/// Log-probabilities of `target` and of the `top` most likely tokens.
#[must_use]
pub(crate) fn score(row: &[f32], target: u32, top: usize, scratch: &mut Scratch) -> Logprobs {
    let log_sum = log_sum_exp(row, scratch);
    Logprobs { logprob: row[target as usize] - log_sum, top: most_likely(row, top, log_sum, scratch) }
}

/// Applies bias, then penalties, and notes the logits they replace, in order.
fn adjust(row: &mut [f32], sampler: &Sampler, replaced: &mut Vec<(u32, f32)>) {
    let sampling = &sampler.sampling;
    for &(token, bias) in &sampling.logit_bias {
        let logit = &mut row[token as usize];
        replaced.push((token, *logit));
        *logit += bias;
    }
    for (&token, &count) in &sampler.counts {
        let logit = &mut row[token as usize];
        replaced.push((token, *logit));
        let penalty = sampling.repetition_penalty;
        *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        if count > 0 {
            *logit -= sampling.presence_penalty + count as f32 * sampling.frequency_penalty;
        }
    }
}

fn mask(row: &mut [f32], allowed: &[u32]) {
    for (logits, &word) in row.chunks_mut(32).zip(allowed) {
        match word {
            u32::MAX => {}
            0 => logits.fill(f32::NEG_INFINITY),
            word => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// NaN counts as minus infinity.
fn chunk_maxima(row: &[f32], maxima: &mut Vec<f32>) {
    maxima.clear();
    maxima.extend(row.chunks(CHUNK).map(|chunk| {
        let mut lanes = [f32::NEG_INFINITY; 16];
        let mut parts = chunk.chunks_exact(16);
        for part in &mut parts {
            for (lane, &logit) in lanes.iter_mut().zip(part) {
                *lane = if logit > *lane { logit } else { *lane };
            }
        }
        lanes.iter().chain(parts.remainder()).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
    }));
}

fn first_equal(row: &[f32], best: f32, maxima: &[f32]) -> u32 {
    let chunk = maxima.iter().position(|&max| max == best).expect("best is one of the maxima");
    let rest = &row[chunk * CHUNK..];
    let place = rest.iter().position(|&logit| logit == best).expect("the chunk has its maximum");
    (chunk * CHUNK + place) as u32
}

/// Higher logit first, then lower id.
fn by_logit(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1))
}

/// Puts the `count` highest numbers into `scratch.candidates`, best first. `scratch.maxima` must be filled.
fn select(row: &[f32], count: usize, scratch: &mut Scratch) {
    let Scratch { maxima, order, candidates, .. } = scratch;
    candidates.clear();
    if count == 0 {
        return;
    }
    // At least `count` logits reach the `count`-th highest chunk maximum.
    let threshold = if count < maxima.len() {
        order.clear();
        order.extend_from_slice(maxima);
        let by_value = |a: &f32, b: &f32| b.partial_cmp(a).unwrap_or(Ordering::Equal);
        *order.select_nth_unstable_by(count - 1, by_value).1
    } else {
        f32::NEG_INFINITY
    };
    for (chunk, &max) in maxima.iter().enumerate() {
        if max < threshold || max == f32::NEG_INFINITY {
            continue;
        }
        let first = chunk * CHUNK;
        for (place, &logit) in row[first..].iter().take(CHUNK).enumerate() {
            if logit >= threshold && logit > f32::NEG_INFINITY {
                candidates.push((logit, (first + place) as u32));
            }
        }
    }
    if candidates.len() > count {
        candidates.select_nth_unstable_by(count - 1, by_logit);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(by_logit);
}

/// Samples at temperature, with top-k, top-p and min-p. `number` is uniform in [0, 1).
fn sample_by_weight(row: &[f32], best: f32, sampling: &Sampling, number: f64, scratch: &mut Scratch) -> u32 {
    let per_unit = 1.0 / sampling.temperature;
    let span = if sampling.min_p > 0.0 { -sampling.min_p.ln() } else { WEIGHT_SPAN };
    let cut = best - span.min(WEIGHT_SPAN) * sampling.temperature;
    let weigh = move |logit: f32| if logit >= cut { exp((logit - best) * per_unit) } else { 0.0 };
    let top_k = sampling.top_k as usize;
    if top_k == 0 && sampling.top_p >= 1.0 {
        return sample_from_row(row, weigh, number, &mut scratch.sums);
    }
    // Top-p is a share of what top-k leaves. Min-p only shortens the result, so it cannot change either.
    let open = |logit: f32| if logit > f32::NEG_INFINITY { exp((logit - best) * per_unit) } else { 0.0 };
    let mut count = if top_k > 0 { top_k } else { NUCLEUS_FIRST };
    select(row, count, scratch);
    if sampling.top_p < 1.0 {
        let total: f64 = if top_k > 0 {
            scratch.candidates.iter().map(|&(logit, _)| f64::from(open(logit))).sum()
        } else {
            row.chunks(CHUNK).map(|chunk| f64::from(sum(chunk, open))).sum()
        };
        loop {
            let found = nucleus(&scratch.candidates, open, f64::from(sampling.top_p) * total);
            if let Some(tokens) = found {
                scratch.candidates.truncate(tokens);
                break;
            }
            if top_k > 0 || count >= row.len() {
                break;
            }
            count *= 8;
            select(row, count, scratch);
        }
    }
    sample_from_candidates(&scratch.candidates, weigh, number)
}

/// How many leading candidates it takes to reach `target`.
fn nucleus(candidates: &[(f32, u32)], weigh: impl Fn(f32) -> f32, target: f64) -> Option<usize> {
    let mut sum = 0.0;
    candidates
        .iter()
        .position(|&(logit, _)| {
            sum += f64::from(weigh(logit));
            sum >= target
        })
        .map(|last| last + 1)
}

fn sample_from_candidates(candidates: &[(f32, u32)], weigh: impl Fn(f32) -> f32, number: f64) -> u32 {
    let total: f64 = candidates.iter().map(|&(logit, _)| f64::from(weigh(logit))).sum();
    let mut left = number * total;
    for &(logit, token) in candidates {
        left -= f64::from(weigh(logit));
        if left < 0.0 {
            return token;
        }
    }
    candidates[0].1
}

/// Samples from the whole row, in the order of ids.
fn sample_from_row(row: &[f32], weigh: impl Fn(f32) -> f32, number: f64, sums: &mut Vec<f32>) -> u32 {
    sums.clear();
    sums.extend(row.chunks(CHUNK).map(|chunk| sum(chunk, &weigh)));
    let total: f64 = sums.iter().copied().map(f64::from).sum();
    let mut left = number * total;
    let mut last = 0;
    for (chunk, &chunk_sum) in sums.iter().enumerate() {
        if left >= f64::from(chunk_sum) {
            left -= f64::from(chunk_sum);
            continue;
        }
        let first = chunk * CHUNK;
        for (place, &logit) in row[first..].iter().take(CHUNK).enumerate() {
            let weight = weigh(logit);
            if weight > 0.0 {
                last = first + place;
                left -= f64::from(weight);
                if left < 0.0 {
                    return last as u32;
                }
            }
        }
        // Rounding may leave a small remainder; the next chunk with any weight takes it.
    }
    last as u32
}

/// Adds in fixed lanes, so that the order of additions does not depend on the compiler.
fn sum(chunk: &[f32], weigh: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    for part in chunk.chunks(16) {
        for (lane, &logit) in lanes.iter_mut().zip(part) {
            *lane += weigh(logit);
        }
    }
    lanes.iter().sum()
}

/// Logarithm of the sum of exponentials. Leaves the chunk maxima in `scratch`.
fn log_sum_exp(row: &[f32], scratch: &mut Scratch) -> f32 {
    chunk_maxima(row, &mut scratch.maxima);
    let best = scratch.maxima.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.chunks(CHUNK).map(|chunk| f64::from(sum(chunk, |logit| exp(logit - best)))).sum();
    best + total.ln() as f32
}

fn most_likely(row: &[f32], top: usize, log_sum: f32, scratch: &mut Scratch) -> Vec<(u32, f32)> {
    select(row, top, scratch);
    scratch.candidates.iter().map(|&(logit, token)| (token, logit - log_sum)).collect()
}

/// eˣ for x ≤ 0, within 2 ulp, branch-free so that it vectorizes (Cephes' polynomial). Below −87, and for NaN, e⁻⁸⁷.
fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2²³ rounds to an integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    p * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests;

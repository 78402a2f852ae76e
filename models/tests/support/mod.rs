//! What the tests of whole models share: finding files, and a driver that computes sequences in batches.

#![allow(dead_code)] // Each test binary uses a part.

use std::path::PathBuf;
use std::sync::Mutex;

use bandmaster_models::{Batch, Model};

pub const BLOCK_TOKENS: usize = 16;

/// The file of the model with this name. Without it the test is skipped.
pub fn model_path(name: &str) -> Option<PathBuf> {
    bandmaster_test_support::model(&format!("{name}.gguf"))
}

/// A sequence that is being computed: its tokens, its blocks, how many tokens are in the cache.
pub struct Sequence {
    pub tokens: Vec<u32>,
    pub table: Vec<u32>,
    pub computed: usize,
}

impl Sequence {
    /// A sequence whose blocks hold `tokens_max` tokens, taken from `free`.
    pub fn new(tokens: Vec<u32>, tokens_max: usize, free: &mut Vec<u32>) -> Sequence {
        let blocks = tokens_max.max(tokens.len()).div_ceil(BLOCK_TOKENS);
        let table = free.split_off(free.len() - blocks);
        Sequence { tokens, table, computed: 0 }
    }

    pub fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }
}

/// Computes up to `chunk` tokens of each sequence in one step and passes (sequence, index in its tokens, logits) of every
/// computed token from `from` on to `see`, from several threads.
pub fn step(
    model: &mut dyn Model,
    sequences: &mut [Sequence],
    chunk: usize,
    from: usize,
    see: &(dyn Fn(usize, usize, &[f32]) + Sync),
) {
    let mut batch = Batch::default();
    let mut owners = Vec::new();
    for (number, sequence) in sequences.iter_mut().enumerate() {
        let new = sequence.computed..sequence.computed + sequence.pending().min(chunk);
        if new.is_empty() {
            continue;
        }
        let first = batch.tokens.len();
        let table = &sequence.table[..new.end.div_ceil(BLOCK_TOKENS)];
        batch.push_span(&sequence.tokens[new.clone()], new.start, table);
        for index in new.clone().filter(|index| *index >= from) {
            batch.rows.push((first + index - new.start) as u32);
            owners.push((number, index));
        }
        sequence.computed = new.end;
    }
    model
        .forward(&batch, &|row, logits| {
            let (sequence, index) = owners[row];
            see(sequence, index, logits);
        })
        .expect("the batch is well formed");
}

/// What `of` makes of the logits after each token of one sequence from `from` on.
pub fn each_row<T: Send>(
    model: &mut dyn Model,
    tokens: &[u32],
    from: usize,
    of: &(dyn Fn(usize, &[f32]) -> T + Sync),
) -> Vec<T> {
    let mut free: Vec<u32> = (0..model.info().kv_blocks_max as u32).collect();
    let mut sequences = [Sequence::new(tokens.to_vec(), 0, &mut free)];
    let results = Mutex::new(Vec::new());
    while sequences[0].pending() > 0 {
        step(model, &mut sequences, 256, from, &|_, index, logits| {
            let result = of(index, logits);
            results.lock().expect("no panics").push((index, result));
        });
    }
    let mut results = results.into_inner().expect("no panics");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The place of the largest, the lowest of equals.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// Natural logarithm of the sum of exponentials: log p = logit − this.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum::<f64>().ln()
}

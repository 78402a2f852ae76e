//! Runs a throughput workload on a model and times it. The model is called directly, step by step, so that only forward
//! passes are timed.

use std::sync::Mutex;
use std::time::Instant;

use bandmaster_engine::BLOCK_TOKENS;
use bandmaster_models::{Batch, ForwardError, Model};

use super::row::Row;
use super::workload::Workload;
use crate::machine::peak_rss_bytes;
use crate::percentiles::median;
use crate::random::TokenSource;

#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The row needs more cache than the model has.
    #[error(
        "batch {batch} needs {needed} cache blocks of 16 tokens, but the pool holds {available}: lower --batch or the token counts, or raise --memory"
    )]
    Pool {
        batch: usize,
        /// Cache blocks that the row needs.
        needed: usize,
        /// Cache blocks that the model has.
        available: usize,
    },
    /// Longer than the model's context.
    #[error(
        "{tokens} tokens a sequence do not fit the model's context of {context}: lower --prompt-tokens, --gen-tokens or --depth"
    )]
    Context {
        tokens: usize,
        /// The model's context length.
        context: usize,
    },
    /// The model failed in a step.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Measures every batch size. `progress` is called with batch and round before each round; if it returns false, the
/// measurement ends with the rows that are complete.
///
/// # Errors
/// [`MeasureError`] if a row does not fit or a step fails.
pub fn measure(
    model: &mut dyn Model,
    step_tokens_max: usize,
    workload: &Workload,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Vec<Row>, MeasureError> {
    let tokens = workload.sequence_tokens();
    let context = model.info().context_tokens_max;
    if tokens > context {
        return Err(MeasureError::Context { tokens, context });
    }
    for &batch in &workload.batches {
        let (needed, available) = (Tables::new(workload, batch).blocks, model.info().kv_blocks_max);
        if needed > available {
            return Err(MeasureError::Pool { batch, needed, available });
        }
    }
    let mut source = TokenSource::new(workload.seed, model.info().vocab);
    let mut rows = Vec::with_capacity(workload.batches.len());
    for &batch in &workload.batches {
        let mut times = Vec::with_capacity(workload.repeat);
        for round in 0..workload.warmup + workload.repeat {
            if !progress(batch, round) {
                return Ok(rows);
            }
            let mut round_run = Round::new(model, workload, batch, step_tokens_max);
            let time = round_run.run(&mut source);
            round_run.decommit_blocks();
            let time = time?;
            if round >= workload.warmup {
                times.push(time);
            }
        }
        rows.push(row(model, workload, batch, &times));
    }
    Ok(rows)
}

fn row(model: &dyn Model, workload: &Workload, batch: usize, times: &[(f64, f64)]) -> Row {
    let prompt = (batch * workload.prompt_tokens) as f64;
    let generated = (batch * workload.gen_tokens) as f64;
    let prefill_s = median(times.iter().map(|time| time.0).collect());
    let decode_s = median(times.iter().map(|time| time.1).collect());
    let spread = |tokens: f64, pick: fn(&(f64, f64)) -> f64| {
        let seconds = times.iter().map(pick);
        let slowest = seconds.clone().fold(f64::MIN, f64::max);
        [tokens / slowest, tokens / seconds.fold(f64::MAX, f64::min)]
    };
    let tables = Tables::new(workload, batch);
    let cached_tokens = (batch - 1) * tables.shared_tokens;
    Row {
        batch,
        prompt_tokens: workload.prompt_tokens,
        gen_tokens: workload.gen_tokens,
        prefill_tokens_per_s: prompt / prefill_s,
        decode_tokens_per_s: generated / decode_s,
        prefill_s,
        decode_s,
        computed_tokens: batch * workload.prompt_tokens - cached_tokens,
        cached_tokens,
        kv_pool_bytes: tables.blocks * model.info().kv_block_bytes,
        peak_rss_bytes: peak_rss_bytes().unwrap_or(0),
        spread: [spread(prompt, |time| time.0), spread(generated, |time| time.1)],
        depth_tokens: workload.depth_tokens,
        shared_prefix_tokens: workload.shared_prefix_tokens,
        threads: workload.threads,
        prefill_rounds_s: times.iter().map(|time| time.0).collect(),
        decode_rounds_s: times.iter().map(|time| time.1).collect(),
        limit_shares: None,
    }
}

/// The blocks of each sequence: shared blocks first, then its own.
struct Tables {
    of: Vec<Vec<u32>>,
    blocks: usize,
    /// Tokens in shared blocks, which are computed for sequence 0 only.
    shared_tokens: usize,
}

impl Tables {
    fn new(workload: &Workload, batch: usize) -> Self {
        let per_sequence = workload.sequence_tokens().div_ceil(BLOCK_TOKENS);
        // With a depth, the depth would have to be shared too, so there is no sharing. Only complete blocks can be
        // shared.
        let shared_tokens = if workload.depth_tokens == 0 { workload.shared_prefix_tokens } else { 0 };
        let shared_blocks = shared_tokens / BLOCK_TOKENS;
        let mut next = 0_u32;
        let mut fresh = |count: usize| -> Vec<u32> {
            let first = next;
            next += count as u32;
            (first..next).collect()
        };
        let shared = fresh(shared_blocks);
        let of: Vec<Vec<u32>> =
            (0..batch).map(|_| [shared.clone(), fresh(per_sequence - shared_blocks)].concat()).collect();
        Self { of, blocks: next as usize, shared_tokens: shared_blocks * BLOCK_TOKENS }
    }
}

struct Round<'a> {
    model: &'a mut dyn Model,
    workload: &'a Workload,
    tables: Tables,
    step_tokens_max: usize,
}

impl<'a> Round<'a> {
    fn new(model: &'a mut dyn Model, workload: &'a Workload, batch: usize, step_tokens_max: usize) -> Self {
        let tables = Tables::new(workload, batch);
        for block in 0..tables.blocks as u32 {
            model.commit_block(block);
        }
        Self { model, workload, tables, step_tokens_max }
    }

    fn decommit_blocks(self) {
        for block in 0..self.tables.blocks as u32 {
            self.model.decommit_block(block);
        }
    }

    /// Returns the seconds of prefill and of decode.
    fn run(&mut self, source: &mut TokenSource) -> Result<(f64, f64), MeasureError> {
        let sequences = self.tables.of.len();
        let depth = self.workload.depth_tokens;
        let before: Vec<Vec<u32>> = (0..sequences).map(|_| source.take(depth)).collect();
        let shared = source.take(self.workload.shared_prefix_tokens);
        let own = self.workload.prompt_tokens - shared.len();
        let prompts: Vec<Vec<u32>> =
            (0..sequences).map(|_| [shared.clone(), source.take(own)].concat()).collect();
        if depth > 0 {
            self.prefill(&before, 0, 0)?;
        }
        let start = Instant::now();
        let mut last = self.prefill(&prompts, depth, self.tables.shared_tokens)?;
        let prefill_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        for pass in 0..self.workload.gen_tokens {
            last = self.decode(&last, depth + self.workload.prompt_tokens + pass)?;
        }
        Ok((prefill_s, start.elapsed().as_secs_f64()))
    }

    /// Computes `tokens[s]` after `context` tokens for every sequence `s`, in steps of at most `step_tokens_max`
    /// tokens, with several sequences in a step. The first `shared` tokens are computed for sequence 0 only.
    fn prefill(
        &mut self,
        tokens: &[Vec<u32>],
        context: usize,
        shared: usize,
    ) -> Result<Vec<u32>, MeasureError> {
        let mut last = vec![0; tokens.len()];
        let mut batch = Batch::default();
        let mut ends = Vec::new();
        for (sequence, tokens) in tokens.iter().enumerate() {
            let mut done = if sequence == 0 { 0 } else { shared };
            while done < tokens.len() {
                let room = self.step_tokens_max - batch.tokens.len();
                let count = room.min(tokens.len() - done);
                batch.push_span(&tokens[done..done + count], context + done, &self.tables.of[sequence]);
                done += count;
                if done == tokens.len() {
                    batch.rows.push((batch.tokens.len() - 1) as u32);
                    ends.push(sequence);
                }
                // Sequence 0's shared tokens must be in the cache before other sequences read them.
                let shared_end = sequence == 0 && shared > 0 && done == tokens.len();
                if batch.tokens.len() == self.step_tokens_max || shared_end {
                    self.step(&mut batch, &mut ends, &mut last)?;
                }
            }
        }
        self.step(&mut batch, &mut ends, &mut last)?;
        Ok(last)
    }

    /// Generates one token for every sequence, in several steps if a step can't hold all of them.
    fn decode(&mut self, tokens: &[u32], context: usize) -> Result<Vec<u32>, MeasureError> {
        let mut next = vec![0; tokens.len()];
        let mut batch = Batch::default();
        let mut ends = Vec::new();
        for (sequence, token) in tokens.iter().enumerate() {
            batch.push_span(&[*token], context, &self.tables.of[sequence]);
            batch.rows.push((batch.tokens.len() - 1) as u32);
            ends.push(sequence);
            if batch.tokens.len() == self.step_tokens_max {
                self.step(&mut batch, &mut ends, &mut next)?;
            }
        }
        self.step(&mut batch, &mut ends, &mut next)?;
        Ok(next)
    }

    /// Runs `batch`, writes the most likely token of row `i` to `next[ends[i]]`, and empties `batch` and `ends`.
    fn step(
        &mut self,
        batch: &mut Batch,
        ends: &mut Vec<usize>,
        next: &mut [u32],
    ) -> Result<(), MeasureError> {
        if !batch.tokens.is_empty() {
            let most_likely: Vec<Mutex<u32>> = ends.iter().map(|_| Mutex::new(0)).collect();
            self.model.forward(batch, &|row, logits| {
                let token = argmax(logits);
                *most_likely[row].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = token;
            })?;
            for (end, token) in ends.iter().zip(most_likely) {
                next[*end] = token.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
        batch.clear();
        ends.clear();
        Ok(())
    }
}

/// Index of the largest value; the lowest index of equals.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

//! What the steps did, as plain counters that callers copy.

use super::ModelId;
use super::blocks::PoolStats;

/// Totals since the engine started, and the current state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    pub steps: u64,
    /// Steps in which the model's forward pass failed.
    pub steps_failed: u64,
    /// The number of sequences in the batch, summed over steps.
    pub batch_sum: u64,
    /// Tokens computed for decoding sequences, one per sequence and step.
    pub decode_tokens: u64,
    /// All other tokens computed, drafts included.
    pub prefill_tokens: u64,
    /// Tokens computed again after preemption; they are in `prefill_tokens` too.
    pub recomputed_tokens: u64,
    /// Tokens that were not computed because the cache had them.
    pub cached_tokens: u64,
    /// Times a sequence lost its blocks to another.
    pub preemptions: u64,
    pub drafted_tokens: u64,
    /// Draft tokens that were accepted.
    pub accepted_tokens: u64,
    /// Model loads, the first ones included.
    pub loads: u64,
    /// Requests accepted.
    pub requests: u64,
    pub requests_failed: u64,
    /// Times that pieces of a job ran.
    pub job_turns: u64,
    pub jobs_us: u64,
    /// Of `jobs_us`, the time while sequences could have run.
    pub jobs_shared_us: u64,
    /// Jobs that have not ended.
    pub jobs: usize,
    /// Sequences that hold blocks.
    pub running: usize,
    /// Sequences that hold none.
    pub waiting: usize,
    /// Bytes of cache blocks that have memory.
    pub kv_bytes_resident: usize,
    /// Bytes of the blocks that sequences hold.
    pub kv_bytes_held: usize,
    /// Bytes that cache blocks may take: what the weights leave.
    pub kv_bytes_max: usize,
    /// Bytes of the weights in memory or being loaded.
    pub weight_bytes: usize,
    pub schedule_us: u64,
    /// Includes sampling.
    pub run_us: u64,
    pub commit_us: u64,
    pub last: StepStats,
    /// Indexed by [`ModelId`].
    pub models: Vec<ModelStats>,
    /// `cached_tokens` at the end of the last step.
    cached_tokens_before: u64,
}

/// Counters of the last step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepStats {
    pub model: ModelId,
    /// Sequences in the batch.
    pub batch: usize,
    /// Tokens of decoding sequences, one each.
    pub decode_tokens: usize,
    /// Other tokens, drafts included.
    pub prefill_tokens: usize,
    /// Tokens that the cache supplied since the step before.
    pub cached_tokens: usize,
    /// Microseconds that the step was expected to take.
    pub predicted_us: u64,
    /// Includes sampling.
    pub run_us: u64,
}

/// Counters of one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelStats {
    pub name: String,
    pub steps: u64,
    /// The number of sequences in the batch, summed over its steps.
    pub batch_sum: u64,
    pub run_us: u64,
    pub loads: u64,
    pub resident: bool,
    /// Sequences that have not ended.
    pub sequences: usize,
    pub blocks: PoolStats,
}

impl Stats {
    /// The tokens that the cache supplied since the last call. Called once a step.
    pub(super) fn take_cached_tokens(&mut self) -> usize {
        let before = std::mem::replace(&mut self.cached_tokens_before, self.cached_tokens);
        (self.cached_tokens - before) as usize
    }

    /// Mean number of sequences in a step; 0 before the first.
    #[must_use]
    pub fn mean_batch(&self) -> f64 {
        if self.steps == 0 { 0.0 } else { self.batch_sum as f64 / self.steps as f64 }
    }
}

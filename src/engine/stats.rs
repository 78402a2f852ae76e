//! What the steps did, counted while they did it. Plain numbers that are copied out; nobody is told when they change.

use super::ModelId;
use super::blocks::PoolStats;

/// Totals since the engine started, and how things stand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Steps that ran a model.
    pub steps: u64,
    /// Steps whose forward failed.
    pub steps_failed: u64,
    /// Sum over steps of the sequences in the batch.
    pub batch_sum: u64,
    /// Tokens computed for sequences that only waited for their next one.
    pub decode_tokens: u64,
    /// Tokens computed otherwise.
    pub prefill_tokens: u64,
    /// Of them computed before and lost to preemption.
    pub recomputed_tokens: u64,
    /// Tokens that were not computed because the cache had them.
    pub cached_tokens: u64,
    /// Times a sequence lost its blocks.
    pub preemptions: u64,
    /// Tokens guessed and computed along with the one before them.
    pub drafted_tokens: u64,
    /// Of them those that were drawn.
    pub accepted_tokens: u64,
    /// Times a model was loaded, the first time included.
    pub loads: u64,
    /// Requests taken.
    pub requests: u64,
    /// Requests that broke.
    pub requests_failed: u64,
    /// Turns of jobs.
    pub job_turns: u64,
    /// Microseconds spent in jobs.
    pub jobs_us: u64,
    /// Of them while sequences could have gone on.
    pub jobs_shared_us: u64,
    /// Jobs that live.
    pub jobs: usize,
    /// Sequences that hold blocks.
    pub running: usize,
    /// Sequences that do not.
    pub waiting: usize,
    /// Bytes of cache blocks that have memory.
    pub kv_bytes_resident: usize,
    /// Of them held by sequences.
    pub kv_bytes_held: usize,
    /// Bytes that cache blocks may take: what the weights leave.
    pub kv_bytes_max: usize,
    /// Bytes of the weights of loaded models.
    pub weight_bytes: usize,
    /// Microseconds spent choosing.
    pub schedule_us: u64,
    /// Microseconds spent in models, drawing included.
    pub run_us: u64,
    /// Microseconds spent taking results in.
    pub commit_us: u64,
    /// The last step.
    pub last: StepStats,
    /// By model.
    pub models: Vec<ModelStats>,
    /// What earlier steps had counted.
    pub(super) counted: Counted,
}

/// Totals as the last step left them, so that the next can tell its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) cached_tokens: u64,
    pub(super) preemptions: u64,
}

/// One step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepStats {
    /// Whose step it was.
    pub model: ModelId,
    /// Sequences in the batch.
    pub batch: usize,
    /// Tokens of sequences that only waited for their next one.
    pub decode_tokens: usize,
    /// Other tokens, drafts included.
    pub prefill_tokens: usize,
    /// Tokens that the cache supplied to sequences of the step.
    pub cached_tokens: usize,
    /// Sequences that lost their blocks while it was planned.
    pub preemptions: usize,
    /// Blocks that tables of the model held when it began.
    pub blocks_held: usize,
    /// Microseconds that the model was expected to take.
    pub predicted_us: u64,
    /// Microseconds choosing.
    pub schedule_us: u64,
    /// Microseconds in the model, drawing included.
    pub run_us: u64,
    /// Microseconds taking results in.
    pub commit_us: u64,
}

/// One model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelStats {
    /// As given at load.
    pub name: String,
    /// Its steps.
    pub steps: u64,
    /// Sum over its steps of the sequences in the batch.
    pub batch_sum: u64,
    /// Microseconds in it.
    pub run_us: u64,
    /// Times it was loaded.
    pub loads: u64,
    /// Whether its weights are in memory.
    pub resident: bool,
    /// Sequences that want it.
    pub sequences: usize,
    /// Its cache.
    pub blocks: PoolStats,
}

impl Stats {
    /// Mean number of sequences in a step.
    #[must_use]
    pub fn mean_batch(&self) -> f64 {
        if self.steps == 0 { 0.0 } else { self.batch_sum as f64 / self.steps as f64 }
    }
}

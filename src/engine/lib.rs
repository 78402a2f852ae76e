//! One scheduler for all models. Each step schedules, runs and commits. It takes token ids in and gives token ids out;
//! text, plans and clocks are not known here.

#![warn(unreachable_pub)]

mod audit;
mod batch;
mod blocks;
mod command;
mod commit;
mod constraint;
mod cost;
mod draft;
mod error;
mod handle;
// A namespace: `hash::mix` and its like say more than the bare names, in benchmarks and tests.
pub mod hash;
mod jobs;
mod model_state;
mod request;
mod residency;
mod runs;
mod sampler;
mod scheduler;
mod sequence;
mod sharing;
mod shortest_first;
mod stats;
mod step_budget;
mod sync;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bandmaster_models::{Model, ModelInfo};

pub use bandmaster_models::BLOCK_TOKENS;
pub use blocks::{Blocks, Prefix};
pub use constraint::{Constraint, ConstraintError};
pub use error::{Failure, Rejected};
pub use handle::{Engine, EngineError, EngineHandle};
pub use jobs::{Job, JobEnd, JobKind, OnJobEnd};
pub use model_state::{LoadError, LoadResult};
pub use request::{
    Class, Event, ExpectedPrefix, ExpectedPrefixId, FinishReason, Limits, Logprobs, ModelId, Priority,
    Request, RequestId, RunId, Sampling, Sink, Usage,
};
pub use sampler::{Sampled, Sampler, Scratch as SamplerScratch, sample};
pub use stats::{ModelStats, Stats, StepStats};

use batch::{Runner, StepPlan};
use cost::Cost;
use jobs::Jobs;
use model_state::ModelState;
use runs::Runs;
use scheduler::WaitScore;
use sequence::{End, Rank, Sequence, Sequences};
use sharing::PlannedPrefixes;
use shortest_first::ShortestFirst;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By class, run and critical path. Sequences of later runs join a step only where that is nearly free.
    #[default]
    Plan,
    /// First come, first served. Classes, runs and expectations are ignored.
    Arrival,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Bytes for the weights and cache blocks of all models together.
    pub memory_bytes_max: usize,
    /// Bytes of that which cache blocks may take.
    pub cache_bytes_max: usize,
    /// Most sequences in one batch.
    pub batch_max: usize,
    /// Most tokens in one step. One token per decoding sequence and up to 16 prefill tokens always go and may exceed
    /// it, so a model must accept steps of `max(step_tokens_max, 16) + batch_max` tokens.
    pub step_tokens_max: usize,
    /// How long a prefill may delay the next token of other sequences.
    pub shared_step: Duration,
    /// A token may take at most this many times as long beside other sequences of its model as alone. A sequence that
    /// would slow the others more waits to start. `u32::MAX` means no limit.
    pub slowdown_max: u32,
    /// Requests that may wait; further ones are refused.
    pub queue_max: usize,
    pub order: Order,
    /// Whether to use speculative decoding where it pays. It never changes an answer.
    pub speculate: bool,
}

impl EngineConfig {
    /// Default limits within `memory_bytes_max`.
    #[must_use]
    pub fn with_memory_bytes(memory_bytes_max: usize) -> Self {
        Self {
            memory_bytes_max,
            cache_bytes_max: usize::MAX,
            batch_max: 64,
            step_tokens_max: 512,
            shared_step: Duration::from_millis(100),
            slowdown_max: u32::MAX,
            queue_max: 256,
            order: Order::Plan,
            speculate: true,
        }
    }
}

/// A model, its sequences, and what scheduling knows of it.
struct ModelEntry {
    state: ModelState,
    info: ModelInfo,
    limits: Limits,
    /// Its sequences by rank, the one that goes first at the front.
    queue: Vec<u32>,
    /// When its last step ended, or when the first sequence arrived at an empty queue, whichever is later.
    waiting_since: Duration,
    /// Since when none of its sequences has found the blocks it needs.
    starved_since: Option<Duration>,
    cost: Cost,
    shortest_first: ShortestFirst,
    /// In the last step, sequences of this rank and later ones could not start for want of blocks.
    starts_before: Option<Rank>,
    /// Whether its weights can be unloaded and loaded again.
    reloadable: bool,
    /// Whether to load it although no sequence waits for it.
    load_requested: bool,
    /// Whether its file changed while in use and no step has succeeded since.
    file_changed: bool,
}

/// The whole engine but its thread. The caller passes the time in and drives each step.
pub struct Core {
    config: EngineConfig,
    models: Vec<ModelEntry>,
    sequences: Sequences,
    by_id: HashMap<RequestId, u32>,
    runs: Runs,
    deadlines: BTreeSet<(Duration, RequestId)>,
    jobs: Jobs,
    blocks: Blocks,
    plan: StepPlan,
    runner: Runner,
    planned_prefixes: PlannedPrefixes,
    /// Buffer for choosing among models.
    model_order: Vec<(WaitScore, ModelId)>,
    /// Models that the caller is to load.
    to_load: Vec<ModelId>,
    /// Models that were unloaded; they must be dropped before others are loaded.
    unloaded: Vec<Box<dyn Model>>,
    /// When a model was last loaded. It gets some time before another may take its memory.
    loaded_at: Duration,
    stats: Stats,
}

impl Core {
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            blocks: Blocks::new(config.memory_bytes_max.min(config.cache_bytes_max)),
            config,
            models: Vec::new(),
            sequences: Sequences::default(),
            by_id: HashMap::new(),
            runs: Runs::default(),
            deadlines: BTreeSet::new(),
            jobs: Jobs::default(),
            plan: StepPlan::default(),
            runner: Runner::default(),
            planned_prefixes: PlannedPrefixes::default(),
            model_order: Vec::new(),
            to_load: Vec::new(),
            unloaded: Vec::new(),
            loaded_at: Duration::ZERO,
            stats: Stats::default(),
        }
    }

    /// Runs one step of a model, or pieces of a job. `false` when nothing can run. Reads `clock` between the phases.
    pub fn step(&mut self, clock: &dyn Fn() -> Duration) -> bool {
        let started = clock();
        if !self.schedule(started) {
            return false;
        }
        let scheduled = clock();
        let ran = self.run();
        let finished = clock();
        self.commit(ran, finished - scheduled, finished);
        self.record_times(scheduled - started, finished - scheduled, clock().saturating_sub(finished));
        true
    }

    fn run(&mut self) -> Result<(), batch::StepError> {
        if let Some(slice) = &self.plan.job {
            self.plan.job_result = Some(self.jobs.run(slice));
            return Ok(());
        }
        if self.to_load.is_empty() {
            // The memory of a model that was unloaded for blocks must be free before blocks take it.
            self.unloaded.clear();
        }
        self.apply_residency_changes();
        let ModelState::Loaded(model) = &mut self.models[self.plan.model.0 as usize].state else {
            unreachable!("only loaded models are planned for");
        };
        self.runner.run(&mut self.plan, &mut self.sequences, &mut **model)
    }

    fn record_times(&mut self, schedule: Duration, run: Duration, commit: Duration) {
        let us = |time: Duration| time.as_micros() as u64;
        if let Some(slice) = &self.plan.job {
            self.stats.job_turns += 1;
            self.stats.jobs_us += us(run);
            self.stats.jobs_shared_us += if slice.shared { us(run) } else { 0 };
            return;
        }
        self.stats.last.run_us = us(run);
        self.stats.steps += 1;
        self.stats.schedule_us += us(schedule);
        self.stats.run_us += us(run);
        self.stats.commit_us += us(commit);
        let stats = &mut self.stats.models[self.plan.model.0 as usize];
        stats.steps += 1;
        stats.run_us += us(run);
    }

    /// Queues a request after checking it against the model's [`Limits`].
    ///
    /// # Errors
    /// Returns the request with the reason when it can never be computed.
    pub fn submit(
        &mut self,
        id: RequestId,
        mut request: Request,
        now: Duration,
    ) -> Result<(), Box<(Rejected, Request)>> {
        let Some(entry) = self.models.get_mut(request.model.0 as usize) else {
            return Err(Box::new((Rejected::UnknownModel(request.model.0), request)));
        };
        if let Err(rejected) = entry.limits.check(&request) {
            return Err(Box::new((rejected, request)));
        }
        let since = request.priority.run.map(|run| self.runs.enter(run, now));
        let rank = match self.config.order {
            Order::Plan => Rank::new(request.priority, since, now, id),
            Order::Arrival => Rank::by_arrival(now, id),
        };
        let context_tokens = entry.limits.context_tokens.min(entry.limits.pool_tokens);
        let room = u32::try_from(context_tokens.saturating_sub(request.prompt.len())).unwrap_or(u32::MAX);
        let tokens_max = request.tokens_max.min(room);
        request.constraint.iter_mut().for_each(|grammar| grammar.limit(tokens_max));
        let sequence = Sequence::new(id, request, rank, context_tokens, now, self.config.speculate);
        if entry.queue.is_empty() {
            entry.waiting_since = now;
        }
        let deadline = sequence.params.deadline;
        let index = entry.queue.partition_point(|&slot| self.sequences[slot].rank < rank);
        let slot = self.sequences.insert(sequence);
        entry.queue.insert(index, slot);
        self.by_id.insert(id, slot);
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
        self.stats.requests += 1;
        self.count_cached(slot);
        // A grammar may force its first tokens before the model has computed anything.
        if let Err(end) = self.sequences[slot].follow_grammar() {
            self.end(slot, end);
        }
        Ok(())
    }

    pub fn submit_job(&mut self, id: RequestId, job: Job, now: Duration) {
        if job.pieces.is_empty() {
            return;
        }
        let deadline = self.jobs.add(id, job, now);
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
    }

    /// Ends a job if it still exists.
    fn end_job(&mut self, id: RequestId, end: JobEnd) {
        let ended = self.jobs.end(id, end);
        self.forget_job(ended);
    }

    fn forget_job(&mut self, ended: Option<jobs::EndedJob>) {
        if let Some(jobs::EndedJob { id, deadline: Some(deadline) }) = ended {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// Keeps a prefix in the cache in preference to others until it is released.
    pub fn expect_prefix(&mut self, id: ExpectedPrefixId, expected: &ExpectedPrefix) {
        if self.config.order == Order::Plan && (expected.model.0 as usize) < self.models.len() {
            self.blocks.add_expectation(id, expected);
        }
    }

    /// Ends an expectation. Unknown ids are ignored.
    pub fn release_prefix(&mut self, id: ExpectedPrefixId) {
        self.blocks.end_expectation(id);
    }

    /// Ends a request or a job; its blocks are free before the next step. Unknown ids are ignored.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(&slot) = self.by_id.get(&id) {
            self.end(slot, End::Finished(FinishReason::Cancelled));
        } else {
            self.end_job(id, JobEnd::Cancelled);
        }
    }

    /// Ends every request and job, because the engine stops.
    pub fn fail_all(&mut self) {
        let slots: Vec<u32> = self.by_id.values().copied().collect();
        for slot in slots {
            self.end(slot, End::Failed(Failure::Stopped));
        }
        for id in self.jobs.ids() {
            self.end_job(id, JobEnd::Cancelled);
        }
    }

    /// Whether there is no request or job and no model is being loaded.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_awaited =
            |entry: &ModelEntry| entry.load_requested || matches!(entry.state, ModelState::Loading);
        self.by_id.is_empty() && self.jobs.is_empty() && !self.models.iter().any(is_awaited)
    }

    /// The number of sequences in the batch, summed over all steps.
    #[must_use]
    pub fn batch_sum(&self) -> u64 {
        self.stats.batch_sum
    }

    #[must_use]
    pub fn sequence_count(&self) -> usize {
        self.by_id.len()
    }

    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// The counters, with the current state filled in.
    pub fn stats(&mut self) -> &Stats {
        let weight_bytes = self.weight_bytes();
        let stats = &mut self.stats;
        stats.running = self.sequences.iter().filter(|(_, sequence)| !sequence.table.is_empty()).count();
        stats.waiting = self.by_id.len() - stats.running;
        stats.jobs = self.jobs.len();
        stats.kv_bytes_resident = self.blocks.bytes_resident();
        stats.kv_bytes_held = self.blocks.bytes_held();
        stats.kv_bytes_max = self.blocks.bytes_max();
        stats.weight_bytes = weight_bytes;
        for (index, model) in stats.models.iter_mut().enumerate() {
            model.sequences = self.models[index].queue.len();
            model.resident = matches!(self.models[index].state, ModelState::Loaded(_));
            model.blocks = self.blocks.pool_stats(ModelId(index as u32));
        }
        stats
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // The accounts no longer matter, and after a panic they may be wrong. But every sink gets its last event.
        for sequence in self.sequences.iter_mut() {
            sequence.finish(End::Failed(Failure::Stopped));
        }
    }
}

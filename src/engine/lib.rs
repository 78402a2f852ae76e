//! One scheduler for all models. Each step schedules, runs and commits. It takes token ids in and gives token ids out;
//! text, plans and clocks are not known here.

mod audit;
pub mod batch;
pub mod blocks;
mod command;
mod commit;
mod constraint;
pub mod cost;
pub mod draft;
mod error;
pub mod handle;
pub mod hash;
mod jobs;
mod overtaking;
mod pace;
mod place;
pub mod request;
mod residency;
pub mod runs;
pub mod sampler;
pub mod scheduler;
pub mod sequence;
mod sharing;
pub mod stats;
mod sync;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bandmaster_models::{Model, ModelInfo};

pub use blocks::BLOCK_TOKENS;
pub use constraint::{Constraint, ConstraintError};
pub use error::{Failure, Rejected};
pub use handle::{Engine, EngineError, EngineHandle};
pub use jobs::{Broken, Job, JobEnd, JobKind};
pub use place::{Brought, LoadError};
pub use request::*;
pub use stats::{ModelStats, Stats, StepStats};

use batch::{Plan, Runner};
use blocks::Blocks;
use cost::Cost;
use jobs::Jobs;
use overtaking::Overtaking;
use place::Place;
use runs::Runs;
use scheduler::Urgency;
use sequence::{End, Rank, Sequence, Sequences};
use sharing::Underway;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By class, run and critical path. Sequences of later runs ride along where that is nearly free.
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
struct Lane {
    place: Place,
    info: ModelInfo,
    limits: Limits,
    /// Its sequences, the one served first at the front.
    order: Vec<u32>,
    /// When its last step ended, or when the first sequence arrived at an empty queue, whichever is later.
    waiting_since: Duration,
    /// Since when none of its sequences has found the blocks it needs.
    stuck_since: Option<Duration>,
    cost: Cost,
    overtaking: Overtaking,
    /// In the last step, sequences of this rank and later ones could not start for want of blocks.
    starts_before: Option<Rank>,
    /// Whether its weights can be unloaded and loaded again.
    returns: bool,
    /// Whether to load it although no sequence waits for it.
    called: bool,
    /// Whether its file changed under it and no step has succeeded since.
    lost: bool,
}

/// The whole engine but its thread. The caller passes the time in and drives each step.
pub struct Core {
    config: EngineConfig,
    lanes: Vec<Lane>,
    sequences: Sequences,
    by_id: HashMap<RequestId, u32>,
    runs: Runs,
    deadlines: BTreeSet<(Duration, RequestId)>,
    jobs: Jobs,
    blocks: Blocks,
    plan: Plan,
    runner: Runner,
    underway: Underway,
    /// Buffer for choosing among models.
    urgency: Vec<(Urgency, ModelId)>,
    /// Models that the caller should load.
    calls: Vec<ModelId>,
    /// Models that were unloaded; they must be dropped before others are loaded.
    departed: Vec<Box<dyn Model>>,
    /// When a model last arrived. It gets some time before another may take its memory.
    brought_at: Duration,
    stats: Stats,
}

impl Core {
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            blocks: Blocks::new(config.memory_bytes_max.min(config.cache_bytes_max)),
            config,
            lanes: Vec::new(),
            sequences: Sequences::default(),
            by_id: HashMap::new(),
            runs: Runs::default(),
            deadlines: BTreeSet::new(),
            jobs: Jobs::default(),
            plan: Plan::default(),
            runner: Runner::default(),
            underway: Underway::default(),
            urgency: Vec::new(),
            calls: Vec::new(),
            departed: Vec::new(),
            brought_at: Duration::ZERO,
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
        self.time(scheduled - started, finished - scheduled, clock().saturating_sub(finished));
        true
    }

    fn run(&mut self) -> Result<(), batch::Broken> {
        if let Some(turn) = &self.plan.turn {
            self.plan.turn_ran = Some(self.jobs.run(turn));
            return Ok(());
        }
        if self.calls.is_empty() {
            // A model that left to make room for blocks must be gone before those are taken.
            self.departed.clear();
        }
        self.tell_residency();
        let Place::Here(model) = &mut self.lanes[self.plan.model.0 as usize].place else {
            unreachable!("only models that are here are planned for");
        };
        self.runner.run(&mut self.plan, &mut self.sequences, &mut **model)
    }

    fn time(&mut self, schedule: Duration, run: Duration, commit: Duration) {
        let us = |time: Duration| time.as_micros() as u64;
        if let Some(turn) = &self.plan.turn {
            self.stats.job_turns += 1;
            self.stats.jobs_us += us(run);
            self.stats.jobs_shared_us += if turn.shared { us(run) } else { 0 };
            return;
        }
        let last = &mut self.stats.last;
        (last.schedule_us, last.run_us, last.commit_us) = (us(schedule), us(run), us(commit));
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
        let Some(lane) = self.lanes.get_mut(request.model.0 as usize) else {
            return Err(Box::new((Rejected::UnknownModel(request.model.0), request)));
        };
        if let Err(rejected) = lane.limits.check(&request) {
            return Err(Box::new((rejected, request)));
        }
        let since = request.priority.run.map(|run| self.runs.enter(run, now));
        let rank = match self.config.order {
            Order::Plan => Rank::new(request.priority, since, now, id),
            Order::Arrival => Rank::of_arrival(now, id),
        };
        let context_tokens = lane.limits.context_tokens.min(lane.limits.pool_tokens);
        let room = u32::try_from(context_tokens.saturating_sub(request.prompt.len())).unwrap_or(u32::MAX);
        let tokens_max = request.tokens_max.min(room);
        request.constraint.iter_mut().for_each(|grammar| grammar.limit(tokens_max));
        let sequence = Sequence::new(id, request, rank, context_tokens, now, self.config.speculate);
        if lane.order.is_empty() {
            lane.waiting_since = now;
        }
        let deadline = sequence.terms.deadline;
        let place = lane.order.partition_point(|&slot| self.sequences[slot].rank < rank);
        let slot = self.sequences.insert(sequence);
        lane.order.insert(place, slot);
        self.by_id.insert(id, slot);
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
        self.stats.requests += 1;
        self.note_cached(slot);
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

    fn forget_job(&mut self, ended: Option<jobs::Ended>) {
        if let Some(jobs::Ended { id, deadline: Some(deadline) }) = ended {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// Queues a request that continues from where `parent` is now. Full blocks are shared; a half-full one is copied.
    ///
    /// # Errors
    /// Returns the request when the parent has ended, and for the reasons of [`Core::submit`].
    pub fn fork(
        &mut self,
        parent: RequestId,
        id: RequestId,
        mut request: Request,
        now: Duration,
    ) -> Result<(), Box<(Rejected, Request)>> {
        let Some(&slot) = self.by_id.get(&parent) else {
            return Err(Box::new((Rejected::Ended(parent.0), request)));
        };
        let parent = &self.sequences[slot];
        request.model = parent.model;
        request.prompt.clone_from(&parent.tokens);
        request.stop_tokens.clone_from(&parent.terms.stop_tokens);
        request.cache_salt = parent.terms.cache_salt;
        self.submit(id, request, now)
    }

    /// Keeps a prefix in the cache in preference to others until the expectation ends.
    pub fn expect(&mut self, id: ExpectedId, expected: &Expected, now: Duration) {
        if self.config.order == Order::Plan && (expected.model.0 as usize) < self.lanes.len() {
            self.blocks.expect(id, expected, now);
        }
    }

    /// Ends an expectation. Unknown ids are ignored.
    pub fn release(&mut self, id: ExpectedId) {
        self.blocks.unexpect(id);
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
        let expects = |lane: &Lane| lane.called || matches!(lane.place, Place::Coming);
        self.by_id.is_empty() && self.jobs.is_empty() && !self.lanes.iter().any(expects)
    }

    /// The number of sequences in the batch, summed over all steps.
    #[must_use]
    pub fn batch_sum(&self) -> u64 {
        self.stats.batch_sum
    }

    #[must_use]
    pub fn live(&self) -> usize {
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
        for (place, model) in stats.models.iter_mut().enumerate() {
            model.sequences = self.lanes[place].order.len();
            model.resident = matches!(self.lanes[place].place, Place::Here(_));
            model.blocks = self.blocks.pool_stats(ModelId(place as u32));
        }
        stats
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // The accounts no longer matter, and after a panic they may be wrong. Only the listeners must still be told.
        for sequence in self.sequences.iter_mut() {
            sequence.finish(End::Failed(Failure::Stopped));
        }
    }
}

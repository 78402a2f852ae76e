//! One scheduler for all models: schedule, run, commit. Token ids in, token ids out; text, plans and clocks are not
//! known here.

mod audit;
pub mod batch;
pub mod blocks;
mod commit;
pub mod handle;
pub mod hash;
pub mod request;
pub mod sampler;
pub mod scheduler;
pub mod sequence;
pub mod stats;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bandmaster_models::{Model, ModelInfo};

pub use blocks::BLOCK_TOKENS;
pub use handle::{Engine, EngineError, EngineHandle};
pub use request::*;
pub use stats::{ModelStats, Stats, StepStats};

use batch::{Plan, Runner};
use blocks::Blocks;
use scheduler::{Pace, Underway, Urgency};
use sequence::{End, Sequence, Sequences};

/// What an engine may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Bytes of the cache blocks of all models together.
    pub kv_bytes_max: usize,
    /// Sequences in one batch.
    pub batch_max: usize,
    /// Tokens that one step computes at most, but for `batch_max` decoding sequences and a few of prefill that always go.
    /// A model must take steps of this many, and of `batch_max + 16`.
    pub step_tokens_max: usize,
    /// How long a prefill may keep others from their next token.
    pub shared_step: Duration,
    /// Requests that may wait before they are refused.
    pub queue_max: usize,
}

impl EngineConfig {
    /// Ordinary limits for a cache of this size.
    #[must_use]
    pub fn with_kv_bytes(kv_bytes_max: usize) -> Self {
        Self {
            kv_bytes_max,
            batch_max: 64,
            step_tokens_max: 512,
            shared_step: Duration::from_millis(100),
            queue_max: 256,
        }
    }
}

/// A model and who wants it.
struct Loaded {
    model: Box<dyn Model>,
    limits: Limits,
    /// Its sequences, first in rank first.
    order: Vec<u32>,
    /// When its last step ended, or the first of its sequences came since.
    waiting_since: Duration,
    pace: Pace,
}

/// Everything of the engine but its thread: who drives it passes the time in and sees each step.
pub struct Core {
    config: EngineConfig,
    models: Vec<Loaded>,
    sequences: Sequences,
    by_id: HashMap<RequestId, u32>,
    deadlines: BTreeSet<(Duration, RequestId)>,
    blocks: Blocks,
    plan: Plan,
    runner: Runner,
    underway: Underway,
    /// Buffer of the choice among models.
    urgency: Vec<(Urgency, ModelId)>,
    /// Sequences for which no step has computed anything yet.
    unstarted: usize,
    stats: Stats,
}

impl Core {
    /// An engine without models.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            blocks: Blocks::new(config.kv_bytes_max),
            config,
            models: Vec::new(),
            sequences: Sequences::default(),
            by_id: HashMap::new(),
            deadlines: BTreeSet::new(),
            plan: Plan::default(),
            runner: Runner::default(),
            underway: Underway::default(),
            urgency: Vec::new(),
            unstarted: 0,
            stats: Stats::default(),
        }
    }

    /// One step of one model; `false` when no sequence could go on. `clock` is read between the verbs.
    pub fn step(&mut self, clock: &dyn Fn() -> Duration) -> bool {
        let started = clock();
        if !self.schedule(started) {
            return false;
        }
        let scheduled = clock();
        let ran = self.run();
        let finished = clock();
        self.commit(ran, finished);
        self.time(scheduled - started, finished - scheduled, clock().saturating_sub(finished));
        true
    }

    fn run(&mut self) -> Result<(), batch::Broken> {
        for change in self.blocks.residency.drain(..) {
            let model = &mut self.models[change.model.0 as usize].model;
            if change.resident { model.commit(change.block) } else { model.decommit(change.block) }
        }
        let model = &mut *self.models[self.plan.model.0 as usize].model;
        self.runner.run(&mut self.plan, &mut self.sequences, model)
    }

    fn time(&mut self, schedule: Duration, run: Duration, commit: Duration) {
        let us = |time: Duration| time.as_micros() as u64;
        let last = &mut self.stats.last;
        (last.schedule_us, last.run_us, last.commit_us) = (us(schedule), us(run), us(commit));
        let tokens = last.decode_tokens + last.prefill_tokens;
        self.stats.steps += 1;
        self.stats.schedule_us += us(schedule);
        self.stats.run_us += us(run);
        self.stats.commit_us += us(commit);
        let model = self.plan.model.0 as usize;
        self.models[model].pace.observe(tokens, us(run));
        let stats = &mut self.stats.models[model];
        stats.steps += 1;
        stats.run_us += us(run);
    }

    /// Adds a model; its blocks come out of the engine's budget.
    pub fn add_model(&mut self, name: &str, model: Box<dyn Model>) -> (ModelId, Limits) {
        let id = ModelId(self.models.len() as u32);
        let &ModelInfo { vocab, context_tokens_max, kv_block_bytes, kv_blocks_max, .. } = model.info();
        self.blocks.add_pool(kv_block_bytes.max(1), kv_blocks_max);
        let pool_tokens = self.blocks.capacity(id) * BLOCK_TOKENS;
        let limits = Limits { vocab, context_tokens: context_tokens_max, pool_tokens };
        self.models.push(Loaded {
            model,
            limits,
            order: Vec::new(),
            waiting_since: Duration::ZERO,
            pace: Pace::default(),
        });
        self.stats.models.push(ModelStats { name: name.into(), ..ModelStats::default() });
        (id, limits)
    }

    /// Takes a request that the model's [`Limits`] let through.
    ///
    /// # Errors
    /// Gives the request back with the reason when it can never be computed.
    pub fn submit(
        &mut self,
        id: RequestId,
        request: Request,
        now: Duration,
    ) -> Result<(), Box<(Rejected, Request)>> {
        let Some(loaded) = self.models.get_mut(request.model.0 as usize) else {
            return Err(Box::new((Rejected::UnknownModel(request.model.0), request)));
        };
        if let Err(rejected) = loaded.limits.check(&request) {
            return Err(Box::new((rejected, request)));
        }
        let context_tokens = loaded.limits.context_tokens.min(loaded.limits.pool_tokens);
        let sequence = Sequence::new(id, request, context_tokens, now);
        if loaded.order.is_empty() {
            loaded.waiting_since = now;
        }
        let (rank, deadline) = (sequence.rank, sequence.terms.deadline);
        let place = loaded.order.partition_point(|&slot| self.sequences[slot].rank < rank);
        let slot = self.sequences.insert(sequence);
        loaded.order.insert(place, slot);
        self.by_id.insert(id, slot);
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
        self.stats.requests += 1;
        self.unstarted += 1;
        // A grammar may know its first tokens before the model says anything.
        if let Err(end) = self.sequences[slot].follow_grammar() {
            self.end(slot, end);
        }
        Ok(())
    }

    /// Ends a request; its blocks are free before the next step. Unknown ids have ended before.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(&slot) = self.by_id.get(&id) {
            self.end(slot, End::Finished(FinishReason::Cancelled));
        }
    }

    /// Fails everything that lives.
    pub fn fail_all(&mut self, message: &str) {
        let slots: Vec<u32> = self.by_id.values().copied().collect();
        for slot in slots {
            self.end(slot, End::Failed(message.into()));
        }
    }

    /// Whether nothing lives.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Sum over all steps of the sequences in the batch.
    #[must_use]
    pub fn batch_sum(&self) -> u64 {
        self.stats.batch_sum
    }

    /// Sequences that live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.by_id.len()
    }

    /// The deadline that comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Sequences for which no step has computed anything yet.
    #[must_use]
    pub fn unstarted(&self) -> usize {
        self.unstarted
    }

    /// What the steps did, and how things stand.
    pub fn stats(&mut self) -> &Stats {
        let stats = &mut self.stats;
        stats.running = self.sequences.iter().filter(|(_, sequence)| !sequence.table.is_empty()).count();
        stats.waiting = self.by_id.len() - stats.running;
        stats.kv_bytes_resident = self.blocks.bytes_resident();
        stats.kv_bytes_held = self.blocks.bytes_held();
        stats.kv_bytes_max = self.blocks.bytes_max();
        for (place, model) in stats.models.iter_mut().enumerate() {
            model.sequences = self.models[place].order.len();
            model.blocks = self.blocks.pool_stats(ModelId(place as u32));
        }
        stats
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Accounts no longer matter, and after a panic they may be wrong: only the listeners do.
        for sequence in self.sequences.iter_mut() {
            sequence.finish(End::Failed("the engine has stopped".into()));
        }
    }
}

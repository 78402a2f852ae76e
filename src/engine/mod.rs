//! One scheduler for all models: schedule, run, commit. Token ids in, token ids out; text, plans and clocks are not
//! known here.

mod audit;
pub mod batch;
pub mod blocks;
mod command;
mod commit;
mod constraint;
pub mod cost;
pub mod draft;
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
pub use constraint::Constraint;
pub use handle::{Engine, EngineError, EngineHandle};
pub use jobs::{Broken, Job, JobEnd, JobKind};
pub use place::Brought;
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

/// Who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Classes, runs and critical paths count; whoever belongs to a later run rides along where that is nearly free.
    #[default]
    Plan,
    /// Whoever came first; classes, runs and expectations count for nothing.
    Arrival,
}

/// What an engine may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Bytes of the weights and the cache blocks of all models together.
    pub memory_bytes_max: usize,
    /// Of them cache blocks at most.
    pub cache_bytes_max: usize,
    /// Sequences in one batch.
    pub batch_max: usize,
    /// Tokens that one step computes at most, but for one of each decoding sequence and a few of prefill that always go. A
    /// model must take steps of `batch_max` more than this, and of `batch_max + 16`.
    pub step_tokens_max: usize,
    /// How long a prefill may keep others from their next token.
    pub shared_step: Duration,
    /// How many times as long as alone a token may take beside others of its model: whoever would slow it more waits to
    /// start. `u32::MAX` is no limit.
    pub slowdown_max: u32,
    /// Requests that may wait before they are refused.
    pub queue_max: usize,
    /// Who is served first.
    pub order: Order,
    /// Whether what may come next is guessed and computed along, where that pays. Answers are the same.
    pub speculate: bool,
}

impl EngineConfig {
    /// Ordinary limits within so much memory.
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

/// A model and who wants it.
struct Lane {
    place: Place,
    info: ModelInfo,
    limits: Limits,
    /// Its sequences, first in rank first.
    order: Vec<u32>,
    /// When its last step ended, or the first of its sequences came since.
    waiting_since: Duration,
    /// Since when none of its sequences finds the blocks it needs.
    stuck_since: Option<Duration>,
    cost: Cost,
    /// Whose turn it is among prompts.
    overtaking: Overtaking,
    /// Ranks from here on could not start in the last step for want of blocks.
    starts_before: Option<Rank>,
    /// Whether it can be sent away and loaded again.
    returns: bool,
    /// Whether it is to be loaded although nobody waits for it.
    called: bool,
    /// Whether its file changed while it was used, and no step was done since.
    lost: bool,
}

/// Everything of the engine but its thread: who drives it passes the time in and sees each step.
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
    /// Buffer of the choice among models.
    urgency: Vec<(Urgency, ModelId)>,
    /// Models to be loaded, for who drives this.
    calls: Vec<ModelId>,
    /// Models that were sent away and are to be dropped before others are loaded.
    departed: Vec<Box<dyn Model>>,
    /// When the last of them came: it gets its time before another is called in its place.
    brought_at: Duration,
    stats: Stats,
}

impl Core {
    /// An engine without models.
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

    /// One step of one model, or some pieces of a job; `false` when nothing could go on. `clock` is read between the verbs.
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
            // Who left to make room for blocks must be gone before those are taken.
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

    /// Takes a request that the model's [`Limits`] let through.
    ///
    /// # Errors
    /// Gives the request back with the reason when it can never be computed.
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
        // A grammar may know its first tokens before the model says anything.
        if let Err(end) = self.sequences[slot].follow_grammar() {
            self.end(slot, end);
        }
        Ok(())
    }

    /// Takes a job.
    pub fn submit_job(&mut self, id: RequestId, job: Job, now: Duration) {
        if job.pieces.is_empty() {
            return;
        }
        let deadline = self.jobs.add(id, job, now);
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
    }

    /// Ends a job that may have ended before.
    fn end_job(&mut self, id: RequestId, end: JobEnd) {
        let ended = self.jobs.end(id, end);
        self.forget_job(ended);
    }

    fn forget_job(&mut self, ended: Option<jobs::Ended>) {
        if let Some(jobs::Ended { id, deadline: Some(deadline) }) = ended {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// Takes a request that goes on from where `parent` is: full blocks are shared, a half-full one is copied.
    ///
    /// # Errors
    /// Gives the request back when the parent has ended, and as [`Core::submit`].
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

    /// Keeps a prefix in the cache before others, as long as the expectation stands.
    pub fn expect(&mut self, id: ExpectedId, expected: &Expected, now: Duration) {
        if self.config.order == Order::Plan && (expected.model.0 as usize) < self.lanes.len() {
            self.blocks.expect(id, expected, now);
        }
    }

    /// Ends an expectation. Unknown ids have ended before.
    pub fn release(&mut self, id: ExpectedId) {
        self.blocks.unexpect(id);
    }

    /// Ends a request or a job; its blocks are free before the next step. Unknown ids have ended before.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(&slot) = self.by_id.get(&id) {
            self.end(slot, End::Finished(FinishReason::Cancelled));
        } else {
            self.end_job(id, JobEnd::Cancelled);
        }
    }

    /// Fails everything that lives.
    pub fn fail_all(&mut self, message: &str) {
        let slots: Vec<u32> = self.by_id.values().copied().collect();
        for slot in slots {
            self.end(slot, End::Failed(message.into()));
        }
        for id in self.jobs.ids() {
            self.end_job(id, JobEnd::Cancelled);
        }
    }

    /// Whether nothing lives and no model is to come.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let expects = |lane: &Lane| lane.called || matches!(lane.place, Place::Coming);
        self.by_id.is_empty() && self.jobs.is_empty() && !self.lanes.iter().any(expects)
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

    /// What the steps did, and how things stand.
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
        // Accounts no longer matter, and after a panic they may be wrong: only the listeners do.
        for sequence in self.sequences.iter_mut() {
            sequence.finish(End::Failed("the engine has stopped".into()));
        }
    }
}

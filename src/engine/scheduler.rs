//! The first phase of a step: which model runs, which of its sequences, and how many tokens of each. What a token is
//! worth and what a model computes is not known here.
//!
//! Decoding sequences go first, with one token each. Then come prompts: short ones for their share of the time
//! (`shortest_first`), and the others in order of rank, as far as the step's tokens and time reach. A sequence that
//! would make steps take longer than `slowdown_max` allows waits until one of those before it ends. Sequences of a
//! later run than the model's first are opportunistic: they take part only while they make the step little longer. A
//! sequence that needs a block and finds none free preempts the lowest-ranked sequence below it. So the highest rank
//! can always run, and since ranks never change, everyone's turn comes. Between the steps of models, jobs get their
//! share of the time.

use std::time::Duration;

use super::cost::Workload;
use super::model_state::ModelState;
use super::sequence::{End, Rank, Sequence};
use super::step_budget::PrefillBudget;
use super::{BLOCK_TOKENS, Class, Core, FinishReason, JobEnd, ModelEntry, ModelId, Order, RunId};

/// A model whose sequences are of the next lower class goes first once it has waited this much longer.
const CLASS_PATIENCE: Duration = Duration::from_secs(2);
/// A model whose first sequence is of a later run goes before the first run's once it has waited this much longer.
const RUN_PATIENCE: Duration = Duration::from_millis(500);
/// Opportunistic sequences join while the step takes at most this many times what reading the weights takes. Where that
/// reading dominates a step, more tokens are nearly free.
const OPPORTUNISTIC_STEP_MAX: f64 = 2.0;

/// How urgent a model is: how long it has waited, plus the head starts of its class and run; then how many of its
/// sequences would run.
pub(super) type WaitScore = (Duration, usize);

/// The sequences that a step is for. All others are opportunistic.
#[derive(Clone, Copy)]
struct Primary {
    /// The run of the first sequence that belongs to one.
    run: Option<RunId>,
    /// Rank of the first sequence above the background class.
    rank: Option<Rank>,
}

impl Core {
    /// Fills the plan. `false` when nothing can run.
    pub(super) fn schedule(&mut self, now: Duration) -> bool {
        self.end_overdue(now);
        self.start_loads(now);
        let is_ready =
            |entry: &ModelEntry| matches!(entry.state, ModelState::Loaded(_)) && !entry.queue.is_empty();
        if self.models.iter().any(is_ready) && self.plan_job(true) {
            return true;
        }
        while !self.plan_any(now) {
            // Other models' weights may take the memory of a sequence that needs all that is left.
            if !self.make_room_for_first() {
                return self.plan_job(false);
            }
        }
        true
    }

    /// Plans a step of the most urgent model of which a sequence can run.
    fn plan_any(&mut self, now: Duration) -> bool {
        let mut order = std::mem::take(&mut self.model_order);
        order.clear();
        let first_run = self.first_run();
        let wanted = (0..self.models.len() as u32).map(ModelId).filter(|&model| {
            let entry = &self.models[model.0 as usize];
            !entry.queue.is_empty() && matches!(entry.state, ModelState::Loaded(_))
        });
        order.extend(wanted.map(|model| (self.wait_score(model, first_run, now), model)));
        order.sort_unstable_by(|a, b| b.cmp(a));
        let planned = order.iter().any(|&(_, model)| {
            self.fill_plan(model);
            let planned = !self.plan.work.is_empty();
            if !planned {
                self.models[model.0 as usize].starved_since.get_or_insert(now);
            }
            planned
        });
        self.model_order = order;
        planned
    }

    fn end_overdue(&mut self, now: Duration) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            match self.by_id.get(&id) {
                Some(&slot) => self.end(slot, End::Finished(FinishReason::Deadline)),
                None => self.end_job(id, JobEnd::Deadline),
            }
        }
    }

    /// The run that goes before all others.
    fn first_run(&self) -> Option<RunId> {
        let firsts = self.models.iter().filter_map(|entry| entry.queue.first());
        let first = firsts.map(|&slot| &self.sequences[slot]).filter(|s| s.params.run.is_some());
        first.min_by_key(|sequence| sequence.rank).and_then(|sequence| sequence.params.run)
    }

    /// How long a model has waited, plus head starts for class and first run. Models of the same kind take turns.
    fn wait_score(&self, model: ModelId, first_run: Option<RunId>, now: Duration) -> WaitScore {
        let entry = &self.models[model.0 as usize];
        let waited = now.saturating_sub(entry.waiting_since);
        let head_start = match self.config.order {
            Order::Arrival => Duration::ZERO,
            Order::Plan => {
                let first = &self.sequences[entry.queue[0]].params;
                let classes = entry.queue.iter().map(|&slot| self.sequences[slot].params.class);
                let class = classes.max().unwrap_or_default();
                let leads = first.run.is_none() || first.run == first_run;
                CLASS_PATIENCE * class as u32 + if leads { RUN_PATIENCE } else { Duration::ZERO }
            }
        };
        (waited + head_start, entry.queue.len().min(self.config.batch_max))
    }

    fn fill_plan(&mut self, model: ModelId) {
        self.plan.reset(model);
        self.planned_prefixes.clear();
        let primary = self.primary(model);
        let is_primary = |core: &Self, slot| !core.is_opportunistic(slot, primary);
        let is_opportunistic = |core: &Self, slot| core.is_opportunistic(slot, primary);
        // Once a sequence can't start for want of blocks, none behind it may: small ones would keep a large one out.
        let mut starts_before = None;
        self.plan_decodes(model, is_primary, f64::INFINITY);
        let mut budget = self.prefill_budget(model, primary.rank.is_none());
        let decodes = self.plan.workload;
        let overtook = self.plan_shortest_first(model, is_primary, &mut budget, &mut starts_before);
        let with_overtaking = self.plan.workload;
        let others = |core: &Self, slot| is_primary(core, slot) && !overtook.contains(&slot);
        self.plan_prefills(model, others, budget, &mut starts_before);
        self.account_shortest_first(model, decodes, with_overtaking);
        if self.plan.work.is_empty() {
            // No primary sequence can run.
            self.plan_decodes(model, is_opportunistic, f64::INFINITY);
            let budget = PrefillBudget { limit_us: self.shared_step_us_max(), ..budget };
            self.plan_prefills(model, is_opportunistic, budget, &mut starts_before);
        } else {
            let limit_us = OPPORTUNISTIC_STEP_MAX * self.models[model.0 as usize].cost.step_us();
            self.plan_decodes(model, is_opportunistic, limit_us);
            let slack = PrefillBudget { limit_us, tokens_min: 0, ..budget };
            self.plan_prefills(model, is_opportunistic, slack, &mut starts_before);
        }
        self.models[model.0 as usize].starts_before = starts_before;
        self.add_drafts(model);
        self.plan.predicted_us = self.models[model.0 as usize].cost.predict_us(self.plan.workload);
    }

    fn primary(&self, model: ModelId) -> Primary {
        let queue = &self.models[model.0 as usize].queue;
        let sequences = || queue.iter().map(|&slot| &self.sequences[slot]);
        Primary {
            run: sequences().find_map(|sequence| sequence.params.run),
            rank: sequences().find(|s| s.params.class > Class::Background).map(|sequence| sequence.rank),
        }
    }

    /// Whether a sequence is of a later run than the first and not interactive, or of the background class and ranked
    /// behind another class.
    fn is_opportunistic(&self, slot: u32, primary: Primary) -> bool {
        let Sequence { params, rank, .. } = &self.sequences[slot];
        let later_run =
            params.run.is_some() && params.run != primary.run && params.class < Class::Interactive;
        let behind = params.class == Class::Background && primary.rank.is_some_and(|first| first < *rank);
        self.config.order == Order::Plan && (later_run || behind)
    }

    /// Plans one token for each decoding sequence that is `wanted`, while the step stays within `limit_us`.
    fn plan_decodes(&mut self, model: ModelId, wanted: impl Fn(&Self, u32) -> bool, limit_us: f64) {
        let at = model.0 as usize;
        for index in 0..self.models[at].queue.len() {
            let slot = self.models[at].queue[index];
            if self.plan.work.len() >= self.config.batch_max {
                return;
            }
            if !self.sequences[slot].is_decoding() || !wanted(self, slot) {
                continue;
            }
            let workload = Workload::of(1, self.sequences[slot].computed, 1);
            if self.models[at].cost.predict_us(self.plan.workload.plus(workload)) > limit_us {
                return;
            }
            self.plan_work(slot, 1);
        }
    }

    /// Plans prefill of the sequences that are `wanted`, in order of rank.
    fn plan_prefills(
        &mut self,
        model: ModelId,
        wanted: impl Fn(&Self, u32) -> bool,
        mut budget: PrefillBudget,
        starts_before: &mut Option<Rank>,
    ) {
        let at = model.0 as usize;
        // One decoding step of the sequences of higher rank that hold blocks or may start.
        let mut ahead = Workload::default();
        for index in 0..self.models[at].queue.len() {
            let slot = self.models[at].queue[index];
            if self.prefill_tokens_left(&budget) == 0 || self.plan.work.len() >= self.config.batch_max {
                return;
            }
            let sequence = &self.sequences[slot];
            let one = Workload::of(1, sequence.tokens.len(), 1);
            let crowded = sequence.table.is_empty()
                && ahead.tokens > 0
                && self.models[at].cost.predict_us(ahead.plus(one)) > budget.start_us;
            let runs = !(crowded || sequence.is_decoding() || !wanted(self, slot))
                && self.prepare(slot, starts_before);
            if runs || !self.sequences[slot].table.is_empty() {
                ahead = ahead.plus(one);
            }
            if runs && !self.plan_prefill(slot, &mut budget) {
                return;
            }
        }
    }

    /// Attaches what the cache has for a sequence. Returns whether its next token can be computed in this step. A
    /// sequence that holds nothing may start only if it is ranked before `starts_before`.
    pub(super) fn prepare(&mut self, slot: u32, starts_before: &mut Option<Rank>) -> bool {
        let starts = self.sequences[slot].table.is_empty();
        let rank = self.sequences[slot].rank;
        if starts && starts_before.is_some_and(|before| before < rank) {
            return false;
        }
        self.attach_cached(slot);
        if starts && !self.can_start(slot) {
            self.free_blocks(slot);
            *starts_before = Some(starts_before.map_or(rank, |before| before.min(rank)));
            return false;
        }
        !self.is_planned_elsewhere(slot)
    }

    /// Plans as many of the next `tokens` as blocks can be allocated for. Returns how many.
    pub(super) fn plan_work(&mut self, slot: u32, tokens: usize) -> usize {
        let computed = self.sequences[slot].computed;
        let tokens = loop {
            let covered = self.sequences[slot].table.len() * BLOCK_TOKENS - computed;
            if covered >= tokens {
                break tokens;
            }
            match self.blocks.alloc(self.plan.model) {
                Some(block) => self.sequences[slot].table.push(block),
                None if self.preempt_below(self.sequences[slot].rank) => {}
                None => break covered,
            }
        };
        if tokens > 0 {
            let sequence = &self.sequences[slot];
            let workload = Workload::of(tokens, computed, sequence.rows_within(tokens));
            self.plan.add(slot, sequence.params.run, workload);
        }
        tokens
    }

    /// Adds draft tokens to decoding sequences, as far as they are worth their cost and take no blocks from others.
    fn add_drafts(&mut self, model: ModelId) {
        let entry = &self.models[model.0 as usize];
        let decodes = self.plan.work.iter().filter(|work| self.sequences[work.slot].is_decoding());
        let (count, pairs) = decodes.fold((0, 0), |(n, pairs), work| (n + 1, pairs + work.workload.pairs));
        if count == 0 || !self.config.speculate {
            return;
        }
        let saved_us = entry.cost.predict_us(Workload { tokens: count, rows: count, pairs }) / count as f64;
        for index in 0..self.plan.work.len() {
            let slot = self.plan.work[index].slot;
            let sequence = &mut self.sequences[slot];
            let room = sequence.tokens_left().saturating_sub(1);
            let room = room.min(self.config.step_tokens_max.saturating_sub(self.plan.workload.tokens));
            let may = sequence.is_decoding() && room > 0;
            let Some(drafter) = sequence.drafter.as_mut().filter(|_| may) else { continue };
            let history = sequence.params.run.and_then(|run| self.runs.history(run, model));
            let one = Workload::of(1, sequence.computed, 1);
            let cost_us = entry.cost.predict_us(one) - entry.cost.step_us();
            let first = self.plan.drafts.len();
            drafter.propose(&sequence.tokens, history, (saved_us, cost_us), room, &mut self.plan.drafts);
            let wanted = self.plan.drafts.len() - first;
            let needed = (sequence.computed + 1 + wanted).div_ceil(BLOCK_TOKENS);
            while sequence.table.len() < needed {
                let Some(block) = self.blocks.alloc(model) else { break };
                sequence.table.push(block);
            }
            let covered = sequence.table.len() * BLOCK_TOKENS - sequence.computed - 1;
            self.plan.drafts.truncate(first + wanted.min(covered));
            self.plan.work[index].drafts = first..self.plan.drafts.len();
            let drafted = self.plan.drafts.len() - first;
            let workload = Workload { rows: drafted, ..Workload::of(drafted, sequence.computed + 1, 0) };
            self.plan.workload = self.plan.workload.plus(workload);
        }
    }

    /// Whether a sequence that holds nothing may start: there is room for all its tokens and some for running
    /// sequences, or it may preempt lower ranks for what is missing.
    fn can_start(&self, slot: u32) -> bool {
        let sequence = &self.sequences[slot];
        let model = sequence.model;
        let need = sequence.tokens.len().div_ceil(BLOCK_TOKENS) - sequence.table.len();
        let available = self.blocks.available(model);
        let others = || self.sequences.iter().filter(|&(other, _)| other != slot);
        // Running sequences need blocks for tokens they have not computed, and expected prefixes should not be evicted
        // to run one more sequence beside others.
        let running = others().filter(|(_, other)| !other.table.is_empty());
        let promised: usize = running.map(|(_, other)| self.bytes_wanted(other)).sum();
        let alone = promised == 0 && self.plan.work.is_empty();
        // Expected prefixes may keep at most half of all blocks.
        let kept = if alone { 0 } else { self.blocks.bytes_expected().min(self.blocks.bytes_max() / 2) };
        let kept = (promised + kept).div_ceil(self.blocks.block_bytes(model));
        if need + self.plan.work.len() + kept <= available {
            return true;
        }
        // A sequence that computes ahead is not preempted for one more beside others: its blocks will be used.
        let below =
            others().filter(|(_, other)| other.rank > sequence.rank && (alone || other.wants_sample()));
        let bytes: usize = below.map(|(_, o)| o.table.len() * self.blocks.block_bytes(o.model)).sum();
        bytes > 0 && need + kept <= available + bytes / self.blocks.block_bytes(model)
    }

    /// Bytes of the blocks that a sequence still needs for its tokens and the next one.
    fn bytes_wanted(&self, sequence: &Sequence) -> usize {
        let blocks = (sequence.tokens.len() + 1).div_ceil(BLOCK_TOKENS).saturating_sub(sequence.table.len());
        blocks * self.blocks.block_bytes(sequence.model)
    }

    /// Preempts the lowest-ranked sequence below `rank`, of any model. `false` when there is none.
    fn preempt_below(&mut self, rank: Rank) -> bool {
        let lowest = self.lowest_holder().filter(|&slot| self.sequences[slot].rank > rank);
        lowest.is_some_and(|slot| self.preempt(slot))
    }

    /// The lowest-ranked sequence that holds blocks.
    pub(super) fn lowest_holder(&self) -> Option<u32> {
        let holders = self.models.iter().filter_map(|entry| {
            let mut lowest_first = entry.queue.iter().rev();
            lowest_first.find(|&&slot| !self.sequences[slot].table.is_empty()).copied()
        });
        holders.max_by_key(|&slot| self.sequences[slot].rank)
    }

    /// Takes a sequence out of the plan and frees its blocks. Always returns `true`.
    pub(super) fn preempt(&mut self, victim: u32) -> bool {
        self.plan.remove(victim);
        self.drop_copies_for(victim);
        self.free_blocks(victim);
        self.stats.preemptions += 1;
        true
    }

    /// Frees all blocks of a sequence, the last one first. What the cache then loses is computed again.
    pub(super) fn free_blocks(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        while let Some(block) = sequence.table.pop() {
            self.blocks.release(sequence.model, block);
        }
        sequence.computed = 0;
    }
}

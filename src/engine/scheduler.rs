//! The first phase of a step: which model runs, which of its sequences, and how many tokens of each. What a token is
//! worth and what a model computes is not known here.
//!
//! Decoding sequences go first, with one token each. Then come prompts: short ones for their share of the time
//! (`overtaking`), and the others in order of rank, as far as the step's tokens and time reach. A sequence that would
//! make steps take longer than `slowdown_max` allows waits until one of those before it ends. Sequences of a later run
//! than the model's first take part only while they make the step little longer. A sequence that needs a block and
//! finds none free preempts the lowest-ranked sequence below it. So the highest rank can always run, and since ranks
//! never change, everyone's turn comes. Between the steps of models, jobs get their share of the time.

use std::time::Duration;

use super::cost::Amount;
use super::pace::Prefill;
use super::place::Place;
use super::sequence::{End, Rank, Sequence};
use super::{BLOCK_TOKENS, Class, Core, FinishReason, JobEnd, Lane, ModelId, Order, RunId};

/// A model whose sequences are of the next lower class goes first once it has waited this much longer.
const CLASS_PATIENCE: Duration = Duration::from_secs(2);
/// A model whose first sequence is of a later run goes before the first run's once it has waited this much longer.
const RUN_PATIENCE: Duration = Duration::from_millis(500);
/// Sequences of later runs join while the step takes at most this many times what reading the weights takes. Where that
/// reading dominates a step, more tokens are nearly free.
const RIDERS_STEP_MAX: f64 = 2.0;

/// How long a model has waited, plus the head starts of its class and run; then how many sequences would run.
pub type Urgency = (Duration, usize);

/// Whom a step is for; all others only ride along.
#[derive(Clone, Copy)]
struct Leaders {
    /// The run of the model's first sequence that has one.
    run: Option<RunId>,
    /// Rank of the first sequence above the background class.
    rank: Option<Rank>,
}

impl Core {
    /// Fills the plan. `false` when nothing can run.
    pub(super) fn schedule(&mut self, now: Duration) -> bool {
        self.end_overdue(now);
        self.blocks.expire(now);
        self.call_models(now);
        let waits = |lane: &Lane| matches!(lane.place, Place::Here(_)) && !lane.order.is_empty();
        if self.lanes.iter().any(waits) && self.plan_turn(true) {
            return true;
        }
        while !self.plan_any(now) {
            // Other models' weights may take the memory of a sequence that needs all that is left.
            if !self.make_room_for_first() {
                return self.plan_turn(false);
            }
        }
        true
    }

    fn plan_any(&mut self, now: Duration) -> bool {
        let mut order = std::mem::take(&mut self.urgency);
        order.clear();
        let first_run = self.first_run();
        let wanted = (0..self.lanes.len() as u32).map(ModelId).filter(|&model| {
            let lane = &self.lanes[model.0 as usize];
            !lane.order.is_empty() && matches!(lane.place, Place::Here(_))
        });
        order.extend(wanted.map(|model| (self.urgency_of(model, first_run, now), model)));
        order.sort_unstable_by(|a, b| b.cmp(a));
        let planned = order.iter().any(|&(_, model)| {
            self.fill_plan(model);
            let planned = !self.plan.work.is_empty();
            if !planned {
                self.lanes[model.0 as usize].stuck_since.get_or_insert(now);
            }
            planned
        });
        self.urgency = order;
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
        let firsts = self.lanes.iter().filter_map(|lane| lane.order.first());
        let first = firsts.map(|&slot| &self.sequences[slot]).filter(|s| s.terms.run.is_some());
        first.min_by_key(|sequence| sequence.rank).and_then(|sequence| sequence.terms.run)
    }

    /// How long a model has waited, plus head starts for class and first run. Models of the same kind take turns.
    fn urgency_of(&self, model: ModelId, first_run: Option<RunId>, now: Duration) -> Urgency {
        let lane = &self.lanes[model.0 as usize];
        let waited = now.saturating_sub(lane.waiting_since);
        let head_start = match self.config.order {
            Order::Arrival => Duration::ZERO,
            Order::Plan => {
                let first = &self.sequences[lane.order[0]].terms;
                let classes = lane.order.iter().map(|&slot| self.sequences[slot].terms.class);
                let class = classes.max().unwrap_or_default();
                let leads = first.run.is_none() || first.run == first_run;
                CLASS_PATIENCE * class as u32 + if leads { RUN_PATIENCE } else { Duration::ZERO }
            }
        };
        (waited + head_start, lane.order.len().min(self.config.batch_max))
    }

    fn fill_plan(&mut self, model: ModelId) {
        self.plan.reset(model);
        self.underway.clear();
        let leaders = self.leaders(model);
        let leads = |core: &Self, slot| !core.rides(slot, leaders);
        let rides = |core: &Self, slot| core.rides(slot, leaders);
        // Once a sequence can't start for want of blocks, none behind it may: small ones would keep a large one out.
        let mut starts_before = None;
        self.plan_decodes(model, leads, f64::INFINITY);
        let mut all = self.prefill(model, leaders.rank.is_none());
        let decodes = self.plan.amount;
        let taken = self.plan_overtaking(model, leads, &mut all, &mut starts_before);
        let overtaking = self.plan.amount;
        let others = |core: &Self, slot| leads(core, slot) && !taken.contains(&slot);
        self.plan_prefills(model, others, all, &mut starts_before);
        self.count_overtaking(model, decodes, overtaking);
        if self.plan.work.is_empty() {
            // None of those the step is for can run.
            self.plan_decodes(model, rides, f64::INFINITY);
            let all = Prefill { limit_us: self.shared_us(), ..all };
            self.plan_prefills(model, rides, all, &mut starts_before);
        } else {
            let limit_us = RIDERS_STEP_MAX * self.lanes[model.0 as usize].cost.step_us();
            self.plan_decodes(model, rides, limit_us);
            let slack = Prefill { limit_us, least: 0, ..all };
            self.plan_prefills(model, rides, slack, &mut starts_before);
        }
        self.lanes[model.0 as usize].starts_before = starts_before;
        self.add_drafts(model);
        self.plan.predicted_us = self.lanes[model.0 as usize].cost.predict_us(self.plan.amount);
    }

    fn leaders(&self, model: ModelId) -> Leaders {
        let order = &self.lanes[model.0 as usize].order;
        let sequences = || order.iter().map(|&slot| &self.sequences[slot]);
        Leaders {
            run: sequences().find_map(|sequence| sequence.terms.run),
            rank: sequences().find(|s| s.terms.class > Class::Background).map(|sequence| sequence.rank),
        }
    }

    /// Whether a sequence only rides along: it is of a later run than the first and not interactive, or it is of the
    /// background and ranked behind another class.
    fn rides(&self, slot: u32, leaders: Leaders) -> bool {
        let Sequence { terms, rank, .. } = &self.sequences[slot];
        let later_run = terms.run.is_some() && terms.run != leaders.run && terms.class < Class::Interactive;
        let behind = terms.class == Class::Background && leaders.rank.is_some_and(|leader| leader < *rank);
        self.config.order == Order::Plan && (later_run || behind)
    }

    /// Plans one token for each decoding sequence that is `wanted`, while the step stays within `limit_us`.
    fn plan_decodes(&mut self, model: ModelId, wanted: impl Fn(&Self, u32) -> bool, limit_us: f64) {
        let lane = model.0 as usize;
        for place in 0..self.lanes[lane].order.len() {
            let slot = self.lanes[lane].order[place];
            if self.plan.work.len() >= self.config.batch_max {
                return;
            }
            if !self.sequences[slot].is_decoding() || !wanted(self, slot) {
                continue;
            }
            let amount = Amount::of(1, self.sequences[slot].computed, 1);
            if self.lanes[lane].cost.predict_us(self.plan.amount.and(amount)) > limit_us {
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
        mut prefill: Prefill,
        starts_before: &mut Option<Rank>,
    ) {
        let lane = model.0 as usize;
        // One decoding step of the sequences of higher rank that hold blocks or may start.
        let mut ahead = Amount::default();
        for place in 0..self.lanes[lane].order.len() {
            let slot = self.lanes[lane].order[place];
            if self.tokens_left(&prefill) == 0 || self.plan.work.len() >= self.config.batch_max {
                return;
            }
            let sequence = &self.sequences[slot];
            let one = Amount::of(1, sequence.tokens.len(), 1);
            let crowded = sequence.table.is_empty()
                && ahead.tokens > 0
                && self.lanes[lane].cost.predict_us(ahead.and(one)) > prefill.start_us;
            let goes = !(crowded || sequence.is_decoding() || !wanted(self, slot))
                && self.may_go_on(slot, starts_before);
            if goes || !self.sequences[slot].table.is_empty() {
                ahead = ahead.and(one);
            }
            if goes && !self.plan_prefill(slot, &mut prefill) {
                return;
            }
        }
    }

    /// Attaches what the cache has for a sequence. Returns whether its next token can be computed in this step. A
    /// sequence that holds nothing may start only if it is ranked before `starts_before`.
    pub(super) fn may_go_on(&mut self, slot: u32, starts_before: &mut Option<Rank>) -> bool {
        let starts = self.sequences[slot].table.is_empty();
        let rank = self.sequences[slot].rank;
        if starts && starts_before.is_some_and(|before| before < rank) {
            return false;
        }
        self.attach(slot);
        if starts && !self.fits(slot) {
            self.give_back(slot);
            *starts_before = Some(starts_before.map_or(rank, |before| before.min(rank)));
            return false;
        }
        !self.is_underway(slot)
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
            let amount = Amount::of(tokens, computed, sequence.rows_within(tokens));
            self.plan.add(slot, sequence.terms.run, amount);
        }
        tokens
    }

    /// Adds draft tokens to decoding sequences, as far as they are worth their cost and take no blocks from others.
    fn add_drafts(&mut self, model: ModelId) {
        let lane = &self.lanes[model.0 as usize];
        let decodes = self.plan.work.iter().filter(|work| self.sequences[work.slot].is_decoding());
        let (count, pairs) = decodes.fold((0, 0), |(n, pairs), work| (n + 1, pairs + work.amount.pairs));
        if count == 0 || !self.config.speculate {
            return;
        }
        let saved_us = lane.cost.predict_us(Amount { tokens: count, rows: count, pairs }) / count as f64;
        for place in 0..self.plan.work.len() {
            let slot = self.plan.work[place].slot;
            let sequence = &mut self.sequences[slot];
            let room = sequence.tokens_left().saturating_sub(1);
            let room = room.min(self.config.step_tokens_max.saturating_sub(self.plan.amount.tokens));
            let may = sequence.is_decoding() && room > 0;
            let Some(guesses) = sequence.guesses.as_mut().filter(|_| may) else { continue };
            let history = sequence.terms.run.and_then(|run| self.runs.history(run, model));
            let one = Amount::of(1, sequence.computed, 1);
            let cost_us = lane.cost.predict_us(one) - lane.cost.step_us();
            let first = self.plan.drafts.len();
            guesses.draft(&sequence.tokens, history, (saved_us, cost_us), room, &mut self.plan.drafts);
            let wanted = self.plan.drafts.len() - first;
            let needed = (sequence.computed + 1 + wanted).div_ceil(BLOCK_TOKENS);
            while sequence.table.len() < needed {
                let Some(block) = self.blocks.alloc(model) else { break };
                sequence.table.push(block);
            }
            let covered = sequence.table.len() * BLOCK_TOKENS - sequence.computed - 1;
            self.plan.drafts.truncate(first + wanted.min(covered));
            self.plan.work[place].drafts = first..self.plan.drafts.len();
            let drafted = self.plan.drafts.len() - first;
            let amount = Amount { rows: drafted, ..Amount::of(drafted, sequence.computed + 1, 0) };
            self.plan.amount = self.plan.amount.and(amount);
        }
    }

    /// Whether a sequence that holds nothing may start: there is room for all its tokens and some for running
    /// sequences, or it may preempt lower ranks for what is missing.
    fn fits(&self, slot: u32) -> bool {
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
        let below = others().filter(|(_, other)| other.rank > sequence.rank && (alone || other.wants_draw()));
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
        let holders = self.lanes.iter().filter_map(|lane| {
            let mut lowest_first = lane.order.iter().rev();
            lowest_first.find(|&&slot| !self.sequences[slot].table.is_empty()).copied()
        });
        holders.max_by_key(|&slot| self.sequences[slot].rank)
    }

    /// Takes a sequence out of the plan and frees its blocks. Always returns `true`.
    pub(super) fn preempt(&mut self, victim: u32) -> bool {
        self.plan.remove(victim);
        self.drop_copies_for(victim);
        self.give_back(victim);
        self.stats.preemptions += 1;
        true
    }

    /// Frees all blocks of a sequence, the last one first. What the cache then loses is computed again.
    pub(super) fn give_back(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        while let Some(block) = sequence.table.pop() {
            self.blocks.release(sequence.model, block);
        }
        sequence.computed = 0;
    }
}

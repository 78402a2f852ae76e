//! The first verb: which model, which of its sequences, and how many tokens of each. What a token is worth and what a
//! model computes is not known here.
//!
//! Decoding sequences go first, one token each; then those with more to compute, in order of rank, as far as the step's
//! tokens reach. Whoever needs a block and finds none takes those of the lowest rank below its own. The highest rank
//! can therefore always go on, and as ranks never change, so can everyone in turn.

use std::collections::HashSet;
use std::time::Duration;

use bandmaster_models::BlockCopy;

use super::batch::Work;
use super::hash::chain_hash;
use super::sequence::{End, Rank};
use super::{BLOCK_TOKENS, Core, FinishReason, ModelId};

/// A model whose sequences waited this long counts as one credit more urgent: at equal class, models take turns.
const CREDIT_AGE: Duration = Duration::from_millis(50);
/// Credits that one class is worth.
const CREDITS_PER_CLASS: u64 = 8;
/// Prefill tokens of a shared step while a model's pace is not known.
const SHARED_TOKENS_FIRST: usize = 64;
/// A shared step takes at least this many prefill tokens, however slow the model.
const SHARED_TOKENS_MIN: usize = 16;
/// Steps with fewer tokens say nothing about the pace of prefill.
const PACE_TOKENS_MIN: usize = 32;
/// Leading tokens of a block that must agree before a sequence waits for another to compute them.
const AWAITED_TOKENS_MIN: usize = 4;

/// How long a model takes per token of a large step, learned while running.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    us_per_token: Option<f64>,
}

impl Pace {
    /// Takes a step of `tokens` tokens into account.
    pub fn observe(&mut self, tokens: usize, run_us: u64) {
        if tokens < PACE_TOKENS_MIN || run_us == 0 {
            return;
        }
        let now = run_us as f64 / tokens as f64;
        self.us_per_token = Some(self.us_per_token.map_or(now, |before| before + 0.25 * (now - before)));
    }

    fn tokens_within(self, time: Duration) -> usize {
        let tokens = |us: f64| (time.as_micros() as f64 / us) as usize;
        self.us_per_token.map_or(SHARED_TOKENS_FIRST, tokens).max(SHARED_TOKENS_MIN)
    }
}

/// Credits, sequences that would run, and time waited, compared in this order.
pub type Urgency = (u64, usize, Duration);

/// Which blocks the planned step will compute, so that siblings wait for them.
#[derive(Debug, Default)]
pub struct Underway(HashSet<u64>);

impl Core {
    /// Fills the plan; `false` when no sequence can go on.
    pub(super) fn schedule(&mut self, now: Duration) -> bool {
        self.end_overdue(now);
        let mut order = std::mem::take(&mut self.urgency);
        order.clear();
        let wanted = (0..self.models.len() as u32).map(ModelId).filter(|&m| !self.order(m).is_empty());
        order.extend(wanted.map(|model| (self.urgency_of(model, now), model)));
        order.sort_unstable_by(|a, b| b.cmp(a));
        let planned = order.iter().any(|&(_, model)| {
            self.fill_plan(model);
            !self.plan.work.is_empty()
        });
        self.urgency = order;
        planned
    }

    fn end_overdue(&mut self, now: Duration) {
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            let slot = self.by_id[&id];
            self.end(slot, End::Finished(FinishReason::Deadline));
        }
    }

    /// The highest class that waits and how long it has waited; then how full the batch would be; then who waited longer.
    fn urgency_of(&self, model: ModelId, now: Duration) -> Urgency {
        let loaded = &self.models[model.0 as usize];
        let classes = loaded.order.iter().map(|&slot| self.sequences[slot].terms.class);
        let class = classes.max().unwrap_or_default() as u64;
        let waited = now.saturating_sub(loaded.waiting_since);
        let credits = class * CREDITS_PER_CLASS + (waited.as_micros() / CREDIT_AGE.as_micros()) as u64;
        (credits, loaded.order.len().min(self.config.batch_max), waited)
    }

    fn order(&self, model: ModelId) -> &[u32] {
        &self.models[model.0 as usize].order
    }

    fn fill_plan(&mut self, model: ModelId) {
        self.plan.reset(model);
        self.underway.0.clear();
        let sequences = self.order(model).len();
        for place in 0..sequences {
            if self.plan.work.len() == self.config.batch_max {
                return;
            }
            let slot = self.order(model)[place];
            if self.sequences[slot].is_decoding() {
                self.plan_work(slot, 1);
            }
        }
        let mut left = self.prefill_tokens(model);
        // Once one cannot start for want of blocks, none behind it may: a small one would keep a large one out for ever.
        let mut may_start = true;
        for place in 0..sequences {
            if left == 0 || self.plan.work.len() >= self.config.batch_max {
                return;
            }
            let slot = self.order(model)[place];
            if !self.sequences[slot].is_decoding() {
                left -= self.plan_prefill(slot, left, &mut may_start);
            }
        }
    }

    /// Tokens that this step may spend on sequences that do not decode. Where others wait for their next token, no more
    /// than what passes quickly.
    fn prefill_tokens(&self, model: ModelId) -> usize {
        let decodes = self.plan.work.len();
        let own = self.order(model).len();
        let shared = decodes > 0 || self.by_id.len() > own;
        let most = self.config.step_tokens_max;
        if !shared {
            return most;
        }
        let pace = self.models[model.0 as usize].pace;
        let tokens = pace.tokens_within(self.config.shared_step).min(most);
        tokens.saturating_sub(decodes).max(SHARED_TOKENS_MIN.min(most))
    }

    /// Plans up to `left` pending tokens, after taking what the cache has; says how many.
    fn plan_prefill(&mut self, slot: u32, left: usize, may_start: &mut bool) -> usize {
        let starts = self.sequences[slot].table.is_empty();
        if starts && !*may_start {
            return 0;
        }
        self.attach(slot);
        if starts && !self.fits(slot) {
            self.give_back(slot);
            *may_start = false;
            return 0;
        }
        if self.is_underway(slot) {
            return 0;
        }
        self.copy_part(slot);
        let tokens = self.sequences[slot].pending().min(left);
        let tokens = self.plan_work(slot, tokens);
        self.note_underway(slot, tokens);
        tokens
    }

    /// Puts as many of the next `tokens` into the plan as blocks can be had for; says how many.
    fn plan_work(&mut self, slot: u32, tokens: usize) -> usize {
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
            self.plan.work.push(Work { slot, tokens, rows: 0..0 });
        }
        tokens
    }

    /// Appends the full blocks that the cache has for what comes next.
    fn attach(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        let model = sequence.model;
        while sequence.computed == sequence.table.len() * BLOCK_TOKENS {
            let end = sequence.computed + BLOCK_TOKENS;
            if end > sequence.cacheable_tokens() {
                return;
            }
            let hash = sequence.prefix_hash(end / BLOCK_TOKENS);
            let last = sequence.table.last();
            let prefix = last.map_or(sequence.root(), |&block| self.blocks.prefix_of(model, block));
            let tokens = &sequence.tokens[sequence.computed..end];
            let Some(block) = self.blocks.full(model, prefix, hash, tokens) else { return };
            self.blocks.share(model, block);
            sequence.table.push(block);
            self.stats.cached_tokens += sequence.found(BLOCK_TOKENS) as u64;
        }
    }

    /// Plans to copy the part of another's block that agrees with what comes next.
    fn copy_part(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        let (model, start) = (sequence.model, sequence.computed);
        let end = sequence.cacheable_tokens().min(start + BLOCK_TOKENS - 1);
        if start != sequence.table.len() * BLOCK_TOKENS || end <= start {
            return;
        }
        let last = sequence.table.last();
        let prefix = last.map_or(sequence.root(), |&block| self.blocks.prefix_of(model, block));
        let found = self.blocks.partial(model, prefix, &sequence.tokens[start..end]);
        let Some((from, tokens)) = found else { return };
        // Held until the step ends, so that the room for the copy is not made by evicting its source.
        self.blocks.share(model, from);
        let Some(to) = self.blocks.alloc(model) else {
            self.blocks.release(model, from);
            return;
        };
        sequence.table.push(to);
        self.stats.cached_tokens += sequence.found(tokens) as u64;
        self.plan.copies.push((slot, BlockCopy { from, to, tokens }));
    }

    /// Whether a sequence that holds nothing of its own may start: there is room for all it knows and a little for those
    /// that run, or it may take what is missing from lower ranks.
    fn fits(&self, slot: u32) -> bool {
        let sequence = &self.sequences[slot];
        let model = sequence.model;
        let need = sequence.tokens.len().div_ceil(BLOCK_TOKENS) - sequence.table.len();
        let available = self.blocks.available(model);
        if need + self.plan.work.len() <= available {
            return true;
        }
        let others = self.sequences.iter().filter(|&(other, _)| other != slot);
        let below = others.filter(|(_, other)| other.rank > sequence.rank);
        let bytes: usize = below.map(|(_, o)| o.table.len() * self.blocks.block_bytes(o.model)).sum();
        bytes > 0 && need <= available + bytes / self.blocks.block_bytes(model)
    }

    /// Takes the blocks of the lowest rank below `rank`, of any model; `false` when there is none.
    fn preempt_below(&mut self, rank: Rank) -> bool {
        let holders = self.models.iter().filter_map(|loaded| {
            let mut lowest_first = loaded.order.iter().rev();
            lowest_first.find(|&&slot| !self.sequences[slot].table.is_empty()).copied()
        });
        let lowest = holders.max_by_key(|&slot| self.sequences[slot].rank);
        let Some(victim) = lowest.filter(|&slot| self.sequences[slot].rank > rank) else { return false };
        self.plan.work.retain(|work| work.slot != victim);
        self.drop_copies_for(victim);
        self.give_back(victim);
        self.stats.preemptions += 1;
        true
    }

    fn drop_copies_for(&mut self, slot: u32) {
        let (blocks, model) = (&mut self.blocks, self.plan.model);
        self.plan.copies.retain(|&(owner, copy)| {
            if owner == slot {
                blocks.release(model, copy.from);
            }
            owner != slot
        });
    }

    /// Gives all blocks of a sequence back, its last first; it will compute again what it loses.
    pub(super) fn give_back(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        while let Some(block) = sequence.table.pop() {
            self.blocks.release(sequence.model, block);
        }
        sequence.computed = 0;
    }

    /// Whether another sequence computes the start of the next block within this very step.
    fn is_underway(&mut self, slot: u32) -> bool {
        let sequence = &mut self.sequences[slot];
        let start = sequence.computed;
        let at_block = start == sequence.table.len() * BLOCK_TOKENS;
        if self.underway.0.is_empty() || !at_block || sequence.cacheable_tokens() < start + AWAITED_TOKENS_MIN
        {
            return false;
        }
        let prefix = sequence.prefix_hash(start / BLOCK_TOKENS);
        self.underway.0.contains(&chain_hash(prefix, &sequence.tokens[start..start + AWAITED_TOKENS_MIN]))
    }

    /// Notes the blocks whose start is known once `tokens` more are computed.
    fn note_underway(&mut self, slot: u32, tokens: usize) {
        let sequence = &mut self.sequences[slot];
        let end = sequence.computed + tokens;
        let mut first = sequence.computed / BLOCK_TOKENS * BLOCK_TOKENS;
        while tokens > 0 && first + AWAITED_TOKENS_MIN <= end {
            let prefix = sequence.prefix_hash(first / BLOCK_TOKENS);
            let start = &sequence.tokens[first..first + AWAITED_TOKENS_MIN];
            self.underway.0.insert(chain_hash(prefix, start));
            first += BLOCK_TOKENS;
        }
    }
}

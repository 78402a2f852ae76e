//! How much time a step may take, and how it is shared among decoding, prefill, and jobs between steps. Which sequences
//! a step is for is not known here.

use super::place::Place;
use super::{Class, Core, Lane, ModelId};

/// A step that others wait for computes at least this many prefill tokens, however slow the model.
const SHARED_TOKENS_MIN: usize = 16;
/// A step is planned for this share of its time limit, since steps vary.
const STEP_MARGIN: f64 = 0.85;
/// Of the time that a step beside decoding sequences may take, this share is for prefill, however many decode.
const PREFILL_SHARE: f64 = 0.2;
/// A step that only computes prompts takes this many times as long as one token alone. That is long enough for the
/// reading of the weights to be a small part, and short enough that a new short prompt does not wait long.
const PROMPT_STEP: f64 = 5.0;

/// How much prefill a step may have.
#[derive(Clone, Copy)]
pub(super) struct Prefill {
    /// Microseconds that the whole step may take.
    pub limit_us: f64,
    /// Tokens that the first prompts get even beyond the limit.
    pub least: usize,
    /// A sequence may start only if decoding it together with those ahead stays within this many microseconds.
    pub start_us: f64,
}

impl Core {
    /// Plans the next pieces of a job. `false` when there is none, or it is the sequences' turn.
    pub(super) fn plan_turn(&mut self, shared: bool) -> bool {
        if self.jobs.is_empty() {
            return false;
        }
        let tokens_max = self.config.step_tokens_max;
        let turn = match shared {
            true => self.jobs.shared_turn(self.jobs_limit_us(), tokens_max),
            false => self.jobs.turn_alone(self.shared_us() / 2.0, tokens_max),
        };
        let Some(turn) = turn else { return false };
        self.plan.reset(self.plan.model);
        self.plan.predicted_us = turn.predicted_us;
        self.plan.turn = Some(turn);
        true
    }

    /// Microseconds that jobs may take between two steps while sequences wait: half of what others may add to a token.
    pub(super) fn jobs_limit_us(&self) -> f64 {
        let wanted = self.lanes.iter().filter(|lane| !lane.order.is_empty());
        wanted.map(|lane| self.slowed_us(lane)).fold(self.shared_us(), f64::min) / 2.0
    }

    /// Microseconds that a step with decoding sequences may take.
    fn slowed_us(&self, lane: &Lane) -> f64 {
        f64::from(self.config.slowdown_max) * STEP_MARGIN * lane.cost.alone_us()
    }

    /// Microseconds that a step may take in which no sequence decodes and nobody else waits.
    pub(super) fn prompt_step_us(&self, model: ModelId) -> f64 {
        PROMPT_STEP * self.lanes[model.0 as usize].cost.alone_us()
    }

    /// The limits of prefill in a step whose decoding sequences are planned; tighter when others wait for a token.
    pub(super) fn prefill(&self, model: ModelId, background: bool) -> Prefill {
        let waits = |lane: &Lane| {
            let mut terms = lane.order.iter().map(|&slot| &self.sequences[slot].terms);
            matches!(lane.place, Place::Here(_)) && terms.any(|terms| terms.class > Class::Background)
        };
        let mut others = self.lanes.iter().enumerate().filter(|&(lane, _)| lane != model.0 as usize);
        // Sequences that arrive during background work should not have to wait for it.
        let others_wait = background || others.any(|(_, lane)| waits(lane));
        let cost = &self.lanes[model.0 as usize].cost;
        let slowed_us = self.slowed_us(&self.lanes[model.0 as usize]);
        let start_us = slowed_us * (1.0 - PREFILL_SHARE);
        let decodes_us = cost.predict_us(self.plan.amount);
        let (limit_us, least) = match (self.plan.work.is_empty(), others_wait) {
            (true, false) => (self.prompt_step_us(model), SHARED_TOKENS_MIN),
            (true, true) => (self.shared_us(), SHARED_TOKENS_MIN),
            (false, _) => {
                // What jobs took since the last step is part of the wait for the next token.
                let limit_us = slowed_us.min(self.shared_us()) - self.jobs.since_step_us();
                (limit_us.max(decodes_us / (1.0 - PREFILL_SHARE)), 1)
            }
        };
        Prefill { limit_us, least, start_us }
    }

    pub(super) fn shared_us(&self) -> f64 {
        self.config.shared_step.as_secs_f64() * 1e6
    }

    /// Tokens that prefill may still add to the step. A few always may, or long prompts would never advance beside
    /// others.
    pub(super) fn tokens_left(&self, prefill: &Prefill) -> usize {
        let tokens_max = self.config.step_tokens_max;
        tokens_max.saturating_sub(self.plan.amount.tokens).max(prefill.least.min(tokens_max))
    }

    /// Plans as much of a sequence's prefill as the step has room for. `false` when there is no room.
    pub(super) fn plan_prefill(&mut self, slot: u32, prefill: &mut Prefill) -> bool {
        let sequence = &self.sequences[slot];
        let (most, cost) = (self.tokens_left(prefill), &self.lanes[sequence.model.0 as usize].cost);
        let rows = |tokens: usize| sequence.rows_within(tokens);
        let fitting = cost.tokens_within(prefill.limit_us, self.plan.amount, sequence.computed, most, rows);
        let tokens = fitting.max(prefill.least.min(self.config.step_tokens_max));
        if tokens == 0 {
            return false;
        }
        self.copy_part(slot);
        let tokens = self.plan_work(slot, self.sequences[slot].pending().min(tokens));
        self.note_underway(slot, tokens);
        prefill.least = prefill.least.saturating_sub(tokens);
        true
    }
}

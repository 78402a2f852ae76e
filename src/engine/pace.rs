//! How much time a step may take and who gets how much of it: replies, prompts, and jobs between the steps. Which
//! sequences a step is for is not known here.

use super::place::Place;
use super::{Class, Core, Lane, ModelId};

/// A step that others wait for takes at least this many prefill tokens, however slow the model.
const SHARED_TOKENS_MIN: usize = 16;
/// A step is planned to take this much of what it may, since steps vary.
const STEP_MARGIN: f64 = 0.85;
/// Of the time that a step may take beside replies, this much is for prefill, however many decode.
const PREFILL_SHARE: f64 = 0.2;
/// A step that computes prompts alone takes this many times what one token takes alone: long enough that reading the
/// weights again is a small part of it, and whoever comes with a short prompt does not wait long for its end.
const PROMPT_STEP: f64 = 5.0;

/// How far prefill may fill a step.
#[derive(Clone, Copy)]
pub(super) struct Prefill {
    /// Microseconds that the step may take.
    pub limit_us: f64,
    /// Tokens that the first of them gets even so.
    pub least: usize,
    /// Microseconds that decoding the sequences ahead of one that starts may take with it.
    pub start_us: f64,
}

impl Core {
    /// Plans the next pieces of a job; `false` when there is none, or it is the turn of sequences.
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

    /// Microseconds that jobs may take between two steps where sequences wait: half of what others may add to a token.
    pub(super) fn jobs_limit_us(&self) -> f64 {
        let wanted = self.lanes.iter().filter(|lane| !lane.order.is_empty());
        wanted.map(|lane| self.slowed_us(lane)).fold(self.shared_us(), f64::min) / 2.0
    }

    /// Microseconds that a step of replies may take with all that is beside them.
    fn slowed_us(&self, lane: &Lane) -> f64 {
        f64::from(self.config.slowdown_max) * STEP_MARGIN * lane.cost.alone_us()
    }

    /// Microseconds that a step may take in which nobody waits for a next token.
    pub(super) fn prompt_step_us(&self, model: ModelId) -> f64 {
        PROMPT_STEP * self.lanes[model.0 as usize].cost.alone_us()
    }

    /// How far prefill may fill the step of which the decodes are planned: as far as tokens reach, unless others wait for
    /// their next token.
    pub(super) fn prefill(&self, model: ModelId, background: bool) -> Prefill {
        let waits = |lane: &Lane| {
            let mut terms = lane.order.iter().map(|&slot| &self.sequences[slot].terms);
            matches!(lane.place, Place::Here(_)) && terms.any(|terms| terms.class > Class::Background)
        };
        let mut others = self.lanes.iter().enumerate().filter(|&(lane, _)| lane != model.0 as usize);
        // Whoever comes while the background computes should not have to wait for it.
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

    /// Tokens that prefill may still add to the step. A few always go, or a long context would never go on beside
    /// others.
    pub(super) fn tokens_left(&self, prefill: &Prefill) -> usize {
        let tokens_max = self.config.step_tokens_max;
        tokens_max.saturating_sub(self.plan.amount.tokens).max(prefill.least.min(tokens_max))
    }

    /// Plans as much of a sequence's prefill as the step has room for; `false` when it has none.
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

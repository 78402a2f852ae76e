//! How much time a step may take, and how decoding, prefill, and jobs between steps share it. Which sequences a step is
//! for is not known here.

use super::model_state::ModelState;
use super::{Class, Core, ModelEntry, ModelId};

/// A step that others wait for computes at least this many prefill tokens, however slow the model.
const SHARED_TOKENS_MIN: usize = 16;
/// A step is planned for this share of its time limit, since steps vary.
const STEP_MARGIN: f64 = 0.85;
/// Of the time that a step beside decoding sequences may take, this share is for prefill, however many decode.
const PREFILL_SHARE: f64 = 0.2;
/// A step that only computes prompts takes this many times as long as one token alone. That is long enough for the
/// reading of the weights to be a small part, and short enough that a new short prompt does not wait long.
const PREFILL_STEP: f64 = 5.0;

/// How much prefill a step may have.
#[derive(Clone, Copy)]
pub(super) struct PrefillBudget {
    /// Microseconds that the whole step may take.
    pub limit_us: f64,
    /// Tokens that the first prompts get even beyond the limit.
    pub tokens_min: usize,
    /// A sequence may start only if decoding it together with those ahead stays within this many microseconds.
    pub start_us: f64,
}

impl Core {
    /// Plans the next pieces of a job. `false` when there is none, or it is the sequences' turn.
    pub(super) fn plan_job(&mut self, shared: bool) -> bool {
        if self.jobs.is_empty() {
            return false;
        }
        let tokens_max = self.config.step_tokens_max;
        let slice = match shared {
            true => self.jobs.next_shared(self.jobs_limit_us(), tokens_max),
            false => self.jobs.next_alone(self.shared_step_us_max() / 2.0, tokens_max),
        };
        let Some(slice) = slice else { return false };
        self.plan.reset(self.plan.model);
        self.plan.predicted_us = slice.predicted_us;
        self.plan.job = Some(slice);
        true
    }

    /// Microseconds that jobs may take between two steps while sequences wait: half of what others may add to a token.
    pub(super) fn jobs_limit_us(&self) -> f64 {
        let wanted = self.models.iter().filter(|entry| !entry.queue.is_empty());
        wanted.map(|entry| self.decode_step_us_max(entry)).fold(self.shared_step_us_max(), f64::min) / 2.0
    }

    /// Microseconds that a step with decoding sequences may take.
    fn decode_step_us_max(&self, entry: &ModelEntry) -> f64 {
        f64::from(self.config.slowdown_max) * STEP_MARGIN * entry.cost.alone_us()
    }

    /// Microseconds that a step may take in which no sequence decodes and nobody else waits.
    pub(super) fn prefill_step_us_max(&self, model: ModelId) -> f64 {
        PREFILL_STEP * self.models[model.0 as usize].cost.alone_us()
    }

    /// The limits of prefill in a step whose decoding sequences are planned; tighter when others wait for a token.
    pub(super) fn prefill_budget(&self, model: ModelId, background: bool) -> PrefillBudget {
        let waits = |entry: &ModelEntry| {
            let mut params = entry.queue.iter().map(|&slot| &self.sequences[slot].params);
            matches!(entry.state, ModelState::Loaded(_))
                && params.any(|params| params.class > Class::Background)
        };
        let mut others = self.models.iter().enumerate().filter(|&(index, _)| index != model.0 as usize);
        // Sequences that arrive during background work should not have to wait for it.
        let others_wait = background || others.any(|(_, entry)| waits(entry));
        let cost = &self.models[model.0 as usize].cost;
        let step_us_max = self.decode_step_us_max(&self.models[model.0 as usize]);
        let start_us = step_us_max * (1.0 - PREFILL_SHARE);
        let decodes_us = cost.predict_us(self.plan.workload);
        let (limit_us, tokens_min) = match (self.plan.work.is_empty(), others_wait) {
            (true, false) => (self.prefill_step_us_max(model), SHARED_TOKENS_MIN),
            (true, true) => (self.shared_step_us_max(), SHARED_TOKENS_MIN),
            (false, _) => {
                // What jobs took since the last step is part of the wait for the next token.
                let limit_us = step_us_max.min(self.shared_step_us_max()) - self.jobs.since_step_us();
                (limit_us.max(decodes_us / (1.0 - PREFILL_SHARE)), 1)
            }
        };
        PrefillBudget { limit_us, tokens_min, start_us }
    }

    pub(super) fn shared_step_us_max(&self) -> f64 {
        self.config.shared_step.as_secs_f64() * 1e6
    }

    /// Tokens that prefill may still add to the step. A few always may, or long prompts would never advance beside
    /// others.
    pub(super) fn prefill_tokens_left(&self, budget: &PrefillBudget) -> usize {
        let tokens_max = self.config.step_tokens_max;
        tokens_max.saturating_sub(self.plan.workload.tokens).max(budget.tokens_min.min(tokens_max))
    }

    /// Plans as much of a sequence's prefill as the step has room for. `false` when there is no room.
    pub(super) fn plan_prefill(&mut self, slot: u32, budget: &mut PrefillBudget) -> bool {
        let sequence = &self.sequences[slot];
        let (most, cost) = (self.prefill_tokens_left(budget), &self.models[sequence.model.0 as usize].cost);
        let rows = |tokens: usize| sequence.rows_within(tokens);
        let fitting = cost.tokens_within(budget.limit_us, self.plan.workload, sequence.computed, most, rows);
        let tokens = fitting.max(budget.tokens_min.min(self.config.step_tokens_max));
        if tokens == 0 {
            return false;
        }
        self.copy_partial_block(slot);
        let tokens = self.plan_work(slot, self.sequences[slot].pending().min(tokens));
        self.note_planned_prefixes(slot, tokens);
        budget.tokens_min = budget.tokens_min.saturating_sub(tokens);
        true
    }
}

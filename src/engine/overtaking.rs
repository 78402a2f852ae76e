//! Short prompts before long ones: which prompt goes before one of higher rank, and how much of a model's time that may
//! take. How ranks are made is not known here.
//!
//! The prompt with the fewest tokens left may overtake sequences of its own class or a lower one, but never a sequence
//! of its own run that has a longer critical path. Overtaking prompts get at most half of the time that goes to
//! prompts. So a long prompt takes at most twice as long beside any number of short ones, and beside few it is delayed
//! only by the work they need.

use super::cost::Amount;
use super::pace::Prefill;
use super::sequence::{Rank, Sequence};
use super::{Class, Core, ModelId, Order, RunId};

/// A prompt overtakes only if the first one has at least this many times as much left: prompts of about the same length
/// would only delay each other.
const SHORTER: usize = 2;

/// The balance of time between prompts that overtook and prompts that were overtaken.
#[derive(Debug, Default)]
pub(super) struct Overtaking {
    /// Microseconds that overtaken prompts got beyond what overtaking ones got. While it is negative, nobody overtakes.
    credit_us: f64,
}

impl Overtaking {
    fn allowed(&self) -> bool {
        self.credit_us >= 0.0
    }

    /// Records a planned step, in microseconds of both kinds. At most `most_us` of credit is kept.
    fn planned(&mut self, overtaking_us: f64, others_us: f64, most_us: f64) {
        self.credit_us = (self.credit_us + others_us - overtaking_us).min(most_us);
    }
}

/// The sequences of higher rank than the one being looked at.
#[derive(Default)]
struct Before {
    /// One decoding step of those that hold blocks or may start.
    ahead: Amount,
    /// The highest class that wants prefill.
    class: Class,
    /// The critical path of each run's first sequence.
    paths: Vec<(RunId, u32)>,
}

impl Before {
    fn stops(&self, sequence: &Sequence) -> bool {
        let longer =
            |&(run, path): &(RunId, u32)| sequence.terms.run == Some(run) && path > sequence.rank.path.0;
        sequence.terms.class < self.class || self.paths.iter().any(longer)
    }

    fn note(&mut self, sequence: &Sequence) {
        self.class = self.class.max(sequence.terms.class);
        if let Some(run) = sequence.terms.run.filter(|run| self.paths.iter().all(|(other, _)| other != run)) {
            self.paths.push((run, sequence.rank.path.0));
        }
    }
}

impl Core {
    /// Plans prefill of short prompts that overtake others, and returns their slots.
    pub(super) fn plan_overtaking(
        &mut self,
        model: ModelId,
        wanted: impl Fn(&Self, u32) -> bool,
        prefill: &mut Prefill,
        starts_before: &mut Option<Rank>,
    ) -> Vec<u32> {
        let mut taken = Vec::new();
        let lane = model.0 as usize;
        if self.config.order == Order::Arrival || !self.lanes[lane].overtaking.allowed() {
            return taken;
        }
        let decodes_us = self.lanes[lane].cost.predict_us(self.plan.amount);
        let nobody_decodes = self.plan.work.is_empty();
        while let Some(slot) = self.shortest_behind(model, &wanted, &taken, prefill.start_us) {
            if nobody_decodes && taken.is_empty() {
                prefill.limit_us = prefill.limit_us.min(self.prompt_step_us(model));
            }
            let half_us = decodes_us + (prefill.limit_us - decodes_us) / 2.0;
            let full = !taken.is_empty() && self.lanes[lane].cost.predict_us(self.plan.amount) > half_us;
            if full || self.plan.work.len() >= self.config.batch_max {
                break;
            }
            taken.push(slot);
            if self.may_go_on(slot, starts_before) {
                self.plan_prefill(slot, prefill);
            }
        }
        taken
    }

    /// The sequence among those `wanted` with the least of its prompt left, if short enough to overtake the first.
    fn shortest_behind(
        &self,
        model: ModelId,
        wanted: impl Fn(&Self, u32) -> bool,
        taken: &[u32],
        start_us: f64,
    ) -> Option<u32> {
        let lane = &self.lanes[model.0 as usize];
        let mut before = Before::default();
        let mut first_left = None;
        let mut least: Option<(usize, u32)> = None;
        for &slot in &lane.order {
            let sequence = &self.sequences[slot];
            let one = Amount::of(1, sequence.tokens.len(), 1);
            let mut goes = !sequence.table.is_empty();
            if !(sequence.is_decoding() || taken.contains(&slot)) && wanted(self, slot) {
                let with = before.ahead.and(one);
                let crowded = before.ahead.tokens > 0 && lane.cost.predict_us(with) > start_us;
                let blocked = lane.starts_before.is_some_and(|rank| rank <= sequence.rank);
                goes |= !crowded && !blocked;
                let left = sequence.prompt_left();
                let most = *first_left.get_or_insert(left) / SHORTER;
                let most = least.map_or(most, |(least, _)| most.min(least - 1));
                if goes && left <= most && !before.stops(sequence) {
                    least = Some((left, slot));
                }
                before.note(sequence);
            }
            if goes {
                before.ahead = before.ahead.and(one);
            }
        }
        least.map(|(_, slot)| slot)
    }

    /// Accounts for a planned step. `alone` is the step without prefill, `overtaking` that plus the overtaking prompts.
    pub(super) fn count_overtaking(&mut self, model: ModelId, alone: Amount, overtaking: Amount) {
        let most_us = self.prompt_step_us(model);
        let lane = &mut self.lanes[model.0 as usize];
        let [alone, overtaking, all] =
            [alone, overtaking, self.plan.amount].map(|amount| lane.cost.predict_us(amount));
        lane.overtaking.planned(overtaking - alone, all - overtaking, most_us);
    }
}

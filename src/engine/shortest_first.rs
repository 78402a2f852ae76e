//! Shortest prompt first: which prompt goes before one of higher rank, and how much of a model's time that may take.
//! How ranks are made is not known here.
//!
//! The prompt with the fewest tokens left may overtake sequences of its own class or a lower one, but never a sequence
//! of its own run that has a longer critical path. Overtaking prompts get at most half of the time that goes to
//! prompts. So a long prompt takes at most twice as long beside any number of short ones, and beside few it is delayed
//! only by the work they need.

use super::cost::Workload;
use super::sequence::{Rank, Sequence};
use super::step_budget::PrefillBudget;
use super::{Class, Core, ModelId, Order, RunId};

/// A prompt overtakes only if the first one has at least this many times as much left. Prompts of about the same length
/// would only delay each other.
const RATIO_MIN: usize = 2;

/// The balance of time between prompts that overtook and prompts that were overtaken.
#[derive(Debug, Default)]
pub(super) struct ShortestFirst {
    /// Microseconds that overtaken prompts got beyond what overtaking ones got. While it is negative, nobody overtakes.
    credit_us: f64,
}

impl ShortestFirst {
    fn allowed(&self) -> bool {
        self.credit_us >= 0.0
    }

    /// Records the microseconds of a planned step that overtaking and other prompts get. At most `most_us` of credit is
    /// kept.
    fn record(&mut self, overtaking_us: f64, others_us: f64, most_us: f64) {
        self.credit_us = (self.credit_us + others_us - overtaking_us).min(most_us);
    }
}

/// The sequences of higher rank than the one being looked at.
#[derive(Default)]
struct HigherRanked {
    /// One decoding step of those that hold blocks or may start.
    ahead: Workload,
    /// The highest class that wants prefill.
    class: Class,
    /// The longest critical path of each run.
    paths: Vec<(RunId, u32)>,
}

impl HigherRanked {
    /// Whether `sequence` may not overtake them.
    fn forbids(&self, sequence: &Sequence) -> bool {
        let own = sequence.rank.critical_path.0;
        let longer = |&(run, path): &(RunId, u32)| sequence.params.run == Some(run) && path > own;
        sequence.params.class < self.class || self.paths.iter().any(longer)
    }

    fn add(&mut self, sequence: &Sequence) {
        self.class = self.class.max(sequence.params.class);
        let Some(run) = sequence.params.run else { return };
        let path = sequence.rank.critical_path.0;
        match self.paths.iter_mut().find(|(other, _)| *other == run) {
            Some((_, longest)) => *longest = path.max(*longest),
            None => self.paths.push((run, path)),
        }
    }
}

impl Core {
    /// Plans prefill of short prompts that overtake others, and returns their slots.
    pub(super) fn plan_shortest_first(
        &mut self,
        model: ModelId,
        wanted: impl Fn(&Self, u32) -> bool,
        budget: &mut PrefillBudget,
        starts_before: &mut Option<Rank>,
    ) -> Vec<u32> {
        let mut overtook = Vec::new();
        let at = model.0 as usize;
        if self.config.order == Order::Arrival || !self.models[at].shortest_first.allowed() {
            return overtook;
        }
        let decodes_us = self.models[at].cost.predict_us(self.plan.workload);
        let nobody_decodes = self.plan.work.is_empty();
        while let Some(slot) = self.shortest_prompt(model, &wanted, &overtook, budget.start_us) {
            if nobody_decodes && overtook.is_empty() {
                budget.limit_us = budget.limit_us.min(self.prefill_step_us_max(model));
            }
            let half_us = decodes_us + (budget.limit_us - decodes_us) / 2.0;
            let full = !overtook.is_empty() && self.models[at].cost.predict_us(self.plan.workload) > half_us;
            if full || self.plan.work.len() >= self.config.batch_max {
                break;
            }
            overtook.push(slot);
            if self.prepare(slot, starts_before) {
                self.plan_prefill(slot, budget);
            }
        }
        overtook
    }

    /// Of the sequences that are `wanted`, the one with the least of its prompt left, if short enough to overtake the
    /// first.
    fn shortest_prompt(
        &self,
        model: ModelId,
        wanted: impl Fn(&Self, u32) -> bool,
        overtook: &[u32],
        start_us: f64,
    ) -> Option<u32> {
        let entry = &self.models[model.0 as usize];
        let mut higher = HigherRanked::default();
        let mut first_left = None;
        let mut least: Option<(usize, u32)> = None;
        for &slot in &entry.queue {
            let sequence = &self.sequences[slot];
            let one = Workload::of(1, sequence.tokens.len(), 1);
            let mut runs = !sequence.table.is_empty();
            if !(sequence.is_decoding() || overtook.contains(&slot)) && wanted(self, slot) {
                let with = higher.ahead.plus(one);
                let crowded = higher.ahead.tokens > 0 && entry.cost.predict_us(with) > start_us;
                let blocked = entry.starts_before.is_some_and(|rank| rank <= sequence.rank);
                runs |= !crowded && !blocked;
                let left = sequence.prompt_left();
                let most = *first_left.get_or_insert(left) / RATIO_MIN;
                let most = least.map_or(most, |(least, _)| most.min(least - 1));
                if runs && left <= most && !higher.forbids(sequence) {
                    least = Some((left, slot));
                }
                higher.add(sequence);
            }
            if runs {
                higher.ahead = higher.ahead.plus(one);
            }
        }
        least.map(|(_, slot)| slot)
    }

    /// Records what the planned step gives to either kind of prompt. `alone` is the step without prefill, `overtaking`
    /// is that plus the overtaking prompts.
    pub(super) fn account_shortest_first(&mut self, model: ModelId, alone: Workload, overtaking: Workload) {
        let most_us = self.prefill_step_us_max(model);
        let entry = &mut self.models[model.0 as usize];
        let [alone, overtaking, all] =
            [alone, overtaking, self.plan.workload].map(|workload| entry.cost.predict_us(workload));
        entry.shortest_first.record(overtaking - alone, all - overtaking, most_us);
    }
}

//! The last verb: what was computed becomes part of its sequences, listeners hear of it, and what ended leaves.

use std::ops::Range;
use std::time::Duration;

use super::batch::{Broken, Outcome, Work};
use super::sequence::End;
use super::{BLOCK_TOKENS, Core, Event, FinishReason, ModelId, StepStats};

impl Core {
    /// Takes the results of the plan in.
    pub(super) fn commit(&mut self, ran: Result<(), Broken>, now: Duration) {
        let model = self.plan.model;
        while let Some((_, copy)) = self.plan.copies.pop() {
            self.blocks.release(model, copy.from);
        }
        while let Some((slot, end)) = self.runner.failed.pop() {
            self.end(slot, end);
        }
        let work = std::mem::take(&mut self.plan.work);
        self.models[model.0 as usize].waiting_since = now;
        match ran {
            Ok(()) => {
                self.count(model, &work);
                work.iter().for_each(|part| self.commit_work(part, work.len()));
            }
            Err(broken) => self.fail_step(model, &work, broken),
        }
        self.plan.work = work;
    }

    fn count(&mut self, model: ModelId, work: &[Work]) {
        let decoding = work.iter().filter(|part| self.sequences[part.slot].is_decoding()).count();
        let tokens: usize = work.iter().map(|part| part.tokens).sum();
        let batch = work.len();
        let prefill = tokens - decoding;
        self.stats.batch_sum += batch as u64;
        self.stats.decode_tokens += decoding as u64;
        self.stats.prefill_tokens += prefill as u64;
        self.stats.models[model.0 as usize].batch_sum += batch as u64;
        let last = StepStats {
            model,
            batch,
            decode_tokens: decoding,
            prefill_tokens: prefill,
            ..StepStats::default()
        };
        self.stats.last = last;
    }

    fn commit_work(&mut self, work: &Work, batch: usize) {
        let sequence = &mut self.sequences[work.slot];
        let start = sequence.computed;
        sequence.computed += work.tokens;
        let repeated = sequence.reached.saturating_sub(start).min(work.tokens);
        self.stats.recomputed_tokens += repeated as u64;
        self.unstarted -= usize::from(sequence.usage.steps == 0);
        sequence.usage.steps += 1;
        sequence.usage.batch_sum += batch as u64;
        let progressed = sequence.computed.min(sequence.prompt_tokens()) > sequence.reached;
        sequence.reached = sequence.reached.max(sequence.computed);
        self.fill_blocks(work.slot, start);
        let ended = self.tell(work, progressed);
        if let Err(end) = ended {
            self.end(work.slot, end);
        }
    }

    /// Makes known what the sequence's blocks hold from token `start` on.
    fn fill_blocks(&mut self, slot: u32, start: usize) {
        let sequence = &mut self.sequences[slot];
        let (model, end) = (sequence.model, sequence.computed);
        for place in start / BLOCK_TOKENS..end.div_ceil(BLOCK_TOKENS) {
            let tokens = place * BLOCK_TOKENS..end.min((place + 1) * BLOCK_TOKENS);
            let hash = if tokens.len() == BLOCK_TOKENS { sequence.prefix_hash(place + 1) } else { 0 };
            let before = place.checked_sub(1).map(|before| sequence.table[before]);
            let prefix = before.map_or(sequence.root(), |block| self.blocks.prefix_of(model, block));
            self.blocks.fill(model, sequence.table[place], prefix, &sequence.tokens[tokens], hash);
        }
    }

    /// Sends what the step means for the listener and takes a drawn token in.
    fn tell(&mut self, work: &Work, prompt_progressed: bool) -> Result<(), End> {
        let sequence = &mut self.sequences[work.slot];
        if prompt_progressed {
            let total = sequence.usage.prompt_tokens;
            let computed = (sequence.computed as u32).min(total);
            let cached = sequence.usage.cached_tokens;
            if !sequence.send(Event::Prefill { computed, total, cached }) {
                return Err(End::Deaf);
            }
        }
        let Range { start, end } = work.rows;
        for row in start..end {
            match self.runner.take_outcome(row).expect("a step whose rows are missing is a broken one") {
                Outcome::Score { index, logprobs } => {
                    sequence.score_next = index + 1;
                    if !sequence.send(Event::PromptScore { index: index as u32, logprobs }) {
                        return Err(End::Deaf);
                    }
                }
                Outcome::Drawn(Some(drawn)) => sequence.advance(drawn.token, drawn.logprobs)?,
                Outcome::Drawn(None) => {
                    return Err(End::Failed(
                        "no token can be drawn: every logit that the grammar and the biases leave is minus infinity or not a number".into(),
                    ));
                }
            }
        }
        let done = sequence.pending() == 0;
        if done { Err(End::Finished(FinishReason::Length)) } else { Ok(()) }
    }

    /// A model that says it failed loses the sequences of the step; one that panicked loses all of its own.
    fn fail_step(&mut self, model: ModelId, work: &[Work], broken: Broken) {
        self.stats.steps_failed += 1;
        self.stats.last = StepStats { model, batch: work.len(), ..StepStats::default() };
        let name = &self.stats.models[model.0 as usize].name;
        match broken {
            Broken::Failed(message) => {
                let message = format!("model {name}: {message}");
                for part in work {
                    self.end(part.slot, End::Failed(message.clone()));
                }
            }
            Broken::Panicked(message) => {
                let message = format!("model {name} panicked: {message}");
                while let Some(&slot) = self.models[model.0 as usize].order.last() {
                    self.end(slot, End::Failed(message.clone()));
                }
                self.blocks.distrust(model);
            }
        }
    }

    /// Ends a sequence: its blocks are free, its listener hears why.
    pub(super) fn end(&mut self, slot: u32, end: End) {
        self.give_back(slot);
        let mut sequence = self.sequences.remove(slot);
        let order = &mut self.models[sequence.model.0 as usize].order;
        let place =
            order.iter().position(|&other| other == slot).expect("a live sequence is in its model's order");
        order.remove(place);
        self.by_id.remove(&sequence.id);
        if let Some(deadline) = sequence.terms.deadline {
            self.deadlines.remove(&(deadline, sequence.id));
        }
        if sequence.usage.steps == 0 {
            self.unstarted -= 1;
        }
        self.stats.requests_failed += u64::from(matches!(end, End::Failed(_)));
        sequence.finish(end);
    }
}

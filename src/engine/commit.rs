//! The last phase of a step: results become part of their sequences, events are sent, and sequences that ended leave.

use std::time::Duration;

use super::batch::{Outcome, StepError, Work};
use super::cost::Workload;
use super::sampler::SampleError;
use super::sequence::End;
use super::{BLOCK_TOKENS, Core, Event, Failure, FinishReason, ModelId, StepStats};

impl Core {
    pub(super) fn commit(&mut self, ran: Result<(), StepError>, took: Duration, now: Duration) {
        if self.plan.job.is_some() {
            return self.commit_job(took);
        }
        let model = self.plan.model;
        self.jobs.step_took(took, self.jobs_limit_us());
        while let Some((_, copy)) = self.plan.copies.pop() {
            self.blocks.release(model, copy.from);
        }
        while let Some((slot, end)) = self.runner.failed.pop() {
            self.end(slot, end);
        }
        let work = std::mem::take(&mut self.plan.work);
        let entry = &mut self.models[model.0 as usize];
        (entry.waiting_since, entry.starved_since) = (now, None);
        match ran {
            Ok(()) => {
                entry.file_changed = false;
                self.count_step(model, &work);
                self.learn_cost(model, &work, took);
                work.iter().for_each(|part| self.commit_work(part, work.len()));
            }
            Err(error) => self.fail_step(model, &work, error),
        }
        self.plan.work = work;
    }

    /// Records the pieces of a job that ran.
    fn commit_job(&mut self, took: Duration) {
        let (slice, ran) = (self.plan.job.clone(), self.plan.job_result.take());
        if let (Some(slice), Some(ran)) = (slice, ran) {
            let ended = self.jobs.record(&slice, ran, took);
            self.forget_job(ended);
        }
    }

    fn count_step(&mut self, model: ModelId, work: &[Work]) {
        let decoding = work.iter().filter(|part| self.sequences[part.slot].is_decoding()).count();
        let tokens: usize = work.iter().map(|part| part.workload.tokens + part.drafts.len()).sum();
        let batch = work.len();
        let prefill = tokens - decoding;
        let stats = &mut self.stats;
        let cached_tokens = stats.take_cached_tokens();
        stats.batch_sum += batch as u64;
        stats.decode_tokens += decoding as u64;
        stats.prefill_tokens += prefill as u64;
        stats.drafted_tokens += work.iter().map(|part| part.drafts.len() as u64).sum::<u64>();
        stats.models[model.0 as usize].batch_sum += batch as u64;
        stats.last = StepStats {
            model,
            batch,
            decode_tokens: decoding,
            prefill_tokens: prefill,
            cached_tokens,
            predicted_us: self.plan.predicted_us as u64,
            ..StepStats::default()
        };
    }

    /// Learns the cost from the step's time and charges it to the runs.
    fn learn_cost(&mut self, model: ModelId, work: &[Work], took: Duration) {
        let computed = |part: &Work| {
            let tokens = part.workload.tokens + part.drafts.len();
            Workload::of(tokens, self.sequences[part.slot].computed, part.rows.len())
        };
        let workload = work.iter().map(computed).fold(Workload::default(), Workload::plus);
        if workload.tokens == 0 {
            return;
        }
        self.models[model.0 as usize].cost.observe(workload, took);
        let us = took.as_secs_f64() * 1e6 / workload.tokens as f64;
        for part in work {
            if let Some(run) = part.run {
                self.runs.charge(run, us * (part.workload.tokens + part.drafts.len()) as f64);
            }
        }
    }

    fn commit_work(&mut self, work: &Work, batch: usize) {
        let sequence = &mut self.sequences[work.slot];
        let start = sequence.computed;
        sequence.computed += work.workload.tokens;
        let repeated = sequence.computed_peak.saturating_sub(start).min(work.workload.tokens);
        self.stats.recomputed_tokens += repeated as u64;
        sequence.usage.steps += 1;
        sequence.usage.batch_sum += batch as u64;
        let progressed = sequence.computed.min(sequence.prompt_tokens()) > sequence.computed_peak;
        let ended = self.send_events(work, progressed);
        self.accept_drafts(work);
        let sequence = &mut self.sequences[work.slot];
        sequence.computed_peak = sequence.computed_peak.max(sequence.computed);
        self.fill_blocks(work.slot, start);
        if let Err(end) = ended {
            self.end(work.slot, end);
        }
    }

    /// Counts accepted draft tokens as computed, and gives back the blocks of the others.
    fn accept_drafts(&mut self, work: &Work) {
        let sequence = &mut self.sequences[work.slot];
        let drafts = &self.plan.drafts[work.drafts.clone()];
        let follows = &sequence.tokens[sequence.computed..];
        let accepted = drafts.iter().zip(follows).take_while(|(draft, token)| draft == token).count();
        if let Some(drafter) = &mut sequence.drafter {
            // The first draft token was already counted by `Drafter::observe_next`.
            (1..drafts.len().min(follows.len()).min(accepted + 1))
                .for_each(|index| drafter.learn(index < accepted));
        }
        sequence.computed += accepted;
        self.stats.accepted_tokens += accepted as u64;
        let blocks = sequence.computed.div_ceil(BLOCK_TOKENS);
        while sequence.table.len() > blocks {
            let block = sequence.table.pop().expect("it is longer than needed");
            self.blocks.release(sequence.model, block);
        }
    }

    /// Records in the block index what the sequence's blocks hold from token `start` on.
    fn fill_blocks(&mut self, slot: u32, start: usize) {
        let sequence = &mut self.sequences[slot];
        let (model, end) = (sequence.model, sequence.computed);
        for index in start / BLOCK_TOKENS..end.div_ceil(BLOCK_TOKENS) {
            let tokens = index * BLOCK_TOKENS..end.min((index + 1) * BLOCK_TOKENS);
            let hash = if tokens.len() == BLOCK_TOKENS { sequence.prefix_hash(index + 1) } else { 0 };
            let before = index.checked_sub(1).map(|before| sequence.table[before]);
            let prefix = before.map_or(sequence.root(), |block| self.blocks.prefix_of(model, block));
            self.blocks.fill(model, sequence.table[index], prefix, &sequence.tokens[tokens], hash);
        }
    }

    /// Sends the events of the step and appends sampled tokens.
    fn send_events(&mut self, work: &Work, prompt_progressed: bool) -> Result<(), End> {
        let sequence = &mut self.sequences[work.slot];
        if prompt_progressed {
            let total = sequence.usage.prompt_tokens;
            let computed = (sequence.computed as u32).min(total);
            let cached = sequence.usage.cached_tokens;
            if !sequence.send(Event::Prefill { computed, total, cached }) {
                return Err(End::SinkClosed);
            }
        }
        let known = sequence.computed;
        let first_sampled = work.rows.end - (work.drafts.len() + 1).min(work.rows.len());
        for row in work.rows.clone() {
            match self.runner.take_outcome(row).expect("a step without all its rows has failed") {
                Outcome::Score { index, logprobs } => {
                    sequence.score_next = index + 1;
                    if !sequence.send(Event::PromptScore { index: index as u32, logprobs }) {
                        return Err(End::SinkClosed);
                    }
                }
                Outcome::Sampled(sampled) => {
                    let index = row - first_sampled;
                    let draft_before = index.checked_sub(1).map(|draft| work.drafts.start + draft);
                    let wrong = |draft: usize| {
                        sequence.tokens.get(known + index - 1) != Some(&self.plan.drafts[draft])
                    };
                    if draft_before.is_some_and(wrong) {
                        break;
                    }
                    // Tokens forced by a grammar are known already, so what was sampled there is ignored.
                    if sequence.tokens.len() > known + index {
                        continue;
                    }
                    let sampled = sampled.map_err(|why| {
                        End::Failed(match why {
                            SampleError::LogitBias => Failure::LogitBias,
                            SampleError::NoFiniteLogit => Failure::NoFiniteLogit,
                        })
                    })?;
                    if let Some(drafter) = sequence.drafter.as_mut().filter(|_| index == 0) {
                        drafter.observe_next(sampled.token);
                    }
                    sequence.advance(sampled.token, sampled.logprobs)?;
                }
            }
        }
        let done = sequence.pending() == 0;
        if done { Err(End::Finished(FinishReason::Length)) } else { Ok(()) }
    }

    /// A model that returns an error fails the sequences of the step. One that panics fails all its sequences. One
    /// whose file changed is loaded again.
    fn fail_step(&mut self, model: ModelId, work: &[Work], error: StepError) {
        self.stats.steps_failed += 1;
        let cached_tokens = self.stats.take_cached_tokens();
        self.stats.last = StepStats { model, batch: work.len(), cached_tokens, ..StepStats::default() };
        let name = self.stats.models[model.0 as usize].name.clone();
        match error {
            StepError::Failed(why) => {
                let failure = Failure::Forward { model: name, why };
                for part in work {
                    self.end(part.slot, End::Failed(failure.clone()));
                }
            }
            StepError::FileChanged(why) => self.reload_changed(model, &Failure::Forward { model: name, why }),
            StepError::Panicked(why) => {
                self.fail_model(model, &Failure::ModelPanicked { model: name, why });
                self.blocks.forget_cached(model);
            }
        }
    }

    /// Fails all sequences of a model.
    pub(super) fn fail_model(&mut self, id: ModelId, failure: &Failure) {
        while let Some(&slot) = self.models[id.0 as usize].queue.last() {
            self.end(slot, End::Failed(failure.clone()));
        }
    }

    /// Unloads a model whose file changed while in use, so that the new file is loaded and waiting sequences are
    /// computed again. If the model can't be loaded again, or that was just tried, its sequences fail with `failure`.
    fn reload_changed(&mut self, id: ModelId, failure: &Failure) {
        let entry = &mut self.models[id.0 as usize];
        let tried_before = std::mem::replace(&mut entry.file_changed, true);
        let reloadable = entry.reloadable;
        if tried_before || !reloadable {
            self.fail_model(id, failure);
        }
        match reloadable {
            true => self.unload(id.0 as usize),
            false => self.blocks.forget_cached(id),
        }
    }

    /// Ends a sequence: frees its blocks and sends its last event.
    pub(super) fn end(&mut self, slot: u32, end: End) {
        self.free_blocks(slot);
        let mut sequence = self.sequences.remove(slot);
        let order = &mut self.models[sequence.model.0 as usize].queue;
        let index =
            order.iter().position(|&other| other == slot).expect("a live sequence is in its model's order");
        order.remove(index);
        self.by_id.remove(&sequence.id);
        if let Some(deadline) = sequence.params.deadline {
            self.deadlines.remove(&(deadline, sequence.id));
        }
        if let Some(run) = sequence.params.run {
            self.runs.leave(run, sequence.model, &sequence.tokens[sequence.prompt_tokens()..]);
        }
        self.stats.requests_failed += u64::from(matches!(end, End::Failed(_)));
        sequence.finish(end);
    }
}

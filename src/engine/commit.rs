//! The last phase of a step: results become part of their sequences, events are sent, and sequences that ended leave.

use std::time::Duration;

use super::batch::{Broken, Outcome, Work};
use super::cost::Amount;
use super::sampler::Undrawable;
use super::sequence::End;
use super::stats::Counted;
use super::{BLOCK_TOKENS, Core, Event, Failure, FinishReason, ModelId, StepStats};

impl Core {
    pub(super) fn commit(&mut self, ran: Result<(), Broken>, took: Duration, now: Duration) {
        if self.plan.turn.is_some() {
            return self.commit_turn(took);
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
        let lane = &mut self.lanes[model.0 as usize];
        (lane.waiting_since, lane.stuck_since) = (now, None);
        match ran {
            Ok(()) => {
                lane.lost = false;
                self.count(model, &work);
                self.learn(model, &work, took);
                work.iter().for_each(|part| self.commit_work(part, work.len()));
            }
            Err(broken) => self.fail_step(model, &work, broken),
        }
        self.plan.work = work;
    }

    /// Records that pieces of a job ran.
    fn commit_turn(&mut self, took: Duration) {
        let (turn, ran) = (self.plan.turn.clone(), self.plan.turn_ran.take());
        if let (Some(turn), Some(ran)) = (turn, ran) {
            let ended = self.jobs.take_in(&turn, ran, took);
            self.forget_job(ended);
        }
    }

    fn count(&mut self, model: ModelId, work: &[Work]) {
        let decoding = work.iter().filter(|part| self.sequences[part.slot].is_decoding()).count();
        let tokens: usize = work.iter().map(|part| part.amount.tokens + part.drafts.len()).sum();
        let batch = work.len();
        let prefill = tokens - decoding;
        let stats = &mut self.stats;
        let Counted { cached_tokens, preemptions } = stats.take_uncounted();
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
            cached_tokens: cached_tokens as usize,
            preemptions: preemptions as usize,
            blocks_held: self.blocks.pool_stats(model).held,
            predicted_us: self.plan.predicted_us as u64,
            ..StepStats::default()
        };
    }

    /// Learns the cost from the step's time and charges it to the runs.
    fn learn(&mut self, model: ModelId, work: &[Work], took: Duration) {
        let computed = |part: &Work| {
            let tokens = part.amount.tokens + part.drafts.len();
            Amount::of(tokens, self.sequences[part.slot].computed, part.rows.len())
        };
        let amount = work.iter().map(computed).fold(Amount::default(), Amount::and);
        if amount.tokens == 0 {
            return;
        }
        self.lanes[model.0 as usize].cost.observe(amount, took);
        let us = took.as_secs_f64() * 1e6 / amount.tokens as f64;
        for part in work {
            if let Some(run) = part.run {
                self.runs.serve(run, us * (part.amount.tokens + part.drafts.len()) as f64);
            }
        }
    }

    fn commit_work(&mut self, work: &Work, batch: usize) {
        let sequence = &mut self.sequences[work.slot];
        let start = sequence.computed;
        sequence.computed += work.amount.tokens;
        let repeated = sequence.reached.saturating_sub(start).min(work.amount.tokens);
        self.stats.recomputed_tokens += repeated as u64;
        sequence.usage.steps += 1;
        sequence.usage.batch_sum += batch as u64;
        let progressed = sequence.computed.min(sequence.prompt_tokens()) > sequence.reached;
        let ended = self.tell(work, progressed);
        self.accept_drafts(work);
        let sequence = &mut self.sequences[work.slot];
        sequence.reached = sequence.reached.max(sequence.computed);
        self.fill_blocks(work.slot, start);
        if let Err(end) = ended {
            self.end(work.slot, end);
        }
    }

    /// Counts the draft tokens that turned out right as computed, and gives back the blocks of the others.
    fn accept_drafts(&mut self, work: &Work) {
        let sequence = &mut self.sequences[work.slot];
        let drafts = &self.plan.drafts[work.drafts.clone()];
        let follows = &sequence.tokens[sequence.computed..];
        let right = drafts.iter().zip(follows).take_while(|(draft, token)| draft == token).count();
        if let Some(guesses) = &mut sequence.guesses {
            // The first draft token was already learned from by `Guesses::came`.
            (1..drafts.len().min(follows.len()).min(right + 1))
                .for_each(|place| guesses.learn(place < right));
        }
        sequence.computed += right;
        self.stats.accepted_tokens += right as u64;
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
        for place in start / BLOCK_TOKENS..end.div_ceil(BLOCK_TOKENS) {
            let tokens = place * BLOCK_TOKENS..end.min((place + 1) * BLOCK_TOKENS);
            let hash = if tokens.len() == BLOCK_TOKENS { sequence.prefix_hash(place + 1) } else { 0 };
            let before = place.checked_sub(1).map(|before| sequence.table[before]);
            let prefix = before.map_or(sequence.root(), |block| self.blocks.prefix_of(model, block));
            self.blocks.fill(model, sequence.table[place], prefix, &sequence.tokens[tokens], hash);
        }
    }

    /// Sends the events of the step and appends sampled tokens.
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
        let known = sequence.computed;
        let first_draw = work.rows.end - (work.drafts.len() + 1).min(work.rows.len());
        for row in work.rows.clone() {
            match self.runner.take_outcome(row).expect("a step whose rows are missing is a broken one") {
                Outcome::Score { index, logprobs } => {
                    sequence.score_next = index + 1;
                    if !sequence.send(Event::PromptScore { index: index as u32, logprobs }) {
                        return Err(End::Deaf);
                    }
                }
                Outcome::Drawn(drawn) => {
                    let place = row - first_draw;
                    let behind_guess = place.checked_sub(1).map(|guess| work.drafts.start + guess);
                    let wrong = |guess: usize| {
                        sequence.tokens.get(known + place - 1) != Some(&self.plan.drafts[guess])
                    };
                    if behind_guess.is_some_and(wrong) {
                        break;
                    }
                    // Tokens forced by a grammar are known already, so what was sampled there is ignored.
                    if sequence.tokens.len() > known + place {
                        continue;
                    }
                    let drawn = drawn.map_err(|why| {
                        End::Failed(match why {
                            Undrawable::ByBias => Failure::LogitBias,
                            Undrawable::NoNumber => Failure::NoFiniteLogit,
                        })
                    })?;
                    if let Some(guesses) = sequence.guesses.as_mut().filter(|_| place == 0) {
                        guesses.came(drawn.token);
                    }
                    sequence.advance(drawn.token, drawn.logprobs)?;
                }
            }
        }
        let done = sequence.pending() == 0;
        if done { Err(End::Finished(FinishReason::Length)) } else { Ok(()) }
    }

    /// A model that returns an error fails the sequences of the step, one that panics fails all its sequences, and one
    /// whose file changed is loaded again.
    fn fail_step(&mut self, model: ModelId, work: &[Work], broken: Broken) {
        self.stats.steps_failed += 1;
        let Counted { cached_tokens, preemptions } = self.stats.take_uncounted();
        self.stats.last = StepStats {
            model,
            batch: work.len(),
            cached_tokens: cached_tokens as usize,
            preemptions: preemptions as usize,
            ..StepStats::default()
        };
        let name = self.stats.models[model.0 as usize].name.clone();
        match broken {
            Broken::Failed(why) => {
                let failure = Failure::Forward { model: name, why };
                for part in work {
                    self.end(part.slot, End::Failed(failure.clone()));
                }
            }
            Broken::Lost(why) => self.lose(model, &Failure::Forward { model: name, why }),
            Broken::Panicked(why) => {
                self.fail_model(model, &Failure::ModelPanicked { model: name, why });
                self.blocks.distrust(model);
            }
        }
    }

    /// Fails all sequences of a model.
    pub(super) fn fail_model(&mut self, id: ModelId, failure: &Failure) {
        while let Some(&slot) = self.lanes[id.0 as usize].order.last() {
            self.end(slot, End::Failed(failure.clone()));
        }
    }

    /// Unloads a model whose file changed while in use, so that the new file is loaded and waiting sequences are
    /// computed again. If the model can't be loaded again, or that was just tried, its sequences fail with `failure`.
    fn lose(&mut self, id: ModelId, failure: &Failure) {
        let lane = &mut self.lanes[id.0 as usize];
        let tried = std::mem::replace(&mut lane.lost, true);
        let returns = lane.returns;
        if tried || !returns {
            self.fail_model(id, failure);
        }
        match returns {
            true => self.send_away(id.0 as usize),
            false => self.blocks.distrust(id),
        }
    }

    /// Ends a sequence: frees its blocks and sends its last event.
    pub(super) fn end(&mut self, slot: u32, end: End) {
        self.give_back(slot);
        let mut sequence = self.sequences.remove(slot);
        let order = &mut self.lanes[sequence.model.0 as usize].order;
        let place =
            order.iter().position(|&other| other == slot).expect("a live sequence is in its model's order");
        order.remove(place);
        self.by_id.remove(&sequence.id);
        if let Some(deadline) = sequence.terms.deadline {
            self.deadlines.remove(&(deadline, sequence.id));
        }
        if let Some(run) = sequence.terms.run {
            self.runs.leave(run, sequence.model, &sequence.tokens[sequence.prompt_tokens()..]);
        }
        self.stats.requests_failed += u64::from(matches!(end, End::Failed(_)));
        sequence.finish(end);
    }
}

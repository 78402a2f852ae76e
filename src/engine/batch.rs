//! Runs a plan: builds one batch, passes it through the model, and returns sampled tokens and scores. Tokens are
//! sampled where their rows of logits are computed, on the model's threads. Which sequences run is decided elsewhere.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

use bandmaster_models::{Batch, BlockCopy, ForwardError, Model};

use super::cost::Amount;
use super::jobs::Turn;
use super::sampler::{Drawing, Drawn, Scratch, Undrawable, draw, score};
use super::sequence::{End, Sequence, Sequences, panic_message};
use super::{Logprobs, ModelId, RunId};

#[derive(Debug, Default)]
pub struct Plan {
    pub model: ModelId,
    /// The sequences of the step, each once.
    pub work: Vec<Work>,
    /// Draft tokens behind the pending ones. Each work refers to its range.
    pub drafts: Vec<u32>,
    /// Block copies to make first, with the slot each is for. Each source is held once until the step ends.
    pub copies: Vec<(u32, BlockCopy)>,
    /// Set when the step runs pieces of a job instead of a model.
    pub turn: Option<Turn>,
    /// After they ran: whether the job continues, or the panic's message.
    pub turn_ran: Option<Result<bool, String>>,
    /// The sum over all work.
    pub amount: Amount,
    pub predicted_us: f64,
}

/// One sequence's part of a step.
#[derive(Debug, Clone)]
pub struct Work {
    pub slot: u32,
    /// The run that is charged for it.
    pub run: Option<RunId>,
    /// Tokens from the first one not yet computed, and what they cost.
    pub amount: Amount,
    /// Range in [`Plan::drafts`].
    pub drafts: Range<usize>,
    /// Range in the batch's rows of logits; known once the batch is built.
    pub rows: Range<usize>,
}

impl Plan {
    /// Starts an empty plan for `model`, reusing its buffers.
    pub fn reset(&mut self, model: ModelId) {
        self.model = model;
        self.work.clear();
        self.drafts.clear();
        self.copies.clear();
        (self.turn, self.turn_ran) = (None, None);
        self.amount = Amount::default();
    }

    pub fn add(&mut self, slot: u32, run: Option<RunId>, amount: Amount) {
        self.amount = self.amount.and(amount);
        self.work.push(Work { slot, run, amount, drafts: 0..0, rows: 0..0 });
    }

    /// Takes a sequence out. Must be called before drafts are added.
    pub fn remove(&mut self, slot: u32) {
        self.work.retain(|work| work.slot != slot);
        self.amount = self.work.iter().fold(Amount::default(), |sum, work| sum.and(work.amount));
    }
}

/// What was read from one row of logits.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Log-probabilities of a prompt token.
    Score { index: usize, logprobs: Logprobs },
    /// A sampled token, or why there is none.
    Drawn(Result<Drawn, Undrawable>),
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The model returned an error. What it computed in earlier steps is still valid.
    Failed(String),
    /// The model's file changed while in use. Nothing it holds can be trusted; the file may be loaded again.
    Lost(String),
    /// The model panicked. Nothing it holds can be trusted.
    Panicked(String),
}

/// What a row of logits is for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Score {
        slot: u32,
        index: usize,
    },
    /// Sample a token; `place` draft tokens lie between it and the last known one.
    Draw {
        slot: u32,
        place: usize,
        mask: Option<usize>,
    },
}

/// The buffers of a step, reused by the next.
#[derive(Default)]
pub struct Runner {
    batch: Batch,
    wanted: Vec<Wanted>,
    /// Grammar masks of the rows to sample from, back to back.
    masks: Vec<u32>,
    outcomes: Vec<OnceLock<Outcome>>,
    /// One for each thread that ever sampled at the same time.
    scratches: Mutex<Vec<Scratch>>,
    /// Sequences whose grammar failed. They are not in the batch.
    pub failed: Vec<(u32, End)>,
}

impl Runner {
    /// Runs `plan`. Sequences whose grammar fails are taken out of it.
    ///
    /// # Errors
    /// [`Broken`] when the model fails or panics; all outcomes are then void.
    pub fn run(
        &mut self,
        plan: &mut Plan,
        sequences: &mut Sequences,
        model: &mut dyn Model,
    ) -> Result<(), Broken> {
        let mask_words = model.info().vocab.div_ceil(32);
        self.build(plan, sequences, mask_words);
        if self.batch.spans.is_empty() {
            return Ok(());
        }
        self.forward(sequences, model, mask_words)
    }

    pub fn take_outcome(&mut self, row: usize) -> Option<Outcome> {
        self.outcomes[row].take()
    }

    fn build(&mut self, plan: &mut Plan, sequences: &mut Sequences, mask_words: usize) {
        self.batch.clear();
        self.wanted.clear();
        self.masks.clear();
        self.failed.clear();
        let drafts = &plan.drafts;
        plan.work.retain_mut(|work| {
            let sequence = &mut sequences[work.slot];
            let start = sequence.computed;
            let end = start + work.amount.tokens;
            let first_row = self.wanted.len();
            let offset = self.batch.tokens.len();
            for index in sequence.score_next.max(start + 1)..sequence.prompt_tokens().min(end + 1) {
                self.batch.rows.push((offset + index - 1 - start) as u32);
                self.wanted.push(Wanted::Score { slot: work.slot, index });
            }
            if end == sequence.tokens.len() && sequence.wants_draw() {
                let draft = &drafts[work.drafts.clone()];
                match self.want_draws(sequence, work.slot, draft, mask_words) {
                    Ok(drawn) => work.drafts.end = work.drafts.start + drawn - 1,
                    Err(end) => {
                        self.wanted.truncate(first_row);
                        self.batch.rows.truncate(first_row);
                        self.failed.push((work.slot, end));
                        return false;
                    }
                }
            }
            let draft = &drafts[work.drafts.clone()];
            let blocks = (end + draft.len()).div_ceil(super::BLOCK_TOKENS);
            self.batch.push_span(&sequence.tokens[start..end], start, &sequence.table[..blocks]);
            self.batch.extend_span(draft);
            work.rows = first_row..self.wanted.len();
            true
        });
        let failed = &self.failed;
        let runs = |slot: u32| failed.iter().all(|&(other, _)| other != slot);
        let copies = plan.copies.iter().filter(|&&(slot, _)| runs(slot));
        self.batch.copies.extend(copies.map(|&(_, copy)| copy));
    }

    /// Adds a row behind the pending tokens and one behind each draft token that the grammar allows. Returns how many.
    fn want_draws(
        &mut self,
        sequence: &mut Sequence,
        slot: u32,
        draft: &[u32],
        mask_words: usize,
    ) -> Result<usize, End> {
        let first_row = self.batch.tokens.len() + sequence.pending() - 1;
        // Draft tokens advance the grammar, so it is restored from a copy afterwards.
        let before = sequence.constraint.as_ref().filter(|_| !draft.is_empty()).map(|it| it.snapshot());
        let mut rows = 0;
        loop {
            let mut mask = None;
            if sequence.constraint.is_some() {
                let first = self.masks.len();
                self.masks.resize(first + mask_words, 0);
                match sequence.mask(&mut self.masks[first..]) {
                    Ok(()) => mask = Some(first),
                    Err(end) if rows == 0 => return Err(end),
                    // A draft token led there, so the drafts end here.
                    Err(_) => break,
                }
            }
            self.batch.rows.push((first_row + rows) as u32);
            self.wanted.push(Wanted::Draw { slot, place: rows, mask });
            rows += 1;
            let next = draft.get(rows - 1).copied().filter(|&token| {
                let allowed = |first: usize| self.masks[first + token as usize / 32] >> (token % 32) & 1 == 1;
                mask.is_none_or(allowed) && sequence.suppose(token)
            });
            if next.is_none() {
                break;
            }
        }
        if before.is_some() {
            sequence.constraint = before;
        }
        Ok(rows)
    }

    fn forward(
        &mut self,
        sequences: &Sequences,
        model: &mut dyn Model,
        mask_words: usize,
    ) -> Result<(), Broken> {
        self.outcomes.clear();
        self.outcomes.resize_with(self.wanted.len(), OnceLock::new);
        let jobs: Vec<Job<'_>> =
            self.wanted.iter().map(|wanted| Job::new(wanted, sequences, &self.masks, mask_words)).collect();
        let (outcomes, scratches) = (&self.outcomes, &self.scratches);
        let lock = || scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let on_row = |row: usize, logits: &mut [f32]| {
            let mut scratch = lock().pop().unwrap_or_default();
            // If a row arrives twice, its first outcome stands.
            let _ = outcomes[row].set(jobs[row].read(logits, &mut scratch));
            lock().push(scratch);
        };
        let ran = catch_unwind(AssertUnwindSafe(|| model.forward(&self.batch, &on_row)));
        match ran {
            Err(panic) => Err(Broken::Panicked(panic_message(&*panic))),
            Ok(Err(error @ ForwardError::Lost(_))) => Err(Broken::Lost(error.to_string())),
            Ok(Err(error)) => Err(Broken::Failed(error.to_string())),
            Ok(Ok(())) if outcomes.iter().any(|outcome| outcome.get().is_none()) => {
                Err(Broken::Failed("the model did not compute all rows that it was asked for".into()))
            }
            Ok(Ok(())) => Ok(()),
        }
    }
}

/// All that is needed to read one row. It borrows only, so any thread can use it.
enum Job<'a> {
    Score { index: usize, target: u32, top: usize },
    Draw { drawing: &'a Drawing, position: usize, mask: Option<&'a [u32]> },
}

impl<'a> Job<'a> {
    fn new(wanted: &Wanted, sequences: &'a Sequences, masks: &'a [u32], mask_words: usize) -> Self {
        match *wanted {
            Wanted::Score { slot, index } => {
                let sequence = &sequences[slot];
                let top = sequence.drawing.top_logprobs.unwrap_or(0) as usize;
                Job::Score { index, target: sequence.tokens[index], top }
            }
            Wanted::Draw { slot, place, mask } => {
                let sequence = &sequences[slot];
                let mask = mask.map(|first| &masks[first..first + mask_words]);
                Job::Draw { drawing: &sequence.drawing, position: sequence.tokens.len() + place, mask }
            }
        }
    }

    fn read(&self, logits: &mut [f32], scratch: &mut Scratch) -> Outcome {
        match *self {
            Job::Score { index, target, top } => {
                Outcome::Score { index, logprobs: score(logits, target, top, scratch) }
            }
            Job::Draw { drawing, position, mask } => {
                Outcome::Drawn(draw(logits, drawing, mask, position, scratch))
            }
        }
    }
}

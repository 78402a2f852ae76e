//! Runs a plan: builds one batch, passes it through the model, and returns sampled tokens and scores. Tokens are
//! sampled where their rows of logits are computed, on the model's threads. Which sequences run is decided elsewhere.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

use bandmaster_models::{Batch, BlockCopy, ForwardError, Model};

use super::cost::Workload;
use super::error::panic_message;
use super::jobs::JobSlice;
use super::sampler::{SampleError, Sampled, Sampler, Scratch, sample, score};
use super::sequence::{End, Sequence, Sequences};
use super::{Logprobs, ModelId, RunId};

/// What a step runs.
#[derive(Debug, Default)]
pub(crate) struct StepPlan {
    pub model: ModelId,
    /// The sequences of the step, each once.
    pub work: Vec<Work>,
    /// Draft tokens of all sequences. Each [`Work`] has its range.
    pub drafts: Vec<u32>,
    /// Block copies to make first, with the slot each is for. Each source is held once until the step ends.
    pub copies: Vec<(u32, BlockCopy)>,
    /// Set when the step runs pieces of a job instead of a model.
    pub job: Option<JobSlice>,
    /// Set once they have run: whether the job continues, or the message of a panic.
    pub job_result: Option<Result<bool, String>>,
    /// The sum over all work.
    pub workload: Workload,
    pub predicted_us: f64,
}

/// One sequence's part of a step.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub slot: u32,
    /// The run that is charged for it.
    pub run: Option<RunId>,
    /// Tokens from the first one not yet computed, and what they cost.
    pub workload: Workload,
    /// Range in [`StepPlan::drafts`].
    pub drafts: Range<usize>,
    /// Range in the batch's rows of logits; known once the batch is built.
    pub rows: Range<usize>,
}

impl StepPlan {
    /// Starts an empty plan for `model`, reusing its buffers.
    pub(crate) fn reset(&mut self, model: ModelId) {
        self.model = model;
        self.work.clear();
        self.drafts.clear();
        self.copies.clear();
        (self.job, self.job_result) = (None, None);
        self.workload = Workload::default();
    }

    pub(crate) fn add(&mut self, slot: u32, run: Option<RunId>, workload: Workload) {
        self.workload = self.workload.plus(workload);
        self.work.push(Work { slot, run, workload, drafts: 0..0, rows: 0..0 });
    }

    /// Takes a sequence out. Must be called before drafts are added.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.work.retain(|work| work.slot != slot);
        self.workload = self.work.iter().fold(Workload::default(), |sum, work| sum.plus(work.workload));
    }
}

/// What was read from one row of logits.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Log-probabilities of a prompt token.
    Score { index: usize, logprobs: Logprobs },
    /// A sampled token, or why there is none.
    Sampled(Result<Sampled, SampleError>),
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepError {
    /// The model returned an error. What it computed in earlier steps is still valid.
    Failed(String),
    /// The model's file changed while in use. Nothing it holds can be trusted; the file may be loaded again.
    FileChanged(String),
    /// The model panicked. Nothing it holds can be trusted.
    Panicked(String),
}

/// What a row of logits is for.
#[derive(Debug, Clone, Copy)]
enum RowPurpose {
    Score {
        slot: u32,
        index: usize,
    },
    /// Sample a token that comes after `drafts` draft tokens. `mask` is an index into [`Runner::masks`].
    Sample {
        slot: u32,
        drafts: usize,
        mask: Option<usize>,
    },
}

/// The buffers of a step, reused by the next.
#[derive(Default)]
pub(crate) struct Runner {
    batch: Batch,
    purposes: Vec<RowPurpose>,
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
    /// [`StepError`] when the model fails or panics; all outcomes are then void.
    pub(crate) fn run(
        &mut self,
        plan: &mut StepPlan,
        sequences: &mut Sequences,
        model: &mut dyn Model,
    ) -> Result<(), StepError> {
        let mask_words = model.info().vocab.div_ceil(32);
        self.build(plan, sequences, mask_words);
        if self.batch.spans.is_empty() {
            return Ok(());
        }
        self.forward(sequences, model, mask_words)
    }

    pub(crate) fn take_outcome(&mut self, row: usize) -> Option<Outcome> {
        self.outcomes[row].take()
    }

    fn build(&mut self, plan: &mut StepPlan, sequences: &mut Sequences, mask_words: usize) {
        self.batch.clear();
        self.purposes.clear();
        self.masks.clear();
        self.failed.clear();
        let drafts = &plan.drafts;
        plan.work.retain_mut(|work| {
            let sequence = &mut sequences[work.slot];
            let start = sequence.computed;
            let end = start + work.workload.tokens;
            let first_row = self.purposes.len();
            let offset = self.batch.tokens.len();
            for index in sequence.score_next.max(start + 1)..sequence.prompt_tokens().min(end + 1) {
                self.batch.rows.push((offset + index - 1 - start) as u32);
                self.purposes.push(RowPurpose::Score { slot: work.slot, index });
            }
            if end == sequence.tokens.len() && sequence.wants_sample() {
                let draft = &drafts[work.drafts.clone()];
                match self.add_sample_rows(sequence, work.slot, draft, mask_words) {
                    Ok(rows) => work.drafts.end = work.drafts.start + rows - 1,
                    Err(end) => {
                        self.purposes.truncate(first_row);
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
            work.rows = first_row..self.purposes.len();
            true
        });
        let failed = &self.failed;
        let runs = |slot: u32| failed.iter().all(|&(other, _)| other != slot);
        let copies = plan.copies.iter().filter(|&&(slot, _)| runs(slot));
        self.batch.copies.extend(copies.map(|&(_, copy)| copy));
    }

    /// Adds a row after the pending tokens and one after each draft token that the grammar allows. Returns how many.
    fn add_sample_rows(
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
            self.purposes.push(RowPurpose::Sample { slot, drafts: rows, mask });
            rows += 1;
            let next = draft.get(rows - 1).copied().filter(|&token| {
                let allowed = |first: usize| self.masks[first + token as usize / 32] >> (token % 32) & 1 == 1;
                mask.is_none_or(allowed) && sequence.accept_draft(token)
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
    ) -> Result<(), StepError> {
        self.outcomes.clear();
        self.outcomes.resize_with(self.purposes.len(), OnceLock::new);
        let readers: Vec<RowReader<'_>> = self
            .purposes
            .iter()
            .map(|purpose| RowReader::new(purpose, sequences, &self.masks, mask_words))
            .collect();
        let (outcomes, scratches) = (&self.outcomes, &self.scratches);
        let lock = || scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let on_row = |row: usize, logits: &mut [f32]| {
            let mut scratch = lock().pop().unwrap_or_default();
            // If a row arrives twice, its first outcome stands.
            let _ = outcomes[row].set(readers[row].read(logits, &mut scratch));
            lock().push(scratch);
        };
        let ran = catch_unwind(AssertUnwindSafe(|| model.forward(&self.batch, &on_row)));
        match ran {
            Err(panic) => Err(StepError::Panicked(panic_message(&*panic))),
            Ok(Err(error @ ForwardError::FileChanged(_))) => Err(StepError::FileChanged(error.to_string())),
            Ok(Err(error)) => Err(StepError::Failed(error.to_string())),
            Ok(Ok(())) if outcomes.iter().any(|outcome| outcome.get().is_none()) => {
                Err(StepError::Failed("the model did not compute all rows that it was asked for".into()))
            }
            Ok(Ok(())) => Ok(()),
        }
    }
}

/// What it takes to read one row of logits. It only borrows, so any thread can use it.
enum RowReader<'a> {
    Score { index: usize, target: u32, top: usize },
    Sample { sampler: &'a Sampler, position: usize, mask: Option<&'a [u32]> },
}

impl<'a> RowReader<'a> {
    fn new(purpose: &RowPurpose, sequences: &'a Sequences, masks: &'a [u32], mask_words: usize) -> Self {
        match *purpose {
            RowPurpose::Score { slot, index } => {
                let sequence = &sequences[slot];
                let top = sequence.sampler.top_logprobs.unwrap_or(0) as usize;
                RowReader::Score { index, target: sequence.tokens[index], top }
            }
            RowPurpose::Sample { slot, drafts, mask } => {
                let sequence = &sequences[slot];
                let mask = mask.map(|first| &masks[first..first + mask_words]);
                RowReader::Sample {
                    sampler: &sequence.sampler,
                    position: sequence.tokens.len() + drafts,
                    mask,
                }
            }
        }
    }

    fn read(&self, logits: &mut [f32], scratch: &mut Scratch) -> Outcome {
        match *self {
            RowReader::Score { index, target, top } => {
                Outcome::Score { index, logprobs: score(logits, target, top, scratch) }
            }
            RowReader::Sample { sampler, position, mask } => {
                Outcome::Sampled(sample(logits, sampler, mask, position, scratch))
            }
        }
    }
}

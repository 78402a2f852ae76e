//! One request while it lives: its tokens, how many of them are computed, and the blocks that hold them. Steps, other
//! sequences and models are not known here.

use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::blocks::Prefix;
use super::draft::Drafter;
use super::error::panic_message;
use super::hash::{chain_hash, root_hash};
use super::sampler::Sampler;
use super::{
    BLOCK_TOKENS, Class, Constraint, ConstraintError, Event, Failure, FinishReason, ModelId, Priority,
    Request, RequestId, RunId, Sink, Usage,
};

/// Each class above background makes a request count as this much older.
const CLASS_HEAD_START: Duration = Duration::from_secs(120);
/// A request counts as having arrived with its run, but as at most this much older than it is: less than a class.
const RUN_HEAD_START_MAX: Duration = Duration::from_secs(100);

/// Position in the order of service: arrival time (its own or its run's) minus the class's head start, then the longer
/// critical path, then the lower id. It never changes, so two sequences never preempt each other in turns, and a
/// waiting sequence is overtaken only by those that arrive within a head start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank {
    /// Microseconds; smaller goes first. May be negative.
    due_us: i64,
    pub critical_path: Reverse<u32>,
    id: RequestId,
}

impl Rank {
    /// For a request that arrives at `now`, in a run that counts as having begun at `run_since`.
    #[must_use]
    pub(crate) fn new(priority: Priority, run_since: Option<Duration>, now: Duration, id: RequestId) -> Self {
        let arrived = run_since.map_or(now, |since| since.max(now.saturating_sub(RUN_HEAD_START_MAX)));
        let head_start = CLASS_HEAD_START * priority.class as u32;
        Self {
            due_us: arrived.as_micros() as i64 - head_start.as_micros() as i64,
            critical_path: Reverse(priority.critical_path_tokens),
            id,
        }
    }

    /// First come, first served.
    #[must_use]
    pub(crate) fn by_arrival(now: Duration, id: RequestId) -> Self {
        Self { due_us: now.as_micros() as i64, critical_path: Reverse(0), id }
    }
}

/// The parts of a request that don't change.
pub(crate) struct SequenceParams {
    pub class: Class,
    pub run: Option<RunId>,
    /// Most tokens to generate.
    pub tokens_max: usize,
    pub stop_tokens: Vec<u32>,
    /// Engine time at which the request ends.
    pub deadline: Option<Duration>,
    /// Requests with different salts never share cache blocks.
    pub cache_salt: u64,
    /// Most tokens, prompt and output together.
    pub context_tokens: usize,
    /// Leading tokens that the cache had on arrival. They may have been evicted since.
    pub cached_tokens: usize,
}

pub(crate) struct Sequence {
    pub id: RequestId,
    pub model: ModelId,
    pub rank: Rank,
    /// Prompt, then generated tokens. Only grows.
    pub tokens: Vec<u32>,
    /// Leading tokens whose keys and values are in the table's blocks, or will be once the planned copies are made.
    /// Always fewer than `tokens` between steps.
    pub computed: usize,
    /// The highest `computed` so far. A token before it that is computed now is computed again.
    pub computed_peak: usize,
    /// Block ids in reading order. Grows at the end or is cleared whole.
    pub table: Vec<u32>,
    /// Chained hashes of the leading full blocks of `tokens`, computed on demand.
    block_hashes: Vec<u64>,
    /// First prompt token whose score has not been sent yet; the prompt's length when none is wanted.
    pub score_next: usize,
    pub sampler: Sampler,
    pub constraint: Option<Box<dyn Constraint>>,
    /// Proposes draft tokens; `None` when this sequence doesn't speculate.
    pub drafter: Option<Drafter>,
    pub params: SequenceParams,
    pub usage: Usage,
    /// `None` after the last event.
    sink: Option<Sink>,
}

/// Why a sequence ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    Finished(FinishReason),
    Failed(Failure),
    /// Its sink returned `false` or panicked, so nobody listens.
    SinkClosed,
}

impl Sequence {
    /// Takes a checked request. `speculate` allows draft tokens; that needs a sequence without penalties.
    pub(crate) fn new(
        id: RequestId,
        request: Request,
        rank: Rank,
        context_tokens: usize,
        now: Duration,
        speculate: bool,
    ) -> Self {
        let prompt_tokens = request.prompt.len();
        let usage = Usage { prompt_tokens: prompt_tokens as u32, ..Usage::default() };
        // The first token has no prefix to be scored by.
        let score_next = request.score_prompt_from.map_or(prompt_tokens, |from| (from as usize).max(1));
        let sampler = Sampler::new(request.sampling, request.top_logprobs, &request.prompt);
        Self {
            id,
            model: request.model,
            rank,
            tokens: request.prompt,
            computed: 0,
            computed_peak: 0,
            table: Vec::new(),
            block_hashes: Vec::new(),
            score_next: score_next.min(prompt_tokens),
            drafter: (speculate && !sampler.has_penalties()).then(Drafter::default),
            sampler,
            constraint: request.constraint,
            params: SequenceParams {
                class: request.priority.class,
                run: request.priority.run,
                tokens_max: request.tokens_max as usize,
                stop_tokens: request.stop_tokens,
                // A deadline too far away to represent counts as none.
                deadline: request.deadline.and_then(|after| now.checked_add(after)),
                cache_salt: request.cache_salt,
                context_tokens,
                cached_tokens: 0,
            },
            usage,
            sink: Some(request.sink),
        }
    }

    #[must_use]
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.usage.prompt_tokens as usize
    }

    #[must_use]
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// About how many prompt tokens remain before the first generated one, without those that the cache had.
    #[must_use]
    pub(crate) fn prompt_left(&self) -> usize {
        self.tokens.len() - self.computed.max(self.params.cached_tokens).min(self.tokens.len() - 1)
    }

    /// Whether all but its last token is computed, and that one was generated.
    #[must_use]
    pub(crate) fn is_decoding(&self) -> bool {
        self.computed > 0 && self.pending() == 1 && self.tokens.len() > self.prompt_tokens()
    }

    /// Whether computing all pending tokens leads to sampling one.
    #[must_use]
    pub(crate) fn wants_sample(&self) -> bool {
        self.params.tokens_max > 0
    }

    /// Rows of logits needed to compute the next `tokens` tokens: those for prompt scores, and one to sample from.
    #[must_use]
    pub(crate) fn rows_within(&self, tokens: usize) -> usize {
        let end = self.computed + tokens;
        let scored = self.score_next.max(self.computed + 1)..self.prompt_tokens().min(end + 1);
        scored.len() + usize::from(tokens > 0 && tokens == self.pending() && self.wants_sample())
    }

    #[must_use]
    pub(crate) fn tokens_left(&self) -> usize {
        let asked = self.params.tokens_max - self.usage.completion_tokens as usize;
        asked.min(self.params.context_tokens - self.tokens.len())
    }

    /// Leading tokens that the cache may supply. The last one is always computed, for its logits, and so is the token
    /// before the first wanted prompt score.
    #[must_use]
    pub(crate) fn cacheable_tokens(&self) -> usize {
        if self.score_next < self.prompt_tokens() { self.score_next - 1 } else { self.tokens.len() - 1 }
    }

    /// Counts `tokens` tokens from the cache as computed. Returns how many of them were never computed or cached
    /// before.
    pub(crate) fn add_cached(&mut self, tokens: usize) -> usize {
        self.computed += tokens;
        let new = self.computed.saturating_sub(self.computed_peak).min(tokens);
        self.computed_peak = self.computed_peak.max(self.computed);
        self.usage.cached_tokens = (self.usage.cached_tokens + new as u32).min(self.usage.prompt_tokens);
        new
    }

    /// Hash of the first `blocks` full blocks of its tokens.
    pub(crate) fn prefix_hash(&mut self, blocks: usize) -> u64 {
        while self.block_hashes.len() < blocks {
            let first = self.block_hashes.len() * BLOCK_TOKENS;
            let before =
                self.block_hashes.last().copied().unwrap_or_else(|| root_hash(self.params.cache_salt));
            self.block_hashes.push(chain_hash(before, &self.tokens[first..first + BLOCK_TOKENS]));
        }
        if blocks == 0 { root_hash(self.params.cache_salt) } else { self.block_hashes[blocks - 1] }
    }

    /// What its first block continues.
    #[must_use]
    pub(crate) fn root(&self) -> Prefix {
        Prefix::Empty(self.params.cache_salt)
    }

    fn push(&mut self, token: u32) {
        self.tokens.push(token);
        self.sampler.count_token(token);
        self.usage.completion_tokens += 1;
    }

    /// Takes a sampled token and those the grammar forces after it, sends them, and returns `Err` if the sequence ends.
    pub(crate) fn advance(&mut self, sampled: u32, logprobs: Option<super::Logprobs>) -> Result<(), End> {
        let token = match self.constraint {
            Some(_) => self.with_grammar(|grammar| Ok(grammar.replace_sampled(sampled)))?,
            None => sampled,
        };
        self.append(
            token,
            logprobs.map(|known| if token == sampled { known } else { known.for_token(token) }),
        )?;
        self.follow_grammar()
    }

    /// Appends the tokens that the grammar forces. With log-probabilities they are sampled one by one instead. While
    /// prompt scores are still to come they wait, so that the sequence can't end first.
    pub(crate) fn follow_grammar(&mut self) -> Result<(), End> {
        let scored = self.score_next == self.prompt_tokens();
        if self.constraint.is_none() || !self.wants_sample() || self.sampler.top_logprobs.is_some() || !scored
        {
            return self.grammar_end();
        }
        let forced = self.with_grammar(|grammar| Ok(grammar.forced()))?;
        for token in forced {
            self.append(token, None)?;
        }
        self.grammar_end()
    }

    fn grammar_end(&mut self) -> Result<(), End> {
        if self.constraint.is_some() && self.with_grammar(|grammar| Ok(grammar.finished()))? {
            return Err(End::Finished(FinishReason::Stop));
        }
        Ok(())
    }

    fn append(&mut self, token: u32, logprobs: Option<super::Logprobs>) -> Result<(), End> {
        if self.params.stop_tokens.contains(&token) {
            return Err(End::Finished(FinishReason::Stop));
        }
        if self.constraint.is_some() {
            self.with_grammar(|grammar| grammar.accept(token))?;
        }
        self.push(token);
        if !self.send(Event::Token { id: token, logprobs }) {
            return Err(End::SinkClosed);
        }
        let full = self.tokens.len() >= self.params.context_tokens;
        if full || self.usage.completion_tokens as usize >= self.params.tokens_max {
            // A grammar completed by the last token that fits ends with `Stop`, not `Length`.
            self.grammar_end()?;
            return Err(End::Finished(FinishReason::Length));
        }
        Ok(())
    }

    /// Marks the tokens that the grammar allows next. Panics without a grammar.
    pub(crate) fn mask(&mut self, allowed: &mut [u32]) -> Result<(), End> {
        self.with_grammar(|grammar| grammar.mask(allowed))
    }

    /// Advances the grammar by a draft token. `false` when the sequence would end there or the token is not allowed.
    pub(crate) fn accept_draft(&mut self, token: u32) -> bool {
        if self.params.stop_tokens.contains(&token) {
            return false;
        }
        let accepts = |grammar: &mut dyn Constraint| {
            grammar.accept(token)?;
            Ok(!grammar.finished())
        };
        self.constraint.is_none() || self.with_grammar(accepts).unwrap_or(false)
    }

    /// A grammar that fails or panics fails this sequence only.
    fn with_grammar<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Constraint) -> Result<T, ConstraintError>,
    ) -> Result<T, End> {
        let grammar = self.constraint.as_deref_mut().expect("called where a grammar is present");
        match catch_unwind(AssertUnwindSafe(|| call(grammar))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(End::Failed(error.into())),
            Err(panic) => Err(End::Failed(Failure::GrammarPanicked(panic_message(&*panic)))),
        }
    }

    /// Sends an event; `false` when nobody listens any more.
    pub(crate) fn send(&mut self, event: Event) -> bool {
        let Some(sink) = &mut self.sink else { return false };
        // A sink that panics counts as gone. It must not take down the engine for the others.
        let listens = catch_unwind(AssertUnwindSafe(|| sink(event))).unwrap_or(false);
        if !listens {
            self.sink = None;
        }
        listens
    }

    /// Sends the last event, if anybody listens.
    pub(crate) fn finish(&mut self, end: End) {
        match end {
            End::Finished(reason) => self.send(Event::Finished { reason, usage: self.usage }),
            End::Failed(failure) => self.send(Event::Failed(failure)),
            End::SinkClosed => false,
        };
        self.sink = None;
    }
}

/// Sequences by slot, a number that stays the same while they live.
#[derive(Default)]
pub(crate) struct Sequences {
    slots: Vec<Option<Sequence>>,
    vacant: Vec<u32>,
}

impl Sequences {
    pub(crate) fn insert(&mut self, sequence: Sequence) -> u32 {
        if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = Some(sequence);
            return slot;
        }
        self.slots.push(Some(sequence));
        (self.slots.len() - 1) as u32
    }

    /// Takes a sequence out; its slot may be reused.
    pub(crate) fn remove(&mut self, slot: u32) -> Sequence {
        self.vacant.push(slot);
        self.slots[slot as usize].take().expect("a slot is removed once, by whoever listed it")
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sequence> {
        self.slots.iter_mut().flatten()
    }

    /// All sequences with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Sequence)> {
        self.slots.iter().enumerate().filter_map(|(slot, s)| s.as_ref().map(|s| (slot as u32, s)))
    }
}

impl std::ops::Index<u32> for Sequences {
    type Output = Sequence;
    fn index(&self, slot: u32) -> &Sequence {
        self.slots[slot as usize].as_ref().expect("lists name only live slots")
    }
}

impl std::ops::IndexMut<u32> for Sequences {
    fn index_mut(&mut self, slot: u32) -> &mut Sequence {
        self.slots[slot as usize].as_mut().expect("lists name only live slots")
    }
}

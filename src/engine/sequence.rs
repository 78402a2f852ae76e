//! One request while it lives: tokens known, tokens computed, and the blocks in between. Steps, other sequences and
//! models are not known here.

use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::blocks::{BLOCK_TOKENS, Prefix};
use super::draft::Guesses;
use super::hash::{chain_hash, root_hash};
use super::sampler::Drawing;
use super::{
    Class, Constraint, Event, FinishReason, ModelId, Priority, Request, RequestId, RunId, Sink, Usage,
};

/// How much earlier a request counts as having come for each class above background.
const CLASS_HEAD_START: Duration = Duration::from_secs(120);
/// A request counts as having come with its run, but at most so much earlier than it did: less than a class is worth.
const RUN_HEAD_START_MAX: Duration = Duration::from_secs(100);

/// Place in the order of service: when it came, or its run did, less the head start of its class; then the longer
/// critical path; then who came first. It never changes, so two sequences never take blocks from each other in turns,
/// and whoever waits is overtaken only by those who come within a head start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Microseconds; smaller goes first. May be negative.
    due_us: i64,
    /// The longer goes first.
    pub path: Reverse<u32>,
    id: RequestId,
}

impl Rank {
    /// Of a request that arrives `now`, in a run that counts as having begun at `run_since`.
    #[must_use]
    pub fn new(priority: Priority, run_since: Option<Duration>, now: Duration, id: RequestId) -> Self {
        let came = run_since.map_or(now, |since| since.max(now.saturating_sub(RUN_HEAD_START_MAX)));
        let head_start = CLASS_HEAD_START * priority.class as u32;
        Self {
            due_us: came.as_micros() as i64 - head_start.as_micros() as i64,
            path: Reverse(priority.critical_path_tokens),
            id,
        }
    }

    /// Of a request that is served in the order of arrival.
    #[must_use]
    pub fn of_arrival(now: Duration, id: RequestId) -> Self {
        Self { due_us: now.as_micros() as i64, path: Reverse(0), id }
    }
}

/// What the caller asked for and what stays.
pub struct Terms {
    /// Coarse priority; chooses among models.
    pub class: Class,
    /// The run it is part of.
    pub run: Option<RunId>,
    /// Ends after this many generated tokens.
    pub tokens_max: usize,
    /// Ends when one of these is drawn.
    pub stop_tokens: Vec<u32>,
    /// Engine time at which it ends.
    pub deadline: Option<Duration>,
    /// Separates caches.
    pub cache_salt: u64,
    /// Tokens it may have in all.
    pub context_tokens: usize,
    /// Leading tokens that the cache had when it came. They may be gone since.
    pub cached_tokens: usize,
}

/// A request while it lives.
pub struct Sequence {
    /// Its name outside.
    pub id: RequestId,
    /// The model that computes it.
    pub model: ModelId,
    /// Place in the order of service.
    pub rank: Rank,
    /// Prompt, then what was generated. Grows at the end.
    pub tokens: Vec<u32>,
    /// Leading tokens whose keys and values are in the table's blocks, or will be when the planned copies are made.
    /// Always fewer than `tokens` between steps: what is missing is what it wants.
    pub computed: usize,
    /// The most that was ever computed; below it work is repeated.
    pub reached: usize,
    /// Blocks, in reading order. Grows at the end or is cleared whole.
    pub table: Vec<u32>,
    /// Chained hashes of the leading full blocks of `tokens`, as far as somebody asked.
    chain: Vec<u64>,
    /// First prompt token whose score is still owed; the prompt's length when none is.
    pub score_next: usize,
    /// How its tokens are drawn.
    pub drawing: Drawing,
    /// Grammar, if any.
    pub constraint: Option<Box<dyn Constraint>>,
    /// What may come next, where that is guessed.
    pub guesses: Option<Guesses>,
    /// What the caller asked for.
    pub terms: Terms,
    /// What it cost so far.
    pub usage: Usage,
    /// Where events go; `None` after the last one.
    sink: Option<Sink>,
}

/// Whether a sequence goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It ended in order.
    Finished(FinishReason),
    /// It broke.
    Failed(String),
    /// Nobody listens any more.
    Deaf,
}

impl Sequence {
    /// Starts the life of a checked request; `guesses` allows drafts where they change nothing but time.
    pub fn new(
        id: RequestId,
        request: Request,
        rank: Rank,
        context_tokens: usize,
        now: Duration,
        guesses: bool,
    ) -> Self {
        let prompt_tokens = request.prompt.len();
        let usage = Usage { prompt_tokens: prompt_tokens as u32, ..Usage::default() };
        // The first token has no prefix to be scored by.
        let score_next = request.score_prompt_from.map_or(prompt_tokens, |from| (from as usize).max(1));
        let drawing = Drawing::new(request.sampling, request.top_logprobs, &request.prompt);
        Self {
            id,
            model: request.model,
            rank,
            tokens: request.prompt,
            computed: 0,
            reached: 0,
            table: Vec::new(),
            chain: Vec::new(),
            score_next: score_next.min(prompt_tokens),
            guesses: (guesses && !drawing.penalises()).then(Guesses::default),
            drawing,
            constraint: request.constraint,
            terms: Terms {
                class: request.priority.class,
                run: request.priority.run,
                tokens_max: request.tokens_max as usize,
                stop_tokens: request.stop_tokens,
                // One beyond all time is none.
                deadline: request.deadline.and_then(|after| now.checked_add(after)),
                cache_salt: request.cache_salt,
                context_tokens,
                cached_tokens: 0,
            },
            usage,
            sink: Some(request.sink),
        }
    }

    /// Tokens of the prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> usize {
        self.usage.prompt_tokens as usize
    }

    /// Tokens that are known and not computed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// About how many tokens it has to compute before it says something: what the cache had is not counted.
    #[must_use]
    pub fn prompt_left(&self) -> usize {
        self.tokens.len() - self.computed.max(self.terms.cached_tokens).min(self.tokens.len() - 1)
    }

    /// Whether it only waits for its next token.
    #[must_use]
    pub fn is_decoding(&self) -> bool {
        self.computed > 0 && self.pending() == 1 && self.tokens.len() > self.prompt_tokens()
    }

    /// Whether computing all that is pending leads to a draw.
    #[must_use]
    pub fn wants_draw(&self) -> bool {
        self.terms.tokens_max > 0
    }

    /// Rows of logits that computing its next `tokens` tokens takes: those of promised scores, and one to draw from.
    #[must_use]
    pub fn rows_within(&self, tokens: usize) -> usize {
        let end = self.computed + tokens;
        let scored = self.score_next.max(self.computed + 1)..self.prompt_tokens().min(end + 1);
        scored.len() + usize::from(tokens > 0 && tokens == self.pending() && self.wants_draw())
    }

    /// Tokens it may still generate.
    #[must_use]
    pub fn tokens_left(&self) -> usize {
        let asked = self.terms.tokens_max - self.usage.completion_tokens as usize;
        asked.min(self.terms.context_tokens - self.tokens.len())
    }

    /// Leading tokens that a cache may supply: the last one is always computed, for its logits, and so is what a
    /// promised score is read from.
    #[must_use]
    pub fn cacheable_tokens(&self) -> usize {
        if self.score_next < self.prompt_tokens() { self.score_next - 1 } else { self.tokens.len() - 1 }
    }

    /// Takes `tokens` from the cache as computed; says how many of them it never had before.
    pub fn found(&mut self, tokens: usize) -> usize {
        self.computed += tokens;
        let new = self.computed.saturating_sub(self.reached).min(tokens);
        self.reached = self.reached.max(self.computed);
        self.usage.cached_tokens = (self.usage.cached_tokens + new as u32).min(self.usage.prompt_tokens);
        new
    }

    /// Hash of the leading `blocks` full blocks of its tokens.
    pub fn prefix_hash(&mut self, blocks: usize) -> u64 {
        while self.chain.len() < blocks {
            let first = self.chain.len() * BLOCK_TOKENS;
            let before = self.chain.last().copied().unwrap_or_else(|| root_hash(self.terms.cache_salt));
            self.chain.push(chain_hash(before, &self.tokens[first..first + BLOCK_TOKENS]));
        }
        if blocks == 0 { root_hash(self.terms.cache_salt) } else { self.chain[blocks - 1] }
    }

    /// The prefix of its first block.
    #[must_use]
    pub fn root(&self) -> Prefix {
        Prefix::Empty(self.terms.cache_salt)
    }

    /// Takes a new token into its tokens and counts.
    fn push(&mut self, token: u32) {
        self.tokens.push(token);
        self.drawing.seen(token);
        self.usage.completion_tokens += 1;
    }

    /// Takes a drawn token and what the grammar forces after it, tells the listener, and says whether it ends here.
    pub fn advance(&mut self, drawn: u32, logprobs: Option<super::Logprobs>) -> Result<(), End> {
        let settle = |sequence: &mut Self| sequence.with_grammar(|grammar| Ok(grammar.settle(drawn)));
        let token = if self.constraint.is_some() { settle(self)? } else { drawn };
        self.take(token, logprobs.map(|told| if token == drawn { told } else { told.instead(token) }))?;
        self.follow_grammar()
    }

    /// Appends the tokens that the grammar forces. Where log-probabilities are wanted they are drawn one by one instead;
    /// while prompt scores are owed they wait, so that the sequence cannot end before.
    pub fn follow_grammar(&mut self) -> Result<(), End> {
        let scored = self.score_next == self.prompt_tokens();
        if self.constraint.is_none() || !self.wants_draw() || self.drawing.top_logprobs.is_some() || !scored {
            return self.grammar_end();
        }
        let forced = self.with_grammar(|grammar| Ok(grammar.forced()))?;
        for token in forced {
            self.take(token, None)?;
        }
        self.grammar_end()
    }

    fn grammar_end(&mut self) -> Result<(), End> {
        if self.constraint.is_some() && self.with_grammar(|grammar| Ok(grammar.finished()))? {
            return Err(End::Finished(FinishReason::Stop));
        }
        Ok(())
    }

    fn take(&mut self, token: u32, logprobs: Option<super::Logprobs>) -> Result<(), End> {
        if self.terms.stop_tokens.contains(&token) {
            return Err(End::Finished(FinishReason::Stop));
        }
        if self.constraint.is_some() {
            self.with_grammar(|grammar| grammar.accept(token))?;
        }
        self.push(token);
        if !self.send(Event::Token { id: token, logprobs }) {
            return Err(End::Deaf);
        }
        let full = self.tokens.len() >= self.terms.context_tokens;
        if full || self.usage.completion_tokens as usize >= self.terms.tokens_max {
            // A grammar that is complete with the last token that fits ended in order.
            self.grammar_end()?;
            return Err(End::Finished(FinishReason::Length));
        }
        Ok(())
    }

    /// Marks the tokens that the grammar allows next. Without a grammar it must not be called.
    pub fn mask(&mut self, allowed: &mut [u32]) -> Result<(), End> {
        self.with_grammar(|grammar| grammar.mask(allowed))
    }

    /// Lets the grammar suppose that `token` was drawn; `false` when it would end there or cannot go on.
    pub fn suppose(&mut self, token: u32) -> bool {
        if self.terms.stop_tokens.contains(&token) {
            return false;
        }
        let supposed = |grammar: &mut dyn Constraint| {
            grammar.accept(token)?;
            Ok(!grammar.finished())
        };
        self.constraint.is_none() || self.with_grammar(supposed).unwrap_or(false)
    }

    /// A grammar that fails or panics fails this sequence and nothing else.
    fn with_grammar<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Constraint) -> Result<T, String>,
    ) -> Result<T, End> {
        let grammar = self.constraint.as_deref_mut().expect("called where a grammar is present");
        match catch_unwind(AssertUnwindSafe(|| call(grammar))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(message)) => Err(End::Failed(format!("grammar: {message}"))),
            Err(panic) => Err(End::Failed(format!("grammar panicked: {}", panic_message(&*panic)))),
        }
    }

    /// Tells the listener; `false` when it does not want to hear more.
    pub fn send(&mut self, event: Event) -> bool {
        let Some(sink) = &mut self.sink else { return false };
        // A listener that panics is a listener that left; it must not take the others' engine with it.
        let listens = catch_unwind(AssertUnwindSafe(|| sink(event))).unwrap_or(false);
        if !listens {
            self.sink = None;
        }
        listens
    }

    /// Sends the last event, if anybody listens.
    pub fn finish(&mut self, end: End) {
        match end {
            End::Finished(reason) => self.send(Event::Finished { reason, usage: self.usage }),
            End::Failed(message) => self.send(Event::Failed(message)),
            End::Deaf => false,
        };
        self.sink = None;
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Sequences by a number that stays the same while they live.
#[derive(Default)]
pub struct Sequences {
    slots: Vec<Option<Sequence>>,
    vacant: Vec<u32>,
}

impl Sequences {
    /// Takes a sequence in and says under which number.
    pub fn insert(&mut self, sequence: Sequence) -> u32 {
        if let Some(slot) = self.vacant.pop() {
            self.slots[slot as usize] = Some(sequence);
            return slot;
        }
        self.slots.push(Some(sequence));
        (self.slots.len() - 1) as u32
    }

    /// Hands a sequence out; its number may be given to another.
    pub fn remove(&mut self, slot: u32) -> Sequence {
        self.vacant.push(slot);
        self.slots[slot as usize].take().expect("a slot is removed once, by whoever listed it")
    }

    /// All that live, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sequence> {
        self.slots.iter_mut().flatten()
    }

    /// All that live, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Sequence)> {
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

//! What a caller asks of the engine and what it gets back. Text, prompts and plans are not known here: token ids in,
//! token ids out.

use std::time::Duration;

use super::constraint::Constraint;

/// A loaded model, as the engine numbers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub u32);

/// A submitted request, unique for the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Requests that are answered together: those of one goal. Who makes them numbers them; a number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// Who goes first: the higher class, then the run that began earlier and has had less service, then the longer critical
/// path, then the older. The first two count as time (see `Rank`), so that whoever waits long enough
/// goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority {
    /// Interactive before run before background.
    pub class: Class,
    /// The run it is part of, if any.
    pub run: Option<RunId>,
    /// Tokens expected on the longest path from this task to the end of its run, its own included.
    pub critical_path_tokens: u32,
}

/// Coarse order of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Class {
    /// Nobody waits for it.
    Background,
    /// Part of a run.
    #[default]
    Run,
    /// A person is looking.
    Interactive,
}

/// How a token is drawn from a row of logits. A pure function of these, the row, and the position.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Keep the k most likely; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set whose probabilities reach this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this share of the most likely; 0 drops none.
    pub min_p: f32,
    /// Divides (or multiplies, when negative) the logits of tokens seen; 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted once from tokens generated before.
    pub presence_penalty: f32,
    /// Subtracted per occurrence among the tokens generated before.
    pub frequency_penalty: f32,
    /// Added to single tokens' logits.
    pub logit_bias: Vec<(u32, f32)>,
    /// Same seed, same row, same position: same token.
    pub seed: u64,
}

impl Sampling {
    /// The most likely token, always.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

impl Sampling {
    /// Refuses parameters with which nothing could be drawn.
    ///
    /// # Errors
    /// [`Rejected::Invalid`] names the parameter, its value and its range.
    pub fn check(&self) -> Result<(), Rejected> {
        let finite = |value: f32| value.is_finite();
        let checks = [
            ("temperature", self.temperature, self.temperature >= 0.0, "0 or more"),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 and at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "between 0 and 1"),
            ("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0.0, "above 0"),
            ("presence_penalty", self.presence_penalty, true, "a number"),
            ("frequency_penalty", self.frequency_penalty, true, "a number"),
        ];
        if let Some((name, value, _, range)) = checks.iter().find(|(_, value, ok, _)| !ok || !finite(*value))
        {
            return Err(Rejected::Invalid(format!("{name} is {value}: it must be {range}")));
        }
        // Minus infinity forbids a token, which is a use of it.
        match self.logit_bias.iter().find(|(_, bias)| bias.is_nan() || *bias == f32::INFINITY) {
            Some((token, bias)) => {
                Err(Rejected::Invalid(format!("logit_bias of token {token} is {bias}: it must be a number")))
            }
            None => Ok(()),
        }
    }
}

/// Receives a request's events, in order, on the engine's thread: it must not block. Returning `false` cancels.
pub type Sink = Box<dyn FnMut(Event) -> bool + Send>;

/// One sequence to compute.
pub struct Request {
    /// Which model.
    pub model: ModelId,
    /// Prompt; at least one token.
    pub prompt: Vec<u32>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Ends after this many generated tokens.
    pub tokens_max: u32,
    /// Ends when one of these is drawn; it is not sent.
    pub stop_tokens: Vec<u32>,
    /// Grammar, if any.
    pub constraint: Option<Box<dyn Constraint>>,
    /// Order among the waiting.
    pub priority: Priority,
    /// Ends with [`FinishReason::Deadline`] this long after it was submitted.
    pub deadline: Option<Duration>,
    /// How many alternatives to report with each token; `None` reports no log-probabilities.
    pub top_logprobs: Option<u32>,
    /// Also report log-probabilities of prompt tokens from this index on, each given its prefix.
    pub score_prompt_from: Option<u32>,
    /// Separates caches that must not be shared.
    pub cache_salt: u64,
    /// Where events go.
    pub sink: Sink,
}

impl Request {
    /// Computes `prefix` so that the cache has it when it is wanted: in the background, nothing is drawn.
    #[must_use]
    pub fn warm(model: ModelId, prefix: Vec<u32>, cache_salt: u64, run: Option<RunId>) -> Self {
        Self {
            model,
            prompt: prefix,
            sampling: Sampling::greedy(),
            tokens_max: 0,
            stop_tokens: Vec::new(),
            constraint: None,
            priority: Priority { class: Class::Background, run, critical_path_tokens: 0 },
            deadline: None,
            top_logprobs: None,
            score_prompt_from: None,
            cache_salt,
            sink: Box::new(|_| true),
        }
    }
}

/// A request that goes on from another, with the other's model, tokens, stop tokens and salt, and without a grammar.
pub struct Branch {
    /// How its tokens are drawn; with the parent's seed it would say the same.
    pub sampling: Sampling,
    /// Ends after this many tokens of its own.
    pub tokens_max: u32,
    /// Order among the waiting.
    pub priority: Priority,
    /// Where events go.
    pub sink: Sink,
}

impl Branch {
    /// The request, but for what it shares with its parent.
    pub(super) fn into_request(self) -> Request {
        Request {
            model: ModelId::default(),
            prompt: Vec::new(),
            sampling: self.sampling,
            tokens_max: self.tokens_max,
            stop_tokens: Vec::new(),
            constraint: None,
            priority: self.priority,
            deadline: None,
            top_logprobs: None,
            score_prompt_from: None,
            cache_salt: 0,
            sink: self.sink,
        }
    }
}

/// A prefix that will be wanted again, for the cache to keep before others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Whose tokens.
    pub model: ModelId,
    /// Salt of the requests that will have it.
    pub cache_salt: u64,
    /// The prefix. What is beyond its last full block of 16 tokens is not kept.
    pub tokens: Vec<u32>,
    /// Steps of the plan until it is used: 0 for what the next requests begin with. Fewer steps stay longer.
    pub steps: u32,
    /// Forgotten after this long; `None` keeps it until it is released.
    pub for_at_most: Option<Duration>,
}

/// Names an expectation while it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExpectedId(pub u64);

/// A token with its log-probability and the most likely alternatives, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// Natural logarithm of the token's probability, before temperature and masks.
    pub logprob: f32,
    /// `(token, log-probability)`, best first.
    pub top: Vec<(u32, f32)>,
}

/// The log-probability told of a token that was not drawn and is not among the most likely: OpenAI's number for it.
const UNLIKELY: f32 = -9999.0;

impl Logprobs {
    /// For `token`, which was taken in place of the one that was drawn.
    #[must_use]
    pub fn instead(self, token: u32) -> Self {
        let known = self.top.iter().find(|(other, _)| *other == token);
        Self { logprob: known.map_or(UNLIKELY, |&(_, logprob)| logprob), top: self.top }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Part of the prompt is computed; `cached` tokens of it came from the cache.
    Prefill {
        /// Prompt tokens computed or found so far.
        computed: u32,
        /// Prompt tokens in all.
        total: u32,
        /// Of them found in the cache.
        cached: u32,
    },
    /// Log-probabilities of prompt token `index`.
    PromptScore {
        /// Index into the prompt.
        index: u32,
        /// Its score.
        logprobs: Logprobs,
    },
    /// A generated token.
    Token {
        /// Token id.
        id: u32,
        /// When asked for.
        logprobs: Option<Logprobs>,
    },
    /// The last event of a request that ended in order.
    Finished {
        /// Why.
        reason: FinishReason,
        /// What it cost.
        usage: Usage,
    },
    /// The last event of a request that broke.
    Failed(String),
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token was drawn, or the grammar was complete.
    Stop,
    /// `tokens_max` was reached or the context is full.
    Length,
    /// Asked for, or nobody listens any more.
    Cancelled,
    /// The deadline passed.
    Deadline,
}

/// What a model can take, as far as requests are concerned; known to every handle, so that what can never fit is refused
/// at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Token ids are below this.
    pub vocab: usize,
    /// Tokens of the model's context.
    pub context_tokens: usize,
    /// Tokens for which there are blocks when nobody else has any.
    pub pool_tokens: usize,
}

impl Limits {
    /// Refuses what can never be computed.
    ///
    /// # Errors
    /// [`Rejected::PromptTooLong`] and [`Rejected::Invalid`].
    pub fn check(&self, request: &Request) -> Result<(), Rejected> {
        let &Self { vocab, context_tokens, pool_tokens } = self;
        let prompt_tokens = request.prompt.len();
        if prompt_tokens >= context_tokens.min(pool_tokens) {
            return Err(Rejected::PromptTooLong { prompt_tokens, context_tokens, pool_tokens });
        }
        let invalid = |message: String| Err(Rejected::Invalid(message));
        if prompt_tokens == 0 {
            return invalid("the prompt has no tokens".into());
        }
        let biased = request.sampling.logit_bias.iter().map(|&(token, _)| token);
        if let Some(token) = request.prompt.iter().copied().chain(biased).find(|&t| t as usize >= vocab) {
            return invalid(format!("token {token} is outside the model's vocabulary of {vocab}"));
        }
        request.sampling.check()
    }
}

/// Tokens and steps a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of them found in the cache.
    pub cached_tokens: u32,
    /// Generated tokens.
    pub completion_tokens: u32,
    /// Steps that computed something for it.
    pub steps: u32,
    /// Sum over those steps of the sequences in the batch, for the mean.
    pub batch_sum: u64,
}

/// A request that was not taken, with the numbers that show why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue is full.
    #[error("the queue is full ({waiting} waiting): try again later or raise --max-queue")]
    QueueFull {
        /// Requests waiting.
        waiting: usize,
    },
    /// It can never fit.
    #[error(
        "{prompt_tokens} prompt tokens and one more do not fit: the model's context is {context_tokens} tokens, the cache holds {pool_tokens}: shorten the input or raise --context-tokens or --memory"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens of the model's context.
        context_tokens: usize,
        /// Tokens for which the cache has blocks when nobody else has any.
        pool_tokens: usize,
    },
    /// A field out of range.
    #[error("{0}")]
    Invalid(String),
    /// The request to go on from has ended, or never was.
    #[error("request {0} has ended, so nothing can go on from it: submit its prompt as a request of its own")]
    Ended(u64),
    /// No such model.
    #[error("no model with id {0} is loaded")]
    UnknownModel(u32),
    /// The engine has ended.
    #[error("the engine has stopped")]
    Stopped,
}

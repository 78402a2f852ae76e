//! What a caller asks of the engine and what it gets back, as token ids. Text, prompts and plans are not known here.

use std::time::Duration;

use super::constraint::Constraint;
use super::error::{Failure, Rejected};

/// Index of a loaded model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub u32);

/// Id of a submitted request or job, unique for the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Groups the requests of one goal. The caller chooses the number and never reuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// Decides who goes first: the higher class, then the run that began earlier and has had less service, then the longer
/// critical path, then the older request. Class and run count as time (see `Rank`), so that every wait ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority {
    /// Interactive goes before run, run before background.
    pub class: Class,
    pub run: Option<RunId>,
    /// Tokens expected on the longest path from this task to the end of its run, including its own.
    pub critical_path_tokens: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Class {
    /// Nobody waits for it.
    Background,
    /// Part of a run.
    #[default]
    Run,
    /// A person waits for it.
    Interactive,
}

/// Sampling parameters. The sampled token is a pure function of these, the logits, the tokens so far, and the position.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// At 0 the most likely token is always taken.
    pub temperature: f32,
    /// Keeps the k most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps the smallest set of most likely tokens whose probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens whose probability is below this share of the highest one; 0 drops none.
    pub min_p: f32,
    /// Divides the logit of each token in the prompt or output (multiplies a negative one); 1 turns it off.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of each token generated before.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit for each time it was generated before.
    pub frequency_penalty: f32,
    /// `(token, bias)`: added to that token's logit.
    pub logit_bias: Vec<(u32, f32)>,
    /// The same seed, logits and position give the same token.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token.
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

    /// Refuses parameters that are out of range.
    ///
    /// # Errors
    /// [`Rejected::OutOfRange`] and [`Rejected::Bias`] name the parameter, its value and its range.
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
        if let Some(&(field, value, _, range)) =
            checks.iter().find(|(_, value, ok, _)| !ok || !finite(*value))
        {
            return Err(Rejected::OutOfRange { field, value, range });
        }
        // Minus infinity is allowed: it forbids the token.
        match self.logit_bias.iter().find(|(_, bias)| bias.is_nan() || *bias == f32::INFINITY) {
            Some(&(token, bias)) => Err(Rejected::Bias { token, bias }),
            None => Ok(()),
        }
    }
}

/// Receives events in order, on the engine's thread: it must not block. Returning `false` cancels the request.
pub type Sink = Box<dyn FnMut(Event) -> bool + Send>;

pub struct Request {
    pub model: ModelId,
    /// At least one token.
    pub prompt: Vec<u32>,
    pub sampling: Sampling,
    /// Most tokens to generate.
    pub tokens_max: u32,
    /// Generation ends when one of these is sampled; that token is not sent.
    pub stop_tokens: Vec<u32>,
    pub constraint: Option<Box<dyn Constraint>>,
    pub priority: Priority,
    /// The request ends with [`FinishReason::Deadline`] this long after it was submitted.
    pub deadline: Option<Duration>,
    /// How many alternatives to report with each token; `None` reports no log-probabilities.
    pub top_logprobs: Option<u32>,
    /// Also report log-probabilities of the prompt tokens from this index on, each given the tokens before it.
    pub score_prompt_from: Option<u32>,
    /// Requests with different salts never share cache blocks.
    pub cache_salt: u64,
    pub sink: Sink,
}

impl Request {
    /// A background request that computes `prefix` into the cache and generates nothing.
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

/// A prefix that will be used again, so that the cache keeps it in preference to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedPrefix {
    pub model: ModelId,
    /// Salt of the requests that will use it.
    pub cache_salt: u64,
    /// Only whole blocks of 16 tokens are kept.
    pub tokens: Vec<u32>,
    /// Steps of the plan until it is used: 0 for what the next requests begin with. The fewer, the longer it is kept.
    pub steps: u32,
}

/// Id of an [`ExpectedPrefix`], chosen by the caller of [`super::Core`] and by the handle otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExpectedPrefixId(pub u64);

/// A token's log-probability and the most likely alternatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// Natural logarithm of the token's probability, before bias, penalties, mask and temperature.
    pub logprob: f32,
    /// `(token, log-probability)`, most likely first.
    pub top: Vec<(u32, f32)>,
}

/// Reported for a token that was not sampled and is not among the most likely. OpenAI uses this number.
const UNLIKELY: f32 = -9999.0;

impl Logprobs {
    /// Those of `token`, which replaced the sampled one.
    pub(crate) fn for_token(self, token: u32) -> Self {
        let known = self.top.iter().find(|(other, _)| *other == token);
        Self { logprob: known.map_or(UNLIKELY, |&(_, logprob)| logprob), top: self.top }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Prefill {
        /// Prompt tokens computed or found in the cache so far.
        computed: u32,
        /// Tokens of the prompt.
        total: u32,
        /// Of `computed`, the tokens found in the cache.
        cached: u32,
    },
    /// The log-probability of one prompt token.
    PromptScore { index: u32, logprobs: Logprobs },
    Token {
        id: u32,
        /// When the request asked for them.
        logprobs: Option<Logprobs>,
    },
    /// The last event of a request that did not fail.
    Finished { reason: FinishReason, usage: Usage },
    /// The last event of a request that failed.
    Failed(Failure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token was sampled, or the grammar was complete.
    Stop,
    /// `tokens_max` was reached, or the context is full.
    Length,
    /// It was cancelled, or its sink returned `false`.
    Cancelled,
    Deadline,
}

/// What a model can take of a request. Every handle knows it, so that a request that can never fit is refused at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Token ids are below this.
    pub vocab: usize,
    pub context_tokens: usize,
    /// Tokens that fit into the cache when no other sequence holds any.
    pub pool_tokens: usize,
}

impl Limits {
    /// Refuses a request that can never be computed.
    ///
    /// # Errors
    /// [`Rejected`] names the limit, or the field that is wrong.
    pub fn check(&self, request: &Request) -> Result<(), Rejected> {
        let &Self { vocab, context_tokens, pool_tokens } = self;
        let prompt_tokens = request.prompt.len();
        if prompt_tokens >= context_tokens.min(pool_tokens) {
            return Err(Rejected::PromptTooLong { prompt_tokens, context_tokens, pool_tokens });
        }
        if prompt_tokens == 0 {
            return Err(Rejected::EmptyPrompt);
        }
        let unknown = |token: &u32| *token as usize >= vocab;
        if let Some(&token) = request.prompt.iter().find(|token| unknown(token)) {
            return Err(Rejected::UnknownPromptToken { token, vocab });
        }
        if let Some(&(token, _)) = request.sampling.logit_bias.iter().find(|(token, _)| unknown(token)) {
            return Err(Rejected::UnknownBiasToken { token, vocab });
        }
        request.sampling.check()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub prompt_tokens: u32,
    /// Of `prompt_tokens`, those found in the cache.
    pub cached_tokens: u32,
    pub completion_tokens: u32,
    /// Steps that computed something for it.
    pub steps: u32,
    /// The number of sequences in the batch, summed over those steps, from which the mean batch follows.
    pub batch_sum: u64,
}

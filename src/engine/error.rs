//! Why a request is refused, and why one that was accepted fails. Each reason is a variant, so that callers decide by
//! the variant and never by the words.

use super::constraint::ConstraintError;

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejected {
    #[error("the queue is full ({waiting} waiting): try again later or raise --max-queue")]
    QueueFull { waiting: usize },
    #[error(
        "{prompt_tokens} prompt tokens and one generated token do not fit: the model's context is {context_tokens} tokens, the cache holds {pool_tokens}: shorten the input or raise --context-tokens or --memory"
    )]
    PromptTooLong {
        prompt_tokens: usize,
        context_tokens: usize,
        /// Tokens that fit into the cache when no other sequence holds any.
        pool_tokens: usize,
    },
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    #[error("token {token} is outside the model's vocabulary of {vocab}")]
    UnknownPromptToken { token: u32, vocab: usize },
    #[error("logit_bias: token {token} is outside the model's vocabulary of {vocab}")]
    UnknownBiasToken { token: u32, vocab: usize },
    #[error("logit_bias of token {token} is {bias}: it must be a number")]
    Bias { token: u32, bias: f32 },
    #[error("{field} is {value}: it must be {range}")]
    OutOfRange {
        /// The parameter, by the name of its field in [`super::Sampling`].
        field: &'static str,
        value: f32,
        range: &'static str,
    },
    #[error("no model with id {0} is loaded")]
    UnknownModel(u32),
    #[error("the engine has stopped")]
    Stopped,
}

/// Why a request that was accepted failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("grammar: {0}")]
    Grammar(#[from] ConstraintError),
    #[error("grammar panicked: {0}")]
    GrammarPanicked(String),
    #[error("logit_bias forbids every token that could come next: forbid fewer")]
    LogitBias,
    #[error("no token can be sampled: every logit that the grammar allows is minus infinity or not a number")]
    NoFiniteLogit,
    /// The forward pass returned an error.
    #[error("model {model}: {why}")]
    Forward { model: String, why: String },
    #[error("model {model} panicked: {why}")]
    ModelPanicked { model: String, why: String },
    /// The model was not in memory and could not be loaded again.
    #[error("model {model}: {why}")]
    Load { model: String, why: String },
    /// Only the engine's thread could see that the request can't be computed.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("the engine has stopped")]
    Stopped,
}

/// The message of a panic.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

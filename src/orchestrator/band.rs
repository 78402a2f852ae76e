//! Who plays: the planner, the workers and the embedder, each behind a trait, so that a test can script them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

pub use crate::text::{Message, Role};

/// A future that owns or borrows what it needs and may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The prompt, before the model's chat template.
    pub messages: Vec<Message>,
    /// JSON schema the answer must follow, if any.
    pub schema: Option<Value>,
    /// Ends after this many tokens.
    pub tokens_max: u32,
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Same seed, same prompt, same answer.
    pub seed: u64,
    /// Number of the run it is part of, unique in this process.
    pub run: u64,
    /// Tokens expected on the longest path of tasks that wait for this one.
    pub critical_path_tokens: u32,
    /// Ends this long after it was sent.
    pub deadline: Option<Duration>,
}

/// What a call reports while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The prompt as the model reads it; comes first.
    Prompt(&'a str),
    /// So many of the prompt's tokens are computed.
    Prefill {
        /// Computed so far.
        computed: u32,
        /// In all.
        total: u32,
    },
    /// New text of the answer; about one token a report.
    Text(&'a str),
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// It was done.
    Stop,
    /// `tokens_max` or the end of the context.
    Length,
    /// Its time was over.
    Deadline,
}

/// Tokens and steps of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Of them found in the cache.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Engine steps that computed something for it.
    pub steps: u64,
    /// Sum over those steps of the sequences in the batch.
    pub batch_sum: u64,
}

/// A finished call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer's text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// What it cost.
    pub usage: CallUsage,
}

/// A call that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// Whether the same call may do better later or elsewhere, or never.
    pub kind: CallErrorKind,
    /// What, where and what now.
    pub message: String,
}

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallErrorKind {
    /// May pass: the queue was full, a forward failed.
    Transient,
    /// It does not fit, here or ever.
    Resource,
}

/// A model that can be asked.
pub trait Llm: Send + Sync {
    /// Name in reports, as in the catalog.
    fn name(&self) -> &str;
    /// Tokens a prompt and its answer may have together.
    fn context_tokens(&self) -> usize;
    /// Tokens of a text, by the model's own tokenizer, without any template.
    fn count_tokens(&self, text: &str) -> usize;
    /// Tokens of a whole prompt through the chat template.
    fn prompt_tokens(&self, messages: &[Message]) -> usize;
    /// Asks. Dropping the future stops the work.
    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>>;
}

/// Texts to vectors of length 1: near in meaning is near in direction.
pub trait Embed: Send + Sync {
    /// One vector a text, in order, all of the same width.
    fn embed<'a>(&'a self, texts: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Vec<f32>>, String>>;
}

/// What a worker is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Skill {
    /// Find a number in a text: what comes back can be checked against it.
    Find,
    /// Read for what cannot be checked: names, dates, yes or no, the gist.
    Read,
    /// Write a section.
    Write,
    /// Exact arithmetic, by rule.
    Calculate,
}

/// One that tasks are given to.
#[derive(Clone)]
pub struct Worker {
    /// Name in plans and reports.
    pub name: String,
    /// What it is good for.
    pub skills: Vec<Skill>,
    /// When to use it, in a sentence.
    pub when: String,
    /// What does the work.
    pub kind: WorkerKind,
}

/// What stands behind a worker.
#[derive(Clone)]
pub enum WorkerKind {
    /// A language model.
    Model(Arc<dyn Llm>),
    /// The exact calculator.
    Calculator,
}

/// From this size on a model finds numbers well enough for a check to catch the rest. Measured on readings of 20 short
/// texts: a model of half a billion weights finds 18, one of 135 million 5.
const FINDER_FILE_BYTES_MIN: u64 = 256 << 20;
/// From this size on a model reads and writes as the smallest planner does; a run must not be worse than its planner.
const READER_FILE_BYTES_MIN: u64 = 900 << 20;

impl Worker {
    /// A model, its skills guessed from the size of its file.
    #[must_use]
    pub fn model(llm: Arc<dyn Llm>, file_bytes: u64) -> Self {
        let mut worker = Self::explicit(llm);
        Self::when_by_size(file_bytes).clone_into(&mut worker.when);
        worker.skills.retain(|skill| match skill {
            Skill::Find => file_bytes >= FINDER_FILE_BYTES_MIN,
            _ => file_bytes >= READER_FILE_BYTES_MIN,
        });
        worker
    }

    /// When to use a model whose file has this size.
    #[must_use]
    pub fn when_by_size(file_bytes: u64) -> &'static str {
        if file_bytes >= READER_FILE_BYTES_MIN {
            "reads texts for facts, writes sections"
        } else if file_bytes >= FINDER_FILE_BYTES_MIN {
            "finds numbers in texts, checked against the text"
        } else {
            "only when asked for by name (--worker): too small to be trusted with a task"
        }
    }

    /// A model that was asked for by name: used for everything.
    #[must_use]
    pub fn explicit(llm: Arc<dyn Llm>) -> Self {
        Self {
            name: llm.name().to_owned(),
            skills: vec![Skill::Find, Skill::Read, Skill::Write],
            when: "whatever the plan needs".to_owned(),
            kind: WorkerKind::Model(llm),
        }
    }

    /// The exact calculator, there in every band.
    #[must_use]
    pub fn calculator() -> Self {
        Self {
            name: "calculator".to_owned(),
            skills: vec![Skill::Calculate],
            when: "sums, largest, smallest, averages and counts of what other tasks found".to_owned(),
            kind: WorkerKind::Calculator,
        }
    }
}

/// The planner, the workers and the embedder of a run.
#[derive(Clone)]
pub struct Band {
    /// Chooses, plans and answers.
    pub planner: Arc<dyn Llm>,
    /// Model workers; none means that the planner does the work itself.
    pub workers: Vec<Worker>,
    /// For the choice of strategy; without it facts alone decide.
    pub embed: Option<Arc<dyn Embed>>,
}

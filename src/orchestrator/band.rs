//! The models of a run: the planner, the workers and the embedder, each behind a trait, so that a test can script them.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use bandmaster_text::{Message, Role};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The prompt, before the model's chat template.
    pub messages: Vec<Message>,
    /// JSON schema the answer must follow, if any.
    pub schema: Option<Value>,
    /// Grammar that the answer must follow if there is no schema: Lark in llguidance's dialect, from its rule `start`.
    /// A model that can't be held to a grammar answers without it, so whoever reads the answer checks it.
    pub grammar: Option<String>,
    /// Replies to choose from. If there are any, the model writes nothing. The reply's text is a JSON array with the
    /// log-probability of each of them, in nats.
    pub options: Vec<String>,
    /// Most tokens to generate. Where the context has less room after the prompt, it is that much.
    pub tokens_max: u32,
    /// The call fails for want of room if fewer tokens than this can be generated.
    pub tokens_min: u32,
    /// At 0 the most likely token is always taken.
    pub temperature: f32,
    /// The same seed and prompt give the same answer.
    pub seed: u64,
    /// Number of the run that makes the call, unique in this process.
    pub run: u64,
    /// Tokens expected on the longest path of tasks that wait for this one.
    pub critical_path_tokens: u32,
    /// Generation ends this long after the call was sent.
    pub deadline: Option<Duration>,
}

impl Call {
    /// How the call is sampled, as it is recorded. A grammar is long and follows from the inputs, so its digest stands
    /// for it.
    #[must_use]
    pub(crate) fn sampling(&self, tokens_max: u32) -> Value {
        let mut sampling = json!({
            "temperature": self.temperature, "seed": self.seed, "tokens_max": tokens_max, "schema": self.schema,
        });
        if let Some(grammar) = &self.grammar {
            let digest = Sha256::digest(grammar.as_bytes());
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            sampling["grammar_sha256"] = hex.into();
        }
        if !self.options.is_empty() {
            sampling["options"] = json!(self.options);
        }
        sampling
    }
}

/// What a call reports while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The prompt after the chat template. Always the first report.
    Prompt(&'a str),
    /// How many of the prompt's `total` tokens have been computed or found in the prefix cache. `cached` of them were
    /// found.
    Prefill { computed: u32, cached: u32, total: u32 },
    /// New text of the answer, about one token per report.
    Text(&'a str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model ended its answer, or its grammar was complete.
    Stop,
    /// `tokens_max` was reached, or the context is full.
    Length,
    Deadline,
}

/// Tokens and steps of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallUsage {
    pub prompt_tokens: u64,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    /// Engine steps that computed something for this call.
    pub steps: u64,
    /// Number of sequences in the batch, summed over those steps.
    pub batch_sum: u64,
}

impl CallUsage {
    /// What two calls used together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            steps: self.steps + other.steps,
            batch_sum: self.batch_sum + other.batch_sum,
        }
    }

    /// Tokens that were computed: those of the prompt that were not in the prefix cache, and those of the reply.
    #[must_use]
    pub fn computed_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_sub(self.cached_tokens) + self.completion_tokens
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub text: String,
    pub finish: Finish,
    pub usage: CallUsage,
}

/// Why a call gave no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub kind: CallErrorKind,
    /// What failed, where, and what to do about it.
    pub message: String,
}

/// Whether trying a failed call again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallErrorKind {
    /// A retry can help: the queue was full, or the engine failed.
    Transient,
    /// A retry cannot help, for example because the prompt does not fit the context.
    Resource,
}

pub trait Llm: Send + Sync {
    /// Name in reports, as in the catalog.
    fn name(&self) -> &str;
    /// Context length: most tokens of a prompt and its answer together.
    fn context_tokens(&self) -> usize;
    /// Tokens of a text, by the model's own tokenizer, without a chat template.
    fn count_tokens(&self, text: &str) -> usize;
    /// Tokens of a whole prompt after the chat template.
    fn prompt_tokens(&self, messages: &[Message]) -> usize;
    /// Generates an answer. Dropping the future cancels the call.
    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>>;
}

/// Where the vectors of an embedding model are kept on disk, so that a text is embedded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVectors {
    pub folder: PathBuf,
    /// Names the model and its weights, because vectors of another model are not used.
    pub model: String,
}

/// A sentence embedder: texts of similar meaning get vectors of similar direction.
pub trait Embed: Send + Sync {
    /// One vector of length 1 for each text, in order, all of the same dimension.
    fn embed<'a>(&'a self, texts: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Vec<f32>>, String>>;

    /// Where vectors of long texts are kept from run to run. `None` keeps none.
    fn kept(&self) -> Option<&KeptVectors> {
        None
    }
}

/// A kind of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Skill {
    /// Find a number in a text. The result can be checked against the text.
    Find,
    /// Find anything else in a text: names, dates, yes or no, a summary. Checks can confirm less of it than of a number.
    Read,
    Write,
    Calculate,
}

#[derive(Clone)]
pub struct Worker {
    /// The name in plans and reports.
    pub name: String,
    /// The kinds of task it is given.
    pub skills: Vec<Skill>,
    /// When to use it, in a few words for people.
    pub when: String,
    pub kind: WorkerKind,
}

#[derive(Clone)]
pub enum WorkerKind {
    Model(Arc<dyn Llm>),
    Calculator,
}

/// From this file size on, a model finds numbers well enough that the check catches the rest. Measured on 20 short
/// texts: a model of half a billion weights found 18 numbers, one of 135 million found 5.
const FINDER_FILE_BYTES_MIN: u64 = 256 << 20;
/// From this file size on, a model reads and writes as well as the smallest planner. A run must not be worse
/// than its planner alone.
const READER_FILE_BYTES_MIN: u64 = 900 << 20;

impl Worker {
    /// A model whose skills follow from the size of its file.
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

    /// A model that the user asked for by name. It is used for every kind of task.
    #[must_use]
    pub fn explicit(llm: Arc<dyn Llm>) -> Self {
        Self {
            name: llm.name().to_owned(),
            skills: vec![Skill::Find, Skill::Read, Skill::Write],
            when: "whatever the plan needs".to_owned(),
            kind: WorkerKind::Model(llm),
        }
    }

    /// The exact calculator, which every run has.
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
    /// Makes plans, words answers, and does what workers fail at.
    pub planner: Arc<dyn Llm>,
    /// If empty, the planner does the tasks itself.
    pub workers: Vec<Worker>,
    /// Helps to choose the strategy. Without it, countable facts alone decide.
    pub embed: Option<Arc<dyn Embed>>,
}

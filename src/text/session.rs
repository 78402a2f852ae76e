//! A loaded model as text sees it: messages in, text out. How weights are read and steps scheduled is not known here.

mod constraints;
mod fill;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod prompt;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bandmaster_engine::{
    EngineError, EngineHandle, Event, Failure, FinishReason, LoadResult, Logprobs, ModelId, Priority,
    Rejected, Request, RequestId, Sampling, Sink, Usage,
};
use bandmaster_models::gguf::{Gguf, GgufError};
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

pub use constraints::OutputConstraint;
pub use fill::FillIn;
pub use prompt::{Prompt, RenderOptions};

use constraints::ConstraintCache;

use super::decode::StreamDecoder;
use super::grammar::{ClientGrammar, GrammarError};
use super::tokenizer::SharedTokenizer;
use super::tool_calls::{OutputParser, ToolChoice, ToolFormat, reasoning_open};
use super::{Cancellation, ChatTemplate, TemplateError, Tokenizer, TokenizerError, Tokenizers, Tool};

/// Room in a generation's channel for events besides tokens, such as the last one.
const OTHER_EVENTS: usize = 2;
/// Room for prefill reports that are not read yet. When it is full, further ones are dropped.
const PREFILL_EVENTS: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// The engine could not load the model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("the request was cancelled")]
    Cancelled,
}

/// Makes a model of an open file, e.g. with the models crate's `load_gguf`. Runs on its own thread, and again whenever
/// the engine reloads a model whose weights it had evicted.
pub type WeightsLoader = Box<dyn Fn(Gguf) -> LoadResult + Send + Sync>;

/// A model in an engine with its tokenizer, chat template and grammars. Meant to be shared in an `Arc`.
pub struct LoadedModel {
    name: String,
    engine: EngineHandle,
    model: ModelId,
    context_tokens: usize,
    shared: Arc<SharedTokenizer>,
    /// Base models have none, which matters only for chat.
    template: Option<ChatTemplate>,
    /// `None` if the model was not trained to fill in the middle of a text.
    fill_marks: Option<fill::Marks>,
    /// The syntax in which the model writes tool calls.
    tool_format: ToolFormat,
    constraint_cache: Mutex<ConstraintCache>,
    /// Grammars that were compiled, as opposed to found in the cache.
    grammars_compiled: AtomicU64,
}

/// The form that the answer must have.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Output {
    #[default]
    Text,
    JsonObject,
    /// A JSON value that matches this schema.
    Schema(Value),
    /// Text that a grammar sent by the client accepts.
    ClientGrammar(ClientGrammar),
    /// Calls of these tools, as `choice` allows or demands.
    Calls {
        tools: Vec<Tool>,
        choice: ToolChoice,
        /// Whether one answer may contain several calls.
        parallel: bool,
        /// The schema of an answer without a call, if `choice` allows one. `None` is any text.
        otherwise: Option<Value>,
    },
}

/// Settings for one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationOptions {
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// The model may not end the answer before so many tokens.
    pub min_tokens: u32,
    /// Keep generating until `max_tokens`, ignoring the end-of-sequence token.
    pub ignore_eos: bool,
    /// Stop sequences: the answer ends in front of the first of them.
    pub stop: Vec<String>,
    /// Whether the answer includes the stop sequence that ended it.
    pub stop_in_text: bool,
    /// Tokens that end the answer, in addition to the model's own end-of-sequence tokens.
    pub stop_tokens: Vec<u32>,
    pub output: Output,
    /// Whether the answer goes through [`LoadedModel::parser`], which needs to see the names of some control tokens.
    pub parsed: bool,
    /// How many alternatives to report with each token's log-probability; `None` reports no log-probabilities.
    pub top_logprobs: Option<u32>,
    /// Log-probabilities are also reported for the prompt's tokens from this one on, which is 1 or more.
    pub score_prompt_from: Option<u32>,
    /// The prefix cache is shared only between requests with the same salt. The salt of requests without one is 0.
    pub cache_salt: u64,
    pub priority: Priority,
    /// Time from the request to the forced end of the answer.
    pub deadline: Option<Duration>,
}

impl GenerationOptions {
    /// Greedy sampling of at most `max_tokens` tokens, with nothing else asked for.
    #[must_use]
    pub fn new(max_tokens: u32) -> Self {
        Self {
            sampling: Sampling::greedy(),
            max_tokens,
            min_tokens: 0,
            ignore_eos: false,
            stop: Vec::new(),
            stop_in_text: false,
            stop_tokens: Vec::new(),
            output: Output::Text,
            parsed: false,
            top_logprobs: None,
            score_prompt_from: None,
            cache_salt: 0,
            priority: Priority::default(),
            deadline: None,
        }
    }
}

/// A token with its log-probability and the most likely alternatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub id: u32,
    /// `None` for the first token of a prompt, which has nothing before it.
    pub logprob: Option<f32>,
    /// `(token, log-probability)`, most likely first.
    pub top: Vec<(u32, f32)>,
}

impl LoadedModel {
    /// Loads the model in the file at `path` into `engine`, reading it with `weights`. Blocks until it is loaded. Models
    /// that are loaded with the same `tokenizers` share the tokenizer if their vocabularies are the same.
    ///
    /// # Errors
    /// [`SessionError`] when the file, its vocabulary, its template or its weights can't be used.
    pub fn load(
        engine: &EngineHandle,
        tokenizers: &Tokenizers,
        name: &str,
        path: &Path,
        weights: WeightsLoader,
    ) -> Result<Arc<Self>, SessionError> {
        Self::load_gguf(engine, tokenizers, name, Gguf::open(path)?, weights)
    }

    /// Loads the model in an open file, as [`LoadedModel::load`].
    ///
    /// # Errors
    /// As [`LoadedModel::load`].
    pub fn load_gguf(
        engine: &EngineHandle,
        tokenizers: &Tokenizers,
        name: &str,
        gguf: Gguf,
        weights: WeightsLoader,
    ) -> Result<Arc<Self>, SessionError> {
        let shared = tokenizers.get(&gguf)?;
        let tokenizer = &shared.tokenizer;
        let template = match ChatTemplate::from_gguf(&gguf, tokenizer) {
            Ok(template) => Some(template),
            Err(TemplateError::Missing) => None,
            Err(error) => return Err(error.into()),
        };
        let fill_marks = fill::Marks::find(&gguf, tokenizer)?;
        let weight_bytes = usize::try_from(gguf.file_bytes()).unwrap_or(usize::MAX);
        let path = gguf.path().to_owned();
        let first = Mutex::new(Some(gguf));
        let loader = move || {
            let open = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let gguf = open.map_or_else(|| Gguf::open(&path), Ok)?;
            weights(gguf)
        };
        let model = engine.load(name, weight_bytes, Arc::new(loader))?;
        let limits = engine.limits(model);
        Ok(Arc::new(Self {
            name: name.to_owned(),
            engine: engine.clone(),
            model,
            context_tokens: limits.map_or(0, |limits| limits.context_tokens.min(limits.pool_tokens)),
            tool_format: ToolFormat::new(template.as_ref()),
            shared,
            template,
            fill_marks,
            constraint_cache: Mutex::default(),
            grammars_compiled: AtomicU64::new(0),
        }))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> ModelId {
        self.model
    }

    /// Tokens that a prompt and its answer may have together.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// The most bytes of a prompt that can fit into the context, whatever its tokens.
    pub fn prompt_bytes_max(&self) -> usize {
        self.context_tokens.saturating_mul(self.shared.tokenizer.token_bytes_max())
    }

    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.shared.tokenizer
    }

    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Rows of the output matrix: every token id is below this.
    pub fn vocab(&self) -> usize {
        self.engine.limits(self.model).map_or(0, |limits| limits.vocab)
    }

    /// The number of tokens of a text without a chat template.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.shared.tokenizer.encode(text, false).len()
    }

    /// Starts an answer. It arrives through the returned [`Generation`]; dropping that cancels the request.
    ///
    /// # Errors
    /// [`SessionError`] when the output can't be enforced, or the engine refuses. A prompt longer than the context is
    /// refused, never cut.
    pub fn generate(&self, prompt: Prompt, options: GenerationOptions) -> Result<Generation, SessionError> {
        let constraint = self.constraint_for(&options.output, &Cancellation::default())?;
        self.generate_constrained(prompt, options, &constraint)
    }

    /// The same with a constraint made in advance, which can serve several answers.
    ///
    /// # Errors
    /// [`SessionError`] when the engine refuses.
    pub fn generate_constrained(
        &self,
        prompt: Prompt,
        options: GenerationOptions,
        constraint: &OutputConstraint,
    ) -> Result<Generation, SessionError> {
        let tokens_max = (options.max_tokens as usize).min(self.context_tokens);
        let scored =
            options.score_prompt_from.map_or(0, |from| prompt.ids.len().saturating_sub(from as usize));
        let reserved = tokens_max + scored + OTHER_EVENTS;
        let (sender, events) = mpsc::channel(reserved + PREFILL_EVENTS);
        let mut decoder = StreamDecoder::new(Arc::clone(&self.shared.tokenizer), &options.stop)
            .with_stop_in_text(options.stop_in_text);
        if options.parsed {
            decoder = decoder.with_visible(self.tool_format.visible_tokens(&self.shared.tokenizer));
        }
        let id = self.engine.submit(Request {
            model: self.model,
            constraint: self.request_constraint(&options, &prompt, constraint)?,
            prompt: prompt.ids.clone(),
            sampling: options.sampling,
            tokens_max: options.max_tokens,
            stop_tokens: self.stop_tokens(options.ignore_eos, &options.stop_tokens),
            priority: options.priority,
            deadline: options.deadline,
            top_logprobs: options.top_logprobs,
            score_prompt_from: options.score_prompt_from,
            cache_salt: options.cache_salt,
            sink: sink(sender, reserved),
        })?;
        Ok(Generation {
            engine: self.engine.clone(),
            id,
            events,
            decoder,
            text: String::new(),
            prompt: Some(prompt),
            scores: Vec::new(),
            prompt_scores: Vec::new(),
            done: None,
        })
    }

    /// Computes how likely the model is to continue a prompt with a text. Nothing is generated: the log-probabilities of
    /// the text's tokens arrive as [`Generation::take_prompt_scores`]. The prompt itself is shared by all texts that
    /// follow it.
    ///
    /// # Errors
    /// [`SessionError`] when the engine refuses.
    pub fn score(
        &self,
        prompt: &Prompt,
        text: &str,
        options: GenerationOptions,
    ) -> Result<Generation, SessionError> {
        let from = u32::try_from(prompt.ids.len().max(1)).unwrap_or(u32::MAX);
        let mut whole = prompt.clone();
        whole.ids.extend(self.shared.tokenizer.encode(text, false));
        let options = GenerationOptions {
            score_prompt_from: Some(from),
            max_tokens: 0,
            output: Output::Text,
            sampling: Sampling::greedy(),
            ..options
        };
        self.generate_constrained(whole, options, &OutputConstraint::none())
    }

    fn stop_tokens(&self, ignore_eos: bool, others: &[u32]) -> Vec<u32> {
        let own = if ignore_eos { &[] } else { self.shared.tokenizer.end_of_generation() };
        [own, others].concat()
    }

    /// A parser for an answer to `prompt`. It splits the stream into content, reasoning, and calls of `tools`.
    #[must_use]
    pub fn parser(&self, prompt: &Prompt, tools: &[Tool]) -> OutputParser {
        OutputParser::new(&self.tool_format, tools, reasoning_open(&prompt.text))
    }

    /// Prepares for grammars in the background. The first grammar of a vocabulary would wait for this some tenths of a
    /// second, and twice as long while a model computes.
    pub fn prepare_grammars(&self) {
        let shared = Arc::clone(&self.shared);
        // Should it fail, whoever needs a grammar prepares it, and is told why that fails.
        let _ = thread::Builder::new().name("grammars".into()).spawn(move || drop(shared.grammars()));
    }
}

/// Passes events on without ever blocking. The channel has room for `reserved` events, which covers every token;
/// prefill reports may not use that room.
fn sink(sender: Sender<Event>, reserved: usize) -> Sink {
    Box::new(move |event| {
        if matches!(event, Event::Prefill { .. }) && sender.capacity() <= reserved {
            return !sender.is_closed();
        }
        match sender.try_send(event) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => false,
        }
    })
}

fn score(id: u32, logprobs: Logprobs) -> Score {
    Score { id, logprob: Some(logprobs.logprob), top: logprobs.top }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Prefill {
        /// Prompt tokens computed or found in the prefix cache so far.
        computed: u32,
        /// Of these, the tokens that were found in the cache.
        cached: u32,
        /// Tokens of the prompt.
        total: u32,
    },
    /// Text that follows what came before.
    Text(String),
    /// The last piece of an answer that ended normally.
    Done(Completion),
    /// The last piece of an answer that failed.
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// All text. Without the stop sequence, unless [`GenerationOptions::stop_in_text`] asked for it.
    pub text: String,
    pub finish: FinishReason,
    pub usage: Usage,
}

/// An answer that is being generated. Dropping it cancels the request within a step.
pub struct Generation {
    engine: EngineHandle,
    id: RequestId,
    events: Receiver<Event>,
    decoder: StreamDecoder,
    text: String,
    /// `None` once the answer has ended.
    prompt: Option<Prompt>,
    /// Log-probabilities of the tokens since they were last taken.
    scores: Vec<Score>,
    /// Log-probabilities of the prompt's tokens, except the first.
    prompt_scores: Vec<Score>,
    /// The last piece, if text that had been held back had to go before it.
    done: Option<Piece>,
}

impl Generation {
    /// The prompt as the model reads it; empty once the answer has ended.
    #[must_use]
    pub fn rendered_prompt(&self) -> &str {
        self.prompt.as_ref().map(|prompt| prompt.text.as_str()).unwrap_or_default()
    }

    /// The prompt's tokens; empty once the answer has ended.
    #[must_use]
    pub fn prompt_ids(&self) -> &[u32] {
        self.prompt.as_ref().map(|prompt| prompt.ids.as_slice()).unwrap_or_default()
    }

    /// The scores of the tokens that arrived since they were last taken. A token's text may arrive later than its score
    /// if it could be the beginning of a stop sequence.
    pub fn take_scores(&mut self) -> Vec<Score> {
        std::mem::take(&mut self.scores)
    }

    /// The scores of the prompt's tokens except the first, once they are computed.
    pub fn take_prompt_scores(&mut self) -> Vec<Score> {
        std::mem::take(&mut self.prompt_scores)
    }

    /// The next piece; `None` after [`Piece::Done`] or [`Piece::Failed`].
    pub async fn next(&mut self) -> Option<Piece> {
        if let Some(done) = self.done.take() {
            return Some(done);
        }
        self.prompt.as_ref()?;
        loop {
            let Some(event) = self.events.recv().await else {
                self.prompt = None;
                return Some(Piece::Failed(Failure::Stopped));
            };
            if let Some(piece) = self.handle(event) {
                return Some(piece);
            }
        }
    }

    fn handle(&mut self, event: Event) -> Option<Piece> {
        match event {
            Event::Prefill { computed, total, cached } => Some(Piece::Prefill { computed, cached, total }),
            Event::Token { id, logprobs } => {
                self.scores.extend(logprobs.map(|logprobs| score(id, logprobs)));
                let stopped_before = self.decoder.stopped();
                let text = self.decoder.push(id);
                if self.decoder.stopped() && !stopped_before {
                    self.engine.cancel(self.id);
                }
                self.emit(text)
            }
            Event::Finished { reason, usage } => {
                let rest = self.decoder.finish();
                let rest = self.emit(rest);
                // This session cancelled the request itself, because of a stop sequence.
                let finish = if self.decoder.stopped() { FinishReason::Stop } else { reason };
                self.prompt = None;
                let done = Piece::Done(Completion { text: std::mem::take(&mut self.text), finish, usage });
                if rest.is_some() {
                    self.done = Some(done);
                    return rest;
                }
                Some(done)
            }
            Event::Failed(failure) => {
                self.prompt = None;
                Some(Piece::Failed(failure))
            }
            Event::PromptScore { index, logprobs } => {
                let id = self.prompt.as_ref().and_then(|prompt| prompt.ids.get(index as usize).copied());
                self.prompt_scores.extend(id.map(|id| score(id, logprobs)));
                None
            }
        }
    }

    fn emit(&mut self, text: String) -> Option<Piece> {
        self.text.push_str(&text);
        (!text.is_empty()).then_some(Piece::Text(text))
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.prompt.is_some() {
            self.engine.cancel(self.id);
        }
    }
}

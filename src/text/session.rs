//! A loaded model as text sees it: messages in, text out. How weights are read and steps are scheduled is not known here.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bandmaster_models::Model;
use bandmaster_models::gguf::{Gguf, GgufError};
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::grammar::{GrammarError, GrammarFactory};
use super::{ChatTemplate, Message, StreamDecoder, TemplateError, Tokenizer, TokenizerError};
use crate::engine::{
    EngineError, EngineHandle, Event, FinishReason, ModelId, Priority, Rejected, Request, RequestId,
    Sampling, Sink, Usage,
};

/// Events besides the tokens of a generation that its channel always has room for: the last one.
const OTHER_EVENTS: usize = 2;
/// Prefill reports that may wait to be read; further ones are left out.
const PREFILL_EVENTS: usize = 16;

/// Characters that no standard gives a meaning.
const PRIVATE_CHARACTERS: std::ops::RangeInclusive<char> = '\u{F0000}'..='\u{FFFFD}';

/// What can go wrong between messages and text.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Its vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Its chat template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The schema that was asked for.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// The engine could not load it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine does not take the request.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The forward pass broke, or the engine ended.
    #[error("generation failed: {0}")]
    Failed(String),
}

/// Makes a model of an open file, e.g. with the models crate's `load_gguf`; runs on a thread of its own, and again when
/// the engine wants a model back that it had to send away.
pub type WeightsLoader = Box<dyn Fn(Gguf) -> Result<Box<dyn Model>, String> + Send + Sync>;

/// A model in an engine with its tokenizer, chat template and grammars. Share it.
pub struct LoadedModel {
    name: String,
    engine: EngineHandle,
    model: ModelId,
    context_tokens: usize,
    tokenizer: Arc<Tokenizer>,
    /// Base models have none; that matters only to who wants to chat.
    template: Option<ChatTemplate>,
    /// Made when the first schema comes.
    grammars: OnceLock<Result<GrammarFactory, GrammarError>>,
}

/// What a model is asked.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// The answer is one JSON value that fits this schema.
    pub schema: Option<Value>,
    /// Order among the waiting.
    pub priority: Priority,
    /// The answer ends this long after it was asked for.
    pub deadline: Option<Duration>,
}

impl LoadedModel {
    /// Loads the model in the file at `path` into `engine`; `weights` reads what is not text. Blocks while it does.
    ///
    /// # Errors
    /// [`SessionError`] when the file, its vocabulary, its template or its weights can't be used.
    pub fn load(
        engine: &EngineHandle,
        name: &str,
        path: &Path,
        weights: WeightsLoader,
    ) -> Result<Arc<Self>, SessionError> {
        Self::load_gguf(engine, name, Gguf::open(path)?, weights)
    }

    /// Loads the model in an open file, as [`LoadedModel::load`].
    ///
    /// # Errors
    /// As [`LoadedModel::load`].
    pub fn load_gguf(
        engine: &EngineHandle,
        name: &str,
        gguf: Gguf,
        weights: WeightsLoader,
    ) -> Result<Arc<Self>, SessionError> {
        let tokenizer = Arc::new(Tokenizer::from_gguf(&gguf)?);
        let template = match ChatTemplate::from_gguf(&gguf, &tokenizer) {
            Ok(template) => Some(template),
            Err(TemplateError::Missing) => None,
            Err(error) => return Err(error.into()),
        };
        let weight_bytes = usize::try_from(gguf.file_bytes()).unwrap_or(usize::MAX);
        let path = gguf.path().to_owned();
        let first = Mutex::new(Some(gguf));
        let loader = move || {
            let open = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let gguf = open.map_or_else(|| Gguf::open(&path), Ok).map_err(|error| error.to_string())?;
            weights(gguf)
        };
        let model = engine.load(name, weight_bytes, Arc::new(loader))?;
        let limits = engine.limits(model);
        Ok(Arc::new(Self {
            name: name.to_owned(),
            engine: engine.clone(),
            model,
            context_tokens: limits.map_or(0, |limits| limits.context_tokens.min(limits.pool_tokens)),
            tokenizer,
            template,
            grammars: OnceLock::new(),
        }))
    }

    /// As given when it was loaded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine's number for it.
    pub fn id(&self) -> ModelId {
        self.model
    }

    /// Tokens that a prompt and its answer may have together.
    pub fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The prompt for `messages`, up to where the answer begins.
    ///
    /// # Errors
    /// [`SessionError::Template`] when the model has no chat template or it refuses the messages.
    pub fn render(&self, messages: &[Message]) -> Result<String, SessionError> {
        let template = self.template.as_ref().ok_or(TemplateError::Missing)?;
        Ok(template.render(messages, &[], true)?)
    }

    /// Rows of the output matrix: token ids are below this.
    pub fn vocab(&self) -> usize {
        self.engine.limits(self.model).map_or(0, |limits| limits.vocab)
    }

    /// The prompt for `messages` as the model reads it.
    ///
    /// # Errors
    /// As [`LoadedModel::render`].
    pub fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, SessionError> {
        Ok(self.prompt(messages)?.1)
    }

    /// Tokens of a text, without any template.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.tokenizer.encode(text, false).len()
    }

    /// Tokens of the prompt for `messages`.
    ///
    /// # Errors
    /// As [`LoadedModel::render`].
    pub fn prompt_tokens(&self, messages: &[Message]) -> Result<usize, SessionError> {
        Ok(self.prompt(messages)?.1.len())
    }

    /// The prompt for `messages` and its ids. What a message says is text: it can't open or close a turn.
    fn prompt(&self, messages: &[Message]) -> Result<(String, Vec<u32>), SessionError> {
        let is_free = |mark: &char| !messages.iter().any(|message| message.content.contains(*mark));
        let mark = PRIVATE_CHARACTERS.into_iter().find(is_free).expect("no prompt holds all 65,534 of them");
        let guarded: Vec<Message> = messages
            .iter()
            .map(|message| Message::new(message.role, self.tokenizer.guard(&message.content, mark)))
            .collect();
        let rendered = self.render(&guarded)?;
        let ids = self.tokenizer.encode_guarded(&rendered, mark);
        Ok((rendered.replace(mark, ""), ids))
    }

    /// Asks. The answer comes through what is returned; dropping that ends the work.
    ///
    /// # Errors
    /// [`SessionError`] when the messages can't be rendered, the schema can't be enforced, or the engine refuses: a prompt
    /// longer than the context is never cut.
    pub fn generate(&self, request: ChatRequest) -> Result<Generation, SessionError> {
        let (prompt, ids) = self.prompt(&request.messages)?;
        let schema = request.schema.as_ref();
        let constraint = schema.map(|schema| self.grammars()?.json_schema(schema)).transpose()?;
        let tokens_max = (request.max_tokens as usize).min(self.context_tokens);
        let (sender, events) = mpsc::channel(tokens_max + OTHER_EVENTS + PREFILL_EVENTS);
        let id = self.engine.submit(Request {
            model: self.model,
            prompt: ids,
            sampling: request.sampling,
            tokens_max: request.max_tokens,
            stop_tokens: self.tokenizer.end_of_generation().to_vec(),
            constraint,
            priority: request.priority,
            deadline: request.deadline,
            top_logprobs: None,
            score_prompt_from: None,
            cache_salt: 0,
            sink: sink(sender, tokens_max + OTHER_EVENTS),
        })?;
        Ok(Generation {
            engine: self.engine.clone(),
            id,
            events,
            decoder: StreamDecoder::new(Arc::clone(&self.tokenizer), &request.stop),
            text: String::new(),
            prompt: Some(prompt),
            done: None,
        })
    }

    /// Makes now what the first schema would have to wait for: some tenths of a second for a large vocabulary.
    ///
    /// # Errors
    /// [`SessionError::Grammar`] when the vocabulary can't be held to a schema.
    pub fn prepare_grammars(&self) -> Result<(), SessionError> {
        self.grammars()?;
        Ok(())
    }

    fn grammars(&self) -> Result<&GrammarFactory, GrammarError> {
        let made = self.grammars.get_or_init(|| GrammarFactory::new(Arc::clone(&self.tokenizer)));
        made.as_ref().map_err(Clone::clone)
    }
}

/// Passes events on without ever waiting: the channel has room for every token and `reserved` places are kept for them.
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

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Part of the prompt is computed.
    Prefill {
        /// Prompt tokens computed or found in the cache so far.
        computed: u32,
        /// Prompt tokens in all.
        total: u32,
    },
    /// Text that follows what came before.
    Text(String),
    /// The last piece of an answer that ended in order.
    Done(Completion),
    /// The last piece of an answer that broke.
    Failed(String),
}

/// A finished answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// All text, without the stop string.
    pub text: String,
    /// Why it ended.
    pub finish: FinishReason,
    /// What it cost.
    pub usage: Usage,
    /// The prompt as the model read it.
    pub rendered_prompt: String,
}

/// An answer on its way. Dropping it ends the work within a step.
pub struct Generation {
    engine: EngineHandle,
    id: RequestId,
    events: Receiver<Event>,
    decoder: StreamDecoder,
    text: String,
    /// Taken by the completion.
    prompt: Option<String>,
    /// The end, when text had to go before it.
    done: Option<Piece>,
}

impl Generation {
    /// The prompt as the model reads it; empty once the answer has ended.
    #[must_use]
    pub fn rendered_prompt(&self) -> &str {
        self.prompt.as_deref().unwrap_or_default()
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
                return Some(Piece::Failed("the engine has stopped".into()));
            };
            if let Some(piece) = self.take(event) {
                return Some(piece);
            }
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`SessionError::Failed`] when it broke.
    pub async fn completion(mut self) -> Result<Completion, SessionError> {
        while let Some(piece) = self.next().await {
            match piece {
                Piece::Done(completion) => return Ok(completion),
                Piece::Failed(reason) => return Err(SessionError::Failed(reason)),
                Piece::Prefill { .. } | Piece::Text(_) => {}
            }
        }
        Err(SessionError::Failed("it had ended before".into()))
    }

    fn take(&mut self, event: Event) -> Option<Piece> {
        match event {
            Event::Prefill { computed, total, .. } => Some(Piece::Prefill { computed, total }),
            Event::Token { id, .. } => {
                let stopped_before = self.decoder.stopped();
                let text = self.decoder.push(id);
                if self.decoder.stopped() && !stopped_before {
                    self.engine.cancel(self.id);
                }
                self.say(text)
            }
            Event::Finished { reason, usage } => {
                let rest = self.decoder.finish();
                let rest = self.say(rest);
                // Ended from here: a stop string was met.
                let finish = if self.decoder.stopped() { FinishReason::Stop } else { reason };
                let done = Piece::Done(Completion {
                    text: std::mem::take(&mut self.text),
                    finish,
                    usage,
                    rendered_prompt: self.prompt.take().unwrap_or_default(),
                });
                if rest.is_some() {
                    self.done = Some(done);
                    return rest;
                }
                Some(done)
            }
            Event::Failed(reason) => {
                self.prompt = None;
                Some(Piece::Failed(reason))
            }
            Event::PromptScore { .. } => None,
        }
    }

    fn say(&mut self, text: String) -> Option<Piece> {
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

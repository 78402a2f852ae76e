//! A loaded model as the orchestrator's [`Llm`], a loaded embedder as its [`Embed`]: the only place where tasks meet
//! sessions.

use std::sync::Arc;

use super::band::{
    BoxFuture, Call, CallError, CallErrorKind, CallUsage, Embed, Finish, Llm, Message, Progress, Reply, Role,
};
use crate::text::{
    self, ChatRequest, Class, Completion, FinishReason, LoadedModel, Piece, Priority, Rejected, Sampling,
    SessionError, TextEmbedder,
};

/// A model in the engine.
pub struct ModelLlm {
    model: Arc<LoadedModel>,
}

impl ModelLlm {
    /// Wraps a loaded model; share the result.
    #[must_use]
    pub fn new(model: Arc<LoadedModel>) -> Self {
        Self { model }
    }
}

impl Llm for ModelLlm {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn context_tokens(&self) -> usize {
        self.model.context_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.model.count_tokens(text)
    }

    fn prompt_tokens(&self, messages: &[Message]) -> usize {
        // A template that refuses these messages refuses them again, with its reason, when they are sent.
        self.model.prompt_tokens(&turns(messages)).unwrap_or_else(|_| {
            messages.iter().map(|message| self.model.count_tokens(&message.content)).sum()
        })
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(async move {
            let mut generation = self.model.generate(request(call)).map_err(|error| refused(&error))?;
            while let Some(piece) = generation.next().await {
                match piece {
                    Piece::Prefill { computed, total } => progress(Progress::Prefill { computed, total }),
                    Piece::Text(text) => progress(Progress::Text(&text)),
                    Piece::Done(completion) => return reply(completion),
                    Piece::Failed(message) => return Err(transient(message)),
                }
            }
            Err(transient("the engine ended the answer without saying why".to_owned()))
        })
    }
}

fn turns(messages: &[Message]) -> Vec<text::Message> {
    let role = |role: Role| match role {
        Role::System => text::Role::System,
        Role::User => text::Role::User,
        Role::Assistant => text::Role::Assistant,
    };
    messages.iter().map(|message| text::Message::new(role(message.role), message.content.clone())).collect()
}

fn request(call: &Call) -> ChatRequest {
    ChatRequest {
        messages: turns(&call.messages),
        sampling: Sampling { temperature: call.temperature, seed: call.seed, ..Sampling::greedy() },
        max_tokens: call.tokens_max,
        stop: Vec::new(),
        schema: call.schema.clone(),
        priority: Priority { class: Class::Run, critical_path_tokens: call.critical_path_tokens },
        deadline: call.deadline,
    }
}

fn reply(completion: Completion) -> Result<Reply, CallError> {
    let finish = match completion.finish {
        FinishReason::Stop => Finish::Stop,
        FinishReason::Length => Finish::Length,
        FinishReason::Deadline => Finish::Deadline,
        FinishReason::Cancelled => return Err(transient("the answer was cancelled".to_owned())),
    };
    let usage = completion.usage;
    Ok(Reply {
        text: completion.text,
        finish,
        usage: CallUsage {
            prompt_tokens: usage.prompt_tokens.into(),
            cached_tokens: usage.cached_tokens.into(),
            completion_tokens: usage.completion_tokens.into(),
            steps: usage.steps.into(),
            batch_sum: usage.batch_sum,
        },
        rendered_prompt: completion.rendered_prompt,
    })
}

fn transient(message: String) -> CallError {
    CallError { kind: CallErrorKind::Transient, message }
}

/// What the session would not take: only a full queue may have room later.
fn refused(error: &SessionError) -> CallError {
    let kind = match error {
        SessionError::Rejected(Rejected::QueueFull { .. }) | SessionError::Failed(_) => {
            CallErrorKind::Transient
        }
        _ => CallErrorKind::Resource,
    };
    CallError { kind, message: error.to_string() }
}

/// An embedding model in the engine.
pub struct ModelEmbed {
    embedder: TextEmbedder,
}

impl ModelEmbed {
    /// Wraps a loaded embedder; share the result.
    #[must_use]
    pub fn new(embedder: TextEmbedder) -> Self {
        Self { embedder }
    }
}

impl Embed for ModelEmbed {
    fn embed<'a>(&'a self, texts: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Vec<f32>>, String>> {
        Box::pin(async move { self.embedder.embed(texts).await.map_err(|error| error.to_string()) })
    }
}

//! A model on an OpenAI-compatible server as a player of a band, so that a peer is asked what the band's own models are.

use std::sync::OnceLock;

use super::client::{Answered, Ask, Client, ClientError, Endpoint, Prompt};
use crate::orchestrator::{
    BoxFuture, Call, CallError, CallErrorKind, CallUsage, Finish, Llm, Message, Progress, Reply,
};

/// Bytes of a token, on average, of English and code. A server's tokenizer is not known here.
const TOKEN_BYTES: usize = 3;
/// Tokens a chat template puts around a message, about.
const MESSAGE_TOKENS: usize = 4;

/// A server's model. Its token counts before a call are estimates, those after it the server's own.
pub struct Remote {
    client: Client,
    endpoint: Endpoint,
    context_tokens: usize,
    /// Set for good when nobody answered at the address.
    unreachable: OnceLock<String>,
}

impl Remote {
    /// A model that reads and writes at most `context_tokens`: servers don't say, so whoever asks must know.
    #[must_use]
    pub fn new(client: Client, endpoint: Endpoint, context_tokens: usize) -> Self {
        Self { client, endpoint, context_tokens, unreachable: OnceLock::new() }
    }

    /// Why the server could not be reached, if it once could not.
    #[must_use]
    pub fn unreachable(&self) -> Option<&str> {
        self.unreachable.get().map(String::as_str)
    }

    fn call_error(&self, error: &ClientError) -> CallError {
        let message = error.to_string();
        if matches!(error, ClientError::Unreachable { .. }) {
            let _ = self.unreachable.set(message.clone());
        }
        let kind = match error {
            ClientError::Status { status: 408 | 429 | 500.., .. }
            | ClientError::Unreachable { .. }
            | ClientError::Stalled { .. }
            | ClientError::Closed { .. }
            | ClientError::Failed { .. } => CallErrorKind::Transient,
            _ => CallErrorKind::Resource,
        };
        CallError { kind, message }
    }

    fn reply(&self, call: &Call, answered: Answered) -> Reply {
        let completion_tokens = u64::from(answered.output_tokens());
        let (prompt_tokens, cached_tokens) = match answered.usage {
            Some(counts) => (u64::from(counts.prompt_tokens), u64::from(counts.cached_tokens)),
            None => (self.prompt_tokens(&call.messages) as u64, 0),
        };
        let finish = if answered.finish.as_deref() == Some("length") { Finish::Length } else { Finish::Stop };
        let usage = CallUsage { prompt_tokens, cached_tokens, completion_tokens, ..CallUsage::default() };
        Reply { text: answered.text, finish, usage }
    }
}

impl Llm for Remote {
    fn name(&self) -> &str {
        &self.endpoint.model
    }

    fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len().div_ceil(TOKEN_BYTES)
    }

    fn prompt_tokens(&self, messages: &[Message]) -> usize {
        messages.iter().map(|message| self.count_tokens(&message.content) + MESSAGE_TOKENS).sum()
    }

    fn generate<'a>(
        &'a self,
        call: &'a Call,
        progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        Box::pin(async move {
            let ask = Ask {
                prompt: Prompt::Chat(call.messages.clone()),
                max_tokens: call.tokens_max,
                temperature: call.temperature,
                seed: Some(call.seed),
                ignore_eos: false,
                schema: call.schema.clone(),
            };
            let prompt: Vec<&str> = call.messages.iter().map(|message| message.content.as_str()).collect();
            progress(Progress::Prompt(&prompt.join("\n\n")));
            let mut on_piece = |piece: &str| progress(Progress::Text(piece));
            let answered = self.client.ask(&self.endpoint, &ask, &mut on_piece).await;
            answered.map(|answered| self.reply(call, answered)).map_err(|error| self.call_error(&error))
        })
    }
}

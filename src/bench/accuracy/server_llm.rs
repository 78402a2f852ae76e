//! A model on an OpenAI-compatible server as a member of a band, so that another server is asked the same as the band's
//! own models.

use std::sync::atomic::{AtomicBool, Ordering};

use bandmaster_client::{Client, ClientError, Completion, CompletionRequest, Endpoint, Prompt};
use bandmaster_orchestrator::{
    BoxFuture, Call, CallError, CallErrorKind, CallUsage, Finish, Llm, Message, Progress, Reply,
};
use serde_json::Map;

/// Average bytes per token of English and code. The server's tokenizer is unknown.
const TOKEN_BYTES: usize = 3;
/// Approximate tokens that a chat template adds per message.
const MESSAGE_TOKENS: usize = 4;

/// A server's model. Its token counts before a call are estimates; those after a call are the server's.
pub struct ServerLlm {
    client: Client,
    endpoint: Endpoint,
    context_tokens: usize,
    /// Whether the last call that ended could not reach the server.
    unreachable: AtomicBool,
}

impl ServerLlm {
    /// A model with a context of `context_tokens`. Servers don't report it, so the caller must know.
    #[must_use]
    pub fn new(client: Client, endpoint: Endpoint, context_tokens: usize) -> Self {
        Self { client, endpoint, context_tokens, unreachable: AtomicBool::new(false) }
    }

    /// Whether the last call that ended could not reach the server.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    fn call_error(&self, error: &ClientError) -> CallError {
        self.unreachable.store(matches!(error, ClientError::Unreachable { .. }), Ordering::Relaxed);
        let kind = match error {
            ClientError::Status { status: 408 | 429 | 500.., .. }
            | ClientError::Unreachable { .. }
            | ClientError::Stalled { .. }
            | ClientError::Closed { .. }
            | ClientError::Failed { .. } => CallErrorKind::Transient,
            _ => CallErrorKind::Resource,
        };
        CallError { kind, message: error.to_string() }
    }

    fn reply(&self, call: &Call, completion: Completion) -> Reply {
        self.unreachable.store(false, Ordering::Relaxed);
        let completion_tokens = u64::from(completion.completion_tokens());
        let (prompt_tokens, cached_tokens) = match completion.usage {
            Some(usage) => (u64::from(usage.prompt_tokens), u64::from(usage.cached_tokens)),
            None => (self.prompt_tokens(&call.messages) as u64, 0),
        };
        let finish =
            if completion.finish.as_deref() == Some("length") { Finish::Length } else { Finish::Stop };
        let usage = CallUsage { prompt_tokens, cached_tokens, completion_tokens, ..CallUsage::default() };
        Reply { text: completion.text, finish, usage }
    }
}

impl Llm for ServerLlm {
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
            if !call.options.is_empty() {
                let message = "a server is not asked how likely a reply is".to_owned();
                return Err(CallError { kind: CallErrorKind::Resource, message });
            }
            let request = CompletionRequest {
                prompt: Prompt::chat(&call.messages),
                max_tokens: call.tokens_max,
                temperature: call.temperature,
                seed: Some(call.seed),
                ignore_eos: false,
                schema: call.schema.clone(),
                extra: Map::new(),
            };
            let prompt: Vec<&str> = call.messages.iter().map(|message| message.content.as_str()).collect();
            progress(Progress::Prompt(&prompt.join("\n\n")));
            let mut on_piece = |piece: &str| progress(Progress::Text(piece));
            let completion = self.client.complete(&self.endpoint, &request, &mut on_piece).await;
            completion.map(|completion| self.reply(call, completion)).map_err(|error| self.call_error(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use bandmaster_client::{FakeServer, Script};
    use bandmaster_orchestrator::Role;

    fn model(url: &str) -> ServerLlm {
        let client = Client::new(Duration::from_secs(1)).unwrap();
        ServerLlm::new(client, Endpoint::new(url, "fake", None, true).unwrap(), 4096)
    }

    fn generate(url: &str, tokens_max: u32) -> (ServerLlm, Result<Reply, CallError>, String) {
        let model = model(url);
        let (reply, streamed) = generate_with(&model, tokens_max);
        (model, reply, streamed)
    }

    fn generate_with(model: &ServerLlm, tokens_max: u32) -> (Result<Reply, CallError>, String) {
        let call = Call {
            messages: vec![Message::new(Role::User, "nine bytes".to_owned())],
            schema: None,
            grammar: None,
            options: Vec::new(),
            tokens_max,
            tokens_min: 0,
            temperature: 0.0,
            seed: 5,
            run: 1,
            critical_path_tokens: 0,
            deadline: None,
        };
        let mut streamed = String::new();
        let mut listen = |progress: Progress<'_>| {
            if let Progress::Text(text) = progress {
                streamed.push_str(text);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply = runtime.block_on(model.generate(&call, &mut listen));
        (reply, streamed)
    }

    #[test]
    fn a_server_answers_like_a_local_model() {
        let server = FakeServer::start(Script::Good { ms: 0 });
        let (model, reply, streamed) = generate(&server.url, 3);
        let reply = reply.unwrap();
        assert_eq!((reply.text.as_str(), reply.finish), (" w0 w1 w2", Finish::Length));
        assert_eq!(streamed, reply.text);
        let usage = reply.usage;
        assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens), (7, 2, 3));
        let bodies = server.bodies.lock().unwrap();
        assert_eq!((&bodies[0]["seed"], &bodies[0]["max_tokens"]), (&5.into(), &3.into()));
        assert_eq!(bodies[0]["messages"][0]["content"], "nine bytes");
        assert_eq!(model.count_tokens("nine bytes"), 4);
    }

    #[test]
    fn errors_say_whether_to_try_again() {
        for (script, kind) in [
            (Script::Status(503, "{}"), CallErrorKind::Transient),
            (Script::Status(429, "{}"), CallErrorKind::Transient),
            (Script::Status(400, "{}"), CallErrorKind::Resource),
            (Script::Closes, CallErrorKind::Transient),
            (Script::Silent, CallErrorKind::Transient),
            (Script::Body("text/html", "hello"), CallErrorKind::Resource),
        ] {
            let server = FakeServer::start(script.clone());
            let (model, reply, _) = generate(&server.url, 3);
            let error = reply.unwrap_err();
            assert_eq!(error.kind, kind, "{script:?}");
            assert!(!model.is_unreachable(), "{script:?}");
        }
    }

    #[test]
    fn an_unreachable_server_is_remembered_until_it_answers() {
        let (nobody, reply, _) = generate("http://127.0.0.1:9", 3);
        let error = reply.unwrap_err();
        assert_eq!(error.kind, CallErrorKind::Transient);
        assert!(error.message.contains("can't be reached"), "{error:?}");
        assert!(nobody.is_unreachable());
        let (good, busy) = (Script::Good { ms: 0 }, Script::Status(503, "{}"));
        for script in [good, busy] {
            let server = FakeServer::start(script.clone());
            let model = model(&server.url);
            model.unreachable.store(true, Ordering::Relaxed);
            assert_eq!(generate_with(&model, 3).0.is_ok(), matches!(script, Script::Good { .. }));
            assert!(!model.is_unreachable(), "{script:?}");
        }
    }
}

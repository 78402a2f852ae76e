//! Runs a trace on OpenAI-compatible servers, which are told nothing about the plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use bandmaster_client::{self as client, Client, CompletionRequest, Endpoint, Usage};
use bandmaster_orchestrator::{Message, Role};
use bandmaster_text::LoadedModel;
use serde_json::Map;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Backend, EventSender, Job, Prompt};

/// The servers for a trace's roles.
pub struct ServerBackend {
    runtime: Runtime,
    client: Client,
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// Dropping it aborts all requests.
    requests: JoinSet<()>,
}

impl ServerBackend {
    /// `endpoints` has the server of each role.
    ///
    /// # Errors
    /// If the system denies a thread.
    pub fn new(client: Client, endpoints: BTreeMap<String, Endpoint>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let endpoints = endpoints.into_iter().map(|(role, endpoint)| (role, Arc::new(endpoint))).collect();
        Ok(Self { runtime, client, endpoints, requests: JoinSet::new() })
    }
}

impl Backend for ServerBackend {
    fn is_ready(&self, role: &str) -> bool {
        self.endpoints.contains_key(role)
    }

    fn loaded(&mut self, _role: String, _model: Arc<LoadedModel>) {}

    fn submit(&mut self, job: Job<'_>, events: EventSender) -> Result<(), String> {
        let endpoint = Arc::clone(&self.endpoints[&job.task.model]);
        let prompt = match job.prompt {
            Prompt::Question(text) => client::Prompt::chat(&[Message::new(Role::User, text)]),
            Prompt::Text(text) => client::Prompt::Text(text),
        };
        let request = CompletionRequest {
            prompt,
            max_tokens: job.task.output_tokens,
            temperature: job.task.temperature,
            // Servers read the seed as 32 bits.
            seed: Some(job.seed & 0x7fff_ffff),
            ignore_eos: true,
            schema: None,
            extra: Map::new(),
        };
        let client = self.client.clone();
        self.requests.spawn_on(send(client, endpoint, request, events), self.runtime.handle());
        Ok(())
    }
}

async fn send(client: Client, endpoint: Arc<Endpoint>, request: CompletionRequest, events: EventSender) {
    let mut on_piece = |_: &str| {
        // Nobody listens after an interrupt, which drops this request as well.
        let _ = events.token();
    };
    match client.complete(&endpoint, &request, &mut on_piece).await {
        Ok(completion) if completion.completion_tokens() < request.max_tokens => events.failed(format!(
            "{} wrote {} of {} tokens: it does not support `ignore_eos`, and different work can't be compared",
            endpoint.base(),
            completion.completion_tokens(),
            request.max_tokens
        )),
        Ok(completion) => {
            let pieces = Usage { completion_tokens: completion.pieces, ..Usage::default() };
            events.ended(completion.text, completion.usage.unwrap_or(pieces));
        }
        Err(error) => events.failed(error.to_string()),
    }
}

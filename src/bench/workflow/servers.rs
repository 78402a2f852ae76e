//! Runs a trace on OpenAI-compatible servers, which are told nothing about the plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use bandmaster_client::{self as client, Ask, Client, Counts, Endpoint};
use bandmaster_orchestrator::{Message, Role};
use serde_json::Map;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Job, Late, Place, Prompt, Teller};

/// The servers for a trace's roles.
pub struct Servers {
    runtime: Runtime,
    client: Client,
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// Dropping it aborts all requests.
    requests: JoinSet<()>,
}

impl Servers {
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

impl Place for Servers {
    fn is_ready(&self, role: &str) -> bool {
        self.endpoints.contains_key(role)
    }

    fn loaded(&mut self, _role: String, _model: Late) {}

    fn submit(&mut self, job: Job<'_>, tell: Teller) -> Result<(), String> {
        let endpoint = Arc::clone(&self.endpoints[&job.task.model]);
        let prompt = match job.prompt {
            Prompt::Question(text) => client::Prompt::chat(&[Message::new(Role::User, text)]),
            Prompt::Text(text) => client::Prompt::Text(text),
        };
        let ask = Ask {
            prompt,
            max_tokens: job.task.output_tokens,
            temperature: job.task.temperature,
            // Servers read the seed as 32 bits.
            seed: Some(job.seed & 0x7fff_ffff),
            ignore_eos: true,
            schema: None,
            more: Map::new(),
        };
        let client = self.client.clone();
        self.requests.spawn_on(request(client, endpoint, ask, tell), self.runtime.handle());
        Ok(())
    }
}

async fn request(client: Client, endpoint: Arc<Endpoint>, ask: Ask, tell: Teller) {
    let mut on_piece = |_: &str| {
        // Nobody listens after an interrupt, which drops this request as well.
        let _ = tell.token();
    };
    match client.ask(&endpoint, &ask, &mut on_piece).await {
        Ok(answered) if answered.output_tokens() < ask.max_tokens => tell.failed(format!(
            "{} wrote {} of {} tokens: it does not support `ignore_eos`, and different work can't be compared",
            endpoint.base(),
            answered.output_tokens(),
            ask.max_tokens
        )),
        Ok(answered) => {
            let pieces = Counts { output_tokens: answered.pieces, ..Counts::default() };
            tell.ended(answered.text, answered.usage.unwrap_or(pieces));
        }
        Err(error) => tell.failed(error.to_string()),
    }
}

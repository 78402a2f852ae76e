//! Connects to the server of this home over its private socket, so that there is only one engine: the server does the
//! run, and its events are shown here.

use std::path::Path;
use std::time::Duration;

use bandmaster_orchestrator::{
    Answer, Cancel, EventKind, Input, Outcome, RunEvent, RunRequest, RunStart, StartKind,
};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::openai::provide_tls;
use super::sse::SseParser;

/// Name of the private socket in the state folder.
pub const SOCKET: &str = "server.sock";
/// Host in the URLs sent over the socket; it is never resolved.
const BASE: &str = "http://localhost";
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// A connection to a running server.
pub struct HomeServer {
    client: reqwest::Client,
}

#[cfg(unix)]
fn client(socket: &Path) -> Option<reqwest::Client> {
    provide_tls();
    reqwest::Client::builder().unix_socket(socket).no_proxy().build().ok()
}

#[cfg(not(unix))]
fn client(_: &Path) -> Option<reqwest::Client> {
    None
}

impl HomeServer {
    /// The server running on the home with this state folder, if any. A socket that nobody answers was left behind by a
    /// server that was killed.
    pub async fn find(state_dir: &Path) -> Option<Self> {
        let socket = state_dir.join(SOCKET);
        if !socket.exists() {
            return None;
        }
        let client = client(&socket)?;
        let health = client.get(format!("{BASE}/health")).timeout(CONNECT_TIME_MAX).send().await.ok()?;
        // Status 503 means that it is still loading or is draining; only draining matters.
        let status: Value = serde_json::from_slice(&health.bytes().await.ok()?).ok()?;
        (status["status"] != "draining").then_some(Self { client })
    }

    /// Works on a run in the server, a new one or a recorded one; events go to `observer`. `cancel` ends the run with
    /// the tasks that are finished. `None` if the server can't take it: it has no band, the inputs are too large for
    /// one request, or it hasn't got the recorded run.
    ///
    /// # Errors
    /// What the server reports, or that it went away.
    pub async fn run(
        &self,
        start: &RunStart,
        observer: &mut (dyn FnMut(&RunEvent) + Send),
        cancel: &Cancel,
    ) -> Result<Option<Outcome>, HomeServerError> {
        let id = &start.state().id;
        let started = match &start.kind {
            StartKind::New => self.post("/v1/runs", &body(&start.request)).await,
            StartKind::Resumed => {
                let changed =
                    start.changed_inputs().map(|(input, text)| json!({"input": input, "text": text}));
                let changed: Vec<Value> = changed.collect();
                self.post(&format!("/v1/runs/{id}/resume"), &json!({"changed": changed})).await
            }
            StartKind::Answered(answer) => {
                let body = match answer {
                    Answer::Text(text) => json!({"text": text}),
                    other => json!(other),
                };
                self.post(&format!("/v1/runs/{id}/answer"), &body).await
            }
            StartKind::Forked { from, at, set } => {
                self.post(&format!("/v1/runs/{from}/fork"), &json!({"at": at, "set": set})).await
            }
        };
        let too_large = |status| {
            let sends_texts = matches!(start.kind, StartKind::New | StartKind::Resumed);
            status == StatusCode::PAYLOAD_TOO_LARGE && sends_texts
        };
        let started = match started {
            Err(HomeServerError::Refused { status, .. })
                if status == StatusCode::NOT_FOUND || too_large(status) =>
            {
                return Ok(None);
            }
            started => started?,
        };
        self.follow_to_end(&started, start.state().last_seq, observer, cancel).await.map(Some)
    }

    /// Shows the events of a run after event `seq`, until its end.
    async fn follow_to_end(
        &self,
        started: &Value,
        seq: u64,
        observer: &mut (dyn FnMut(&RunEvent) + Send),
        cancel: &Cancel,
    ) -> Result<Outcome, HomeServerError> {
        let id = started["id"].as_str().ok_or(HomeServerError::OtherVersion)?.to_owned();
        let following = self.follow(&id, seq, observer);
        tokio::pin!(following);
        tokio::select! {
            outcome = &mut following => return outcome,
            _ = cancel.stopped() => {}
        }
        // If the run has ended in the meantime, its last event still arrives.
        self.cancel(&id).await?;
        following.await
    }

    /// Ends a run with the tasks that are finished; `false` if it is not this server's run.
    ///
    /// # Errors
    /// What the server reports, or that it went away.
    pub async fn cancel(&self, id: &str) -> Result<bool, HomeServerError> {
        match self.post(&format!("/v1/runs/{id}/cancel"), &json!({})).await {
            Err(HomeServerError::Refused { status: StatusCode::CONFLICT, .. }) => Ok(false),
            cancelled => cancelled.map(|_| true),
        }
    }

    async fn follow(
        &self,
        id: &str,
        seq: u64,
        observer: &mut (dyn FnMut(&RunEvent) + Send),
    ) -> Result<Outcome, HomeServerError> {
        let lost = |source| HomeServerError::ConnectionLost { id: id.to_owned(), source };
        let events = self.client.get(format!("{BASE}/v1/runs/{id}/events")).header("last-event-id", seq);
        let mut response = events.send().await.map_err(lost)?;
        let mut parser = SseParser::default();
        while let Some(bytes) = response.chunk().await.map_err(lost)? {
            parser.push(&bytes);
            while let Some(data) = parser.next_data().map_err(|_| HomeServerError::EventTooLong)? {
                let event: RunEvent =
                    serde_json::from_str(&data).map_err(|_| HomeServerError::OtherVersion)?;
                observer(&event);
                if let EventKind::RunFinished { outcome } = event.kind {
                    return Ok(*outcome);
                }
            }
        }
        Err(HomeServerError::StreamEnded { id: id.to_owned() })
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, HomeServerError> {
        let request = self.client.post(format!("{BASE}{path}")).header(CONTENT_TYPE, "application/json");
        let response = request.body(body.to_string()).send().await?;
        let status = response.status();
        let answer: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let message = answer["error"]["message"].as_str().unwrap_or("no reason given").to_owned();
        Err(HomeServerError::Refused { status, message })
    }
}

/// A server of this home that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HomeServerError {
    /// The server's own words.
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    #[error("the server of this home does not answer: {0}")]
    NoAnswer(#[from] reqwest::Error),
    #[error("the server went away; {}", what_to_do(id))]
    ConnectionLost { id: String, source: reqwest::Error },
    #[error("the server ended before the run did; {}", what_to_do(id))]
    StreamEnded { id: String },
    #[error("an event of the server is incomplete")]
    EventTooLong,
    #[error("the server is of another version: end it, or run with --standalone")]
    OtherVersion,
}

fn what_to_do(id: &str) -> String {
    format!("`bandmaster runs show {id}` shows what it did, `bandmaster runs resume {id}` goes on")
}

/// The body of `POST /v1/runs`.
fn body(request: &RunRequest) -> Value {
    let strategy = request.strategy.map_or("auto", |strategy| strategy.name());
    let file = |(at, input): (usize, &Input)| {
        let path = request.paths.get(at).cloned().flatten();
        json!({"name": input.name, "text": input.text, "path": path})
    };
    let files = request.inputs.iter().enumerate().map(file);
    json!({
        "goal": request.goal, "strategy": strategy, "seed": request.seed, "files": files.collect::<Vec<_>>(),
        "approve": request.approve,
        "budget": {
            "tokens": request.budget.tokens, "seconds": request.budget.time.map(|time| time.as_secs_f64()),
            "tasks": request.budget.tasks, "depth": request.budget.depth,
        },
    })
}

//! Connects to the server of this home over its private socket, so that there is only one engine: the server does the
//! run, and its events are shown here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::config::Config;
use super::error::CliError;
use super::serve::SOCKET;
use crate::bench::client::provide_tls;
use crate::bench::sse::Frames;
use crate::orchestrator::{Cancel, EventKind, Outcome, RunEvent, RunRequest};

/// Host in the URLs sent over the socket; it is never resolved.
const BASE: &str = "http://localhost";
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// A connection to a running server.
pub struct Joined {
    client: reqwest::Client,
}

/// The server running on this home, if any. A socket that nobody answers was left behind by a server that was killed.
pub async fn find(config: &Config) -> Option<Joined> {
    let socket: PathBuf = config.home.value.state_dir.join(SOCKET);
    if !socket.exists() {
        return None;
    }
    let client = client(&socket)?;
    let health = client.get(format!("{BASE}/health")).timeout(CONNECT_TIME_MAX).send().await.ok()?;
    // Status 503 means that it is still loading or is draining; only draining matters.
    let status: Value = serde_json::from_slice(&health.bytes().await.ok()?).ok()?;
    (status["status"] != "draining").then_some(Joined { client })
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

impl Joined {
    /// Does a run in the server; events go to `observer`. `cancel` ends the run with the tasks that are finished.
    /// `None` if the server can't take it: it has no band, or the inputs are too large for one request.
    ///
    /// # Errors
    /// What the server reports, or that it went away.
    pub async fn run(
        &self,
        request: &RunRequest,
        observer: &mut (dyn FnMut(&RunEvent) + Send),
        cancel: &Cancel,
    ) -> Result<Option<Outcome>, CliError> {
        let strategy = request.strategy.map_or("auto", |strategy| strategy.name());
        let files = request.inputs.iter().map(|input| json!({"name": input.name, "text": input.text}));
        let body = json!({
            "goal": request.goal, "strategy": strategy, "seed": request.seed, "files": files.collect::<Vec<_>>(),
            "budget": {"tokens": request.budget.tokens, "seconds": request.budget.time.map(|time| time.as_secs_f64())},
        });
        let begun = match self.post("/v1/runs", &body).await {
            Err(Refused { status: Some(StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE), .. }) => {
                return Ok(None);
            }
            begun => begun?,
        };
        let id = begun["id"].as_str().context("the server named no run")?.to_owned();
        let listening = self.listen(&id, observer);
        tokio::pin!(listening);
        tokio::select! {
            outcome = &mut listening => return outcome.map(Some),
            _ = cancel.stopped() => {}
        }
        // If the run has ended in the meantime, its last event still arrives.
        self.cancel(&id).await?;
        listening.await.map(Some)
    }

    /// Ends a run with the tasks that are finished; `false` if it is not this server's run.
    ///
    /// # Errors
    /// What the server reports, or that it went away.
    pub async fn cancel(&self, id: &str) -> Result<bool, CliError> {
        match self.post(&format!("/v1/runs/{id}/cancel"), &json!({})).await {
            Err(Refused { status: Some(StatusCode::CONFLICT), .. }) => Ok(false),
            cancelled => Ok(cancelled.map(|_| true)?),
        }
    }

    async fn listen(
        &self,
        id: &str,
        observer: &mut (dyn FnMut(&RunEvent) + Send),
    ) -> Result<Outcome, CliError> {
        let shows = format!(
            "`bandmaster runs show {id}` shows what it did, `bandmaster runs resume {id}` does the run again"
        );
        let gone = |error: reqwest::Error| {
            CliError::Failed(anyhow!(error).context(format!("the server went away; {shows}")))
        };
        let mut response =
            self.client.get(format!("{BASE}/v1/runs/{id}/events")).send().await.map_err(gone)?;
        let mut frames = Frames::default();
        while let Some(bytes) = response.chunk().await.map_err(gone)? {
            frames.push(&bytes);
            while let Some(data) =
                frames.next_data().map_err(|_| anyhow!("an event of the server does not end"))?
            {
                let event: RunEvent = serde_json::from_str(&data)
                    .context("the server is of another version: end it, or run with --standalone")?;
                observer(&event);
                if let EventKind::RunFinished { outcome } = event.kind {
                    return Ok(*outcome);
                }
            }
        }
        Err(CliError::Failed(anyhow!("the server ended before the run did; {shows}")))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let request = self.client.post(format!("{BASE}{path}")).header(CONTENT_TYPE, "application/json");
        let response = request.body(body.to_string()).send().await?;
        let status = response.status();
        let answer: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let message = answer["error"]["message"].as_str().unwrap_or("no reason given").to_owned();
        Err(Refused { status: Some(status), message })
    }
}

/// A request that the server refused, and why.
struct Refused {
    /// `None` if the server did not answer.
    status: Option<StatusCode>,
    message: String,
}

impl From<reqwest::Error> for Refused {
    fn from(error: reqwest::Error) -> Self {
        Self { status: None, message: format!("the server of this home does not answer: {error}") }
    }
}

impl From<Refused> for CliError {
    fn from(refused: Refused) -> Self {
        match refused.status {
            Some(StatusCode::BAD_REQUEST) => Self::usage(refused.message),
            _ => Self::Failed(anyhow!(refused.message)),
        }
    }
}

//! `/v1/runs`: starts, lists, follows, cancels and resumes runs of the band.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json as Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use bandmaster_journal::{Desk, Journal, JournalError};
use bandmaster_orchestrator::{self as orchestrator, Again, AgainError, EventKind, RunState, Status, Work};
use futures_util::stream::{self, StreamExt};

use super::read;
use super::responses::asked;
use crate::error::{ApiError, ErrorResponse, INVALID_REQUEST};
use crate::runs::{Following as Live, Listener};
use crate::wire::body::Json;
use crate::wire::refusals::{BadBody, BadQuery, NoRun};
use crate::wire::runs::{AnswerGiven, ForkAsked, Run, RunAsked, RunList, RunListed, RunsAsked, event_object};
use crate::{App, Asker, jobs, spans, sse};

/// How long to wait for a run that is recorded but has not started.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(30);
/// How often to check for its start.
const BEGIN_POLL: Duration = Duration::from_millis(20);
/// Pause before reading the record again after a temporary failure.
const READ_AGAIN: Duration = Duration::from_millis(250);
/// How long to wait for a cancelled run to end: computations in progress take a moment. A run that takes longer is
/// returned as it is, in progress, as OpenAI's routes for cancelling do.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// Starts a run of the band on a goal. It continues if the client disconnects.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = RunAsked, responses(
    (status = 200, description = "The run that was started", body = Run),
    (status = 404, description = "This server has no band", body = ErrorResponse),
    BadBody,
))]
pub async fn begin(
    State(app): State<Arc<App>>,
    asker: Asker,
    Json(asked): Json<RunAsked>,
) -> Result<Body<Run>, ApiError> {
    start(&app, asker, Work::New(asked.request()?)).await.map(Body)
}

async fn start(app: &Arc<App>, asker: Asker, work: Work) -> Result<Run, ApiError> {
    let band = app.shelf.band().await?;
    let request = work.request();
    let (planner, goal) = (Arc::clone(&band.planner), request.goal.clone());
    jobs::check_size("goal", goal.len())?;
    let tokens = jobs::run(goal.len(), move |_| Ok(planner.count_tokens(&goal))).await?;
    let context = band.planner.context_tokens();
    if tokens >= context {
        let message = format!(
            "the goal has {tokens} tokens, but the planner reads at most {context}: shorten it, or give its long part as a file"
        );
        return Err(ApiError::invalid("goal", message));
    }
    // A client here sees its run only through the record, so the record must have room for it.
    let inputs_bytes = request.inputs.iter().map(|input| input.name.len() + input.text.len()).sum();
    let desk = app.runs.desk(&asker.notes.viewer());
    desk.check_room(inputs_bytes)?;
    let owner = asker.notes.viewer();
    let listener = spans::followed(&asker.notes.parent().clone(), charge(asker));
    let resumes = work.again().map(|again| again.id().to_owned());
    let (id, mut live) = app.runs.begin(&owner, band.clone(), work, listener).await?;
    live.done();
    Ok(Run { object: "run", resumes, state: state(&desk, id).await? })
}

/// Counts a run as running for the API key that started it, and charges the run's tokens at its end.
fn charge(asker: Asker) -> Listener {
    let mut asker = Some(asker);
    Box::new(move |event| {
        let EventKind::RunFinished { outcome } = &event.kind else { return };
        let Some(asker) = asker.take() else { return };
        let tokens = outcome.usage.tokens;
        let computed = tokens.prompt_tokens.saturating_sub(tokens.prompt_tokens_details.cached_tokens);
        asker.notes.charge(computed + tokens.completion_tokens);
    })
}

/// Lists the runs, newest first, in pages.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(RunsAsked), responses(
    (status = 200, description = "A page of runs", body = RunList),
    BadQuery,
))]
pub async fn list(
    State(app): State<Arc<App>>,
    asker: Asker,
    paging: Result<Query<RunsAsked>, QueryRejection>,
) -> Result<Body<RunList>, ApiError> {
    let listed = |state: RunState| {
        let RunState { id, created_ms, status, strategy, goal, damaged, .. } = state;
        let (status, strategy) = (status.name().to_owned(), strategy.map_or("", |strategy| strategy.name()).to_owned());
        RunListed { id, object: "run", created_ms, status, strategy, goal, damaged }
    };
    let paging = asked(paging)?;
    let limit = paging.limit()?;
    let after = paging.after;
    let found = read(&app, &asker, move |journal| match orchestrator::states(journal, after.as_deref(), limit) {
        Err(JournalError::UnknownRun { id }) => {
            Err(ApiError::invalid("after", format!("after is {id:?}: no run has this id")))
        }
        listed => Ok(listed?),
    });
    let (states, has_more) = found.await?;
    let data: Vec<RunListed> = states.into_iter().map(listed).collect();
    let last_id = data.last().map_or_else(String::new, |run| run.id.clone());
    Ok(Body(RunList { object: "list", data, last_id, has_more }))
}

/// Returns the state of a run.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The run's id, or `last` for the latest")),
    responses(
        (status = 200, description = "The run", body = Run),
        NoRun,
    ))]
pub async fn show(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Body<Run>, ApiError> {
    let desk = app.runs.desk(&asker.notes.viewer());
    Ok(Body(Run { object: "run", resumes: None, state: state(&desk, id).await? }))
}

async fn state(desk: &Desk, id: String) -> Result<RunState, ApiError> {
    desk.read(move |journal| Ok(orchestrator::state(journal, &journal.find(&id)?)?)).await
}

/// Streams the past and future events of a run as server-sent events, until the run ends.
///
/// With `Last-Event-ID`, only the events after it are sent.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "runs",
    params(("id" = String, Path, description = "The run's id, or `last` for the latest"),
           ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event that was received")),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        NoRun,
    ))]
pub async fn events(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let desk = app.runs.desk(&asker.notes.viewer());
    let id = find(&desk, id).await?;
    let heard = headers.get("last-event-id").and_then(|heard| heard.to_str().ok()?.trim().parse().ok());
    let going = going(&app, &desk, &id).await?;
    let cut = Box::pin(app.ending.clone().cut());
    let state = Following { desk, id, heard: heard.unwrap_or(0), going, text_sent: 0, cut, ended: false };
    let events = stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) });
    Ok(sse::respond(events.flat_map(stream::iter)))
}

/// A client that follows a run.
struct Following {
    desk: Desk,
    id: String,
    /// Number of the last event that was sent.
    heard: u64,
    going: Option<Live>,
    /// Bytes of the answer's text that were sent while it is written.
    text_sent: usize,
    /// Resolves when the server's shutdown cuts off streams.
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl Following {
    /// Waits for new events and returns them, at least one; `None` after the run's end.
    async fn next(&mut self) -> Option<Vec<SseEvent>> {
        loop {
            if self.ended {
                return None;
            }
            // Checked before the events are read, so that none between the two is missed.
            let going = self.going.as_mut().is_some_and(Live::look);
            let (id, heard) = (self.id.clone(), self.heard);
            let events = match self.desk.read(move |journal| journal.events(&id, heard)).await {
                Ok(events) => events,
                // Events in the meantime are only delayed, not lost.
                Err(error) if error.may_pass() && going => {
                    tokio::select! {
                        () = tokio::time::sleep(READ_AGAIN) => continue,
                        () = &mut self.cut => return None,
                    }
                }
                Err(_) => return None,
            };
            self.heard = events.last().map_or(self.heard, |event| event.seq);
            // Not by `run.finished`: a run that was resumed has one before its last end.
            self.ended = !going;
            if !events.is_empty() {
                let sent = events.iter().map(|event| {
                    sse::data(&event_object(event)).id(event.seq.to_string()).event(event.kind.clone())
                });
                return Some(sent.collect());
            }
            let Some(live) = self.going.as_mut().filter(|_| !self.ended) else { continue };
            if let Some(delta) = live.new_text(self.heard, &mut self.text_sent) {
                return Some(vec![sse::data(&delta).event("answer.delta".to_owned())]);
            }
            tokio::select! {
                () = live.changed() => {}
                () = &mut self.cut => return None,
            }
        }
    }
}

/// Cancels a run. It ends with the results it has so far.
///
/// Waits up to 5 seconds for the end. If the run still computes then, its status is `in_progress`, and it ends as soon
/// as the computation is done.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", tag = "runs", params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The cancelled run; `in_progress` if it has not ended yet", body = Run),
        (status = 409, description = "The run has already ended, or it runs in another process", body = ErrorResponse),
        NoRun,
    ))]
pub async fn cancel(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<Body<Run>, ApiError> {
    let desk = app.runs.desk(&asker.notes.viewer());
    let id = find(&desk, id).await?;
    let Some(mut going) = going(&app, &desk, &id).await?.filter(|_| app.runs.cancel(&id)) else {
        return Err(nothing_to_cancel(&desk, state(&desk, id).await?).await?);
    };
    // The channel closes when the run has ended.
    let _ = tokio::time::timeout(END_TIME_MAX, going.ended()).await;
    Ok(Body(Run { object: "run", resumes: None, state: state(&desk, id).await? }))
}

async fn find(desk: &Desk, id: String) -> Result<String, ApiError> {
    desk.read(move |journal| Ok(journal.find(&id)?)).await
}

/// Follows a run if it is in progress here. Waits for one that is recorded but whose inputs are still being read.
async fn going(app: &App, desk: &Desk, id: &str) -> Result<Option<Live>, ApiError> {
    let began = Instant::now();
    loop {
        let run = id.to_owned();
        // A run that ends between this and `follow` is noticed in the next round.
        let begins = desk.read(move |journal| Ok::<_, ApiError>(journal.goes_on_here(&run))).await?;
        let going = app.runs.follow(id);
        if going.is_some() || !begins || began.elapsed() > BEGIN_TIME_MAX {
            return Ok(going);
        }
        tokio::time::sleep(BEGIN_POLL).await;
    }
}

/// The error for cancelling a run that is not in progress here.
async fn nothing_to_cancel(desk: &Desk, before: RunState) -> Result<ApiError, ApiError> {
    let RunState { id, status, .. } = before;
    let run = id.clone();
    let holder = desk.read(move |journal| Ok::<_, ApiError>(journal.holder(&run))).await?;
    Ok(conflict(match holder.filter(|_| status == Status::InProgress) {
        Some(holder) => format!("run {id} is running in {holder}, not in this server: end it there"),
        None => format!("run {id} is {}: there is nothing to cancel", status.name()),
    }))
}

/// Answers the question that a run ended with. The run goes on with the answer.
#[utoipa::path(post, path = "/v1/runs/{id}/answer", tag = "runs", params(("id" = String, Path, description = "The run's id")),
    request_body = AnswerGiven, responses(
        (status = 200, description = "The run, which goes on", body = Run),
        (status = 409, description = "The run asked no question", body = ErrorResponse),
        NoRun,
        BadBody,
    ))]
pub async fn answer(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    asker: Asker,
    Json(given): Json<AnswerGiven>,
) -> Result<Body<Run>, ApiError> {
    let again = move |journal: &Journal, id: &str| orchestrator::answer(journal, id, given.text);
    take_up(&app, asker, id, again).await.map(Body)
}

/// Resumes a run that ended before it was done. Tasks with an accepted result are not done again.
#[utoipa::path(post, path = "/v1/runs/{id}/resume", tag = "runs", params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The run, which goes on", body = Run),
        (status = 409, description = "The run is done, or still in progress", body = ErrorResponse),
        NoRun,
    ))]
pub async fn resume(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Body<Run>, ApiError> {
    take_up(&app, asker, id, orchestrator::resume).await.map(Body)
}

/// Starts a new run that begins with the events of another one up to one of them, with other settings.
#[utoipa::path(post, path = "/v1/runs/{id}/fork", tag = "runs", params(("id" = String, Path, description = "The run's id")),
    request_body = ForkAsked, responses(
        (status = 200, description = "The new run", body = Run),
        NoRun,
        BadBody,
    ))]
pub async fn fork(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    asker: Asker,
    Json(asked): Json<ForkAsked>,
) -> Result<Body<Run>, ApiError> {
    let again = move |journal: &Journal, id: &str| orchestrator::fork(journal, id, asked.at, asked.set);
    take_up(&app, asker, id, again).await.map(Body)
}

/// Takes up the run `id`.
async fn take_up(
    app: &Arc<App>,
    asker: Asker,
    id: String,
    again: impl FnOnce(&Journal, &str) -> Result<Again, AgainError> + Send + 'static,
) -> Result<Run, ApiError> {
    let work = move |journal: &Journal| {
        let id = journal.find(&id)?;
        again(journal, &id).map_err(|error| match error {
            AgainError::Record(error) => error.into(),
            AgainError::NoAnswer => ApiError::invalid("text", error.to_string()),
            AgainError::NoEvent { .. } => ApiError::invalid("at", error.to_string()),
            AgainError::Setting { .. } => ApiError::invalid("set", error.to_string()),
            other => conflict(other.to_string()),
        })
    };
    let again = read(app, &asker, work).await?;
    start(app, asker, Work::Again(Box::new(again))).await
}

fn conflict(message: String) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, INVALID_REQUEST, message)
}

//! `/v1/runs`: starts, lists, follows, cancels and resumes runs of the band.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::body::HttpBody as _;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest as _, Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use axum::{Extension, Json as Body};
use bandmaster_journal::{AsyncJournal, Journal, JournalError};
use bandmaster_orchestrator::{
    self as orchestrator, Answer, RunStart, RunState, StartError, StartKind, Status,
};
use futures_util::stream::{self, StreamExt};

use super::{parsed_query, read, write};
use crate::charges::charging;
use crate::error::{ApiError, ErrorResponse};
use crate::layers::RequestContext;
use crate::run_models::band_for;
use crate::runs::RunFollower;
use crate::serve::Peer;
use crate::wire::body::Json;
use crate::wire::refusals::{BadBody, BadQuery, NoRun};
use crate::wire::responses::object::Deleted;
use crate::wire::runs::{
    CreateRun, ForkRun, ListRuns, NewText, ResumeRun, Run, RunAnswer, RunList, RunSummary, event_json,
};
use crate::{App, jobs, spans, sse};

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
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = CreateRun, responses(
    (status = 200, description = "The run that was started", body = Run),
    (status = 404, description = "This server has no band", body = ErrorResponse),
    BadBody,
))]
pub(crate) async fn begin(
    State(app): State<Arc<App>>,
    context: RequestContext,
    peer: Option<Extension<Peer>>,
    Json(request): Json<CreateRun>,
) -> Result<Body<Run>, ApiError> {
    start(&app, context, RunStart::new(request.request(peer.map(|Extension(peer)| peer))?)).await.map(Body)
}

async fn start(app: &Arc<App>, context: RequestContext, mut run: RunStart) -> Result<Run, ApiError> {
    let band = band_for(&app.models, &mut run).await?;
    let request = &run.request;
    let (planner, goal) = (Arc::clone(&band.planner), request.goal.clone());
    jobs::check_size("goal", goal.len())?;
    let tokens = jobs::run(goal.len(), move |_| Ok(planner.count_tokens(&goal))).await?;
    let context_tokens = band.planner.context_tokens();
    if tokens >= context_tokens {
        let message = format!(
            "the goal has {tokens} tokens, but the planner reads at most {context_tokens}: shorten it, or give its long part as a file"
        );
        return Err(ApiError::invalid("goal", message));
    }
    // A client here sees its run only through the record, so the record must have room for it.
    let inputs_bytes = request.inputs.iter().map(|input| input.name.len() + input.text.len()).sum();
    let journal = app.runs.journal(&context.viewer());
    journal.check_room(inputs_bytes)?;
    let owner = context.viewer();
    let listener = spans::traced(&context.parent().clone(), charging(context, Box::new(|_| {})));
    let resumes = run.recorded_id().map(str::to_owned);
    let (id, mut handle) = app.runs.begin(&owner, band, run, listener).await?;
    handle.detach();
    Ok(Run::new(resumes, state(&journal, id).await?))
}

/// Lists the runs, newest first, in pages.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(ListRuns), responses(
    (status = 200, description = "A page of runs", body = RunList),
    BadQuery,
))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    context: RequestContext,
    paging: Result<Query<ListRuns>, QueryRejection>,
) -> Result<Body<RunList>, ApiError> {
    let listed = |state: RunState| {
        let RunState { id, created_ms, status, strategy, goal, damaged, .. } = state;
        let strategy = strategy.map_or("", |strategy| strategy.name()).to_owned();
        let status = status.name().to_owned();
        RunSummary { id, object: "run", created_ms, status, strategy, goal, damaged }
    };
    let paging = parsed_query(paging)?;
    let limit = paging.limit()?;
    let after = paging.after;
    let found =
        read(&app, &context, move |journal| match orchestrator::states(journal, after.as_deref(), limit) {
            Err(JournalError::UnknownRun { id }) => {
                Err(ApiError::invalid("after", format!("after is {id:?}: no run has this id")))
            }
            listed => Ok(listed?),
        });
    let (states, has_more) = found.await?;
    let data: Vec<RunSummary> = states.into_iter().map(listed).collect();
    let last_id = data.last().map_or_else(String::new, |run| run.id.clone());
    Ok(Body(RunList { object: "list", data, last_id, has_more }))
}

/// Returns the state of a run.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs",
    params(("id" = String, Path, description = "The run's id, the beginning of it, or `last` for the latest")),
    responses(
        (status = 200, description = "The run", body = Run),
        NoRun,
    ))]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Body<Run>, ApiError> {
    let journal = app.runs.journal(&context.viewer());
    Ok(Body(Run::new(None, state(&journal, id).await?)))
}

/// Deletes a run and everything that is recorded of it.
#[utoipa::path(delete, path = "/v1/runs/{id}", tag = "runs", params(("id" = String, Path, description = "The run's whole id")),
    responses(
        (status = 200, description = "The run is deleted", body = Deleted),
        (status = 409, description = "The run is in progress", body = ErrorResponse),
        NoRun,
    ))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Body<Deleted>, ApiError> {
    // The whole id, because what is deleted can't be got back.
    let removed = write(&app, &context, move |journal| {
        journal.delete(&id)?;
        Ok(id)
    });
    Ok(Body(Deleted { id: removed.await?, object: "run.deleted", deleted: true }))
}

async fn state(journal: &AsyncJournal, id: String) -> Result<RunState, ApiError> {
    journal.read(move |journal| Ok(orchestrator::state(journal, &journal.find(&id)?)?)).await
}

/// Streams the past and future events of a run as server-sent events, until the run ends.
///
/// With `Last-Event-ID`, only the events after it are sent.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "runs",
    params(("id" = String, Path, description = "The run's id, the beginning of it, or `last` for the latest"),
           ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event that was received")),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        NoRun,
    ))]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let journal = app.runs.journal(&context.viewer());
    let id = find(&journal, id).await?;
    let last_seq =
        headers.get("last-event-id").and_then(|last_seq| last_seq.to_str().ok()?.trim().parse().ok());
    let active = active(&app, &journal, &id).await?;
    let deadline = Box::pin(app.shutdown.clone().deadline());
    let state =
        EventFollower { journal, id, last_seq: last_seq.unwrap_or(0), active, deadline, ended: false };
    let events = stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) });
    Ok(sse::respond(events.flat_map(stream::iter)))
}

/// A client that follows a run.
struct EventFollower {
    journal: AsyncJournal,
    id: String,
    /// Number of the last event that was sent.
    last_seq: u64,
    active: Option<RunFollower>,
    /// Resolves when the server's shutdown cuts off streams.
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl EventFollower {
    /// Waits for new events and returns them, at least one; `None` after the run's end.
    async fn next(&mut self) -> Option<Vec<SseEvent>> {
        loop {
            if self.ended {
                return None;
            }
            // Checked before the events are read, so that none between the two is missed.
            let active = self.active.as_mut().is_some_and(RunFollower::mark_seen);
            let (id, last_seq) = (self.id.clone(), self.last_seq);
            let sources = self.active.as_ref().map(RunFollower::sources).unwrap_or_default();
            let read = move |journal: &Journal| {
                let mut sources = sources.lock().unwrap_or_else(PoisonError::into_inner);
                journal.events_with(&id, last_seq, &mut sources)
            };
            let events = match self.journal.read(read).await {
                Ok(events) => events,
                // Events in the meantime are only delayed, not lost.
                Err(error) if error.may_pass() && active => {
                    tokio::select! {
                        () = tokio::time::sleep(READ_AGAIN) => continue,
                        () = &mut self.deadline => return None,
                    }
                }
                Err(_) => return None,
            };
            self.last_seq = events.last().map_or(self.last_seq, |event| event.seq);
            // Not by `run.finished`: a run that was resumed has one before its last end.
            self.ended = !active;
            if let (Some(follower), Some("run.finished")) =
                (&mut self.active, events.last().map(|event| event.kind.as_str()))
            {
                follower.skip_text();
            }
            if !events.is_empty() {
                let sent = events.iter().map(|event| {
                    sse::data(&event_json(event)).id(event.seq.to_string()).event(event.kind.clone())
                });
                return Some(sent.collect());
            }
            let Some(follower) = self.active.as_mut().filter(|_| !self.ended) else { continue };
            if let Some(delta) = follower.new_text(self.last_seq) {
                return Some(vec![sse::data(&delta).event("answer.delta")]);
            }
            tokio::select! {
                () = follower.changed() => {}
                () = &mut self.deadline => return None,
            }
        }
    }
}

/// Cancels a run. It ends with the results it has so far. A run that requires an answer is ended without it.
///
/// Waits up to 5 seconds for the end. If the run still computes then, its status is `in_progress`, and it ends as soon
/// as the computation is done.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", tag = "runs",
    params(("id" = String, Path, description = "The run's id, the beginning of it, or `last` for the latest")),
    responses(
        (status = 200, description = "The cancelled run; `in_progress` if it has not ended yet", body = Run),
        (status = 409, description = "The run has already ended, or it runs in another process", body = ErrorResponse),
        NoRun,
    ))]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Body<Run>, ApiError> {
    let journal = app.runs.journal(&context.viewer());
    let id = find(&journal, id).await?;
    if state(&journal, id.clone()).await?.status == Status::RequiresAction {
        let none = Answer::Approval { approve: false };
        let find = move |journal: &Journal, id: &str| orchestrator::answer(journal, id, none);
        let run = find_start(&app, &context, id, find).await?;
        return Ok(Body(Run { resumes: None, ..decline(&journal, run).await? }));
    }
    let Some(mut active) = active(&app, &journal, &id).await?.filter(|_| app.runs.cancel(&id)) else {
        return Err(nothing_to_cancel(&journal, state(&journal, id).await?).await?);
    };
    // The channel closes when the run has ended.
    let _ = tokio::time::timeout(END_TIME_MAX, active.ended()).await;
    Ok(Body(Run::new(None, state(&journal, id).await?)))
}

async fn find(journal: &AsyncJournal, id: String) -> Result<String, ApiError> {
    journal.read(move |journal| Ok(journal.find(&id)?)).await
}

/// Follows a run if it is in progress here. Waits for one that is recorded but whose inputs are still being read.
async fn active(app: &App, journal: &AsyncJournal, id: &str) -> Result<Option<RunFollower>, ApiError> {
    let began = Instant::now();
    loop {
        let run = id.to_owned();
        // A run that ends between this and `follow` is noticed in the next round.
        let begins = journal.read(move |journal| Ok::<_, ApiError>(journal.goes_on_here(&run))).await?;
        let active = app.runs.follow(id);
        if active.is_some() || !begins || began.elapsed() > BEGIN_TIME_MAX {
            return Ok(active);
        }
        tokio::time::sleep(BEGIN_POLL).await;
    }
}

/// The error for cancelling a run that is not in progress here.
async fn nothing_to_cancel(journal: &AsyncJournal, before: RunState) -> Result<ApiError, ApiError> {
    let RunState { id, status, .. } = before;
    let run = id.clone();
    let holder = journal.read(move |journal| Ok::<_, ApiError>(journal.holder(&run))).await?;
    Ok(ApiError::conflict(match holder.filter(|_| status == Status::InProgress) {
        Some(holder) => format!("run {id} is running in {holder}, not in this server: end it there"),
        None => format!("run {id} is {}: there is nothing to cancel", status.name()),
    }))
}

/// Answers what a run requires. The run goes on with the answer.
///
/// `approve: false` ends the run with the status `cancelled`, whatever it asks.
#[utoipa::path(post, path = "/v1/runs/{id}/answer", tag = "runs",
    params(("id" = String, Path, description = "The run's id, the beginning of it, or `last` for the latest")),
    request_body = RunAnswer, responses(
        (status = 200, description = "The run, which goes on", body = Run),
        (status = 409, description = "The run requires no answer, or another one", body = ErrorResponse),
        NoRun,
        BadBody,
    ))]
pub(crate) async fn answer(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    context: RequestContext,
    Json(answer): Json<RunAnswer>,
) -> Result<Body<Run>, ApiError> {
    let answer = answer.read()?;
    let find = move |journal: &Journal, id: &str| orchestrator::answer(journal, id, answer);
    let run = find_start(&app, &context, id, find).await?;
    match run.kind {
        StartKind::Answered(Answer::Approval { approve: false }) => {
            decline(&app.runs.journal(&context.viewer()), run).await.map(Body)
        }
        _ => start(&app, context, run).await.map(Body),
    }
}

/// Ends a run that waits for an answer.
async fn decline(journal: &AsyncJournal, run: RunStart) -> Result<Run, ApiError> {
    let id = orchestrator::decline(run, journal).await?.id;
    Ok(Run::new(Some(id.clone()), state(journal, id).await?))
}

/// Resumes a run that ended before it was done. Tasks with an accepted result are not done again.
///
/// The body may be empty.
#[utoipa::path(post, path = "/v1/runs/{id}/resume", tag = "runs",
    params(("id" = String, Path, description = "The run's id, the beginning of it, or `last` for the latest")),
    request_body = Option<ResumeRun>, responses(
        (status = 200, description = "The run, which goes on", body = Run),
        (status = 409, description = "The run is done, or still in progress", body = ErrorResponse),
        NoRun,
    ))]
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    context: RequestContext,
    request: Request,
) -> Result<Body<Run>, ApiError> {
    let Json(ResumeRun { changed }) = match request.body().is_end_stream() {
        true => Json(ResumeRun::default()),
        false => Json::from_request(request, &()).await?,
    };
    let find = move |journal: &Journal, id: &str| {
        let mut start = orchestrator::resume(journal, id)?;
        for NewText { input, text } in changed {
            start.read_again(input, text)?;
        }
        Ok(start)
    };
    go_on(&app, context, id, find).await.map(Body)
}

/// Starts a new run that begins with the events of another one up to one of them, with other settings.
#[utoipa::path(post, path = "/v1/runs/{id}/fork", tag = "runs",
    params(("id" = String, Path, description = "The run's id, the beginning of it, or `last` for the latest")),
    request_body = ForkRun, responses(
        (status = 200, description = "The new run", body = Run),
        NoRun,
        BadBody,
    ))]
pub(crate) async fn fork(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    context: RequestContext,
    Json(fork): Json<ForkRun>,
) -> Result<Body<Run>, ApiError> {
    let find = move |journal: &Journal, id: &str| orchestrator::fork(journal, id, fork.at, fork.set);
    go_on(&app, context, id, find).await.map(Body)
}

/// Takes up the run `id`.
async fn go_on(
    app: &Arc<App>,
    context: RequestContext,
    id: String,
    find: impl FnOnce(&Journal, &str) -> Result<RunStart, StartError> + Send + 'static,
) -> Result<Run, ApiError> {
    let run = find_start(app, &context, id, find).await?;
    start(app, context, run).await
}

async fn find_start(
    app: &App,
    context: &RequestContext,
    id: String,
    find: impl FnOnce(&Journal, &str) -> Result<RunStart, StartError> + Send + 'static,
) -> Result<RunStart, ApiError> {
    let work = move |journal: &Journal| {
        let id = journal.find(&id)?;
        find(journal, &id).and_then(RunStart::without_own_strategy).map_err(|error| match error {
            StartError::Record(error) => error.into(),
            StartError::NoAnswer => ApiError::invalid("text", error.to_string()),
            StartError::WhichTask { .. } | StartError::NoQuestionOfTask { .. } => {
                ApiError::invalid("task", error.to_string())
            }
            StartError::PlanRefused(_) => ApiError::invalid("plan", error.to_string()),
            StartError::NoInput { .. } => ApiError::invalid("changed", error.to_string()),
            StartError::NoEvent { .. } => ApiError::invalid("at", error.to_string()),
            StartError::Setting { .. } => ApiError::invalid("set", error.to_string()),
            other => ApiError::conflict(other.to_string()),
        })
    };
    read(app, context, work).await
}

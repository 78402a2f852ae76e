//! Runs a goal from start to end. Everything that happens is an event, and every event is given to the record
//! before it is shown.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bandmaster_journal::{Desk, Recording};
use serde_json::Value;
use tokio::sync::mpsc;

use super::aside::{Counts, count};
use super::attempt::{Context, Meter};
use super::band::{Band, CallUsage};
use super::cancel::{Cancel, StopReason};
use super::event::{Asked, EventKind, InputInfo, RunEvent};
use super::outcome::{Ended, Outcome, RunUsage, Status};
use super::registry::Registry;
use super::request::{RunRequest, Strategy};
use super::strategy::why::StrategyWhy;
use super::{direct, map, parallel, sequence, strategy, vote};

/// How long the first event is held back until it is in the record's file, so that whoever sees a run begin finds it
/// there, whatever happens to this process. Another process may have locked the file.
const BEGUN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the last event is held back until it is written: whoever sees a run end may delete the run at once.
const WRITTEN_TIME_MAX: Duration = Duration::from_millis(500);

/// Number of runs that this process has begun.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// Runs a goal to its end and always returns an outcome, whatever happened. Events go to the record and to the
/// observer. `cancel` ends the run with what is finished. If the record can't be written, the outcome has a warning
/// and the run continues.
pub async fn run(
    band: &Band,
    request: &RunRequest,
    desk: &Desk,
    observer: &mut (dyn FnMut(&RunEvent) + Send),
    cancel: &Cancel,
) -> Outcome {
    let (events, mut receiver) = mpsc::unbounded_channel();
    let context = Context {
        cancel: cancel.clone(),
        meter: Arc::new(Meter::new(request.budget.tokens)),
        events,
        started: Instant::now(),
        stall_after: request.stall_after,
        seed: request.seed,
        run: RUNS.fetch_add(1, Ordering::Relaxed),
    };
    let mut recorder = Recorder::new(desk, request, observer);
    let outcome = {
        let request = Arc::new(request.clone());
        let work = work(&context, band, request, recorder.recording.id().to_owned());
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some((ms, event)) = receiver.recv() => recorder.take(ms, event).await,
                outcome = &mut work => break outcome,
            }
        }
    };
    while let Ok((ms, event)) = receiver.try_recv() {
        recorder.take(ms, event).await;
    }
    recorder.finish(outcome).await
}

/// Numbers events, records them and shows them to the observer.
struct Recorder<'a> {
    recording: Recording,
    observer: &'a mut (dyn FnMut(&RunEvent) + Send),
    seq: u64,
    warnings: Vec<String>,
}

impl<'a> Recorder<'a> {
    fn new(desk: &Desk, request: &RunRequest, observer: &'a mut (dyn FnMut(&RunEvent) + Send)) -> Self {
        let inputs = request.inputs.iter().map(|input| (input.name.clone(), input.text.clone()));
        Self { recording: desk.begin(inputs.collect()), observer, seq: 0, warnings: Vec::new() }
    }

    async fn take(&mut self, ms: u64, kind: EventKind) {
        if !kind.is_transient() {
            self.seq += 1;
        }
        let event = RunEvent { seq: self.seq, ms, kind };
        if !event.kind.is_transient() {
            let (name, body) = split(&event);
            self.recording.append(&name, ms, &body);
            if self.seq == 1 {
                self.recording.recorded(BEGUN_TIME_MAX).await;
            }
            self.warnings.extend(self.recording.troubles());
        }
        (self.observer)(&event);
    }

    async fn finish(mut self, mut outcome: Outcome) -> Outcome {
        self.warnings.extend(self.recording.troubles());
        outcome.warnings.append(&mut self.warnings);
        let ms = outcome.usage.wall_ms;
        let kind = EventKind::RunFinished { outcome: Box::new(outcome.clone()) };
        let event = RunEvent { seq: self.seq + 1, ms, kind };
        let (name, body) = split(&event);
        self.recording.finish(&name, ms, &body, WRITTEN_TIME_MAX).await;
        (self.observer)(&event);
        outcome.warnings.extend(self.recording.troubles());
        outcome
    }
}

/// Separates an event's type from its other fields.
fn split(event: &RunEvent) -> (String, Value) {
    let mut body = serde_json::to_value(&event.kind).unwrap_or_default();
    let name = body.as_object_mut().and_then(|fields| fields.shift_remove("type"));
    (name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(), body)
}

async fn work(context: &Context, band: &Band, request: Arc<RunRequest>, run: String) -> Outcome {
    let registry = Registry::new(band);
    let counts = count(&band.planner, &request).await;
    announce(context, band, &request, &counts, &run, &registry);
    let clock = async {
        match request.budget.time {
            Some(limit) => tokio::time::sleep(limit.saturating_sub(context.started.elapsed())).await,
            None => std::future::pending().await,
        }
        context.cancel.stop(StopReason::TimeSpent);
        std::future::pending::<()>().await;
    };
    let goal = pursue(context, band, &registry, &request, &counts);
    let (strategy, why, ended) = tokio::select! {
        ended = goal => ended,
        () = clock => unreachable!("the clock only throws the switch"),
    };
    if let Some((which, limit)) = budget_reached(context, &request) {
        context.send(EventKind::BudgetReached { which: which.into(), limit });
    }
    conclude(context, &request, run, strategy, why, ended)
}

fn announce(
    context: &Context,
    band: &Band,
    request: &RunRequest,
    counts: &Counts,
    run: &str,
    registry: &Registry,
) {
    let inputs = request
        .inputs
        .iter()
        .zip(&counts.inputs)
        .map(|(input, tokens)| InputInfo { name: input.name.clone(), tokens: *tokens });
    context.send(EventKind::RunStarted {
        run: run.to_owned(),
        goal: request.goal.clone(),
        inputs: inputs.collect(),
        planner: band.planner.name().to_owned(),
        workers: registry.workers().iter().map(|worker| worker.name.clone()).collect(),
        asked: Asked {
            strategy: request.strategy,
            seed: request.seed,
            budget_tokens: request.budget.tokens,
            budget_seconds: request.budget.time.map(|time| time.as_secs_f64()),
            conversation: request.conversation.clone(),
        },
    });
}

/// Chooses the strategy for a goal without running it. Uses no model but the embedder.
pub async fn choose(band: &Band, request: &RunRequest) -> (Strategy, StrategyWhy) {
    let request = Arc::new(request.clone());
    let counts = count(&band.planner, &request).await;
    choose_counted(band, &request, &counts).await
}

async fn choose_counted(
    band: &Band,
    request: &Arc<RunRequest>,
    counts: &Arc<Counts>,
) -> (Strategy, StrategyWhy) {
    let context_tokens = band.planner.context_tokens();
    let (strategy, why) = strategy::choose(request, counts, context_tokens, band.embed.as_deref()).await;
    // Nothing is cut silently: inputs that do not fit one call are read in parts.
    let one_call =
        matches!(strategy, Strategy::Direct | Strategy::Sequence | Strategy::Vote | Strategy::Parallel);
    let in_parts = one_call && !why.facts.inputs_fit_together && !request.inputs.is_empty();
    (if in_parts { Strategy::Map } else { strategy }, why)
}

async fn pursue(
    context: &Context,
    band: &Band,
    registry: &Registry,
    request: &Arc<RunRequest>,
    counts: &Arc<Counts>,
) -> (Strategy, StrategyWhy, Ended) {
    let (strategy, why) = choose_counted(band, request, counts).await;
    context.send(EventKind::StrategyChosen { strategy, why: why.clone() });
    let ended = match strategy {
        _ if request.goal.trim().is_empty() => refuse("the goal is empty: describe the task"),
        Strategy::Map if request.inputs.is_empty() => {
            refuse("the strategy map needs input files: attach them with -f")
        }
        Strategy::Direct => direct::run(context, registry, request, &why.facts).await,
        Strategy::Map => map::run(context, registry, request, counts).await,
        Strategy::Parallel => parallel::run(context, registry, request, &why.facts).await,
        Strategy::Sequence => sequence::run(context, registry, request).await,
        Strategy::Vote => vote::run(context, registry, request).await,
        Strategy::Ask => direct::ask(),
        other => refuse(&super::StrategyError::Unavailable { name: other }.to_string()),
    };
    (strategy, why, ended)
}

fn refuse(why: &str) -> Ended {
    Ended { error: Some(why.to_owned()), ..Ended::default() }
}

fn budget_reached(context: &Context, request: &RunRequest) -> Option<(&'static str, u64)> {
    match context.cancel.reason()? {
        StopReason::TokensSpent => Some(("tokens", request.budget.tokens.unwrap_or_default())),
        StopReason::TimeSpent => Some(("seconds", request.budget.time.unwrap_or_default().as_secs())),
        StopReason::Interrupted => None,
    }
}

fn conclude(
    context: &Context,
    request: &RunRequest,
    run: String,
    strategy: Strategy,
    why: StrategyWhy,
    mut ended: Ended,
) -> Outcome {
    let unfinished =
        ended.tasks.iter().chain(&ended.planner_tasks).any(|task| task.status == Status::Cancelled);
    let stopped = context.cancel.reason().filter(|_| unfinished || ended.answer.is_empty());
    if let (Some(_), Some((which, limit))) = (stopped, budget_reached(context, request)) {
        ended.missing.push(format!("the budget of {limit} {which} was reached"));
    }
    let status = match (ended.status, stopped) {
        (Some(status), _) => status,
        (None, Some(StopReason::Interrupted)) => Status::Cancelled,
        (None, Some(_)) => Status::Incomplete,
        (None, None) if ended.error.is_some() || ended.answer.trim().is_empty() => Status::Failed,
        (None, None) if ended.failed_tasks > 0 => Status::Incomplete,
        (None, None) => Status::Completed,
    };
    if status == Status::Failed && ended.error.is_none() {
        let errors: HashSet<&str> = ended.tasks.iter().filter_map(|task| task.error.as_deref()).collect();
        let mut errors: Vec<&str> = errors.into_iter().collect();
        errors.sort_unstable();
        ended.error = Some(format!("no task produced a result: {}", errors.join("; ")));
    }
    Outcome {
        id: run,
        status,
        answer: ended.answer,
        strategy,
        strategy_why: why,
        tasks: ended.tasks,
        planner_tasks: ended.planner_tasks,
        usage: usage(&context.meter.calls(), context.now_ms()),
        missing: ended.missing,
        warnings: Vec::new(),
        error: ended.error,
    }
}

/// Sums the usage of all calls. A step shared by `b` sequences counts `1/b` for each of them, so once in all.
fn usage(calls: &[CallUsage], wall_ms: u64) -> RunUsage {
    let mut usage = RunUsage { wall_ms, ..RunUsage::default() };
    let (mut steps, mut rows) = (0.0, 0.0);
    for call in calls {
        usage.tokens.add(call);
        if call.batch_sum > 0 {
            let in_steps = call.steps as f64;
            steps += in_steps * in_steps / call.batch_sum as f64;
            rows += in_steps;
        }
    }
    usage.steps = steps.round() as u64;
    usage.mean_batch = if steps > 0.0 { (100.0 * rows / steps).round() / 100.0 } else { 0.0 };
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shared_by_several_calls_counts_once() {
        let call = CallUsage {
            prompt_tokens: 10,
            cached_tokens: 4,
            completion_tokens: 20,
            steps: 20,
            batch_sum: 80,
        };
        let usage = usage(&[call; 4], 7);
        assert_eq!((usage.steps, usage.mean_batch, usage.wall_ms), (20, 4.0, 7));
        assert_eq!((usage.tokens.prompt_tokens, usage.tokens.completion_tokens), (40, 80));
        assert_eq!(usage.tokens.prompt_tokens_details.cached_tokens, 16);
    }
}

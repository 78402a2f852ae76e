//! Works on a run: makes the calls that follow from its state, and records what happens. An event is recorded before
//! anything is done that follows from it, so that a run whose process is killed at any moment can go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bandmaster_journal::{AsyncJournal, JournalError, Recording};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::advance::{Core, Planned, Waits};
use super::attempt::{Called, Context, Label, Meter, Report, Watched, attempt};
use super::band::{Band, Llm};
use super::blocking::{Counts, count, run_blocking};
use super::cancel::{Cancel, StopReason};
use super::choice;
use super::choice::why::StrategyWhy;
use super::event::{Asked, CallEnd, ChangedInput, EventKind, FailureClass, RunEvent, Split};
use super::goal::{BandInfo, Goal, Models};
use super::inputs;
use super::outcome::{Outcome, TokenUsage};
use super::parked::Answer;
use super::recorder::{Observer, Recorder, separate};
use super::request::{Budget, RunRequest, StrategyName};
use super::search;
use super::start::{RunStart, StartKind};
use super::state::{RunState, never_begun};
use super::strategies::map::split::parts;
use super::strategy::{SplitAsked, Strategy};

/// Number of runs that this process has begun.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// Works on a run to its end: a new one, or a recorded one from the state that its events give. What has an accepted
/// result is not done again. Events go to the record and to the observer. `cancel` ends the run with what is finished.
/// If the record can't be written, the outcome has a warning and the run continues.
///
/// # Errors
/// Only for a recorded run: when another process has gone on with it in the meantime, or the record can't be read. A
/// new run always has an outcome, whatever happened.
pub async fn run(
    band: &Band,
    start: RunStart,
    journal: &AsyncJournal,
    observer: Observer<'_>,
    cancel: &Cancel,
) -> Result<Outcome, JournalError> {
    run_with(None, band, start, journal, observer, cancel).await
}

/// The same, with a strategy from outside this crate if there is one. The record doesn't have the strategy itself, so
/// whoever goes on with such a run ([`resume`](super::start::resume), [`answer_with`](super::start::answer_with),
/// [`fork`](super::start::fork)) or replays it ([`replay`](super::replay::replay)) gives the same one. The command line
/// has none, so it can show such a run and not go on with it.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    strategy: Option<Arc<dyn Strategy>>,
    band: &Band,
    mut start: RunStart,
    journal: &AsyncJournal,
    observer: Observer<'_>,
    cancel: &Cancel,
) -> Result<Outcome, JournalError> {
    let recording = match &start.kind {
        StartKind::New => {
            let inputs = start.request.inputs.iter().map(|input| (input.name.clone(), input.text.clone()));
            let recording = journal.begin(inputs.collect());
            start.state = RunState::new(recording.id(), 0);
            if let Some(strategy) = &strategy {
                start.request.strategy = Some(strategy.name());
            }
            recording
        }
        StartKind::Forked { from, at, .. } => {
            let (kind, info) = (start.kind.clone(), BandInfo::of(band));
            let first = move |run: &str| separate(&first_event(kind, run, info, Vec::new()));
            journal.fork(from, *at, start.state.wall_ms, first).await?
        }
        StartKind::Resumed | StartKind::Answered(_) => {
            let recording = journal.reopen(&start.state.id).await?;
            if recording.last_seq() != start.state.last_seq {
                return Err(JournalError::HasGoneOn { id: start.state.id });
            }
            recording
        }
    };
    Ok(Worker::new(band, &start, recording, observer, cancel).work(start, strategy).await)
}

/// Ends a parked run as cancelled, because the user declines what it asks. No model is needed for that.
///
/// # Errors
/// As [`run`] for a recorded run.
pub async fn decline(start: RunStart, journal: &AsyncJournal) -> Result<Outcome, JournalError> {
    let recording = journal.reopen(&start.state.id).await?;
    let RunStart { request, mut state, .. } = start;
    if recording.last_seq() != state.last_seq {
        return Err(JournalError::HasGoneOn { id: state.id });
    }
    let (ms, seq) = (state.wall_ms, state.last_seq);
    let mut observer = |_: &RunEvent| {};
    let mut recorder = Recorder::new(recording, &mut observer, seq, Vec::new());
    let band = state.band.clone().unwrap_or_default();
    let answer = Some(Answer::Approval { approve: false });
    let resumed = EventKind::RunResumed { answer, band: band.clone(), changed: Vec::new() };
    state.apply(seq + 1, ms, &resumed);
    recorder.take(ms, resumed).await;
    let facts = state.strategy_why.clone().unwrap_or_default().facts;
    let mut core = Core::new(Arc::new(Goal::new(&request, facts, band)), state, None);
    let (events, _) = core.advance(ms);
    for event in events.into_iter().filter(|event| !matches!(event, EventKind::RunFinished { .. })) {
        recorder.take(ms, event).await;
    }
    Ok(recorder.finish(core).await)
}

/// Chooses the strategy for a goal without running it. Uses no model but the embedder.
pub async fn choose(band: &Band, request: &RunRequest) -> (StrategyName, StrategyWhy) {
    let request = Arc::new(request.clone());
    let counts = count(&band.planner, &request).await;
    choose_counted(band, &request, &counts).await
}

async fn choose_counted(
    band: &Band,
    request: &Arc<RunRequest>,
    counts: &Arc<Counts>,
) -> (StrategyName, StrategyWhy) {
    let context_tokens = band.planner.context_tokens();
    let (strategy, why) = choice::choose(request, counts, context_tokens, band.embed.as_deref()).await;
    // Nothing is cut silently: inputs that do not fit one call are read in parts.
    let one_call = matches!(
        strategy,
        StrategyName::Direct | StrategyName::Sequence | StrategyName::Vote | StrategyName::Parallel
    );
    // The tasks of a free plan read one input each.
    let is_too_long = |tokens: &usize| tokens + choice::ANSWER_TOKENS_RESERVED > context_tokens;
    let has_long_input = strategy == StrategyName::Free && counts.inputs.iter().any(is_too_long);
    let in_parts =
        has_long_input || (one_call && !why.facts.inputs_fit_together && !request.inputs.is_empty());
    (if in_parts { StrategyName::Map } else { strategy }, why)
}

/// How a call ended, or the panic of its own code.
type Ended = Result<(tokio::task::Id, Called), tokio::task::JoinError>;

/// A call that is being made.
struct InFlight {
    planned: Planned,
    handle: AbortHandle,
    watched: Arc<Watched>,
}

/// Works on one run.
struct Worker<'a> {
    band: &'a Band,
    models: Models,
    context: Context,
    receiver: mpsc::UnboundedReceiver<Report>,
    recorder: Recorder<'a>,
    calls: JoinSet<Called>,
    in_flight: HashMap<tokio::task::Id, InFlight>,
    /// Calls that were ended because their tasks were dropped, and of which that is not recorded yet.
    dropped: Vec<InFlight>,
    /// A call that has ended, of which not everything that it reported is taken yet.
    ended: Option<Ended>,
    /// What is left of the time budget when this process takes the run up.
    time_left: Option<Duration>,
    number: u64,
}

impl<'a> Worker<'a> {
    fn new(
        band: &'a Band,
        start: &RunStart,
        recording: Recording,
        observer: Observer<'a>,
        cancel: &Cancel,
    ) -> Self {
        let (reports, receiver) = mpsc::unbounded_channel();
        let RunStart { request, state, .. } = start;
        let context = Context {
            cancel: cancel.clone(),
            meter: Arc::new(Meter::new(None, 0)),
            reports,
            started: Instant::now(),
            stall_after: request.stall_after,
            earlier_ms: state.wall_ms,
        };
        Self {
            band,
            models: Models::of(band),
            context,
            receiver,
            recorder: Recorder::new(recording, observer, state.last_seq, start.warnings.clone()),
            calls: JoinSet::new(),
            in_flight: HashMap::new(),
            dropped: Vec::new(),
            ended: None,
            time_left: None,
            number: RUNS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Works until the run ends.
    async fn work(mut self, start: RunStart, strategy: Option<Arc<dyn Strategy>>) -> Outcome {
        let RunStart { request, mut state, kind, texts, .. } = start;
        let request = Arc::new(request);
        let band = BandInfo::of(self.band);
        let counts = count(&self.band.planner, &request).await;
        let run = self.recorder.recording.id().to_owned();
        let changed = texts.changed(&request, &counts.inputs);
        // The first event of a fork is in the record already, with this time.
        let ms = if self.recorder.is_recorded() { state.wall_ms } else { self.context.now_ms() };
        let event = match kind {
            StartKind::New => started(&request, &counts, &band, run),
            kind => first_event(kind, &run, band.clone(), changed),
        };
        self.note_at(ms, &mut state, event).await;
        self.begin_budget(request.budget, &state);
        let facts = match &state.strategy_why {
            Some(why) => why.facts.clone(),
            None => {
                let (strategy, why) = choose_counted(self.band, &request, &counts).await;
                let facts = why.facts.clone();
                self.note(&mut state, EventKind::StrategyChosen { strategy, why }).await;
                facts
            }
        };
        let goal = Arc::new(Goal::new(&request, facts, band));
        let core = Core::new(goal, state, strategy);
        self.follow(core, &counts).await
    }

    /// Begins to count what the run uses, from what its present budget has left.
    fn begin_budget(&mut self, budget: Budget, state: &RunState) {
        let used = state.used();
        self.context.meter = Arc::new(Meter::new(budget.tokens, used.tokens));
        self.time_left = budget.time.map(|time| time.saturating_sub(Duration::from_millis(used.ms)));
        if self.context.meter.left() == Some(0) {
            self.context.cancel.stop(StopReason::TokensSpent);
        }
    }

    /// Takes an event into the state, the record and the observer's view.
    async fn note(&mut self, state: &mut RunState, event: EventKind) {
        self.note_at(self.context.now_ms(), state, event).await;
    }

    async fn note_at(&mut self, ms: u64, state: &mut RunState, event: EventKind) {
        state.apply(state.last_seq + 1, ms, &event);
        self.recorder.take(ms, event).await;
    }

    async fn follow(mut self, mut core: Core, counts: &Arc<Counts>) -> Outcome {
        let clock = clock(self.time_left, self.context.clone());
        tokio::pin!(clock);
        loop {
            self.note_stop(&mut core.state).await;
            let waits;
            (core, waits) = self.advance(core).await;
            if waits != Waits::Over && self.note_dropped(&mut core).await {
                continue;
            }
            match waits {
                Waits::Over => return self.recorder.finish(core).await,
                Waits::ForSplits(asked) => {
                    let event = split(&self.models, &core, counts, asked).await;
                    self.note(&mut core.state, event).await;
                    continue;
                }
                Waits::ForSearch(asked) => {
                    let event = search::search(self.band.embed.clone(), &core.goal, asked).await;
                    self.note(&mut core.state, event).await;
                    continue;
                }
                Waits::ForCalls => {}
            }
            let stopped = core.state.is_stopped();
            let mut has_happened = false;
            while !has_happened {
                // What a call reported before its end comes first.
                if let Ok(report) = self.receiver.try_recv() {
                    has_happened = self.take_report(&mut core, report).await;
                    continue;
                }
                tokio::select! {
                    biased;
                    // What the end of a call means depends on whether the run is being stopped.
                    _ = self.context.cancel.stopped(), if !stopped => {
                        has_happened = self.note_stop(&mut core.state).await;
                    }
                    () = std::future::ready(()), if self.ended.is_some() => {
                        if let Some(ended) = self.ended.take() {
                            self.take_call(&mut core, ended).await;
                        }
                        has_happened = true;
                    }
                    Some(report) = self.receiver.recv() => {
                        has_happened = self.take_report(&mut core, report).await;
                    }
                    Some(ended) = self.calls.join_next_with_id(), if self.ended.is_none() => {
                        self.ended = Some(ended);
                    }
                    () = &mut clock => unreachable!("the clock only stops the run"),
                }
            }
        }
    }

    /// Records that the run is being stopped, if it is and this was not recorded yet. Returns whether it did.
    async fn note_stop(&mut self, state: &mut RunState) -> bool {
        let Some(reason) = self.context.cancel.reason().filter(|_| !state.is_stopped()) else { return false };
        let event = stop_event(reason, state);
        self.note(state, event).await;
        true
    }

    /// Takes what a call reports, if the call is still being made. Returns whether something may follow from it. Nothing
    /// follows from progress.
    async fn take_report(&mut self, core: &mut Core, report: Report) -> bool {
        let Report { ms, task, attempt, event } = report;
        let running = core.state.task(&task).and_then(|task| task.running());
        if running.is_none_or(|running| running.attempt != attempt) {
            return false;
        }
        let is_part = matches!(event, EventKind::TaskPartial { .. });
        if !is_part {
            self.recorder.take(ms, event).await;
        } else if !core.state.is_stopped() {
            self.note(&mut core.state, event).await;
            return true;
        }
        false
    }

    /// Records everything that follows from the state, and starts the calls that follow.
    async fn advance(&mut self, mut core: Core) -> (Core, Waits) {
        let ms = self.context.now_ms();
        let known: Vec<(String, u32)> =
            self.in_flight.values().map(|call| (call.planned.task.clone(), call.planned.attempt)).collect();
        // Checks and prompts read whole inputs, so they must not run on the threads that serve everybody.
        let (returned, events, waits, calls) = run_blocking(move || {
            let (events, waits) = core.advance(ms);
            let calls = core
                .calls(&|task, attempt| known.iter().any(|(id, number)| id == task && *number == attempt));
            (core, events, waits, calls)
        })
        .await;
        core = returned;
        for event in events.into_iter().filter(|event| !matches!(event, EventKind::RunFinished { .. })) {
            self.recorder.take(ms, event).await;
        }
        self.abort_dropped(&core.state);
        if !calls.is_empty() {
            self.recorder.recorded().await;
        }
        for planned in calls {
            self.start(planned);
        }
        (core, waits)
    }

    /// Ends calls whose tasks are not in progress any more.
    fn abort_dropped(&mut self, state: &RunState) {
        let is_running = |planned: &Planned| {
            let task = state.task(&planned.task).and_then(|task| task.running());
            task.is_some_and(|attempt| attempt.attempt == planned.attempt)
        };
        let dropped = self.in_flight.extract_if(|_, call| !is_running(&call.planned)).map(|(_, call)| call);
        self.dropped.extend(dropped.inspect(|call| call.handle.abort()));
    }

    /// Records how the calls of dropped tasks ended, and what they have used. Some had not begun. Returns whether there
    /// were any.
    async fn note_dropped(&mut self, core: &mut Core) -> bool {
        let mut calls = std::mem::take(&mut self.dropped);
        let dropped = core.state.dropped_calls();
        let events: Vec<EventKind> = dropped
            .map(|(task, attempt)| {
                let is_it =
                    |call: &InFlight| call.planned.task == task && call.planned.attempt == attempt.attempt;
                match calls.iter().position(is_it).map(|place| calls.swap_remove(place)) {
                    Some(call) => output_event(core, call.planned, call.watched.stop(CallEnd::Stopped)),
                    None => never_begun(task, attempt),
                }
            })
            .collect();
        let any = !events.is_empty();
        for event in events {
            self.note(&mut core.state, event).await;
        }
        any
    }

    fn start(&mut self, mut planned: Planned) {
        planned.call.run = self.number;
        let llm = self.models.get(&planned.worker).cloned();
        let Planned { attempt: number, streams_answer, partial_depth, .. } = planned;
        let label = Label { task: planned.task.clone(), attempt: number, streams_answer, partial_depth };
        let watched = Arc::new(Watched::new(self.context.clone(), label));
        let (theirs, call, worker) = (Arc::clone(&watched), planned.call.clone(), planned.worker.clone());
        let (cancel, wait) = (self.context.cancel.clone(), Duration::from_millis(planned.wait_ms));
        let handle = self.calls.spawn(async move {
            let Some(llm) = llm else { return missing(&worker) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = cancel.stopped() => {}
            }
            attempt(&theirs, &llm, call).await
        });
        self.in_flight.insert(handle.id(), InFlight { planned, handle, watched });
    }

    async fn take_call(&mut self, core: &mut Core, ended: Ended) {
        let (id, called) = match ended {
            Ok((id, called)) => (id, Some(called)),
            Err(error) => (error.id(), None),
        };
        let Some(InFlight { planned, watched, .. }) = self.in_flight.remove(&id) else { return };
        let called = called.unwrap_or_else(|| watched.stop(broken()));
        let event = output_event(core, planned, called);
        self.note(&mut core.state, event).await;
    }
}

fn missing(worker: &str) -> Called {
    let error = format!("there is no worker {worker}");
    let end = CallEnd::Failed { class: FailureClass::Resource, error };
    Called { end, ..Called::default() }
}

/// A call whose own code panicked; models are walled off in attempts.
fn broken() -> CallEnd {
    CallEnd::Failed { class: FailureClass::Stalled, error: "the call stopped unexpectedly".to_owned() }
}

fn output_event(core: &Core, planned: Planned, called: Called) -> EventKind {
    let mut attempts = core.state.task(&planned.task).into_iter().flat_map(|task| &task.attempts);
    let attempt = attempts.find(|attempt| attempt.attempt == planned.attempt);
    let model = attempt.map_or_else(String::new, |attempt| attempt.model.clone());
    let call = planned.call;
    // A budget may have left fewer tokens than were planned.
    let tokens_max = called.tokens_max.unwrap_or(call.tokens_max);
    EventKind::TaskOutput {
        task: planned.task,
        attempt: planned.attempt,
        worker: planned.worker,
        model,
        prompt: called.prompt,
        prompt_template: planned.prompt_template,
        sampling: call.sampling(tokens_max),
        output: called.output,
        usage: TokenUsage::from(&called.usage),
        end: called.end,
        steps: [called.usage.steps, called.usage.batch_sum],
    }
}

/// Stops the run when its time is up, and never ends.
async fn clock(budget: Option<Duration>, context: Context) {
    match budget {
        Some(limit) => tokio::time::sleep(limit.saturating_sub(context.started.elapsed())).await,
        None => std::future::pending().await,
    }
    context.cancel.stop(StopReason::TimeSpent);
    std::future::pending::<()>().await;
}

fn stop_event(reason: StopReason, state: &RunState) -> EventKind {
    match reason {
        StopReason::Interrupted => EventKind::RunCancelled,
        StopReason::TokensSpent => EventKind::BudgetReached {
            which: "tokens".into(),
            limit: state.asked.budget_tokens.unwrap_or_default() as f64,
        },
        StopReason::TimeSpent => EventKind::BudgetReached {
            which: "seconds".into(),
            limit: state.asked.budget_seconds.unwrap_or_default(),
        },
    }
}

/// The event with which a recorded run goes on, or a fork of it begins. `run` is the id of what goes on.
fn first_event(kind: StartKind, run: &str, band: BandInfo, changed: Vec<ChangedInput>) -> EventKind {
    match kind {
        StartKind::New | StartKind::Resumed => EventKind::RunResumed { answer: None, band, changed },
        StartKind::Answered(answer) => EventKind::RunResumed { answer: Some(answer), band, changed },
        StartKind::Forked { from, at, set } => {
            EventKind::RunForked { run: run.to_owned(), from, at, set, band }
        }
    }
}

fn started(request: &RunRequest, counts: &Counts, band: &BandInfo, run: String) -> EventKind {
    let inputs = (0..request.inputs.len()).map(|at| inputs::info(request, at, counts.inputs[at]));
    EventKind::RunStarted {
        run,
        goal: request.goal.clone(),
        inputs: inputs.collect(),
        planner: band.planner.model.clone(),
        workers: band.workers.iter().map(|worker| worker.worker.clone()).collect(),
        asked: Asked {
            strategy: request.strategy,
            seed: request.seed,
            budget_tokens: request.budget.tokens,
            budget_seconds: request.budget.time.map(|time| time.as_secs_f64()),
            budget_tasks: request.budget.tasks,
            budget_depth: request.budget.depth,
            approve: request.approve,
            conversation: request.conversation.clone(),
            models: request.models.clone(),
        },
        band: Some(band.clone()),
    }
}

/// Finds out where inputs can be cut, by the tokenizers of the models that are to read them.
async fn split(models: &Models, core: &Core, counts: &Arc<Counts>, asked: Vec<SplitAsked>) -> EventKind {
    let planner = &core.goal.band.planner.model;
    let with_models = asked.into_iter().map(|one| {
        let of_planner = core.goal.band.get(&one.worker).is_some_and(|info| info.model == *planner);
        // The counts are by the planner's tokenizer, and another model's may differ.
        let whole = of_planner.then(|| counts.inputs[one.input]);
        (models.get(&one.worker).cloned(), whole, one)
    });
    let with_models: Vec<_> = with_models.collect();
    let goal = Arc::clone(&core.goal);
    let splits = run_blocking(move || {
        let split = |(llm, whole, asked): (Option<Arc<dyn Llm>>, Option<usize>, SplitAsked)| {
            let SplitAsked { input, worker, tokens_max } = asked;
            let text = &goal.inputs[input].text;
            let parts = match llm {
                Some(llm) => parts(text, tokens_max, whole, |text| llm.count_tokens(text)),
                None => std::iter::once(0..text.len()).collect(),
            };
            Split { input, worker, tokens_max, parts }
        };
        with_models.into_iter().map(split).collect()
    });
    EventKind::InputsSplit { splits: splits.await }
}

#[cfg(test)]
mod tests;

//! Works on a run: makes the calls that follow from its state, and records what happens. An event is recorded before
//! anything is done that follows from it, so that a run whose process is killed at any moment can go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bandmaster_journal::{AsyncJournal, JournalError, Recording};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::advance::{Core, Planned, Waits};
use super::attempt::{Called, Context, Label, Meter, attempt};
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
use super::request::{Budget, RunRequest, StrategyName};
use super::start::{RunStart, StartKind};
use super::state::RunState;
use super::strategies::map::split::parts;
use super::strategy::{SplitAsked, Strategy};

/// How long the first event is held back until it is in the record's file, so that whoever sees a run begin finds it
/// there, whatever happens to this process. Another process may have locked the file.
const BEGUN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long calls are held back until what they follow from is in the record's file.
const RECORDED_TIME_MAX: Duration = Duration::from_millis(100);
/// How long the last event is held back until it is written: whoever sees a run end may delete the run at once.
const WRITTEN_TIME_MAX: Duration = Duration::from_millis(500);

/// Number of runs that this process has begun.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// Shows each event of a run.
pub type Observer<'a> = &'a mut (dyn FnMut(&RunEvent) + Send);

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
    let mut recorder =
        Recorder { recording, observer: &mut observer, seq, warnings: Vec::new(), is_behind: false };
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

/// Works on one run.
struct Worker<'a> {
    band: &'a Band,
    models: Models,
    context: Context,
    receiver: mpsc::UnboundedReceiver<(u64, EventKind)>,
    recorder: Recorder<'a>,
    calls: JoinSet<Called>,
    /// The task and attempt of each call.
    in_flight: HashMap<tokio::task::Id, (Planned, AbortHandle)>,
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
        let (events, receiver) = mpsc::unbounded_channel();
        let RunStart { request, state, .. } = start;
        let context = Context {
            cancel: cancel.clone(),
            meter: Arc::new(Meter::new(None, 0)),
            events,
            started: Instant::now(),
            stall_after: request.stall_after,
            earlier_ms: state.wall_ms,
        };
        let seq = state.last_seq;
        Self {
            band,
            models: Models::of(band),
            context,
            receiver,
            recorder: Recorder {
                recording,
                observer,
                seq,
                warnings: start.warnings.clone(),
                is_behind: false,
            },
            calls: JoinSet::new(),
            in_flight: HashMap::new(),
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
            match waits {
                Waits::Over => return self.recorder.finish(core).await,
                Waits::ForSplits(asked) => {
                    let event = split(&self.models, &core, counts, asked).await;
                    self.note(&mut core.state, event).await;
                    continue;
                }
                Waits::ForCalls => {}
            }
            let stopped = core.state.is_stopped();
            let mut has_happened = false;
            while !has_happened {
                // What a call reported before its end comes first.
                if let Ok((ms, event)) = self.receiver.try_recv() {
                    has_happened = self.take_report(&mut core, ms, event).await;
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
                    Some((ms, event)) = self.receiver.recv() => {
                        has_happened = self.take_report(&mut core, ms, event).await;
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

    /// Takes what a call reports. Returns whether something may follow from it. Nothing follows from progress.
    async fn take_report(&mut self, core: &mut Core, ms: u64, event: EventKind) -> bool {
        let EventKind::TaskPartial { task, attempt, .. } = &event else {
            self.recorder.take(ms, event).await;
            return false;
        };
        let running = core.state.task(task).and_then(|task| task.running());
        let is_running = running.is_some_and(|running| running.attempt == *attempt);
        if is_running && !core.state.is_stopped() {
            self.note(&mut core.state, event).await;
            return true;
        }
        false
    }

    /// Records everything that follows from the state, and starts the calls that follow.
    async fn advance(&mut self, mut core: Core) -> (Core, Waits) {
        let ms = self.context.now_ms();
        let known: Vec<(String, u32)> =
            self.in_flight.values().map(|(planned, _)| (planned.task.clone(), planned.attempt)).collect();
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
        let running = |planned: &Planned| {
            let task = state.task(&planned.task).and_then(|task| task.running());
            task.is_some_and(|attempt| attempt.attempt == planned.attempt)
        };
        self.in_flight.retain(|_, (planned, handle)| {
            let stays = running(planned);
            if !stays {
                handle.abort();
            }
            stays
        });
    }

    fn start(&mut self, mut planned: Planned) {
        planned.call.run = self.number;
        let llm = self.models.get(&planned.worker).cloned();
        let Planned { attempt: number, streams_answer, partial_depth, .. } = planned;
        let label = Label { task: planned.task.clone(), attempt: number, streams_answer, partial_depth };
        let (context, call, worker) = (self.context.clone(), planned.call.clone(), planned.worker.clone());
        let wait = Duration::from_millis(planned.wait_ms);
        let handle = self.calls.spawn(async move {
            let Some(llm) = llm else { return missing(&worker) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = context.cancel.stopped() => {}
            }
            attempt(&context, label, &llm, call).await
        });
        self.in_flight.insert(handle.id(), (planned, handle));
    }

    async fn take_call(&mut self, core: &mut Core, ended: Ended) {
        let (id, called) = match ended {
            Ok((id, called)) => (id, called),
            Err(error) => (error.id(), broken()),
        };
        let Some((planned, _)) = self.in_flight.remove(&id) else { return };
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
fn broken() -> Called {
    let error = "the call stopped unexpectedly".to_owned();
    let end = CallEnd::Failed { class: FailureClass::Stalled, error };
    Called { end, ..Called::default() }
}

fn output_event(core: &Core, planned: Planned, called: Called) -> EventKind {
    let attempt = core.state.task(&planned.task).and_then(|task| task.running());
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

/// Numbers events, records them and shows them to the observer.
struct Recorder<'a> {
    recording: Recording,
    observer: Observer<'a>,
    seq: u64,
    warnings: Vec<String>,
    /// The record could not be written in time, and nobody waits for it until it is.
    is_behind: bool,
}

impl Recorder<'_> {
    /// Whether the next event is in the record already.
    fn is_recorded(&self) -> bool {
        self.seq < self.recording.last_seq()
    }

    async fn take(&mut self, ms: u64, kind: EventKind) {
        if !kind.is_transient() {
            self.seq += 1;
        }
        let event = RunEvent { seq: self.seq, ms, kind };
        if !event.kind.is_transient() && self.seq > self.recording.last_seq() {
            let (name, body) = separate(&event.kind);
            self.recording.append(&name, ms, &body);
            if self.seq == 1 {
                self.recording.recorded(BEGUN_TIME_MAX).await;
            }
            self.warnings.extend(self.recording.troubles());
        }
        (self.observer)(&event);
    }

    /// Waits until everything so far is in the record's file, unless that takes too long.
    async fn recorded(&mut self) {
        let time_max = if self.is_behind { Duration::ZERO } else { RECORDED_TIME_MAX };
        self.is_behind = !self.recording.is_recorded_within(time_max).await;
    }

    async fn finish(mut self, core: Core) -> Outcome {
        self.warnings.extend(self.recording.troubles());
        let mut outcome = *core.state.outcome.expect("only a run that has ended is finished");
        outcome.warnings.append(&mut self.warnings);
        let ms = outcome.usage.wall_ms;
        let kind = EventKind::RunFinished { outcome: Box::new(outcome.clone()) };
        let event = RunEvent { seq: self.seq + 1, ms, kind };
        let (name, body) = separate(&event.kind);
        self.recording.finish(&name, ms, &body, WRITTEN_TIME_MAX).await;
        (self.observer)(&event);
        outcome.warnings.extend(self.recording.troubles());
        outcome
    }
}

/// Separates an event's type from its other fields.
fn separate(event: &EventKind) -> (String, Value) {
    let mut body = serde_json::to_value(event).unwrap_or_default();
    let name = body.as_object_mut().and_then(|fields| fields.shift_remove("type"));
    (name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default(), body)
}

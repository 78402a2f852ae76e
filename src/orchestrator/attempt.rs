//! One call of one model. The call is watched for progress, counted against the token budget, and ended when the run is
//! stopped. It is isolated: a model that panics fails its task, not the run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::band::{Call, CallError, CallErrorKind, CallUsage, Llm, Progress, Reply};
use super::cancel::{Cancel, StopReason};
use super::event::{CallEnd, EventKind, FailureClass};
use super::partial::Parts;

/// Shortest time between two progress events of a task.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What every part of a run shares.
#[derive(Clone)]
pub(crate) struct Context {
    pub cancel: Cancel,
    pub meter: Arc<Meter>,
    pub reports: mpsc::UnboundedSender<Report>,
    pub started: Instant,
    /// A call that reports no progress for this long has failed.
    pub stall_after: Duration,
    /// Time of the run before this process took it up.
    pub earlier_ms: u64,
}

impl Context {
    /// Milliseconds since the run began. Time in which no process worked on it doesn't count.
    #[must_use]
    pub(crate) fn now_ms(&self) -> u64 {
        let here = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.earlier_ms.saturating_add(here)
    }
}

/// What a call reports while it runs.
#[derive(Debug)]
pub(crate) struct Report {
    /// Milliseconds since the run began.
    pub ms: u64,
    pub task: String,
    pub attempt: u32,
    pub event: EventKind,
}

/// Counts the tokens of a run and stops the run when the budget is used up.
pub(crate) struct Meter {
    spent: AtomicU64,
    limit: Option<u64>,
}

impl Meter {
    /// `limit` covers generated tokens and those prompt tokens that are computed, not found in the prefix cache.
    #[must_use]
    pub(crate) fn new(limit: Option<u64>, spent: u64) -> Self {
        Self { spent: AtomicU64::new(spent), limit }
    }

    fn spend(&self, tokens: u64, cancel: &Cancel) {
        let spent = self.spent.fetch_add(tokens, Ordering::Relaxed).saturating_add(tokens);
        if self.limit.is_some_and(|limit| spent >= limit) {
            cancel.stop(StopReason::TokensSpent);
        }
    }

    /// Tokens left in the budget; `None` without a limit.
    #[must_use]
    pub(crate) fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.spent.load(Ordering::Relaxed)))
    }
}

/// A call that may still be queued behind others is allowed this many times `stall_after` without progress.
const QUEUE_PATIENCE: u32 = 10;

/// How an attempt appears in events.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub task: String,
    pub attempt: u32,
    /// Whether new text is streamed as part of the answer.
    pub streams_answer: bool,
    /// Depth in a JSON reply at which finished parts are reported; 0 for none.
    pub partial_depth: u32,
}

/// How a call went.
#[derive(Debug, Default)]
pub(crate) struct Called {
    /// Most tokens that it was allowed; `None` if the call was not made.
    pub tokens_max: Option<u32>,
    /// The prompt after the chat template; empty if the call failed before it was rendered.
    pub prompt: String,
    /// Counted for failed calls too.
    pub usage: CallUsage,
    /// The reply, or as much of it as there was.
    pub output: String,
    pub end: CallEnd,
}

/// Progress of a running call, shared between the call and whoever watches it.
pub(crate) struct Watched {
    context: Context,
    label: Label,
    state: Mutex<WatchedState>,
}

struct WatchedState {
    prompt: String,
    text: String,
    parts: Parts,
    /// Bytes of the text that were reported as finished parts.
    reported: usize,
    alive: Instant,
    /// The prompt was sent and nothing has come back yet, so the call may still be queued.
    waits: bool,
    shown: Instant,
    /// Prompt tokens that are computed or were found in the prefix cache.
    prefill_tokens: u32,
    /// Of these, the tokens that were found in the cache.
    cached_tokens: u32,
    prompt_tokens: u32,
    completion_tokens: u32,
    /// What the call has used, since it has ended. A model that is being aborted may go on for a moment. What it reports
    /// then is not part of the run.
    used: Option<CallUsage>,
}

impl WatchedState {
    /// Tokens counted so far.
    fn counted(&self) -> CallUsage {
        CallUsage {
            prompt_tokens: u64::from(self.prefill_tokens),
            cached_tokens: u64::from(self.cached_tokens),
            completion_tokens: u64::from(self.completion_tokens),
            ..CallUsage::default()
        }
    }
}

impl Watched {
    pub(crate) fn new(context: Context, label: Label) -> Self {
        let now = Instant::now();
        let state = WatchedState {
            prompt: String::new(),
            text: String::new(),
            parts: Parts::at_depth(label.partial_depth),
            reported: 0,
            alive: now,
            waits: false,
            shown: now,
            prefill_tokens: 0,
            cached_tokens: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            used: None,
        };
        Self { context, label, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, WatchedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call is made now.
    fn begin(&self) {
        let mut state = self.state();
        state.alive = Instant::now();
        state.shown = state.alive;
    }

    fn take(&self, progress: Progress<'_>) {
        let mut state = self.state();
        if state.used.is_some() {
            return;
        }
        state.alive = Instant::now();
        state.waits = matches!(progress, Progress::Prompt(_));
        let spent = match progress {
            Progress::Prompt(prompt) => {
                prompt.clone_into(&mut state.prompt);
                0
            }
            Progress::Prefill { computed, cached, total } => {
                let before = state.prefill_tokens - state.cached_tokens;
                state.prefill_tokens = computed.max(state.prefill_tokens);
                (state.cached_tokens, state.prompt_tokens) = (cached.min(state.prefill_tokens), total);
                (state.prefill_tokens - state.cached_tokens).saturating_sub(before)
            }
            Progress::Text(text) => {
                self.report_parts(&mut state, text);
                state.text.push_str(text);
                state.completion_tokens += 1;
                if self.label.streams_answer && !text.is_empty() {
                    self.send(EventKind::AnswerDelta { text: text.to_owned() });
                }
                1
            }
        };
        if state.shown.elapsed() >= PROGRESS_EVERY {
            state.shown = state.alive;
            self.send(EventKind::TaskProgress {
                task: self.label.task.clone(),
                prefill_tokens: state.prefill_tokens,
                cached_tokens: state.cached_tokens,
                prompt_tokens: state.prompt_tokens,
                completion_tokens: state.completion_tokens,
            });
        }
        self.context.meter.spend(u64::from(spent), &self.context.cancel);
    }

    /// Reports the parts of the reply that `piece`, which comes next in it, shows to be finished.
    fn report_parts(&self, state: &mut WatchedState, piece: &str) {
        if self.label.partial_depth == 0 {
            return;
        }
        let before = state.text.len();
        for end in state.parts.take(piece) {
            let text = format!("{}{piece}", state.text);
            let output = text[state.reported..before + end].to_owned();
            state.reported = before + end;
            let (task, attempt) = (self.label.task.clone(), self.label.attempt);
            self.send(EventKind::TaskPartial { task, attempt, output });
        }
    }

    /// Sends an event. A run whose observer is gone still ends normally.
    fn send(&self, event: EventKind) {
        let Label { task, attempt, .. } = &self.label;
        let report = Report { ms: self.context.now_ms(), task: task.clone(), attempt: *attempt, event };
        let _ = self.context.reports.send(report);
    }

    /// Ends the call and corrects the tokens counted during the call to those that the reply reports. A call that is
    /// stopped never reports any. Returns what the call has used.
    fn end(&self, reply: Option<&Reply>) -> CallUsage {
        let mut state = self.state();
        if let Some(used) = state.used {
            return used;
        }
        let counted = state.counted();
        let used = reply.map_or(counted, |reply| reply.usage);
        state.used = Some(used);
        let more = used.computed_tokens().saturating_sub(counted.computed_tokens());
        self.context.meter.spend(more, &self.context.cancel);
        used
    }

    /// Ends the call, which gives no reply. Whoever calls this stops the model as well.
    pub(crate) fn stop(&self, end: CallEnd) -> Called {
        let usage = self.end(None);
        let state = self.state();
        let (prompt, output) = (state.prompt.clone(), state.text.clone());
        Called { tokens_max: None, prompt, usage, output, end }
    }

    async fn stalled(&self) {
        loop {
            let (quiet, waits) = {
                let state = self.state();
                (state.alive.elapsed(), state.waits)
            };
            let patience = self.context.stall_after * if waits { QUEUE_PATIENCE } else { 1 };
            let Some(left) = patience.checked_sub(quiet) else { return };
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }
}

/// Aborts a spawned call when nobody waits for its result any more.
struct Leash(tokio::task::AbortHandle);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Calls a model once. It may fail, stall or panic, and the run may be stopped meanwhile.
pub(crate) async fn attempt(watched: &Arc<Watched>, llm: &Arc<dyn Llm>, mut call: Call) -> Called {
    let context = &watched.context;
    if let Some(left) = context.meter.left() {
        call.tokens_max = call.tokens_max.min(u32::try_from(left).unwrap_or(u32::MAX)).max(1);
    }
    let tokens_max = Some(call.tokens_max);
    watched.begin();
    let (model, theirs) = (Arc::clone(llm), Arc::clone(watched));
    let mut work = tokio::spawn(async move {
        let mut progress = |progress: Progress<'_>| theirs.take(progress);
        model.generate(&call, &mut progress).await
    });
    let _leash = Leash(work.abort_handle());
    let failed = |class, error| Err(CallEnd::Failed { class, error });
    let result = tokio::select! {
        biased;
        done = &mut work => match done {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(CallError { kind: CallErrorKind::Transient, message })) => failed(FailureClass::Transient, message),
            Ok(Err(CallError { kind: CallErrorKind::Resource, message })) => failed(FailureClass::Resource, message),
            Err(_) => failed(FailureClass::Stalled, format!("{} stopped unexpectedly", llm.name())),
        },
        _ = context.cancel.stopped() => Err(CallEnd::Stopped),
        () = watched.stalled() => {
            let seconds = context.stall_after.as_secs_f64();
            failed(FailureClass::Stalled, format!("{} made no progress for {seconds} s", llm.name()))
        }
    };
    match result {
        Ok(reply) => {
            let usage = watched.end(Some(&reply));
            let prompt = watched.state().prompt.clone();
            Called { tokens_max, prompt, usage, output: reply.text, end: CallEnd::Reply(reply.finish) }
        }
        Err(end) => Called { tokens_max, ..watched.stop(end) },
    }
}

#[cfg(test)]
mod tests {
    use super::super::band::Finish;
    use super::*;

    fn watched(limit: Option<u64>) -> (Watched, mpsc::UnboundedReceiver<Report>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        let context = Context {
            cancel: Cancel::new(),
            meter: Arc::new(Meter::new(limit, 0)),
            reports,
            started: Instant::now(),
            stall_after: Duration::from_secs(1),
            earlier_ms: 0,
        };
        let label = Label { task: "t1".to_owned(), attempt: 2, streams_answer: true, partial_depth: 0 };
        (Watched::new(context, label), receiver)
    }

    #[test]
    fn a_call_that_is_stopped_used_up_no_tokens_that_came_from_the_cache() {
        let (watched, _receiver) = watched(Some(100));
        for progress in [
            Progress::Prompt("How many?"),
            Progress::Prefill { computed: 80, cached: 64, total: 90 },
            Progress::Prefill { computed: 90, cached: 64, total: 90 },
            Progress::Text("Ten"),
        ] {
            watched.take(progress);
        }
        let stopped = watched.stop(CallEnd::Stopped);
        assert_eq!((stopped.usage.computed_tokens(), watched.context.meter.left()), (27, Some(73)));
        assert_eq!((stopped.prompt.as_str(), stopped.output.as_str()), ("How many?", "Ten"));
    }

    #[test]
    fn what_a_model_reports_after_its_call_has_ended_is_not_part_of_the_run() {
        for reply in [None, Some(Reply { text: "Ten".to_owned(), finish: Finish::Stop, usage: USED })] {
            let (watched, mut reports) = watched(Some(100));
            watched.take(Progress::Prefill { computed: 9, cached: 0, total: 9 });
            watched.take(Progress::Text("Ten"));
            let used = watched.end(reply.as_ref());
            let left = watched.context.meter.left();
            assert_eq!(left, Some(100 - used.computed_tokens()));
            watched.take(Progress::Text(" or more"));
            assert_eq!((watched.stop(CallEnd::Stopped).usage, watched.context.meter.left()), (used, left));
            let reported: Vec<Report> = std::iter::from_fn(|| reports.try_recv().ok()).collect();
            let [Report { task, attempt: 2, event: EventKind::AnswerDelta { text }, .. }] = &reported[..]
            else {
                panic!("{reported:?}");
            };
            assert_eq!((task.as_str(), text.as_str()), ("t1", "Ten"));
        }
    }

    const USED: CallUsage =
        CallUsage { prompt_tokens: 9, cached_tokens: 0, completion_tokens: 4, steps: 5, batch_sum: 5 };
}

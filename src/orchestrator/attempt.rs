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
    /// Receives events, each with its time in milliseconds since the run began.
    pub events: mpsc::UnboundedSender<(u64, EventKind)>,
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

    /// Sends an event. A run whose observer is gone still ends normally.
    pub(crate) fn send(&self, event: EventKind) {
        let _ = self.events.send((self.now_ms(), event));
    }
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
struct Watched {
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
}

impl Watched {
    fn new(context: Context, label: Label) -> Self {
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
        };
        Self { context, label, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, WatchedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, progress: Progress<'_>) {
        let mut state = self.state();
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
                    self.context.send(EventKind::AnswerDelta { text: text.to_owned() });
                }
                1
            }
        };
        if state.shown.elapsed() >= PROGRESS_EVERY {
            state.shown = state.alive;
            self.context.send(EventKind::TaskProgress {
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
            self.context.send(EventKind::TaskPartial { task, attempt, output });
        }
    }

    /// Tokens counted while the call ran. Stands in for the usage that a stopped call never reports.
    fn usage(&self) -> CallUsage {
        let state = self.state();
        CallUsage {
            prompt_tokens: u64::from(state.prefill_tokens),
            cached_tokens: u64::from(state.cached_tokens),
            completion_tokens: u64::from(state.completion_tokens),
            ..CallUsage::default()
        }
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
pub(crate) async fn attempt(context: &Context, label: Label, llm: &Arc<dyn Llm>, mut call: Call) -> Called {
    if let Some(left) = context.meter.left() {
        call.tokens_max = call.tokens_max.min(u32::try_from(left).unwrap_or(u32::MAX)).max(1);
    }
    let tokens_max = Some(call.tokens_max);
    let watched = Arc::new(Watched::new(context.clone(), label));
    let (model, theirs) = (Arc::clone(llm), Arc::clone(&watched));
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
    let usage = spend(context, &watched, result.as_ref().ok());
    let mut state = watched.state();
    let prompt = std::mem::take(&mut state.prompt);
    match result {
        Ok(reply) => {
            Called { tokens_max, prompt, usage, output: reply.text, end: CallEnd::Reply(reply.finish) }
        }
        Err(end) => Called { tokens_max, prompt, usage, output: std::mem::take(&mut state.text), end },
    }
}

/// Corrects the tokens counted during the call to the usage that the reply reports.
fn spend(context: &Context, watched: &Watched, reply: Option<&Reply>) -> CallUsage {
    let counted = watched.usage();
    let call = reply.map_or(counted, |reply| reply.usage);
    context.meter.spend(call.computed_tokens().saturating_sub(counted.computed_tokens()), &context.cancel);
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_stopped_used_up_no_tokens_that_came_from_the_cache() {
        let (events, _receiver) = mpsc::unbounded_channel();
        let meter = Arc::new(Meter::new(Some(100), 0));
        let stall_after = Duration::from_secs(1);
        let (cancel, started) = (Cancel::new(), Instant::now());
        let context = Context { cancel, meter, events, started, stall_after, earlier_ms: 0 };
        let label = Label { task: "t1".to_owned(), attempt: 1, streams_answer: false, partial_depth: 0 };
        let watched = Watched::new(context.clone(), label);
        for progress in [
            Progress::Prompt("How many?"),
            Progress::Prefill { computed: 80, cached: 64, total: 90 },
            Progress::Prefill { computed: 90, cached: 64, total: 90 },
            Progress::Text("Ten"),
        ] {
            watched.take(progress);
        }
        assert_eq!((watched.usage().computed_tokens(), context.meter.left()), (27, Some(73)));
    }
}

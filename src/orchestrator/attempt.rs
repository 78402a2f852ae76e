//! One call of one model. The call is watched for progress, counted against the token budget, and ended when the run is
//! stopped. It is isolated: a model that panics fails its task, not the run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::band::{Call, CallError, CallErrorKind, CallUsage, Progress, Reply};
use super::cancel::{Cancel, StopReason};
use super::event::{EventKind, FailureClass};
use super::outcome::TokenUsage;
use super::registry::Player;

/// Shortest time between two progress events of a task.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What every part of a run shares.
#[derive(Clone)]
pub struct Context {
    pub cancel: Cancel,
    pub meter: Arc<Meter>,
    /// Receives events, each with its time in milliseconds since the run began.
    pub events: mpsc::UnboundedSender<(u64, EventKind)>,
    pub started: Instant,
    /// A call that reports no progress for this long has failed.
    pub stall_after: Duration,
    /// Base seed for sampling. Retries and ballots add to it.
    pub seed: u64,
    /// Number of the run, unique in this process.
    pub run: u64,
}

impl Context {
    /// Milliseconds since the run began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sends an event. A run whose observer is gone still ends normally.
    pub fn send(&self, event: EventKind) {
        let _ = self.events.send((self.now_ms(), event));
    }
}

/// Counts the tokens of a run and stops the run when the budget is used up.
pub struct Meter {
    spent: AtomicU64,
    limit: Option<u64>,
    calls: Mutex<Vec<CallUsage>>,
}

impl Meter {
    /// `limit` covers generated tokens and those prompt tokens that are computed, not found in the prefix cache.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self { spent: AtomicU64::new(0), limit, calls: Mutex::new(Vec::new()) }
    }

    fn spend(&self, tokens: u64, cancel: &Cancel) {
        let spent = self.spent.fetch_add(tokens, Ordering::Relaxed) + tokens;
        if self.limit.is_some_and(|limit| spent >= limit) {
            cancel.stop(StopReason::TokensSpent);
        }
    }

    fn record(&self, usage: CallUsage) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(usage);
    }

    /// Tokens left in the budget; `None` without a limit.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.spent.load(Ordering::Relaxed)))
    }

    /// Usage of every call that has ended, failed ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<CallUsage> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why an attempt gave no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptError {
    Failed {
        class: FailureClass,
        message: String,
        /// The text generated so far.
        partial: String,
    },
    Stopped {
        /// The text generated so far.
        partial: String,
    },
}

/// A call that may still be queued behind others is allowed this many times `stall_after` without progress.
const QUEUE_PATIENCE: u32 = 10;

/// How an attempt appears in events.
#[derive(Debug, Clone)]
pub struct Label {
    pub task: String,
    /// Whether new text is streamed as part of the answer.
    pub streams_answer: bool,
}

#[derive(Debug)]
pub struct Attempt {
    /// The prompt after the chat template; empty if the call failed before it was rendered.
    pub prompt: String,
    /// Counted for failed attempts too.
    pub usage: TokenUsage,
    pub result: Result<Reply, AttemptError>,
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
    alive: Instant,
    /// The prompt was sent and nothing has come back yet, so the call may still be queued.
    waits: bool,
    shown: Instant,
    prefill_tokens: u32,
    prompt_tokens: u32,
    completion_tokens: u32,
}

impl Watched {
    fn new(context: Context, label: Label) -> Self {
        let now = Instant::now();
        let state = WatchedState {
            prompt: String::new(),
            text: String::new(),
            alive: now,
            waits: false,
            shown: now,
            prefill_tokens: 0,
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
            Progress::Prefill { computed, total } => {
                let more = computed.saturating_sub(state.prefill_tokens);
                (state.prefill_tokens, state.prompt_tokens) = (computed.max(state.prefill_tokens), total);
                more
            }
            Progress::Text(text) => {
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
                prompt_tokens: state.prompt_tokens,
                completion_tokens: state.completion_tokens,
            });
        }
        self.context.meter.spend(u64::from(spent), &self.context.cancel);
    }

    /// Tokens counted while the call ran. Stands in for the usage that a stopped call never reports.
    fn usage(&self) -> CallUsage {
        let state = self.state();
        CallUsage {
            prompt_tokens: u64::from(state.prefill_tokens),
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
pub async fn attempt(context: &Context, label: Label, player: &Player, mut call: Call) -> Attempt {
    if let Some(left) = context.meter.left() {
        call.tokens_max = call.tokens_max.min(u32::try_from(left).unwrap_or(u32::MAX)).max(1);
    }
    let watched = Arc::new(Watched::new(context.clone(), label));
    let (llm, theirs) = (Arc::clone(&player.llm), Arc::clone(&watched));
    let mut work = tokio::spawn(async move {
        let mut progress = |progress: Progress<'_>| theirs.take(progress);
        llm.generate(&call, &mut progress).await
    });
    let _leash = Leash(work.abort_handle());
    let failed = |class, message: String| {
        let partial = watched.state().text.clone();
        Err(AttemptError::Failed { class, message, partial })
    };
    let result = tokio::select! {
        biased;
        done = &mut work => match done {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(CallError { kind: CallErrorKind::Transient, message })) => failed(FailureClass::Transient, message),
            Ok(Err(CallError { kind: CallErrorKind::Resource, message })) => failed(FailureClass::Resource, message),
            Err(_) => failed(FailureClass::Transient, format!("{} stopped unexpectedly", player.llm.name())),
        },
        _ = context.cancel.stopped() => Err(AttemptError::Stopped { partial: watched.state().text.clone() }),
        () = watched.stalled() => {
            let seconds = context.stall_after.as_secs_f64();
            failed(FailureClass::Transient, format!("{} made no progress for {seconds} s", player.llm.name()))
        }
    };
    let usage = settle(context, &watched, result.as_ref().ok());
    let prompt = std::mem::take(&mut watched.state().prompt);
    Attempt { prompt, usage, result }
}

/// Corrects the tokens counted during the call to the usage that the reply reports.
fn settle(context: &Context, watched: &Watched, reply: Option<&Reply>) -> TokenUsage {
    let counted = watched.usage();
    let call = reply.map_or(counted, |reply| reply.usage);
    let computed = call.prompt_tokens.saturating_sub(call.cached_tokens) + call.completion_tokens;
    let already = counted.prompt_tokens + counted.completion_tokens;
    context.meter.spend(computed.saturating_sub(already), &context.cancel);
    context.meter.record(call);
    let mut usage = TokenUsage::default();
    usage.add(&call);
    usage
}

//! Loads a server with requests and records when tokens arrive. A closed loop keeps a fixed number of requests running.
//! An open loop sends them at times fixed beforehand, and the time that a request waits to be sent counts as part of
//! its latency, so that a slow server can't choose when it is asked (coordinated omission). Statistics are in `report`.

mod call;
mod recording;
mod report;
#[cfg(test)]
mod tests;
mod traces;
mod workload;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bandmaster_client::{Client, ClientError, Completion, CompletionRequest, Endpoint};
use bandmaster_orchestrator::Cancel;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use self::call::Call;
pub use self::report::{LatencyLimits, LoadReport, Sample, ServeReport, Sweep, SweepRow};
pub use self::workload::Workload;
use crate::random::TokenSource;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A fixed number is running at any time.
    Closed { concurrency: usize },
    /// They arrive at random times (Poisson process).
    Open {
        /// Requests per second on average.
        rate: f64,
    },
    /// They arrive at the times in the recording.
    Recorded,
}

#[derive(Clone)]
pub struct Target {
    pub client: Client,
    pub endpoint: Endpoint,
}

/// The result of a load.
#[derive(Debug)]
pub struct LoadResult {
    /// The requests that ended, in the order in which they were sent.
    pub samples: Vec<Sample>,
    /// From the start to the end of the last request.
    pub wall: Duration,
    pub interrupted: bool,
}

/// Sends all calls (in an open loop in the order of their times) and waits until they have ended or `stop` is
/// cancelled. `on_end` gets the number of calls that have ended.
///
/// # Errors
/// The first call's error if the server can't be reached at all.
pub async fn run_load(
    target: &Target,
    calls: impl ExactSizeIterator<Item = Call> + Send + 'static,
    mode: Mode,
    seed: u64,
    stop: &Cancel,
    on_end: &mut (dyn FnMut(usize) + Send),
) -> Result<LoadResult, ClientError> {
    let (sender, mut finished) = unbounded_channel();
    let started = Instant::now();
    let count = calls.len();
    // Dropping it aborts the running calls.
    let mut running = JoinSet::new();
    match mode {
        Mode::Closed { concurrency } => {
            closed_loop(target, calls, concurrency, started, &sender, &mut running)
        }
        Mode::Open { rate } => {
            let due = arrivals(rate, seed).zip(calls);
            open_loop(target, due, started, &sender, &mut running);
        }
        Mode::Recorded => {
            let due = calls.map(|call| (call.at.unwrap_or_default(), call));
            open_loop(target, due, started, &sender, &mut running);
        }
    }
    drop(sender);
    let mut calls = Vec::with_capacity(count);
    let interrupted = tokio::select! {
        () = collect_finished(&mut finished, &mut calls, on_end) => false,
        _ = stop.stopped() => true,
    };
    let all_failed = calls.iter().all(|call| call.error.is_some());
    if let Some(FinishedCall { error: Some(error @ ClientError::Unreachable { .. }), .. }) = calls.first()
        && all_failed
    {
        return Err(error.clone());
    }
    calls.sort_by_key(|call: &FinishedCall| call.index);
    let wall = calls.iter().map(|call| call.end).max().unwrap_or_default();
    Ok(LoadResult { samples: calls.into_iter().map(|call| call.sample).collect(), wall, interrupted })
}

/// A call that has ended.
struct FinishedCall {
    index: usize,
    /// Since the start of the load.
    end: Duration,
    sample: Sample,
    error: Option<ClientError>,
}

async fn collect_finished(
    finished: &mut UnboundedReceiver<FinishedCall>,
    calls: &mut Vec<FinishedCall>,
    on_end: &mut (dyn FnMut(usize) + Send),
) {
    while let Some(call) = finished.recv().await {
        // If the server is unreachable, don't try hundreds of times.
        let unreachable = matches!(call.error, Some(ClientError::Unreachable { .. }));
        calls.push(call);
        on_end(calls.len());
        if unreachable && calls.len() == 1 {
            return;
        }
    }
}

fn closed_loop(
    target: &Target,
    calls: impl ExactSizeIterator<Item = Call> + Send + 'static,
    concurrency: usize,
    started: Instant,
    sender: &UnboundedSender<FinishedCall>,
    running: &mut JoinSet<()>,
) {
    let concurrency = concurrency.min(calls.len());
    let calls = Arc::new(Mutex::new(calls.enumerate()));
    for _ in 0..concurrency {
        let (target, calls, sender) = (target.clone(), Arc::clone(&calls), sender.clone());
        running.spawn(async move {
            loop {
                let next = calls.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((index, call)) = next else { return };
                let finished = run_call(&target, &call, index, started, Instant::now()).await;
                if sender.send(finished).is_err() {
                    return;
                }
            }
        });
    }
}

/// Each call is generated only when it is its turn.
fn open_loop(
    target: &Target,
    calls: impl Iterator<Item = (Duration, Call)> + Send + 'static,
    started: Instant,
    sender: &UnboundedSender<FinishedCall>,
    running: &mut JoinSet<()>,
) {
    let (target, sender) = (target.clone(), sender.clone());
    running.spawn(async move {
        let mut sent = JoinSet::new();
        for (index, (at, call)) in calls.enumerate() {
            let due = started + at;
            tokio::time::sleep_until(due.into()).await;
            let (target, sender) = (target.clone(), sender.clone());
            sent.spawn(async move {
                // Nobody listens after an interrupt.
                let _ = sender.send(run_call(&target, &call, index, started, due).await);
            });
            while sent.try_join_next().is_some() {}
        }
        while sent.join_next().await.is_some() {}
    });
}

/// Times of a Poisson process: the gaps are exponential with mean `1 / rate`.
fn arrivals(rate: f64, seed: u64) -> impl Iterator<Item = Duration> {
    const STEPS: usize = 1 << 30;
    let mut source = TokenSource::new(seed, STEPS);
    let mut at = 0.0;
    std::iter::repeat_with(move || {
        let now = at;
        // In (0, 1], so that the logarithm is finite.
        let uniform = f64::from(source.take(1)[0] + 1) / STEPS as f64;
        at -= uniform.ln() / rate;
        Duration::from_secs_f64(now)
    })
}

/// Makes one call that was due at `due`; its latencies count from then.
async fn run_call(
    target: &Target,
    call: &Call,
    index: usize,
    started: Instant,
    due: Instant,
) -> FinishedCall {
    let band = target.endpoint.is_band();
    let request = CompletionRequest {
        prompt: call.prompt.clone(),
        max_tokens: call.output_tokens,
        temperature: 0.0,
        seed: None,
        // A band is not a single sequence, so there is no end-of-sequence token to ignore.
        ignore_eos: call.ignore_eos && !band,
        schema: None,
        extra: call.extra.clone(),
    };
    let mut times: Vec<Instant> = Vec::new();
    let answer =
        target.client.complete(&target.endpoint, &request, &mut |_| times.push(Instant::now())).await;
    let end = Instant::now();
    let (completion, error) = match answer {
        Ok(completion) => (Some(completion), None),
        Err(error) => (None, Some(error)),
    };
    let mut sample = sample(call, due - started, due, end, &times, completion.as_ref(), error.as_ref());
    if band {
        sample.output_tokens = sample.pieces;
    }
    FinishedCall { index, end: end - started, sample, error }
}

fn sample(
    call: &Call,
    at: Duration,
    due: Instant,
    end: Instant,
    times: &[Instant],
    completion: Option<&Completion>,
    error: Option<&ClientError>,
) -> Sample {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let usage = completion.and_then(|completion| completion.usage).unwrap_or_default();
    Sample {
        round: 0,
        at_ms: ms(at),
        ttft_ms: times.first().map(|&first| ms(first.saturating_duration_since(due))),
        e2e_ms: ms(end.saturating_duration_since(due)),
        itl_ms: times.windows(2).map(|pair| ms(pair[1] - pair[0])).collect(),
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        output_tokens: completion.map_or(times.len() as u32, Completion::completion_tokens),
        pieces: times.len() as u32,
        asked_tokens: if call.ignore_eos { call.output_tokens } else { 0 },
        error_kind: error.map(|error| error.kind().to_owned()),
        error: error.map(ToString::to_string),
    }
}

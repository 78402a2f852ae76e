//! Loads a server with requests and records when tokens arrive. A closed loop keeps a fixed number of requests running.
//! An open loop sends them at times fixed beforehand, and the time that a request waits to be sent counts as part of
//! its latency, so that a slow server can't choose when it is asked (coordinated omission). Statistics are in `report`.

pub mod call;
pub mod recording;
pub mod report;
#[cfg(test)]
mod tests;
pub mod traces;
pub mod workload;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bandmaster_client::{Answered, Ask, Client, ClientError, Endpoint};
use bandmaster_orchestrator::Cancel;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use self::call::Call;
use self::report::Sample;
use super::workload::TokenSource;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
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
pub struct Loaded {
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
pub async fn load(
    target: &Target,
    calls: impl ExactSizeIterator<Item = Call> + Send + 'static,
    mode: Mode,
    seed: u64,
    stop: &Cancel,
    on_end: &mut (dyn FnMut(usize) + Send),
) -> Result<Loaded, ClientError> {
    let (sender, mut ended) = unbounded_channel();
    let began = Instant::now();
    let count = calls.len();
    // Dropping it aborts the running calls.
    let mut under_way = JoinSet::new();
    match mode {
        Mode::Closed { concurrency } => closed(target, calls, concurrency, began, &sender, &mut under_way),
        Mode::Open { rate } => {
            let due = arrivals(rate, seed).zip(calls);
            open(target, due, began, &sender, &mut under_way);
        }
        Mode::Recorded => {
            let due = calls.map(|call| (call.at.unwrap_or_default(), call));
            open(target, due, began, &sender, &mut under_way);
        }
    }
    drop(sender);
    let mut samples = Vec::with_capacity(count);
    let interrupted = tokio::select! {
        () = collect(&mut ended, &mut samples, on_end) => false,
        _ = stop.stopped() => true,
    };
    let nobody = samples.iter().all(|ended| ended.error.is_some());
    if let Some(Ended { error: Some(error @ ClientError::Unreachable { .. }), .. }) = samples.first()
        && nobody
    {
        return Err(error.clone());
    }
    samples.sort_by_key(|ended: &Ended| ended.place);
    let wall = samples.iter().map(|ended| ended.end).max().unwrap_or_default();
    Ok(Loaded { samples: samples.into_iter().map(|ended| ended.sample).collect(), wall, interrupted })
}

/// A call that has ended.
struct Ended {
    place: usize,
    /// Since the start of the load.
    end: Duration,
    sample: Sample,
    error: Option<ClientError>,
}

async fn collect(
    ended: &mut UnboundedReceiver<Ended>,
    samples: &mut Vec<Ended>,
    on_end: &mut (dyn FnMut(usize) + Send),
) {
    while let Some(one) = ended.recv().await {
        // If the server is unreachable, don't try hundreds of times.
        let unreachable = matches!(one.error, Some(ClientError::Unreachable { .. }));
        samples.push(one);
        on_end(samples.len());
        if unreachable && samples.len() == 1 {
            return;
        }
    }
}

fn closed(
    target: &Target,
    calls: impl ExactSizeIterator<Item = Call> + Send + 'static,
    concurrency: usize,
    began: Instant,
    sender: &UnboundedSender<Ended>,
    under_way: &mut JoinSet<()>,
) {
    let concurrency = concurrency.min(calls.len());
    let calls = Arc::new(Mutex::new(calls.enumerate()));
    for _ in 0..concurrency {
        let (target, calls, sender) = (target.clone(), Arc::clone(&calls), sender.clone());
        under_way.spawn(async move {
            loop {
                let next = calls.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((place, call)) = next else { return };
                let ended = one(&target, &call, place, began, Instant::now()).await;
                if sender.send(ended).is_err() {
                    return;
                }
            }
        });
    }
}

/// Each call is generated only when it is its turn.
fn open(
    target: &Target,
    calls: impl Iterator<Item = (Duration, Call)> + Send + 'static,
    began: Instant,
    sender: &UnboundedSender<Ended>,
    under_way: &mut JoinSet<()>,
) {
    let (target, sender) = (target.clone(), sender.clone());
    under_way.spawn(async move {
        let mut sent = JoinSet::new();
        for (place, (at, call)) in calls.enumerate() {
            let due = began + at;
            tokio::time::sleep_until(due.into()).await;
            let (target, sender) = (target.clone(), sender.clone());
            sent.spawn(async move {
                // Nobody listens after an interrupt.
                let _ = sender.send(one(&target, &call, place, began, due).await);
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
async fn one(target: &Target, call: &Call, place: usize, began: Instant, due: Instant) -> Ended {
    let band = target.endpoint.is_band();
    let ask = Ask {
        prompt: call.prompt.clone(),
        max_tokens: call.output_tokens,
        temperature: 0.0,
        seed: None,
        // A band is not a single sequence, so there is no end-of-sequence token to ignore.
        ignore_eos: call.ignores_end && !band,
        schema: None,
        more: call.more.clone(),
    };
    let mut times: Vec<Instant> = Vec::new();
    let answer = target.client.ask(&target.endpoint, &ask, &mut |_| times.push(Instant::now())).await;
    let end = Instant::now();
    let (answered, error) = match answer {
        Ok(answered) => (Some(answered), None),
        Err(error) => (None, Some(error)),
    };
    let mut sample = sample(call, due - began, due, end, &times, answered.as_ref(), error.as_ref());
    if band {
        sample.output_tokens = sample.pieces;
    }
    Ended { place, end: end - began, sample, error }
}

fn sample(
    call: &Call,
    at: Duration,
    due: Instant,
    end: Instant,
    times: &[Instant],
    answered: Option<&Answered>,
    error: Option<&ClientError>,
) -> Sample {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let usage = answered.and_then(|answered| answered.usage).unwrap_or_default();
    Sample {
        round: 0,
        at_ms: ms(at),
        ttft_ms: times.first().map(|&first| ms(first.saturating_duration_since(due))),
        e2e_ms: ms(end.saturating_duration_since(due)),
        itl_ms: times.windows(2).map(|pair| ms(pair[1] - pair[0])).collect(),
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        output_tokens: answered.map_or(times.len() as u32, Answered::output_tokens),
        pieces: times.len() as u32,
        asked_tokens: if call.ignores_end { call.output_tokens } else { 0 },
        error_kind: error.map(|error| error.kind().to_owned()),
        error: error.map(ToString::to_string),
    }
}

//! CPU work of requests outside the engine, such as tokenizing and rendering prompts: on blocking threads, a few jobs
//! at a time. Large jobs queue separately from small ones. When the client has left, a waiting job is not started and a
//! running one ends soon. What the jobs do is not known here.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bandmaster_text::Cancellation;
use tokio::sync::Semaphore;

use super::budget;
use super::error::ApiError;

/// Jobs on more bytes than this are large.
const LARGE_BYTES: usize = 256 << 10;
/// Most bytes of a text that is not sent to a model, e.g. one to tokenize. Prompts have the limit of their model.
pub(crate) const TEXT_BYTES_MAX: usize = 8 << 20;
/// How long a job may wait for its turn.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a job may run before its client gets an error.
const TIME_MAX: Duration = Duration::from_secs(30);

static SMALL: Semaphore = Semaphore::const_new(16);
static LARGE: Semaphore = Semaphore::const_new(2);
/// Grammars have a queue of their own: compiling one may take seconds, and prompts should not wait for it.
static GRAMMARS: Semaphore = Semaphore::const_new(8);
/// Most requests that compile a grammar or wait to.
const GRAMMARS_PENDING_MAX: usize = 64;
static GRAMMARS_PENDING: AtomicUsize = AtomicUsize::new(0);
/// After a job that took at least this long, freed memory is returned to the system.
const LONG_JOB: Duration = Duration::from_millis(50);

#[cfg(test)]
thread_local! {
    /// Counts the jobs requested on this thread.
    pub static JOBS_STARTED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Tells the job when it is dropped that its client no longer waits.
struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs `work` on about `bytes` bytes of input.
///
/// # Errors
/// Those of `work`; 503 if it gets no turn in time, 413 if it takes too long.
pub(crate) async fn run<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce(&Cancellation) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    #[cfg(test)]
    JOBS_STARTED.set(JOBS_STARTED.get() + 1);
    let semaphore = if bytes <= LARGE_BYTES { &SMALL } else { &LARGE };
    run_within(semaphore, (WAIT_MAX, TIME_MAX), work).await
}

/// Runs `work` that compiles a grammar.
///
/// # Errors
/// As [`run`], and 429 when too many grammars are requested at once.
pub(crate) async fn compile_grammar<T: Send + 'static>(
    work: impl FnOnce(&Cancellation) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let _pending = PendingGrammar::count_in(&GRAMMARS_PENDING, GRAMMARS_PENDING_MAX)?;
    run_within(&GRAMMARS, (WAIT_MAX, TIME_MAX), work).await
}

/// Counts one request for a grammar until it is dropped.
struct PendingGrammar<'a>(&'a AtomicUsize);

impl<'a> PendingGrammar<'a> {
    fn count_in(count: &'a AtomicUsize, most: usize) -> Result<Self, ApiError> {
        let pending = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(pending);
        }
        let message = "too many grammars are being compiled: try again later";
        Err(ApiError::too_many(message, Duration::from_secs(1)).code("queue_full"))
    }
}

impl Drop for PendingGrammar<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run_within<T: Send + 'static>(
    semaphore: &'static Semaphore,
    (wait_max, time_max): (Duration, Duration),
    work: impl FnOnce(&Cancellation) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let permit = tokio::time::timeout(wait_max, semaphore.acquire()).await.map_err(|_| {
        ApiError::unavailable("other requests are being prepared: try again later").code("queue_full")
    })?;
    let cancel_on_drop = CancelOnDrop(Cancellation::default());
    let cancellation = cancel_on_drop.0.clone();
    let working = tokio::task::spawn_blocking(move || {
        // Held by the work itself, so that an abandoned job counts until it has ended.
        let _permit = permit;
        let began = Instant::now();
        let result =
            if cancellation.is_cancelled() { Err(ApiError::client_left()) } else { work(&cancellation) };
        if began.elapsed() >= LONG_JOB {
            budget::report_freed();
        }
        result
    });
    match tokio::time::timeout(time_max, working).await {
        Ok(result) => {
            result.map_err(|error| ApiError::internal(format!("the text could not be read: {error}")))?
        }
        Err(_) => Err(ApiError::new(
            axum::http::StatusCode::PAYLOAD_TOO_LARGE,
            super::error::INVALID_REQUEST,
            format!("the text was not processed within {} s: send less at once", time_max.as_secs()),
        )),
    }
}

/// Refuses a text of more than [`TEXT_BYTES_MAX`] bytes.
///
/// # Errors
/// 413 naming the field and the limit.
pub(crate) fn check_size(field: &str, bytes: usize) -> Result<(), ApiError> {
    if bytes <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message =
        format!("{field} has {bytes} bytes, but at most {TEXT_BYTES_MAX} are allowed: send it in parts");
    let error =
        ApiError::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, super::error::INVALID_REQUEST, message);
    Err(ApiError { param: Some(field.to_owned()), ..error })
}

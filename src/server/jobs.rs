//! Work for processors that a request asks for beside a model: texts become tokens and prompts, on threads of their own, few
//! at a time. A job that is large waits behind the large ones only; one whose client left is not begun, and ends soon where
//! it was. What is worked on is not known here.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::budget;
use super::error::ApiError;
use crate::text::Waited;

/// From here on a text is large.
const LARGE_BYTES: usize = 256 << 10;
/// A text that is only looked at has so many bytes at most; one that is asked with has the limits of its model.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// A job waits so long for its turn.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A job is waited for so long.
const TIME_MAX: Duration = Duration::from_secs(30);

static SMALL: Semaphore = Semaphore::const_new(16);
static LARGE: Semaphore = Semaphore::const_new(2);
/// Grammars have turns of their own: one may take seconds, and prompts need not wait for it.
static GRAMMARS: Semaphore = Semaphore::const_new(8);
/// Requests that have such a turn or wait for one.
const GRAMMARS_ASKED_MAX: usize = 64;
static GRAMMARS_ASKED: AtomicUsize = AtomicUsize::new(0);
/// What a job that took so long has freed is given back to the system.
const LONG: Duration = Duration::from_millis(50);

#[cfg(test)]
thread_local! {
    /// Jobs that were asked for on this thread.
    pub static ASKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Says that nobody waits any more when it is dropped.
struct Waiter(Waited);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Does `work` on about so many bytes.
///
/// # Errors
/// What `work` says; 503 when it finds no turn, 413 when it takes too long.
pub async fn run<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce(&Waited) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    #[cfg(test)]
    ASKED.set(ASKED.get() + 1);
    let turns = if bytes <= LARGE_BYTES { &SMALL } else { &LARGE };
    run_within(turns, (WAIT_MAX, TIME_MAX), work).await
}

/// Does `work` that makes a grammar.
///
/// # Errors
/// What `work` says; 429 when too many ask, 503 when it finds no turn, 413 when it takes too long.
pub async fn make<T: Send + 'static>(
    work: impl FnOnce(&Waited) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let _asked = Asked::among(&GRAMMARS_ASKED, GRAMMARS_ASKED_MAX)?;
    run_within(&GRAMMARS, (WAIT_MAX, TIME_MAX), work).await
}

/// One of those who ask for a grammar.
struct Asked<'a>(&'a AtomicUsize);

impl<'a> Asked<'a> {
    fn among(count: &'a AtomicUsize, most: usize) -> Result<Self, ApiError> {
        let asked = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(asked);
        }
        let message = "too many grammars are asked for at this moment: try again later";
        Err(ApiError::too_many(message, Duration::from_secs(1)).code("queue_full"))
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run_within<T: Send + 'static>(
    turns: &'static Semaphore,
    (wait_max, time_max): (Duration, Duration),
    work: impl FnOnce(&Waited) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = tokio::time::timeout(wait_max, turns.acquire()).await.map_err(|_| {
        ApiError::unavailable("other requests are being prepared: try again later").code("queue_full")
    })?;
    let waiter = Waiter(Waited::default());
    let waited = waiter.0.clone();
    let working = tokio::task::spawn_blocking(move || {
        // Held by the work itself: what nobody waits for any more still counts until it ends.
        let _turn = turn;
        let began = Instant::now();
        let done = if waited.goes_on() { work(&waited) } else { Err(ApiError::left()) };
        if began.elapsed() >= LONG {
            budget::give_back();
        }
        done
    });
    match tokio::time::timeout(time_max, working).await {
        Ok(done) => {
            done.map_err(|error| ApiError::internal(format!("the text could not be read: {error}")))?
        }
        Err(_) => Err(ApiError::new(
            axum::http::StatusCode::PAYLOAD_TOO_LARGE,
            super::error::INVALID_REQUEST,
            format!("the text was not read within {} s: send less at once", time_max.as_secs()),
        )),
    }
}

/// Refuses a text that is only looked at and has too many bytes.
///
/// # Errors
/// 413 naming the field and the limit.
pub fn check_size(field: &str, bytes: usize) -> Result<(), ApiError> {
    if bytes <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("{field} has {bytes} bytes: {TEXT_BYTES_MAX} at most at once, so send it in parts");
    let error =
        ApiError::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, super::error::INVALID_REQUEST, message);
    Err(ApiError { param: Some(field.to_owned()), ..error })
}

//! Work for processors that a request asks for beside a model: texts become tokens and prompts, on threads of their own, few
//! at a time. A job that is large waits behind the large ones only; one whose client left is not begun, and ends soon where
//! it was. What is worked on is not known here.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::ApiError;

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

/// Whether somebody still waits for a job.
#[derive(Debug, Clone, Default)]
pub struct Waited(Arc<AtomicBool>);

impl Waited {
    /// Looked at now and then by whoever works long.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// Says that nobody waits any more when it is dropped.
struct Waiter(Waited);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
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
    let turns = if bytes <= LARGE_BYTES { &SMALL } else { &LARGE };
    run_within(turns, (WAIT_MAX, TIME_MAX), work).await
}

async fn run_within<T: Send + 'static>(
    turns: &'static Semaphore,
    (wait_max, time_max): (Duration, Duration),
    work: impl FnOnce(&Waited) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = tokio::time::timeout(wait_max, turns.acquire()).await.map_err(|_| {
        ApiError::unavailable("other texts are being read: try again later").code("queue_full")
    })?;
    let waiter = Waiter(Waited::default());
    let waited = waiter.0.clone();
    let working = tokio::task::spawn_blocking(move || {
        // Held by the work itself: what nobody waits for any more still counts until it ends.
        let _turn = turn;
        if waited.goes_on() { work(&waited) } else { Err(left()) }
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

/// For a job that ends early; nobody is there to hear it.
#[must_use]
pub fn left() -> ApiError {
    ApiError::unavailable("the client left")
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

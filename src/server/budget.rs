//! The memory budget of all request bodies together. A body takes its share before its first byte is read and returns
//! it when the response is complete. Small bodies take none, so that they are served however many large ones wait.

#[cfg(test)]
pub mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Bodies up to this size take no share of the budget.
pub const SMALL_BYTES: usize = 64 << 10;
/// Bodies up to this size have a budget of their own, so that they do not wait for larger ones.
const MEDIUM_BYTES: usize = 2 << 20;
/// Memory for a JSON value while it is parsed: the value, and its share of the growing list that holds it.
const VALUE_BYTES: usize = 200;
/// Memory that may remain of it after parsing.
const KEPT_BYTES: usize = 32;
/// How long a request waits for its share.
const WAIT_MAX: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The budget for one size class of bodies.
#[derive(Debug)]
pub struct Parts {
    /// For the raw bytes of bodies.
    bytes: Arc<Semaphore>,
    /// For the values parsed from them. To avoid a deadlock, who holds a share of this never waits for `bytes`.
    made: Arc<Semaphore>,
    made_max: usize,
    wait_max: Duration,
    waiting: AtomicUsize,
}

static MEDIUM: LazyLock<Parts> = LazyLock::new(|| Parts::new(64 << 20, 192 << 20));
static LARGE: LazyLock<Parts> = LazyLock::new(|| Parts::new(128 << 20, 384 << 20));

/// Notified when a share is returned.
static FREED: Notify = Notify::const_new();

/// Waits until a share is returned. Its memory is then freed, but the allocator may still hold it.
pub async fn freed() {
    FREED.notified().await;
}

/// A request's share of the budget; returned when it is dropped.
#[derive(Debug, Default)]
pub struct Part {
    bytes: Option<OwnedSemaphorePermit>,
    made: Option<OwnedSemaphorePermit>,
    of: Option<&'static Parts>,
}

impl Part {
    /// Takes a share for a body of at most `bytes` bytes.
    ///
    /// # Errors
    /// 503 if other requests hold the whole budget for too long.
    pub async fn take(bytes: usize) -> Result<Self, ApiError> {
        if bytes <= SMALL_BYTES {
            return Ok(Self::default());
        }
        let of: &Parts = if bytes <= MEDIUM_BYTES { &MEDIUM } else { &LARGE };
        Ok(Self { bytes: Some(of.wait(&of.bytes, bytes).await?), made: None, of: Some(of) })
    }

    /// Whether other requests wait for this budget.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.of.is_some_and(|of| of.waiting.load(Ordering::Relaxed) > 0)
    }

    /// Takes a share for parsing `bytes` bytes that contain `values` JSON values.
    ///
    /// # Errors
    /// 503 if other requests hold the whole budget for too long.
    pub async fn build(&mut self, bytes: usize, values: usize) -> Result<(), ApiError> {
        if let Some(of) = self.of {
            // At most half for one body, so that others can be parsed beside the largest.
            let wanted = bytes.saturating_add(values.saturating_mul(VALUE_BYTES)).min(of.made_max / 2);
            self.made = Some(of.wait(&of.made, wanted).await?);
        }
        Ok(())
    }

    /// Called after parsing: returns the share of the raw bytes, and what the parsed values no longer need.
    pub fn built(&mut self, bytes: usize, values: usize) {
        self.bytes = None;
        let kept = kibibytes(bytes.saturating_add(values.saturating_mul(KEPT_BYTES))) as usize;
        if let Some(made) = &mut self.made {
            let spare = made.num_permits().saturating_sub(kept);
            drop(made.split(spare));
        }
    }
}

/// Reports that much memory was freed, which the allocator may still hold.
pub fn give_back() {
    FREED.notify_one();
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.of.is_some() {
            give_back();
        }
    }
}

/// Converts to the unit of the semaphores' permits.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

impl Parts {
    fn new(bytes: usize, made: usize) -> Self {
        let semaphore = |bytes| Arc::new(Semaphore::new(kibibytes(bytes) as usize));
        Self {
            bytes: semaphore(bytes),
            made: semaphore(made),
            made_max: made,
            wait_max: WAIT_MAX,
            waiting: AtomicUsize::new(0),
        }
    }

    async fn wait(&self, of: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let wanted = kibibytes(bytes);
        if let Ok(permit) = Arc::clone(of).try_acquire_many_owned(wanted) {
            return Ok(permit);
        }
        let _waiting = Waiting::begin(&self.waiting);
        match tokio::time::timeout(self.wait_max, Arc::clone(of).acquire_many_owned(wanted)).await {
            Ok(permit) => Ok(permit.expect("nobody closes it")),
            Err(_) => Err(ApiError {
                retry_after: Some(RETRY_AFTER),
                ..ApiError::unavailable(
                    "other large requests use all the memory for requests: try again later",
                )
                .code("memory_full")
            }),
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

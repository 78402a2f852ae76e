//! The memory of requests, all together: a body takes its part before its first byte is read, and gives it back when its
//! answer is finished. Small ones take nothing, so that who asks little is answered beside any crowd of large ones.

#[cfg(test)]
pub mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Bodies of so many bytes take no part.
pub const SMALL_BYTES: usize = 64 << 10;
/// Bodies of so many bytes have a part for themselves.
const MEDIUM_BYTES: usize = 2 << 20;
/// What a value takes as long as it is being read: itself, and its list while that grows.
const VALUE_BYTES: usize = 200;
/// What of it may be left when it was read.
const KEPT_BYTES: usize = 32;
/// A request waits so long for its part.
const WAIT_MAX: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The parts of one size of bodies.
#[derive(Debug)]
pub struct Parts {
    /// Bytes on their way.
    bytes: Arc<Semaphore>,
    /// What is made of them. Who holds some waits for no bytes, so that nobody waits for who waits for it.
    made: Arc<Semaphore>,
    made_max: usize,
    wait_max: Duration,
    waiting: AtomicUsize,
}

static MEDIUM: LazyLock<Parts> = LazyLock::new(|| Parts::new(64 << 20, 192 << 20));
static LARGE: LazyLock<Parts> = LazyLock::new(|| Parts::new(128 << 20, 384 << 20));

/// Says that a part was given back.
static FREED: Notify = Notify::const_new();

/// Waits until a part is given back: its memory is free, but the allocator may keep it.
pub async fn freed() {
    FREED.notified().await;
}

/// A request's part; dropped, others have it.
#[derive(Debug, Default)]
pub struct Part {
    bytes: Option<OwnedSemaphorePermit>,
    made: Option<OwnedSemaphorePermit>,
    of: Option<&'static Parts>,
}

impl Part {
    /// For a body of so many bytes at most.
    ///
    /// # Errors
    /// 503 when others hold everything for too long.
    pub async fn take(bytes: usize) -> Result<Self, ApiError> {
        if bytes <= SMALL_BYTES {
            return Ok(Self::default());
        }
        let of: &Parts = if bytes <= MEDIUM_BYTES { &MEDIUM } else { &LARGE };
        Ok(Self { bytes: Some(of.wait(&of.bytes, bytes).await?), made: None, of: Some(of) })
    }

    /// Whether others wait for what this one holds.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.of.is_some_and(|of| of.waiting.load(Ordering::Relaxed) > 0)
    }

    /// Before `bytes` with so many values are read.
    ///
    /// # Errors
    /// 503 when others hold everything for too long.
    pub async fn build(&mut self, bytes: usize, values: usize) -> Result<(), ApiError> {
        if let Some(of) = self.of {
            // No body has all of it: others go on beside the largest.
            let wanted = bytes.saturating_add(values.saturating_mul(VALUE_BYTES)).min(of.made_max / 2);
            self.made = Some(of.wait(&of.made, wanted).await?);
        }
        Ok(())
    }

    /// The bytes are gone: what was made of them stays, and takes less than it did while it was read.
    pub fn built(&mut self, bytes: usize, values: usize) {
        self.bytes = None;
        let kept = kibibytes(bytes.saturating_add(values.saturating_mul(KEPT_BYTES))) as usize;
        if let Some(made) = &mut self.made {
            let spare = made.num_permits().saturating_sub(kept);
            drop(made.split(spare));
        }
    }
}

/// Says that something large was freed, which the allocator may keep.
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

/// Permits are counted in KiB.
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
                    "other large requests take all the memory that requests may: try again later",
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

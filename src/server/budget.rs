//! The memory budget of all request bodies together. A body takes its share before its first byte is read and returns
//! it when the response is complete. Small bodies take none, so that they are served however many large ones wait.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bandmaster_band::return_heap_memory;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// Bodies up to this size take no share of the budget.
pub(crate) const SMALL_BYTES: usize = 64 << 10;
/// Bodies up to this size have a budget of their own, so that they do not wait for larger ones.
const MEDIUM_BYTES: usize = 2 << 20;
/// Memory for a JSON value while it is parsed: the value, and its share of the growing list that holds it.
const PARSING_VALUE_BYTES: usize = 200;
/// Memory that may remain of it after parsing.
const PARSED_VALUE_BYTES: usize = 32;
/// How long a request waits for its share.
const WAIT_MAX: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The budget for one size class of bodies.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    /// For the raw bytes of bodies.
    bytes: Arc<Semaphore>,
    /// For the values parsed from them. To avoid a deadlock, who holds a share of this never waits for `bytes`.
    parsed_values: Arc<Semaphore>,
    parsed_max: usize,
    wait_max: Duration,
    waiting: AtomicUsize,
}

static MEDIUM: LazyLock<MemoryBudget> = LazyLock::new(|| MemoryBudget::new(64 << 20, 192 << 20));
static LARGE: LazyLock<MemoryBudget> = LazyLock::new(|| MemoryBudget::new(128 << 20, 384 << 20));

/// Notified when a share is returned.
static FREED: Notify = Notify::const_new();

/// How long freed memory is kept for the next request before it is returned to the system.
const RETURN_MEMORY_AFTER: Duration = Duration::from_millis(500);

/// Returns the memory of large requests to the system when they have ended, as long as the future is polled. The
/// allocator alone would keep it.
pub async fn return_freed_memory() {
    loop {
        FREED.notified().await;
        tokio::time::sleep(RETURN_MEMORY_AFTER).await;
        let _ = tokio::task::spawn_blocking(return_heap_memory).await;
    }
}

/// A request's share of the budget; returned when it is dropped.
#[derive(Debug, Default)]
pub struct BudgetShare {
    bytes: Option<OwnedSemaphorePermit>,
    parsed_values: Option<OwnedSemaphorePermit>,
    budget: Option<&'static MemoryBudget>,
}

impl BudgetShare {
    /// Takes a share for a body of at most `bytes` bytes.
    ///
    /// # Errors
    /// 503 if other requests hold the whole budget for too long.
    pub async fn take(bytes: usize) -> Result<Self, ApiError> {
        if bytes <= SMALL_BYTES {
            return Ok(Self::default());
        }
        let budget: &MemoryBudget = if bytes <= MEDIUM_BYTES { &MEDIUM } else { &LARGE };
        Ok(Self {
            bytes: Some(budget.wait(&budget.bytes, bytes).await?),
            parsed_values: None,
            budget: Some(budget),
        })
    }

    /// Whether other requests wait for this budget.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.budget.is_some_and(|budget| budget.waiting.load(Ordering::Relaxed) > 0)
    }

    /// Takes a share for parsing `bytes` bytes that contain `values` JSON values.
    ///
    /// # Errors
    /// 503 if other requests hold the whole budget for too long.
    pub async fn take_for_parsing(&mut self, bytes: usize, values: usize) -> Result<(), ApiError> {
        if let Some(budget) = self.budget {
            // At most half for one body, so that others can be parsed beside the largest.
            let wanted =
                bytes.saturating_add(values.saturating_mul(PARSING_VALUE_BYTES)).min(budget.parsed_max / 2);
            self.parsed_values = Some(budget.wait(&budget.parsed_values, wanted).await?);
        }
        Ok(())
    }

    /// Called after parsing: returns the share of the raw bytes, and what the parsed values no longer need.
    pub fn parsed(&mut self, bytes: usize, values: usize) {
        self.bytes = None;
        let kept = kibibytes(bytes.saturating_add(values.saturating_mul(PARSED_VALUE_BYTES))) as usize;
        if let Some(permit) = &mut self.parsed_values {
            let spare = permit.num_permits().saturating_sub(kept);
            drop(permit.split(spare));
        }
    }
}

/// Reports that much memory was freed, which the allocator may still hold.
pub(crate) fn report_freed() {
    FREED.notify_one();
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        if self.budget.is_some() {
            report_freed();
        }
    }
}

/// Converts to the unit of the semaphores' permits.
fn kibibytes(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

impl MemoryBudget {
    fn new(bytes: usize, parsed_values: usize) -> Self {
        let semaphore = |bytes| Arc::new(Semaphore::new(kibibytes(bytes) as usize));
        Self {
            bytes: semaphore(bytes),
            parsed_values: semaphore(parsed_values),
            parsed_max: parsed_values,
            wait_max: WAIT_MAX,
            waiting: AtomicUsize::new(0),
        }
    }

    async fn wait(&self, semaphore: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let wanted = kibibytes(bytes);
        if let Ok(permit) = Arc::clone(semaphore).try_acquire_many_owned(wanted) {
            return Ok(permit);
        }
        let _waiting = Waiting::begin(&self.waiting);
        match tokio::time::timeout(self.wait_max, Arc::clone(semaphore).acquire_many_owned(wanted)).await {
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

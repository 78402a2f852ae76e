//! What the handles of an engine and its thread send each other, and what they share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, RwLock, SyncSender};
use super::{
    EngineConfig, Event, ExpectedPrefix, ExpectedPrefixId, Failure, Job, Limits, LoadError, LoadResult,
    ModelId, Request, RequestId, Stats,
};

/// Loads a model, on a thread of its own, each time the engine needs it.
pub(crate) type Loader = Arc<dyn Fn() -> LoadResult + Send + Sync>;

/// A command to the engine's thread, through the bounded channel.
pub(super) enum Command {
    Submit(Submission),
    Load {
        name: String,
        weight_bytes: usize,
        loader: Loader,
        reply: SyncSender<LoadReply>,
    },
    Job(RequestId, Job),
    /// Makes the thread look at what changed outside the channel.
    Wake,
}

/// A message to the thread that no full queue refuses.
pub(super) enum ControlMessage {
    Cancel(RequestId),
    Expect(ExpectedPrefixId, ExpectedPrefix),
    Release(ExpectedPrefixId),
}

/// A request on its way to the thread. If the engine stops first, dropping it fails the request.
pub(super) struct Submission {
    pub(super) id: RequestId,
    pub(super) request: Option<Request>,
}

impl Drop for Submission {
    fn drop(&mut self) {
        if let Some(mut request) = self.request.take() {
            fail(&mut request, Failure::Stopped);
        }
    }
}

pub(super) fn fail(request: &mut Request, failure: Failure) {
    // A sink that panics here is ignored.
    let _ = catch_unwind(AssertUnwindSafe(|| (request.sink)(Event::Failed(failure))));
}

pub(super) struct Shared {
    pub(super) config: EngineConfig,
    /// Indexed by model; `None` before a model was first loaded.
    pub(super) limits: RwLock<Vec<Option<Limits>>>,
    /// Requests that were accepted and have sent no event yet.
    pub(super) queued: AtomicUsize,
    pub(super) next_id: AtomicU64,
    /// Control messages that the thread has not read yet. Unbounded.
    pub(super) control: Mutex<Vec<ControlMessage>>,
    /// Jobs that were accepted and have not ended.
    pub(super) jobs: AtomicUsize,
    pub(super) stopping: AtomicBool,
    pub(super) stats: Mutex<Stats>,
}

impl Shared {
    pub(super) fn new(config: EngineConfig) -> Self {
        Self {
            config,
            limits: RwLock::new(Vec::new()),
            queued: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            control: Mutex::new(Vec::new()),
            jobs: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            stats: Mutex::new(Stats::default()),
        }
    }
}

/// Ignores poisoning: everything behind these locks is replaced whole, so it is still good after a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in a queue, freed when dropped. A request holds it until its first event, a job until it ends.
pub(super) struct QueuePermit(pub(super) Arc<Shared>, pub(super) fn(&Shared) -> &AtomicUsize);

impl Drop for QueuePermit {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

/// The reply to a load command.
pub(super) type LoadReply = Result<ModelId, LoadError>;

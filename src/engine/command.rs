//! What passes between the handles of an engine and its thread, and what the two share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, RwLock, SyncSender};
use super::{
    Brought, EngineConfig, Event, Expected, ExpectedId, Job, Limits, ModelId, Request, RequestId, Stats,
};

/// What a request hears that the engine did not take before it ended.
pub(super) const STOPPED: &str = "the engine has stopped";

/// Loads a model on a thread of its own, each time the model is called, or says why it can't be loaded.
pub type Loader = Arc<dyn Fn() -> Brought + Send + Sync>;

/// What a handle asks of the thread.
pub(super) enum Command {
    Submit(Submission),
    Load {
        name: String,
        weight_bytes: usize,
        loader: Loader,
        reply: SyncSender<Loaded>,
    },
    Job(RequestId, Job),
    /// Something changed that the thread looks at between steps.
    Wake,
}

/// What a handle tells the thread that is never refused.
pub(super) enum Told {
    Cancel(RequestId),
    Expect(ExpectedId, Expected),
    Release(ExpectedId),
}

/// A request on its way. If the engine ends before it takes it, its listener hears so.
pub(super) struct Submission {
    pub(super) id: RequestId,
    /// Whom it goes on from; then what the two share is filled in when it is taken.
    pub(super) parent: Option<RequestId>,
    pub(super) request: Option<Request>,
}

impl Drop for Submission {
    fn drop(&mut self) {
        if let Some(mut request) = self.request.take() {
            fail(&mut request, STOPPED.into());
        }
    }
}

pub(super) fn fail(request: &mut Request, message: String) {
    // A listener that panics here has nothing more to lose.
    let _ = catch_unwind(AssertUnwindSafe(|| (request.sink)(Event::Failed(message))));
}

/// What handles and the thread share.
pub(super) struct Shared {
    pub(super) config: EngineConfig,
    /// By model; none for one that was never here.
    pub(super) limits: RwLock<Vec<Option<Limits>>>,
    /// Requests that were taken and of which nothing has been heard.
    pub(super) queued: AtomicUsize,
    pub(super) next_id: AtomicU64,
    /// Not yet looked at. Never full.
    pub(super) told: Mutex<Vec<Told>>,
    /// How many jobs were taken and have not ended.
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
            told: Mutex::new(Vec::new()),
            jobs: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            stats: Mutex::new(Stats::default()),
        }
    }
}

/// What a panic left is still good: everything behind these locks is replaced whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in one of the queues: a request's until something is heard of it, a job's while it lives.
pub(super) struct QueuePlace(pub(super) Arc<Shared>, pub(super) fn(&Shared) -> &AtomicUsize);

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

/// What whoever asked for a model hears.
pub(super) type Loaded = Result<ModelId, String>;

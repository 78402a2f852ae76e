//! The engine's thread and the handles that reach it. Commands come through one bounded channel and are taken between
//! steps; this is the only place of the engine that reads a clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bandmaster_models::Model;

use super::sequence::panic_message;
use super::{Core, EngineConfig, Event, Limits, ModelId, Rejected, Request, RequestId, Stats};

/// Commands on their way to the engine besides requests, whose number has a limit of its own.
const OTHER_COMMANDS_MAX: usize = 64;
/// Longest sleep while sequences live that cannot go on.
const STUCK_SLEEP: Duration = Duration::from_millis(5);
const STOPPED: &str = "the engine has stopped";

/// A loader: runs on a thread of its own, gives a model or says why not.
pub type Loader = Box<dyn FnOnce() -> Result<Box<dyn Model>, String> + Send>;
/// Work that runs between steps.
pub type Job = Box<dyn FnOnce() + Send>;

/// A model that could not be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Its loader failed.
    #[error("model {name}: {reason}")]
    Load {
        /// As given to [`EngineHandle::load`].
        name: String,
        /// The loader's message.
        reason: String,
    },
    /// The cache budget holds not even a few of its blocks.
    #[error(
        "model {name}: the cache of {kv_bytes_max} bytes has no room for a block of {block_bytes} bytes: raise --memory"
    )]
    CacheTooSmall {
        /// As given to [`EngineHandle::load`].
        name: String,
        /// The budget.
        kv_bytes_max: usize,
        /// What one block takes.
        block_bytes: usize,
    },
    /// The operating system gave no thread.
    #[error("no thread for the engine: {0}")]
    Thread(String),
    /// The engine has ended.
    #[error("the engine has stopped")]
    Stopped,
}

enum Command {
    Submit(Submission),
    Load {
        name: String,
        model: Box<dyn Model>,
        reply: SyncSender<ModelId>,
    },
    Job(Job),
    /// Something changed that the thread looks at between steps.
    Wake,
}

/// A request on its way. If the engine ends before it takes it, its listener hears so.
struct Submission {
    id: RequestId,
    request: Option<Request>,
}

impl Drop for Submission {
    fn drop(&mut self) {
        if let Some(mut request) = self.request.take() {
            fail(&mut request, STOPPED.into());
        }
    }
}

fn fail(request: &mut Request, message: String) {
    // A listener that panics here has nothing more to lose.
    let _ = catch_unwind(AssertUnwindSafe(|| (request.sink)(Event::Failed(message))));
}

/// What handles and the thread share.
struct Shared {
    config: EngineConfig,
    limits: RwLock<Vec<Limits>>,
    /// Requests that were taken and not started; the thread subtracts what it started.
    queued: AtomicUsize,
    next_id: AtomicU64,
    /// Requests to end. Never longer than there are requests, and never full.
    cancelled: Mutex<Vec<RequestId>>,
    stopping: AtomicBool,
    stats: Mutex<Stats>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts engines.
pub struct Engine;

impl Engine {
    /// Starts the engine's thread. It ends with [`EngineHandle::shutdown`] or with the last handle.
    ///
    /// # Errors
    /// [`EngineError::Thread`] when the system gives no thread.
    pub fn start(config: EngineConfig) -> Result<EngineHandle, EngineError> {
        let (commands, inbox) = sync_channel(config.queue_max + OTHER_COMMANDS_MAX);
        let shared = Arc::new(Shared {
            config,
            limits: RwLock::new(Vec::new()),
            queued: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
            cancelled: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
            stats: Mutex::new(Stats::default()),
        });
        let core = Core::new(shared.config.clone());
        let worker = Worker { core, inbox, shared: Arc::clone(&shared), epoch: Instant::now(), unstarted: 0 };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.work())
            .map_err(|error| EngineError::Thread(error.to_string()))?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok(EngineHandle { commands, shared, thread })
    }
}

/// Reaches an engine from anywhere; cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl EngineHandle {
    /// Runs `loader` on a thread of its own and adds what it loads. Blocks the caller, not the engine.
    ///
    /// # Errors
    /// [`EngineError`] when the loader fails or panics, or the cache is too small for the model.
    pub fn load(&self, name: &str, loader: Loader) -> Result<ModelId, EngineError> {
        let failed = |reason: String| EngineError::Load { name: name.into(), reason };
        let thread = std::thread::Builder::new().name(format!("load {name}")).spawn(loader);
        let thread = thread.map_err(|error| EngineError::Thread(error.to_string()))?;
        let loaded = thread.join().map_err(|panic| failed(panic_message(&*panic)))?;
        let model = loaded.map_err(failed)?;
        let (block_bytes, kv_bytes_max) = (model.info().kv_block_bytes, self.shared.config.kv_bytes_max);
        if block_bytes > kv_bytes_max {
            return Err(EngineError::CacheTooSmall { name: name.into(), kv_bytes_max, block_bytes });
        }
        let (reply, answer) = sync_channel(1);
        let load = Command::Load { name: name.into(), model, reply };
        self.commands.send(load).map_err(|_| EngineError::Stopped)?;
        answer.recv().map_err(|_| EngineError::Stopped)
    }

    /// Queues a request. Its events go to its sink, on the engine's thread.
    ///
    /// # Errors
    /// [`Rejected`] at once when it can never be computed or too many wait; the sink then hears nothing.
    pub fn submit(&self, request: Request) -> Result<RequestId, Rejected> {
        let model = request.model.0;
        let limits =
            self.shared.limits.read().unwrap_or_else(PoisonError::into_inner).get(model as usize).copied();
        limits.ok_or(Rejected::UnknownModel(model))?.check(&request)?;
        let queue_max = self.shared.config.queue_max;
        let waiting = self.shared.queued.fetch_add(1, Ordering::AcqRel);
        if waiting >= queue_max {
            self.shared.queued.fetch_sub(1, Ordering::AcqRel);
            return Err(Rejected::QueueFull { waiting });
        }
        let id = RequestId(self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        let submission = Submission { id, request: Some(request) };
        let (command, rejected) = match self.commands.try_send(Command::Submit(submission)) {
            Ok(()) => return Ok(id),
            Err(TrySendError::Full(command)) => (command, Rejected::QueueFull { waiting }),
            Err(TrySendError::Disconnected(command)) => (command, Rejected::Stopped),
        };
        self.shared.queued.fetch_sub(1, Ordering::AcqRel);
        if let Command::Submit(mut submission) = command {
            // The caller hears of it; the listener must not.
            submission.request = None;
        }
        Err(rejected)
    }

    /// Ends a request within a step: [`super::FinishReason::Cancelled`]. One that has ended is left alone.
    pub fn cancel(&self, id: RequestId) {
        lock(&self.shared.cancelled).push(id);
        self.wake();
    }

    /// Runs `job` on the engine's thread between steps. No step runs meanwhile.
    ///
    /// # Errors
    /// [`Rejected::Stopped`] or, when too many commands wait, [`Rejected::QueueFull`].
    pub fn job(&self, job: Job) -> Result<(), Rejected> {
        self.commands.try_send(Command::Job(job)).map_err(|error| match error {
            TrySendError::Full(_) => {
                Rejected::QueueFull { waiting: self.shared.queued.load(Ordering::Acquire) }
            }
            TrySendError::Disconnected(_) => Rejected::Stopped,
        })
    }

    /// What a model can take; `None` when there is no such model.
    #[must_use]
    pub fn limits(&self, model: ModelId) -> Option<Limits> {
        let limits = self.shared.limits.read().unwrap_or_else(PoisonError::into_inner);
        limits.get(model.0 as usize).copied()
    }

    /// The numbers after the last step.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.shared.stats).clone()
    }

    /// Ends the engine and waits for its thread: what lives fails. Must not be called from a sink or a job.
    pub fn shutdown(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.wake();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // Its panics were told to the listeners already.
            let _ = thread.join();
        }
    }

    /// A full channel wakes the thread as well as this would.
    fn wake(&self) {
        let _ = self.commands.try_send(Command::Wake);
    }
}

/// The thread's side.
struct Worker {
    core: Core,
    inbox: Receiver<Command>,
    shared: Arc<Shared>,
    epoch: Instant,
    /// Requests counted as queued that the core has.
    unstarted: usize,
}

impl Worker {
    fn work(mut self) {
        let epoch = self.epoch;
        let clock = move || epoch.elapsed();
        let mut progressed = true;
        while self.take_commands(progressed) {
            progressed = self.core.step(&clock);
            self.publish();
        }
        self.core.fail_all(STOPPED);
        self.publish();
    }

    /// Takes all that has come; waits when there is nothing to step. `false` when the engine is to end.
    fn take_commands(&mut self, progressed: bool) -> bool {
        let first = if progressed && !self.core.is_idle() { self.inbox.try_recv() } else { self.wait() };
        // Taken before the channel is emptied: a request that is cancelled was sent before, so it is known below.
        let cancelled = std::mem::take(&mut *lock(&self.shared.cancelled));
        let mut next = first;
        let disconnected = loop {
            match next {
                Ok(command) => self.obey(command),
                Err(error) => break error == TryRecvError::Disconnected,
            }
            next = self.inbox.try_recv();
        };
        for id in cancelled {
            self.core.cancel(id);
        }
        !disconnected && !self.shared.stopping.load(Ordering::Acquire)
    }

    fn wait(&mut self) -> Result<Command, TryRecvError> {
        if self.core.is_idle() {
            return self.inbox.recv().map_err(|_| TryRecvError::Disconnected);
        }
        let sleep = self
            .core
            .next_deadline()
            .map_or(STUCK_SLEEP, |deadline| deadline.saturating_sub(self.epoch.elapsed()).min(STUCK_SLEEP));
        self.inbox.recv_timeout(sleep).map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
        })
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(mut submission) => {
                let request = submission.request.take().expect("only the way here takes it out");
                self.unstarted += 1;
                let now = self.epoch.elapsed();
                if let Err(refused) = self.core.submit(submission.id, request, now) {
                    let (rejected, mut request) = *refused;
                    fail(&mut request, rejected.to_string());
                }
            }
            Command::Load { name, model, reply } => {
                let (id, limits) = self.core.add_model(&name, model);
                self.shared.limits.write().unwrap_or_else(PoisonError::into_inner).push(limits);
                // Who asked may have left; the model stays.
                let _ = reply.send(id);
            }
            // A job that panics must not take the streams with it; whoever waits for its result sees that none comes.
            Command::Job(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Command::Wake => {}
        }
    }

    fn publish(&mut self) {
        let unstarted = self.core.unstarted();
        self.shared.queued.fetch_sub(self.unstarted - unstarted, Ordering::AcqRel);
        self.unstarted = unstarted;
        lock(&self.shared.stats).clone_from(self.core.stats());
    }
}

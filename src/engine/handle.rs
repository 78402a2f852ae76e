//! The handles through which other threads reach an engine. Commands go through a bounded channel to the worker.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::command::{Command, ControlMessage, Loader, QueuePermit, Shared, Submission, lock};
use super::sync::{Builder, JoinHandle, Mutex, SyncSender, TrySendError, sync_channel};
use super::worker::Worker;
use super::{
    Core, EngineConfig, ExpectedPrefix, ExpectedPrefixId, Job, JobKind, Limits, LoadError, ModelId, Rejected,
    Request, RequestId, Stats,
};

/// Room in the channel for commands other than requests and jobs, which have limits of their own.
const OTHER_COMMANDS_MAX: usize = 64;

/// Why a model could not be added, or the engine not started.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("model {name}: {reason}")]
    Load { name: String, reason: LoadError },
    #[error("can't start a thread for the engine: {0}")]
    Thread(std::io::Error),
    #[error("the engine has stopped")]
    Stopped,
}

pub struct Engine;

impl Engine {
    /// Starts the engine's thread. It ends with [`EngineHandle::shutdown`] or when the last handle is dropped.
    ///
    /// # Errors
    /// [`EngineError::Thread`] when the system gives no thread.
    pub fn start(config: EngineConfig) -> Result<EngineHandle, EngineError> {
        // Requests and jobs have a limit each.
        let (commands, inbox) = sync_channel(2 * config.queue_max + OTHER_COMMANDS_MAX);
        let core = Core::new(config.clone());
        let shared = Arc::new(Shared::new(config));
        let worker = Worker::new(core, inbox, Arc::clone(&shared));
        let thread =
            Builder::new().name("engine".into()).spawn(move || worker.work()).map_err(EngineError::Thread)?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok(EngineHandle { commands, shared, thread })
    }
}

/// Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct EngineHandle {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl EngineHandle {
    /// Adds a model of about `weight_bytes` and loads it. `loader` runs on a thread of its own, now and whenever the
    /// model is needed again after its memory was taken. Blocks the caller, not the engine.
    ///
    /// # Errors
    /// [`EngineError`] when the loader fails or panics, or the model does not fit into the budget.
    pub fn load(&self, name: &str, weight_bytes: usize, loader: Loader) -> Result<ModelId, EngineError> {
        let (reply, answer) = sync_channel(1);
        let load = Command::Load { name: name.into(), weight_bytes, loader, reply };
        self.commands.send(load).map_err(|_| EngineError::Stopped)?;
        let loaded = answer.recv().map_err(|_| EngineError::Stopped)?;
        loaded.map_err(|reason| EngineError::Load { name: name.into(), reason })
    }

    /// Keeps a prefix in the cache in preference to others until it is released; see [`ExpectedPrefix`].
    pub fn expect_prefix(&self, expected: ExpectedPrefix) -> ExpectedPrefixId {
        let id = ExpectedPrefixId(self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        self.send_control(ControlMessage::Expect(id, expected));
        id
    }

    /// Ends an expectation. Unknown ids are ignored.
    pub fn release_prefix(&self, id: ExpectedPrefixId) {
        self.send_control(ControlMessage::Release(id));
    }

    /// Queues a request. Its sink is called on the engine's thread.
    ///
    /// # Errors
    /// [`Rejected`] when it can never be computed or too many requests wait; the sink is then never called.
    pub fn submit(&self, request: Request) -> Result<RequestId, Rejected> {
        let model = request.model.0;
        self.limits(request.model).ok_or(Rejected::UnknownModel(model))?.check(&request)?;
        self.queue(request)
    }

    fn queue(&self, mut request: Request) -> Result<RequestId, Rejected> {
        let waiting = self.shared.queued.fetch_add(1, Ordering::AcqRel);
        let mut permit = Some(QueuePermit(Arc::clone(&self.shared), |shared| &shared.queued));
        if waiting >= self.shared.config.queue_max {
            return Err(Rejected::QueueFull { waiting });
        }
        let mut sink = request.sink;
        request.sink = Box::new(move |event| {
            drop(permit.take());
            sink(event)
        });
        let id = RequestId(self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        let submission = Submission { id, request: Some(request) };
        let (command, rejected) = match self.commands.try_send(Command::Submit(submission)) {
            Ok(()) => return Ok(id),
            Err(TrySendError::Full(command)) => (command, Rejected::QueueFull { waiting }),
            Err(TrySendError::Disconnected(command)) => (command, Rejected::Stopped),
        };
        if let Command::Submit(mut submission) = command {
            // The caller gets the error, so the sink must not hear of it.
            submission.request = None;
        }
        Err(rejected)
    }

    /// Ends a request or a job within a step, with [`super::FinishReason::Cancelled`]. Unknown ids are ignored.
    pub fn cancel(&self, id: RequestId) {
        self.send_control(ControlMessage::Cancel(id));
    }

    fn send_control(&self, message: ControlMessage) {
        lock(&self.shared.control).push(message);
        self.wake();
    }

    /// A job kind that is not in use yet.
    #[must_use]
    pub fn job_kind(&self) -> JobKind {
        JobKind(self.shared.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Queues a job. Its pieces run on the engine's thread between the steps of models.
    ///
    /// # Errors
    /// [`Rejected::Stopped`], or [`Rejected::QueueFull`] when there are as many jobs as requests may wait. The job's
    /// callback is then not called.
    pub fn job(&self, mut job: Job) -> Result<RequestId, Rejected> {
        let waiting = self.shared.jobs.fetch_add(1, Ordering::AcqRel);
        let permit = QueuePermit(Arc::clone(&self.shared), |shared| &shared.jobs);
        if waiting >= self.shared.config.queue_max {
            job.on_end.disarm();
            return Err(Rejected::QueueFull { waiting });
        }
        let mut run = job.run;
        job.run = Box::new(move |pieces| {
            // Held until the job is over.
            let _ = &permit;
            run(pieces)
        });
        let id = RequestId(self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        let (refused, why) = match self.commands.try_send(Command::Job(id, job)) {
            Ok(()) => return Ok(id),
            Err(TrySendError::Full(job)) => (job, Rejected::QueueFull { waiting }),
            Err(TrySendError::Disconnected(job)) => (job, Rejected::Stopped),
        };
        if let Command::Job(_, mut job) = refused {
            job.on_end.disarm();
        }
        Err(why)
    }

    /// What a model can take; `None` when there is no such model.
    #[must_use]
    pub fn limits(&self, model: ModelId) -> Option<Limits> {
        let limits = self.shared.limits.read().unwrap_or_else(PoisonError::into_inner);
        limits.get(model.0 as usize).copied().flatten()
    }

    /// The counters after the last step.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.shared.stats).clone()
    }

    /// Stops the engine and waits for its thread. Unfinished requests fail. Must not be called from a sink or a job.
    pub fn shutdown(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.wake();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // The listeners have been told of a panic already.
            let _ = thread.join();
        }
    }

    /// If the channel is full, its contents wake the thread as well.
    fn wake(&self) {
        let _ = self.commands.try_send(Command::Wake);
    }
}

//! The engine's thread: takes commands between steps, drives the core, and loads models on threads of their own. The
//! only file of the engine that reads a clock.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::command::{Command, ControlMessage, LoadReply, Loader, Shared, fail, lock};
use super::error::panic_message;
use super::sync::{
    Builder, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, receive_within,
};
use super::{Core, LoadResult, ModelId, RequestId};

/// Longest sleep while no sequence can run but some exist, or a model is being loaded.
const IDLE_SLEEP_MAX: Duration = Duration::from_millis(5);
/// Commands are processed for this long between two steps, but at least one is. A request's arrival takes time for its
/// prompt and grammar, and streams wait meanwhile.
const COMMANDS_TIME: Duration = Duration::from_millis(2);
type FinishedLoad = (ModelId, LoadResult);

pub(super) struct Worker {
    core: Core,
    inbox: Receiver<Command>,
    /// Received from the channel and not yet executed.
    backlog: VecDeque<Command>,
    shared: Arc<Shared>,
    epoch: Instant,
    /// Indexed by model: its loader, and the caller that waits for the first load.
    loaders: Vec<(Loader, Option<SyncSender<LoadReply>>)>,
    /// Channel on which loading threads deliver models.
    finished_loads: (Sender<FinishedLoad>, Receiver<FinishedLoad>),
}

impl Worker {
    pub(super) fn new(core: Core, inbox: Receiver<Command>, shared: Arc<Shared>) -> Self {
        let epoch = Instant::now();
        let backlog = VecDeque::new();
        Self { core, inbox, backlog, shared, epoch, loaders: Vec::new(), finished_loads: channel() }
    }

    /// Runs steps and takes commands until the engine is stopped.
    pub(super) fn work(mut self) {
        let epoch = self.epoch;
        let clock = move || epoch.elapsed();
        let mut progressed = true;
        while self.take_commands(progressed) {
            progressed = self.core.step(&clock);
            self.start_load_threads();
            self.publish();
        }
        self.core.fail_all();
        // Commands that arrived since then are dropped, which fails their requests the same way.
        self.backlog.clear();
        while self.inbox.try_recv().is_ok() {}
        self.publish();
    }

    /// Takes what has arrived, and waits if there is nothing to run. `false` when the engine is to stop.
    fn take_commands(&mut self, progressed: bool) -> bool {
        let busy = progressed && !self.core.is_idle() || !self.backlog.is_empty();
        let first = if busy { self.inbox.try_recv() } else { self.wait() };
        // Read before the channel is emptied: a request is sent before its cancellation, so it is known by then.
        let messages = std::mem::take(&mut *lock(&self.shared.control));
        let mut next = first;
        let disconnected = loop {
            match next {
                Ok(Command::Wake) => {}
                Ok(command) => self.backlog.push_back(command),
                Err(error) => break error == TryRecvError::Disconnected,
            }
            next = self.inbox.try_recv();
        };
        let until = self.epoch.elapsed() + COMMANDS_TIME;
        while let Some(command) = self.backlog.pop_front() {
            self.execute(command);
            if self.epoch.elapsed() >= until {
                break;
            }
        }
        for message in messages {
            match message {
                ControlMessage::Cancel(id) => self.cancel(id),
                ControlMessage::Expect(id, expected) => self.core.expect_prefix(id, &expected),
                ControlMessage::Release(id) => self.core.release_prefix(id),
            }
        }
        while let Ok((id, loaded)) = self.finished_loads.1.try_recv() {
            self.finish_load(id, loaded);
        }
        !disconnected && !self.shared.stopping.load(Ordering::Acquire)
    }

    /// Ends a request or a job, even if its command was not executed yet.
    fn cancel(&mut self, id: RequestId) {
        let names = |command: &Command| match command {
            Command::Submit(submission) => submission.id == id,
            Command::Job(job, _) => *job == id,
            Command::Load { .. } | Command::Wake => false,
        };
        let index = self.backlog.iter().position(names);
        if let Some(command) = index.and_then(|index| self.backlog.remove(index)) {
            self.execute(command);
        }
        self.core.cancel(id);
    }

    fn wait(&mut self) -> Result<Command, TryRecvError> {
        if self.core.is_idle() {
            return self.inbox.recv().map_err(|_| TryRecvError::Disconnected);
        }
        let sleep = self.core.next_deadline().map_or(IDLE_SLEEP_MAX, |deadline| {
            deadline.saturating_sub(self.epoch.elapsed()).min(IDLE_SLEEP_MAX)
        });
        receive_within(&self.inbox, sleep).map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
        })
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Submit(mut submission) => {
                let request = submission.request.take().expect("nobody takes it out before it is executed");
                let now = self.epoch.elapsed();
                if let Err(refused) = self.core.submit(submission.id, request, now) {
                    let (rejected, mut request) = *refused;
                    fail(&mut request, rejected.into());
                }
            }
            Command::Load { name, weight_bytes, loader, reply } => {
                let id = self.core.register_model(&name, weight_bytes, true);
                self.loaders.push((loader, Some(reply)));
                self.core.request_load(id, self.epoch.elapsed());
            }
            Command::Job(id, job) => self.core.submit_job(id, job, self.epoch.elapsed()),
            Command::Wake => {}
        }
    }

    /// Starts a thread for each model to load. It drops the unloaded models, loads the new one, and delivers it.
    fn start_load_threads(&mut self) {
        for id in self.core.take_loads() {
            let unloaded = self.core.take_unloaded();
            let loader = Arc::clone(&self.loaders[id.0 as usize].0);
            let deliver = self.finished_loads.0.clone();
            let load = move || {
                drop(unloaded);
                let loaded = catch_unwind(AssertUnwindSafe(|| loader()));
                let loaded = loaded.unwrap_or_else(|panic| Err(panic_message(&*panic).into()));
                // The engine may have ended meanwhile.
                let _ = deliver.send((id, loaded));
            };
            let thread = Builder::new().name(format!("load {}", id.0)).spawn(load);
            if let Err(error) = thread {
                self.finish_load(id, Err(format!("can't start a thread to load it: {error}").into()));
            }
        }
        // Models that were unloaded to make room for blocks, not for another model.
        drop(self.core.take_unloaded());
    }

    fn finish_load(&mut self, id: ModelId, loaded: LoadResult) {
        let installed = self.core.finish_load(id, loaded, self.epoch.elapsed());
        if let Ok(limits) = installed {
            let mut known = self.shared.limits.write().unwrap_or_else(PoisonError::into_inner);
            let models = known.len().max(id.0 as usize + 1);
            known.resize(models, None);
            known[id.0 as usize] = Some(limits);
        }
        if let Some(reply) = self.loaders[id.0 as usize].1.take() {
            // The caller may have left; the model stays.
            let _ = reply.send(installed.map(|_| id));
        }
    }

    fn publish(&mut self) {
        lock(&self.shared.stats).clone_from(self.core.stats());
    }
}

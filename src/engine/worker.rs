//! The engine's thread: takes commands between steps, drives the core, and loads models on threads of their own. The
//! only file of the engine that reads a clock.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::command::{Command, Loaded, Loader, Shared, Told, fail, lock};
use super::sequence::panic_message;
use super::sync::{
    Builder, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, receive_within,
};
use super::{Brought, Core, ModelId, RequestId};

/// Longest sleep while sequences exist that can't run, or a model is being loaded.
const STUCK_SLEEP: Duration = Duration::from_millis(5);
/// Commands are processed for this long between two steps, but at least one is. A request's arrival takes time for its
/// prompt and grammar, and streams wait meanwhile.
const COMMANDS_TIME: Duration = Duration::from_millis(2);
type Arrival = (ModelId, Brought);

pub(super) struct Worker {
    core: Core,
    inbox: Receiver<Command>,
    /// Received from the channel and not yet carried out.
    taken: VecDeque<Command>,
    shared: Arc<Shared>,
    epoch: Instant,
    /// Indexed by model: its loader, and the caller that waits for the first load.
    loaders: Vec<(Loader, Option<SyncSender<Loaded>>)>,
    /// Channel on which loading threads deliver models.
    brought: (Sender<Arrival>, Receiver<Arrival>),
}

impl Worker {
    pub(super) fn new(core: Core, inbox: Receiver<Command>, shared: Arc<Shared>) -> Self {
        let epoch = Instant::now();
        let taken = VecDeque::new();
        Self { core, inbox, taken, shared, epoch, loaders: Vec::new(), brought: channel() }
    }

    /// Runs steps and takes commands until the engine is stopped.
    pub(super) fn work(mut self) {
        let epoch = self.epoch;
        let clock = move || epoch.elapsed();
        let mut progressed = true;
        while self.take_commands(progressed) {
            progressed = self.core.step(&clock);
            self.load_what_is_called();
            self.publish();
        }
        self.core.fail_all();
        // Commands that arrived since then are dropped, which fails their requests the same way.
        self.taken.clear();
        while self.inbox.try_recv().is_ok() {}
        self.publish();
    }

    /// Takes what has arrived, and waits if there is nothing to run. `false` when the engine is to stop.
    fn take_commands(&mut self, progressed: bool) -> bool {
        let busy = progressed && !self.core.is_idle() || !self.taken.is_empty();
        let first = if busy { self.inbox.try_recv() } else { self.wait() };
        // Read before the channel is emptied: a request is sent before its cancellation, so it is known by then.
        let told = std::mem::take(&mut *lock(&self.shared.told));
        let mut next = first;
        let disconnected = loop {
            match next {
                Ok(Command::Wake) => {}
                Ok(command) => self.taken.push_back(command),
                Err(error) => break error == TryRecvError::Disconnected,
            }
            next = self.inbox.try_recv();
        };
        let until = self.epoch.elapsed() + COMMANDS_TIME;
        while let Some(command) = self.taken.pop_front() {
            self.obey(command);
            if self.epoch.elapsed() >= until {
                break;
            }
        }
        for told in told {
            match told {
                Told::Cancel(id) => self.cancel(id),
                Told::Expect(id, expected) => self.core.expect(id, &expected, self.epoch.elapsed()),
                Told::Release(id) => self.core.release(id),
            }
        }
        while let Ok((id, brought)) = self.brought.1.try_recv() {
            self.settle(id, brought);
        }
        !disconnected && !self.shared.stopping.load(Ordering::Acquire)
    }

    /// Ends a request or a job, even if its command was not carried out yet.
    fn cancel(&mut self, id: RequestId) {
        let names = |command: &Command| match command {
            Command::Submit(submission) => submission.id == id,
            Command::Job(job, _) => *job == id,
            Command::Load { .. } | Command::Wake => false,
        };
        let place = self.taken.iter().position(names);
        if let Some(command) = place.and_then(|place| self.taken.remove(place)) {
            self.obey(command);
        }
        self.core.cancel(id);
    }

    fn wait(&mut self) -> Result<Command, TryRecvError> {
        if self.core.is_idle() {
            return self.inbox.recv().map_err(|_| TryRecvError::Disconnected);
        }
        let sleep = self
            .core
            .next_deadline()
            .map_or(STUCK_SLEEP, |deadline| deadline.saturating_sub(self.epoch.elapsed()).min(STUCK_SLEEP));
        receive_within(&self.inbox, sleep).map_err(|error| match error {
            RecvTimeoutError::Timeout => TryRecvError::Empty,
            RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
        })
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(mut submission) => {
                let request = submission.request.take().expect("only the way here takes it out");
                let now = self.epoch.elapsed();
                let taken = match submission.parent {
                    Some(parent) => self.core.fork(parent, submission.id, request, now),
                    None => self.core.submit(submission.id, request, now),
                };
                if let Err(refused) = taken {
                    let (rejected, mut request) = *refused;
                    fail(&mut request, rejected.into());
                }
            }
            Command::Load { name, weight_bytes, loader, reply } => {
                let id = self.core.announce(&name, weight_bytes, true);
                self.loaders.push((loader, Some(reply)));
                self.core.call(id, self.epoch.elapsed());
            }
            Command::Job(id, job) => self.core.submit_job(id, job, self.epoch.elapsed()),
            Command::Wake => {}
        }
    }

    /// Starts a thread for each called model. It drops the models that left, loads the new one, and delivers it.
    fn load_what_is_called(&mut self) {
        for id in self.core.take_calls() {
            let departed = self.core.take_departed();
            let loader = Arc::clone(&self.loaders[id.0 as usize].0);
            let brought = self.brought.0.clone();
            let load = move || {
                drop(departed);
                let loaded = catch_unwind(AssertUnwindSafe(|| loader()));
                let loaded = loaded.unwrap_or_else(|panic| Err(panic_message(&*panic).into()));
                // The engine may have ended meanwhile.
                let _ = brought.send((id, loaded));
            };
            let thread = Builder::new().name(format!("load {}", id.0)).spawn(load);
            if let Err(error) = thread {
                self.settle(id, Err(format!("can't start a thread to load it: {error}").into()));
            }
        }
        // Models that left to make room for blocks, not for another model.
        drop(self.core.take_departed());
    }

    fn settle(&mut self, id: ModelId, brought: Brought) {
        let settled = self.core.bring(id, brought, self.epoch.elapsed());
        if let Ok(limits) = settled {
            let mut known = self.shared.limits.write().unwrap_or_else(PoisonError::into_inner);
            let models = known.len().max(id.0 as usize + 1);
            known.resize(models, None);
            known[id.0 as usize] = Some(limits);
        }
        if let Some(reply) = self.loaders[id.0 as usize].1.take() {
            // The caller may have left; the model stays.
            let _ = reply.send(settled.map(|_| id));
        }
    }

    fn publish(&mut self) {
        lock(&self.shared.stats).clone_from(self.core.stats());
    }
}

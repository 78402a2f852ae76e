//! Reads and writes the record for code that must not wait for a disk, on threads of its own, in the order of the
//! requests. A file that another process has locked, or a full disk, delays these answers and nothing else.
//! Events of runs are accepted at once and written as soon as possible (`unwritten.rs`).

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot;

use super::in_progress::TakenUp;
use super::unwritten::{Line, NewRun, Unwritten};
use super::{Journal, JournalError, Viewer, new_run_id, unix_ms};

/// A request is answered within about this time, if only with the error that the file is locked.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);
/// Most requests that may wait, for reading and for writing each. More are refused at once.
const ASKED_MAX: usize = 1024;
const READERS: usize = 2;
/// How long the writer waits for another process when it writes events, before it looks for other work.
const EVENTS_TIME_MAX: Duration = Duration::from_millis(100);
/// Pause before events that could not be written are tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// A request that no thread has begun this long after its deadline is withdrawn.
const TAKEN_BACK_AFTER: Duration = Duration::from_millis(500);
/// When the journal is closed, removed data is cleared from the file for at most this long, and the rest after the
/// file is opened again.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(5);

/// Does the work and sends the answer. Does nothing if nobody waits for it any more.
type Work = Box<dyn FnOnce(&Journal) + Send>;

/// A request to read or write the record, which waits for one of the journal's threads.
struct Asked {
    /// `None` once a thread has begun it or the caller has withdrawn it.
    work: Arc<Mutex<Option<Work>>>,
    deadline: Instant,
}

fn take(work: &Mutex<Option<Work>>) -> Option<Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What one of the journal's threads does next.
enum Next {
    Asked(Asked),
    /// There may be events to write, or the pause is over.
    Nudged,
    Closed,
}

/// Requests in the order in which they came.
#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    asked: VecDeque<Asked>,
    nudged: bool,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `false` if too many wait already.
    fn push(&self, asked: Asked) -> bool {
        let mut waiting = self.lock();
        let taken = waiting.asked.len() < ASKED_MAX;
        if taken {
            waiting.asked.push_back(asked);
            self.wake.notify_one();
        }
        taken
    }

    fn nudge(&self) {
        self.lock().nudged = true;
        self.wake.notify_one();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// Waits for what comes next. After `pause` it is a nudge in any case. With `held`, nudges wait for the
    /// end of the pause.
    fn next(&self, pause: Option<Duration>, held: bool) -> Next {
        let mut waiting = self.lock();
        let until = pause.map(|pause| Instant::now() + pause);
        loop {
            if let Some(asked) = waiting.asked.pop_front() {
                return Next::Asked(asked);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) || (waiting.nudged && !held) {
                waiting.nudged = false;
                return Next::Nudged;
            }
            if waiting.closed {
                return Next::Closed;
            }
            waiting = match left {
                Some(left) => self.wake.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Ends the threads when the last clone of the journal is dropped.
struct Threads {
    writes: Arc<Queue>,
    reads: Arc<Queue>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
    }
}

/// Uses the record without ever blocking the caller's thread. Cheap to clone.
#[derive(Clone)]
pub struct AsyncJournal {
    threads: Arc<Threads>,
    unwritten: Arc<Unwritten>,
    path: Arc<Path>,
    viewer: Viewer,
}

impl AsyncJournal {
    /// Opens the file as [`Journal::open`] does. This blocks the thread.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, is another program's, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let writer = Journal::open(path)?;
        let readers = (0..READERS).map(|_| Journal::open(path)).collect::<Result<Vec<_>, _>>()?;
        Self::start(path, writer, readers)
    }

    /// A record that ends with the process.
    ///
    /// # Errors
    /// When SQLite cannot start.
    pub fn in_memory() -> Result<Self, JournalError> {
        let journal = Journal::in_memory()?;
        let path = journal.path().to_owned();
        Self::start(&path, journal, Vec::new())
    }

    fn start(path: &Path, writer: Journal, readers: Vec<Journal>) -> Result<Self, JournalError> {
        let unwritten = Arc::new(Unwritten::default());
        let writes = Arc::new(Queue::default());
        let reads = if readers.is_empty() { Arc::clone(&writes) } else { Arc::default() };
        let threads = Threads { writes: Arc::clone(&writes), reads: Arc::clone(&reads) };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(|e| {
                JournalError::Trouble {
                    path: path.to_owned(),
                    why: format!("can't start a thread for it: {e}"),
                }
            })
        };
        for reader in readers {
            let (journal, reads) = (reader.accepting_from(&unwritten), Arc::clone(&reads));
            spawn("journal-read", Box::new(move || read_on(&journal, &reads)))?;
        }
        let journal = writer.accepting_from(&unwritten);
        spawn("journal-write", Box::new(move || write_on(&journal, &writes)))?;
        Ok(Self { threads: Arc::new(threads), unwritten, path: path.into(), viewer: Viewer::everybody() })
    }

    /// The same journal as another viewer sees it.
    #[must_use]
    pub fn seen_by(&self, viewer: &Viewer) -> Self {
        Self { viewer: viewer.clone(), ..self.clone() }
    }

    /// Does `work`, which only reads, on a thread for reading.
    ///
    /// # Errors
    /// The error of `work`, or that the record is locked or busy for too long.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&Journal) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<JournalError> + Send + 'static,
    {
        self.ask(&self.threads.reads, work).await
    }

    /// Does `work` on the only thread that writes. When this returns, the work is done or will never be.
    ///
    /// # Errors
    /// The error of `work`, or that the record is locked or busy for too long.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Journal) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<JournalError> + Send + 'static,
    {
        self.ask(&self.threads.writes, work).await
    }

    async fn ask<T, E>(
        &self,
        queue: &Queue,
        work: impl FnOnce(&Journal) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<JournalError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let viewer = self.viewer.clone();
        let work: Work = Box::new(move |journal: &Journal| {
            if !answer.is_closed() {
                // The caller may be gone meanwhile.
                let _ = answer.send(work(&journal.seen_by(&viewer)));
            }
        });
        let behind = || JournalError::Behind { path: self.path.to_path_buf() };
        let work = Arc::new(Mutex::new(Some(work)));
        if !queue.push(Asked { work: Arc::clone(&work), deadline: Instant::now() + ASK_TIME_MAX }) {
            return Err(behind().into());
        }
        let mut answered = answered;
        let answered = match tokio::time::timeout(ASK_TIME_MAX + TAKEN_BACK_AFTER, &mut answered).await {
            Ok(answered) => answered,
            // No thread has begun it, and now none will.
            Err(_) if take(&work).is_some() => return Err(behind().into()),
            // It is being done, so it must not be reported as not done.
            Err(_) => answered.await,
        };
        match answered {
            Ok(answer) => answer,
            // The work panicked, and the panic is in the log.
            Err(_) => Err(JournalError::NoAnswer { path: self.path.to_path_buf() }.into()),
        }
    }

    /// Checks that a run with this many bytes of inputs would be recorded if it began now.
    ///
    /// # Errors
    /// When too much waits to be written.
    pub fn check_room(&self, inputs_bytes: usize) -> Result<(), JournalError> {
        match self.unwritten.has_room(inputs_bytes) {
            true => Ok(()),
            false => Err(JournalError::Behind { path: self.path.to_path_buf() }),
        }
    }

    /// Begins a run with inputs as `(name, text)`. The run is in progress until the returned [`Recording`] has got the
    /// last event or is dropped. Never blocks.
    #[must_use]
    pub fn begin(&self, inputs: Vec<(String, String)>) -> Recording {
        let created_ms = unix_ms();
        let id = new_run_id(created_ms);
        let owner = self.viewer.name().map(str::to_owned);
        let new = NewRun { id: id.clone(), created_ms, owner, inputs: Arc::new(inputs) };
        let number = self.unwritten.begin(new);
        self.threads.writes.nudge();
        let refused = "the run is not recorded: too many events of other runs already wait to be written";
        let trouble = number.is_none().then(|| refused.to_owned());
        Recording { id, number: number.unwrap_or(0), journal: self.clone(), seq: 0, trouble }
    }

    /// Takes up a run that is not in progress, so that more events can be added to it.
    ///
    /// # Errors
    /// When there is no such run, it is in progress, or the record can't be read.
    pub async fn reopen(&self, run: &str) -> Result<Recording, JournalError> {
        let id = run.to_owned();
        self.take_up(move |journal| journal.reopen(&id)).await
    }

    /// Begins a run with the events of another one up to event `at`, which it shares with it, and an event of its own,
    /// `ms` milliseconds into the run. `first` gives the type and body of that event for the id of the new run.
    ///
    /// # Errors
    /// When there is no such run or event, or the record can't be written.
    pub async fn fork(
        &self,
        run: &str,
        at: u64,
        ms: u64,
        first: impl FnOnce(&str) -> (String, Value) + Send + 'static,
    ) -> Result<Recording, JournalError> {
        let parent = run.to_owned();
        self.take_up(move |journal| journal.fork(&parent, at, ms, first)).await
    }

    async fn take_up(
        &self,
        work: impl FnOnce(&Journal) -> Result<TakenUp, JournalError> + Send + 'static,
    ) -> Result<Recording, JournalError> {
        let journal = self.clone();
        // The recording is made where the run is locked: if nobody waits for it any more, dropping it releases the lock.
        let recording = move |on_thread: &Journal| {
            let TakenUp { id, number, last_seq: seq } = work(on_thread)?;
            Ok(Recording { id, number, journal, seq, trouble: None })
        };
        self.write(recording).await
    }

    /// Waits until all events are written, for at most `time_max`. Returns the ids of the runs that
    /// are not completely written.
    pub async fn flush(&self, time_max: Duration) -> Vec<String> {
        let all = async {
            for run in self.unwritten.ids() {
                self.written(&run).await;
            }
        };
        // What is not written by then is returned.
        let _ = tokio::time::timeout(time_max, all).await;
        self.unwritten.ids()
    }

    async fn written(&self, run: &str) {
        let Some(mut progress) = self.unwritten.progress(run) else { return };
        self.threads.writes.nudge();
        while progress.changed().await.is_ok() {}
    }
}

/// The record of a run in progress. Events are accepted at once and written in order.
pub struct Recording {
    id: String,
    /// Distinguishes it from other recordings of the same run, before or after it.
    number: u64,
    journal: AsyncJournal,
    seq: u64,
    /// Why the run is not recorded at all, until that is reported.
    trouble: Option<String>,
}

impl Recording {
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Number of the last event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.seq
    }

    /// Adds an event, `ms` milliseconds into the run.
    pub fn append(&mut self, kind: &str, ms: u64, body: &Value) {
        self.push(kind, ms, body, false);
    }

    /// Waits until the run and all its events so far are in the file, for at most `time_max`. After that, they survive
    /// a kill of the process. What is not in the file in time is written later, and is one of the run's troubles.
    pub async fn recorded(&self, time_max: Duration) {
        let Some(mut progress) = self.journal.unwritten.progress(&self.id) else { return };
        let is_written = |written: &Option<u64>| written.is_some_and(|written| written >= self.seq);
        if tokio::time::timeout(time_max, progress.wait_for(is_written)).await.is_err() {
            self.journal.unwritten.late(&self.id);
        }
    }

    /// Waits like [`Recording::recorded`], but if that takes too long, only says so: `false`.
    pub async fn is_recorded_within(&self, time_max: Duration) -> bool {
        let Some(mut progress) = self.journal.unwritten.progress(&self.id) else { return true };
        let is_written = |written: &Option<u64>| written.is_some_and(|written| written >= self.seq);
        tokio::time::timeout(time_max, progress.wait_for(is_written)).await.is_ok()
    }

    /// Adds the last event and waits until everything is written, for at most `time_max`. After that, writing
    /// is still tried again.
    pub async fn finish(&mut self, kind: &str, ms: u64, body: &Value, time_max: Duration) {
        self.push(kind, ms, body, true);
        // What is not written by then is written without the caller.
        let _ = tokio::time::timeout(time_max, self.journal.written(&self.id)).await;
    }

    fn push(&mut self, kind: &str, ms: u64, body: &Value, last: bool) {
        self.seq += 1;
        let line = Line { seq: self.seq, ms, kind: kind.to_owned(), body: body.to_string().into() };
        self.journal.unwritten.push(&self.id, line, last);
        self.journal.threads.writes.nudge();
    }

    /// Problems with writing the run that were not reported before.
    pub fn troubles(&mut self) -> Vec<String> {
        let refused = self.trouble.take().into_iter();
        refused.chain(self.journal.unwritten.troubles(&self.id)).collect()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.journal.unwritten.end(&self.id, self.number);
        self.journal.threads.writes.nudge();
    }
}

fn answer(journal: &Journal, asked: Asked) {
    let Some(work) = take(&asked.work) else { return };
    // A request past its deadline, because the process was stopped or the queue was long, is
    // tried once without waiting.
    journal.wait_at_most(asked.deadline.saturating_duration_since(Instant::now()));
    // After a panic the caller gets an error, and the next request finds a connection that SQLite has rolled back.
    let _ = catch_unwind(AssertUnwindSafe(|| work(journal)));
}

fn read_on(journal: &Journal, queue: &Queue) {
    loop {
        match queue.next(None, false) {
            Next::Asked(asked) => answer(journal, asked),
            Next::Nudged => {}
            Next::Closed => return,
        }
    }
}

fn write_on(journal: &Journal, queue: &Queue) {
    // When to try events again that could not be written.
    let mut retry: Option<Instant> = None;
    // When to clear the next part of what was removed.
    let mut erase: Option<Instant> = None;
    loop {
        erase = if journal.is_erased() { None } else { erase.or_else(|| Some(Instant::now())) };
        let first = retry.into_iter().chain(erase).min();
        let next = queue.next(first.map(|at| at.saturating_duration_since(Instant::now())), retry.is_some());
        let closed = matches!(next, Next::Closed);
        // Before a request: it may be about what has just happened.
        if closed || retry.is_none_or(|at| at <= Instant::now()) {
            journal.wait_at_most(EVENTS_TIME_MAX);
            retry = write_events(journal, retry.is_some());
        }
        match next {
            Next::Asked(asked) => answer(journal, asked),
            Next::Nudged => {}
            Next::Closed => {
                journal.erase_for(CLOSING_TIME_MAX);
                return;
            }
        }
        // A small step between two requests: nobody waits long for it, and it gets its turn however
        // many requests there are.
        if erase.is_some_and(|at| at <= Instant::now()) {
            erase = Some(Instant::now() + journal.erase_step());
        }
    }
}

/// Writes what waits. Returns when to try again if that is not possible now. Trouble is logged when it begins
/// and when it ends.
fn write_events(journal: &Journal, troubled: bool) -> Option<Instant> {
    match journal.write_due() {
        Ok(()) => {
            if troubled {
                tracing::info!("the record of runs can be written again; nothing was lost");
            }
            None
        }
        Err(error) => {
            if !troubled {
                tracing::warn!("events of runs can't be recorded now and are kept in memory: {error}");
            }
            Some(Instant::now() + RETRY_PAUSE)
        }
    }
}

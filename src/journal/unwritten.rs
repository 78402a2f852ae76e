//! Runs and events that are not in the file yet. They are kept in order, shown as if they were recorded, and limited in
//! size. When and by whom they are written is not known here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Viewer;
use super::hold::Hold;

/// Most bytes that may wait, inputs and events of all runs together. A larger one may wait alone.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// An event whose body is JSON as text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub seq: u64,
    pub ms: u64,
    pub kind: String,
    pub body: Arc<str>,
}

/// A run that is not in the file yet.
#[derive(Debug, Clone)]
pub(super) struct NewRun {
    pub id: String,
    pub created_ms: u64,
    pub owner: Option<String>,
    /// Each as `(name, text)`.
    pub inputs: Arc<Vec<(String, String)>>,
}

/// What is to be written of a run.
#[derive(Debug)]
pub(super) struct Due {
    /// Set if the run itself is not in the file yet.
    pub new: Option<NewRun>,
    pub lines: Vec<Line>,
}

/// A run that is still recorded, or whose end is not written yet.
#[derive(Debug)]
struct Waiting {
    /// Numbers the runs of this process in the order in which they began.
    number: u64,
    owner: Option<String>,
    new: Option<NewRun>,
    lines: Vec<Line>,
    /// Size of the inputs and events that wait.
    bytes: usize,
    /// Shows other processes that the run is in progress.
    hold: Option<Hold>,
    /// No more events follow.
    ended: bool,
    /// The first event for which there was no room. Those after it are dropped as well, except the last.
    cut: Option<u64>,
    /// Problems with writing the run, each once. The first `told` of them were reported.
    troubles: Vec<String>,
    told: usize,
    /// The last event that is in the file: 0 if only the run itself is, `None` before. Closed
    /// when everything is written.
    progress: watch::Sender<Option<u64>>,
}

impl Waiting {
    fn troubled(&mut self, what: String) {
        if !self.troubles.contains(&what) {
            self.troubles.push(what);
        }
    }
}

fn kept_in_memory(why: &str) -> String {
    format!("{why}. The run continues; its events are kept in memory until they can be written")
}

/// What waits to be written, of all runs of this process.
#[derive(Debug, Default)]
pub(super) struct Unwritten(Mutex<Runs>);

#[derive(Debug, Default)]
struct Runs {
    waiting: BTreeMap<String, Waiting>,
    bytes: usize,
    begun: u64,
}

impl Runs {
    fn has_room(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(bytes) <= BYTES_MAX
    }
}

impl Unwritten {
    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for a run with this many bytes of inputs.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.lock().has_room(bytes)
    }

    /// Adds a new run. Returns its number, or `None` if there is no room for its inputs.
    pub(crate) fn begin(&self, new: NewRun) -> Option<u64> {
        let bytes = new.inputs.iter().map(|(name, text)| name.len() + text.len()).sum();
        let mut runs = self.lock();
        if !runs.has_room(bytes) {
            return None;
        }
        runs.bytes += bytes;
        runs.begun += 1;
        let number = runs.begun;
        let id = new.id.clone();
        let waiting = Waiting {
            number,
            owner: new.owner.clone(),
            lines: Vec::new(),
            bytes,
            hold: None,
            ended: false,
            cut: None,
            troubles: Vec::new(),
            told: 0,
            progress: watch::channel(None).0,
            new: Some(new),
        };
        runs.waiting.insert(id, waiting);
        Some(number)
    }

    /// Takes up a run that is in the file, up to its event `last_seq`, and is locked by `hold`. Returns its new number.
    pub(crate) fn reopen(&self, run: &str, owner: Option<String>, last_seq: u64, hold: Option<Hold>) -> u64 {
        let mut runs = self.lock();
        runs.begun += 1;
        let number = runs.begun;
        let waiting = Waiting {
            number,
            owner,
            lines: Vec::new(),
            bytes: 0,
            hold,
            ended: false,
            cut: None,
            troubles: Vec::new(),
            told: 0,
            progress: watch::channel(Some(last_seq)).0,
            new: None,
        };
        runs.waiting.insert(run.to_owned(), waiting);
        number
    }

    /// Adds an event. If there is no room, it is dropped with all that follow except the last: how a run ended is
    /// always kept. The run's troubles say so.
    pub(crate) fn push(&self, run: &str, line: Line, last: bool) {
        let mut runs = self.lock();
        let bytes = line.body.len();
        let room = runs.has_room(bytes);
        let Some(waiting) = runs.waiting.get_mut(run) else { return };
        waiting.ended |= last;
        if !last && (waiting.cut.is_some() || !room) {
            if waiting.cut.is_none() {
                waiting.cut = Some(line.seq);
                waiting.troubled(format!(
                    "events {} and later, except the last, are missing from the record: {} MiB already wait to be written",
                    line.seq,
                    BYTES_MAX >> 20
                ));
            }
            return;
        }
        waiting.lines.push(line);
        waiting.bytes += bytes;
        runs.bytes += bytes;
    }

    /// Notes that no more events of a run follow, however it ended. Nothing if it was taken up since it got its number.
    pub(crate) fn end(&self, run: &str, number: u64) {
        if let Some(waiting) = self.lock().waiting.get_mut(run).filter(|waiting| waiting.number == number) {
            waiting.ended = true;
        }
    }

    /// The runs of which something is to be written, or which have ended, in the order in which they began.
    pub(crate) fn due(&self) -> Vec<String> {
        let runs = self.lock();
        let mut due: Vec<(u64, String)> = runs
            .waiting
            .iter()
            // A run is written together with its first event: without one, nothing could go on from it.
            .filter(|(_, waiting)| !waiting.lines.is_empty() || waiting.ended)
            .map(|(id, waiting)| (waiting.number, id.clone()))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Copies what is to be written of a run.
    pub(crate) fn take(&self, run: &str) -> Option<Due> {
        let runs = self.lock();
        let waiting = runs.waiting.get(run)?;
        Some(Due { new: waiting.new.clone(), lines: waiting.lines.clone() })
    }

    /// Keeps the lock by which other processes see that the run is in progress.
    pub(crate) fn hold(&self, run: &str, hold: Hold) {
        if let Some(waiting) = self.lock().waiting.get_mut(run) {
            waiting.hold = Some(hold);
        }
    }

    pub(crate) fn is_held(&self, run: &str) -> bool {
        self.lock().waiting.get(run).is_some_and(|waiting| waiting.hold.is_some())
    }

    /// Notes that the run itself and the first `lines` of its events that waited are now in the file. Returns whether all
    /// of it is, and no more follows.
    pub(crate) fn written(&self, run: &str, lines: usize) -> bool {
        let mut runs = self.lock();
        let Some(waiting) = runs.waiting.get_mut(run) else { return true };
        waiting.new = None;
        let last = waiting.lines.drain(..lines).next_back().map(|line| line.seq);
        waiting.progress.send_modify(|written| *written = last.or(*written).or(Some(0)));
        let left = waiting.lines.iter().map(|line| line.body.len()).sum();
        let freed = waiting.bytes - left;
        waiting.bytes = left;
        let done = waiting.ended && waiting.lines.is_empty();
        runs.bytes -= freed;
        if done {
            runs.waiting.remove(run);
        }
        done
    }

    /// Notes that a run can't be written now.
    pub(crate) fn troubled(&self, run: &str, why: &str) {
        if let Some(waiting) = self.lock().waiting.get_mut(run) {
            waiting.troubled(kept_in_memory(why));
        }
    }

    /// Notes that a run was not written within the time it was waited for, unless another trouble was noted.
    pub(crate) fn late(&self, run: &str) {
        if let Some(waiting) = self.lock().waiting.get_mut(run)
            && waiting.troubles.is_empty()
        {
            waiting.troubled(kept_in_memory("the record is slow: the run is not in it yet"));
        }
    }

    /// Drops what waits of a run that can never be written.
    pub(crate) fn give_up(&self, run: &str, why: &str) {
        let mut runs = self.lock();
        let Some(waiting) = runs.waiting.get_mut(run) else { return };
        waiting.troubled(format!("the run is no longer recorded: {why}"));
        waiting.cut = Some(0);
        waiting.new = None;
        waiting.lines.clear();
        // Wakes whoever waits for the run to be written.
        waiting.progress.send_replace(Some(u64::MAX));
        let freed = std::mem::take(&mut waiting.bytes);
        let ended = waiting.ended;
        runs.bytes -= freed;
        if ended {
            runs.waiting.remove(run);
        }
    }

    /// Problems with writing a run that were not reported before.
    pub(crate) fn troubles(&self, run: &str) -> Vec<String> {
        let mut runs = self.lock();
        let Some(waiting) = runs.waiting.get_mut(run) else { return Vec::new() };
        let new = waiting.troubles[waiting.told..].to_vec();
        waiting.told = waiting.troubles.len();
        new
    }

    /// How far a run is written, see `Waiting`; `None` if all of it is.
    pub(crate) fn progress(&self, run: &str) -> Option<watch::Receiver<Option<u64>>> {
        self.lock().waiting.get(run).map(|waiting| waiting.progress.subscribe())
    }

    /// The runs that are not completely written.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.lock().waiting.keys().cloned().collect()
    }

    /// `Some(false)` if the run is in progress in this process, `Some(true)` if it has ended and
    /// is not completely written.
    pub(crate) fn has_ended(&self, run: &str) -> Option<bool> {
        self.lock().waiting.get(run).map(|waiting| waiting.ended)
    }

    /// Runs that are not in the file yet, the last begun first.
    pub(crate) fn new_runs(&self, viewer: &Viewer) -> Vec<NewRun> {
        let runs = self.lock();
        let mut new: Vec<(u64, NewRun)> = runs
            .waiting
            .values()
            .filter(|waiting| viewer.sees(waiting.owner.as_deref()))
            .filter_map(|waiting| Some((waiting.number, waiting.new.clone()?)))
            .collect();
        new.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        new.into_iter().map(|(_, new)| new).collect()
    }

    /// The run, if it is not in the file yet.
    pub(crate) fn new_run(&self, run: &str, viewer: &Viewer) -> Option<NewRun> {
        self.lock().waiting.get(run)?.new.clone().filter(|new| viewer.sees(new.owner.as_deref()))
    }

    /// Events of a run that are not in the file yet.
    pub(crate) fn lines(&self, run: &str, after_seq: u64, viewer: &Viewer) -> Vec<Line> {
        let runs = self.lock();
        let waiting = runs.waiting.get(run).filter(|waiting| viewer.sees(waiting.owner.as_deref()));
        let lines = waiting.map(|waiting| waiting.lines.iter());
        lines.into_iter().flatten().filter(|line| line.seq > after_seq).cloned().collect()
    }
}

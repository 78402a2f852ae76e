//! Work that runs between steps, cut into pieces: which job is next, and how many of its pieces. While sequences want
//! to run, jobs get a share of the time; otherwise they get all of it. What a piece computes is not known here.
//!
//! Jobs take turns, and every second turn goes to the job with the fewest tokens left. So a small job need not wait for
//! all the large ones, and a large one still advances in every round.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::RequestId;
use super::cost::{Cost, Workload};
use super::error::panic_message;

/// Share of the time for jobs while both sequences and jobs could run.
const JOBS_SHARE: f64 = 0.5;

/// Jobs of one kind share a cost model: pieces of equal length are expected to take the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobKind(pub u64);

/// Work in pieces that run one after the other.
pub struct Job {
    pub kind: JobKind,
    /// Tokens of each piece. At least one piece.
    pub pieces: Vec<u32>,
    /// The job ends with [`JobEnd::Deadline`] this long after it was submitted.
    pub deadline: Option<Duration>,
    /// Computes a range of pieces, on the engine's thread; ranges are contiguous. `false` ends the job: it is done
    /// early, or nobody wants the rest.
    pub run: Box<dyn FnMut(Range<usize>) -> bool + Send>,
    /// Called when the job ends before its last piece, unless `run` ended it.
    pub on_end: OnJobEnd,
}

/// Callback for a job that ends early. Dropping it counts as cancellation, so a job dropped with the engine calls it
/// too.
pub struct OnJobEnd(Option<Box<dyn FnOnce(JobEnd) + Send>>);

impl OnJobEnd {
    /// Calls `callback` at most once.
    pub fn new(callback: impl FnOnce(JobEnd) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    /// Drops the callback without calling it: the job reported its own end, or it was refused.
    pub(super) fn disarm(&mut self) {
        self.0 = None;
    }

    /// A callback that panics is ignored.
    fn call(&mut self, end: JobEnd) {
        if let Some(callback) = self.0.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| callback(end)));
        }
    }
}

impl Drop for OnJobEnd {
    fn drop(&mut self) {
        self.call(JobEnd::Cancelled);
    }
}

/// Why a job ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// A piece panicked.
    Failed(String),
    Deadline,
    /// It was cancelled, or the engine stopped.
    Cancelled,
}

struct QueuedJob {
    id: RequestId,
    job: Job,
    next: usize,
    /// Tokens of the pieces from `next` on.
    tokens_left: usize,
    deadline: Option<Duration>,
}

/// The pieces of a job to run next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobSlice {
    pub id: RequestId,
    pub pieces: Range<usize>,
    pub workload: Workload,
    pub predicted_us: f64,
    /// Whether sequences could have run instead.
    pub shared: bool,
}

#[derive(Default)]
pub(super) struct Jobs {
    /// The front one is next, unless `shortest_is_next`.
    queue: VecDeque<QueuedJob>,
    costs: HashMap<JobKind, Cost>,
    /// Microseconds that jobs may take before it is the sequences' turn. Negative when jobs had more than their share.
    balance_us: f64,
    /// Microseconds that jobs took since the last step of a model.
    since_step_us: f64,
    /// Whether the job with the fewest tokens left is next.
    shortest_is_next: bool,
}

impl Jobs {
    /// Adds a job and returns the engine time of its deadline.
    pub(crate) fn add(&mut self, id: RequestId, job: Job, now: Duration) -> Option<Duration> {
        let tokens_left = job.pieces.iter().map(|&tokens| tokens as usize).sum();
        let deadline = job.deadline.and_then(|after| now.checked_add(after));
        self.queue.push_back(QueuedJob { id, job, next: 0, tokens_left, deadline });
        deadline
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Microseconds that jobs took since the last step of a model.
    pub(crate) fn since_step_us(&self) -> f64 {
        self.since_step_us
    }

    /// The next pieces while sequences wait too: as many as fit into `limit_us`, which all jobs between two steps
    /// share. `None` when it is the sequences' turn.
    pub(crate) fn next_shared(&mut self, limit_us: f64, tokens_max: usize) -> Option<JobSlice> {
        if self.balance_us < 0.0 {
            return None;
        }
        let left_us = limit_us - self.since_step_us;
        let slice = self.next_slice(left_us, tokens_max, true)?;
        // A piece longer than the limit still runs if it is the first since the last step.
        (self.since_step_us == 0.0 || slice.predicted_us <= left_us).then_some(slice)
    }

    /// The next pieces when no sequence can run.
    pub(crate) fn next_alone(&mut self, limit_us: f64, tokens_max: usize) -> Option<JobSlice> {
        self.next_slice(limit_us, tokens_max, false)
    }

    fn next_slice(&mut self, limit_us: f64, tokens_max: usize, shared: bool) -> Option<JobSlice> {
        let index = match self.shortest_is_next {
            true => (0..self.queue.len()).min_by_key(|&index| self.queue[index].tokens_left),
            false => (!self.queue.is_empty()).then_some(0),
        };
        let queued = &self.queue[index?];
        // Nothing is known before the first piece of a kind, so it runs alone.
        let known = self.costs.get(&queued.job.kind);
        let cost = known.cloned().unwrap_or_else(Cost::unknown);
        let first = queued.next;
        let (mut workload, mut predicted_us, mut end) = (Workload::default(), 0.0, first);
        for &tokens in &queued.job.pieces[first..] {
            let with = workload.plus(Workload::of(tokens as usize, 0, 0));
            let us = cost.predict_us(with);
            if end > first && (known.is_none() || with.tokens > tokens_max || us > limit_us) {
                break;
            }
            (workload, predicted_us, end) = (with, us, end + 1);
        }
        Some(JobSlice { id: queued.id, pieces: first..end, workload, predicted_us, shared })
    }

    /// Runs the planned pieces. `Err` holds the message of a panic.
    pub(crate) fn run(&mut self, slice: &JobSlice) -> Result<bool, String> {
        let queued = self.queue.iter_mut().find(|queued| queued.id == slice.id);
        let queued = queued.expect("a planned job is queued until its pieces have run");
        let run = &mut queued.job.run;
        catch_unwind(AssertUnwindSafe(|| run(slice.pieces.clone()))).map_err(|panic| panic_message(&*panic))
    }

    /// Records the result and the time of the pieces that ran. Returns the job if it has ended.
    pub(crate) fn record(
        &mut self,
        slice: &JobSlice,
        ran: Result<bool, String>,
        took: Duration,
    ) -> Option<EndedJob> {
        let us = took.as_secs_f64() * 1e6;
        self.shortest_is_next = !self.shortest_is_next;
        self.since_step_us += us;
        // Nobody else could use the time, so it does not add up, but sequences that arrive now go first.
        self.balance_us = if slice.shared { self.balance_us - us } else { -us };
        let index = self.queue.iter().position(|queued| queued.id == slice.id)?;
        let mut queued = self.queue.remove(index)?;
        if ran.is_ok() {
            let cost = self.costs.entry(queued.job.kind).or_insert_with(Cost::unknown);
            cost.observe(slice.workload, took);
        }
        queued.next = slice.pieces.end;
        queued.tokens_left -= slice.workload.tokens;
        let ended = EndedJob { id: queued.id, deadline: queued.deadline };
        match ran {
            Ok(true) if queued.next < queued.job.pieces.len() => {
                self.queue.push_back(queued);
                return None;
            }
            // The job reported its own result.
            Ok(_) => queued.job.on_end.disarm(),
            Err(message) => end_early(queued.job, JobEnd::Failed(message)),
        }
        Some(ended)
    }

    /// Records how long a model's step took: jobs earn their share of time, up to `limit_us` saved.
    pub(crate) fn step_took(&mut self, took: Duration, limit_us: f64) {
        self.since_step_us = 0.0;
        let earned_us = took.as_secs_f64() * 1e6 * JOBS_SHARE / (1.0 - JOBS_SHARE);
        self.balance_us = (self.balance_us + earned_us).min(limit_us.max(0.0));
    }

    /// Ends a job before its last piece. `None` when there is no such job.
    pub(crate) fn end(&mut self, id: RequestId, end: JobEnd) -> Option<EndedJob> {
        let index = self.queue.iter().position(|queued| queued.id == id)?;
        let queued = self.queue.remove(index)?;
        let ended = EndedJob { id, deadline: queued.deadline };
        end_early(queued.job, end);
        Some(ended)
    }

    pub(crate) fn ids(&self) -> Vec<RequestId> {
        self.queue.iter().map(|queued| queued.id).collect()
    }

    /// How many jobs have a deadline.
    pub(crate) fn deadlines(&self) -> usize {
        self.queue.iter().filter(|queued| queued.deadline.is_some()).count()
    }

    /// Checks that the counts add up.
    ///
    /// # Errors
    /// The message names a job whose counts do not.
    pub(crate) fn audit(&self) -> Result<(), String> {
        for queued in &self.queue {
            let left: usize = queued.job.pieces[queued.next..].iter().map(|&tokens| tokens as usize).sum();
            super::audit::hold!(queued.next < queued.job.pieces.len(), "job {:?} wants nothing", queued.id);
            super::audit::hold!(left == queued.tokens_left, "job {:?}: {left} tokens left", queued.id);
        }
        Ok(())
    }
}

/// A job that has ended, so that its deadline can be removed.
pub(super) struct EndedJob {
    pub id: RequestId,
    pub deadline: Option<Duration>,
}

fn end_early(job: Job, end: JobEnd) {
    let Job { run, mut on_end, .. } = job;
    drop(run);
    on_end.call(end);
}

#[cfg(test)]
mod tests;

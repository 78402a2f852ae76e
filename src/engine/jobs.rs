//! Work that runs between steps, cut into pieces: which job is next, and how many of its pieces. While sequences want
//! to run, jobs get a share of the time; otherwise they get all of it. What a piece computes is not known here.
//!
//! Jobs take turns, and every second turn goes to the job with the least left. So a small job need not wait for all the
//! large ones, and a large one still advances in every round.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::RequestId;
use super::cost::{Amount, Cost};
use super::sequence::panic_message;

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
    /// Told when the job ends before its last piece, unless `run` ended it.
    pub broken: Broken,
}

/// Callback for a job that ends early. Dropping it counts as cancellation, so jobs dropped with the engine call it too.
pub struct Broken(Option<Box<dyn FnOnce(JobEnd) + Send>>);

impl Broken {
    /// `hears` is called at most once.
    pub fn new(hears: impl FnOnce(JobEnd) + Send + 'static) -> Self {
        Self(Some(Box::new(hears)))
    }

    /// Drops the callback without calling it: the job reported its own end, or it was refused.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// A callback that panics is ignored.
    fn tell(&mut self, end: JobEnd) {
        if let Some(hears) = self.0.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| hears(end)));
        }
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.tell(JobEnd::Cancelled);
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

struct Live {
    id: RequestId,
    job: Job,
    next: usize,
    /// Tokens of the pieces from `next` on.
    tokens_left: usize,
    deadline: Option<Duration>,
}

/// The pieces of a job to run next.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub id: RequestId,
    pub pieces: Range<usize>,
    pub amount: Amount,
    pub predicted_us: f64,
    /// Whether sequences could have run instead.
    pub shared: bool,
}

#[derive(Default)]
pub(super) struct Jobs {
    /// The front has the next turn.
    queue: VecDeque<Live>,
    costs: HashMap<JobKind, Cost>,
    /// Microseconds that jobs may take before it is the sequences' turn. Negative when jobs had more than their share.
    balance_us: f64,
    /// Microseconds that jobs took since the last step of a model.
    since_step_us: f64,
    /// Whether the next turn goes to the job with the least left.
    least_is_next: bool,
}

impl Jobs {
    /// Adds a job and returns the engine time of its deadline.
    pub fn add(&mut self, id: RequestId, job: Job, now: Duration) -> Option<Duration> {
        let tokens_left = job.pieces.iter().map(|&tokens| tokens as usize).sum();
        let deadline = job.deadline.and_then(|after| now.checked_add(after));
        self.queue.push_back(Live { id, job, next: 0, tokens_left, deadline });
        deadline
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Microseconds that jobs took since the last step of a model.
    pub fn since_step_us(&self) -> f64 {
        self.since_step_us
    }

    /// The next pieces while sequences wait too: as many as fit into `limit_us`, which all jobs between two steps
    /// share. `None` when it is the sequences' turn.
    pub fn shared_turn(&mut self, limit_us: f64, tokens_max: usize) -> Option<Turn> {
        if self.balance_us < 0.0 {
            return None;
        }
        let left_us = limit_us - self.since_step_us;
        let turn = self.turn(left_us, tokens_max, true)?;
        // A piece longer than the limit still runs if it is the first since the last step.
        (self.since_step_us == 0.0 || turn.predicted_us <= left_us).then_some(turn)
    }

    /// The next pieces when no sequence can run.
    pub fn turn_alone(&mut self, limit_us: f64, tokens_max: usize) -> Option<Turn> {
        self.turn(limit_us, tokens_max, false)
    }

    fn turn(&mut self, limit_us: f64, tokens_max: usize, shared: bool) -> Option<Turn> {
        let place = match self.least_is_next {
            true => (0..self.queue.len()).min_by_key(|&place| self.queue[place].tokens_left),
            false => (!self.queue.is_empty()).then_some(0),
        };
        let live = &self.queue[place?];
        // Nothing is known before the first piece of a kind, so it runs alone.
        let known = self.costs.get(&live.job.kind);
        let cost = known.cloned().unwrap_or_else(Cost::unknown);
        let first = live.next;
        let (mut amount, mut predicted_us, mut end) = (Amount::default(), 0.0, first);
        for &tokens in &live.job.pieces[first..] {
            let with = amount.and(Amount::of(tokens as usize, 0, 0));
            let us = cost.predict_us(with);
            if end > first && (known.is_none() || with.tokens > tokens_max || us > limit_us) {
                break;
            }
            (amount, predicted_us, end) = (with, us, end + 1);
        }
        Some(Turn { id: live.id, pieces: first..end, amount, predicted_us, shared })
    }

    /// Runs the pieces of a turn. `Err` holds the message of a panic.
    pub fn run(&mut self, turn: &Turn) -> Result<bool, String> {
        let live = self.queue.iter_mut().find(|live| live.id == turn.id);
        let live = live.expect("a planned job lives until the turn is over");
        let run = &mut live.job.run;
        catch_unwind(AssertUnwindSafe(|| run(turn.pieces.clone()))).map_err(|panic| panic_message(&*panic))
    }

    /// Records how a turn went. Returns the job if it has ended.
    pub fn take_in(&mut self, turn: &Turn, ran: Result<bool, String>, took: Duration) -> Option<Ended> {
        let us = took.as_secs_f64() * 1e6;
        self.least_is_next = !self.least_is_next;
        self.since_step_us += us;
        // Nobody else could use the time, so it does not add up, but sequences that arrive now go first.
        self.balance_us = if turn.shared { self.balance_us - us } else { -us };
        let place = self.queue.iter().position(|live| live.id == turn.id)?;
        let mut live = self.queue.remove(place)?;
        if ran.is_ok() {
            let cost = self.costs.entry(live.job.kind).or_insert_with(Cost::unknown);
            cost.observe(turn.amount, took);
        }
        live.next = turn.pieces.end;
        live.tokens_left -= turn.amount.tokens;
        let ended = Ended { id: live.id, deadline: live.deadline };
        match ran {
            Ok(true) if live.next < live.job.pieces.len() => {
                self.queue.push_back(live);
                return None;
            }
            // The job reported its own result.
            Ok(_) => live.job.broken.forget(),
            Err(message) => tell(live.job, JobEnd::Failed(message)),
        }
        Some(ended)
    }

    /// Records how long a model's step took: jobs earn their share of time, up to `limit_us` saved.
    pub fn step_took(&mut self, took: Duration, limit_us: f64) {
        self.since_step_us = 0.0;
        let earned_us = took.as_secs_f64() * 1e6 * JOBS_SHARE / (1.0 - JOBS_SHARE);
        self.balance_us = (self.balance_us + earned_us).min(limit_us.max(0.0));
    }

    /// Ends a job before its last piece. `None` when there is no such job.
    pub fn end(&mut self, id: RequestId, end: JobEnd) -> Option<Ended> {
        let place = self.queue.iter().position(|live| live.id == id)?;
        let live = self.queue.remove(place)?;
        let ended = Ended { id, deadline: live.deadline };
        tell(live.job, end);
        Some(ended)
    }

    pub fn ids(&self) -> Vec<RequestId> {
        self.queue.iter().map(|live| live.id).collect()
    }

    /// How many jobs have a deadline.
    pub fn deadlines(&self) -> usize {
        self.queue.iter().filter(|live| live.deadline.is_some()).count()
    }

    /// Checks that the counts add up.
    ///
    /// # Errors
    /// The message names a job whose counts do not.
    pub fn audit(&self) -> Result<(), String> {
        for live in &self.queue {
            let left: usize = live.job.pieces[live.next..].iter().map(|&tokens| tokens as usize).sum();
            super::audit::hold!(live.next < live.job.pieces.len(), "job {:?} wants nothing", live.id);
            super::audit::hold!(left == live.tokens_left, "job {:?}: {left} tokens left", live.id);
        }
        Ok(())
    }
}

/// A job that has ended, so that its deadline can be removed.
pub(super) struct Ended {
    pub id: RequestId,
    pub deadline: Option<Duration>,
}

fn tell(job: Job, end: JobEnd) {
    let Job { run, mut broken, .. } = job;
    drop(run);
    broken.tell(end);
}

#[cfg(test)]
mod tests;

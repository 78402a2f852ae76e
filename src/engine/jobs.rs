//! Work beside the sequences, cut into pieces: which job is next, and how many of its pieces. While sequences wait, jobs
//! get a share of the time; when none can go on, they get all of it. What a piece computes is not known here.
//!
//! Jobs take turns, and every second turn belongs to the one with the least left, so that a small job does not wait for
//! a round of all large ones, and a large one goes on in every round.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::RequestId;
use super::cost::{Amount, Cost};
use super::sequence::panic_message;

/// Of the time in which both sequences and jobs could go on, this much is for jobs.
const JOBS_SHARE: f64 = 0.5;

/// Jobs of one kind are expected to take the same time for pieces of the same length: what it takes is learned from each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobKind(pub u64);

/// Work for somebody who waits for it, in pieces that run one after the other.
pub struct Job {
    /// What its pieces cost is learned with others of its kind.
    pub kind: JobKind,
    /// Tokens of each piece. At least one piece.
    pub pieces: Vec<u32>,
    /// Ends with [`JobEnd::Deadline`] this long after it was submitted.
    pub deadline: Option<Duration>,
    /// Computes the pieces of a range, which follow those of the range before, on the engine's thread. `false` ends the
    /// job: it is done early, or nobody wants the rest.
    pub run: Box<dyn FnMut(Range<usize>) -> bool + Send>,
    /// Hears why, when the job ends before its last piece and not by its own word.
    pub broken: Broken,
}

/// Who hears that a job ended early. A job that is dropped with the engine, taken or not, has ended early too.
pub struct Broken(Option<Box<dyn FnOnce(JobEnd) + Send>>);

impl Broken {
    /// Hears it once, or never.
    pub fn new(hears: impl FnOnce(JobEnd) + Send + 'static) -> Self {
        Self(Some(Box::new(hears)))
    }

    /// Nothing is to be heard: the job said itself what came of it, or it was refused.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// A listener that panics is one that left.
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
    /// It panicked.
    Failed(String),
    /// Its deadline passed.
    Deadline,
    /// Whoever asked for it wants it no more, or the engine ended.
    Cancelled,
}

/// A job while it lives.
struct Live {
    id: RequestId,
    job: Job,
    /// The next piece.
    next: usize,
    /// Tokens of the pieces from `next` on.
    tokens_left: usize,
    deadline: Option<Duration>,
}

/// Pieces of a job that are next.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Whose.
    pub id: RequestId,
    /// Which.
    pub pieces: Range<usize>,
    /// What they compute.
    pub amount: Amount,
    /// Microseconds that they are expected to take.
    pub predicted_us: f64,
    /// Whether sequences could have gone on.
    pub shared: bool,
}

/// All jobs that live.
#[derive(Default)]
pub(super) struct Jobs {
    /// In the order of their turns.
    queue: VecDeque<Live>,
    costs: HashMap<JobKind, Cost>,
    /// Microseconds that jobs may take before sequences are next. Below zero, jobs have had more than their share.
    balance_us: f64,
    /// Microseconds that jobs took since a model's last step.
    since_step_us: f64,
    /// Whether the turn after this one is for the job with the least left.
    least_is_next: bool,
}

impl Jobs {
    /// Takes a job in.
    pub fn add(&mut self, id: RequestId, job: Job, now: Duration) -> Option<Duration> {
        let tokens_left = job.pieces.iter().map(|&tokens| tokens as usize).sum();
        let deadline = job.deadline.and_then(|after| now.checked_add(after));
        self.queue.push_back(Live { id, job, next: 0, tokens_left, deadline });
        deadline
    }

    /// Jobs that live.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Microseconds that jobs took since a model's last step.
    pub fn since_step_us(&self) -> f64 {
        self.since_step_us
    }

    /// The next pieces, where sequences wait as well: as many as fit into what is left of `limit_us`, which is for all
    /// jobs between two steps. `None` when it is the sequences' turn.
    pub fn shared_turn(&mut self, limit_us: f64, tokens_max: usize) -> Option<Turn> {
        if self.balance_us < 0.0 {
            return None;
        }
        let left_us = limit_us - self.since_step_us;
        let turn = self.turn(left_us, tokens_max, true)?;
        // One piece goes even where it is longer than the limit, but then nothing else does.
        (self.since_step_us == 0.0 || turn.predicted_us <= left_us).then_some(turn)
    }

    /// The next pieces, where no sequence can go on.
    pub fn turn_alone(&mut self, limit_us: f64, tokens_max: usize) -> Option<Turn> {
        self.turn(limit_us, tokens_max, false)
    }

    fn turn(&mut self, limit_us: f64, tokens_max: usize, shared: bool) -> Option<Turn> {
        let place = match self.least_is_next {
            true => (0..self.queue.len()).min_by_key(|&place| self.queue[place].tokens_left),
            false => (!self.queue.is_empty()).then_some(0),
        };
        let live = &self.queue[place?];
        // Nothing is known before the first piece of a kind, so it goes alone.
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

    /// Runs the pieces of a turn; `Err` with a message when they panic.
    pub fn run(&mut self, turn: &Turn) -> Result<bool, String> {
        let live = self.queue.iter_mut().find(|live| live.id == turn.id);
        let live = live.expect("a planned job lives until the turn is over");
        let run = &mut live.job.run;
        catch_unwind(AssertUnwindSafe(|| run(turn.pieces.clone()))).map_err(|panic| panic_message(&*panic))
    }

    /// Takes in what a turn took and whether its job goes on. Gives the deadline of a job that has ended.
    pub fn take_in(&mut self, turn: &Turn, ran: Result<bool, String>, took: Duration) -> Option<Ended> {
        let us = took.as_secs_f64() * 1e6;
        self.least_is_next = !self.least_is_next;
        self.since_step_us += us;
        // Nobody else could use the time: it is not counted against them, but whoever comes now goes first.
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
            // It has said itself what came of it.
            Ok(_) => live.job.broken.forget(),
            Err(message) => tell(live.job, JobEnd::Failed(message)),
        }
        Some(ended)
    }

    /// A model's step took so long: jobs may take their share of the time now, up to `limit_us` at once.
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

    /// All that live, in the order of their turns.
    pub fn ids(&self) -> Vec<RequestId> {
        self.queue.iter().map(|live| live.id).collect()
    }

    /// Deadlines of those that live.
    pub fn deadlines(&self) -> usize {
        self.queue.iter().filter(|live| live.deadline.is_some()).count()
    }

    /// Checks the accounts.
    ///
    /// # Errors
    /// Says what does not add up.
    pub fn audit(&self) -> Result<(), String> {
        for live in &self.queue {
            let left: usize = live.job.pieces[live.next..].iter().map(|&tokens| tokens as usize).sum();
            super::audit::hold!(live.next < live.job.pieces.len(), "job {:?} wants nothing", live.id);
            super::audit::hold!(left == live.tokens_left, "job {:?}: {left} tokens left", live.id);
        }
        Ok(())
    }
}

/// A job that has ended, for the lists that name it.
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

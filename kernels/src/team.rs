//! Threads that run a step together. The calling thread is member 0; an op ends when its chunks are done, not when
//! every member has arrived, so a member that lost its core delays nobody but by the chunk it holds.
//!
//! # How an op passes through
//!
//! Every member has a *seat* (the caller's is number 0) with an equal share of the chunks: seat m of T those from `chunks · m / T`, rounded up, on, so
//! that what a member wrote in one op is in its own cache when the next op reads the same place. A seat's `claim` packs (epoch, chunks
//! not yet claimed). The caller sets `unfinished` and then, seat by seat, its own last, fills `share` and stores `(epoch + 1, its chunks)`. A member
//! takes chunks from its own seat, then from those of others, by compare-and-swap to `(epoch, count - 1)`, runs them, and later
//! subtracts what it ran from `unfinished`. The op is over when `unfinished` is zero. As long as all keep pace, no two
//! members write the same cache line but at the end.
//!
//! # Why it is sound
//!
//! * *A late member never touches a dead closure.* `share` is read only after a successful claim. A claim succeeds only while
//!   `claim` still holds the epoch the member saw, with a count above zero; the caller returns (and the closure dies) only
//!   after `unfinished` reached zero, which the claimed chunk prevents until it has run. After the last chunk of a seat was
//!   claimed its count is zero, and nobody claims anything there until the next store. A member that slept between its load and
//!   its swap fails, as the epoch has moved on; 40 bits of epoch last for days of ops without a pause.
//! * *`share` is never written while it is read.* It is written only under `turn` and only when the op before is over: every claimed
//!   chunk was subtracted from `unfinished` with `Release` after its last read of `share`, and the caller has seen zero with `Acquire`.
//! * *A claimer sees the share it claimed from.* The store of `claim` releases `share` and `unfinished`; a successful swap acquires,
//!   and reads that store or another swap of the same epoch, which continues its release sequence.
//! * *The caller sees what chunks wrote.* Each subtraction is a read-modify-write with `Release`, so the load of zero with `Acquire`
//!   synchronizes with all of them.
//! * *No wake-up is lost.* A member looks at its own seat alone, whose epoch changes with every op. One that wants to park counts itself in
//!   `sleepers`, stores `parked` and then loads its `claim`; the caller stores `claim` and then, behind a fence, loads `sleepers` and
//!   `parked`, all `SeqCst`: one of them sees the other. The caller waiting for the last chunk and the member that finishes it meet in the same way over `waiting` and `unfinished`.
//!   An unpark that comes too early is kept by `std`'s token; one that comes too late is a spurious wake-up, and every park is in a loop.

mod cores;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a member without work spins: longer than the pause between two ops of a step, shorter than a person's notice.
const MEMBER_SPIN: Duration = Duration::from_micros(20);
/// How long the caller spins for the last chunks. Beyond that their holder has most likely lost its core, and leaving this
/// one lets the system move it here.
const CALLER_SPIN: Duration = Duration::from_micros(100);
/// Polls between two looks at the clock.
const POLLS_PER_LOOK: u32 = 16;
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

thread_local! {
    /// Whether this thread is running a chunk of some team.
    static IN_CHUNK: Cell<bool> = const { Cell::new(false) };
}

type Chunk = *const (dyn Fn(usize) + Sync);

/// Keeps what different members write on different cache lines (two, for the prefetcher of neighbours).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

/// A member's part of an op.
#[derive(Clone, Copy)]
struct Share {
    chunk: Chunk,
    first: usize,
    chunks: usize,
}

/// See the top of this file. What belongs together lies in one cache line.
#[derive(Default)]
struct Seat {
    claim: AtomicU64,
    share: UnsafeCell<Option<Share>>,
}

impl Seat {
    fn epoch(&self, order: Ordering) -> u64 {
        self.claim.load(order) >> COUNT_BITS
    }

    /// Takes one chunk; returns how many were left with it, or `None` when all are taken.
    fn claim(&self) -> Option<usize> {
        let mut seen = self.claim.load(Ordering::Relaxed);
        loop {
            let unclaimed = seen & COUNT_MASK;
            if unclaimed == 0 {
                return None;
            }
            match self.claim.compare_exchange_weak(seen, seen - 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(unclaimed as usize),
                Err(now) => seen = now,
            }
        }
    }
}

#[derive(Debug, Default)]
struct Bunk {
    /// Set by the member before it parks, cleared by whoever wakes it.
    parked: AtomicBool,
}

struct Shared {
    /// The caller's first.
    seats: Vec<Line<Seat>>,
    unfinished: Line<AtomicUsize>,
    /// How many of `bunks` are taken, so that a caller looks at one word when nobody sleeps.
    sleepers: Line<AtomicUsize>,
    bunks: Vec<Line<Bunk>>,
    /// Whether `waiter` is parked until `unfinished` is zero.
    waiting: AtomicBool,
    waiter: Mutex<Option<Thread>>,
    panicked: AtomicBool,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    closing: AtomicBool,
    /// Where the caller ran when it began its last op.
    caller_core: AtomicUsize,
}

// SAFETY: the seats' `share` is the only field that isn't `Sync` by itself; the top of this file shows that its writes and reads never
// overlap. The closure it points to is `Sync` and outlives every read.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Shared {}

/// The threads; the calling thread is one of them, so `threads - 1` are started here and joined on drop.
pub(crate) struct Team {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
    /// Held by the caller whose op is running.
    turn: Mutex<()>,
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

/// No code panics while it holds one of our locks, so a poisoned one is still consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    pub(crate) fn new(threads: usize) -> Team {
        let others = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            seats: (0..=others).map(|_| Line::default()).collect(),
            unfinished: Line::default(),
            sleepers: Line::default(),
            bunks: (0..others).map(|_| Line::default()).collect(),
            waiting: AtomicBool::new(false),
            waiter: Mutex::new(None),
            panicked: AtomicBool::new(false),
            payload: Mutex::new(None),
            closing: AtomicBool::new(false),
            caller_core: AtomicUsize::new(usize::MAX),
        });
        let start = |seat: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("kernels-{seat}"))
                .spawn(move || shared.serve(seat))
                .expect("the system can start a thread")
        };
        let members = (1..=others).map(start).collect();
        Team { shared, members, turn: Mutex::new(()) }
    }

    pub(crate) fn threads(&self) -> usize {
        self.members.len() + 1
    }

    /// See [`crate::dispatch::Cpu::run`].
    pub(crate) fn run(&self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        if chunks <= 1 || self.members.is_empty() || IN_CHUNK.get() {
            return (0..chunks).for_each(f);
        }
        assert!(chunks as u64 <= COUNT_MASK, "an op has at most {COUNT_MASK} chunks, not {chunks}");
        let turn = lock(&self.turn);
        self.shared.publish(chunks, f);
        self.wake(chunks);
        self.shared.work(0);
        self.shared.wait();
        let payload = self.shared.take_panic();
        drop(turn);
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }

    /// Wakes the members that have a share of `chunks` and are parked; no system call where nobody sleeps.
    fn wake(&self, chunks: usize) {
        if self.shared.sleepers.0.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (i, (Line(bunk), member)) in self.shared.bunks.iter().zip(&self.members).enumerate() {
            let has_work = !self.shared.share(i + 1, chunks).is_empty();
            if has_work && bunk.parked.swap(false, Ordering::SeqCst) {
                member.thread().unpark();
            }
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for member in self.members.drain(..) {
            member.thread().unpark();
            member.join().expect("members catch the panics of chunks");
        }
    }
}

impl Shared {
    /// Called under `turn`, when the op before is over.
    fn publish(&self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes; `run` returns, and the borrow ends, only after every claimed chunk has been run.
        let chunk = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Chunk>(f) };
        self.unfinished.0.store(chunks, Ordering::Relaxed);
        let epoch = self.seats[0].0.epoch(Ordering::Relaxed).wrapping_add(1);
        // The caller's own last: the others' messages are under way meanwhile.
        for (number, Line(seat)) in self.seats.iter().enumerate().rev() {
            let range = self.share(number, chunks);
            let share = Share { chunk, first: range.start, chunks: range.len() };
            // SAFETY: the op before is over and this share not yet published, so nobody reads it; `turn` keeps other writers out.
            unsafe { *seat.share.get() = Some(share) };
            seat.claim.store(epoch << COUNT_BITS | share.chunks as u64, Ordering::Release);
        }
        self.caller_core.store(cores::current(), Ordering::Relaxed);
        // Between the stores of `claim` and the loads of `sleepers` and `parked`.
        fence(Ordering::SeqCst);
    }

    /// The chunks of seat `number`; of few chunks the caller has one.
    fn share(&self, number: usize, chunks: usize) -> Range<usize> {
        let first = |number: usize| (chunks * number).div_ceil(self.seats.len());
        first(number)..first(number + 1)
    }

    /// Runs chunks, those of the own seat first, until none is left to claim. Says so once at the end: until then the op can't be
    /// over, so all claims in between are of one op.
    fn work(&self, own: usize) {
        let mut finished = 0;
        let (before, from) = self.seats.split_at(own);
        for Line(seat) in from.iter().chain(before) {
            while let Some(unclaimed) = seat.claim() {
                // SAFETY: a chunk is claimed and not yet reported, so `share` is that chunk's and its closure is alive.
                let share = unsafe { (*seat.share.get()).expect("a claim follows a publish") };
                // SAFETY: as above.
                let chunk = unsafe { &*share.chunk };
                IN_CHUNK.set(true);
                let outcome =
                    catch_unwind(AssertUnwindSafe(|| chunk(share.first + share.chunks - unclaimed)));
                IN_CHUNK.set(false);
                if let Err(payload) = outcome {
                    lock(&self.payload).get_or_insert(payload);
                    self.panicked.store(true, Ordering::Relaxed);
                }
                finished += 1;
            }
        }
        if finished > 0 {
            self.report(finished);
        }
    }

    fn report(&self, finished: usize) {
        let before = self.unfinished.0.fetch_sub(finished, Ordering::SeqCst);
        if before == finished
            && self.waiting.swap(false, Ordering::SeqCst)
            && let Some(waiter) = lock(&self.waiter).as_ref()
        {
            waiter.unpark();
        }
    }

    /// The caller, until the op is over.
    fn wait(&self) {
        let over = || self.unfinished.0.load(Ordering::Acquire) == 0;
        if spin_until(CALLER_SPIN, over) {
            return;
        }
        *lock(&self.waiter) = Some(thread::current());
        loop {
            self.waiting.store(true, Ordering::SeqCst);
            if self.unfinished.0.load(Ordering::SeqCst) == 0 {
                self.waiting.store(false, Ordering::Relaxed);
                return;
            }
            thread::park();
        }
    }

    fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        if !self.panicked.load(Ordering::Relaxed) {
            return None;
        }
        self.panicked.store(false, Ordering::Relaxed);
        lock(&self.payload).take()
    }

    /// The life of the member in seat `own`.
    fn serve(&self, own: usize) {
        let epoch = |number: usize| self.seats[number].0.epoch(Ordering::Relaxed);
        let mut seen = 0;
        let allowed = cores::Cores::allowed();
        while !self.closing.load(Ordering::SeqCst) {
            let due = || epoch(own) != seen || self.closing.load(Ordering::Relaxed);
            if !spin_until(MEMBER_SPIN, due) {
                self.sleep(own, seen);
                // The system likes to wake a thread where its waker runs. There the two would take turns.
                allowed.leave(self.caller_core.load(Ordering::Relaxed));
            }
            // Before the work: an op that begins meanwhile is another one.
            seen = epoch(own);
            self.work(own);
            // The caller's seat is filled last: one that was faster looks again.
            if epoch(0) != seen && spin_until(MEMBER_SPIN, || epoch(0) == seen) {
                self.work(own);
            }
        }
    }

    /// Parks until an op comes that is not the one `seen`.
    fn sleep(&self, own: usize, seen: u64) {
        let parked = &self.bunks[own - 1].0.parked;
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        loop {
            parked.store(true, Ordering::SeqCst);
            let due = self.seats[own].0.epoch(Ordering::SeqCst) != seen;
            if due || self.closing.load(Ordering::SeqCst) {
                break;
            }
            thread::park();
        }
        parked.store(false, Ordering::SeqCst);
        self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Polls until `done` or until `limit` is over; returns what `done` said last.
fn spin_until(limit: Duration, done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..POLLS_PER_LOOK {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() >= limit {
            return done();
        }
    }
}

#[cfg(test)]
mod tests;

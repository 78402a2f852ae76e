//! Threads that run a step together. The calling thread is member 0. An op ends when its chunks are done, not when
//! every member has arrived, so a member that lost its core delays others only by the chunk it holds.
//!
//! # How an op runs
//!
//! Every member has a *seat* (the caller's is number 0) with an equal share of the chunks: seat m of T has those from
//! `chunks · m / T`, rounded up, on. So what a member wrote in one op is in its own cache when the next op reads the
//! same place. A seat's `claim` packs (epoch, chunks not yet claimed). The caller sets `unfinished`. Then, seat by seat
//! and its own last, it fills `share` and stores `(epoch + 1, its chunks)`. A member claims chunks by compare-and-swap
//! to `(epoch, count - 1)`, first from its own seat and then from those of others. It runs them, and later subtracts
//! their number from `unfinished`. The op is over when `unfinished` is zero. As long as all keep pace, no two members
//! write to the same cache line except at the end.
//!
//! # Why it is sound
//!
//! * *A late member never touches a dead closure.* `share` is read only after a successful claim. A claim succeeds only
//!   while `claim` still holds the epoch the member saw, with a count above zero. The caller returns (and the closure
//!   dies) only after `unfinished` reached zero, which a claimed chunk prevents until it has run. After the last chunk
//!   of a seat was claimed its count is zero, and nobody claims anything there until the next store. A member that
//!   slept between its load and its swap fails, as the epoch has moved on; 40 bits of epoch last for days of ops
//!   without a pause.
//! * *`share` is never written while it is read.* It is written only under `op_lock` and only when the previous op is
//!   over: every claimed chunk was subtracted from `unfinished` with `Release` after its last read of `share`, and the
//!   caller has seen zero with `Acquire`.
//! * *A claimer sees the share it claimed from.* The store of `claim` releases `share` and `unfinished`. A successful
//!   swap acquires, and reads that store or another swap of the same epoch, which continues its release sequence.
//! * *The caller sees what chunks wrote.* Each subtraction is a read-modify-write with `Release`, so the load of zero
//!   with `Acquire` synchronizes with all of them.
//! * *No wake-up is lost.* A member looks only at its own seat, whose epoch changes with every op. To park, it counts
//!   itself in `sleepers`, stores `parked` and then loads its `claim`. The caller stores `claim` and then, behind a
//!   fence, loads `sleepers` and `parked`. All of these are `SeqCst`, so one of them sees the other. The caller waiting
//!   for the last chunk and the member that finishes it meet in the same way over `waiting` and `unfinished`. An unpark
//!   that comes too early is kept by `std`'s token; one that comes too late is a spurious wake-up, and every park is in
//!   a loop.

mod cores;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a member without work spins: longer than the pause between two ops, too short for a person to notice.
const MEMBER_SPIN: Duration = Duration::from_micros(20);
/// How long the caller spins for the last chunks. After that their holder has most likely lost its core; by parking,
/// the caller lets the system move it to this one.
const CALLER_SPIN: Duration = Duration::from_micros(100);
/// Polls between two looks at the clock.
const POLLS_PER_LOOK: u32 = 16;
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

thread_local! {
    static IN_CHUNK: Cell<bool> = const { Cell::new(false) };
}

type Chunk = *const (dyn Fn(usize) + Sync);

/// Keeps what different members write on different cache lines (two each, because of the adjacent-line prefetcher).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

#[derive(Clone, Copy)]
struct Share {
    chunk: Chunk,
    first: usize,
    chunks: usize,
}

/// See the top of this file. What is used together lies in one cache line.
#[derive(Default)]
struct Seat {
    claim: AtomicU64,
    share: UnsafeCell<Option<Share>>,
}

impl Seat {
    fn epoch(&self, order: Ordering) -> u64 {
        self.claim.load(order) >> COUNT_BITS
    }

    /// Claims one chunk. Returns how many were unclaimed before, or `None` if there were none.
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
struct Parking {
    /// Set by the member before it parks, cleared by whoever wakes it.
    parked: AtomicBool,
}

struct Shared {
    seats: Vec<Line<Seat>>,
    unfinished: Line<AtomicUsize>,
    /// How many members are parked or about to: the only word the caller reads when nobody sleeps.
    sleepers: Line<AtomicUsize>,
    parkings: Vec<Line<Parking>>,
    /// Whether `waiter` is parked until `unfinished` is zero.
    waiting: AtomicBool,
    waiter: Mutex<Option<Thread>>,
    panicked: AtomicBool,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
    closing: AtomicBool,
    /// The core on which the caller began its last op.
    caller_core: AtomicUsize,
}

// SAFETY: the seats' `share` is the only field that isn't `Sync` by itself. The top of this file shows that its writes
// and reads never overlap. The closure it points to is `Sync` and outlives every read.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Shared {}

/// The threads. The calling thread is one of them; the others are started here and joined on drop.
pub(crate) struct ThreadPool {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
    /// Held by the caller whose op is running.
    op_lock: Mutex<()>,
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadPool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

/// No code panics while it holds one of our locks, so a poisoned one is still consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ThreadPool {
    pub(crate) fn new(threads: usize) -> ThreadPool {
        let others = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            seats: (0..=others).map(|_| Line::default()).collect(),
            unfinished: Line::default(),
            sleepers: Line::default(),
            parkings: (0..others).map(|_| Line::default()).collect(),
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
                .spawn(move || shared.member_loop(seat))
                .expect("the system can start a thread")
        };
        let members = (1..=others).map(start).collect();
        ThreadPool { shared, members, op_lock: Mutex::new(()) }
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
        let op = lock(&self.op_lock);
        self.shared.publish(chunks, f);
        self.wake(chunks);
        self.shared.run_chunks(0);
        self.shared.wait();
        let payload = self.shared.take_panic();
        drop(op);
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }

    /// Wakes the parked members that have a share of `chunks`, without a system call if there are none.
    fn wake(&self, chunks: usize) {
        if self.shared.sleepers.0.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (i, (Line(parking), member)) in self.shared.parkings.iter().zip(&self.members).enumerate() {
            let has_work = !self.shared.share(i + 1, chunks).is_empty();
            if has_work && parking.parked.swap(false, Ordering::SeqCst) {
                member.thread().unpark();
            }
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for member in self.members.drain(..) {
            member.thread().unpark();
            member.join().expect("members catch the panics of chunks");
        }
    }
}

impl Shared {
    /// Must be called under `op_lock`, when the previous op is over.
    fn publish(&self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes. `run` returns, and the borrow ends, only after every claimed chunk has
        // been run.
        let chunk = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Chunk>(f) };
        self.unfinished.0.store(chunks, Ordering::Relaxed);
        let epoch = self.seats[0].0.epoch(Ordering::Relaxed).wrapping_add(1);
        // The caller's seat is last, so that the others' cache lines are already under way.
        for (number, Line(seat)) in self.seats.iter().enumerate().rev() {
            let range = self.share(number, chunks);
            let share = Share { chunk, first: range.start, chunks: range.len() };
            // SAFETY: the previous op is over and this share not yet published, so nobody reads it; `op_lock` keeps
            // other writers out.
            unsafe { *seat.share.get() = Some(share) };
            seat.claim.store(epoch << COUNT_BITS | share.chunks as u64, Ordering::Release);
        }
        self.caller_core.store(cores::current(), Ordering::Relaxed);
        // Between the stores of `claim` and the loads of `sleepers` and `parked`.
        fence(Ordering::SeqCst);
    }

    /// The chunks of seat `number`. If there are few chunks, the caller gets one.
    fn share(&self, number: usize, chunks: usize) -> Range<usize> {
        let first = |number: usize| (chunks * number).div_ceil(self.seats.len());
        first(number)..first(number + 1)
    }

    /// Runs chunks until none is left to claim, its own seat's first. It reports them only at the end: until then the
    /// op can't be over, so all its claims belong to one op.
    fn run_chunks(&self, own: usize) {
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

    /// Waits, on the caller's thread, until the op is over.
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

    /// The main loop of the member in seat `own`.
    fn member_loop(&self, own: usize) {
        let epoch = |number: usize| self.seats[number].0.epoch(Ordering::Relaxed);
        let mut seen = 0;
        let allowed = cores::Cores::allowed();
        while !self.closing.load(Ordering::SeqCst) {
            let due = || epoch(own) != seen || self.closing.load(Ordering::Relaxed);
            if !spin_until(MEMBER_SPIN, due) {
                self.sleep(own, seen);
                // The system tends to wake a thread on its waker's core, where the two would alternate.
                allowed.leave(self.caller_core.load(Ordering::Relaxed));
            }
            // Read before the work: an op that begins meanwhile has another epoch.
            seen = epoch(own);
            self.run_chunks(own);
            // The caller's seat is filled last. A member that was faster looks again.
            if epoch(0) != seen && spin_until(MEMBER_SPIN, || epoch(0) == seen) {
                self.run_chunks(own);
            }
        }
    }

    /// Parks until there is an op other than `seen`.
    fn sleep(&self, own: usize, seen: u64) {
        let parked = &self.parkings[own - 1].0.parked;
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

/// Polls until `done` is true or `limit` has passed. Returns the last result of `done`.
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

use super::*;

fn check_every_chunk_once(pool: &ThreadPool, chunks: usize) {
    let counts: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
    pool.run(chunks, &|i| {
        counts[i].fetch_add(1, Ordering::Relaxed);
    });
    for (i, count) in counts.iter().enumerate() {
        assert_eq!(count.load(Ordering::Relaxed), 1, "chunk {i} of {chunks}, {} threads", pool.threads());
    }
}

#[test]
fn every_chunk_runs_once() {
    for threads in [0, 1, 2, 3, 7] {
        let pool = ThreadPool::new(threads);
        for chunks in [0, 1, 2, 3, 5, 64, 1000] {
            check_every_chunk_once(&pool, chunks);
        }
    }
}

#[test]
fn many_tiny_ops_on_more_threads_than_cores() {
    let threads = 2 * thread::available_parallelism().map_or(2, usize::from) + 1;
    let pool = ThreadPool::new(threads);
    // Plain memory, so that a missing happens-before between ops would be a race that the sum can show.
    let mut cells = vec![0u64; 13];
    for op in 0..20_000u64 {
        let base = cells.as_mut_ptr() as usize;
        pool.run(13, &|i| {
            // SAFETY: each chunk writes its own element, which outlives the op.
            unsafe { *(base as *mut u64).add(i) += op + i as u64 }
        });
    }
    let ops = 20_000u64;
    for (i, &cell) in cells.iter().enumerate() {
        assert_eq!(cell, ops * (ops - 1) / 2 + ops * i as u64);
    }
}

#[test]
fn ops_after_members_parked() {
    let pool = ThreadPool::new(3);
    for pause_us in [0, 10, 25, 60, 500, 5000] {
        for _ in 0..20 {
            thread::sleep(Duration::from_micros(pause_us));
            check_every_chunk_once(&pool, 4);
        }
    }
}

#[test]
fn caller_that_waits_long_is_woken() {
    let pool = ThreadPool::new(2);
    for _ in 0..20 {
        let caller = thread::current().id();
        let member_came = AtomicBool::new(false);
        pool.run(2, &|_| {
            if thread::current().id() == caller {
                spin_until(Duration::from_secs(5), || member_came.load(Ordering::Acquire));
            } else {
                member_came.store(true, Ordering::Release);
                thread::sleep(Duration::from_millis(3));
            }
        });
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    for threads in [1, 2, 4] {
        let pool = ThreadPool::new(threads);
        for bad in [0, 3, 7] {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(8, &|i| assert!(i != bad, "chunk {i} fails"));
            }));
            let payload = outcome.expect_err("a chunk panicked");
            let message =
                payload.downcast_ref::<String>().expect("assert! with arguments panics with a String");
            assert_eq!(*message, format!("chunk {bad} fails"));
            check_every_chunk_once(&pool, 8);
        }
    }
}

#[test]
fn callers_on_several_threads_take_turns() {
    let pool = ThreadPool::new(3);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|op| check_every_chunk_once(&pool, 2 + op % 9)));
        }
    });
}

#[test]
fn a_nested_run_stays_on_its_member() {
    let pool = ThreadPool::new(3);
    let sum = AtomicUsize::new(0);
    pool.run(5, &|i| {
        let member = thread::current().id();
        pool.run(4, &|j| {
            assert_eq!(thread::current().id(), member);
            sum.fetch_add(10 * i + j, Ordering::Relaxed);
        });
    });
    assert_eq!(sum.into_inner(), 10 * 4 * 10 + 5 * 6);
}

#[test]
fn dropping_ends_the_members_whether_they_spin_or_sleep() {
    for pause_us in [0, 5, 100, 2000] {
        for threads in [1, 2, 5] {
            let pool = ThreadPool::new(threads);
            check_every_chunk_once(&pool, 3);
            thread::sleep(Duration::from_micros(pause_us));
        }
    }
}

#[test]
fn a_member_runs_the_same_share_of_every_op_when_all_keep_pace() {
    const THREADS: usize = 4;
    let pool = ThreadPool::new(THREADS);
    let who_ran = || {
        // Nobody gets a second chunk before everybody has one.
        let barrier = std::sync::Barrier::new(THREADS);
        let ran: [Mutex<Option<thread::ThreadId>>; THREADS] = Default::default();
        pool.run(THREADS, &|i| {
            *lock(&ran[i]) = Some(thread::current().id());
            barrier.wait();
        });
        ran.map(|id| lock(&id).expect("every chunk ran"))
    };
    let first = who_ran();
    assert_eq!(first[0], thread::current().id(), "the caller's share is the first");
    for _ in 0..100 {
        assert_eq!(who_ran(), first);
    }
}

#[test]
fn few_chunks_among_many_members_that_sleep() {
    let pool = ThreadPool::new(16);
    for chunks in 2..40 {
        thread::sleep(Duration::from_micros(if chunks % 3 == 0 { 300 } else { 0 }));
        check_every_chunk_once(&pool, chunks);
    }
}

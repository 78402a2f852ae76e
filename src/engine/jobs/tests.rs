use std::sync::{Arc, Mutex};

use super::*;

type Order = Arc<Mutex<Vec<u64>>>;

fn job(id: u64, pieces: &[u32], order: &Order) -> Job {
    let order = Arc::clone(order);
    let run = move |range: Range<usize>| {
        order.lock().unwrap().extend(range.map(|_| id));
        true
    };
    let on_end = |_| {};
    Job {
        kind: JobKind(0),
        pieces: pieces.to_vec(),
        deadline: None,
        run: Box::new(run),
        on_end: OnJobEnd::new(on_end),
    }
}

/// Runs all jobs to their end at 1 ms a token. Returns whose pieces ran, in order.
fn drain(jobs: &mut Jobs, order: &Order) -> Vec<u64> {
    while let Some(slice) = jobs.next_alone(0.0, 100) {
        let ran = jobs.run(&slice);
        jobs.record(&slice, ran, Duration::from_millis(slice.workload.tokens as u64));
    }
    order.lock().unwrap().clone()
}

#[test]
fn jobs_take_turns_and_a_small_one_does_not_wait_for_a_round() {
    let (mut jobs, order) = (Jobs::default(), Order::default());
    for id in 0..6 {
        jobs.add(RequestId(id), job(id, &[50; 4], &order), Duration::ZERO);
    }
    jobs.add(RequestId(9), job(9, &[5], &order), Duration::ZERO);
    let ran = drain(&mut jobs, &order);
    assert_eq!(ran.len(), 25);
    assert!(ran[..2].contains(&9), "{ran:?}");
    let begun = |id| ran.iter().position(|&other| other == id).unwrap();
    assert!((0..6).all(|id| begun(id) <= 16), "the last of them begins in the first round: {ran:?}");
}

#[test]
fn beside_sequences_jobs_take_their_share_of_the_time_and_no_more_at_once() {
    let (mut jobs, order) = (Jobs::default(), Order::default());
    jobs.add(RequestId(0), job(0, &[10; 4000], &order), Duration::ZERO);
    let (limit, step) = (Duration::from_millis(40), Duration::from_millis(7));
    let (mut for_jobs, mut for_steps) = (Duration::ZERO, Duration::ZERO);
    for step_number in 0..500 {
        let mut between = Duration::ZERO;
        while let Some(slice) = jobs.next_shared(40_000.0, 512) {
            let took = Duration::from_millis(slice.workload.tokens as u64);
            jobs.record(&slice, Ok(true), took);
            between += took;
        }
        // The cost of a piece is learned from the first few.
        let most = if step_number < 5 { 2 * limit } else { limit + Duration::from_millis(10) };
        assert!(between <= most, "{step_number}: {between:?}");
        for_jobs += between;
        for_steps += step;
        jobs.step_took(step, 40_000.0);
    }
    let share = for_jobs.as_secs_f64() / (for_jobs + for_steps).as_secs_f64();
    assert!((share - JOBS_SHARE).abs() < 0.05, "{share}");
}

#[test]
fn a_piece_longer_than_the_limit_goes_and_is_paid_for() {
    let (mut jobs, order) = (Jobs::default(), Order::default());
    jobs.add(RequestId(0), job(0, &[300; 50], &order), Duration::ZERO);
    let mut pieces = 0;
    for _ in 0..400 {
        if let Some(slice) = jobs.next_shared(10_000.0, 512) {
            assert_eq!(slice.pieces.len(), 1);
            jobs.record(&slice, Ok(true), Duration::from_millis(300));
            pieces += 1;
            assert_eq!(jobs.next_shared(10_000.0, 512), None, "sequences are next");
        }
        jobs.step_took(Duration::from_millis(10), 10_000.0);
    }
    assert!((13..=15).contains(&pieces), "{pieces} of 300 ms in 4 s of steps");
}

#[test]
fn a_job_that_panics_or_is_cancelled_is_told_and_gone() {
    let (mut jobs, order) = (Jobs::default(), Order::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    for id in 0..2 {
        let heard = Arc::clone(&told);
        let on_end = OnJobEnd::new(move |end| heard.lock().unwrap().push(end));
        let run = Box::new(|_| panic!("out of luck"));
        jobs.add(RequestId(id), Job { run, on_end, ..job(id, &[5; 3], &order) }, Duration::ZERO);
    }
    let slice = jobs.next_alone(1e6, 512).unwrap();
    let ran = jobs.run(&slice);
    assert!(jobs.record(&slice, ran, Duration::from_millis(1)).is_some());
    jobs.end(RequestId(1), JobEnd::Cancelled);
    assert!(jobs.is_empty());
    assert_eq!(*told.lock().unwrap(), [JobEnd::Failed("out of luck".into()), JobEnd::Cancelled]);
}

#[test]
fn a_job_that_is_dropped_is_told_and_one_that_is_done_is_not() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (mut jobs, order) = (Jobs::default(), Order::default());
    for id in 0..2 {
        let heard = Arc::clone(&told);
        let on_end = OnJobEnd::new(move |end| heard.lock().unwrap().push((id, end)));
        jobs.add(RequestId(id), Job { on_end, ..job(id, &[5], &order) }, Duration::ZERO);
    }
    let slice = jobs.next_alone(1e6, 512).unwrap();
    let ran = jobs.run(&slice);
    jobs.record(&slice, ran, Duration::from_millis(1));
    drop(jobs);
    assert_eq!(*told.lock().unwrap(), [(1, JobEnd::Cancelled)]);
}

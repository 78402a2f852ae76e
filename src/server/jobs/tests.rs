//! Jobs whose client has left, and jobs that take too long.

use std::sync::mpsc;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn semaphore(count: usize) -> &'static Semaphore {
    Box::leak(Box::new(Semaphore::new(count)))
}

/// Runs until its client has left, then reports it.
fn endless(
    ended: mpsc::Sender<()>,
    begun: mpsc::Sender<()>,
) -> impl FnOnce(&Cancellation) -> Result<(), ApiError> + Send + 'static {
    move |cancellation| {
        begun.send(()).unwrap();
        while !cancellation.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        ended.send(()).unwrap();
        Err(ApiError::client_left())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_when_its_client_leaves_and_the_next_one_starts() {
    let (semaphore, (ended, ended_signal), (begun, begun_signal)) =
        (semaphore(1), mpsc::channel(), mpsc::channel());
    let first = tokio::spawn(run_within(semaphore, (PATIENCE, PATIENCE), endless(ended, begun)));
    tokio::task::spawn_blocking(move || begun_signal.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    first.abort();
    tokio::task::spawn_blocking(move || ended_signal.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    assert_eq!(run_within(semaphore, (PATIENCE, PATIENCE), |_| Ok(7)).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_a_deadline_and_counts_until_it_has_ended() {
    let (semaphore, (ended, ended_signal), (begun, _begins)) =
        (semaphore(1), mpsc::channel(), mpsc::channel());
    let soon = Duration::from_millis(50);
    let slow = run_within(semaphore, (PATIENCE, soon), endless(ended, begun)).await.unwrap_err();
    assert_eq!(slow.status, 413);
    tokio::task::spawn_blocking(move || ended_signal.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    let held = semaphore.acquire().await.unwrap();
    let full = run_within(semaphore, (soon, PATIENCE), |_| Ok(1)).await.unwrap_err();
    assert_eq!((full.status.as_u16(), full.code), (503, Some("queue_full")));
    assert!(full.retry_after.is_some());
    drop(held);
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_request() {
    let broken =
        run_within(semaphore(1), (PATIENCE, PATIENCE), |_| -> Result<(), ApiError> { panic!("on purpose") })
            .await;
    assert_eq!(broken.unwrap_err().status, 500);
}

#[test]
fn texts_have_a_limit() {
    assert!(check_size("content", TEXT_BYTES_MAX).is_ok());
    let error = check_size("content", TEXT_BYTES_MAX + 1).unwrap_err();
    assert_eq!((error.status.as_u16(), error.param.as_deref()), (413, Some("content")));
}

#[test]
fn the_number_of_pending_grammars_is_limited() {
    let count = AtomicUsize::new(0);
    let first = PendingGrammar::count_in(&count, 2).unwrap();
    let _second = PendingGrammar::count_in(&count, 2).unwrap();
    let error = PendingGrammar::count_in(&count, 2).err().expect("a third is too many");
    assert_eq!((error.status.as_u16(), error.code), (429, Some("queue_full")));
    drop(first);
    assert!(PendingGrammar::count_in(&count, 2).is_ok(), "who was refused doesn't count");
}

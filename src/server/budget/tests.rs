//! Which requests wait for which, and what is returned to the budget.

use super::*;

/// A budget for one test, with a short wait.
pub fn parts(bytes: usize, made: usize) -> &'static Parts {
    Box::leak(Box::new(Parts { wait_max: Duration::from_millis(50), ..Parts::new(bytes, made) }))
}

/// The free KiB for raw bytes and for parsed values.
pub fn free(of: &Parts) -> (usize, usize) {
    (of.bytes.available_permits(), of.made.available_permits())
}

/// As [`Part::take`], from the budget `of`.
pub async fn take(of: &'static Parts, bytes: usize) -> Result<Part, ApiError> {
    Ok(Part { bytes: Some(of.wait(&of.bytes, bytes).await?), made: None, of: Some(of) })
}

#[tokio::test]
async fn part_is_held_until_the_answer_is_finished() {
    let of = parts(64 << 10, 1 << 20);
    let mut part = take(of, 10 << 10).await.unwrap();
    assert_eq!(free(of), (54, 1024));
    part.build(10 << 10, 1000).await.unwrap();
    assert_eq!(free(of), (54, 1024 - 206));
    part.built(10 << 10, 1000);
    assert_eq!(free(of), (64, 1024 - 42));
    drop(part);
    assert_eq!(free(of), (64, 1024));
    let mut huge = take(of, 10 << 10).await.unwrap();
    huge.build(10 << 10, usize::MAX).await.unwrap();
    assert_eq!(free(of), (54, 512), "no body has more than half of what there is");
}

#[tokio::test]
async fn whoever_waits_too_long_hears_when_to_come_again() {
    let of = parts(8 << 10, 8 << 10);
    let held = take(of, 8 << 10).await.unwrap();
    assert!(!held.is_wanted());
    let waiting = tokio::spawn(take(of, 1));
    tokio::task::yield_now().await;
    assert!(held.is_wanted());
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.status.as_u16(), error.code), (503, Some("memory_full")));
    assert!(error.retry_after.is_some() && !held.is_wanted());
    drop(held);
    assert!(take(of, 8 << 10).await.is_ok());
}

#[tokio::test]
async fn small_bodies_wait_for_nobody() {
    let mut held = Vec::new();
    for _ in 0..10_000 {
        let mut part = Part::take(SMALL_BYTES).await.unwrap();
        part.build(SMALL_BYTES, 30_000).await.unwrap();
        held.push(part);
    }
}

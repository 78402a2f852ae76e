//! Which requests wait for which, and what is returned to the budget.

use super::*;

/// A budget for one test, with a short wait.
pub(crate) fn budget(bytes: usize, parsed_values: usize) -> &'static MemoryBudget {
    Box::leak(Box::new(MemoryBudget {
        wait_max: Duration::from_millis(50),
        ..MemoryBudget::new(bytes, parsed_values)
    }))
}

/// The free KiB for raw bytes and for parsed values.
pub(crate) fn free(budget: &MemoryBudget) -> (usize, usize) {
    (budget.bytes.available_permits(), budget.parsed_values.available_permits())
}

/// As [`BudgetShare::take`], from this budget.
pub(crate) async fn take(budget: &'static MemoryBudget, bytes: usize) -> Result<BudgetShare, ApiError> {
    Ok(BudgetShare {
        bytes: Some(budget.wait(&budget.bytes, bytes).await?),
        parsed_values: None,
        budget: Some(budget),
    })
}

#[tokio::test]
async fn a_share_is_held_until_the_answer_is_finished() {
    let budget = budget(64 << 10, 1 << 20);
    let mut share = take(budget, 10 << 10).await.unwrap();
    assert_eq!(free(budget), (54, 1024));
    share.take_for_parsing(10 << 10, 1000).await.unwrap();
    assert_eq!(free(budget), (54, 1024 - 206));
    share.parsed(10 << 10, 1000);
    assert_eq!(free(budget), (64, 1024 - 42));
    drop(share);
    assert_eq!(free(budget), (64, 1024));
    let mut huge = take(budget, 10 << 10).await.unwrap();
    huge.take_for_parsing(10 << 10, usize::MAX).await.unwrap();
    assert_eq!(free(budget), (54, 512), "no body has more than half of what there is");
}

#[tokio::test]
async fn a_request_that_waits_too_long_is_refused() {
    let budget = budget(8 << 10, 8 << 10);
    let held = take(budget, 8 << 10).await.unwrap();
    assert!(!held.is_wanted());
    let waiting = tokio::spawn(take(budget, 1));
    tokio::task::yield_now().await;
    assert!(held.is_wanted());
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.status.as_u16(), error.code), (503, Some("memory_full")));
    assert!(error.retry_after.is_some() && !held.is_wanted());
    drop(held);
    assert!(take(budget, 8 << 10).await.is_ok());
}

#[tokio::test]
async fn small_bodies_do_not_wait() {
    let mut held = Vec::new();
    for _ in 0..10_000 {
        let mut share = BudgetShare::take(SMALL_BYTES).await.unwrap();
        share.take_for_parsing(SMALL_BYTES, 30_000).await.unwrap();
        held.push(share);
    }
}

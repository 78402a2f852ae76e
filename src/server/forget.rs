//! Stored responses are forgotten when they are old. How they are stored is the journal's.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::Journal;

/// So often the record is looked through for stored responses that are too old.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Forgets stored responses once they are older than `age`: now, and as long as this is polled.
pub async fn forget_responses(journal: Arc<Journal>, age: Duration) {
    let mut times = tokio::time::interval(FORGET_EVERY);
    loop {
        times.tick().await;
        let journal = Arc::clone(&journal);
        match tokio::task::spawn_blocking(move || journal.prune_responses(age)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(responses)) => tracing::info!(responses, "stored responses were too old and are forgotten"),
            Ok(Err(error)) => tracing::warn!("old responses could not be forgotten: {error}"),
            Err(error) => tracing::warn!("old responses could not be forgotten: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::KeptResponse;

    #[tokio::test]
    async fn old_responses_are_forgotten_at_the_start() {
        let journal = Arc::new(Journal::in_memory().unwrap());
        let keep = |id: &str, created_s: u64| {
            let (id, body) = (id.to_owned(), json!({}));
            let (input, output) = (Vec::new(), Vec::new());
            let response =
                KeptResponse { id, previous: None, conversation: None, created_s, body, input, output };
            journal.keep_response(&response).unwrap();
        };
        keep("old", 7);
        keep("young", crate::server::wire::unix_seconds());
        let forgetting = tokio::spawn(forget_responses(Arc::clone(&journal), Duration::from_secs(60)));
        let gone = async {
            while journal.response("old").unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it is forgotten");
        assert!(journal.response("young").unwrap().is_some());
        assert!(!forgetting.is_finished(), "it looks again later");
        forgetting.abort();
    }
}

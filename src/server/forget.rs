//! Stored responses are forgotten when they are old. How they are stored is the journal's.

use std::time::Duration;

use crate::journal::{Desk, JournalError};

/// So often the record is looked through for stored responses that are too old.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Forgets stored responses once they are older than `age`: now, and as long as this is polled.
pub async fn forget_responses(desk: Desk, age: Duration) {
    let mut times = tokio::time::interval(FORGET_EVERY);
    loop {
        times.tick().await;
        match desk.write(move |journal| journal.prune_responses(age)).await {
            Ok(0) => {}
            Ok(responses) => tracing::info!(responses, "stored responses were too old and are forgotten"),
            Err::<_, JournalError>(error) => tracing::warn!("old responses could not be forgotten: {error}"),
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
        let desk = Desk::in_memory().unwrap();
        let keep = async |id: &str, created_s: u64| {
            let (id, body) = (id.to_owned(), json!({}));
            let (input, output) = (Vec::new(), Vec::new());
            let response =
                KeptResponse { id, previous: None, conversation: None, created_s, body, input, output };
            desk.write(move |journal| journal.keep_response(&response)).await.unwrap();
        };
        keep("old", 7).await;
        keep("young", crate::server::wire::unix_seconds()).await;
        let there =
            async |id: &'static str| desk.read(move |journal| journal.response(id)).await.unwrap().is_some();
        let forgetting = tokio::spawn(forget_responses(desk.clone(), Duration::from_secs(60)));
        let gone = async {
            while there("old").await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it is forgotten");
        assert!(there("young").await);
        assert!(!forgetting.is_finished(), "it looks again later");
        forgetting.abort();
    }
}

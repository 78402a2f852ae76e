//! Deletes stored responses when they are too old. How they are stored is the journal's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bandmaster_journal::{AsyncJournal, JournalError};

/// How often old responses are looked for.
const CHECK_EVERY: Duration = Duration::from_secs(3600);

/// A clock that jumps ahead further than this is not trusted: responses would be deleted by mistake.
const CLOCK_JUMP_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Deletes stored responses older than `age`, at once and then regularly, as long as this future is polled. Nothing is
/// deleted while the clock is far ahead of the newest record from before the start, or has jumped ahead since.
pub async fn delete_old_responses(journal: AsyncJournal, age: Duration) {
    let mut times = tokio::time::interval(CHECK_EVERY);
    let newest = journal.read(|journal| journal.newest_s()).await.unwrap_or_else(|error: JournalError| {
        tracing::warn!("the age of the stored responses can't be read: {error}");
        None
    });
    let clock =
        Clock { newest: newest.map(Duration::from_secs), started_at: unix_time(), since: Instant::now() };
    loop {
        times.tick().await;
        if let Err(why) = clock.check(unix_time(), clock.since.elapsed()) {
            tracing::warn!("old stored responses are not deleted: {why}");
            continue;
        }
        match delete_now(&journal, age).await {
            Ok(0) => {}
            Ok(responses) => tracing::info!(responses, "deleted stored responses that were too old"),
            Err(error) => tracing::warn!("old stored responses could not be deleted: {error}"),
        }
    }
}

/// Deletes in several transactions, so that other users of the record get their turn in between.
async fn delete_now(journal: &AsyncJournal, age: Duration) -> Result<usize, JournalError> {
    let mut deleted = 0;
    loop {
        match journal.write(move |journal| journal.prune_responses(age)).await? {
            0 => return Ok(deleted),
            some => deleted += some,
        }
    }
}

/// Distinguishes a clock that was set wrongly from time that has passed. Times are Unix times.
struct Clock {
    /// Time of the newest entry in the record at the start.
    newest: Option<Duration>,
    started_at: Duration,
    since: Instant,
}

impl Clock {
    /// Checks whether the time `now` is plausible when `elapsed` has passed since the start.
    fn check(&self, now: Duration, elapsed: Duration) -> Result<(), String> {
        if now > self.started_at + elapsed + CLOCK_JUMP_MAX {
            return Err("the clock has jumped ahead by more than a year since the server started".to_owned());
        }
        match self.newest {
            Some(newest) if self.started_at > newest + CLOCK_JUMP_MAX => Err(
                "the clock is more than a year ahead of everything that was recorded before: correct it and restart, \
                 or, if it is right, delete what is old with `bandmaster runs prune`"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use bandmaster_journal::StoredResponse;

    #[test]
    fn a_wrong_clock_deletes_nothing() {
        let year = |year: u64| Duration::from_secs((year - 1970) * 31_557_600);
        let check = |newest: Option<u64>, started_at: u64, now: u64, elapsed_s: u64, believed: bool| {
            let clock =
                Clock { newest: newest.map(year), started_at: year(started_at), since: Instant::now() };
            let result = clock.check(year(now), Duration::from_secs(elapsed_s));
            assert_eq!(result.is_ok(), believed, "{newest:?} {started_at} {now}: {result:?}");
        };
        check(None, 2026, 2026, 60, true);
        check(Some(2026), 2026, 2026, 60, true);
        check(Some(2026), 2026, 2106, 60, false);
        check(Some(2026), 2106, 2106, 60, false);
        check(Some(2026), 1970, 1970, 60, true);
        check(Some(2026), 2026, 1970, 60, true);
        check(Some(2026), 1970, 2026, 60, false);
        check(Some(2026), 2026, 2028, 2 * 31_557_600, true);
    }

    #[tokio::test]
    async fn old_responses_are_deleted_at_the_start() {
        let journal = AsyncJournal::in_memory().unwrap();
        let keep = async |id: &str, created_s: u64| {
            let (id, body) = (id.to_owned(), json!({}));
            let (input, output) = (Vec::new(), Vec::new());
            let response =
                StoredResponse { id, previous: None, conversation: None, created_s, body, input, output };
            journal.write(move |journal| journal.keep_response(&response)).await.unwrap();
        };
        keep("old", 7).await;
        keep("young", crate::wire::unix_seconds()).await;
        let there = async |id: &'static str| {
            journal.read(move |journal| journal.response(id)).await.unwrap().is_some()
        };
        let deleting = tokio::spawn(delete_old_responses(journal.clone(), Duration::from_secs(60)));
        let gone = async {
            while there("old").await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it is forgotten");
        assert!(there("young").await);
        assert!(!deleting.is_finished(), "it looks again later");
        deleting.abort();
    }
}

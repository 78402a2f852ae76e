//! Stored responses are forgotten when they are old. How they are stored is the journal's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::journal::{Desk, JournalError};

/// So often the record is looked through for stored responses that are too old.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// A clock that leaps further is not believed: what it calls old would be lost.
const LEAP_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Forgets stored responses once they are older than `age`: now, and as long as this is polled. Nothing is forgotten while
/// the clock is far ahead of what was recorded before this began, or has leapt since.
pub async fn forget_responses(desk: Desk, age: Duration) {
    let mut times = tokio::time::interval(FORGET_EVERY);
    let newest = desk.read(|journal| journal.newest_s()).await.unwrap_or_else(|error: JournalError| {
        tracing::warn!("how old the stored responses are can't be read: {error}");
        None
    });
    let clock = Clock { newest: newest.map(Duration::from_secs), began: wall(), since: Instant::now() };
    loop {
        times.tick().await;
        if let Err(why) = clock.check(wall(), clock.since.elapsed()) {
            tracing::warn!("no stored response is forgotten: {why}");
            continue;
        }
        match forget_now(&desk, age).await {
            Ok(0) => {}
            Ok(responses) => tracing::info!(responses, "stored responses were too old and are forgotten"),
            Err(error) => tracing::warn!("old responses could not be forgotten: {error}"),
        }
    }
}

/// In several goes: what others ask of the record comes in between.
async fn forget_now(desk: &Desk, age: Duration) -> Result<usize, JournalError> {
    let mut forgotten = 0;
    loop {
        match desk.write(move |journal| journal.prune_responses(age)).await? {
            0 => return Ok(forgotten),
            some => forgotten += some,
        }
    }
}

/// What tells a clock that was set wrongly from time that went by. Times of day since 1970.
struct Clock {
    /// Of the youngest thing recorded before.
    newest: Option<Duration>,
    began: Duration,
    since: Instant,
}

impl Clock {
    /// Whether the time of day can be believed, so long after the beginning.
    fn check(&self, now: Duration, elapsed: Duration) -> Result<(), String> {
        if now > self.began + elapsed + LEAP_MAX {
            return Err("the clock has leapt ahead by more than a year since the server began".to_owned());
        }
        match self.newest {
            Some(newest) if self.began > newest + LEAP_MAX => Err(
                "the clock is more than a year ahead of everything that was recorded before: set it right and start again, \
                 or, if it is right, let `bandmaster runs prune` forget them"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::KeptResponse;

    #[test]
    fn a_clock_that_was_set_wrongly_makes_nothing_old() {
        let year = |year: u64| Duration::from_secs((year - 1970) * 31_557_600);
        let check = |newest: Option<u64>, began: u64, now: u64, elapsed_s: u64, believed: bool| {
            let clock = Clock { newest: newest.map(year), began: year(began), since: Instant::now() };
            let result = clock.check(year(now), Duration::from_secs(elapsed_s));
            assert_eq!(result.is_ok(), believed, "{newest:?} {began} {now}: {result:?}");
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

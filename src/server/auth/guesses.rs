//! Slows down guessing of API keys: the more wrong keys came from an address lately, the longer its next key waits
//! before it is checked. Right keys wait as well, since an immediate answer would reveal them; but only a few seconds,
//! and not on a connection whose last key was right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::serve::Who;

/// Wrong keys without any delay, as honest mistakes.
const FREE: f64 = 10.0;
/// The count stops here, so that it decays within a short time.
const LEVEL_MAX: f64 = 100.0;
/// Time in which the count halves.
const HALF_LIFE: Duration = Duration::from_secs(10);
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// The wait doubles with every this many further wrong keys.
const DOUBLES_EVERY: f64 = 10.0;
/// The longest wait of any key.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// Most waiting requests of one address; further ones are refused.
const WAITING_MAX: usize = 256;
/// Most addresses to remember.
const ADDRESSES_MAX: usize = 4096;

/// Recent wrong keys, by address.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<Who, Tried>>);

#[derive(Debug, Clone, Copy)]
struct Tried {
    level: f64,
    at: Instant,
    waiting: usize,
}

impl Tried {
    fn level(&self, now: Instant) -> f64 {
        let halves = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.level * 0.5f64.powf(halves)
    }
}

/// A request that waits; it stops counting as waiting when this is dropped.
#[derive(Debug)]
pub struct Waiting {
    guesses: Arc<Guesses>,
    who: Who,
    pub wait: Duration,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(tried) = self.guesses.tried().get_mut(&self.who) {
            tried.waiting -= 1;
        }
    }
}

impl Guesses {
    fn tried(&self) -> MutexGuard<'_, HashMap<Who, Tried>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a key from `who` must wait before it is checked.
    ///
    /// # Errors
    /// Too many are waiting already; the duration says when to try again.
    pub fn arrive(self: &Arc<Self>, who: Who, now: Instant) -> Result<Option<Waiting>, Duration> {
        let mut all = self.tried();
        let Some(tried) = all.get_mut(&who) else { return Ok(None) };
        // Waiting requests are assumed to be wrong as well.
        let level = tried.level(now) + tried.waiting as f64;
        if level < FREE {
            return Ok(None);
        }
        if tried.waiting >= WAITING_MAX {
            return Err(WAIT_MAX);
        }
        tried.waiting += 1;
        let doubled = ((level - FREE) / DOUBLES_EVERY).min(32.0);
        let wait = WAIT_FIRST.mul_f64(doubled.exp2()).min(WAIT_MAX);
        Ok(Some(Waiting { guesses: Arc::clone(self), who, wait }))
    }

    /// Counts a wrong key.
    pub fn failed(&self, who: Who, now: Instant) {
        let mut all = self.tried();
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&who) {
            all.retain(|_, tried| tried.waiting > 0 || tried.level(now) >= 1.0);
            let idle = all.iter().filter(|(_, tried)| tried.waiting == 0);
            let least = idle.min_by(|(_, a), (_, b)| a.level(now).total_cmp(&b.level(now)));
            let least = least.map(|(who, _)| *who).filter(|_| all.len() >= ADDRESSES_MAX);
            least.and_then(|who| all.remove(&who));
        }
        let tried = all.entry(who).or_insert(Tried { level: 0.0, at: now, waiting: 0 });
        tried.level = (tried.level(now) + 1.0).min(LEVEL_MAX);
        tried.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(last: u32) -> Who {
        Who::Net(std::net::Ipv4Addr::from(0x0a00_0000 + last).into())
    }

    fn wait(guesses: &Arc<Guesses>, who: Who, now: Instant) -> Duration {
        guesses.arrive(who, now).unwrap().map_or(Duration::ZERO, |waiting| waiting.wait)
    }

    #[test]
    fn wrong_keys_make_the_next_wait_and_are_soon_forgotten() {
        let (guesses, mut now) = (Arc::new(Guesses::default()), Instant::now());
        for _ in 0..10 {
            assert_eq!(wait(&guesses, who(1), now), Duration::ZERO);
            guesses.failed(who(1), now);
        }
        assert_eq!(wait(&guesses, who(1), now), WAIT_FIRST);
        assert_eq!(wait(&guesses, who(2), now), Duration::ZERO, "others don't notice");
        let mut last = Duration::ZERO;
        for _ in 0..1000 {
            guesses.failed(who(1), now);
            let next = wait(&guesses, who(1), now);
            assert!(next >= last && next <= WAIT_MAX);
            last = next;
        }
        assert_eq!(last, WAIT_MAX);
        now += 4 * HALF_LIFE;
        assert_eq!(wait(&guesses, who(1), now), Duration::ZERO, "40 s later nothing is left of it");
    }

    #[test]
    fn whoever_asks_side_by_side_waits_as_long_as_one_after_another() {
        let (guesses, now) = (Arc::new(Guesses::default()), Instant::now());
        (0..10).for_each(|_| guesses.failed(who(1), now));
        let mut waiting: Vec<Waiting> = Vec::new();
        while let Ok(next) = guesses.arrive(who(1), now) {
            waiting.push(next.expect("it waits"));
        }
        assert_eq!(waiting.len(), WAITING_MAX);
        let slow = waiting.iter().filter(|waiting| waiting.wait == WAIT_MAX).count();
        assert!(slow > WAITING_MAX / 2, "{slow}");
        drop(waiting);
        assert_eq!(wait(&guesses, who(1), now), WAIT_FIRST);
    }

    #[test]
    fn addresses_without_number_are_not_remembered_without_end() {
        let (guesses, now) = (Arc::new(Guesses::default()), Instant::now());
        (0..50).for_each(|_| guesses.failed(who(0), now));
        (1..20_000).for_each(|last| guesses.failed(who(last), now));
        assert!(guesses.tried().len() <= ADDRESSES_MAX);
        assert!(wait(&guesses, who(0), now) > WAIT_FIRST, "the worst stays known");
    }
}

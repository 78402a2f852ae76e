//! Slows down guessing of API keys: the more wrong keys came from an address lately, the longer its next key waits
//! before it is checked. Right keys wait as well, since an immediate answer would reveal them; but only a few seconds,
//! and not on a connection whose last key was right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::serve::ClientAddress;

/// Wrong keys without any delay, as honest mistakes.
const UNDELAYED_MAX: f64 = 10.0;
/// The count stops here, so that it decays within a short time.
const LEVEL_MAX: f64 = 100.0;
/// Time in which the count halves.
const HALF_LIFE: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The delay doubles with every this many further wrong keys.
const DOUBLES_EVERY: f64 = 10.0;
/// The longest delay of any key.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// Most waiting requests of one address; further ones are refused.
const WAITING_MAX: usize = 256;
/// Most addresses to remember.
const ADDRESSES_MAX: usize = 4096;

/// Recent wrong keys, by address.
#[derive(Debug, Default)]
pub(crate) struct WrongKeys(Mutex<HashMap<ClientAddress, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    level: f64,
    at: Instant,
    waiting: usize,
}

impl Failures {
    fn level(&self, now: Instant) -> f64 {
        let halves = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.level * 0.5f64.powf(halves)
    }
}

/// A request that waits; it stops counting as waiting when this is dropped.
#[derive(Debug)]
pub struct Delay {
    wrong_keys: Arc<WrongKeys>,
    client: ClientAddress,
    pub time: Duration,
}

impl Drop for Delay {
    fn drop(&mut self) {
        if let Some(failures) = self.wrong_keys.failures().get_mut(&self.client) {
            failures.waiting -= 1;
        }
    }
}

impl WrongKeys {
    fn failures(&self) -> MutexGuard<'_, HashMap<ClientAddress, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a key from `client` must wait before it is checked.
    ///
    /// # Errors
    /// Too many are waiting already; the duration says when to try again.
    pub(crate) fn delay_for(
        self: &Arc<Self>,
        client: ClientAddress,
        now: Instant,
    ) -> Result<Option<Delay>, Duration> {
        let mut addresses = self.failures();
        let Some(failures) = addresses.get_mut(&client) else { return Ok(None) };
        // Waiting requests are assumed to be wrong as well.
        let level = failures.level(now) + failures.waiting as f64;
        if level < UNDELAYED_MAX {
            return Ok(None);
        }
        if failures.waiting >= WAITING_MAX {
            return Err(DELAY_MAX);
        }
        failures.waiting += 1;
        let doubled = ((level - UNDELAYED_MAX) / DOUBLES_EVERY).min(32.0);
        let time = FIRST_DELAY.mul_f64(doubled.exp2()).min(DELAY_MAX);
        Ok(Some(Delay { wrong_keys: Arc::clone(self), client, time }))
    }

    /// Counts a wrong key.
    pub(crate) fn record(&self, client: ClientAddress, now: Instant) {
        let mut addresses = self.failures();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&client) {
            addresses.retain(|_, failures| failures.waiting > 0 || failures.level(now) >= 1.0);
            let idle = addresses.iter().filter(|(_, failures)| failures.waiting == 0);
            let least = idle.min_by(|(_, a), (_, b)| a.level(now).total_cmp(&b.level(now)));
            let least = least.map(|(client, _)| *client).filter(|_| addresses.len() >= ADDRESSES_MAX);
            least.and_then(|client| addresses.remove(&client));
        }
        let failures = addresses.entry(client).or_insert(Failures { level: 0.0, at: now, waiting: 0 });
        failures.level = (failures.level(now) + 1.0).min(LEVEL_MAX);
        failures.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u32) -> ClientAddress {
        ClientAddress::Net(std::net::Ipv4Addr::from(0x0a00_0000 + last).into())
    }

    fn wait(wrong_keys: &Arc<WrongKeys>, client: ClientAddress, now: Instant) -> Duration {
        wrong_keys.delay_for(client, now).unwrap().map_or(Duration::ZERO, |delay| delay.time)
    }

    #[test]
    fn wrong_keys_delay_the_next_and_are_soon_forgotten() {
        let (wrong_keys, mut now) = (Arc::new(WrongKeys::default()), Instant::now());
        for _ in 0..10 {
            assert_eq!(wait(&wrong_keys, client(1), now), Duration::ZERO);
            wrong_keys.record(client(1), now);
        }
        assert_eq!(wait(&wrong_keys, client(1), now), FIRST_DELAY);
        assert_eq!(wait(&wrong_keys, client(2), now), Duration::ZERO, "others don't notice");
        let mut last = Duration::ZERO;
        for _ in 0..1000 {
            wrong_keys.record(client(1), now);
            let next = wait(&wrong_keys, client(1), now);
            assert!(next >= last && next <= DELAY_MAX);
            last = next;
        }
        assert_eq!(last, DELAY_MAX);
        now += 4 * HALF_LIFE;
        assert_eq!(wait(&wrong_keys, client(1), now), Duration::ZERO, "40 s later nothing is left of it");
    }

    #[test]
    fn parallel_guesses_wait_as_long_as_successive_ones() {
        let (wrong_keys, now) = (Arc::new(WrongKeys::default()), Instant::now());
        (0..10).for_each(|_| wrong_keys.record(client(1), now));
        let mut waiting: Vec<Delay> = Vec::new();
        while let Ok(next) = wrong_keys.delay_for(client(1), now) {
            waiting.push(next.expect("it waits"));
        }
        assert_eq!(waiting.len(), WAITING_MAX);
        let slow = waiting.iter().filter(|delay| delay.time == DELAY_MAX).count();
        assert!(slow > WAITING_MAX / 2, "{slow}");
        drop(waiting);
        assert_eq!(wait(&wrong_keys, client(1), now), FIRST_DELAY);
    }

    #[test]
    fn the_number_of_remembered_addresses_is_limited() {
        let (wrong_keys, now) = (Arc::new(WrongKeys::default()), Instant::now());
        (0..50).for_each(|_| wrong_keys.record(client(0), now));
        (1..20_000).for_each(|last| wrong_keys.record(client(last), now));
        assert!(wrong_keys.failures().len() <= ADDRESSES_MAX);
        assert!(wait(&wrong_keys, client(0), now) > FIRST_DELAY, "the worst stays known");
    }
}

//! API keys from a file: who is let in, and how much at a time.
//!
//! A line a key: `KEY [name=NAME] [admin] [requests_per_minute=N] [tokens_per_minute=N] [concurrent=N]`. What is asked for is
//! not known here. Keys are kept as SHA-256 digests and never shown.

mod guesses;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use super::serve::Who;
use crate::journal::Viewer;

pub use guesses::{Guesses, Waiting};

/// Of a key's digest, so many bytes stand in the record for a key without a name: enough to tell keys apart.
const OWNER_BYTES: usize = 8;
/// When to come again where nobody knows when a request will end.
const CONCURRENT_WAIT: Duration = Duration::from_secs(1);

/// The keys that are let in.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Arc<Key>>,
    /// What was tried.
    guesses: Arc<Guesses>,
}

#[derive(Debug)]
struct Key {
    name: String,
    /// Whose the runs, responses and conversations are that are made with it.
    owner: String,
    /// Sees those of all keys.
    is_admin: bool,
    digest: [u8; 32],
    concurrent_max: Option<u64>,
    used: Mutex<Used>,
}

/// What a key has used up.
#[derive(Debug)]
struct Used {
    running: u64,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

/// Why a file holds no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Not there, not ours, or no text.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// Not a single key.
    #[error(
        "{} holds no key: write one a line, e.g. one that `openssl rand -hex 24` makes",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that can't be read.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what is expected.
        problem: String,
    },
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No key came with it.
    #[error("an API key is needed: send it as `Authorization: Bearer KEY`")]
    Missing,
    /// The key is none of ours.
    #[error("the API key is wrong: send one of those this server was started with")]
    Wrong,
    /// Many keys from there were wrong, and as many requests wait as may.
    #[error("many wrong keys came from this address: try again later")]
    TooManyWrong {
        /// When fewer wait.
        retry_after: Duration,
    },
    /// Its requests of this minute are used up.
    #[error("this key may make {per_minute} requests a minute: try again later")]
    TooManyRequests {
        /// The limit.
        per_minute: u64,
        /// When there is room again.
        retry_after: Duration,
    },
    /// Its tokens of this minute are used up.
    #[error("this key may use {per_minute} tokens a minute: try again later")]
    TooManyTokens {
        /// The limit.
        per_minute: u64,
        /// When there is room again.
        retry_after: Duration,
    },
    /// It has as many requests running as it may.
    #[error("this key may have {concurrent} requests running at a time: try again when one has ended")]
    TooManyAtOnce {
        /// The limit.
        concurrent: u64,
        /// A guess.
        retry_after: Duration,
    },
}

/// A request that was let in. It counts as running until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    key: Arc<Key>,
}

impl Keys {
    /// Reads a file. One that others may read is taken with a warning.
    ///
    /// # Errors
    /// [`KeysError`] naming the file, the line and what is wrong with it; never a key.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let unreadable = |problem: String| KeysError::Unreadable { path: path.to_owned(), problem };
        let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
            if metadata.permissions().mode() & 0o077 != 0 {
                let path = path.display();
                tracing::warn!("{path}: others on this machine may read the keys: chmod 600 {path}");
            }
        }
        Self::parse(&text, path, Instant::now())
    }

    fn parse(text: &str, path: &Path, now: Instant) -> Result<Self, KeysError> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        let mut names = BTreeSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = parse_line(line, keys.len() + 1, now).and_then(|key| {
                if keys.iter().any(|other| other.digest == key.digest) {
                    return Err("the same key stands above: give each line its own".to_owned());
                }
                if !names.insert(key.name.clone()) {
                    return Err(format!("name={} stands above: give each key its own", key.name));
                }
                Ok(key)
            });
            let broken = |problem| KeysError::Line { path: path.to_owned(), line: at + 1, problem };
            keys.push(Arc::new(key.map_err(broken)?));
        }
        if keys.is_empty() {
            return Err(KeysError::Empty { path: path.to_owned() });
        }
        Ok(Self { keys, guesses: Arc::default() })
    }

    /// The key a request brings: `Authorization: Bearer KEY`, else `x-api-key: KEY` or `api-key: KEY`.
    #[must_use]
    pub fn presented(headers: &HeaderMap) -> Option<&str> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let bearer = text(header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim());
        bearer.or_else(|| text("x-api-key")).or_else(|| text("api-key"))
    }

    /// What a key from `who` must wait for before it is looked at: nothing, unless wrong ones came from there.
    ///
    /// # Errors
    /// [`Denied::TooManyWrong`].
    pub fn arrive(&self, who: Who) -> Result<Option<Waiting>, Denied> {
        let arrived = self.guesses.arrive(who, Instant::now());
        arrived.map_err(|retry_after| Denied::TooManyWrong { retry_after })
    }

    /// Counts a wrong key that came from there.
    pub fn guessed(&self, who: Who) {
        self.guesses.failed(who, Instant::now());
    }

    /// Lets a request in that presents a key, or says why not. It counts against the key's requests when it is let in.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn admit(&self, presented: Option<&str>) -> Result<Admitted, Denied> {
        self.admit_at(presented, Instant::now())
    }

    fn admit_at(&self, presented: Option<&str>, now: Instant) -> Result<Admitted, Denied> {
        let key = self.find(presented.ok_or(Denied::Missing)?).ok_or(Denied::Wrong)?;
        key.take(now)?;
        Ok(Admitted { key: Arc::clone(key) })
    }

    /// Looks at all keys, whichever matches: the time it takes tells nothing of how near a guess was.
    fn find(&self, presented: &str) -> Option<&Arc<Key>> {
        let digest = sha256(presented);
        let mut found = None;
        for key in &self.keys {
            if same(&digest, &key.digest) {
                found = Some(key);
            }
        }
        found
    }
}

/// Compares every byte, whatever the first ones say.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    difference == 0
}

fn sha256(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn parse_line(line: &str, number: usize, now: Instant) -> Result<Key, String> {
    let mut words = line.split_whitespace();
    let word = words.next().expect("the line is not empty");
    if !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a key is made of visible ASCII characters".to_owned());
    }
    let mut name = None;
    let mut is_admin = false;
    let (mut requests, mut tokens, mut concurrent_max) = (None, None, None);
    for setting in words {
        let (field, value) = setting.split_once('=').unwrap_or((setting, ""));
        let twice = match field {
            "admin" if setting == "admin" => std::mem::replace(&mut is_admin, true),
            "name" if value.is_empty() => return Err("name= names nobody".to_owned()),
            "name" => name.replace(value.to_owned()).is_some(),
            "requests_per_minute" => requests.replace(limit(field, value)?).is_some(),
            "tokens_per_minute" => tokens.replace(limit(field, value)?).is_some(),
            "concurrent" => concurrent_max.replace(limit(field, value)?).is_some(),
            _ => {
                return Err(format!(
                    "`{field}` is no setting: there are name, admin, requests_per_minute, tokens_per_minute and concurrent"
                ));
            }
        };
        if twice {
            return Err(format!("{field} stands twice"));
        }
    }
    let digest = sha256(word);
    // A name stays where a key is replaced by another; without one the key itself is what stays.
    let owner = match &name {
        Some(name) => format!("name:{name}"),
        None => digest[..OWNER_BYTES].iter().fold("key:".to_owned(), |id, byte| format!("{id}{byte:02x}")),
    };
    let bucket = |per_minute: Option<u64>| per_minute.map(|per_minute| Bucket::full(per_minute, now));
    Ok(Key {
        name: name.unwrap_or_else(|| format!("key-{number}")),
        owner,
        is_admin,
        digest,
        concurrent_max,
        used: Mutex::new(Used { running: 0, requests: bucket(requests), tokens: bucket(tokens) }),
    })
}

fn limit(field: &str, value: &str) -> Result<u64, String> {
    // As f64, larger ones would not be exact.
    let number = value.parse().ok().filter(|number| (1..=1 << 50).contains(number));
    number.ok_or_else(|| format!("{field}={value}: give a whole number from 1"))
}

impl Key {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request, if every limit has room for it; a request that is refused uses nothing up.
    fn take(&self, now: Instant) -> Result<(), Denied> {
        let mut used = self.used();
        let Used { running, requests, tokens } = &mut *used;
        if let Some(concurrent) = self.concurrent_max.filter(|max| *running >= *max) {
            return Err(Denied::TooManyAtOnce { concurrent, retry_after: CONCURRENT_WAIT });
        }
        if let Some(tokens) = tokens
            && let Some(retry_after) = tokens.wait(now)
        {
            return Err(Denied::TooManyTokens { per_minute: tokens.per_minute, retry_after });
        }
        if let Some(requests) = requests {
            if let Some(retry_after) = requests.wait(now) {
                return Err(Denied::TooManyRequests { per_minute: requests.per_minute, retry_after });
            }
            requests.level -= 1.0;
        }
        *running += 1;
        Ok(())
    }
}

impl Admitted {
    /// The key's name, for logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// As whom the record of runs is read and written.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        Viewer::named(self.key.owner.clone(), self.key.is_admin)
    }

    /// Counts tokens against the key's minute. They were used already: more than there is room for make the next
    /// request wait longer.
    pub fn charge(&self, tokens: u64) {
        self.charge_at(tokens, Instant::now());
    }

    fn charge_at(&self, tokens: u64, now: Instant) {
        if let Some(bucket) = &mut self.key.used().tokens {
            bucket.fill(now);
            bucket.level -= tokens as f64;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.key.used().running -= 1;
    }
}

/// Holds a minute's worth and fills as fast as it may be used.
#[derive(Debug)]
struct Bucket {
    per_minute: u64,
    /// What may be used now; below zero when more was used than there was.
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn full(per_minute: u64, now: Instant) -> Self {
        Self { per_minute, level: per_minute as f64, filled: now }
    }

    fn per_second(&self) -> f64 {
        self.per_minute as f64 / 60.0
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + seconds * self.per_second()).min(self.per_minute as f64);
        self.filled = self.filled.max(now);
    }

    /// How long until there is one; `None` when there is.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        // What was filled in small pieces may miss one by a rounding error.
        let missing = 1.0 - 1e-6 - self.level;
        let seconds = missing / self.per_second();
        (missing > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

//! API keys from a file, and their rate limits.
//!
//! Each line is a key: `KEY [name=NAME] [admin] [requests_per_minute=N] [tokens_per_minute=N] [concurrent=N]`. Keys are
//! kept as SHA-256 digests and never shown. What a request asks for is not known here.

#[cfg(test)]
mod tests;
mod wrong_keys;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use bandmaster_journal::Viewer;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::serve::ClientAddress;

use wrong_keys::{Delay, WrongKeys};

/// Bytes of the digest that identify a key without a name in the record: enough to tell keys apart.
const OWNER_BYTES: usize = 8;
/// `retry-after` for a key at its concurrency limit, since it is unknown when a request will end.
const CONCURRENT_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct ApiKeys {
    keys: Vec<Arc<Key>>,
    wrong_keys: Arc<WrongKeys>,
}

#[derive(Debug)]
struct Key {
    name: String,
    /// Owner of the runs, responses and conversations that are made with this key.
    owner: String,
    /// Whether the key may see those of all keys.
    is_admin: bool,
    digest: [u8; 32],
    concurrent_max: Option<u64>,
    limits: Mutex<LimitState>,
}

/// Current use against the key's limits; `None` without a limit.
#[derive(Debug)]
struct LimitState {
    running: u64,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
}

#[derive(Debug, thiserror::Error)]
pub enum ApiKeysError {
    #[error("{}: {problem}", path.display())]
    Unreadable { path: PathBuf, problem: String },
    #[error(
        "{} contains no key: write one per line, e.g. one that `openssl rand -hex 24` makes",
        path.display()
    )]
    Empty { path: PathBuf },
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        problem: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("an API key is needed: send it as `Authorization: Bearer KEY`")]
    Missing,
    #[error("the API key is wrong: send one that this server was started with")]
    Wrong,
    /// Many wrong keys came from this address, and the most requests that may wait because of that are waiting.
    #[error("too many wrong keys were sent from this address: try again later")]
    TooManyWrong { retry_after: Duration },
    #[error("this key may make {per_minute} requests per minute: try again later")]
    TooManyRequests { per_minute: u64, retry_after: Duration },
    #[error("this key may use {per_minute} tokens per minute: try again later")]
    TooManyTokens { per_minute: u64, retry_after: Duration },
    #[error("this key may have {concurrent} requests running at a time: try again when one has ended")]
    TooManyAtOnce {
        concurrent: u64,
        /// A fixed guess.
        retry_after: Duration,
    },
}

/// A request that was accepted. It counts as running for its key until this is dropped.
#[derive(Debug)]
pub struct Permit {
    key: Arc<Key>,
}

impl ApiKeys {
    /// Reads a file of keys. Logs a warning if other users may read it.
    ///
    /// # Errors
    /// `ApiKeysError` names the file, the line and what is wrong with it, but never a key.
    pub fn read(path: &Path) -> Result<Self, ApiKeysError> {
        let unreadable = |problem: String| ApiKeysError::Unreadable { path: path.to_owned(), problem };
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

    fn parse(text: &str, path: &Path, now: Instant) -> Result<Self, ApiKeysError> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        let mut names = BTreeSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = parse_line(line, keys.len() + 1, now).and_then(|key| {
                if keys.iter().any(|other| other.digest == key.digest) {
                    return Err("the same key was used on an earlier line: give each line its own".to_owned());
                }
                if !names.insert(key.name.clone()) {
                    return Err(format!(
                        "name={} was used on an earlier line: give each key its own",
                        key.name
                    ));
                }
                Ok(key)
            });
            let broken = |problem| ApiKeysError::Line { path: path.to_owned(), line: at + 1, problem };
            keys.push(Arc::new(key.map_err(broken)?));
        }
        if keys.is_empty() {
            return Err(ApiKeysError::Empty { path: path.to_owned() });
        }
        Ok(Self { keys, wrong_keys: Arc::default() })
    }

    /// The key in a request's headers: `Authorization: Bearer KEY`, else `x-api-key: KEY`, else `api-key: KEY`.
    #[must_use]
    pub fn presented(headers: &HeaderMap) -> Option<&str> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let bearer = text(header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, key)| key.trim());
        bearer.or_else(|| text("x-api-key")).or_else(|| text("api-key"))
    }

    /// How long to wait before checking a key from `client`; `None` unless many wrong keys came from there.
    ///
    /// # Errors
    /// `AuthError::TooManyWrong`.
    pub fn delay_for(&self, client: ClientAddress) -> Result<Option<Delay>, AuthError> {
        let delay = self.wrong_keys.delay_for(client, Instant::now());
        delay.map_err(|retry_after| AuthError::TooManyWrong { retry_after })
    }

    /// Counts a wrong key from `client`.
    pub fn record_wrong_key(&self, client: ClientAddress) {
        self.wrong_keys.record(client, Instant::now());
    }

    /// Checks a key and its limits. An accepted request counts against them.
    pub fn admit(&self, presented: Option<&str>) -> Result<Permit, AuthError> {
        self.admit_at(presented, Instant::now())
    }

    fn admit_at(&self, presented: Option<&str>, now: Instant) -> Result<Permit, AuthError> {
        let key = self.find(presented.ok_or(AuthError::Missing)?).ok_or(AuthError::Wrong)?;
        key.take(now)?;
        Ok(Permit { key: Arc::clone(key) })
    }

    /// Compares with all keys even after a match, so that the time taken reveals nothing about the keys.
    fn find(&self, presented: &str) -> Option<&Arc<Key>> {
        let digest = sha256(presented);
        let mut found = None;
        for key in &self.keys {
            if bool::from(digest.ct_eq(&key.digest)) {
                found = Some(key);
            }
        }
        found
    }
}

fn sha256(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn parse_line(line: &str, number: usize, now: Instant) -> Result<Key, String> {
    let mut words = line.split_whitespace();
    let word = words.next().expect("the line is not empty");
    if !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a key must consist of visible ASCII characters".to_owned());
    }
    let mut name = None;
    let mut is_admin = false;
    let (mut requests, mut tokens, mut concurrent_max) = (None, None, None);
    for setting in words {
        let (field, value) = setting.split_once('=').unwrap_or((setting, ""));
        let twice = match field {
            "admin" if setting == "admin" => std::mem::replace(&mut is_admin, true),
            "name" if value.is_empty() => return Err("name= is empty".to_owned()),
            "name" => name.replace(value.to_owned()).is_some(),
            "requests_per_minute" => requests.replace(limit(field, value)?).is_some(),
            "tokens_per_minute" => tokens.replace(limit(field, value)?).is_some(),
            "concurrent" => concurrent_max.replace(limit(field, value)?).is_some(),
            _ => {
                return Err(format!(
                    "`{field}` is not a setting: the settings are name, admin, requests_per_minute, tokens_per_minute and concurrent"
                ));
            }
        };
        if twice {
            return Err(format!("{field} is given twice"));
        }
    }
    let digest = sha256(word);
    // A name stays when the key itself is replaced, so the owner is the name if there is one, otherwise the key.
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
        limits: Mutex::new(LimitState { running: 0, requests: bucket(requests), tokens: bucket(tokens) }),
    })
}

fn limit(field: &str, value: &str) -> Result<u64, String> {
    // Larger numbers would not be exact as f64.
    let number = value.parse().ok().filter(|number| (1..=1 << 50).contains(number));
    number.ok_or_else(|| format!("{field}={value}: give a whole number from 1"))
}

impl Key {
    fn limits(&self) -> MutexGuard<'_, LimitState> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request if all limits allow it. A refused request uses up nothing.
    fn take(&self, now: Instant) -> Result<(), AuthError> {
        let mut limits = self.limits();
        let LimitState { running, requests, tokens } = &mut *limits;
        if let Some(concurrent) = self.concurrent_max.filter(|max| *running >= *max) {
            return Err(AuthError::TooManyAtOnce { concurrent, retry_after: CONCURRENT_WAIT });
        }
        if let Some(tokens) = tokens
            && let Some(retry_after) = tokens.wait(now)
        {
            return Err(AuthError::TooManyTokens { per_minute: tokens.per_minute, retry_after });
        }
        if let Some(requests) = requests {
            if let Some(retry_after) = requests.wait(now) {
                return Err(AuthError::TooManyRequests { per_minute: requests.per_minute, retry_after });
            }
            requests.level -= 1.0;
        }
        *running += 1;
        Ok(())
    }
}

impl Permit {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// As whom the record is read and written.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        Viewer::named(self.key.owner.clone(), self.key.is_admin)
    }

    /// Charges tokens to the key. They are already used, so going over the limit makes the next requests wait longer.
    pub fn charge(&self, tokens: u64) {
        self.charge_at(tokens, Instant::now());
    }

    fn charge_at(&self, tokens: u64, now: Instant) {
        if let Some(bucket) = &mut self.key.limits().tokens {
            bucket.fill(now);
            bucket.level -= tokens as f64;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.key.limits().running -= 1;
    }
}

/// A token bucket: holds a minute's allowance and refills continuously.
#[derive(Debug)]
struct Bucket {
    per_minute: u64,
    /// What may be used now; negative if more was used than allowed.
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

    /// How long until at least one unit is available; `None` if one is.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        // Refilling in small steps may fall short of one by rounding.
        let missing = 1.0 - 1e-6 - self.level;
        let seconds = missing / self.per_second();
        (missing > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

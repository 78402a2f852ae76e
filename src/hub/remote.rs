//! The Hugging Face hub over HTTP: a HEAD request gives a file's commit, size and sha256, range requests its bytes, the
//! API a repository's list of files. Blocking, and quick to report that there is no network.
//!
//! Source: the hub's documented paths, `/{repo}/resolve/{rev}/{file}` and `/api/models/{repo}/revision/{rev}`.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::error::HubError;
use super::file_name::{is_plain_path, join_plain, printable};
use super::partial_file::PartialFile;
use super::reference::HubReference;
use super::sizes::format_file_size;
use super::store::{check_space, disk_available};

const CONNECT_MAX: Duration = Duration::from_secs(4);
/// A server silent for longer than this is treated as gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A transfer is given up after this many attempts in a row that bring nothing.
const RESUMES_MAX: u32 = 5;
/// Time limit for a request about a repository or a file, its answer included.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// A transfer that brings less than [`PACE_BYTES`] in this time is cut, so that a server can't hold us with
/// a byte now and then.
const PACE_TIME: Duration = Duration::from_secs(60);
/// Fewer bytes than this don't count as progress, neither in [`PACE_TIME`] nor in one attempt.
const PACE_BYTES: u64 = 64 << 10;
/// A file of unknown size may fill the disk except for this much.
const DISK_SPARE_BYTES: u64 = 1 << 30;
/// Pause before the first retry; later ones wait longer.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const REDIRECTS_MAX: u32 = 5;
/// What is escaped within one segment of a URL's path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What is escaped in a path of several segments.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// Where files come from, and with which access rights. [`Remote::from_env`] reads it from the environment once.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The hub's address, without a trailing slash.
    pub endpoint: String,
    /// Access token for gated and private repositories.
    pub token: Option<String>,
    /// Folder of the official client's cache; files found there are not downloaded again.
    pub cache_dir: Option<PathBuf>,
    /// Python interpreters to try for `-m pip`, in order.
    pub pythons: Vec<PathBuf>,
}

impl Remote {
    /// Reads `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME` and `HF_HUB_CACHE`.
    #[must_use]
    pub fn from_env() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let hf_home = var("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = var("XDG_CACHE_HOME").map(PathBuf::from);
            cache
                .or_else(|| Some(etcetera::home_dir().ok()?.join(".cache")))
                .map(|dir| dir.join("huggingface"))
        });
        let token_file =
            var("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(hf_home.as_ref()?.join("token")));
        let from_file = || std::fs::read_to_string(token_file?).ok().map(|text| text.trim().to_owned());
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: var("HF_TOKEN").or_else(from_file).filter(|token| !token.is_empty()),
            cache_dir: var("HF_HUB_CACHE").map(PathBuf::from).or_else(|| Some(hf_home?.join("hub"))),
            pythons: vec!["python3".into(), "python".into()],
        }
    }

    /// A file in the official client's cache: `models--OWNER--REPO/snapshots/COMMIT/FILE`.
    pub(super) fn cached(&self, repo: &str, rev: &str, file: &str) -> Option<PathBuf> {
        let folder = self.cache_dir.as_ref()?.join(format!("models--{}", repo.replace('/', "--")));
        let reference = join_plain(&folder.join("refs"), rev)?;
        let commit = std::fs::read_to_string(reference).unwrap_or_else(|_| rev.to_owned());
        let snapshot = join_plain(&folder.join("snapshots"), commit.trim())?;
        let path = join_plain(&snapshot, file)?;
        path.is_file().then_some(path)
    }
}

/// What the hub reports about a file before it is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) url: String,
    pub(super) commit: Option<String>,
    pub(super) etag: String,
    pub(super) bytes: Option<u64>,
    /// Known for large files, whose ETag it is.
    pub(super) sha256: Option<String>,
}

pub(super) struct HubClient<'a> {
    agent: Agent,
    remote: &'a Remote,
}

#[derive(Deserialize)]
struct Listing {
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl<'a> HubClient<'a> {
    pub(super) fn new(remote: &'a Remote) -> Self {
        // Use the system's certificates, so that a company's proxy is trusted if the system trusts it.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_resolve(Some(CONNECT_MAX))
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(SILENCE_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .max_redirects(REDIRECTS_MAX)
            .user_agent(concat!("bandmaster/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, remote }
    }

    /// The `.gguf` files of a repository that a reference chooses.
    pub(super) fn choose(&self, reference: &HubReference) -> Result<Vec<String>, HubError> {
        let what = format!("hf:{}", reference.repo);
        let url = format!(
            "{}/api/models/{}/revision/{}",
            self.remote.endpoint,
            reference.repo,
            utf8_percent_encode(&reference.rev, SEGMENT)
        );
        let request = self.authorised(self.agent.get(&url));
        let request = request.config().timeout_global(Some(ANSWER_MAX)).build();
        let mut response = request.call().map_err(|error| self.unreachable(&error))?;
        self.expect_success(&what, &response)?;
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        let listing: Listing = serde_json::from_str(&text).map_err(|_| HubError::Remote {
            what,
            problem: format!("{} answered, but not as the hub does", self.remote.endpoint),
        })?;
        let files: Vec<String> = listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        reference.choose(&files)
    }

    /// Asks about a file without downloading it.
    pub(super) fn head(&self, repo: &str, rev: &str, file: &str) -> Result<RemoteFile, HubError> {
        let what = format!("hf:{repo}:{file}");
        let mut url = format!(
            "{}/{repo}/resolve/{}/{}",
            self.remote.endpoint,
            utf8_percent_encode(rev, SEGMENT),
            utf8_percent_encode(file, PATH)
        );
        for _ in 0..=REDIRECTS_MAX {
            let request = self.authorised(self.agent.head(&url)).config().max_redirects(0);
            let request = request.timeout_global(Some(ANSWER_MAX)).build();
            let response = request.call().map_err(|error| self.unreachable(&error))?;
            let location = header(response.headers(), "location");
            // A renamed repository redirects to a path on the hub itself; any other redirect leads to the bytes.
            if let Some(path) =
                location.filter(|to| to.starts_with('/') && response.status().is_redirection())
            {
                url = format!("{}{path}", self.remote.endpoint);
                continue;
            }
            if !response.status().is_redirection() {
                self.expect_success(&what, &response)?;
            }
            return remote_file(response.headers(), &url).ok_or_else(|| HubError::Remote {
                what,
                problem: format!("{} answered, but not as the hub does (no ETag)", self.remote.endpoint),
            });
        }
        Err(HubError::Remote { what, problem: "the hub redirects in a circle".to_owned() })
    }

    /// Downloads a file into `partial`, starting where it stands, and resumes interrupted transfers.
    pub(super) fn fetch(
        &self,
        what: &str,
        file: &RemoteFile,
        partial: &mut PartialFile,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        let mut interruptions = 0;
        while file.bytes.is_none_or(|bytes| partial.bytes < bytes) {
            let before = partial.bytes;
            let Some(reason) = self.fetch_range(what, file, partial, on_bytes)? else { return Ok(()) };
            interruptions =
                if partial.bytes >= before.saturating_add(PACE_BYTES) { 0 } else { interruptions + 1 };
            if interruptions == RESUMES_MAX {
                let problem = format!(
                    "the transfer was cut off and {RESUMES_MAX} retries received almost nothing ({reason}); what was received is kept: pull again to continue"
                );
                return Err(HubError::Remote { what: what.to_owned(), problem });
            }
            std::thread::sleep(RETRY_PAUSE * interruptions);
        }
        Ok(())
    }

    /// Sends one request. `Ok(Some(reason))` means that the transfer was interrupted and can be resumed.
    fn fetch_range(
        &self,
        what: &str,
        file: &RemoteFile,
        partial: &mut PartialFile,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Option<String>, HubError> {
        let mut request = self.authorised(self.agent.get(&file.url));
        if partial.bytes > 0 {
            request = request.header("range", format!("bytes={}-", partial.bytes));
        }
        let mut response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Some(error.to_string())),
        };
        match response.status() {
            status if status.is_server_error() => return Ok(Some(status.to_string())),
            StatusCode::PARTIAL_CONTENT if begins_at(response.headers(), partial.bytes) => {}
            StatusCode::PARTIAL_CONTENT => {
                partial.restart()?;
                return Ok(Some("the server sent another part than was requested".to_owned()));
            }
            // The local file is longer than the one on the server.
            StatusCode::RANGE_NOT_SATISFIABLE if partial.bytes > 0 => {
                partial.restart()?;
                return Ok(Some("the file has changed".to_owned()));
            }
            _ => {
                self.expect_success(what, &response)?;
                partial.restart()?;
            }
        }
        limit_size(what, file, response.headers(), partial)?;
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 18];
        let mut pace = Pace::new(partial.bytes);
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    partial.write(&buffer[..read])?;
                    on_bytes(partial.bytes);
                    if pace.is_too_slow(partial.bytes) {
                        return Ok(Some("the transfer is too slow".to_owned()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        let short = file.bytes.is_some_and(|bytes| partial.bytes < bytes);
        Ok(short.then(|| "the connection was closed early".to_owned()))
    }

    fn authorised<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.remote.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> HubError {
        let reason = match error {
            ureq::Error::HostNotFound => "its name can't be resolved".to_owned(),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            other => other.to_string(),
        };
        HubError::Unreachable { endpoint: self.remote.endpoint.clone(), reason }
    }

    fn expect_success(&self, what: &str, response: &Response<Body>) -> Result<(), HubError> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let what = &printable(what);
        let code = header(response.headers(), "x-error-code").unwrap_or_default();
        let problem = match (status.as_u16(), code) {
            (_, "GatedRepo") => format!(
                "its owner asks for consent: accept the terms at {}, then set HF_TOKEN",
                self.remote.endpoint
            ),
            (401 | 403, _) => {
                "not public, or it does not exist: set HF_TOKEN to a token that may read it, or check the name"
                    .to_owned()
            }
            (404, "EntryNotFound") => "the repository has no such file".to_owned(),
            (404, "RevisionNotFound") => "the repository has no such revision".to_owned(),
            (404, _) => "there is no such repository or file: check the name".to_owned(),
            (429, _) => "the hub asks us to slow down (429): try again in some minutes".to_owned(),
            (500.., _) => {
                let reason = format!("it answers {status}");
                return Err(HubError::Unreachable { endpoint: self.remote.endpoint.clone(), reason });
            }
            _ => format!("the hub answers {status}"),
        };
        Err(HubError::Remote { what: what.to_owned(), problem })
    }
}

/// Watches a transfer for progress.
struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(bytes: u64) -> Self {
        Self { since: Instant::now(), bytes }
    }

    /// Whether too little has come for too long; `bytes` is the number received so far.
    fn is_too_slow(&mut self, bytes: u64) -> bool {
        if bytes >= self.bytes.saturating_add(PACE_BYTES) {
            *self = Self::new(bytes);
        }
        self.since.elapsed() > PACE_TIME
    }
}

/// Whether a partial response begins at the requested byte.
fn begins_at(headers: &HeaderMap, at: u64) -> bool {
    let range = header(headers, "content-range").and_then(|range| range.strip_prefix("bytes "));
    range.is_none_or(|range| range.split('-').next() == Some(at.to_string().as_str()))
}

/// Limits the size of `partial` to what was announced before or in these headers; if nothing was announced,
/// to the free disk space.
fn limit_size(
    what: &str,
    file: &RemoteFile,
    headers: &HeaderMap,
    partial: &mut PartialFile,
) -> Result<(), HubError> {
    let length = header(headers, "content-length").and_then(|length| length.parse::<u64>().ok());
    let coming = length.filter(|_| !headers.contains_key("content-encoding"));
    let total = coming.map(|coming| partial.bytes.saturating_add(coming));
    match (file.bytes, total) {
        (Some(announced), Some(total)) if total > announced => {
            partial.discard();
            let (announced, total) = (format_file_size(announced), format_file_size(total));
            let problem = format!("it was announced with {announced}, but the server sends {total}: refused");
            Err(HubError::Remote { what: what.to_owned(), problem })
        }
        (Some(_), _) => Ok(()),
        (None, Some(total)) => {
            partial.set_bytes_max(Some(total));
            check_space(partial.folder(), total - partial.bytes, disk_available(partial.folder()))
        }
        (None, None) => {
            let free = disk_available(partial.folder()).map(|free| free.saturating_sub(DISK_SPARE_BYTES));
            partial.set_bytes_max(free.map(|free| partial.bytes.saturating_add(free)));
            Ok(())
        }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// `None` if the headers have no ETag, so they are not from a hub.
fn remote_file(headers: &HeaderMap, url: &str) -> Option<RemoteFile> {
    let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"))?;
    let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
    let size = header(headers, "x-linked-size").or_else(|| {
        // The Content-Length of a redirect is that of its own body.
        header(headers, "content-length").filter(|_| !headers.contains_key("location"))
    });
    let is_sha256 = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(RemoteFile {
        url: url.to_owned(),
        commit: header(headers, "x-repo-commit").filter(|commit| is_plain_path(commit)).map(str::to_owned),
        bytes: size.and_then(|size| size.parse().ok()),
        sha256: is_sha256.then(|| etag.to_lowercase()),
        etag,
    })
}

//! A fingerprint of a file: its times and a checksum of a sample of its bytes, so that most changes are noticed without
//! reading the whole file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::hex;

/// Number of evenly spread samples, from the file's beginning to its end: about a megabyte in total.
const SAMPLES: u64 = 256;
const SAMPLE_BYTES: u64 = 4096;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Time of the last write in nanoseconds since 1970; 0 if unknown.
    modified_ns: i64,
    /// Time of the last change to content or metadata, in nanoseconds since 1970. It can't be set
    /// by hand. 0 if unknown.
    changed_ns: i64,
    pub(super) sample_sha256: String,
}

impl Fingerprint {
    /// Takes the fingerprint of the file as it is now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        if !meta.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let since = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).ok();
        let modified = meta.modified().ok().and_then(since);
        #[cfg(unix)]
        let changed_ns = {
            use std::os::unix::fs::MetadataExt;
            meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed_ns = 0;
        Ok(Self {
            modified_ns: modified.and_then(|time| i64::try_from(time.as_nanos()).ok()).unwrap_or(0),
            changed_ns,
            sample_sha256: sample(&mut File::open(path)?, meta.len())?,
        })
    }

    pub(super) fn has_same_times(&self, other: &Self) -> bool {
        (self.modified_ns, self.changed_ns) == (other.modified_ns, other.changed_ns)
    }
}

fn sample(file: &mut File, bytes: u64) -> io::Result<String> {
    let last = bytes.saturating_sub(SAMPLE_BYTES);
    let mut hasher = Sha256::new();
    let mut buffer = Vec::with_capacity(SAMPLE_BYTES as usize);
    let spread = (0..SAMPLES).map(|number| last / (SAMPLES - 1) * number);
    for at in spread.chain([last]) {
        file.seek(SeekFrom::Start(at))?;
        buffer.clear();
        file.by_ref().take(SAMPLE_BYTES).read_to_end(&mut buffer)?;
        hasher.update(&buffer);
    }
    Ok(hex(&hasher.finalize()))
}

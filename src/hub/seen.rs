//! How a file looks without reading all of it: its times and a sample of its bytes.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::hex;

/// Places of a file that are looked at, evenly spread, its beginning and its end among them: about a megabyte.
const SAMPLES: u64 = 256;
const SAMPLE_BYTES: u64 = 4096;

/// How a file looked when it was known to be the right one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it was last written to, in nanoseconds since 1970; 0 where the system doesn't say.
    modified_ns: i64,
    /// When anything of it was last changed, which can't be set by hand; 0 where the system doesn't say.
    changed_ns: i64,
    /// Checksum of the sample.
    pub(super) sample_sha256: String,
}

impl Seen {
    /// Looks at a file now.
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

    pub(super) fn has_times_of(&self, other: &Self) -> bool {
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

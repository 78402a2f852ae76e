//! SHA-256 checksums of files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::{AtPath, HubError};

/// `(bytes, sha256 in hex)` of a file. `on_bytes` is called with the number of further bytes read.
pub(super) fn hash_file(path: &Path, mut on_bytes: impl FnMut(u64)) -> Result<(u64, String), HubError> {
    if !fs::metadata(path).at(path)?.is_file() {
        return Err(HubError::io(path, io::Error::other("it is not a regular file")));
    }
    let mut file = File::open(path).at(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).at(path)?;
        if read == 0 {
            return Ok((bytes, hex(&hasher.finalize())));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
        on_bytes(read as u64);
    }
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! The bytes of a file, mapped or owned. What they mean is not known here.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;

/// A multiple of every page size in use (4, 16 and 64 KiB).
const RELEASE_ALIGNMENT: usize = 64 << 10;

/// Read-only bytes.
#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps the whole file.
    pub(super) fn map(path: &Path) -> std::io::Result<Bytes> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        if metadata.len() == 0 {
            return Ok(Bytes::Owned(Vec::new()));
        }
        // SAFETY: the map is private to this value and never written through. Another process that shortens or rewrites
        // the file while it is mapped is outside of what any mapping can promise; model files are replaced by
        // rename, never written in place, and every read is bounds-checked against the mapped length.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Bytes::Mapped(map))
    }

    /// Gives the memory of whole pages inside `range` back to the system; reading them again reads the file again.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = self {
            let start = range.start.next_multiple_of(RELEASE_ALIGNMENT);
            let end = range.end.min(map.len()) / RELEASE_ALIGNMENT * RELEASE_ALIGNMENT;
            if start < end {
                // SAFETY: the map is shared with the file and read-only, so dropped pages come back from the file with
                // the same content; the range lies inside the map and on page boundaries. It is advice: a refusal
                // costs memory, not correctness.
                let _ = unsafe {
                    map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start)
                };
            }
        }
        #[cfg(not(unix))]
        let _ = (range, RELEASE_ALIGNMENT);
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

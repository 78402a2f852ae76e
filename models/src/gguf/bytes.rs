//! The bytes of a file, mapped or in memory. What they mean is not known here.

use std::ops::{Deref, Range};
use std::path::Path;
use std::time::SystemTime;

use crate::mapping::{FileChanged, Mapping};

#[derive(Debug)]
pub(super) enum Bytes {
    Mapped(Mapping),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps the whole file.
    pub(super) fn map(path: &Path) -> std::io::Result<Bytes> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_file() && metadata.len() == 0 {
            return Ok(Bytes::Owned(Vec::new()));
        }
        Mapping::open(path).map(Bytes::Mapped)
    }

    /// Fails if the file was changed since it was mapped.
    pub(super) fn check(&self) -> Result<(), FileChanged> {
        match self {
            Bytes::Mapped(mapping) => mapping.check(),
            Bytes::Owned(_) => Ok(()),
        }
    }

    /// When the file was last written; `None` for bytes that are in no file.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        match self {
            Bytes::Mapped(mapping) => mapping.modified(),
            Bytes::Owned(_) => None,
        }
    }

    /// Gives the memory of whole pages inside `range` back to the system. Reading them later reads the file again.
    pub(super) fn release(&self, range: Range<usize>) {
        if let Bytes::Mapped(mapping) = self {
            mapping.release(range);
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(mapping) => mapping,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

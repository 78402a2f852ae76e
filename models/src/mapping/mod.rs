//! Files mapped into memory, and what happens when another program changes them meanwhile.
//!
//! Another program can truncate a mapped file or write into it at any time. A read beyond the new end raises a signal
//! that would end the process. Instead, [`fault`] maps zeroed memory in the place of the lost pages and records it.
//! Whoever computes from a mapping must call [`Mapping::check`] before using the result. It fails if pages were lost,
//! or if the file's length or modification time changed since it was mapped. What the bytes mean is not known here.

#[cfg(unix)]
mod fault;
#[cfg(all(test, unix))]
mod tests;

use std::fs::{self, File};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::{Mmap, MmapMut, MmapOptions};

/// A multiple of every page size in use (4, 16 and 64 KiB).
const RELEASE_ALIGNMENT: usize = 64 << 10;

/// A file that was changed after it was mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} {how} while it was in use: replace a model's file by renaming a new one over it, never in place; if the file is damaged now, pull or import the model again",
    file.display()
)]
pub struct FileChanged {
    /// Path of the file.
    pub file: PathBuf,
    /// What happened to the file, as a verb phrase.
    pub how: &'static str,
}

/// Length and time of a file; a change means that it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(file: &File) -> std::io::Result<Stamp> {
        let metadata = file.metadata()?;
        Ok(Stamp { bytes: metadata.len(), modified: metadata.modified().ok() })
    }
}

#[derive(Debug)]
pub(crate) struct Mapping {
    /// Declared before the map, so that it is dropped first: an address may be watched only while it is mapped.
    #[cfg(unix)]
    watch: fault::Watch,
    map: Mmap,
    file: File,
    path: PathBuf,
    stamp: Stamp,
}

impl Mapping {
    /// Maps the file at `path`, which must be a regular file and not empty.
    pub(crate) fn open(path: &Path) -> std::io::Result<Mapping> {
        // Checked before opening: opening a pipe would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let file = File::open(path)?;
        let stamp = Stamp::of(&file)?;
        let bytes = usize::try_from(stamp.bytes).map_err(std::io::Error::other)?;
        // SAFETY: the map is read-only and no longer than the file is now. If the file is shortened or rewritten later,
        // reads see zeros or other bytes, which are only used as numbers here, and `check` reports it.
        let map = unsafe { MmapOptions::new().len(bytes).map(&file)? };
        Ok(Mapping {
            #[cfg(unix)]
            watch: fault::Watch::new(&map, false)?,
            map,
            file,
            path: path.to_owned(),
            stamp,
        })
    }

    /// Fails if the file was changed since it was mapped.
    pub(crate) fn check(&self) -> Result<(), FileChanged> {
        let changed = |how| Err(FileChanged { file: self.path.clone(), how });
        #[cfg(unix)]
        if self.watch.lost() {
            return changed("was cut short, or could no longer be read,");
        }
        match Stamp::of(&self.file) {
            Ok(stamp) if stamp == self.stamp => Ok(()),
            Ok(stamp) if stamp.bytes < self.stamp.bytes => changed("was cut short"),
            Ok(_) => changed("was written to"),
            Err(_) => changed("could no longer be inspected"),
        }
    }

    /// Releases a lock that was taken on the file before it was mapped.
    pub(crate) fn unlock(&self) {
        // Fails only where no lock could be taken.
        let _ = self.file.unlock();
    }

    /// When the file was last written, if the system knows.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        self.stamp.modified
    }

    /// Gives the memory of whole pages inside `range` back to the system. Reading them later reads the file again.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            let start = range.start.next_multiple_of(RELEASE_ALIGNMENT);
            let end = range.end.min(self.map.len()) / RELEASE_ALIGNMENT * RELEASE_ALIGNMENT;
            if start < end {
                // SAFETY: the map is shared with the file and read-only, so dropped pages come back from the file with
                // the same content (lost ones as zeros). The range lies inside the map and on page boundaries. This is
                // advice: a refusal costs memory, not correctness.
                let _ = unsafe {
                    self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start)
                };
            }
        }
        #[cfg(not(unix))]
        let _ = (range, RELEASE_ALIGNMENT);
    }
}

impl Deref for Mapping {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// A new file of ours that is written through its map.
pub(crate) struct MappingMut {
    #[cfg(unix)]
    watch: fault::Watch,
    map: MmapMut,
    file: File,
}

impl MappingMut {
    /// Maps all of `file`. Its length must be reserved on the disk, so that writing can't fail on a full disk.
    pub(crate) fn new(file: File) -> std::io::Result<MappingMut> {
        // SAFETY: the caller's file is new and has a name that nobody else uses. If it is shortened all the same, what
        // is written is lost and `finish` reports it.
        let map = unsafe { MmapMut::map_mut(&file)? };
        Ok(MappingMut {
            #[cfg(unix)]
            watch: fault::Watch::new(&map, true)?,
            map,
            file,
        })
    }

    /// Makes the map read-only. `path` is where the file lies.
    pub(crate) fn finish(self, path: &Path) -> std::io::Result<Mapping> {
        let stamp = Stamp::of(&self.file)?;
        if stamp.bytes != self.map.len() as u64 {
            return Err(std::io::Error::other("its length was changed by another process"));
        }
        let map = self.map.make_read_only()?;
        Ok(Mapping {
            #[cfg(unix)]
            watch: self.watch,
            map,
            file: self.file,
            path: path.to_owned(),
            stamp,
        })
    }
}

impl Deref for MappingMut {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl std::ops::DerefMut for MappingMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

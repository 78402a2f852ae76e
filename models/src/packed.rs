//! The packed form of a model, kept beside its file so that the next load is nearly free. Its weights are mapped as
//! they are, shared between processes, and the system may evict their pages.
//!
//! `NAME.gguf.packed` is one line of JSON (a table, padded to whole pages), then the packed bytes of each matrix. It is
//! used only if it has this version, was made from this very file (sizes, times and a sample of pages), and every
//! checksum matches. Otherwise it is made anew under another name and renamed when complete; what a killed process left
//! behind is removed then. If it can't be kept (a full disk, a read-only folder), the model is packed in memory.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bandmaster_kernels::matrix::{Matrix, PACKED_VERSION, Shape, SharedBytes};
use rayon::ThreadPool;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Value, json};

use crate::gguf::Gguf;
use crate::mapping::{Mapping, MappingMut};

/// The table takes a multiple of this; each matrix starts at a multiple of [`ALIGNMENT`].
const PAGE: usize = 4096;
const ALIGNMENT: usize = 64;
/// Free disk space that must remain.
const DISK_SPARE_BYTES: u64 = 1 << 30;
/// Bytes per task when checksums are computed.
const CHECKED_BYTES: usize = 4 << 20;

#[derive(Clone)]
pub(crate) struct Entry {
    pub name: String,
    pub shape: Shape,
}

/// Where each matrix lies, and the file's total length.
struct Plan {
    table_bytes: usize,
    ranges: Vec<Range<usize>>,
    total: usize,
}

impl Plan {
    fn new(source: &Value, entries: &[Entry]) -> Plan {
        // Checksums are printed at a fixed width, so the table already has its final length.
        let blank = vec![0; entries.len()];
        let table_bytes = table(source, entries, &blank).len().next_multiple_of(PAGE);
        let mut at = table_bytes;
        let mut ranges = Vec::with_capacity(entries.len());
        for entry in entries {
            ranges.push(at..at + entry.shape.packed_bytes());
            at = (at + entry.shape.packed_bytes()).next_multiple_of(ALIGNMENT);
        }
        Plan { table_bytes, ranges, total: at }
    }
}

fn table(source: &Value, entries: &[Entry], checksums: &[u32]) -> String {
    let matrices = entries.iter().zip(checksums).map(|(entry, checksum)| {
        json!({ "name": entry.name, "bytes": entry.shape.packed_bytes(), "crc32": format!("{checksum:08x}") })
    });
    let matrices: Vec<Value> = matrices.collect();
    let table =
        json!({ "bandmaster_packed": PACKED_VERSION, "source": source, "matrices": matrices }).to_string();
    // The table has a checksum of its own.
    format!("{table} {:08x}\n", crc32fast::hash(table.as_bytes()))
}

/// The path of the packed form of the model at `path`: the file name with `.packed` appended.
#[must_use]
pub fn packed_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".packed");
    path.with_file_name(name)
}

pub(crate) struct Packed {
    pub matrices: HashMap<String, Matrix>,
    /// The file they are mapped from; `None` when they are in memory.
    pub file: Option<Arc<Mapping>>,
}

impl Packed {
    fn new(file: Mapping, entries: &[Entry], plan: Plan) -> Packed {
        let file = Arc::new(file);
        let matrix = |(entry, range): (&Entry, Range<usize>)| {
            let bytes: SharedBytes = Arc::clone(&file) as SharedBytes;
            (entry.name.clone(), Matrix::from_packed(entry.shape, bytes, range))
        };
        let matrices = entries.iter().zip(plan.ranges).map(matrix).collect();
        Packed { matrices, file: Some(file) }
    }
}

/// The matrices packed by an earlier load, if their file exists, was made from this source, and is intact.
pub(crate) fn open(gguf: &Gguf, entries: &[Entry], threads: &ThreadPool) -> Option<Packed> {
    let source = gguf.fingerprint()?;
    let plan = Plan::new(&source, entries);
    let file = Mapping::open(&packed_path(gguf.path())).ok()?;
    if file.len() != plan.total {
        return None;
    }
    let checksums = checksums(&file, &plan, threads);
    let expected = table(&source, entries, &checksums);
    let unharmed = file.starts_with(expected.as_bytes()) && file.check().is_ok();
    unharmed.then(|| Packed::new(file, entries, plan))
}

fn checksums(bytes: &[u8], plan: &Plan, threads: &ThreadPool) -> Vec<u32> {
    let pieces: Vec<(usize, &[u8])> = (plan.ranges.iter().enumerate())
        .flat_map(|(at, range)| bytes[range.clone()].chunks(CHECKED_BYTES).map(move |piece| (at, piece)))
        .collect();
    let hashed: Vec<(usize, crc32fast::Hasher)> = threads.install(|| {
        let hash = |&(at, piece): &(usize, &[u8])| {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(piece);
            (at, hasher)
        };
        pieces.par_iter().map(hash).collect()
    });
    let mut whole = vec![crc32fast::Hasher::new(); plan.ranges.len()];
    hashed.iter().for_each(|(at, hasher)| whole[*at].combine(hasher));
    whole.into_iter().map(crc32fast::Hasher::finalize).collect()
}

/// A packed file that is being written.
pub(crate) struct Draft {
    source: Value,
    entries: Vec<Entry>,
    plan: Plan,
    /// The file stays locked while it is written.
    map: MappingMut,
    path: PathBuf,
    goal: PathBuf,
}

impl Draft {
    /// Creates the file and reserves disk space for these matrices. `None` where it can't be kept.
    pub(crate) fn new(gguf: &Gguf, entries: Vec<Entry>) -> Option<Draft> {
        let source = gguf.fingerprint()?;
        let plan = Plan::new(&source, &entries);
        let goal = packed_path(gguf.path());
        clear_drafts(&goal);
        let path = goal.with_extension(format!("packed-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).ok()?;
        let reserved = file.try_lock().is_ok() && reserve(&file, plan.total as u64).is_ok();
        let map = reserved.then(|| MappingMut::new(file).ok()).flatten();
        if map.is_none() {
            // If this fails, the next draft clears it.
            let _ = fs::remove_file(&path);
        }
        Some(Draft { source, entries, plan, map: map?, path, goal })
    }

    /// The bytes of the `index`th matrix; zero until written.
    pub(crate) fn room(&mut self, index: usize) -> &mut [u8] {
        &mut self.map[self.plan.ranges[index].clone()]
    }

    /// Renames the finished file into place and returns its matrices; `None` when another process damaged it. The file
    /// is not synced, which would take seconds: if a power cut loses part of it, the checksums fail at the next load.
    pub(crate) fn finish(mut self, threads: &ThreadPool) -> Option<Packed> {
        let checksums = checksums(&self.map, &self.plan, threads);
        let table = table(&self.source, &self.entries, &checksums);
        debug_assert!(table.len() <= self.plan.table_bytes);
        self.map[..table.len()].copy_from_slice(table.as_bytes());
        let Draft { map, entries, plan, path, goal, .. } = self;
        let Some(file) = map.finish(&goal).ok().filter(|file| file.check().is_ok()) else {
            let _ = fs::remove_file(&path);
            return None;
        };
        if fs::rename(&path, &goal).is_err() {
            // The map keeps the pages alive without the file.
            let _ = fs::remove_file(&path);
        }
        file.unlock();
        Some(Packed::new(file, &entries, plan))
    }

    /// Removes the unfinished file.
    pub(crate) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Reserves `bytes` on the disk, so that writing through the map can't fail, and checks what space remains.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        let disk = rustix::fs::fstatvfs(file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_SPARE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
    #[cfg(not(unix))]
    {
        let _ = (file, bytes, DISK_SPARE_BYTES);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Removes drafts of `goal` that no process is writing.
fn clear_drafts(goal: &Path) {
    let (Some(folder), Some(name)) = (goal.parent(), goal.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let drafts = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_draft = |path: &PathBuf| {
        path.file_name().and_then(|draft| draft.to_str()).is_some_and(|draft| {
            draft.strip_prefix(name).is_some_and(|rest| {
                rest.strip_prefix('-')
                    .is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
            })
        })
    };
    // Opening a pipe would wait for a writer, and links are not ours.
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    for draft in drafts.filter(is_draft).filter(is_file) {
        if File::open(&draft).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(&draft);
        }
    }
}

#[cfg(all(test, unix))]
mod tests;

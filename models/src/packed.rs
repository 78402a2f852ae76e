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

use bandmaster_kernels::{Matrix, MatrixShape, PACKED_VERSION, SharedBytes};
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
    pub shape: MatrixShape,
}

/// Where each matrix lies, and the file's total length.
struct FileLayout {
    table_bytes: usize,
    ranges: Vec<Range<usize>>,
    total: usize,
}

impl FileLayout {
    fn new(source: &Value, entries: &[Entry]) -> FileLayout {
        // Checksums are printed at a fixed width, so the table already has its final length.
        let blank = vec![0; entries.len()];
        let table_bytes = table(source, entries, &blank).len().next_multiple_of(PAGE);
        let mut at = table_bytes;
        let mut ranges = Vec::with_capacity(entries.len());
        for entry in entries {
            ranges.push(at..at + entry.shape.packed_bytes());
            at = (at + entry.shape.packed_bytes()).next_multiple_of(ALIGNMENT);
        }
        FileLayout { table_bytes, ranges, total: at }
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

pub(crate) struct PackedMatrices {
    pub matrices: HashMap<String, Matrix>,
    /// The file they are mapped from; `None` when they are in memory.
    pub file: Option<Arc<Mapping>>,
}

impl PackedMatrices {
    fn new(file: Mapping, entries: &[Entry], layout: FileLayout) -> PackedMatrices {
        let file = Arc::new(file);
        let matrix = |(entry, range): (&Entry, Range<usize>)| {
            let bytes: SharedBytes = Arc::clone(&file) as SharedBytes;
            (entry.name.clone(), Matrix::from_packed(entry.shape, bytes, range))
        };
        let matrices = entries.iter().zip(layout.ranges).map(matrix).collect();
        PackedMatrices { matrices, file: Some(file) }
    }
}

/// The matrices packed by an earlier load, if their file exists, was made from this source, and is intact.
pub(crate) fn open(gguf: &Gguf, entries: &[Entry], threads: &ThreadPool) -> Option<PackedMatrices> {
    let source = gguf.fingerprint()?;
    let layout = FileLayout::new(&source, entries);
    let file = Mapping::open(&packed_path(gguf.path())).ok()?;
    if file.len() != layout.total {
        return None;
    }
    let checksums = checksums(&file, &layout, threads);
    let expected = table(&source, entries, &checksums);
    let intact = file.starts_with(expected.as_bytes()) && file.check().is_ok();
    intact.then(|| PackedMatrices::new(file, entries, layout))
}

fn checksums(bytes: &[u8], layout: &FileLayout, threads: &ThreadPool) -> Vec<u32> {
    let pieces: Vec<(usize, &[u8])> = (layout.ranges.iter().enumerate())
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
    let mut whole = vec![crc32fast::Hasher::new(); layout.ranges.len()];
    hashed.iter().for_each(|(at, hasher)| whole[*at].combine(hasher));
    whole.into_iter().map(crc32fast::Hasher::finalize).collect()
}

/// A packed file that is being written.
pub(crate) struct PackedWriter {
    source: Value,
    entries: Vec<Entry>,
    layout: FileLayout,
    /// The file stays locked while it is written.
    map: MappingMut,
    path: PathBuf,
    target: PathBuf,
}

impl PackedWriter {
    /// Creates the file and reserves disk space for these matrices. `None` where it can't be kept.
    pub(crate) fn new(gguf: &Gguf, entries: Vec<Entry>) -> Option<PackedWriter> {
        let source = gguf.fingerprint()?;
        let layout = FileLayout::new(&source, &entries);
        let target = packed_path(gguf.path());
        remove_unfinished(&target);
        let path = target.with_extension(format!("packed-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).ok()?;
        let reserved = file.try_lock().is_ok() && reserve(&file, layout.total as u64).is_ok();
        let map = reserved.then(|| MappingMut::new(file).ok()).flatten();
        if map.is_none() {
            // If this fails, the next load removes it.
            let _ = fs::remove_file(&path);
        }
        Some(PackedWriter { source, entries, layout, map: map?, path, target })
    }

    /// The bytes of the `index`th matrix; zero until written.
    pub(crate) fn matrix_bytes(&mut self, index: usize) -> &mut [u8] {
        &mut self.map[self.layout.ranges[index].clone()]
    }

    /// Renames the finished file into place and returns its matrices; `None` when another process damaged it. The file
    /// is not synced, which would take seconds: if a power cut loses part of it, the checksums fail at the next load.
    pub(crate) fn finish(mut self, threads: &ThreadPool) -> Option<PackedMatrices> {
        let checksums = checksums(&self.map, &self.layout, threads);
        let table = table(&self.source, &self.entries, &checksums);
        debug_assert!(table.len() <= self.layout.table_bytes);
        self.map[..table.len()].copy_from_slice(table.as_bytes());
        let PackedWriter { map, entries, layout, path, target, .. } = self;
        let Some(file) = map.finish(&target).ok().filter(|file| file.check().is_ok()) else {
            let _ = fs::remove_file(&path);
            return None;
        };
        if fs::rename(&path, &target).is_err() {
            // The map keeps the pages alive without the file.
            let _ = fs::remove_file(&path);
        }
        file.unlock();
        Some(PackedMatrices::new(file, &entries, layout))
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

/// Removes unfinished files of `target` that no process is writing.
fn remove_unfinished(target: &Path) {
    let (Some(folder), Some(name)) = (target.parent(), target.file_name().and_then(|name| name.to_str()))
    else {
        return;
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_unfinished = |path: &PathBuf| {
        path.file_name().and_then(|file| file.to_str()).is_some_and(|file| {
            file.strip_prefix(name).is_some_and(|rest| {
                rest.strip_prefix('-')
                    .is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
            })
        })
    };
    // Opening a pipe would wait for a writer, and links are not ours.
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    for file in files.filter(is_unfinished).filter(is_file) {
        if File::open(&file).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(&file);
        }
    }
}

#[cfg(all(test, unix))]
mod tests;

//! A file being downloaded: written next to its final path, hashed while it is written, and resumable after an
//! interruption.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::{hash_file, hex};
use super::error::{AtPath, HubError};
use super::file_name::FileName;
use super::manifest::InstalledFile;
use super::own_files::{open_own, read_own, write_own};

/// Ending of a file that is not complete yet.
pub(super) const PART: &str = ".part";

/// Stored beside an unfinished file: how much of it can be kept when the download is resumed.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Resume {
    /// Source and version of the bytes; a download from another source starts from the beginning.
    source: String,
    /// Number of complete parts written.
    parts: usize,
    /// Length up to the end of the last complete part; `None` if every byte present counts.
    bytes: Option<u64>,
}

pub(super) struct PartialFile {
    name: FileName,
    /// Upper limit for the file's size, once known.
    bytes_max: Option<u64>,
    file: File,
    path: PathBuf,
    resume_path: PathBuf,
    hasher: Sha256,
    /// Number of bytes written so far.
    pub(super) bytes: u64,
    /// Number of complete parts written, for sources that come in parts.
    pub(super) parts: usize,
    source: String,
}

/// A file in `dir` that an interrupted pull completed, if its checksum is the wanted one.
pub(super) fn finished(dir: &Path, name: &FileName, sha256: Option<&str>) -> Option<InstalledFile> {
    let (wanted, path) = (sha256?, name.within(dir));
    if !fs::symlink_metadata(&path).ok()?.is_file() {
        return None;
    }
    let (bytes, found) = hash_file(&path, |_| {}).ok()?;
    (found == wanted).then(|| InstalledFile::new(name, bytes, found))
}

impl PartialFile {
    /// Opens `dir/name.part`, keeping what an earlier pull from the same `source` left. With `by_parts`,
    /// only complete parts are kept.
    pub(super) fn open(dir: &Path, name: &FileName, source: &str, by_parts: bool) -> Result<Self, HubError> {
        let path = name.beside(dir, PART);
        let resume_path = name.beside(dir, ".resume.json");
        let resume: Resume =
            read_own(&resume_path).and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let file = open_own(&path).at(&path)?;
        let there = file.metadata().at(&path)?.len();
        let keep = if resume.source == source { resume.bytes.unwrap_or(there).min(there) } else { 0 };
        file.set_len(keep).at(&path)?;
        let mut partial = Self {
            name: name.clone(),
            bytes_max: None,
            file,
            path,
            resume_path,
            hasher: Sha256::new(),
            bytes: 0,
            parts: if keep > 0 { resume.parts } else { 0 },
            source: source.to_owned(),
        };
        partial.hash_kept()?;
        partial.write_resume(by_parts)?;
        Ok(partial)
    }

    /// Hashes the bytes that are kept, and leaves the file position at the end.
    fn hash_kept(&mut self) -> Result<(), HubError> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = self.file.read(&mut buffer).at(&self.path)?;
            if read == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..read]);
            self.bytes += read as u64;
        }
    }

    fn write_resume(&self, by_parts: bool) -> Result<(), HubError> {
        let resume =
            Resume { source: self.source.clone(), parts: self.parts, bytes: by_parts.then_some(self.bytes) };
        let text = serde_json::to_vec(&resume).expect("plain data");
        write_own(&self.resume_path, &text).at(&self.resume_path)
    }

    /// The folder that contains it.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Sets the size limit; more bytes are refused.
    pub(super) fn set_bytes_max(&mut self, bytes: Option<u64>) {
        self.bytes_max = bytes.or(self.bytes_max);
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        if let Some(max) = self.bytes_max.filter(|max| self.bytes + bytes.len() as u64 > *max) {
            self.discard();
            let problem = format!(
                "the server sends more than the {max} bytes that were announced or that fit on the disk"
            );
            return Err(HubError::Corrupt { file: self.name.as_str().to_owned(), problem });
        }
        self.file.write_all(bytes).at(&self.path)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Marks a part as complete: a later pull resumes after it.
    pub(super) fn part_done(&mut self) -> Result<(), HubError> {
        self.parts += 1;
        self.file.sync_data().at(&self.path)?;
        self.write_resume(true)
    }

    /// Drops what is there and starts at the first byte.
    pub(super) fn restart(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).at(&self.path)?;
        std::io::Seek::rewind(&mut self.file).at(&self.path)?;
        (self.hasher, self.bytes, self.parts) = (Sha256::new(), 0, 0);
        Ok(())
    }

    /// Deletes the file, because nothing of it can be used.
    pub(super) fn discard(&self) {
        // If deleting fails, the next pull truncates it: without the resume file its source doesn't match.
        let _ = fs::remove_file(&self.resume_path);
        let _ = fs::remove_file(&self.path);
    }

    /// Checks size and sha256 and renames the file to its final name. A wrong file is deleted.
    pub(super) fn finish(self, bytes: Option<u64>, sha256: Option<&str>) -> Result<InstalledFile, HubError> {
        let found = hex(&self.hasher.clone().finalize());
        let size = bytes.filter(|bytes| *bytes != self.bytes);
        let sum = sha256.filter(|sha256| *sha256 != found);
        let problem = match (size, sum) {
            (Some(expected), _) => {
                Some(format!("{} bytes were received, but {expected} were expected", self.bytes))
            }
            (None, Some(expected)) => Some(format!("its sha256 is {found}, {expected} was expected")),
            (None, None) => None,
        };
        if let Some(problem) = problem {
            self.discard();
            return Err(HubError::Corrupt { file: self.name.as_str().to_owned(), problem });
        }
        let _ = fs::remove_file(&self.resume_path);
        self.file.sync_all().at(&self.path)?;
        let target = self.path.with_file_name(self.name.as_str());
        fs::rename(&self.path, &target).at(&target)?;
        Ok(InstalledFile::new(&self.name, self.bytes, found))
    }
}

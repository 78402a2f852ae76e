//! Vectors on disk: a file for each document, named by a hash of everything that they depend on. A file that is damaged
//! or of another version is not used and gets replaced. Files are written aside and renamed, so that several processes
//! may use one folder: each reads a whole file, and the last writer's stays.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::error::RetrievalError;
use super::vectors::Vector;

/// Bytes of the folder. When it is opened with more, the files that were used least recently are removed.
const FOLDER_BYTES_MAX: u64 = 256 << 20;
const EXTENSION: &str = "vectors";
/// The first bytes of a file, with the version of its form.
const MAGIC: &[u8] = b"bandmaster vectors 1\n";

/// The vectors of a document's parts, as far as they were computed: one for each sentence of a part.
pub(super) type Vectors = BTreeMap<u32, Vec<Vector>>;

/// A hash of a document's text and of all that its vectors depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// `facts` are hashed with their lengths, so that no two lists have the same key.
    pub(super) fn of(facts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for fact in facts {
            hash.update((fact.len() as u64).to_le_bytes());
            hash.update(fact);
        }
        Self(hash.finalize().into())
    }

    fn file(&self) -> String {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}.{EXTENSION}")
    }
}

pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the folder, which is made if need be, and removes old files if there are too many.
    pub(super) fn open(folder: &Path) -> Result<Self, RetrievalError> {
        let cache = Self { folder: folder.to_owned() };
        fs::create_dir_all(folder).map_err(|error| problem(folder, &error))?;
        cache.prune(FOLDER_BYTES_MAX).map_err(|error| problem(folder, &error))?;
        Ok(cache)
    }

    /// The vectors that are kept for a key. There are none if the file is missing or can't be trusted.
    pub(super) fn load(&self, key: Key) -> Vectors {
        let path = self.folder.join(key.file());
        let Ok(bytes) = fs::read(&path) else { return Vectors::new() };
        // So that it counts as used. It is only for tidying up, so a failure doesn't matter.
        let _ =
            File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        decode(&bytes, key).unwrap_or_default()
    }

    pub(super) fn store(&self, key: Key, vectors: &Vectors) -> Result<(), RetrievalError> {
        let write = || {
            let mut file = NamedTempFile::new_in(&self.folder)?;
            file.write_all(&encode(key, vectors))?;
            file.persist(self.folder.join(key.file())).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error: std::io::Error| problem(&self.folder, &error))
    }

    /// Removes the files that were used least recently until at most `bytes_max` are left. What another process removes
    /// meanwhile is passed over.
    fn prune(&self, bytes_max: u64) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let path = entry.path();
            if let (Ok(meta), true) = (entry.metadata(), path.extension().is_some_and(|e| e == EXTENSION)) {
                files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), path));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, path) in files {
            if bytes <= bytes_max {
                break;
            }
            let _ = fs::remove_file(path);
            bytes -= length;
        }
        Ok(())
    }
}

fn problem(folder: &Path, error: &std::io::Error) -> RetrievalError {
    RetrievalError::Cache { path: folder.display().to_string(), problem: error.to_string() }
}

/// Magic, a hash of the rest, the key, the number of parts, and for each part its number, the number of its sentences,
/// and each sentence's length, scale and values. Numbers are little-endian.
fn encode(key: Key, vectors: &Vectors) -> Vec<u8> {
    let mut body = key.0.to_vec();
    let number = |body: &mut Vec<u8>, number: usize| body.extend((number as u32).to_le_bytes());
    number(&mut body, vectors.len());
    for (part, sentences) in vectors {
        number(&mut body, *part as usize);
        number(&mut body, sentences.len());
        for vector in sentences {
            number(&mut body, vector.values.len());
            body.extend(vector.scale.to_le_bytes());
            body.extend(vector.values.iter().map(|value| value.cast_unsigned()));
        }
    }
    [MAGIC, Sha256::digest(&body).as_slice(), &body].concat()
}

/// The vectors of a whole file with this key, else `None`.
fn decode(bytes: &[u8], key: Key) -> Option<Vectors> {
    let (hash, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(32)?;
    let mut rest = body.strip_prefix(&key.0)?;
    if Sha256::digest(body).as_slice() != hash {
        return None;
    }
    let mut vectors = Vectors::new();
    for _ in 0..number(&mut rest)? {
        let part = number(&mut rest)?;
        let mut sentences = Vec::new();
        for _ in 0..number(&mut rest)? {
            let length = number(&mut rest)? as usize;
            let scale = f32::from_bits(number(&mut rest)?);
            let values = rest.split_off(..length)?;
            sentences.push(Vector { scale, values: values.iter().map(|byte| byte.cast_signed()).collect() });
        }
        vectors.insert(part, sentences);
    }
    rest.is_empty().then_some(vectors)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;

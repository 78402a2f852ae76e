//! The models folder on disk: one folder per model, with a manifest beside its files. A folder appears complete, by a
//! rename, or not at all.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::catalog::Role;
use super::digest::hash_file;
use super::error::{AtPath, HubError};
use super::file_name::{FileName, MANIFEST};
use super::fingerprint::Fingerprint;
use super::home::{Home, create_private};
use super::manifest::{InstalledFile, Manifest, altered};
use super::own_files::{create_own_folder, is_link, open_own, read_own, write_own};

/// Folder inside the models folder for unfinished downloads and locks.
const PARTIAL: &str = ".partial";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledModel {
    pub name: String,
    pub role: Role,
    /// Where its files came from, for display.
    pub source: String,
    /// The GGUF file (the first part of a split model), or the folder of an embedding model.
    pub path: PathBuf,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Checksum of the main file.
    pub sha256: String,
    /// The main file comes first.
    pub files: Vec<InstalledFile>,
}

pub(super) struct Store<'a> {
    pub(super) models_dir: &'a Path,
}

impl<'a> Store<'a> {
    pub(super) fn new(home: &'a Home) -> Self {
        Self { models_dir: &home.models_dir }
    }

    /// All installed models, sorted by name. Folders without a readable manifest are left out.
    pub(super) fn installed(&self) -> Vec<InstalledModel> {
        let Ok(folders) = fs::read_dir(self.models_dir) else { return Vec::new() };
        let names = folders.flatten().filter_map(|folder| folder.file_name().into_string().ok());
        let mut found: Vec<InstalledModel> = names.filter_map(|name| self.get(&name)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Folders that have a manifest but are not usable models, each with the problem, sorted by path.
    pub(super) fn broken(&self) -> Vec<(PathBuf, String)> {
        let Ok(folders) = fs::read_dir(self.models_dir) else { return Vec::new() };
        let look = |folder: fs::DirEntry| {
            let dir = folder.path();
            let bytes = read_own(&dir.join(MANIFEST))?;
            let name = folder.file_name();
            let problem = match name.to_str().map(FileName::new) {
                Some(Ok(_)) => Manifest::parse(&bytes).err()?,
                Some(Err(problem)) => format!("its name is refused: {problem}"),
                None => "its name is not UTF-8".to_owned(),
            };
            Some((dir, problem))
        };
        let mut broken: Vec<_> = folders.flatten().filter_map(look).collect();
        broken.sort();
        broken
    }

    pub(super) fn get(&self, name: &str) -> Option<InstalledModel> {
        let dir = FileName::new(name).ok()?.within(self.models_dir);
        let manifest = Manifest::read(&dir)?;
        let main = manifest.files.first()?;
        let path = if manifest.role == Role::Embeddings { dir } else { main.path_in(&dir) };
        Some(InstalledModel {
            name: name.to_owned(),
            role: manifest.role,
            source: manifest.source,
            path,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            sha256: main.sha256.clone(),
            files: manifest.files,
        })
    }

    /// The folder in which a model is assembled before it is renamed to its final place.
    pub(super) fn partial_dir(&self, name: &str) -> PathBuf {
        self.models_dir.join(PARTIAL).join(name)
    }

    /// Locks a model against other processes until the returned file is dropped. `waiting` is called if
    /// another process holds the lock.
    pub(super) fn lock(&self, name: &str, waiting: impl FnOnce()) -> Result<File, HubError> {
        create_private(self.models_dir)?;
        let dir = self.models_dir.join(PARTIAL);
        create_own_folder(&dir).at(&dir)?;
        let path = dir.join(format!("{name}.lock"));
        let lock = open_own(&path).at(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                lock.lock().at(&path)?;
            }
            Err(TryLockError::Error(error)) => return Err(HubError::io(&path, error)),
        }
        Ok(lock)
    }

    /// Creates a model's partial folder and returns it. Call it only while holding [`Store::lock`].
    pub(super) fn create_partial(&self, name: &str) -> Result<PathBuf, HubError> {
        let dir = self.partial_dir(name);
        create_own_folder(&dir).at(&dir)?;
        Ok(dir)
    }

    /// Turns the partial folder into the model's folder: writes the manifest, syncs, renames.
    pub(super) fn install(&self, mut manifest: Manifest) -> Result<InstalledModel, HubError> {
        let partial = self.partial_dir(&manifest.name);
        for kept in &mut manifest.files {
            let path = kept.path_in(&partial);
            kept.fingerprint = Some(Fingerprint::of(&path).at(&path)?);
        }
        let path = partial.join(MANIFEST);
        write_own(&path, &manifest.text()).at(&path)?;
        File::open(&path).and_then(|file| file.sync_all()).at(&path)?;
        let target = self.models_dir.join(&manifest.name);
        if fs::symlink_metadata(&target).is_ok() {
            // No readable manifest, or we would not be here, so it is left over from an older version. If it is a link,
            // only the link is removed.
            fs::remove_dir_all(&target).at(&target)?;
        }
        fs::rename(&partial, &target).at(&target)?;
        sync_dir(self.models_dir);
        self.get(&manifest.name).ok_or_else(|| HubError::NotAModel {
            path: target,
            problem: "was installed but can't be read back".to_owned(),
        })
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), HubError> {
        let dir = self.models_dir.join(name);
        if is_link(&dir) {
            // The user has put the folder elsewhere: remove the link and leave what it leads to.
            fs::remove_file(&dir).at(&dir)?;
        } else {
            // The manifest first, so that an interrupted removal doesn't leave a model that looks complete.
            let manifest = dir.join(MANIFEST);
            fs::remove_file(&manifest).at(&manifest)?;
            fs::remove_dir_all(&dir).at(&dir)?;
        }
        self.forget_partial(name);
        Ok(())
    }

    pub(super) fn forget_partial(&self, name: &str) {
        // Nothing depends on what is left there; the next pull checks again.
        let _ = fs::remove_dir_all(self.partial_dir(name));
    }

    /// Compares all files with their checksums; the error names the first that differs.
    pub(super) fn verify(
        &self,
        model: &InstalledModel,
        mut on_bytes: impl FnMut(u64),
    ) -> Result<(), HubError> {
        let dir = self.models_dir.join(&model.name);
        for kept in &model.files {
            let path = kept.path_in(&dir);
            let (bytes, sha256) = hash_file(&path, &mut on_bytes)?;
            let problem = if bytes != kept.bytes {
                format!("{bytes} bytes, {} were installed", kept.bytes)
            } else if sha256 != kept.sha256 {
                format!("its sha256 is {sha256}, {} was installed", kept.sha256)
            } else {
                continue;
            };
            return Err(altered(&model.name, path, &problem));
        }
        Ok(())
    }
}

/// Makes a rename in `dir` survive a power failure, if the platform can.
fn sync_dir(dir: &Path) {
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
}

/// Free bytes on the disk of `dir`; `None` if the platform has no such call.
#[must_use]
pub fn disk_available(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|ancestor| ancestor.exists())?;
    #[cfg(unix)]
    return rustix::fs::statvfs(there).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    #[cfg(not(unix))]
    {
        let _ = there;
        None
    }
}

/// Refuses what can't fit before the first byte is written.
pub(super) fn check_space(dir: &Path, needed: u64, available: Option<u64>) -> Result<(), HubError> {
    match available {
        Some(available) if available < needed => {
            Err(HubError::DiskFull { path: dir.to_owned(), needed, available })
        }
        _ => Ok(()),
    }
}

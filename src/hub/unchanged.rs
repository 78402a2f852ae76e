//! Checks whether an installed file is unchanged without reading all of it, by its size, its times and a sample of its
//! bytes. If only the times differ, the file is read in full, once. In a home where that result can't be stored (a
//! read-only copy, say), this would happen at every load, so there the sample is trusted. `models verify` always reads
//! everything.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::digest::hash_file;
use super::error::{AtPath, HubError};
use super::file_name::MANIFEST;
use super::fingerprint::Fingerprint;
use super::manifest::{InstalledFile, Manifest, altered};
use super::own_files::write_own;

/// How many folders above a file are searched for its manifest: older versions kept some files in subfolders.
const FOLDERS_ABOVE_MAX: usize = 4;

/// Checks that the installed model to which `path` belongs (its main file or its folder) is unchanged. Files not
/// installed by this program pass.
///
/// # Errors
/// [`HubError::NotAModel`] naming the file and what to do.
pub fn check_unchanged(path: &Path) -> Result<(), HubError> {
    let Some((folder, mut manifest)) = manifest_of(path) else { return Ok(()) };
    let new = folder.join(format!("{MANIFEST}.new-{}", std::process::id()));
    let mut can_keep = None;
    let checked = manifest.files.iter_mut().try_for_each(|kept| {
        // Find out, once, before a file is read in full.
        let can_be_kept = || *can_keep.get_or_insert_with(|| write_own(&new, b"").is_ok());
        if let Some(fingerprint) = check_file(&manifest.name, &kept.path_in(&folder), kept, can_be_kept)? {
            kept.fingerprint = Some(fingerprint);
        }
        Ok(())
    });
    if can_keep == Some(true) {
        let keep =
            || write_own(&new, &manifest.text()).and_then(|()| fs::rename(&new, folder.join(MANIFEST)));
        if checked.is_err() || keep().is_err() {
            let _ = fs::remove_file(&new);
        }
    }
    checked
}

fn manifest_of(path: &Path) -> Option<(PathBuf, Manifest)> {
    let above = path.ancestors().take(FOLDERS_ABOVE_MAX);
    let mut found = above.filter_map(|folder| Some((folder.to_owned(), Manifest::read(folder)?)));
    let belongs = |(folder, manifest): &(PathBuf, Manifest)| {
        folder == path || manifest.files.iter().any(|kept| kept.path_in(folder) == path)
    };
    found.find(belongs)
}

/// Checks one file. Returns its new fingerprint if that should be stored. If it can't be stored, per `can_be_kept`, the
/// sample is trusted.
fn check_file(
    model: &str,
    path: &Path,
    kept: &InstalledFile,
    can_be_kept: impl FnOnce() -> bool,
) -> Result<Option<Fingerprint>, HubError> {
    let fails = |problem: &str| Err(altered(model, path.to_owned(), problem));
    let bytes = match fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return fails("it was installed but no longer exists");
        }
        Err(error) => return Err(HubError::io(path, error)),
    };
    if bytes != kept.bytes {
        return fails(&format!("it was changed: {bytes} bytes, {} were installed", kept.bytes));
    }
    let now = Fingerprint::of(path).at(path)?;
    match &kept.fingerprint {
        Some(before) if before.sample_sha256 != now.sample_sha256 => {
            fails("it was changed: its bytes differ from those that were installed")
        }
        Some(before) if before.has_same_times(&now) => Ok(None),
        _ if !can_be_kept() => Ok(None),
        // Touched, copied, restored from a backup, or installed by an older version: read it in full to decide.
        _ => {
            tracing::info!(file = %path.display(), "its times differ from those at its installation: reading the whole file");
            let (_, sha256) = hash_file(path, |_| {})?;
            if sha256 != kept.sha256 {
                return fails(&format!(
                    "it was changed: its sha256 is {sha256}, {} was installed",
                    kept.sha256
                ));
            }
            Ok(Some(now))
        }
    }
}

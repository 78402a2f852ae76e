//! The manifest, a JSON file beside each model's files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalog::Role;
use super::error::HubError;
use super::file_name::{FileName, MANIFEST, is_plain_path, printable};
use super::fingerprint::Fingerprint;
use super::own_files::read_own;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) source: String,
    pub(super) licence: Option<String>,
    pub(super) files: Vec<InstalledFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// Its path in the model's folder.
    pub file: String,
    pub bytes: u64,
    /// Checksum in lower-case hex.
    pub sha256: String,
    /// Its fingerprint when it was last known to be correct; manifests of older versions lack it.
    #[serde(default, rename = "seen", skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

impl InstalledFile {
    pub(super) fn new(name: &FileName, bytes: u64, sha256: String) -> Self {
        Self { file: name.as_str().to_owned(), bytes, sha256, fingerprint: None }
    }

    /// The file's path in the model's folder `dir`. Its name was checked when the manifest was parsed.
    pub(super) fn path_in(&self, dir: &Path) -> PathBuf {
        dir.join(&self.file)
    }

    /// Whether both are the same file, whatever their fingerprints say.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.file, self.bytes, &self.sha256) == (&other.file, other.bytes, &other.sha256)
    }
}

impl Manifest {
    /// Reads the manifest in `dir`; `None` if there is none or it is invalid.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        Self::parse(&read_own(&dir.join(MANIFEST))?).ok()
    }

    /// Parses a manifest; the error says what is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("its {MANIFEST} can't be read ({error})"))?;
        if let Some(odd) = manifest.files.iter().find(|kept| !is_plain_path(&kept.file)) {
            return Err(format!("its {MANIFEST} names a file that is refused: `{}`", printable(&odd.file)));
        }
        if manifest.files.is_empty() {
            return Err(format!("its {MANIFEST} names no file"));
        }
        Ok(manifest)
    }

    pub(super) fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a manifest is plain data")
    }
}

/// The error for a file that differs from what was installed.
pub(super) fn altered(name: &str, path: PathBuf, problem: &str) -> HubError {
    let again = format!("`bandmaster models rm {name}` and pull or import it again");
    HubError::NotAModel { path, problem: format!("{problem}: {again}") }
}

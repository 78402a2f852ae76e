//! What is written of a model beside its files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalog::Role;
use super::error::HubError;
use super::inside::{FileName, MANIFEST, is_inside, printable, read_ours};
use super::seen::Seen;

/// Written beside a model's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) source: String,
    pub(super) licence: Option<String>,
    pub(super) files: Vec<KeptFile>,
}

/// A file of an installed model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its name in the model's folder.
    pub file: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// The checksum of its bytes, in lower-case hex.
    pub sha256: String,
    /// How it looked when it was last known to be that file; not in manifests of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

impl KeptFile {
    pub(super) fn new(name: &FileName, bytes: u64, sha256: String) -> Self {
        Self { file: name.as_str().to_owned(), bytes, sha256, seen: None }
    }

    /// Whether it is the same file, however it looked.
    pub(super) fn is(&self, other: &Self) -> bool {
        (&self.file, self.bytes, &self.sha256) == (&other.file, other.bytes, &other.sha256)
    }
}

impl Manifest {
    /// The manifest in `dir`; `None` when there is none, or it names files that are not in `dir`.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        Self::parse(&read_ours(&dir.join(MANIFEST))?).ok()
    }

    /// A manifest, or what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("its {MANIFEST} can't be read ({error})"))?;
        if let Some(odd) = manifest.files.iter().find(|kept| !is_inside(&kept.file)) {
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

/// A file of an installed model that is not what was installed.
pub(super) fn altered(name: &str, path: PathBuf, problem: &str) -> HubError {
    let again = format!("`bandmaster models rm {name}` and pull or import it again");
    HubError::NotAModel { path, problem: format!("{problem}: {again}") }
}

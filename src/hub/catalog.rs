//! The catalog: models, their sources, and bands for machines of several sizes. The data is in `catalog.toml`; this
//! file reads and checks it.

use std::sync::OnceLock;

use serde::Deserialize;

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Plans and writes the final answer; may also do tasks.
    Planner,
    /// Does tasks of plans.
    Worker,
    /// Turns texts into vectors.
    Embeddings,
    /// Generates text but has no chat template, so it is not used in a band.
    Base,
}

impl Role {
    /// The name in the catalog and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Worker => "worker",
            Self::Embeddings => "embeddings",
            Self::Base => "base",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubRepo {
    /// As `OWNER/REPO`, without a host.
    pub repo: String,
    /// Branch, tag or commit.
    pub rev: String,
}

/// Python packages whose wheels contain a file in parts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Package name with the placeholder `{n}`.
    name: String,
    version: String,
    /// Path inside the wheel with the placeholders `{n}`, `{nn}` and `{mm}`.
    member: String,
    #[serde(default = "one")]
    first: u32,
    #[serde(default = "one")]
    last: u32,
}

fn one() -> u32 {
    1
}

/// One part of a file: a file inside a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name in the Python package index.
    pub package: String,
    pub version: String,
    /// Path inside the wheel.
    pub member: String,
}

impl Packages {
    /// The parts in the order in which they are concatenated.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let part = |n: u32| {
            let fill = |pattern: &str| {
                pattern
                    .replace("{nn}", &format!("{n:02}"))
                    .replace("{mm}", &format!("{:02}", n - 1))
                    .replace("{n}", &n.to_string())
            };
            Part { package: fill(&self.name), version: self.version.clone(), member: fill(&self.member) }
        };
        (self.first..=self.last).map(part).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its name, both in the repository and locally.
    pub file: String,
    /// Exact size; `None` if the file was never downloaded and measured.
    pub bytes: Option<u64>,
    /// Approximate size, for entries without `bytes`.
    pub bytes_about: Option<u64>,
    /// In lower-case hex; `None` if the file was never downloaded and hashed.
    pub sha256: Option<String>,
    /// Second source, if there is one.
    pub packages: Option<Packages>,
}

impl ModelFile {
    /// A file of which only the name is known.
    #[must_use]
    pub fn named(file: &str) -> Self {
        Self { file: file.to_owned(), bytes: None, bytes_about: None, sha256: None, packages: None }
    }

    /// The best known size in bytes; 0 if unknown.
    #[must_use]
    pub fn bytes_estimate(&self) -> u64 {
        self.bytes.or(self.bytes_about).unwrap_or(0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    pub role: Role,
    /// SPDX identifier or the licence's name.
    pub licence: String,
    /// For the weights and a KV cache of a few thousand tokens.
    pub memory_bytes: u64,
    /// Whether sizes and checksums come from the downloaded files.
    pub verified: bool,
    /// First source; the Python packages of `files` are the second.
    pub hub: Option<HubRepo>,
    /// The main file comes first.
    #[serde(rename = "file")]
    pub files: Vec<ModelFile>,
}

impl Entry {
    /// Sum of the files' sizes, approximate for unverified entries.
    #[must_use]
    pub fn bytes_estimate(&self) -> u64 {
        self.files.iter().map(ModelFile::bytes_estimate).sum()
    }

    /// Whether every file is also available in Python packages.
    #[must_use]
    pub fn has_packages(&self) -> bool {
        self.files.iter().all(|file| file.packages.is_some())
    }

    /// Where it is downloaded from, for display.
    #[must_use]
    pub fn source(&self) -> String {
        match (&self.hub, self.has_packages()) {
            (Some(hub), _) => format!("hf:{}@{}", hub.repo, hub.rev),
            (None, true) => "python packages".to_owned(),
            (None, false) => "nowhere".to_owned(),
        }
    }
}

/// The models of a band for machines of one size.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandEntry {
    /// Memory of the machines it is for.
    pub memory_gib: u64,
    pub planner: String,
    pub workers: Vec<String>,
    pub embeddings: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// In the order of `catalog.toml`.
    #[serde(rename = "model")]
    pub entries: Vec<Entry>,
    /// From small machines to large ones; the first is the default.
    #[serde(rename = "band")]
    pub bands: Vec<BandEntry>,
}

impl Catalog {
    /// The catalog built into this program.
    ///
    /// # Panics
    /// Never: a test parses the same file.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(|| {
            toml::from_str(include_str!("catalog.toml")).expect("catalog.toml is checked by a test")
        })
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The band that an empty home downloads.
    #[must_use]
    pub fn default_band(&self) -> &BandEntry {
        &self.bands[0]
    }
}

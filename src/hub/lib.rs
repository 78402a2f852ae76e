//! Finds, pulls, verifies and imports model files. What is done with them is not known here.
#![warn(unreachable_pub)]

mod band;
mod catalog;
mod digest;
mod error;
mod file_name;
mod fingerprint;
mod home;
mod import;
mod manifest;
mod own_files;
mod partial_file;
mod pull;
mod reference;
mod remote;
mod sizes;
mod store;
#[cfg(test)]
mod tests;
mod unchanged;
mod wheels;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

pub use band::{Band, memory_estimate};
pub use catalog::{Catalog, Role};
pub use error::HubError;
pub use home::Home;
pub use import::ImportOptions;
pub use reference::similar_names;
pub use remote::Remote;
pub use sizes::{format_file_size, format_memory_size};
pub use store::disk_available;
pub use unchanged::check_unchanged;

use band::choose_band;
use catalog::Entry;
use import::ImportMethod;
use pull::Download;
use reference::Reference;
use store::{InstalledModel, Store};

/// Progress of a long operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A sentence for the user.
    Note(&'a str),
    /// A file of the model begins.
    Begin {
        file: &'a str,
        /// Size in bytes, if known.
        bytes: Option<u64>,
    },
    /// Bytes of the file that are done so far.
    Bytes(u64),
    /// The file is complete.
    End,
}

/// Called with the progress of a long operation.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress<'_>);

/// A model that is in the catalog, installed, or both.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ListedModel {
    pub name: String,
    pub role: Role,
    pub installed: bool,
    /// Where it is installed.
    pub path: Option<PathBuf>,
    /// Size in bytes, approximate for an unverified model that is not installed.
    pub bytes: u64,
    /// Checksum of the main file, if known.
    pub sha256: Option<String>,
    /// Where it was or would be downloaded from.
    pub source: String,
    pub licence: Option<String>,
    /// Whether size and checksum were taken from the actual file.
    pub verified: bool,
}

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModel {
    /// Name of the installed model, or the file's name without its ending and part number.
    pub name: String,
    pub role: Role,
    /// The GGUF file (the first part of a split model), or the folder of an embedding model.
    pub path: PathBuf,
    /// Size of all its files.
    pub bytes: u64,
    /// Estimate for the weights and a KV cache of a few thousand tokens.
    pub memory_bytes: u64,
}

/// The catalog, the home folder and the connection to the hub.
pub struct Hub {
    home: Home,
    offline: bool,
    remote: Remote,
    /// Why the hub can't be reached, once known, so that it isn't tried again for each model.
    hub_down: Mutex<Option<String>>,
}

impl Hub {
    /// Uses the hub that the environment names.
    #[must_use]
    pub fn new(home: Home, offline: bool) -> Self {
        Self::with_remote(home, offline, Remote::from_env())
    }

    /// Uses the given hub.
    #[must_use]
    pub fn with_remote(home: Home, offline: bool, remote: Remote) -> Self {
        Self { home, offline, remote, hub_down: Mutex::new(None) }
    }

    /// Whether nothing may be downloaded.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    fn store(&self) -> Store<'_> {
        Store::new(&self.home)
    }

    fn hub_is_down(&self) -> Option<String> {
        self.hub_down.lock().expect("no panic while it is held").clone()
    }

    fn note_hub_down(&self, reason: &str) {
        *self.hub_down.lock().expect("no panic while it is held") = Some(reason.to_owned());
    }

    /// InstalledModel models, sorted by name.
    #[must_use]
    pub fn installed(&self) -> Vec<InstalledModel> {
        self.store().installed()
    }

    /// Model folders that can't be used: a sentence each that says what is wrong and how to get rid of it.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        self.store().broken().into_iter().map(|(dir, problem)| unusable(dir, &problem).to_string()).collect()
    }

    /// The error for a model whose folder exists but can't be used.
    fn broken_one(&self, name: &str) -> Option<HubError> {
        let broken = self.store().broken();
        let (dir, problem) =
            broken.into_iter().find(|(dir, _)| dir.file_name().is_some_and(|n| n == name))?;
        Some(unusable(dir, &problem))
    }

    /// The models of the catalog, then installed models that are not in it.
    #[must_use]
    pub fn list(&self) -> Vec<ListedModel> {
        let installed = self.installed();
        let catalog = Catalog::builtin();
        let of_entry = |entry: &Entry| match installed.iter().find(|model| model.name == entry.name) {
            Some(model) => ListedModel { licence: Some(entry.licence.clone()), ..of_installed(model) },
            None => ListedModel {
                name: entry.name.clone(),
                role: entry.role,
                installed: false,
                path: None,
                bytes: entry.bytes_estimate(),
                sha256: entry.files[0].sha256.clone(),
                source: entry.source(),
                licence: Some(entry.licence.clone()),
                verified: entry.verified,
            },
        };
        let mut rows: Vec<ListedModel> = catalog.entries.iter().map(of_entry).collect();
        rows.extend(installed.iter().filter(|model| catalog.get(&model.name).is_none()).map(of_installed));
        rows
    }

    /// The files of a model in the catalog, of an imported or pulled model, or of a path on this machine.
    ///
    /// # Errors
    /// Unknown names (with similar ones), names that are not installed, paths that don't exist.
    pub fn find(&self, typed: &str) -> Result<LocalModel, HubError> {
        let (name, size) = match Reference::parse(typed)? {
            Reference::Path(path) => return find_path(&path),
            Reference::Hub(reference) => (reference.local_name(), None),
            Reference::Name(name) => match Catalog::builtin().get(&name) {
                Some(entry) => (name, Some(entry.bytes_estimate())),
                None if self.store().get(&name).is_some() => (name, None),
                None => return Err(self.broken_one(&name).unwrap_or_else(|| self.unknown(&name))),
            },
        };
        let not_installed = || HubError::NotInstalled {
            name: typed.to_owned(),
            size: size.map(|bytes| format!(" ({})", format_file_size(bytes))).unwrap_or_default(),
        };
        let model = self.store().get(&name);
        let model = model.ok_or_else(|| self.broken_one(&name).unwrap_or_else(not_installed))?;
        let memory_bytes = memory_estimate(&model);
        Ok(LocalModel { name, role: model.role, path: model.path, bytes: model.bytes, memory_bytes })
    }

    /// As [`Hub::find`], for a model that generates text.
    ///
    /// # Errors
    /// As [`Hub::find`], and [`HubError::WrongKind`] for an embedding model.
    pub fn find_text_model(&self, typed: &str) -> Result<LocalModel, HubError> {
        self.find_kind(typed, false)
    }

    /// As [`Hub::find`], for an embedding model.
    ///
    /// # Errors
    /// As [`Hub::find`], and [`HubError::WrongKind`] for a model that generates text.
    pub fn find_embedder(&self, typed: &str) -> Result<LocalModel, HubError> {
        self.find_kind(typed, true)
    }

    fn find_kind(&self, typed: &str, embeds: bool) -> Result<LocalModel, HubError> {
        let (role, place, found) = match self.find(typed) {
            Ok(found) => (found.role, found.path.display().to_string(), Ok(found)),
            Err(error) => match Catalog::builtin().get(typed) {
                Some(entry) => (entry.role, "in the catalog".to_owned(), Err(error)),
                None => return Err(error),
            },
        };
        if (role == Role::Embeddings) == embeds {
            return found;
        }
        let (is, wanted) = if embeds {
            ("a model that writes text", "an embedding model")
        } else {
            ("an embedding model", "a model that writes text")
        };
        let mut others = self.installed();
        others.retain(|model| (model.role == Role::Embeddings) == embeds);
        let others: Vec<String> = others.into_iter().map(|model| model.name).collect();
        let instead = match others.as_slice() {
            [] => "`bandmaster models list` shows all models".to_owned(),
            names => format!("installed: {}", names.join(", ")),
        };
        Err(HubError::WrongKind { typed: typed.to_owned(), place, is, wanted, instead })
    }

    fn unknown(&self, name: &str) -> HubError {
        let installed: Vec<String> = self.installed().into_iter().map(|model| model.name).collect();
        let catalog = Catalog::builtin().entries.iter().map(|entry| entry.name.as_str());
        let near = similar_names(name, catalog.chain(installed.iter().map(String::as_str)));
        HubError::UnknownModel {
            name: name.to_owned(),
            near: if near.is_empty() {
                String::new()
            } else {
                format!("; similar names: {}", near.join(", "))
            },
            installed: match installed.as_slice() {
                [] => "Nothing is installed".to_owned(),
                names => format!("Installed: {}", names.join(", ")),
            },
        }
    }

    /// Downloads and installs a catalog name or an `hf:` reference. One that is already installed is left as it is.
    ///
    /// # Errors
    /// Unknown names, connections that are forbidden or fail, wrong checksums, a full disk.
    pub fn pull(&self, typed: &str, on_progress: OnProgress) -> Result<InstalledModel, HubError> {
        let download = match Reference::parse(typed)? {
            Reference::Path(path) => {
                let problem =
                    "a path can't be pulled: `bandmaster models import` brings a file in".to_owned();
                return Err(HubError::NotAModel { path, problem });
            }
            Reference::Hub(reference) => Download::from(&reference),
            Reference::Name(name) => match (self.store().get(&name), Catalog::builtin().get(&name)) {
                (Some(there), _) => return Ok(there),
                (None, Some(entry)) => Download::from(entry),
                (None, None) => return Err(self.unknown(&name)),
            },
        };
        match self.store().get(&download.name) {
            Some(there) => Ok(there),
            None => self.fetch(download, on_progress),
        }
    }

    /// Installs a GGUF file (or any part of a split one, or an embedding model's folder) from this machine, and says
    /// how its files were stored; `None` if it was already installed.
    ///
    /// # Errors
    /// Files that are not models, names that are taken, a full disk.
    pub fn import(
        &self,
        path: &Path,
        options: &ImportOptions,
        on_progress: OnProgress,
    ) -> Result<(InstalledModel, Option<ImportMethod>), HubError> {
        import::import(&self.store(), path, options, on_progress)
    }

    /// Reads an installed model's files in full and compares their checksums.
    ///
    /// # Errors
    /// [`HubError::NotAModel`] naming the file that has changed.
    pub fn verify(&self, model: &InstalledModel, on_progress: OnProgress) -> Result<(), HubError> {
        on_progress(Progress::Begin { file: &model.name, bytes: Some(model.bytes) });
        let mut read = 0;
        let result = self.store().verify(model, |more| {
            read += more;
            on_progress(Progress::Bytes(read));
        });
        on_progress(Progress::End);
        result
    }

    /// Deletes an installed model and the rest of an unfinished pull of it. Returns the bytes freed.
    ///
    /// # Errors
    /// Names that are not installed.
    pub fn rm(&self, typed: &str) -> Result<u64, HubError> {
        let name = match Reference::parse(typed)? {
            Reference::Hub(reference) => reference.local_name(),
            Reference::Name(name) => name,
            Reference::Path(path) => {
                let problem = "name an installed model (`bandmaster models list`), not a path".to_owned();
                return Err(HubError::NotAModel { path, problem });
            }
        };
        let store = self.store();
        if !import::is_folder_name(&name) {
            return Err(self.unknown(&name));
        }
        if let Some(model) = store.get(&name) {
            store.remove(&name)?;
            return Ok(model.bytes);
        }
        if store.partial_dir(&name).is_dir() {
            store.forget_partial(&name);
            return Ok(0);
        }
        Err(match Catalog::builtin().get(&name) {
            Some(_) => HubError::NotInstalled { name, size: String::new() },
            None => self.unknown(&name),
        })
    }

    /// The band for a machine with this much memory, chosen from what is installed.
    #[must_use]
    pub fn choose_band(&self, memory_bytes: u64) -> Band {
        choose_band(Catalog::builtin(), memory_bytes, &self.installed())
    }

    /// Which of `names` (as typed) must be downloaded before they can be used.
    ///
    /// # Errors
    /// Unknown names, paths that don't exist.
    pub fn missing<'n>(&self, names: &[&'n str]) -> Result<Vec<&'n str>, HubError> {
        let mut missing = Vec::new();
        for name in names {
            match self.find(name) {
                Ok(_) => {}
                Err(HubError::NotInstalled { .. }) => missing.push(*name),
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// Size in bytes of a model as typed: the installed size, else the catalog's, else 0.
    #[must_use]
    pub fn bytes_estimate(&self, typed: &str) -> u64 {
        match self.find(typed) {
            Ok(found) => found.bytes,
            Err(_) => Catalog::builtin().get(typed).map_or(0, Entry::bytes_estimate),
        }
    }

    /// Where a model as typed would be downloaded from, for display.
    #[must_use]
    pub fn source(&self, typed: &str) -> String {
        Catalog::builtin().get(typed).map_or_else(|| typed.to_owned(), Entry::source)
    }

    /// The error for models that are missing while connections are forbidden.
    #[must_use]
    pub fn offline_error(&self, names: &[&str]) -> HubError {
        let verb = if names.len() == 1 { "is" } else { "are" };
        HubError::Offline {
            missing: format!("{} {verb}", names.join(", ")),
            models: self.home.models_dir.clone(),
        }
    }
}

fn unusable(dir: PathBuf, problem: &str) -> HubError {
    let problem = format!(
        "a model that can't be used: {problem}; delete this folder, then pull or import the model again"
    );
    HubError::NotAModel { path: dir, problem }
}

fn of_installed(model: &InstalledModel) -> ListedModel {
    ListedModel {
        name: model.name.clone(),
        role: model.role,
        installed: true,
        path: Some(model.path.clone()),
        bytes: model.bytes,
        sha256: Some(model.sha256.clone()),
        source: model.source.clone(),
        licence: None,
        verified: true,
    }
}

fn find_path(path: &Path) -> Result<LocalModel, HubError> {
    let import::Files { files, embeddings, name } = import::find_files(path)?;
    let mut bytes = 0;
    for file in &files {
        bytes += import::metadata_of(file)?.len();
    }
    let main = files.into_iter().next().expect("a model has files");
    let (role, path) = match main.parent() {
        Some(folder) if embeddings => (Role::Embeddings, folder.to_owned()),
        _ => (import::role_by_size(bytes), main),
    };
    Ok(LocalModel { name, role, path, bytes, memory_bytes: bytes + bytes / 8 + (1 << 28) })
}

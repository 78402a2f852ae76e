//! Errors of the record, and what to do about each.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::Holder;

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file or its folder cannot be created or opened.
    #[error(
        "cannot open the record of runs {path}: {why}; check the folder's permissions or give another --home"
    )]
    Open { path: PathBuf, why: String },
    /// Not a database, or a damaged one.
    #[error("the record of runs {path} is damaged ({why}); move it away to start a new one")]
    Corrupt { path: PathBuf, why: String },
    #[error(
        "{path} is not a record of runs but another program's database; move it away, or give another --home"
    )]
    Foreign { path: PathBuf },
    #[error(
        "the record of runs {path} has schema {found}, this program knows {known}: use a newer bandmaster"
    )]
    Newer {
        path: PathBuf,
        /// Schema version of the file.
        found: i64,
        /// Highest schema version that this program knows.
        known: i64,
    },
    #[error("the disk is full: the record of runs {path} could not be written; free some space")]
    DiskFull { path: PathBuf },
    /// Another process held the file for too long.
    #[error("the record of runs {path} is locked by another process; try again when it has ended")]
    Busy { path: PathBuf },
    /// Too much waits to be written.
    #[error(
        "too much waits to be written to the record of runs {path}: it is locked by another process or the disk is full; try again later"
    )]
    Behind { path: PathBuf },
    #[error("no run {id}; `bandmaster runs list` shows all runs")]
    UnknownRun {
        /// The id or prefix that was asked for.
        id: String,
    },
    #[error("{id} could be any of {}", among.join(", "))]
    Ambiguous {
        /// The prefix that was asked for.
        id: String,
        among: Vec<String>,
    },
    /// A run can't be removed while it is in progress.
    #[error(
        "run {id} is in progress in {holder}: end it there, or with `bandmaster runs cancel {id}` if it runs in this home's server; then it can be removed"
    )]
    GoesOn { id: String, holder: Holder },
    /// A run can't be taken up while it is in progress.
    #[error(
        "run {id} is in progress in {holder}: wait for its end, or end it there, or with `bandmaster runs cancel {id}` if it runs in this home's server"
    )]
    InProgress { id: String, holder: Holder },
    #[error("run {id} has gone on in the meantime: look at its state, and try again")]
    HasGoneOn { id: String },
    /// Something that was recorded can no longer be read.
    #[error(
        "{what} in the record of runs {path} is damaged ({why}): {now}; everything else can still be read"
    )]
    Damaged {
        path: PathBuf,
        /// The field and whose it is, such as `the body of response resp_1`.
        what: String,
        why: String,
        /// What to do about it.
        now: String,
    },
    /// The thread that keeps the record did not answer.
    #[error("the record of runs {path} gave no answer: this is a bug in bandmaster; the log has the details")]
    NoAnswer { path: PathBuf },
    /// The system could not read or write the file.
    #[error(
        "the record of runs {path} could not be read or written ({why}); check the disk, the space on it and the limit of file sizes (`ulimit -f`), then try again"
    )]
    Trouble { path: PathBuf, why: String },
    /// Any other error of SQLite.
    #[error("the record of runs {path}: {why}")]
    Other { path: PathBuf, why: String },
}

impl JournalError {
    /// Whether the problem may go away by itself, so that the same write is worth another try.
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

/// Turns an error of SQLite into one that says what to do.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> JournalError {
    let path = path.to_owned();
    let why = error.to_string();
    if let rusqlite::Error::FromSqlConversionFailure(..)
    | rusqlite::Error::InvalidColumnType(..)
    | rusqlite::Error::IntegralValueOutOfRange(..)
    | rusqlite::Error::Utf8Error(..) = error
    {
        let now = "restore the file from a copy, or move it away to start a new one".to_owned();
        return JournalError::Damaged { path, what: "an entry".to_owned(), why, now };
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

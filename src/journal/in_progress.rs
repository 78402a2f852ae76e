//! Which runs are in progress, and taking up one that isn't. A run is changed only by whoever has its lock (`hold.rs`).

use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};

use super::hold::{self, Hold, Holder};
use super::{Journal, JournalError};

/// A run that was taken up.
pub(super) struct TakenUp {
    pub(super) id: String,
    /// Its number among the runs of this process.
    pub(super) number: u64,
    /// Number of its last event.
    pub(super) last_seq: u64,
}

impl Journal {
    /// `None` when somebody else has locked the run.
    pub(super) fn hold(&self, run: &str) -> Result<Option<Hold>, JournalError> {
        let path = self.hold_file(run);
        hold::take(&path).map_err(|error| JournalError::Open { path, why: error.to_string() })
    }

    fn hold_file(&self, run: &str) -> PathBuf {
        self.path().with_file_name(format!("run-{run}.lock"))
    }

    /// Locks a run. A record in memory has no locks, because nobody else uses it.
    ///
    /// # Errors
    /// When somebody else has locked it.
    pub(super) fn hold_alone(&self, run: &str) -> Result<Option<Hold>, JournalError> {
        if self.file.in_memory {
            return Ok(None);
        }
        match self.hold(run)? {
            Some(hold) => Ok(Some(hold)),
            None => Err(JournalError::GoesOn { id: run.to_owned(), holder: Holder { pid: None } }),
        }
    }

    /// The process that runs a run at this moment; `None` if the run has ended or was interrupted.
    #[must_use]
    pub fn holder(&self, run: &str) -> Option<Holder> {
        if self.file.unwritten.has_ended(run).is_some() {
            return Some(Holder { pid: Some(std::process::id()) });
        }
        (!self.file.in_memory).then(|| hold::holder(&self.hold_file(run))).flatten()
    }

    /// Whether a run is in progress in this process.
    #[must_use]
    pub fn goes_on_here(&self, run: &str) -> bool {
        self.file.unwritten.has_ended(run) == Some(false)
    }

    /// Whether no process runs a run any more.
    pub(super) fn was_left(&self, run: &str) -> bool {
        !self.file.in_memory && self.holder(run).is_none()
    }

    /// Locks a run that is not in progress. It stays its owner's, whoever takes it up.
    pub(super) fn reopen(&self, run: &str) -> Result<TakenUp, JournalError> {
        let refuse = |error| match error {
            JournalError::GoesOn { id, holder } => JournalError::InProgress { id, holder },
            other => other,
        };
        self.check_not_held(run).map_err(refuse)?;
        let hold = self.hold_alone(run).map_err(refuse)?;
        // Read after it is locked: before that, others may add events or remove the run.
        let unknown = || JournalError::UnknownRun { id: run.to_owned() };
        let last_seq = self.read(run, |reader| reader.last_seq())?.ok_or_else(unknown)?;
        let owner = self.with(|db| {
            db.query_row("SELECT owner FROM runs WHERE id = ?1", params![run], |row| row.get(0)).optional()
        })?;
        let number = self.file.unwritten.reopen(run, owner.ok_or_else(unknown)?, last_seq, hold);
        Ok(TakenUp { id: run.to_owned(), number, last_seq })
    }

    /// Checks that the viewer sees a run, that no process runs it, and that all of it is in the file.
    pub(super) fn check_not_held(&self, run: &str) -> Result<(), JournalError> {
        self.created_ms(run)?.ok_or_else(|| JournalError::UnknownRun { id: run.to_owned() })?;
        if self.file.unwritten.has_ended(run) == Some(true) {
            return Err(JournalError::Behind { path: self.path().to_owned() });
        }
        match self.holder(run) {
            Some(holder) => Err(JournalError::GoesOn { id: run.to_owned(), holder }),
            None => Ok(()),
        }
    }
}

//! Removes runs. What is left of their text in the file is cleared afterwards (`erase.rs`).

use std::time::{Duration, Instant};

use rusqlite::params;

use super::{Journal, JournalError, RunRow, fork, unix_ms};

/// Most time that others get to write between two runs that are pruned; otherwise as much as the removal took.
const PRUNE_PAUSE_MAX: Duration = Duration::from_millis(50);

/// The result of [`Journal::prune`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Number of runs that were removed.
    pub forgotten: usize,
    /// Number of runs that are old enough but in progress, and were kept.
    pub going: usize,
}

impl Journal {
    /// Removes a run and everything recorded about it.
    ///
    /// # Errors
    /// When there is no such run, it is in progress, or the record cannot be written.
    pub fn delete(&self, run: &str) -> Result<(), JournalError> {
        self.check_not_held(run)?;
        match self.remove_run(run)? {
            0 => Err(JournalError::UnknownRun { id: run.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Removes the runs that began longer ago than `age`, except those in progress. They are removed one by one, so
    /// that others can write in between.
    ///
    /// # Errors
    /// When the record cannot be written. What was removed before that stays removed.
    pub fn prune(&self, age: Duration) -> Result<Pruned, JournalError> {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before_ms = unix_ms().saturating_sub(age_ms);
        let old = self.runs()?.into_iter().filter(|run| run.created_ms < before_ms);
        let mut pruned = Pruned { forgotten: 0, going: 0 };
        for RunRow { id, .. } in old {
            let began = Instant::now();
            if self.holder(&id).is_some() {
                pruned.going += 1;
                continue;
            }
            match self.remove_run(&id) {
                Ok(removed) => pruned.forgotten += removed,
                Err(JournalError::GoesOn { .. }) => pruned.going += 1,
                Err(error) => return Err(error),
            }
            std::thread::sleep(began.elapsed().min(PRUNE_PAUSE_MAX));
        }
        Ok(pruned)
    }

    /// Removes a run while its lock is held, so that nobody takes it up in between. Returns how many were there.
    fn remove_run(&self, run: &str) -> Result<usize, JournalError> {
        let _hold = self.hold_alone(run)?;
        let removed = self.remove_rows(|db| {
            fork::let_go(db, run)?;
            db.execute(
                "DELETE FROM runs WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)",
                params![run, self.viewer.only()],
            )
        })?;
        self.file.indexes.take(run);
        Ok(removed)
    }
}

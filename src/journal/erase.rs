//! What was removed leaves the file: SQLite keeps copies of rows where pages were split, in free pages and in its write-ahead
//! log, until the file is written anew. Which rows go is not known here.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::schema::BUSY_TIME_MAX;
use super::{Journal, JournalError};

/// A file of at most this size is written anew at once, which takes about a tenth of a second; a larger one when there is
/// nothing else to do.
const AT_ONCE_BYTES_MAX: u64 = 32 << 20;
/// Of the time, writing the file anew takes at most this share where a lot is removed piece by piece.
const SHARE: u32 = 10;
/// Another process that uses the file is waited for so long.
const OTHERS_TIME_MAX: Duration = Duration::from_millis(500);

/// Whether something that was removed may be left in the file.
#[derive(Debug, Default)]
pub(super) struct Eraser(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: bool,
    /// When the file was last written anew, and how long that took.
    last: Option<(Instant, Duration)>,
}

impl Eraser {
    fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal {
    /// Where something was removed, its text leaves the file now, or soon.
    pub(super) fn removed(&self, something: bool) {
        if !something {
            return;
        }
        let eraser = &self.file.eraser;
        eraser.change(|state| state.left = true);
        let small = self.file_bytes().is_ok_and(|bytes| bytes <= AT_ONCE_BYTES_MAX);
        if small && self.may_erase() {
            self.erase_rest();
        }
    }

    /// Whether it was long enough ago that the file was written anew.
    pub(super) fn may_erase(&self) -> bool {
        let rested = |(end, took): (Instant, Duration)| end.elapsed() > took * SHARE;
        self.file.eraser.change(|state| state.last.is_none_or(rested))
    }

    /// Whether nothing of what was removed is left in the file.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        !self.file.eraser.change(|state| state.left)
    }

    /// Writes the file anew, and gives whether nothing that was removed is left in it. Something is as long as another
    /// process reads the file as it was.
    pub fn erase_rest(&self) -> bool {
        let began = Instant::now();
        let gone = self.erase().unwrap_or(false);
        self.file.eraser.change(|state| {
            state.left = !gone;
            state.last = Some((Instant::now(), began.elapsed()));
        });
        gone
    }

    fn erase(&self) -> Result<bool, JournalError> {
        if self.file.in_memory {
            return Ok(true);
        }
        self.wait_at_most(OTHERS_TIME_MAX);
        let gone = self.with(|db| {
            db.execute_batch("VACUUM")?;
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
        });
        self.wait_at_most(BUSY_TIME_MAX);
        gone
    }

    fn file_bytes(&self) -> Result<u64, JournalError> {
        self.with(|db| {
            let number = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0));
            Ok(number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?) as u64)
        })
    }
}

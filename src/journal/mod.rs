//! The append-only record of runs, in SQLite. An event is a type, a time and a JSON body; what planner, worker or
//! strategy mean is not known here. A run's state is a fold of its events (`fold.rs`), and whether somebody still does it
//! (`hold.rs`). Beside the runs lie the answers and conversations that clients come back to (`conversations.rs`).

mod conversations;
mod fold;
mod hold;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use serde_json::Value;

pub use conversations::{History, KeptConversation, KeptItem, KeptResponse};
pub use fold::{Attempt, RunState, TaskState, fold};
pub use hold::{Holder, OpenRun};

/// Version of the tables; a file with a higher one was written by a newer program and is left alone.
const SCHEMA_VERSION: i64 = 2;

/// Tables of version 1.
const SCHEMA_1: &str = "
    CREATE TABLE runs (id TEXT PRIMARY KEY, created_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE inputs (run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, position INTEGER NOT NULL,
                         name TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, position)) WITHOUT ROWID;
    CREATE TABLE events (run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, seq INTEGER NOT NULL,
                         ms INTEGER NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL,
                         PRIMARY KEY (run, seq)) WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// Two runs on one home wait for each other's writes at most this long; a write takes well under a millisecond.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

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
    #[error("the record of runs {path} is locked by another process; try again")]
    Busy {
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
    /// Anything else SQLite says.
    #[error("the record of runs {path}: {why}")]
    Other {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        why: String,
    },
}

/// One recorded event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// 1, 2, 3 … within its run.
    pub seq: u64,
    /// Milliseconds since the run began.
    pub ms: u64,
    /// `task.started` and the like.
    pub kind: String,
    /// The event's other fields, an object.
    pub body: Value,
}

/// One run, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Run id.
    pub id: String,
    /// When it began, milliseconds since 1970.
    pub created_ms: u64,
}

/// What `prune` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Runs that are gone.
    pub forgotten: usize,
    /// Runs old enough that go on, and stay.
    pub going: usize,
}

/// The record of runs. Shared between threads; two processes may hold the same file.
pub struct Journal {
    path: PathBuf,
    /// Gone with the process, and so never left behind.
    in_memory: bool,
    connection: Mutex<Connection>,
}

impl Journal {
    /// Opens the file, making it (mode 0600) and its folder where missing.
    ///
    /// # Errors
    /// When it cannot be opened, is damaged, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let fail = |why: String| JournalError::Open { path: path.to_owned(), why };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
        }
        make_private(path).map_err(|e| fail(e.to_string()))?;
        let connection = Connection::open(path).map_err(|e| explain(path, &e))?;
        let journal = Self { path: path.to_owned(), in_memory: false, connection: Mutex::new(connection) };
        journal.prepare()?;
        Ok(journal)
    }

    /// A record that ends with the process.
    ///
    /// # Errors
    /// When SQLite cannot start.
    pub fn in_memory() -> Result<Self, JournalError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|e| explain(&path, &e))?;
        let journal = Self { path, in_memory: true, connection: Mutex::new(connection) };
        journal.prepare()?;
        Ok(journal)
    }

    fn prepare(&self) -> Result<(), JournalError> {
        self.with(|db| {
            db.busy_timeout(BUSY_TIMEOUT)?;
            switch_to_wal(db)?;
            db.pragma_update(None, "synchronous", "normal")?;
            db.pragma_update(None, "foreign_keys", true)
        })?;
        let found = self.with(|db| {
            // Immediate: of two processes that meet a new file only one makes the tables.
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            let steps = [SCHEMA_1, conversations::SCHEMA_2];
            for step in steps.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
                transaction.execute_batch(step)?;
            }
            transaction.commit()?;
            Ok(version)
        })?;
        if found > SCHEMA_VERSION {
            return Err(JournalError::Newer { path: self.path.clone(), found, known: SCHEMA_VERSION });
        }
        Ok(())
    }

    /// Enters a new run: it goes on until what is given back is dropped. Its id has ten characters, later ids sort later.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create_run(&self) -> Result<OpenRun, JournalError> {
        let created_ms = unix_ms();
        // The last two characters tell runs of the same millisecond apart.
        let mut salt = u64::from(std::process::id());
        loop {
            let id = run_id(created_ms, salt);
            salt = salt.wrapping_add(1);
            // Held before it can be seen: nobody takes it for one that was left.
            let hold = match self.in_memory {
                true => None,
                false => match self.hold(&id)? {
                    None => continue,
                    hold => hold,
                },
            };
            let insert = "INSERT OR IGNORE INTO runs VALUES (?1, ?2)";
            if self.with(|db| db.execute(insert, params![id, created_ms as i64]))? == 1 {
                return Ok(OpenRun { id, _hold: hold });
            }
        }
    }

    /// `None` when somebody has the run of this id.
    fn hold(&self, run: &str) -> Result<Option<hold::Hold>, JournalError> {
        let path = self.hold_file(run);
        hold::take(&path).map_err(|error| JournalError::Open { path, why: error.to_string() })
    }

    fn hold_file(&self, run: &str) -> PathBuf {
        self.path.with_file_name(format!("run-{run}.lock"))
    }

    /// Who does a run at this moment; nobody, where it has ended or was left in the middle.
    #[must_use]
    pub fn holder(&self, run: &str) -> Option<Holder> {
        (!self.in_memory).then(|| hold::holder(&self.hold_file(run))).flatten()
    }

    /// Keeps an input's text with its run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_input(&self, run: &str, position: usize, name: &str, text: &str) -> Result<(), JournalError> {
        self.with(|db| {
            db.prepare_cached("INSERT INTO inputs VALUES (?1, ?2, ?3, ?4)")?.execute(params![
                run,
                position as i64,
                name,
                text
            ])
        })?;
        Ok(())
    }

    /// The inputs of a run as `(name, text)`, in order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inputs(&self, run: &str) -> Result<Vec<(String, String)>, JournalError> {
        self.with(|db| {
            let mut query =
                db.prepare_cached("SELECT name, text FROM inputs WHERE run = ?1 ORDER BY position")?;
            query.query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// Appends an event `ms` milliseconds into the run and gives its number.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, run: &str, kind: &str, ms: u64, body: &Value) -> Result<u64, JournalError> {
        let body = body.to_string();
        self.with(|db| {
            db.prepare_cached(
                "INSERT INTO events SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4 FROM events WHERE run = ?1
                 RETURNING seq",
            )?
            .query_row(params![run, ms as i64, kind, body], |row| row.get::<_, i64>(0))
        })
        .map(|seq| seq as u64)
    }

    /// The events of a run that come after `after_seq` (0 for all).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn events(&self, run: &str, after_seq: u64) -> Result<Vec<Event>, JournalError> {
        self.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT seq, ms, type, body FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq",
            )?;
            query
                .query_map(params![run, after_seq as i64], |row| {
                    let body: String = row.get(3)?;
                    Ok(Event {
                        seq: row.get::<_, i64>(0)? as u64,
                        ms: row.get::<_, i64>(1)? as u64,
                        kind: row.get(2)?,
                        body: serde_json::from_str(&body).unwrap_or(Value::Null),
                    })
                })?
                .collect()
        })
    }

    /// All runs, latest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn runs(&self) -> Result<Vec<RunRow>, JournalError> {
        self.with(|db| {
            let mut query = db.prepare_cached("SELECT id, created_ms FROM runs ORDER BY id DESC")?;
            query
                .query_map([], |row| {
                    Ok(RunRow { id: row.get(0)?, created_ms: row.get::<_, i64>(1)? as u64 })
                })?
                .collect()
        })
    }

    /// The state of a run: the fold of its events. One that nobody does any more and that never ended is incomplete.
    ///
    /// # Errors
    /// When there is no such run or it cannot be read.
    pub fn state(&self, run: &str) -> Result<RunState, JournalError> {
        let created = self.with(|db| {
            db.query_row("SELECT created_ms FROM runs WHERE id = ?1", [run], |row| row.get::<_, i64>(0))
                .optional()
        })?;
        let created_ms = created.ok_or_else(|| JournalError::UnknownRun { id: run.to_owned() })?;
        // Asked before what it said: a run that ends in between has not been left.
        let left = !self.in_memory && self.holder(run).is_none();
        let mut state = fold(run, created_ms as u64, &self.events(run, 0)?);
        if left {
            state.leave();
        }
        Ok(state)
    }

    /// The full id of the only run that begins with `prefix`; case does not matter, `last` is the latest run.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn find(&self, prefix: &str) -> Result<String, JournalError> {
        let wanted = prefix.to_ascii_lowercase();
        let mut ids: Vec<String> = self.runs()?.into_iter().map(|run| run.id).collect();
        if wanted == "last" {
            ids.truncate(1);
        } else {
            ids.retain(|id| !wanted.is_empty() && id.starts_with(&wanted));
        }
        match ids.len() {
            0 => Err(JournalError::UnknownRun { id: prefix.to_owned() }),
            1 => Ok(ids.remove(0)),
            _ => Err(JournalError::Ambiguous { id: prefix.to_owned(), among: ids }),
        }
    }

    /// Removes a run and everything recorded of it.
    ///
    /// # Errors
    /// When there is no such run, it goes on, or it cannot be written.
    pub fn delete(&self, run: &str) -> Result<(), JournalError> {
        if let Some(holder) = self.holder(run) {
            return Err(JournalError::GoesOn { id: run.to_owned(), holder });
        }
        match self.with(|db| db.execute("DELETE FROM runs WHERE id = ?1", [run]))? {
            0 => Err(JournalError::UnknownRun { id: run.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Removes the runs that began longer ago than `age`, but for those that go on.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prune(&self, age: Duration) -> Result<Pruned, JournalError> {
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before_ms = unix_ms().saturating_sub(age_ms);
        let mut old: Vec<RunRow> =
            self.runs()?.into_iter().filter(|run| run.created_ms < before_ms).collect();
        let all = old.len();
        old.retain(|run| self.holder(&run.id).is_none());
        self.with(|db| {
            let transaction = db.transaction()?;
            for run in &old {
                transaction.execute("DELETE FROM runs WHERE id = ?1", [&run.id])?;
            }
            transaction.commit()
        })?;
        Ok(Pruned { forgotten: old.len(), going: all - old.len() })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        work(&mut self.lock()).map_err(|e| explain(&self.path, &e))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held left at most an open transaction, which SQLite rolls back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the file with mode 0600 before SQLite would make it with the umask's; SQLite gives its side files the same.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// SQLite answers "busy" at once, whatever the timeout, when several processes switch a new file at the same moment.
fn switch_to_wal(db: &Connection) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(5);
    let started = Instant::now();
    loop {
        match db.pragma_update(None, "journal_mode", "wal") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                if started.elapsed() > BUSY_TIMEOUT {
                    return Err(error);
                }
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

fn explain(path: &Path, error: &rusqlite::Error) -> JournalError {
    let path = path.to_owned();
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::DiskFull { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => JournalError::Busy { path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => JournalError::Corrupt { path, why },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            JournalError::Open { path, why }
        }
        _ => JournalError::Other { path, why },
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Eight characters of Crockford's base 32 for the milliseconds since 2020 (they last until 2054), two of salt.
fn run_id(created_ms: u64, salt: u64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const Y2020_MS: u64 = 1_577_836_800_000;
    let number = (created_ms.saturating_sub(Y2020_MS) << 10) | (salt & 0x3ff);
    (0..10).rev().map(|digit| char::from(ALPHABET[(number >> (5 * digit)) as usize & 31])).collect()
}

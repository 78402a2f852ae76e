//! The append-only record of runs, in SQLite. An event is a type, a time and a JSON body; what a planner, a worker or a
//! strategy is, is not known here. Whether a process still runs it is said by a locked file
//! (`hold.rs`). The record also keeps the responses and conversations that clients refer back to
//! (`conversations.rs`). Code that must not wait for a disk uses a [`AsyncJournal`].

#![warn(unreachable_pub)]

mod async_journal;
mod conversations;
mod erase;
mod error;
mod fork;
mod hold;
mod in_progress;
mod index;
mod list;
mod packed;
mod read;
mod remove;
mod schema;
#[cfg(test)]
mod tests;
mod unwritten;
mod viewer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde_json::{Value, json};

pub use async_journal::{AsyncJournal, Recording};
pub use conversations::{History, StoredConversation, StoredItem, StoredResponse};
pub use error::JournalError;
pub use hold::{Holder, OpenRun};
pub use list::{Listed, TaskCount};
pub use read::Sources;
pub use remove::Pruned;
pub use viewer::Viewer;

use error::explain;
use index::{Index, Indexes};
use read::Reader;
use unwritten::{Due, Line, NewRun, Unwritten};

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// 1, 2, 3 … within its run.
    pub seq: u64,
    /// Milliseconds since the run began.
    pub ms: u64,
    /// Type of the event, such as `task.started`.
    pub kind: String,
    /// The event's other fields, as an object.
    pub body: Value,
}

/// A row in the list of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub id: String,
    /// When the run began, in milliseconds since 1970.
    pub created_ms: u64,
}

/// The type of an event that was recorded and can't be read any more.
pub const DAMAGED: &str = "record.damaged";

/// What is recorded of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRun {
    pub row: RunRow,
    /// Whether no process runs it any more.
    pub left: bool,
    /// In order. In place of one that can't be read stands a [`DAMAGED`] event, which says so.
    pub events: Vec<Event>,
}

/// The record of runs, as one viewer sees it. Every call waits for the disk and for other processes, so use a [`AsyncJournal`]
/// on threads that must not wait. Several processes may have the same file open.
pub struct Journal {
    file: Arc<OpenFile>,
    viewer: Viewer,
}

struct OpenFile {
    path: PathBuf,
    /// The record ends with the process, so no run in it is ever left unfinished by another one.
    in_memory: bool,
    connection: Mutex<Connection>,
    /// What an [`AsyncJournal`] has accepted and not written yet.
    unwritten: Arc<Unwritten>,
    /// What the runs say that are being written.
    indexes: Indexes,
    eraser: erase::Eraser,
}

impl Journal {
    /// Opens the file. Creates it (mode 0600) and its folder if they are missing.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, is another program's, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self::new(path.to_owned(), false, schema::open(path)?))
    }

    /// A record that ends with the process.
    ///
    /// # Errors
    /// When SQLite cannot start.
    pub fn in_memory() -> Result<Self, JournalError> {
        let path = PathBuf::from(":memory:");
        let connection = schema::in_memory(&path)?;
        Ok(Self::new(path, true, connection))
    }

    fn new(path: PathBuf, in_memory: bool, connection: Connection) -> Self {
        let (connection, unwritten) = (Mutex::new(connection), Arc::default());
        let eraser = erase::Eraser::default();
        let file = OpenFile { path, in_memory, connection, unwritten, indexes: Indexes::default(), eraser };
        let journal = Self { file: Arc::new(file), viewer: Viewer::everybody() };
        if !in_memory {
            journal.look_for_removed();
        }
        journal
    }

    /// The same file, with what an [`AsyncJournal`] has accepted.
    fn accepting_from(self, unwritten: &Arc<Unwritten>) -> Self {
        let Self { file, viewer } = self;
        let file = Arc::into_inner(file).map(|file| OpenFile { unwritten: Arc::clone(unwritten), ..file });
        Self { file: Arc::new(file.expect("it was just opened")), viewer }
    }

    /// The same record as another viewer sees it.
    #[must_use]
    pub fn seen_by(&self, viewer: &Viewer) -> Self {
        Self { file: Arc::clone(&self.file), viewer: viewer.clone() }
    }

    fn path(&self) -> &Path {
        &self.file.path
    }

    /// Sets how long later calls wait for a locked file.
    fn wait_at_most(&self, time_max: Duration) {
        // This can't fail on an open connection.
        let _ = self.lock().busy_timeout(time_max);
    }

    /// Adds a new run, which is in progress until the returned [`OpenRun`] is dropped. Ids sort by the millisecond in
    /// which they were made.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn create_run(&self) -> Result<OpenRun, JournalError> {
        let created_ms = unix_ms();
        let id = new_run_id(created_ms);
        let owner = self.viewer.name().map(str::to_owned);
        // Locked before others can see it, so that nobody takes it for an interrupted run.
        let hold = if self.file.in_memory { None } else { self.hold(&id)? };
        let new = NewRun { id: id.clone(), created_ms, owner, inputs: Arc::default() };
        self.write(|db| enter(db, &new))?;
        Ok(OpenRun { id, _hold: hold })
    }

    /// Stores an input's text with its run.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn keep_input(&self, run: &str, position: usize, name: &str, text: &str) -> Result<(), JournalError> {
        self.write(|db| add_input(db, run, position, name, text))
    }

    /// The error for an event that can't be read, or whose content makes no sense.
    #[must_use]
    pub fn damaged_event(&self, run: &str, seq: u64, why: &str) -> JournalError {
        self.damaged(format!("event {seq} of run {run}"), why, forgets(run))
    }

    fn damaged(&self, what: String, why: &str, now: String) -> JournalError {
        JournalError::Damaged { path: self.path().to_owned(), what, why: why.to_owned(), now }
    }

    /// Appends an event `ms` milliseconds into the run and returns its number.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn append(&self, run: &str, kind: &str, ms: u64, body: &Value) -> Result<u64, JournalError> {
        let index = self.file.indexes.take(run);
        let index = self.write(|db| {
            let index = up_to_date(db, run, index)?;
            let seq = index.last_seq + 1;
            let line = Line { seq, ms, kind: kind.to_owned(), body: body.to_string().into() };
            add_events(db, run, &[line], Some(index))
        })?;
        let seq = index.last_seq;
        self.file.indexes.put(run, index);
        Ok(seq)
    }

    /// All runs, latest first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn runs(&self) -> Result<Vec<RunRow>, JournalError> {
        // Read before the file: see `events`.
        let new = self.file.unwritten.new_runs(&self.viewer);
        let rows: Vec<RunRow> = self.with(|db| {
            let mut query = db.prepare_cached(
                "SELECT id, created_ms FROM runs WHERE ?1 IS NULL OR owner = ?1 ORDER BY position DESC, id DESC",
            )?;
            query
                .query_map([self.viewer.only()], |row| Ok(RunRow { id: row.get(0)?, created_ms: number(row, 1) }))?
                .collect()
        })?;
        let new = new.into_iter().filter(|new| rows.iter().all(|row| row.id != new.id));
        let new: Vec<RunRow> = new.map(|NewRun { id, created_ms, .. }| RunRow { id, created_ms }).collect();
        Ok([new, rows].concat())
    }

    /// When a run began; `None` if the viewer sees no such run.
    fn created_ms(&self, run: &str) -> Result<Option<u64>, JournalError> {
        if let Some(new) = self.file.unwritten.new_run(run, &self.viewer) {
            return Ok(Some(new.created_ms));
        }
        let query = "SELECT created_ms FROM runs WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)";
        self.with(|db| {
            db.query_row(query, params![run, self.viewer.only()], |row| Ok(number(row, 0))).optional()
        })
    }

    /// The full id of the only run whose id begins with `prefix`. Case does not matter; `last` is the latest run.
    ///
    /// # Errors
    /// When there is no such run or more than one.
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

    /// Writes what an [`AsyncJournal`] has accepted, run by run.
    ///
    /// # Errors
    /// When something can't be written now. What can never be written is dropped, and its run gets a warning.
    fn write_due(&self) -> Result<(), JournalError> {
        let unwritten = &self.file.unwritten;
        for run in unwritten.due() {
            match self.write_run(&run) {
                Ok(()) => {}
                Err(error) if error.may_pass() => {
                    let why = error.to_string();
                    unwritten.due().iter().for_each(|run| unwritten.troubled(run, &why));
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(run, "a run is no longer recorded: {error}");
                    unwritten.give_up(&run, &error.to_string());
                }
            }
        }
        Ok(())
    }

    fn write_run(&self, run: &str) -> Result<(), JournalError> {
        let unwritten = &self.file.unwritten;
        let Some(Due { new, lines }) = unwritten.take(run) else { return Ok(()) };
        if new.is_some() && !self.file.in_memory && !unwritten.is_held(run) {
            // Locked before others can see it, so that nobody takes it for an interrupted run.
            if let Some(hold) = self.hold(run)? {
                unwritten.hold(run, hold);
            }
        }
        if new.is_some() || !lines.is_empty() {
            let index = self.file.indexes.take(run);
            let index = self.write(|db| {
                if let Some(new) = &new {
                    enter(db, new)?;
                }
                add_events(db, run, &lines, index)
            })?;
            self.file.indexes.put(run, index);
        }
        if unwritten.written(run, lines.len()) {
            self.file.indexes.take(run);
        }
        Ok(())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        work(&mut self.lock()).map_err(|e| explain(self.path(), &e))
    }

    /// Does `work` in one transaction.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        self.with(|db| {
            // Immediate: if another process wrote between the first read and the first write, the write would fail.
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held left at most an open transaction, which SQLite rolls back.
        self.file.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn enter(db: &Transaction<'_>, new: &NewRun) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO runs (id, created_ms, owner, position)
         SELECT ?1, ?2, ?3, coalesce(max(position), 0) + 1 FROM runs",
        params![new.id, new.created_ms as i64, new.owner],
    )?;
    let inputs = new.inputs.iter().enumerate();
    inputs.into_iter().try_for_each(|(at, (name, text))| add_input(db, &new.id, at, name, text))
}

fn add_input(
    db: &Transaction<'_>,
    run: &str,
    position: usize,
    name: &str,
    text: &str,
) -> rusqlite::Result<()> {
    let mut add = db.prepare_cached("INSERT INTO inputs VALUES (?1, ?2, ?3, ?4)")?;
    add.execute(params![run, position as i64, name, text]).map(drop)
}

/// Adds the events that come next, packed by what the run says already.
fn add_events(
    db: &Transaction<'_>,
    run: &str,
    lines: &[Line],
    index: Option<Index>,
) -> rusqlite::Result<Index> {
    let mut add = db.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut index = up_to_date(db, run, index)?;
    for Line { seq, ms, kind, body } in lines {
        let packed = index.pack(*seq, body);
        let body = packed.as_ref().map_or(ValueRef::Text(body.as_bytes()), |packed| ValueRef::Blob(packed));
        add.execute(params![run, *seq as i64, *ms as i64, kind, ToSqlOutput::Borrowed(body)])?;
    }
    Ok(index)
}

/// The index of a run's texts. It is made anew if there is none, or another process has added events.
fn up_to_date(db: &Transaction<'_>, run: &str, index: Option<Index>) -> rusqlite::Result<Index> {
    // Without owner: whoever writes a run may see it.
    let Some(reader) = Reader::new(db, run, None)? else { return Ok(Index::default()) };
    let last_seq = reader.last_seq()?;
    match index {
        Some(index) if index.last_seq == last_seq => Ok(index),
        Some(mut index) if index.is_left_out() => {
            index.last_seq = last_seq;
            Ok(index)
        }
        _ => {
            let mut index = Index::default();
            index.last_seq = last_seq;
            reader.each_source(|source, text| index.add(source, text))?;
            Ok(index)
        }
    }
}

impl Event {
    fn read(seq: u64, ms: u64, kind: String, body: &str) -> Self {
        match object(body) {
            Ok(body) => Self { seq, ms, kind, body },
            Err(why) => Self::damaged(seq, ms, &kind, &why),
        }
    }

    fn damaged(seq: u64, ms: u64, kind: &str, why: &str) -> Self {
        Self { seq, ms, kind: DAMAGED.to_owned(), body: json!({"event": kind, "why": why}) }
    }
}

/// The JSON object in a text, or why there is none.
fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("it is not an object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The JSON object in a column, or why there is none.
fn object_in(row: &rusqlite::Row<'_>, column: usize) -> Result<Value, String> {
    let text: String = row.get(column).map_err(|error| error.to_string())?;
    object(&text)
}

/// What to do about a run that can't be read.
fn forgets(run: &str) -> String {
    format!("`bandmaster runs rm {run}` removes the run")
}

/// A number that is not negative; 0 if the column holds anything else.
fn number(row: &rusqlite::Row<'_>, column: usize) -> u64 {
    row.get::<_, i64>(column).ok().and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn new_run_id(created_ms: u64) -> String {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hashers unpredictably.
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u64(created_ms);
    run_id(created_ms, hasher.finish())
}

/// Eight characters of Crockford's base 32 for the milliseconds since 2020, which sort correctly until 2054, and six of
/// salt. Nobody can guess an id, and ids stay unique even if the clock is set back.
fn run_id(created_ms: u64, salt: u64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    const Y2020_MS: u64 = 1_577_836_800_000;
    let time = u128::from(created_ms.saturating_sub(Y2020_MS));
    let number = (time << 30) | u128::from(salt & 0x3fff_ffff);
    (0..14).rev().map(|digit| char::from(ALPHABET[(number >> (5 * digit)) as usize & 31])).collect()
}

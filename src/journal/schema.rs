//! The record's file: recognising it, its tables, and the migration of files of older versions.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::conversations::SCHEMA_2;
use super::error::{JournalError, explain};

/// Version of the tables; a file with a higher one was written by a newer program and is left alone.
pub(super) const SCHEMA_VERSION: i64 = 6;

/// Marks the file as ours from version 3 on: "band" in ASCII.
const APPLICATION_ID: i64 = 0x6261_6e64;

/// Tables of version 1.
const SCHEMA_1: &str = "
    CREATE TABLE runs (id TEXT PRIMARY KEY, created_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE inputs (run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, position INTEGER NOT NULL,
                         name TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, position)) WITHOUT ROWID;
    CREATE TABLE events (run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, seq INTEGER NOT NULL,
                         ms INTEGER NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL,
                         PRIMARY KEY (run, seq)) WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// Version 3 adds the owner of a row, and the order in which runs began, whatever the clock said.
const SCHEMA_3: &str = "
    ALTER TABLE runs ADD COLUMN owner TEXT;
    ALTER TABLE runs ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
    UPDATE runs SET position = ranked.place
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM runs) AS ranked WHERE ranked.id = runs.id;
    CREATE INDEX runs_by_position ON runs (position);
    ALTER TABLE responses ADD COLUMN owner TEXT;
    ALTER TABLE conversations ADD COLUMN owner TEXT;
    PRAGMA application_id = 0x62616e64;
    PRAGMA user_version = 3;";

/// Version 4 adds how many times rows were removed, and how many of these removals a sweep has cleared from the file. A
/// file of an older version is swept once.
const SCHEMA_4: &str = "
    CREATE TABLE erasing (removed INTEGER NOT NULL, cleared INTEGER NOT NULL);
    INSERT INTO erasing VALUES (1, 0);
    PRAGMA user_version = 4;";

/// Version 5 adds runs that begin with the events of another run, up to one of them.
const SCHEMA_5: &str = "
    ALTER TABLE runs ADD COLUMN parent TEXT REFERENCES runs(id);
    ALTER TABLE runs ADD COLUMN parent_seq INTEGER;
    CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL;
    PRAGMA user_version = 5;";

/// Version 6 packs the bodies of events (`packed.rs`). Those that are there stay as they are. The index finds the events
/// that a list of runs reads.
const SCHEMA_6: &str = "
    CREATE INDEX events_of_turns ON events (run, type) WHERE type IN
        ('run.started', 'strategy.chosen', 'run.forked', 'run.resumed', 'run.finished');
    PRAGMA user_version = 6;";

/// One step for each version, in order. A released step is never changed, because files of that version exist.
pub(super) const STEPS: [&str; SCHEMA_VERSION as usize] =
    [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5, SCHEMA_6];

/// Two processes with the same home wait for each other's writes at most this long. A write takes
/// well under a millisecond.
pub(super) const BUSY_TIME_MAX: Duration = Duration::from_secs(10);

/// A file of an older version is rewritten if it has at most this size, which takes about a tenth of a second.
const SHRINKABLE_BYTES_MAX: u64 = 32 << 20;

/// Opens the file. Creates it (mode 0600), its folder and its tables if they are missing.
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let fail = |why: String| JournalError::Open { path: path.to_owned(), why };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
    }
    // Opening a pipe would wait for its other end.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(fail("it is not a file: move it away".to_owned()));
    }
    make_private(path).map_err(|e| fail(e.to_string()))?;
    let mut connection = Connection::open(path).map_err(|e| explain(path, &e))?;
    if connection.is_readonly("main").map_err(|e| explain(path, &e))? {
        return Err(fail("it is read-only".to_owned()));
    }
    prepare(&mut connection, path)?;
    Ok(connection)
}

/// A record that ends with the process.
pub(super) fn in_memory(path: &Path) -> Result<Connection, JournalError> {
    let mut connection = Connection::open_in_memory().map_err(|e| explain(path, &e))?;
    prepare(&mut connection, path)?;
    Ok(connection)
}

fn prepare(db: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let wrong = |e: rusqlite::Error| explain(path, &e);
    db.busy_timeout(BUSY_TIME_MAX).map_err(wrong)?;
    // Checked before anything is written: another program's file stays as it is.
    let version = recognise(db, path)?;
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    if version < SCHEMA_VERSION && bytes <= SHRINKABLE_BYTES_MAX {
        make_shrinkable(db, version > 0);
    }
    switch_to_wal(db).map_err(wrong)?;
    settings(db).map_err(wrong)?;
    // A file that has all tables is not locked here, so it can be opened while another process writes.
    if version < SCHEMA_VERSION {
        migrate(db).map_err(wrong)?;
    }
    Ok(())
}

/// Lets free pages be returned to the disk a few at a time. This must be set before there are tables, or the file must
/// be rewritten. If another process uses the file, it stays as it is, and its free pages are only reused.
fn make_shrinkable(db: &Connection, has_tables: bool) {
    let anew = if has_tables { "VACUUM" } else { "" };
    let _ = db.execute_batch(&format!("PRAGMA auto_vacuum = incremental; {anew}"));
}

fn settings(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "synchronous", "normal")?;
    db.pragma_update(None, "secure_delete", true)?;
    db.pragma_update(None, "foreign_keys", true)
}

/// The version of the file's tables, 0 for an empty file.
fn recognise(db: &mut Connection, path: &Path) -> Result<i64, JournalError> {
    // One transaction: another process may be creating the tables.
    let transaction = db.transaction().map_err(|e| explain(path, &e))?;
    let number = |query: &str| -> Result<i64, JournalError> {
        transaction.query_row(query, [], |row| row.get(0)).map_err(|e| explain(path, &e))
    };
    let version = number("PRAGMA user_version")?;
    let marked = number("PRAGMA application_id")?;
    let tables = number("SELECT count(*) FROM sqlite_master")?;
    let ours = number(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('runs', 'inputs', 'events')",
    )?;
    let known = match version {
        0 => tables == 0 && marked == 0,
        ..0 => false,
        1.. => ours == 3 && (marked == 0 || marked == APPLICATION_ID),
    };
    if !known {
        return Err(JournalError::Foreign { path: path.to_owned() });
    }
    if version > SCHEMA_VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), found: version, known: SCHEMA_VERSION });
    }
    Ok(version)
}

fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    // Immediate: of two processes that open a new file, only one creates the tables.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.execute_batch(step)?;
    }
    transaction.commit()
}

/// Creates the file with mode 0600, before SQLite would create it with the umask's mode. SQLite gives its side files
/// the same mode. An existing file is not opened: closing it would release the locks that other connections of this
/// process have on it, and another process could remove SQLite's log while they use it.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Tries repeatedly, because SQLite reports "busy" at once, whatever the timeout, when several processes switch a new
/// file at the same moment.
fn switch_to_wal(db: &Connection) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(5);
    let started = Instant::now();
    loop {
        match db.pragma_update(None, "journal_mode", "wal") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                if started.elapsed() > BUSY_TIME_MAX {
                    return Err(error);
                }
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

//! Which process runs a run: a file beside the record is locked as long as the run is in progress. The system releases
//! the lock when the process ends, however it ends, so a run whose lock is free is not in progress any more. What is
//! recorded is not known here.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A run in progress, until this is dropped or its process ends.
#[derive(Debug)]
pub struct OpenRun {
    pub id: String,
    /// `None` if the record is in memory.
    pub(super) _hold: Option<Hold>,
}

/// The process that runs a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if that could be read.
    pub pid: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// A locked file. Dropping it removes the file and releases the lock, in this order.
#[derive(Debug)]
pub(super) struct Hold {
    path: PathBuf,
    _file: File,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A file that stays means nothing without its lock.
        let _ = fs::remove_file(&self.path);
    }
}

/// How often a lock is tried again. Another process that only looks locks the file for a moment.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(2);
/// How often a file is looked at before it counts as locked.
const LOOKS: u32 = 3;
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Locks `path`, mode 0600; `None` if it is locked already. On a file system without locks the file
/// alone stands for one.
pub(super) fn take(path: &Path) -> io::Result<Option<Hold>> {
    for _ in 0..TRIES {
        if let Some(hold) = try_take(path)? {
            return Ok(Some(hold));
        }
        std::thread::sleep(TRY_PAUSE);
    }
    Ok(None)
}

fn try_take(path: &Path) -> io::Result<Option<Hold>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Does not follow a symbolic link, because the file is emptied below.
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    let mut file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if !is_at(&file, path) {
        return Ok(None);
    }
    file.set_len(0)?;
    // The number is for people: only the lock says whether the process lives.
    write!(file, "{}", std::process::id())?;
    Ok(Some(Hold { path: path.to_owned(), _file: file }))
}

/// Whether the file is still the one at `path`. One that another process removed in the meantime would lock nothing.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let here = file.metadata().map(|meta| (meta.dev(), meta.ino()));
        let there = fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
        matches!((here, there), (Ok(here), Ok(there)) if here == there)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// The process that has locked `path`. The file of a killed process is removed.
pub(super) fn holder(path: &Path) -> Option<Holder> {
    let unknown = Some(Holder { pid: None });
    for _ in 0..LOOKS {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(_) => return unknown,
        };
        if file.try_lock().is_ok() {
            // Whoever removes a file has its lock, so this one stays where it is until it is removed here.
            if is_at(&file, path) {
                let _ = fs::remove_file(path);
                return None;
            }
            // Another file may be there by now.
            continue;
        }
        // Another process may only be looking.
        std::thread::sleep(LOOK_PAUSE);
    }
    // If the lock keeps readers out as well, the process id stays unknown.
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        text => Some(Holder { pid: text.unwrap_or_default().parse().ok() }),
    }
}

//! The file of the private Unix socket: its permissions, detecting a stale one, and its removal.
//!
//! What is sent over it is not known here.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::ServeError;

/// The file behind a listener. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Held as long as the server lives, so that of two that start at once only one succeeds. The kernel releases it
    /// when the process is killed.
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it is gone already, that is what we want.
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens on `path`, mode 0600; a missing folder is created with mode 0700. Must be called within a tokio runtime.
///
/// # Errors
/// [`ServeError::AlreadyServing`] when a running server has it; others name the path and what to do.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
    let at = |error: io::Error| ServeError::Socket { path: path.to_owned(), problem: error.to_string() };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at)?;
    }
    let lock = path.with_extension("lock");
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock).map_err(at)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(ServeError::AlreadyServing { path: path.to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(at(error)),
    }
    clear_the_way(path)?;
    let listener = UnixListener::bind(path).map_err(|error| match error.kind() {
        // The path is longer than a socket address can hold.
        io::ErrorKind::InvalidInput => ServeError::SocketPathTooLong { path: path.to_owned() },
        _ => at(error),
    })?;
    let file = SocketFile { path: path.to_owned(), _lock: lock };
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(at)?;
    Ok((listener, file))
}

/// Removes the socket of a server that was killed. A file that is not a socket belongs to someone else and stays.
fn clear_the_way(path: &Path) -> Result<(), ServeError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let in_the_way = || ServeError::InTheWay { path: path.to_owned() };
    if !metadata.file_type().is_socket() {
        return Err(in_the_way());
    }
    if UnixStream::connect(path).is_ok() {
        return Err(ServeError::AlreadyServing { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|_| in_the_way())
}

//! Opens and creates the program's own files and folders. They are never written through a link, a pipe or a hard link
//! to somebody else's file that is in the way.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens one of our files for reading and writing, keeping its content. Anything else in its place (a link, a pipe, a
/// hard link to another file) is removed first, and the file starts empty.
pub(super) fn open_own(path: &Path) -> io::Result<File> {
    clear_foreign(path)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    no_links(&mut options);
    options.open(path)
}

/// Creates one of our files anew; whatever is in its place is removed, not written to.
pub(super) fn create_own(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    File::create_new(path)
}

/// Content of one of our files; `None` if it is not a regular file: reading a pipe would wait for a writer.
pub(super) fn read_own(path: &Path) -> Option<Vec<u8>> {
    fs::metadata(path).ok()?.is_file().then(|| fs::read(path).ok())?
}

/// Creates one of our files anew with these bytes.
pub(super) fn write_own(path: &Path, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut create_own(path)?, bytes)
}

/// Creates `dir` unless it is a folder already; a link in its place is removed. Its parent must exist.
pub(super) fn create_own_folder(dir: &Path) -> io::Result<()> {
    match fs::symlink_metadata(dir) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(meta) if meta.is_symlink() => fs::remove_file(dir)?,
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(_) => {}
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        // Another process created it first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_link(dir) => Ok(()),
        made => made,
    }
}

/// Whether `path` is a symbolic link, wherever it leads.
pub(super) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Removes what is at `path` unless it is a regular file without other hard links.
fn clear_foreign(path: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if meta.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    #[cfg(unix)]
    let alone = std::os::unix::fs::MetadataExt::nlink(&meta) == 1;
    #[cfg(not(unix))]
    let alone = true;
    if meta.is_file() && alone { Ok(()) } else { fs::remove_file(path) }
}

/// Makes opening fail if a link was put in place after the check.
fn no_links(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    #[cfg(not(unix))]
    let _ = options;
}

//! Nothing from outside lands outside. Names that a hub, an archive, a manifest or a file's own name bring are one plain
//! component of a path or they are refused; and a file of ours is made anew, never by writing through a link, a pipe or
//! a second name of somebody else's file that lies in its way.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::error::HubError;

/// The name of the file that tells of a model, beside its own files.
pub(super) const MANIFEST: &str = "manifest.json";

/// Bytes of a file's name: file systems allow 255, and `.resume.json` and the like come behind it.
const NAME_BYTES_MAX: usize = 200;
/// Names that are devices on Windows, whatever their ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];
/// What Windows or a shell understands as something else than a letter of a name.
const SPECIAL: &[char] = &['/', '\\', ':', '*', '?', '"', '<', '>', '|'];

/// The name of a file in a folder of ours: one plain component of a path on every system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName(String);

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn new(name: &str) -> Result<Self, &'static str> {
        let stem = name.split('.').next().unwrap_or_default().trim_end().to_lowercase();
        let numbered = |device: &&str| {
            let rest = stem.strip_prefix(*device);
            rest.is_some_and(|rest| {
                rest.chars().count() == 1 && rest.chars().all(|c| "0123456789¹²³".contains(c))
            })
        };
        match () {
            () if name.is_empty() => Err("a part of it is empty"),
            () if matches!(name, "." | "..") => Err("it leads to another folder"),
            () if name.eq_ignore_ascii_case(MANIFEST) => Err("it is the name of a file of ours"),
            () if name.starts_with('.') => Err("it begins with a dot"),
            () if name.ends_with(['.', ' ']) || name.starts_with(' ') => {
                Err("it begins with a space, or ends with a space or a dot")
            }
            () if name.contains(SPECIAL) => Err("it holds one of / \\ : * ? \" < > |"),
            () if name.chars().any(is_invisible) => Err("it holds characters that can't be seen"),
            () if name.len() > NAME_BYTES_MAX => Err("it is longer than 200 bytes"),
            () if DEVICES.contains(&stem.as_str()) || NUMBERED_DEVICES.iter().any(numbered) => {
                Err("it is the name of a device on Windows")
            }
            () => Ok(Self(name.to_owned())),
        }
    }

    /// The name under which a file of somebody else's repository is kept: the last part of its path there. Every part must
    /// be a plain name, so that the path means the same to whoever serves it.
    ///
    /// # Errors
    /// [`HubError::UnsafeName`] says what is wrong with it; `source` is who names the file.
    pub(super) fn of_remote(source: &str, path: &str) -> Result<Self, HubError> {
        let refused =
            |problem| HubError::UnsafeName { source_name: source.to_owned(), name: printable(path), problem };
        let mut last = Err("it is empty");
        for part in path.split('/') {
            last = Ok(Self::new(part).map_err(refused)?);
        }
        last.map_err(refused)
    }

    /// The name under which a person's own file is kept: its own if that will do, else `otherwise`.
    pub(super) fn of_own(path: &Path, otherwise: &str) -> Self {
        let own = path.file_name().and_then(|name| name.to_str());
        let own = own.and_then(|name| Self::new(name).ok());
        own.unwrap_or_else(|| Self::new(otherwise).expect("a plain name of ours"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of this file in `folder`.
    pub(super) fn within(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }

    /// The path of a file beside it, with an ending of ours.
    pub(super) fn beside(&self, folder: &Path, ending: &str) -> PathBuf {
        folder.join(format!("{}{ending}", self.0))
    }
}

/// Whether a path that a manifest names stays inside its folder: plain names only, however many.
pub(super) fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| FileName::new(part).is_ok())
}

/// Control characters, and those that turn the direction of text or have no width: a name with them isn't what it looks like.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A foreign name as a message may show it: short, and without what a terminal would obey.
pub(super) fn printable(name: &str) -> String {
    const SHOWN_MAX: usize = 120;
    let mut shown = String::new();
    for c in name.chars() {
        if shown.chars().count() >= SHOWN_MAX {
            return shown + "…";
        }
        match is_invisible(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// Opens a file of ours for reading and writing, keeping what is in it. What isn't a file of ours alone (a link, a pipe,
/// a second name of another file) is taken out of the way first, and the file begins empty.
pub(super) fn open_ours(path: &Path) -> io::Result<File> {
    clear_foreign(path)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    no_links(&mut options);
    options.open(path)
}

/// Makes a file of ours anew; whatever lies in its way is taken away, not written to.
pub(super) fn create_ours(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    File::create_new(path)
}

/// What a file of ours holds; `None` for anything but a regular file, as a pipe, which would wait for a writer.
pub(super) fn read_ours(path: &Path) -> Option<Vec<u8>> {
    fs::metadata(path).ok()?.is_file().then(|| fs::read(path).ok())?
}

/// A file of ours with these bytes, made anew.
pub(super) fn write_ours(path: &Path, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut create_ours(path)?, bytes)
}

/// Makes sure that `dir` is a folder and not a link to one; what is above it must be there.
pub(super) fn create_folder_ours(dir: &Path) -> io::Result<()> {
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
        // Another process was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_link(dir) => Ok(()),
        made => made,
    }
}

/// Whether `path` is a link, wherever it leads.
pub(super) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Removes what lies at `path` unless it is a regular file with no other name.
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

/// Lets opening fail where a link has come in the way since it was looked for.
fn no_links(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    #[cfg(not(unix))]
    let _ = options;
}

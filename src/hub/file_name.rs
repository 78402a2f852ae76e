//! Keeps names from outside within the models folder. A name from a hub, an archive, a manifest or a user's file
//! becomes part of a path only here: each component must be plain, or the name is refused.

use std::path::{Path, PathBuf};

use super::error::HubError;

/// Name of the file that describes a model, stored beside its files.
pub(super) const MANIFEST: &str = "manifest.json";

/// Longest file name in bytes: file systems allow 255, and endings such as `.resume.json` are appended.
const NAME_BYTES_MAX: usize = 200;
/// Device names on Windows, whatever the file ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];
/// Characters that Windows or a shell treats specially.
const SPECIAL: &[char] = &['/', '\\', ':', '*', '?', '"', '<', '>', '|'];

/// A file name that is a single plain path component on every system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName(String);

impl FileName {
    /// Checks that a name is one plain component.
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
            () if name.eq_ignore_ascii_case(MANIFEST) => Err("bandmaster uses a file of this name"),
            () if name.starts_with('.') => Err("it begins with a dot"),
            () if name.ends_with(['.', ' ']) || name.starts_with(' ') => {
                Err("it begins with a space, or ends with a space or a dot")
            }
            () if name.contains(SPECIAL) => Err("it contains one of / \\ : * ? \" < > |"),
            () if name.chars().any(is_invisible) => Err("it contains invisible characters"),
            () if name.len() > NAME_BYTES_MAX => Err("it is longer than 200 bytes"),
            () if DEVICES.contains(&stem.as_str()) || NUMBERED_DEVICES.iter().any(numbered) => {
                Err("it is the name of a device on Windows")
            }
            () => Ok(Self(name.to_owned())),
        }
    }

    /// The local name of a file in a remote repository: the last part of its path there. Every part must be a plain
    /// name, so that the path means the same to whoever serves it.
    ///
    /// # Errors
    /// [`HubError::UnsafeName`] says what is wrong; `source` is the repository or package.
    pub(super) fn of_remote(source: &str, path: &str) -> Result<Self, HubError> {
        let refused =
            |problem| HubError::UnsafeName { source_name: source.to_owned(), name: printable(path), problem };
        let mut last = Err("it is empty");
        for part in path.split('/') {
            last = Ok(Self::new(part).map_err(refused)?);
        }
        last.map_err(refused)
    }

    /// The local name of a user's own file: its name if that is allowed, else `otherwise`.
    pub(super) fn of_own(path: &Path, otherwise: &str) -> Self {
        let own = path.file_name().and_then(|name| name.to_str());
        let own = own.and_then(|name| Self::new(name).ok());
        own.unwrap_or_else(|| Self::new(otherwise).expect("a plain name of ours"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of this file or folder in `folder`.
    pub(super) fn within(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }

    /// The path of a file beside it, with an additional ending.
    pub(super) fn beside(&self, folder: &Path, ending: &str) -> PathBuf {
        folder.join(format!("{}{ending}", self.0))
    }
}

/// Whether a relative path from outside consists of plain names only, so that it stays inside its folder.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.split('/').all(|part| FileName::new(part).is_ok())
}

/// Appends a relative path from outside to `folder`; `None` unless it consists of plain names.
pub(super) fn join_plain(folder: &Path, path: &str) -> Option<PathBuf> {
    path.split('/')
        .try_fold(folder.to_owned(), |folder, part| Some(FileName::new(part).ok()?.within(&folder)))
}

/// Control characters, and characters that change text direction or have no width: a name with them
/// isn't what it looks like.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A foreign name made safe for messages: shortened, and with special characters escaped.
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

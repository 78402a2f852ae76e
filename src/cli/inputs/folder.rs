//! Lists a folder. Links are followed, and each file and folder is listed once; what can't be read is listed with the
//! reason.

use std::collections::HashSet;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::cannot_open;

/// A folder with more entries, including those behind its links, is refused: a link may lead to a whole disk.
const ENTRIES_MAX: usize = 50_000;

/// What a folder holds, each list sorted by path.
#[derive(Debug, Default)]
pub struct Listing {
    pub files: Vec<PathBuf>,
    /// What is not read, with the reason.
    pub left_out: Vec<(PathBuf, String)>,
    /// What is read although it lies outside the folder, with the place.
    pub outside: Vec<(PathBuf, String)>,
}

/// Walks a folder recursively. Hidden files and folders are skipped. Links are followed last, so that a file that is
/// also in the folder itself keeps its own name.
///
/// # Errors
/// When the folder itself can't be listed.
pub fn list(folder: &Path) -> io::Result<Listing> {
    list_within(folder, ENTRIES_MAX)
}

fn list_within(folder: &Path, entries_max: usize) -> io::Result<Listing> {
    let root = folder.canonicalize()?;
    let device = device(&fs::metadata(&root)?);
    let mut walk = Walk {
        listing: Listing::default(),
        links: Vec::new(),
        seen: HashSet::from([root.clone()]),
        entries: 0,
        entries_max,
        root,
        device,
    };
    walk.folder(folder)?;
    while !walk.links.is_empty() {
        let mut links = std::mem::take(&mut walk.links);
        links.sort();
        for link in links {
            walk.link(link);
        }
    }
    if walk.entries > entries_max {
        return Err(io::Error::other(format!(
            "it and what its links lead to hold more than {entries_max} entries: name smaller folders"
        )));
    }
    walk.listing.files.sort();
    walk.listing.left_out.sort();
    walk.listing.outside.sort();
    Ok(walk.listing)
}

struct Walk {
    listing: Listing,
    /// Links still to be followed.
    links: Vec<PathBuf>,
    /// Canonical paths of the files and folders listed so far.
    seen: HashSet<PathBuf>,
    entries: usize,
    entries_max: usize,
    /// Canonical path of the folder itself; `device` is its file system.
    root: PathBuf,
    device: u64,
}

/// The id of a file's file system; 0 if the platform has none.
fn device(meta: &Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::dev(meta);
    #[cfg(not(unix))]
    {
        let _ = meta;
        0
    }
}

impl Walk {
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            self.entries += 1;
            if self.entries > self.entries_max {
                return Ok(());
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.leave_out(folder.to_owned(), format!("part of it can't be listed: {error}"));
                    continue;
                }
            };
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => self.links.push(path),
                Ok(kind) => self.add(path, kind),
                Err(error) => self.leave_out(path, cannot_open(&error)),
            }
        }
        Ok(())
    }

    /// Adds a file or a folder, unless it was listed before.
    fn add(&mut self, path: PathBuf, kind: FileType) {
        if path.canonicalize().is_ok_and(|real| !self.seen.insert(real)) {
            return self.leave_out(path, "it is read already, under another name".to_owned());
        }
        if kind.is_dir() {
            self.note_mount(&path);
            if let Err(error) = self.folder(&path) {
                let why = format!("the folder can't be listed: {}", cannot_open(&error));
                self.leave_out(path, why);
            }
        } else if kind.is_file() {
            self.listing.files.push(path);
        } else {
            self.leave_out(path, special_kind(kind).to_owned());
        }
    }

    fn link(&mut self, path: PathBuf) {
        let target = fs::read_link(&path).unwrap_or_default();
        let target = target.display();
        match (fs::metadata(&path), path.canonicalize()) {
            (Ok(_), Ok(real)) if self.seen.contains(&real) => {
                self.leave_out(path, format!("a link to {target}, which is read already"));
            }
            (Ok(meta), real) => {
                let real = real.unwrap_or_default();
                if (meta.is_file() || meta.is_dir()) && !real.starts_with(&self.root) {
                    let place = format!("a link that leads out of the folder, to {}", real.display());
                    self.listing.outside.push((path.clone(), place));
                }
                self.add(path, meta.file_type());
            }
            (Err(error), _) => {
                let why = match error.kind() {
                    io::ErrorKind::NotFound => format!("a link to {target}, which does not exist"),
                    _ => format!("a link to {target}, which can't be followed: {}", cannot_open(&error)),
                };
                self.leave_out(path, why);
            }
        }
    }

    /// Notes a folder that is a mount point of another file system. One reached through a link
    /// is noted as such already.
    fn note_mount(&mut self, folder: &Path) {
        let parent = folder.parent().and_then(|parent| fs::metadata(parent).ok());
        let (Ok(meta), Some(parent)) = (fs::symlink_metadata(folder), parent) else { return };
        if meta.is_dir() && device(&meta) != device(&parent) && device(&meta) != self.device {
            self.listing.outside.push((folder.to_owned(), "on another file system".to_owned()));
        }
    }

    fn leave_out(&mut self, path: PathBuf, why: String) {
        self.listing.left_out.push((path, why));
    }
}

/// Says what it is if it is neither a file nor a folder.
#[cfg(unix)]
fn special_kind(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a named pipe: it is read only if -f names it"
    } else if kind.is_socket() {
        "a socket: it can't be read"
    } else {
        "a device: it is not text"
    }
}

#[cfg(not(unix))]
fn special_kind(_: FileType) -> &'static str {
    "neither a file nor a folder"
}

/// Why a named path can be read neither as a file nor as a pipe.
#[cfg(unix)]
pub fn unreadable_kind(meta: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = meta.file_type();
    (kind.is_socket() || kind.is_block_device()).then(|| special_kind(kind))
}

#[cfg(not(unix))]
pub fn unreadable_kind(_: &Metadata) -> Option<&'static str> {
    None
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn names(dir: &Path, listing: &Listing) -> (Vec<String>, Vec<String>) {
        let name = |path: &Path| path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
        let left_out = listing.left_out.iter().map(|(path, why)| format!("{}: {why}", name(path)));
        (listing.files.iter().map(|path| name(path)).collect(), left_out.collect())
    }

    #[test]
    fn links_are_followed_once_and_what_is_no_file_is_named() {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("more")).unwrap();
        fs::write(outside.path().join("more/e.md"), "e").unwrap();
        fs::write(outside.path().join("f.md"), "f").unwrap();
        // A cycle of folders, and a link back to the top.
        symlink(outside.path(), outside.path().join("more/up")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("a.md"), "a").unwrap();
        fs::write(at("sub/b.md"), "b").unwrap();
        symlink(outside.path(), at("linked")).unwrap();
        symlink(outside.path(), at("twice")).unwrap();
        symlink(outside.path().join("f.md"), at("f-too.md")).unwrap();
        symlink("a.md", at("again.md")).unwrap();
        symlink("..", at("sub/up")).unwrap();
        symlink("nowhere.md", at("dangling.md")).unwrap();
        symlink("round.md", at("round.md")).unwrap();
        symlink("/dev/null", at("null")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status();
        let listing = list(dir.path()).unwrap();
        let (files, left_out) = names(dir.path(), &listing);
        assert_eq!(files, ["a.md", "f-too.md", "linked/more/e.md", "sub/b.md"]);
        let reasons = left_out.join("\n");
        for part in [
            "again.md: a link to a.md, which is read already",
            "dangling.md: a link to nowhere.md, which does not exist",
            "null: a device",
            "socket: a socket",
            "sub/up: a link to .., which is read already",
            "round.md: a link to round.md, which can't be followed",
        ] {
            assert!(reasons.contains(part), "{part}\n{reasons}");
        }
        let leading_out: Vec<_> = listing.outside.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(leading_out, [at("f-too.md"), at("linked")], "what leads out is said, once");
        assert!(listing.outside[1].1.contains(outside.path().file_name().unwrap().to_str().unwrap()));
        assert!(reasons.contains("linked/f.md: it is read already"), "{reasons}");
        assert!(
            reasons.contains("twice: a link to ") && reasons.contains("more/up: a link to "),
            "{reasons}"
        );
        if made.is_ok_and(|status| status.success()) {
            assert!(reasons.contains("pipe: a named pipe"), "{reasons}");
        }
    }

    #[test]
    fn a_folder_of_too_many_entries_is_refused_and_so_is_one_whose_links_lead_to_them() {
        let big = tempfile::tempdir().unwrap();
        for n in 0..12 {
            fs::write(big.path().join(format!("{n}.md")), "x").unwrap();
        }
        let small = tempfile::tempdir().unwrap();
        symlink(big.path(), small.path().join("linked")).unwrap();
        assert_eq!(list_within(big.path(), 12).unwrap().files.len(), 12);
        assert_eq!(list_within(small.path(), 13).unwrap().files.len(), 12);
        for (folder, max) in [(&big, 11), (&small, 12)] {
            let error = list_within(folder.path(), max).unwrap_err().to_string();
            assert!(error.contains(&format!("more than {max} entries")), "{error}");
        }
        assert_eq!(ENTRIES_MAX, 50_000);
    }

    /// Every Linux mounts `/proc`, a file system of its own below the root.
    #[cfg(target_os = "linux")]
    #[test]
    fn another_file_system_in_a_folder_is_said() {
        let root = fs::metadata("/").unwrap();
        let mut walk = Walk {
            listing: Listing::default(),
            links: Vec::new(),
            seen: HashSet::new(),
            entries: 0,
            entries_max: 0,
            root: PathBuf::from("/"),
            device: device(&root),
        };
        walk.note_mount(Path::new("/proc"));
        walk.note_mount(Path::new("/proc/self/fd"));
        assert_eq!(walk.listing.outside, [(PathBuf::from("/proc"), "on another file system".to_owned())]);
    }

    #[test]
    fn the_same_folder_is_listed_the_same_way_every_time() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["z.md", "a.md", "m.md"] {
            fs::write(dir.path().join(name), name).unwrap();
            symlink(name, dir.path().join(format!("link-{name}"))).unwrap();
        }
        let first = list(dir.path()).unwrap();
        let again = list(dir.path()).unwrap();
        assert_eq!((&first.files, &first.left_out), (&again.files, &again.left_out));
        assert_eq!((first.files.len(), first.left_out.len()), (3, 3));
    }
}

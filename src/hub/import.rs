//! Brings files that are already on this machine into the home: by reference where the file system can, else by copying.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bandmaster_models::gguf::Gguf;

use super::catalog::{Catalog, ModelFile, Role};
use super::error::{AtPath, HubError};
use super::store::{KeptFile, Manifest, Store, check_space, disk_available, hash_file};
use super::{Installed, Progress, Report};

/// A model file of at least this size is taken for a planner when nothing else tells.
const PLANNER_BYTES_MIN: u64 = 700_000_000;
/// What an embedding model's folder holds.
const EMBEDDING_FILES: [&str; 3] = ["model.safetensors", "tokenizer.json", "config.json"];

/// How an import may be shaped.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Instead of the catalog's name or the file's own.
    pub name: Option<String>,
    /// Instead of a role by size.
    pub role: Option<Role>,
    /// Copy even where a link would do.
    pub copy: bool,
}

/// How a file came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// Shares its blocks with the original; both live on their own.
    Reflink,
    /// A second name of the same file.
    HardLink,
    /// Points at the original, which must stay where it is.
    Symlink,
    /// Its own bytes.
    Copy,
}

impl Brought {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reflink => "cloned",
            Self::HardLink => "linked",
            Self::Symlink => "linked by path: keep the original where it is, or import it with --copy",
            Self::Copy => "copied",
        }
    }
}

/// What a generating model is good for when nothing but its size is known.
pub(super) fn role_by_size(bytes: u64) -> Role {
    if bytes >= PLANNER_BYTES_MIN { Role::Planner } else { Role::Worker }
}

/// Metadata of a path that a person typed.
pub(super) fn look_at(path: &Path) -> Result<fs::Metadata, HubError> {
    fs::metadata(path).map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        };
        HubError::NoFile { path: path.to_owned(), problem }
    })
}

/// The files of the model that `path` names, the main one first.
pub(super) fn files_of(path: &Path) -> Result<(Vec<PathBuf>, bool), HubError> {
    let not_a_model =
        |problem: &str| HubError::NotAModel { path: path.to_owned(), problem: problem.to_owned() };
    let meta = look_at(path)?;
    let folder = if meta.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let is_safetensors = path.extension().is_some_and(|extension| extension == "safetensors");
    if meta.is_dir() || is_safetensors {
        let files: Vec<PathBuf> = EMBEDDING_FILES.iter().map(|name| folder.join(name)).collect();
        let missing = files.iter().find(|file| !file.is_file());
        return match missing {
            None => Ok((files, true)),
            Some(_) if meta.is_dir() => Err(not_a_model(
                "a folder is imported when it is an embedding model: model.safetensors, tokenizer.json, config.json",
            )),
            Some(file) => Err(not_a_model(&format!("an embedding model also needs {}", file.display()))),
        };
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((split_parts(folder, &name).unwrap_or_else(|| vec![path.to_owned()]), false))
}

/// `NAME-00001-of-0000N.gguf` stands for all N.
fn split_parts(folder: &Path, name: &str) -> Option<Vec<PathBuf>> {
    let (stem, parts) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, part) = stem.rsplit_once('-')?;
    (part.len() == 5 && parts.len() == 5).then_some(())?;
    let (part, count): (usize, usize) = (part.parse().ok()?, parts.parse().ok()?);
    (1..=count).contains(&part).then_some(())?;
    Some((1..=count).map(|part| folder.join(format!("{stem}-{part:05}-of-{parts}.gguf"))).collect())
}

/// Whether a model can be kept under this name: it must stay one folder inside the models folder.
pub(super) fn is_folder_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

/// Refuses a file whose header can't be a model's.
pub(super) fn check_gguf(path: &Path) -> Result<(), HubError> {
    let read = Gguf::open(path).and_then(|gguf| gguf.architecture().map(str::to_owned));
    read.map(drop).map_err(|error| HubError::NotAModel { path: path.to_owned(), problem: error.to_string() })
}

pub(super) fn import(
    store: &Store,
    path: &Path,
    options: &ImportOptions,
    report: Report,
) -> Result<(Installed, Option<Brought>), HubError> {
    if let Some(name) = options.name.as_ref().filter(|name| !is_folder_name(name)) {
        let problem =
            "a model's name holds letters, digits and -_.@, and starts with none of the latter".to_owned();
        return Err(HubError::BadReference { typed: name.clone(), problem });
    }
    let (files, embeddings) = files_of(path)?;
    if !embeddings {
        check_gguf(path)?;
    }
    let mut kept = Vec::new();
    for file in &files {
        let bytes = fs::metadata(file).at(file)?.len();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        report(Progress::Begin { file: &name, bytes: Some(bytes) });
        let mut read = 0;
        let (bytes, sha256) = hash_file(file, |more| {
            read += more;
            report(Progress::Bytes(read));
        })?;
        report(Progress::End);
        kept.push(KeptFile { file: name, bytes, sha256 });
    }
    let manifest = describe(path, kept, embeddings, options);
    if let Some(there) = store.get(&manifest.name) {
        return if there.files == manifest.files {
            Ok((there, None))
        } else {
            Err(HubError::NameTaken { name: manifest.name, source_was: there.source })
        };
    }
    let _lock = store.lock(&manifest.name, || {
        report(Progress::Note(&format!(
            "another bandmaster is working on {}: waiting for it",
            manifest.name
        )));
    })?;
    // What a pull that was cut off left there is not part of this model.
    store.forget_partial(&manifest.name);
    let staged = store.partial_dir(&manifest.name);
    fs::create_dir_all(&staged).at(&staged)?;
    let mut brought = Brought::Reflink;
    for file in &files {
        let to = staged.join(file.file_name().unwrap_or_default());
        match bring_in(file, &to, options.copy) {
            Ok(how) => brought = how,
            Err(error) => {
                store.forget_partial(&manifest.name);
                return Err(error);
            }
        }
    }
    Ok((store.install(&manifest)?, Some(brought)))
}

/// Name, role and licence: the catalog's when it knows the checksum, else from the file.
fn describe(path: &Path, files: Vec<KeptFile>, embeddings: bool, options: &ImportOptions) -> Manifest {
    let main = &files[0];
    let same = |file: &ModelFile| file.sha256.as_deref() == Some(main.sha256.as_str());
    let known = Catalog::builtin().entries.iter().find(|entry| same(&entry.files[0]));
    let absolute = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let own_name = || {
        let stem =
            if embeddings && absolute.is_file() { absolute.parent() } else { Some(absolute.as_path()) };
        let stem = stem.and_then(Path::file_name).unwrap_or_default().to_string_lossy().to_lowercase();
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '-' };
        stem.trim_end_matches(".gguf").trim_start_matches('.').chars().map(safe).collect::<String>()
    };
    let own_name =
        || Some(own_name()).filter(|name| is_folder_name(name)).unwrap_or_else(|| "model".to_owned());
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let by_kind = if embeddings { Role::Embeddings } else { role_by_size(bytes) };
    Manifest {
        name: options.name.clone().or_else(|| known.map(|entry| entry.name.clone())).unwrap_or_else(own_name),
        role: options.role.or_else(|| known.map(|entry| entry.role)).unwrap_or(by_kind),
        source: format!("file:{}", absolute.display()),
        licence: known.map(|entry| entry.licence.clone()),
        files,
    }
}

/// A clone, a link or a copy of `from` at `to`, which is replaced.
pub(super) fn bring_in(from: &Path, to: &Path, copy: bool) -> Result<Brought, HubError> {
    let from = fs::canonicalize(from).at(from)?;
    if to.symlink_metadata().is_ok() {
        fs::remove_file(to).at(to)?;
    }
    if reflink(&from, to).is_ok() {
        return Ok(Brought::Reflink);
    }
    // A clone that didn't work leaves an empty file.
    let _ = fs::remove_file(to);
    if !copy && fs::hard_link(&from, to).is_ok() {
        return Ok(Brought::HardLink);
    }
    #[cfg(unix)]
    if !copy && std::os::unix::fs::symlink(&from, to).is_ok() {
        return Ok(Brought::Symlink);
    }
    let folder = to.parent().unwrap_or(to);
    check_space(folder, fs::metadata(&from).at(&from)?.len(), disk_available(folder))?;
    fs::copy(&from, to).at(to)?;
    File::open(to).and_then(|file| file.sync_all()).at(to)?;
    Ok(Brought::Copy)
}

#[cfg(target_os = "linux")]
fn reflink(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::ioctl_ficlone(File::create(to)?, File::open(from)?)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn reflink(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

//! Brings files from this machine into the home, by a clone or a link if the file system allows it, else by copying.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bandmaster_models::gguf::Gguf;

use super::catalog::{Catalog, ModelFile, Role};
use super::digest::hash_file;
use super::error::{AtPath, HubError};
use super::file_name::FileName;
use super::manifest::{InstalledFile, Manifest};
use super::own_files::create_own;
use super::reference::split_part;
use super::store::{Store, check_space, disk_available};
use super::{InstalledModel, OnProgress, Progress};

/// A model of at least this size is assumed to be a planner if nothing else is known.
const PLANNER_BYTES_MIN: u64 = 700_000_000;
/// Files of an embedding model's folder.
const EMBEDDING_FILES: [&str; 3] = ["model.safetensors", "tokenizer.json", "config.json"];

#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Name to use instead of the catalog's or the file's.
    pub name: Option<String>,
    /// Role to use instead of the catalog's, or of the one guessed by size.
    pub role: Option<Role>,
    /// Copy even where a link would do.
    pub copy: bool,
}

/// How an imported file was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMethod {
    /// Shares disk blocks with the original; both can change independently.
    Reflink,
    /// A hard link to the original.
    HardLink,
    /// A symbolic link to the original, which must stay where it is.
    Symlink,
    Copy,
}

impl ImportMethod {
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::Reflink => "cloned",
            Self::HardLink => "linked",
            Self::Symlink => "linked by path: keep the original where it is, or import it with --copy",
            Self::Copy => "copied",
        }
    }
}

/// The role of a text-generating model of which only the size is known.
pub(super) fn role_by_size(bytes: u64) -> Role {
    if bytes >= PLANNER_BYTES_MIN { Role::Planner } else { Role::Worker }
}

/// Metadata of a path that the user typed.
pub(super) fn metadata_of(path: &Path) -> Result<fs::Metadata, HubError> {
    fs::metadata(path).map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        };
        HubError::NoFile { path: path.to_owned(), problem }
    })
}

/// The files that a typed path stands for.
pub(super) struct Files {
    /// All exist; the main file comes first.
    pub(super) files: Vec<PathBuf>,
    /// Whether it is an embedding model.
    pub(super) embeddings: bool,
    /// Name of the file or folder, without ending and part number.
    pub(super) name: String,
}

/// Finds the files of the model at `path`. Any part of a split model stands for all of it.
pub(super) fn find_files(path: &Path) -> Result<Files, HubError> {
    let not_a_model =
        |problem: &str| HubError::NotAModel { path: path.to_owned(), problem: problem.to_owned() };
    let path = &std::path::absolute(path).at(path)?;
    let meta = metadata_of(path)?;
    let folder = if meta.is_dir() { path } else { path.parent().unwrap_or(path) };
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_safetensors = path.extension().is_some_and(|extension| extension == "safetensors");
    if meta.is_dir() || is_safetensors {
        let files: Vec<PathBuf> = EMBEDDING_FILES.iter().map(|name| folder.join(name)).collect();
        let missing = files.iter().find(|file| !file.is_file());
        return match missing {
            None => Ok(Files { files, embeddings: true, name: named(folder) }),
            Some(_) if meta.is_dir() => Err(not_a_model(
                "a folder is a model when it is an embedding model's (model.safetensors, tokenizer.json, config.json); of \
                 any other, name the .gguf file",
            )),
            Some(file) => Err(not_a_model(&format!("an embedding model also needs {}", file.display()))),
        };
    }
    let name = named(path);
    if let Some((stem, files)) = split_parts(folder, &name) {
        return match files.iter().find(|file| !file.is_file()) {
            None => Ok(Files { files, embeddings: false, name: stem }),
            Some(missing) => {
                let problem = format!(
                    "there is no such file, and {name} is one of {} parts that belong together: bring all of them into one \
                     folder",
                    files.len()
                );
                Err(HubError::NoFile { path: missing.clone(), problem })
            }
        };
    }
    let name = name.strip_suffix(".gguf").unwrap_or(&name).to_owned();
    Ok(Files { files: vec![path.clone()], embeddings: false, name })
}

/// The name and the paths of all parts of `NAME-00001-of-0000N.gguf`.
fn split_parts(folder: &Path, name: &str) -> Option<(String, Vec<PathBuf>)> {
    let (stem, part, count) = split_part(name)?;
    (1..=count).contains(&part).then_some(())?;
    let file = |part: usize| folder.join(format!("{stem}-{part:05}-of-{count:05}.gguf"));
    Some((stem.to_owned(), (1..=count).map(file).collect()))
}

/// Whether a model can be stored under this name: a single folder inside the models folder.
pub(super) fn is_folder_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    starts && name.chars().all(plain) && FileName::new(name).is_ok()
}

/// Refuses a file whose header is not that of a GGUF model.
pub(super) fn check_gguf(path: &Path) -> Result<(), HubError> {
    let read = Gguf::open(path).and_then(|gguf| gguf.architecture().map(str::to_owned));
    read.map(drop).map_err(|error| HubError::NotAModel { path: path.to_owned(), problem: error.to_string() })
}

pub(super) fn import(
    store: &Store,
    path: &Path,
    options: &ImportOptions,
    on_progress: OnProgress,
) -> Result<(InstalledModel, Option<ImportMethod>), HubError> {
    if let Some(name) = options.name.as_ref().filter(|name| !is_folder_name(name)) {
        let problem =
            "a model's name has up to 200 letters, digits and -_.@, starts with a letter or digit, does not \
             end with a dot, and is not a device's name (con, nul …)"
                .to_owned();
        return Err(HubError::BadReference { typed: name.clone(), problem });
    }
    let Files { files, embeddings, .. } = find_files(path)?;
    if !embeddings {
        check_gguf(path)?;
    }
    let names = local_names(&files);
    let mut kept = Vec::new();
    let before = sizes_and_times(&files)?;
    for ((file, name), (bytes, _)) in files.iter().zip(&names).zip(&before) {
        on_progress(Progress::Begin { file: name.as_str(), bytes: Some(*bytes) });
        let mut read = 0;
        let (bytes, sha256) = hash_file(file, |more| {
            read += more;
            on_progress(Progress::Bytes(read));
        })?;
        on_progress(Progress::End);
        kept.push(InstalledFile::new(name, bytes, sha256));
    }
    let manifest = manifest_for(path, kept, embeddings, options);
    let _lock = store.lock(&manifest.name, || {
        on_progress(Progress::Note(&format!(
            "another bandmaster is working on {}: waiting for it",
            manifest.name
        )));
    })?;
    if let Some(there) = store.get(&manifest.name) {
        let same = there.files.len() == manifest.files.len()
            && there.files.iter().zip(&manifest.files).all(|(ours, theirs)| ours.is_same(theirs));
        return if same {
            Ok((there, None))
        } else {
            Err(HubError::NameTaken { name: manifest.name, source_was: there.source })
        };
    }
    // The partial folder becomes the model's folder, so leftovers of an interrupted pull must be removed.
    store.forget_partial(&manifest.name);
    let partial = store.create_partial(&manifest.name)?;
    let import_files = || {
        let mut method = ImportMethod::Reflink;
        for (file, name) in files.iter().zip(&names) {
            method = link_or_copy(file, &name.within(&partial), options.copy)?;
        }
        if sizes_and_times(&files)? != before {
            let problem =
                "it was written to while it was imported: import it again when it is whole".to_owned();
            return Err(HubError::NotAModel { path: path.to_owned(), problem });
        }
        Ok(method)
    };
    match import_files() {
        Ok(method) => Ok((store.install(manifest)?, Some(method))),
        Err(error) => {
            store.forget_partial(&manifest.name);
            Err(error)
        }
    }
}

/// Local names for the user's files: their own, unless those aren't allowed on every system.
fn local_names(files: &[PathBuf]) -> Vec<FileName> {
    let count = files.len();
    let otherwise = |part: usize| match count {
        1 => "model.gguf".to_owned(),
        _ => format!("model-{part:05}-of-{count:05}.gguf"),
    };
    files.iter().zip(1..).map(|(file, part)| FileName::of_own(file, &otherwise(part))).collect()
}

/// Size and modification time of each file, to notice changes during the import.
fn sizes_and_times(files: &[PathBuf]) -> Result<Vec<(u64, Option<std::time::SystemTime>)>, HubError> {
    let stamp = |file: &PathBuf| {
        let meta = fs::metadata(file).at(file)?;
        Ok((meta.len(), meta.modified().ok()))
    };
    files.iter().map(stamp).collect()
}

/// Name, role and licence: from the options, else from the catalog if it knows the checksum, else from the file.
fn manifest_for(
    path: &Path,
    files: Vec<InstalledFile>,
    embeddings: bool,
    options: &ImportOptions,
) -> Manifest {
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

/// Clones, links or copies `from` to `to`, replacing what is there.
pub(super) fn link_or_copy(from: &Path, to: &Path, copy: bool) -> Result<ImportMethod, HubError> {
    let from = fs::canonicalize(from).at(from)?;
    if to.symlink_metadata().is_ok() {
        fs::remove_file(to).at(to)?;
    }
    if reflink(&from, to).is_ok() {
        return Ok(ImportMethod::Reflink);
    }
    // A failed clone leaves an empty file.
    let _ = fs::remove_file(to);
    if !copy && fs::hard_link(&from, to).is_ok() {
        return Ok(ImportMethod::HardLink);
    }
    #[cfg(unix)]
    if !copy && std::os::unix::fs::symlink(&from, to).is_ok() {
        return Ok(ImportMethod::Symlink);
    }
    let folder = to.parent().unwrap_or(to);
    check_space(folder, fs::metadata(&from).at(&from)?.len(), disk_available(folder))?;
    let copy = || {
        let mut copy = create_own(to)?;
        io::copy(&mut File::open(&from)?, &mut copy)?;
        copy.sync_all()
    };
    copy().at(to)?;
    Ok(ImportMethod::Copy)
}

#[cfg(target_os = "linux")]
fn reflink(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::ioctl_ficlone(File::create_new(to)?, File::open(from)?)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn reflink(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

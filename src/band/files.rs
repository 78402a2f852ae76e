//! The model files of a band.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bandmaster_hub::{Band as BandNames, Hub, HubError, LocalModel, Role};
use bandmaster_orchestrator::{BandInfo, FileStamp, ModelFiles};

/// The model files of a band.
#[derive(Debug, Clone)]
pub struct BandFiles {
    pub planner: LocalModel,
    pub workers: Vec<LocalModel>,
    /// Used to choose a strategy.
    pub embeddings: Option<LocalModel>,
    /// Whether the user named the workers or the planner; if not, they were chosen for this machine.
    pub workers_named: bool,
}

impl BandFiles {
    /// The models, each file once.
    #[must_use]
    pub fn models(&self) -> Vec<&LocalModel> {
        without_repeats(self.writers().into_iter().chain(&self.embeddings))
    }

    /// The models that write, each file once.
    #[must_use]
    pub fn writers(&self) -> Vec<&LocalModel> {
        without_repeats(std::iter::once(&self.planner).chain(&self.workers))
    }

    /// What is recorded of the files and of how they are loaded, so that a run can go on with them.
    #[must_use]
    pub fn recorded(&self, context_tokens: usize, kv_type: &str) -> ModelFiles {
        let path = |model: &LocalModel| model.path.display().to_string();
        ModelFiles {
            planner: path(&self.planner),
            workers: self.workers.iter().map(path).collect(),
            workers_named: self.workers_named,
            context_tokens,
            kv_type: kv_type.to_owned(),
            stamps: self
                .writers()
                .iter()
                .filter_map(|model| Some((path(model), stamp(&model.path)?)))
                .collect(),
        }
    }

    /// Says which of these files, found for a recorded run, are others than the run began with.
    #[must_use]
    pub fn changed_since(&self, run: &ModelFiles) -> Vec<String> {
        let recorded = std::iter::once(&run.planner).chain(&run.workers);
        let found = std::iter::once(&self.planner).chain(&self.workers);
        let changed = |(path, file): (&String, &LocalModel)| {
            let (then, now) = (run.stamps.get(path)?, stamp(&file.path)?);
            let how = match (then.bytes, now.bytes) {
                (then, now) if then != now => format!("it had {then} bytes and has {now}"),
                _ if then.modified_ms != now.modified_ms => "it was written since".to_owned(),
                _ => return None,
            };
            let name = file.path.file_name().unwrap_or_default().display();
            Some(format!("the model file {name} may be another one than when the run began: {how}"))
        };
        let mut changed: Vec<String> = recorded.zip(found).filter_map(changed).collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// The same files under the names that the record of a run has for them. Its tasks refer to their workers by name,
    /// and a file that is found by its path may have another one.
    #[must_use]
    pub fn named_as(mut self, band: &BandInfo) -> Self {
        let workers: Vec<_> = band.workers.iter().filter(|worker| !worker.is_calculator()).collect();
        if workers.len() == self.workers.len() {
            self.planner.name.clone_from(&band.planner.model);
            for (file, known) in self.workers.iter_mut().zip(workers) {
                file.name.clone_from(&known.worker);
            }
        }
        self
    }
}

/// `None` for what is not a file.
fn stamp(path: &Path) -> Option<FileStamp> {
    let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(FileStamp { bytes: file.len(), modified_ms: u64::try_from(modified.as_millis()).ok()? })
}

fn without_repeats<'a>(models: impl Iterator<Item = &'a LocalModel>) -> Vec<&'a LocalModel> {
    let mut kept: Vec<&LocalModel> = Vec::new();
    for model in models {
        if !kept.iter().any(|other| other.path == model.path) {
            kept.push(model);
        }
    }
    kept
}

/// Finds the files of a band. On a home without a planner the missing models are downloaded first, by `fetch`.
/// `workers_named` says that the user named the workers or the planner.
///
/// # Errors
/// Unknown names, names that are not installed on a home that has models, failed downloads.
pub fn find_files(
    hub: &Hub,
    names: &BandNames,
    workers_named: bool,
    fetch: impl FnOnce(&[&str]) -> Result<(), HubError>,
) -> Result<BandFiles, HubError> {
    for name in std::iter::once(&names.planner).chain(&names.workers) {
        // Refuse models of the wrong kind before downloading anything.
        match hub.find_text_model(name) {
            Ok(_) | Err(HubError::NotInstalled { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let missing = hub.missing(&names.models())?;
    if !missing.is_empty() {
        if hub.is_offline() {
            return Err(hub.offline_error(&missing));
        }
        if hub.installed().iter().any(|model| model.role == Role::Planner) {
            // Only a home without models downloads without being asked; this error says how to pull.
            hub.find(missing[0])?;
        }
        fetch(&missing)?;
    }
    let BandNames { planner, workers, embeddings } = names;
    let mut planner = hub.find_text_model(planner)?;
    let mut workers: Vec<LocalModel> =
        workers.iter().map(|name| hub.find_text_model(name)).collect::<Result<_, _>>()?;
    let mut writers: Vec<&mut LocalModel> = std::iter::once(&mut planner).chain(&mut workers).collect();
    unify_same_files(&mut writers);
    make_names_unique(&mut writers);
    let embeddings = embeddings.as_ref().map(|name| hub.find_embedder(name)).transpose()?;
    Ok(BandFiles { planner, workers, embeddings, workers_named })
}

/// Treats one file that was named in several ways as one model.
fn unify_same_files(models: &mut [&mut LocalModel]) {
    let file = |model: &LocalModel| model.path.canonicalize().unwrap_or_else(|_| model.path.clone());
    for at in 1..models.len() {
        let (earlier, later) = models.split_at_mut(at);
        if let Some(same) = earlier.iter().find(|other| file(other) == file(later[0])) {
            later[0].clone_from(same);
        }
    }
}

/// Renames different files that share a name to the ends of their paths, as long as needed to tell them apart: in
/// plans, reports and records a name must stand for one model.
fn make_names_unique(models: &mut [&mut LocalModel]) {
    let end = |path: &Path, parts: usize| {
        let parts: Vec<_> = path.iter().rev().take(parts).collect();
        parts.into_iter().rev().collect::<PathBuf>().display().to_string()
    };
    let mut parts = 2;
    loop {
        let shares_name = |model: &LocalModel| {
            models.iter().any(|other| other.name == model.name && other.path != model.path)
        };
        let shared: Vec<bool> = models.iter().map(|model| shares_name(model)).collect();
        let longest = models.iter().map(|model| model.path.iter().count()).max().unwrap_or(0);
        if !shared.contains(&true) || parts > longest {
            return;
        }
        for (model, _) in models.iter_mut().zip(shared).filter(|(_, shared)| *shared) {
            model.name = end(&model.path, parts);
        }
        parts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bandmaster_orchestrator::WorkerInfo;

    fn found(path: &Path) -> LocalModel {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        LocalModel { name, role: Role::Worker, path: path.to_owned(), bytes: 1, memory_bytes: 1 }
    }

    /// The names of models at these paths after they are told apart.
    fn names(paths: &[&str]) -> Vec<String> {
        let mut models: Vec<LocalModel> = paths.iter().map(|path| found(Path::new(path))).collect();
        make_names_unique(&mut models.iter_mut().collect::<Vec<_>>());
        models.into_iter().map(|model| model.name).collect()
    }

    #[test]
    fn different_files_have_different_names() {
        let check = |paths: &[&str], expected: &[&str]| assert_eq!(names(paths), expected, "{paths:?}");
        check(&["/a/m.gguf", "/b/n.gguf"], &["m", "n"]);
        check(&["/a/m.gguf", "/a/m.gguf"], &["m", "m"]);
        check(&["/a/m.gguf", "/b/m.gguf", "/b/n.gguf"], &["a/m.gguf", "b/m.gguf", "n"]);
        check(&["/x/a/m.gguf", "/y/a/m.gguf"], &["x/a/m.gguf", "y/a/m.gguf"]);
        check(&["/x/a/m.gguf", "/y/a/m.gguf", "/b/m.gguf"], &["x/a/m.gguf", "y/a/m.gguf", "b/m.gguf"]);
        check(&["/a/m.gguf", "/a/m.bin"], &["a/m.gguf", "a/m.bin"]);
    }

    #[test]
    fn files_of_a_recorded_run_have_the_names_that_its_tasks_refer_to() {
        let files = BandFiles {
            planner: found(Path::new("/m/big/big-q4.gguf")),
            workers: vec![found(Path::new("/m/small/small-q4.gguf"))],
            embeddings: None,
            workers_named: false,
        };
        let worker = |name: &str, model: &str| WorkerInfo {
            worker: name.to_owned(),
            model: model.to_owned(),
            ..WorkerInfo::default()
        };
        let workers = vec![worker("small", "small"), worker("calculator", "rule")];
        let band = BandInfo { planner: worker("planner", "big"), workers };
        let names = |files: BandFiles| [files.planner.name, files.workers[0].name.clone()];
        assert_eq!(names(files.clone().named_as(&band)), ["big", "small"]);
        let other = BandInfo { workers: Vec::new(), ..band };
        assert_eq!(
            names(files.named_as(&other)),
            ["big-q4", "small-q4"],
            "another band's names mean nothing"
        );
    }

    #[test]
    fn a_file_that_was_replaced_since_a_run_began_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let [big, small] = ["big.gguf", "small.gguf"].map(|name| dir.path().join(name));
        for path in [&big, &small] {
            std::fs::write(path, "model").unwrap();
        }
        let workers = vec![found(&small), found(&small)];
        let files = BandFiles { planner: found(&big), workers, embeddings: None, workers_named: true };
        let run = files.recorded(4096, "f16");
        assert_eq!((run.stamps.len(), files.changed_since(&run)), (2, Vec::new()));
        std::fs::write(&small, "another").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
        std::fs::File::options().write(true).open(&big).unwrap().set_modified(later).unwrap();
        let may_be = |name: &str, how: &str| {
            format!("the model file {name} may be another one than when the run began: {how}")
        };
        let expected =
            [may_be("big.gguf", "it was written since"), may_be("small.gguf", "it had 5 bytes and has 7")];
        assert_eq!(files.changed_since(&run), expected);
        let earlier = ModelFiles { stamps: Default::default(), ..run };
        assert_eq!(files.changed_since(&earlier), Vec::<String>::new(), "earlier versions did not record it");
    }

    #[test]
    fn one_file_named_in_two_ways_is_one_model() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.gguf");
        std::fs::write(&file, "").unwrap();
        let around = dir.path().join("..").join(dir.path().file_name().unwrap()).join("m.gguf");
        let (mut a, mut b) = (found(&file), found(&around));
        unify_same_files(&mut [&mut a, &mut b]);
        assert_eq!(a, b);
    }
}

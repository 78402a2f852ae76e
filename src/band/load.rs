//! Loads the models of a band into an engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bandmaster_engine::{Engine, EngineConfig, EngineHandle};
use bandmaster_hub::{LocalModel, check_unchanged};
use bandmaster_models::{Cpu, Embedder, KvType, LoadOptions, Model, load_gguf};
use bandmaster_orchestrator::{Band, Embed, KeepingEmbed, KeptVectors, Llm, SessionLlm, Worker};
use bandmaster_text::{LoadedModel, TextEmbedder, Tokenizers, WeightsLoader};

use super::error::BandError;
use super::files::BandFiles;
use super::memory::MemoryLimits;

/// How models are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadSettings {
    /// Number of threads that compute, the engine's own thread included.
    pub threads: usize,
    /// Longest context, in tokens.
    pub context_tokens: usize,
    /// Whether a model's packed form is kept beside its file.
    pub keep_packed: bool,
    /// Type of the KV cache.
    pub kv_type: KvType,
}

/// Receives how far a model is loaded, from 0 to 1. It is dropped when the model is loaded.
pub type LoadProgress = Box<dyn Fn(f32) + Send + Sync>;

/// A band in an engine.
pub struct LoadedBand {
    pub engine: EngineHandle,
    pub band: Band,
}

/// Starts an engine and loads the band into it. `report` gives each model what shows its progress.
///
/// # Errors
/// Files that can't be used, with the reason.
pub fn load_band(
    settings: LoadSettings,
    files: &BandFiles,
    memory: &MemoryLimits,
    report: &dyn Fn(&LocalModel) -> Option<LoadProgress>,
) -> Result<LoadedBand, BandError> {
    let loader = Loader::start(engine_config(memory), settings)?;
    let mut llms: HashMap<PathBuf, Arc<dyn Llm>> = HashMap::new();
    for model in files.writers() {
        let loaded = loader.model(model, report(model))?;
        llms.insert(model.path.clone(), Arc::new(SessionLlm::new(loaded)));
    }
    let embed = |model: &LocalModel| loader.embedder(model).map(|embedder| embedder as Arc<dyn Embed>);
    let embed = files.embeddings.as_ref().map(embed).transpose()?;
    Ok(LoadedBand { band: assemble_band(files, &llms, embed), engine: loader.engine })
}

/// The band made of loaded models. `llms` has each of [`BandFiles::writers`], by path.
///
/// # Panics
/// When one of them is missing.
#[must_use]
pub fn assemble_band(
    files: &BandFiles,
    llms: &HashMap<PathBuf, Arc<dyn Llm>>,
    embed: Option<Arc<dyn Embed>>,
) -> Band {
    let llm = |model: &LocalModel| Arc::clone(&llms[&model.path]);
    let worker = |model: &LocalModel| match files.workers_named {
        true => Worker::explicit(llm(model)),
        false => Worker::model(llm(model), model.bytes),
    };
    Band { planner: llm(&files.planner), workers: files.workers.iter().map(worker).collect(), embed }
}

/// The embedder of a band, whose vectors of long texts are kept in a folder for what may be deleted at any time.
#[must_use]
pub fn keep_vectors(embed: Arc<dyn Embed>, model: &LocalModel, cache_dir: &Path) -> Arc<dyn Embed> {
    let model = format!("{} {}", model.name, model.bytes);
    Arc::new(KeepingEmbed::new(embed, KeptVectors { folder: cache_dir.join("vectors"), model }))
}

/// The configuration of an engine within these limits.
#[must_use]
pub fn engine_config(memory: &MemoryLimits) -> EngineConfig {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    EngineConfig {
        cache_bytes_max: bytes(memory.kv_bytes),
        ..EngineConfig::with_memory_bytes(bytes(memory.bytes))
    }
}

/// Loads model files into an engine.
pub struct Loader {
    cpu: Arc<Cpu>,
    engine: EngineHandle,
    tokenizers: Tokenizers,
    settings: LoadSettings,
    kv_bytes: usize,
    step_tokens_max: usize,
}

impl Loader {
    /// Starts the engine into which the models are then loaded.
    ///
    /// # Errors
    /// [`BandError::Engine`].
    pub fn start(config: EngineConfig, settings: LoadSettings) -> Result<Self, BandError> {
        let (kv_bytes, step_tokens_max) = (config.cache_bytes_max, config.step_tokens_max + config.batch_max);
        let engine = Engine::start(config)?;
        let (cpu, tokenizers) = (Arc::new(Cpu::new(settings.threads)), Tokenizers::default());
        Ok(Self { cpu, engine, tokenizers, settings, kv_bytes, step_tokens_max })
    }

    #[must_use]
    pub fn engine(&self) -> &EngineHandle {
        &self.engine
    }

    /// Loads a model that writes. `report` is told the progress of this first load, not of later reloads.
    ///
    /// # Errors
    /// Files that can't be used, with the reason.
    pub fn model(
        &self,
        model: &LocalModel,
        report: Option<LoadProgress>,
    ) -> Result<Arc<LoadedModel>, BandError> {
        let (name, path) = (model.name.clone(), &model.path);
        check_unchanged(path).map_err(|error| BandError::Changed { name, source: Box::new(error) })?;
        let weights = self.weights(path, report);
        let loaded = LoadedModel::load(&self.engine, &self.tokenizers, &model.name, path, weights)
            .map_err(|error| unusable(model, error))?;
        // Every plan, finding and tool call has a grammar.
        loaded.prepare_grammars();
        tracing::info!(model = model.name, context_tokens = loaded.context_tokens(), "loaded");
        Ok(loaded)
    }

    fn weights(&self, path: &Path, report: Option<LoadProgress>) -> WeightsLoader {
        let path = path.to_owned();
        let options = LoadOptions {
            context_tokens_max: Some(self.settings.context_tokens),
            step_tokens_max: self.step_tokens_max,
            keep_packed: self.settings.keep_packed,
            kv_type: self.settings.kv_type,
            ..LoadOptions::new(Arc::clone(&self.cpu), self.kv_bytes)
        };
        // Progress is reported the first time only: reloading an evicted model is quick.
        let first = Mutex::new(Some(report));
        Box::new(move |gguf| {
            let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            if first.is_none() {
                // The first load was preceded by this check.
                check_unchanged(&path)?;
            }
            let report = first.flatten();
            let progress = |share: f32| report.iter().for_each(|report| report(share));
            let options = LoadOptions { progress: Some(&progress), ..options.clone() };
            let model = load_gguf(gguf, &options)?;
            Ok(Box::new(model) as Box<dyn Model>)
        })
    }

    /// Loads an embedding model.
    ///
    /// # Errors
    /// Files that can't be used, with the reason.
    pub fn embedder(&self, model: &LocalModel) -> Result<Arc<TextEmbedder>, BandError> {
        check_unchanged(&model.path).map_err(|error| unusable(model, error))?;
        let embedder = Embedder::load(&model.path, Arc::clone(&self.cpu));
        let embedder = embedder.map_err(|error| unusable(model, error))?;
        let forward =
            Arc::new(move |texts: &[&[u32]]| embedder.embed_all(texts).map_err(|error| error.to_string()));
        let embedder = TextEmbedder::load(&self.engine, &model.path, forward);
        Ok(Arc::new(embedder.map_err(|error| unusable(model, error))?))
    }
}

fn unusable(model: &LocalModel, source: impl std::error::Error + Send + Sync + 'static) -> BandError {
    BandError::Unusable { name: model.name.clone(), path: model.path.clone(), source: Box::new(source) }
}

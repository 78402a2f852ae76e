//! The models that can be requested, by id: those that are installed and those named at the start. Each is loaded once,
//! at its first request, by one of the [`Loaders`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bandmaster_band::{BandFiles, assemble_band, keep_vectors};
use bandmaster_hub::{Hub, LocalModel, Role};
use bandmaster_orchestrator::{Band, Embed, Llm, ModelFiles, SessionLlm};
use bandmaster_text::{LoadedModel, TextEmbedder};
use tokio::sync::OnceCell;

use super::error::ApiError;
use super::wire::models::Model;

/// The model id under which the whole band answers.
pub const BAND: &str = "bandmaster";

/// Functions that load models from files, and how they load them. They block while they load.
pub struct Loaders {
    pub model: LoadModel,
    pub embedder: LoadEmbedder,
    /// Longest context of a model.
    pub context_tokens: usize,
    /// Type of the KV cache, as `--kv-type` names it.
    pub kv_type: String,
}

/// Loads a generative model, or says why it can't.
pub(crate) type LoadModel = Box<dyn Fn(&LocalModel) -> Result<Arc<LoadedModel>, String> + Send + Sync>;
/// Loads an embedding model, or says why it can't.
pub(crate) type LoadEmbedder = Box<dyn Fn(&LocalModel) -> Result<Arc<TextEmbedder>, String> + Send + Sync>;

pub struct ModelRegistry {
    hub: Hub,
    /// Models named at the start; they need not be installed.
    named: Vec<LocalModel>,
    aliases: Vec<Alias>,
    band_files: Option<BandFiles>,
    loaders: Loaders,
    models: LoadCells<LoadedModel>,
    embedders: LoadCells<TextEmbedder>,
    band: OnceCell<Band>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    /// The id of the model that this name stands for.
    pub model: String,
}

/// The model that a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedModel {
    pub id: String,
    /// Whether the request named a different model, which does not exist here.
    pub substituted: bool,
}

/// Models that are loaded or being loaded, by path, because different files may have the same name.
type LoadCells<T> = Mutex<HashMap<PathBuf, Arc<LoadCell<T>>>>;

struct LoadCell<T> {
    id: String,
    model: OnceCell<Arc<T>>,
}

impl ModelRegistry {
    /// Offers the models installed in `hub`, the models `named` at the start, and the band if there is one.
    #[must_use]
    pub fn new(hub: Hub, named: Vec<LocalModel>, band: Option<BandFiles>, loaders: Loaders) -> Self {
        Self {
            hub,
            named,
            aliases: Vec::new(),
            band_files: band,
            loaders,
            models: Mutex::default(),
            embedders: Mutex::default(),
            band: OnceCell::new(),
        }
    }

    #[must_use]
    pub fn with_aliases(self, aliases: Vec<Alias>) -> Self {
        Self { aliases, ..self }
    }

    /// Everything that a request can name: aliases, the band, models named at the start and installed ones.
    #[must_use]
    pub fn list(&self) -> Vec<Model> {
        let mut models = Vec::new();
        if self.band_files.is_some() {
            models.push(self.model_object(BAND, "band", "bandmaster", 0));
        }
        let mut found: Vec<LocalModel> = self.named.clone();
        for name in self.hub.installed().iter().map(|model| &model.name) {
            if found.iter().all(|other| other.name != *name) {
                found.extend(self.hub.find(name).ok());
            }
        }
        models.extend(found.iter().map(|model| {
            let kind = if model.role == Role::Embeddings { "embeddings" } else { "chat" };
            let modified = std::fs::metadata(&model.path).and_then(|data| data.modified()).ok();
            let created = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            self.model_object(&model.name, kind, "local", created.map_or(0, |time| time.as_secs()))
        }));
        for alias in self.aliases.iter().rev() {
            let known = models.iter().find(|model| model.id == alias.model).cloned();
            models.splice(0..0, known.map(|model| Model { id: alias.name.clone(), ..model }));
        }
        models
    }

    fn model_object(&self, id: &str, kind: &'static str, owner: &str, created: u64) -> Model {
        let model = loaded_model(&self.models, id);
        Model {
            id: id.to_owned(),
            object: "model",
            created,
            owned_by: owner.to_owned(),
            kind,
            loaded: match kind {
                "band" => self.band.initialized(),
                "embeddings" => loaded_model(&self.embedders, id).is_some(),
                _ => model.is_some(),
            },
            context_tokens: model.map(|model| model.context_tokens()),
        }
    }

    /// Chooses the model for a request that named `requested`. Without a name it is the first model named at the
    /// start, or the only one installed. If exactly one model was named at the start, it also answers for unknown
    /// names, so that clients with a fixed model name work. `embeddings` limits the choice to embedding models, or to
    /// the others.
    ///
    /// # Errors
    /// 400 if no model was named and there are several to choose from.
    pub fn resolve(&self, requested: Option<&str>, embeddings: bool) -> Result<ResolvedModel, ApiError> {
        let as_requested = |id: &str| Ok(ResolvedModel { id: id.to_owned(), substituted: false });
        let Some(requested) = requested.filter(|requested| !requested.is_empty()) else {
            return as_requested(&self.default_id(embeddings)?);
        };
        if let Some(alias) = self.aliases.iter().find(|alias| alias.name == requested) {
            return as_requested(&alias.model);
        }
        let mut named = self.named.iter().filter(|model| (model.role == Role::Embeddings) == embeddings);
        let only = named.next().filter(|_| named.next().is_none());
        let names_band = requested.split(':').next() == Some(BAND);
        match only {
            Some(only) if !names_band && !self.knows(requested) => {
                Ok(ResolvedModel { id: only.name.clone(), substituted: true })
            }
            _ => as_requested(requested),
        }
    }

    fn knows(&self, id: &str) -> bool {
        self.named.iter().any(|model| model.name == id)
            || self.hub.installed().iter().any(|model| model.name == id)
    }

    fn default_id(&self, embeddings: bool) -> Result<String, ApiError> {
        let fits = |model: &&LocalModel| (model.role == Role::Embeddings) == embeddings;
        if let Some(model) = self.named.iter().find(fits) {
            return Ok(model.name.clone());
        }
        let kind = if embeddings { "embeddings" } else { "chat" };
        let of_kind: Vec<String> =
            self.list().into_iter().filter(|model| model.kind == kind).map(|model| model.id).collect();
        match of_kind.as_slice() {
            [only] => Ok(only.clone()),
            ids => {
                Err(ApiError::invalid("model", format!("model is missing: give one of {}", ids.join(", "))))
            }
        }
    }

    fn find(&self, id: &str, embeddings: bool) -> Result<LocalModel, ApiError> {
        let found = self.named.iter().find(|model| model.name == id).cloned();
        // Only installed models are looked up: a path in a request must not open a file.
        let installed = || self.hub.installed().iter().any(|model| model.name == id);
        let found = found.or_else(|| installed().then(|| self.hub.find(id).ok()).flatten());
        match found {
            Some(found) if (found.role == Role::Embeddings) == embeddings => Ok(found),
            Some(_) => {
                let (is, use_for) = match embeddings {
                    true => ("writes text", "/v1/chat/completions"),
                    false => ("turns text into vectors", "/v1/embeddings"),
                };
                Err(ApiError::invalid("model", format!("{id} {is}: use it at {use_for}")))
            }
            None => {
                let available: Vec<String> = self.list().into_iter().map(|model| model.id).collect();
                Err(ApiError::no_model(id, &available))
            }
        }
    }

    /// The model with this id; loads it if necessary.
    ///
    /// # Errors
    /// 400 for an embedding model, 404 for an unknown id, 500 if loading fails.
    pub async fn model(self: &Arc<Self>, id: &str) -> Result<Arc<LoadedModel>, ApiError> {
        // The band may have another file with the name of one that was named at the start.
        let is_named = self.named.iter().any(|model| model.name == id);
        if let Some(model) = loaded_model(&self.models, id).filter(|_| !is_named) {
            return Ok(model);
        }
        self.load_model(&self.find(id, false)?).await
    }

    /// The embedding model with this id; loads it if necessary.
    ///
    /// # Errors
    /// 400 for a model of another kind, 404 for an unknown id, 500 if loading fails.
    pub async fn embedder(self: &Arc<Self>, id: &str) -> Result<Arc<TextEmbedder>, ApiError> {
        if let Some(model) = loaded_model(&self.embedders, id) {
            return Ok(model);
        }
        self.load_embedder(&self.find(id, true)?).await
    }

    fn band_files(&self) -> Result<&BandFiles, ApiError> {
        self.band_files.as_ref().ok_or_else(|| {
            let available: Vec<String> = self.list().into_iter().map(|model| model.id).collect();
            ApiError::no_model(BAND, &available)
        })
    }

    /// The band; loads its models if necessary.
    ///
    /// # Errors
    /// 404 if this server has no band, 500 if loading fails.
    pub async fn band(self: &Arc<Self>) -> Result<&Band, ApiError> {
        self.band.get_or_try_init(|| self.assemble()).await
    }

    async fn assemble(self: &Arc<Self>) -> Result<Band, ApiError> {
        let files = self.band_files()?.clone();
        let mut llms: HashMap<PathBuf, Arc<dyn Llm>> = HashMap::new();
        for found in files.writers() {
            llms.insert(found.path.clone(), Arc::new(SessionLlm::new(self.load_model(found).await?)));
        }
        Ok(assemble_band(&files, &llms, self.band_embedder().await?))
    }

    /// The band's embedder, if there is one; loads it if necessary.
    ///
    /// # Errors
    /// 500 if loading fails.
    pub(crate) async fn band_embedder(self: &Arc<Self>) -> Result<Option<Arc<dyn Embed>>, ApiError> {
        match self.band_files.as_ref().and_then(|files| files.embeddings.as_ref()) {
            Some(found) => {
                let embed = self.load_embedder(found).await? as Arc<dyn Embed>;
                Ok(Some(keep_vectors(embed, found, &self.hub.home().cache_dir)))
            }
            None => Ok(None),
        }
    }

    /// What a new run records of the band, if there is one.
    pub(crate) fn recorded_band(&self) -> Option<ModelFiles> {
        let Loaders { context_tokens, kv_type, .. } = &self.loaders;
        self.band_files.as_ref().map(|files| files.recorded(*context_tokens, kv_type))
    }

    /// The longest context and the type of the KV cache with which every model is loaded.
    pub(crate) fn loads_as(&self) -> (usize, String) {
        (self.loaders.context_tokens, self.loaders.kv_type.clone())
    }

    /// The files of all models that can be loaded: those of the band, those named at the start and installed ones.
    pub(crate) fn known(&self) -> Vec<LocalModel> {
        let of_band = self.band_files.iter().flat_map(BandFiles::models).cloned();
        let installed = self.hub.installed().into_iter().filter_map(|model| self.hub.find(&model.name).ok());
        of_band.chain(self.named.iter().cloned()).chain(installed).collect()
    }

    /// The band's planner; loads it if necessary.
    ///
    /// # Errors
    /// As [`ModelRegistry::band`].
    pub async fn planner(self: &Arc<Self>) -> Result<Arc<LoadedModel>, ApiError> {
        self.load_model(&self.band_files()?.planner).await
    }

    pub(crate) async fn load_model(
        self: &Arc<Self>,
        found: &LocalModel,
    ) -> Result<Arc<LoadedModel>, ApiError> {
        let (registry, file) = (Arc::clone(self), found.clone());
        load_once(&self.models, found, move || (registry.loaders.model)(&file)).await
    }

    async fn load_embedder(self: &Arc<Self>, found: &LocalModel) -> Result<Arc<TextEmbedder>, ApiError> {
        let (registry, file) = (Arc::clone(self), found.clone());
        load_once(&self.embedders, found, move || (registry.loaders.embedder)(&file)).await
    }
}

fn loaded_model<T>(cells: &LoadCells<T>, id: &str) -> Option<Arc<T>> {
    let cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
    cells.values().filter(|cell| cell.id == id).find_map(|cell| cell.model.get().cloned())
}

/// Runs `load` once for all concurrent requests. After a failure, the next request tries again.
async fn load_once<T: Send + Sync + 'static>(
    cells: &LoadCells<T>,
    found: &LocalModel,
    load: impl FnOnce() -> Result<Arc<T>, String> + Send + 'static,
) -> Result<Arc<T>, ApiError> {
    let cell = {
        let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(LoadCell { id: found.name.clone(), model: OnceCell::new() });
        Arc::clone(cells.entry(found.path.clone()).or_insert_with(new))
    };
    if let Some(model) = cell.model.get() {
        return Ok(Arc::clone(model));
    }
    // In a task of its own, so that loading continues for later requests if this client leaves.
    let model = tokio::spawn(async move {
        let load = || async {
            let loaded = tokio::task::spawn_blocking(load).await;
            loaded.map_err(|error| error.to_string())?
        };
        cell.model.get_or_try_init(load).await.cloned()
    });
    let model = model.await.map_err(|error| error.to_string()).flatten();
    model.map_err(|why| ApiError::internal(format!("{} can't be loaded: {why}", found.name)))
}

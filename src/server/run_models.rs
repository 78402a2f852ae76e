//! The band for a run: for a new run the server's, for a recorded one the models that it was begun with. How models are
//! found and loaded is the registry's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bandmaster_band::{BandFiles, assemble_band};
use bandmaster_hub::{LocalModel, Role};
use bandmaster_orchestrator::{Band, Llm, ModelFiles, RunStart, SessionLlm, StartKind};

use super::error::ApiError;
use super::registry::ModelRegistry;

/// The band for a run. A new run is told which models it gets, so that it can go on with the same ones. A recorded run
/// that does not say which it had gets the server's.
///
/// # Errors
/// 404 if this server has no band, 409 if it hasn't got the models of a recorded run, 500 if loading fails.
pub(crate) async fn band_for(models: &Arc<ModelRegistry>, start: &mut RunStart) -> Result<Band, ApiError> {
    if start.kind == StartKind::New {
        start.request.models = models.recorded_band();
    }
    let recorded = start.request.models.clone().filter(|_| start.kind != StartKind::New);
    match recorded {
        None => models.band().await.cloned(),
        Some(wanted) => match find(&wanted, &models.known(), &models.loads_as()) {
            Ok(files) => {
                start.warnings.extend(files.changed_since(&wanted));
                load(models, files, start).await
            }
            Err(why) => Err(refuse(start, &wanted, &why)),
        },
    }
}

/// Finds the files of a run's models among those that the server knows: a path in the record of a run opens no file.
/// Otherwise says what is missing.
fn find(wanted: &ModelFiles, known: &[LocalModel], loads_as: &(usize, String)) -> Result<BandFiles, String> {
    let (context_tokens, kv_type) = loads_as;
    if (wanted.context_tokens, &wanted.kv_type) != (*context_tokens, kv_type) {
        return Err(format!(
            "loads models with a context of {context_tokens} tokens and a cache of type {kv_type}"
        ));
    }
    let same = |path: &Path, other: &Path| {
        path == other
            || path.canonicalize().is_ok_and(|path| other.canonicalize().is_ok_and(|other| path == other))
    };
    let one = |path: &String| {
        let found =
            known.iter().find(|model| model.role != Role::Embeddings && same(Path::new(path), &model.path));
        found.cloned().ok_or_else(|| format!("does not have {}", file_name(path)))
    };
    Ok(BandFiles {
        planner: one(&wanted.planner)?,
        workers: wanted.workers.iter().map(one).collect::<Result<_, _>>()?,
        embeddings: None,
        workers_named: wanted.workers_named,
    })
}

async fn load(models: &Arc<ModelRegistry>, files: BandFiles, start: &RunStart) -> Result<Band, ApiError> {
    let mut loaded = HashMap::new();
    for file in files.writers() {
        loaded.insert(file.path.clone(), models.load_model(file).await?);
    }
    let files = match &start.state().band {
        Some(band) => files.named_as(band),
        None => files,
    };
    let named = |file: &LocalModel| {
        let llm: Arc<dyn Llm> = Arc::new(SessionLlm::new(Arc::clone(&loaded[&file.path])).named(&file.name));
        (file.path.clone(), llm)
    };
    let llms: HashMap<PathBuf, Arc<dyn Llm>> = files.writers().into_iter().map(named).collect();
    // It only helps to choose a strategy, so it is no part of the run's own models.
    Ok(assemble_band(&files, &llms, models.band_embedder().await?))
}

fn refuse(start: &RunStart, wanted: &ModelFiles, why: &str) -> ApiError {
    let id = &start.state().id;
    let command = match &start.kind {
        StartKind::Answered(_) => format!("runs answer {id} TEXT"),
        StartKind::Forked { from, at, .. } => format!("runs fork {from} --at {at}"),
        StartKind::New | StartKind::Resumed => format!("runs resume {id}"),
    };
    let ModelFiles { planner, workers, context_tokens, kv_type, .. } = wanted;
    let workers: Vec<&str> = workers.iter().map(|worker| file_name(worker)).collect();
    let workers = if workers.is_empty() { "none".to_owned() } else { workers.join(", ") };
    ApiError::conflict(format!(
        "run {id} goes on with its own models (planner {}, workers {workers}, context of {context_tokens} tokens, cache \
         of type {kv_type}), but this server {why}: `bandmaster {command} --standalone` loads them on this machine",
        file_name(planner),
    ))
}

/// The last part of a path. Where the server keeps its models is not for everybody.
fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(path: &str, role: Role) -> LocalModel {
        let name = file_name(path).trim_end_matches(".gguf").to_owned();
        LocalModel { name, role, path: path.into(), bytes: 1, memory_bytes: 1 }
    }

    #[test]
    fn a_runs_models_are_those_of_the_same_path_loaded_in_the_same_way() {
        let shelf = [
            known("/m/big.gguf", Role::Planner),
            known("/m/small.gguf", Role::Worker),
            known("/m/vectors", Role::Embeddings),
        ];
        let wanted = |planner: &str, workers: &[&str]| ModelFiles {
            planner: planner.to_owned(),
            workers: workers.iter().map(|path| (*path).to_owned()).collect(),
            workers_named: true,
            context_tokens: 4096,
            kv_type: "f16".to_owned(),
            stamps: Default::default(),
        };
        let check = |wanted: &ModelFiles, context_tokens: usize, kv_type: &str, expected: &str| {
            let found = match find(wanted, &shelf, &(context_tokens, kv_type.to_owned())) {
                Ok(files) => {
                    let workers: Vec<&str> = files.workers.iter().map(|file| file.name.as_str()).collect();
                    format!("{} + {}", files.planner.name, workers.join(" "))
                }
                Err(why) => why,
            };
            assert_eq!(found, expected, "{wanted:?}");
        };
        check(&wanted("/m/big.gguf", &["/m/small.gguf", "/m/big.gguf"]), 4096, "f16", "big + small big");
        check(&wanted("/m/big.gguf", &["/n/small.gguf"]), 4096, "f16", "does not have small.gguf");
        check(&wanted("/m/vectors", &[]), 4096, "f16", "does not have vectors");
        let other = "loads models with a context of 8192 tokens and a cache of type f16";
        check(&wanted("/m/big.gguf", &[]), 8192, "f16", other);
        let other = "loads models with a context of 4096 tokens and a cache of type q8";
        check(&wanted("/m/big.gguf", &[]), 4096, "q8", other);
    }
}

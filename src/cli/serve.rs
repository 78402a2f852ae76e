//! `serve`: turns its settings into what the server needs, and starts it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{Config, ServeSettings};
use super::error::CliError;
use super::interrupt::INTERRUPTED;
use super::load;
use super::process_limits::{open_files, runtime};
use super::settings::kv_type_name;
use super::settings::serve::{self as specs, ModelAlias, Retention};
use super::{print, start_log, terminal};
use crate::band::{BandFiles, Loader, MemoryLimits, engine_config, limits_for_server};
use crate::client::SOCKET;
use crate::engine::{EngineConfig, EngineHandle};
use crate::hub::{Hub, LocalModel, Role, format_memory_size};
use crate::journal::AsyncJournal;
use crate::server::{
    Alias, ApiKeys, App, BoundServer, Hosts, Layers, Listen, Loaders, Metrics, ModelRegistry, Origins,
    OtlpEndpoint, Runs, Shutdown, SpanExport, bind, connections_within, delete_old_responses,
    return_freed_memory, router, with_layers,
};

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// Wrong usage, an address that is in use, models that can't be loaded.
pub fn serve(config: &Config, verbose: u8) -> Result<ExitCode, CliError> {
    let settings = &config.serve;
    let (origins, hosts) = origins_and_hosts(settings)?;
    let export = export(config)?;
    // A server logs one level more than other commands, because the log is all that its owner sees of it.
    start_log(verbose + 1, settings.log.value, export.as_ref().map(SpanExport::layer));
    let keys = keys(settings)?;
    let hub = config.hub();
    let named = named(&hub, &settings.models.value)?;
    let aliases = aliases(&hub, settings, &named)?;
    let band = band(config, &hub, !named.is_empty())?;
    let home = &config.home.value;
    let state_dir = home.create_state_dir()?;
    let drain = Duration::from_secs(settings.drain_seconds.value);
    let address = SocketAddr::new(settings.host.value, settings.port.value);
    let connections_max = connections_within(settings.max_connections.value, open_files());
    let listen = Listen {
        socket: (!settings.standalone.value).then(|| state_dir.join(SOCKET)),
        per_address_max: settings.max_connections_per_address.as_ref().map(|most| most.value),
        ..Listen::new(address, drain, connections_max)
    };
    let runtime = runtime(2)?;
    let bound = runtime.block_on(bind(&listen)).map_err(|error| CliError::Failed(error.into()))?;
    let journal = AsyncJournal::open(&home.runs_file())?;
    let memory = limits_for_server(load::available(config))?;
    let band = band.filter(|band| fits_into_memory(band, &memory));
    let (engine, loaders) = engine(config, &memory)?;
    let metrics = Arc::new(Metrics::new());
    let shutdown = Shutdown::new(bound.shutdown_signal(), drain);
    let registry = ModelRegistry::new(hub, named.clone(), band, loaders).with_aliases(aliases);
    // The record belongs to the other server if this one is standalone, so it deletes nothing from it.
    if let (Retention::For(age), false) = (settings.keep_responses.value, settings.standalone.value) {
        runtime.spawn(delete_old_responses(journal.clone(), age));
    }
    let app =
        Arc::new(App::new(registry, Runs::new(journal), engine.clone(), Arc::clone(&metrics), shutdown));
    let layers = Layers { metrics, keys, origins, hosts };
    print(&format!("listening on http://{}\n", bound.address()))?;
    runtime.spawn(return_freed_memory());
    let signal = bound.shutdown_signal();
    let shutdown_began = runtime.spawn(async move {
        signal.wait().await;
        Instant::now()
    });
    let result = runtime.block_on(run(&app, bound, &layers, named));
    let shutdown_began = runtime.block_on(shutdown_began).unwrap_or_else(|_| Instant::now());
    runtime.block_on(app.runs.end());
    engine.shutdown();
    // Clients with open requests have had their last answer.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(export) = export {
        export.end(drain.saturating_sub(shutdown_began.elapsed()));
    }
    result
}

/// Which web pages may read answers, and the host names under which requests are accepted.
///
/// # Errors
/// An address that others can reach without a file of keys.
fn origins_and_hosts(settings: &ServeSettings) -> Result<(Arc<Origins>, Arc<Hosts>), CliError> {
    let (host, has_keys) = (&settings.host, settings.api_key_file.is_some());
    if !host.value.is_loopback() && !has_keys {
        let place = host.origin.describe(&specs::HOST.about, host.value);
        return Err(CliError::usage(format!(
            "{place}: others can reach this address, so API keys are needed: give --api-key-file FILE (one key \
             per line; `openssl rand -hex 24` makes one)",
        )));
    }
    let origins = Origins::parse(&settings.cors_origins.value).map_err(CliError::usage)?;
    let origins = Arc::new(origins);
    let hosts = Hosts::new(host.value, has_keys, &settings.allow_hosts.value, Arc::clone(&origins));
    Ok((origins, Arc::new(hosts.map_err(CliError::usage)?)))
}

/// The API keys that are accepted; `None` accepts requests without a key.
fn keys(settings: &ServeSettings) -> Result<Option<Arc<ApiKeys>>, CliError> {
    let Some(file) = &settings.api_key_file else { return Ok(None) };
    let keys =
        ApiKeys::read(&file.value).map_err(|error| CliError::usage(format!("--api-key-file: {error}")))?;
    Ok(Some(Arc::new(keys)))
}

/// The exporter of spans, if a collector is configured.
fn export(config: &Config) -> Result<Option<SpanExport>, CliError> {
    let Some(collector) = &config.serve.otlp_endpoint else { return Ok(None) };
    let export =
        OtlpEndpoint::new(&collector.value, config.offline.value).and_then(|to| SpanExport::start(&to));
    export.map(Some).map_err(|problem| {
        let place = collector.origin.describe(&specs::OTLP_ENDPOINT.about, &collector.value);
        CliError::usage(format!("{place}: {problem}"))
    })
}

async fn run(
    app: &Arc<App>,
    bound: BoundServer,
    layers: &Layers,
    named: Vec<LocalModel>,
) -> Result<ExitCode, CliError> {
    let loading = {
        let app = Arc::clone(app);
        tokio::spawn(async move {
            for model in named {
                let loaded = match model.role {
                    Role::Embeddings => app.models.embedder(&model.name).await.map(drop),
                    _ => app.models.model(&model.name).await.map(drop),
                };
                loaded.map_err(|error| error.message)?;
            }
            app.set_ready();
            Ok::<(), String>(())
        })
    };
    // Whoever can reach the private socket is this machine's user: no key is needed, and no web page can reach it.
    let trusted = Layers {
        keys: None,
        origins: Arc::default(),
        hosts: Arc::default(),
        metrics: Arc::clone(&layers.metrics),
    };
    let routes = router(Arc::clone(app));
    let (failed, failure) = tokio::sync::oneshot::channel();
    let shutdown = async {
        let broken = async {
            match loading.await {
                Ok(Ok(())) => std::future::pending().await,
                Ok(Err(why)) => why,
                Err(error) => error.to_string(),
            }
        };
        tokio::select! {
            () = shutdown_signal() => {}
            why = broken => drop(failed.send(why)),
        }
        // A second signal exits at once.
        tokio::spawn(async {
            shutdown_signal().await;
            std::process::exit(i32::from(INTERRUPTED));
        });
    };
    let result =
        bound.serve(with_layers(routes.clone(), layers), with_layers(routes, &trusted), shutdown).await;
    if let Ok(why) = failure.await {
        return Err(CliError::Failed(anyhow::anyhow!(why)));
    }
    if result.cut > 0 {
        terminal::err(&format!(
            "{} connections were cut: --drain-seconds gives them more time\n",
            result.cut
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or SIGTERM.
async fn shutdown_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn named(hub: &Hub, typed: &[String]) -> Result<Vec<LocalModel>, CliError> {
    Ok(typed.iter().map(|name| hub.find(name)).collect::<Result<_, _>>()?)
}

/// Finds the models of the aliases: those of `--model`, or installed ones.
fn aliases(hub: &Hub, settings: &ServeSettings, named: &[LocalModel]) -> Result<Vec<Alias>, CliError> {
    let model = |typed: &str| {
        let at = settings.models.value.iter().position(|model| model == typed);
        let found = at.map(|at| &named[at]).or_else(|| named.iter().find(|model| model.name == typed));
        let installed = || hub.installed().iter().any(|model| model.name == typed).then(|| typed.to_owned());
        found.map(|model| model.name.clone()).or_else(installed)
    };
    let resolve = |alias: &ModelAlias| {
        let (id, problem) = match &alias.model {
            Some(typed) => (model(typed), "no such model: name one that --model names or that is installed"),
            None => {
                let first = named.first().map(|model| model.name.clone());
                (first, "there is no model to name: use it together with --model, or write NAME=MODEL")
            }
        };
        let id = id.ok_or_else(|| {
            let place = settings.aliases.origin.describe(&specs::ALIASES.about, alias);
            CliError::usage(format!("{place}: {problem}"))
        })?;
        Ok(Alias { name: alias.name.clone(), model: id })
    };
    settings.aliases.value.iter().map(resolve).collect()
}

/// The band's files, if this server has a band. Without a named planner, a home that has models gets a band
/// only if the band's models are complete; an empty home downloads them first, after saying what and from
/// where, unless `--model` was given.
fn band(config: &Config, hub: &Hub, models_named: bool) -> Result<Option<BandFiles>, CliError> {
    if config.planner.is_none() {
        let has_writer = hub.installed().iter().any(|model| model.role != Role::Embeddings);
        let complete = hub.missing(&config.band(hub).models()).is_ok_and(|missing| missing.is_empty());
        if !complete && (has_writer || models_named) {
            return Ok(None);
        }
    }
    load::find(config, hub, false).map(Some)
}

/// Whether the band's largest model fits into memory. If not, the server warns once and runs without a band.
fn fits_into_memory(band: &BandFiles, memory: &MemoryLimits) -> bool {
    let largest = band.workers.iter().chain([&band.planner]).max_by_key(|model| model.bytes);
    let too_large = largest.filter(|model| model.memory_bytes > memory.bytes);
    if let Some(model) = too_large {
        let (name, needed, may) =
            (&model.name, format_memory_size(model.memory_bytes), format_memory_size(memory.bytes));
        tracing::warn!(
            "no band: {name} needs about {needed}, but {may} are available: raise --memory or name a smaller --planner"
        );
    }
    too_large.is_none()
}

fn engine(config: &Config, memory: &MemoryLimits) -> Result<(EngineHandle, Loaders), CliError> {
    let engine_config = EngineConfig {
        queue_max: config.serve.max_queue.value,
        slowdown_max: config.serve.max_slowdown.value,
        ..engine_config(memory)
    };
    let loader = Arc::new(Loader::start(engine_config, load::settings(config))?);
    let engine = loader.engine().clone();
    let embedders = Arc::clone(&loader);
    let loaders = Loaders {
        model: Box::new(move |found| loader.model(found, None).map_err(|error| error.with_causes())),
        embedder: Box::new(move |found| embedders.embedder(found).map_err(|error| error.with_causes())),
        context_tokens: config.context_tokens.value,
        kv_type: kv_type_name(config.kv_type.value).to_owned(),
    };
    Ok((engine, loaders))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::flags::{Cli, Command};

    fn check_host(words: &[&str]) -> Result<(), String> {
        let home = tempfile::tempdir().unwrap();
        let words = [&["bandmaster", "serve", "--home", home.path().to_str().unwrap()], words].concat();
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Serve(flags) = cli.command else { panic!("serve was typed") };
        let config = Config::resolve(&cli.global, &flags.band, &flags, &|_| None).unwrap();
        match origins_and_hosts(&config.serve) {
            Ok(_) => Ok(()),
            Err(CliError::Usage(message)) => Err(message),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_that_others_reach_needs_keys() {
        for open in ["0.0.0.0", "::", "192.168.1.2", "::ffff:1.2.3.4"] {
            let message = check_host(&["--host", open]).unwrap_err();
            for part in ["--host", open, "--api-key-file", "openssl"] {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
            assert_eq!(check_host(&["--host", open, "--api-key-file", "keys"]), Ok(()));
        }
        for own in ["127.0.0.1", "127.1.2.3", "::1"] {
            assert_eq!(check_host(&["--host", own, "--cors-origin", "*", "--allow-host", "box.lan"]), Ok(()));
        }
    }
}

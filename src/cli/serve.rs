//! `serve`: turns its flags into what the server needs, and starts it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bandmaster_models::heap;

use super::config::{Config, Origin, Setting};
use super::error::CliError;
use super::flags::ServeFlags;
use super::interrupt::INTERRUPTED;
use super::load;
use super::surroundings::{open_files, runtime};
use super::units::parse_age;
use super::{print, start_log, terminal};
use crate::band::{BandFiles, Loader, Memory, engine_config, memory_to_serve};
use crate::client::SOCKET;
use crate::engine::{EngineConfig, EngineHandle};
use crate::hub::gib;
use crate::hub::{Found, Hub, Role};
use crate::journal::Desk;
use crate::server::auth::Keys;
use crate::server::budget::freed;
use crate::server::forget::forget_responses;
use crate::server::layers::{Hosts, Layers, Origins, around};
use crate::server::metrics::Metrics;
use crate::server::runs::Runs;
use crate::server::serve::{Bound, Listen, bind, descriptors};
use crate::server::shelf::{Alias, BAND, Loaders, Shelf};
use crate::server::spans::{Endpoint, Export};
use crate::server::{App, Ending, router};

/// How long a client may take to send the head of a request.
const HEADER_TIME_MAX: Duration = Duration::from_secs(30);
/// A client that accepts no bytes of its answer for this long is disconnected.
const TAKING_TIME_MAX: Duration = Duration::from_secs(60);
const HEADERS_MAX: usize = 100;
const CONNECTIONS_MAX: usize = 1 << 16;
/// Open files that are not connections: models, the record, listening sockets, and the runtime's own.
const OTHER_FILES: u64 = 32;
/// At shutdown, runs without a listener are cancelled; this is the time for recording what they had.
const RUNS_END_MAX: Duration = Duration::from_secs(3);
/// How long to then wait for a record that another process has locked. Unwritten events are lost.
const RECORD_TIME_MAX: Duration = Duration::from_secs(10);

/// Time for exporting the last spans, even if the drain time is used up: these spans include the answers that were cut.
const SPANS_TIME_MIN: Duration = Duration::from_secs(1);

const GIVE_BACK_AFTER: Duration = Duration::from_millis(500);
const QUEUE_MAX: usize = 1 << 16;
const DRAIN_SECONDS_MAX: u64 = 3600;

/// The validated flags of `serve`. The models of the band are in [`Config`].
#[derive(Debug)]
pub struct ServeOptions {
    /// Port 0 picks a free port.
    pub address: SocketAddr,
    /// Models to load before the first request, as typed.
    pub models: Vec<String>,
    /// Extra model names, each with the model as typed; `None` means the first of `models`.
    pub aliases: Vec<(String, Option<String>)>,
    /// Always set unless `address` is loopback.
    pub api_key_file: Option<PathBuf>,
    /// How many requests may wait.
    pub queue_max: usize,
    /// How many times slower a reply may become because its model answers others too.
    pub slowdown_max: u32,
    /// If set, there is no private socket, so other commands can't join this server's engine.
    pub standalone: bool,
    /// Origins of web pages that may read answers.
    pub origins: Arc<Origins>,
    /// Host names under which the server accepts requests.
    pub hosts: Arc<Hosts>,
    pub connections_max: usize,
    /// Connections at a time from one address; 0 means no limit.
    pub per_address_max: Option<usize>,
    /// How long running answers get at shutdown.
    pub drain: Duration,
    /// Stored responses older than this are deleted; `None` keeps them.
    pub keep_responses: Option<Duration>,
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// Wrong usage, an address that is in use, models that can't be loaded.
pub fn serve(config: &Config, flags: &ServeFlags, verbose: u8) -> Result<ExitCode, CliError> {
    let options = options(flags)?;
    let export = export(config, flags)?;
    // A server logs one level more than other commands, because the log is all that its owner sees of it.
    start_log(verbose + 1, flags.log, export.as_ref().map(Export::layer));
    let keys = options.api_key_file.as_deref().map(Keys::read).transpose();
    let keys = keys.map_err(|error| CliError::usage(format!("--api-key-file: {error}")))?.map(Arc::new);
    let hub = config.hub();
    let named = named(&hub, &options.models)?;
    let aliases = aliases(&hub, &options, &named)?;
    let band = band(config, &hub, !named.is_empty())?;
    let home = &config.home.value;
    let state_dir = home.create_state_dir()?;
    let listen = Listen {
        address: options.address,
        socket: (!options.standalone).then(|| state_dir.join(SOCKET)),
        header_timeout: HEADER_TIME_MAX,
        taking_timeout: TAKING_TIME_MAX,
        headers_max: HEADERS_MAX,
        drain: options.drain,
        connections_max: connections(options.connections_max, open_files()),
        per_address_max: options.per_address_max,
    };
    let runtime = runtime(2)?;
    let bound = runtime.block_on(bind(&listen)).map_err(|error| CliError::Failed(error.into()))?;
    let desk = Desk::open(&home.runs_file())?;
    let memory = memory_to_serve(load::available(config))?;
    let band = band.filter(|band| fits(band, &memory));
    let (engine, loaders) = engine(config, &options, &memory)?;
    let metrics = Arc::new(Metrics::new());
    let ending = Ending::new(bound.drain(), options.drain);
    let shelf = Shelf::new(hub, named.clone(), band, loaders).with_aliases(aliases);
    // The record belongs to the other server if this one is standalone, so it deletes nothing from it.
    if let Some(age) = options.keep_responses.filter(|_| !options.standalone) {
        runtime.spawn(forget_responses(desk.clone(), age));
    }
    let app = Arc::new(App::new(shelf, Runs::new(desk), engine.clone(), Arc::clone(&metrics), ending));
    let layers = Layers { metrics, keys, origins: options.origins, hosts: options.hosts };
    print(&format!("listening on http://{}\n", bound.address()))?;
    runtime.spawn(give_back());
    let drain = bound.drain();
    let asked_to_end = runtime.spawn(async move {
        drain.begun().await;
        Instant::now()
    });
    let ended = runtime.block_on(run(&app, bound, &layers, named));
    let asked_to_end = runtime.block_on(asked_to_end).unwrap_or_else(|_| Instant::now());
    runtime.block_on(app.runs.end(RUNS_END_MAX, RECORD_TIME_MAX));
    engine.shutdown();
    // Clients with open requests have had their last answer.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(export) = export {
        let left = options.drain.saturating_sub(asked_to_end.elapsed());
        export.end(left.max(SPANS_TIME_MIN));
    }
    ended
}

/// Returns memory of large requests to the system, after a pause in which the next request may reuse it.
async fn give_back() {
    loop {
        freed().await;
        tokio::time::sleep(GIVE_BACK_AFTER).await;
        let _ = tokio::task::spawn_blocking(heap::give_back).await;
    }
}

/// The exporter of spans, if a collector is configured.
fn export(config: &Config, flags: &ServeFlags) -> Result<Option<Export>, CliError> {
    let typed = flags.otlp_endpoint.clone().map(|value| Setting { value, origin: Origin::Flag });
    let Some(named) = typed.or_else(|| config.otlp_endpoint.clone()) else { return Ok(None) };
    let place = match &named.origin {
        Origin::Flag => "--otlp-endpoint".to_owned(),
        origin => format!("otlp-endpoint ({origin})"),
    };
    let export = Endpoint::new(&named.value, config.offline.value).and_then(|to| Export::start(&to));
    export.map(Some).map_err(|problem| CliError::usage(format!("{place}: {problem}")))
}

async fn run(app: &Arc<App>, bound: Bound, layers: &Layers, named: Vec<Found>) -> Result<ExitCode, CliError> {
    let loading = {
        let app = Arc::clone(app);
        tokio::spawn(async move {
            for model in named {
                let loaded = match model.role {
                    Role::Embeddings => app.shelf.embedder(&model.name).await.map(drop),
                    _ => app.shelf.model(&model.name).await.map(drop),
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
            () = asked_to_end() => {}
            why = broken => drop(failed.send(why)),
        }
        // A second signal exits at once.
        tokio::spawn(async {
            asked_to_end().await;
            std::process::exit(i32::from(INTERRUPTED));
        });
    };
    let ended = bound.serve(around(routes.clone(), layers), around(routes, &trusted), shutdown).await;
    if let Ok(why) = failure.await {
        return Err(CliError::Failed(anyhow::anyhow!(why)));
    }
    if ended.cut > 0 {
        terminal::err(&format!("{} connections were cut: --drain-seconds gives them longer\n", ended.cut));
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or SIGTERM.
async fn asked_to_end() {
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

fn named(hub: &Hub, typed: &[String]) -> Result<Vec<Found>, CliError> {
    Ok(typed.iter().map(|name| hub.find(name)).collect::<Result<_, _>>()?)
}

/// Resolves `--alias`, which may name a model from `--model` or an installed one.
fn aliases(hub: &Hub, options: &ServeOptions, named: &[Found]) -> Result<Vec<Alias>, CliError> {
    let model = |typed: &str| {
        let at = options.models.iter().position(|model| model == typed);
        let found = at.map(|at| &named[at]).or_else(|| named.iter().find(|model| model.name == typed));
        let installed = || hub.installed().iter().any(|model| model.name == typed).then(|| typed.to_owned());
        found.map(|model| model.name.clone()).or_else(installed)
    };
    let alias = |(name, typed): &(String, Option<String>)| {
        let id = match typed {
            Some(typed) => model(typed).ok_or_else(|| {
                let problem = "no such model: name one that --model names or that is installed";
                CliError::usage(format!("--alias {name}={typed}: {problem}"))
            })?,
            None => named.first().map(|model| model.name.clone()).ok_or_else(|| {
                let problem = "nothing to name: use it beside --model, or write NAME=MODEL";
                CliError::usage(format!("--alias {name}: {problem}"))
            })?,
        };
        Ok(Alias { name: name.clone(), model: id })
    };
    options.aliases.iter().map(alias).collect()
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
fn fits(band: &BandFiles, memory: &Memory) -> bool {
    let largest = band.workers.iter().chain([&band.planner]).max_by_key(|model| model.bytes);
    let too_large = largest.filter(|model| model.memory_bytes > memory.bytes);
    if let Some(model) = too_large {
        let (name, needed, may) = (&model.name, gib(model.memory_bytes), gib(memory.bytes));
        tracing::warn!(
            "no band: {name} needs about {needed}, and there are {may}: raise --memory or name a smaller --planner"
        );
    }
    too_large.is_none()
}

/// Reduces the number of connections to what the open-file limit allows. Half of the files are for the private socket.
fn connections(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files else { return wanted };
    let room = files.saturating_sub(OTHER_FILES) / 2;
    let fits = |places: &usize| descriptors(*places) as u64 <= room;
    let places = (1..=wanted).rev().find(fits).unwrap_or(1);
    if places < wanted {
        tracing::warn!(
            "{places} connections at a time, since {files} files may be open: raise that limit (ulimit -n)"
        );
    }
    places
}

fn engine(
    config: &Config,
    options: &ServeOptions,
    memory: &Memory,
) -> Result<(EngineHandle, Loaders), CliError> {
    let engine_config = EngineConfig {
        queue_max: options.queue_max,
        slowdown_max: options.slowdown_max,
        ..engine_config(memory)
    };
    let loader = Arc::new(Loader::start(engine_config, load::settings(config))?);
    let engine = loader.engine().clone();
    let embedders = Arc::clone(&loader);
    let loaders = Loaders {
        model: Box::new(move |found| loader.model(found, None).map_err(|error| error.with_causes())),
        embedder: Box::new(move |found| embedders.embedder(found).map_err(|error| error.with_causes())),
    };
    Ok((engine, loaders))
}

/// Validates the flags and converts them to what the server needs.
///
/// # Errors
/// [`CliError::Usage`] naming the flag and what to do.
pub fn options(flags: &ServeFlags) -> Result<ServeOptions, CliError> {
    let host = host(&flags.host)?;
    if !host.is_loopback() && flags.api_key_file.is_none() {
        return Err(CliError::usage(format!(
            "--host {}: others can reach this address, so --api-key-file FILE must say who may ask (a line a key; `openssl rand -hex 24` makes one)",
            flags.host
        )));
    }
    if !(1..=QUEUE_MAX).contains(&flags.max_queue) {
        return Err(CliError::usage(format!(
            "--max-queue {}: give a number of requests from 1 to {QUEUE_MAX}",
            flags.max_queue
        )));
    }
    if flags.max_slowdown == 0 {
        return Err(CliError::usage(
            "--max-slowdown 0: give a number from 1 (no two replies at once) up; 10 is usual",
        ));
    }
    if flags.drain_seconds > DRAIN_SECONDS_MAX {
        return Err(CliError::usage(format!(
            "--drain-seconds {}: give a number of seconds from 0 to {DRAIN_SECONDS_MAX}",
            flags.drain_seconds
        )));
    }
    let keep_responses = match flags.keep_responses.as_str() {
        "forever" => None,
        age => Some(parse_age(age).ok().filter(|age| !age.is_zero()).ok_or_else(|| {
            CliError::usage(format!("--keep-responses {age}: give an age, such as 30d or 12h, or `forever`"))
        })?),
    };
    let aliases = flags.names.aliases.iter().map(|typed| alias(typed)).collect::<Result<_, _>>()?;
    let doors = &flags.doors;
    let origins = Origins::parse(&doors.cors_origins)
        .map_err(|problem| CliError::usage(format!("--cors-origin: {problem}")))?;
    let origins = Arc::new(origins);
    let hosts = Hosts::new(host, flags.api_key_file.is_some(), &doors.allow_hosts, Arc::clone(&origins))
        .map_err(|problem| CliError::usage(format!("--allow-host: {problem}")))?;
    if !(1..=CONNECTIONS_MAX).contains(&doors.max_connections) {
        return Err(CliError::usage(format!(
            "--max-connections {}: give a number of connections from 1 to {CONNECTIONS_MAX}",
            doors.max_connections
        )));
    }
    Ok(ServeOptions {
        address: SocketAddr::new(host, flags.port),
        models: flags.names.models.clone(),
        aliases,
        api_key_file: flags.api_key_file.clone(),
        queue_max: flags.max_queue,
        slowdown_max: flags.max_slowdown,
        standalone: flags.standalone,
        origins,
        hosts: Arc::new(hosts),
        connections_max: doors.max_connections,
        per_address_max: doors.max_connections_per_address,
        drain: Duration::from_secs(flags.drain_seconds),
        keep_responses,
    })
}

/// Parses `NAME` or `NAME=MODEL`.
fn alias(typed: &str) -> Result<(String, Option<String>), CliError> {
    let (name, model) = match typed.split_once('=') {
        Some((name, model)) => (name.trim(), Some(model.trim())),
        None => (typed.trim(), None),
    };
    let problem = match (name, model) {
        ("", _) | (_, Some("")) => "write NAME or NAME=MODEL",
        (name, _) if name.split(':').next() == Some(BAND) => "this name is the band's",
        (name, _) if name.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            "a name has no white space in it"
        }
        _ => return Ok((name.to_owned(), model.map(str::to_owned))),
    };
    Err(CliError::usage(format!("--alias {typed}: {problem}")))
}

/// Parses an address. Host names are not resolved, because what they resolve to could change after the check.
fn host(typed: &str) -> Result<IpAddr, CliError> {
    if typed.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    typed.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| {
        CliError::usage(format!("--host {typed}: give an address, such as 127.0.0.1, ::1 or 0.0.0.0"))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        flags: ServeFlags,
    }

    fn typed(words: &[&str]) -> Result<ServeOptions, String> {
        let typed = Typed::try_parse_from([&["serve"], words].concat()).map_err(|error| error.to_string())?;
        options(&typed.flags).map_err(|error| match error {
            CliError::Usage(message) => message,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn nothing_typed_is_loopback_without_a_key() {
        let options = typed(&[]).unwrap();
        assert_eq!(options.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((options.queue_max, options.drain), (256, Duration::from_secs(30)));
        assert!(!options.standalone);
        assert_eq!((options.api_key_file, options.models), (None, Vec::new()));
        assert_eq!(*options.origins, Origins::default());
        assert_eq!(options.keep_responses, Some(Duration::from_secs(30 * 86_400)));
    }

    #[test]
    fn address_is_host_and_port() {
        let check = |words: &[&str], expected: &str| {
            assert_eq!(typed(words).unwrap().address, expected.parse().unwrap(), "{words:?}");
        };
        check(&["--port", "0"], "127.0.0.1:0");
        check(&["--host", "LocalHost"], "127.0.0.1:8080");
        check(&["--host", "127.1.2.3"], "127.1.2.3:8080");
        check(&["--host", "::1"], "[::1]:8080");
        check(&["--host", "[::1]"], "[::1]:8080");
        check(&["--host", "0.0.0.0", "--api-key-file", "keys"], "0.0.0.0:8080");
        check(&["--host", "::", "--api-key-file", "keys"], "[::]:8080");
    }

    #[test]
    fn aliases_name_the_first_model_or_the_one_behind_them() {
        let aliases = typed(&["--model", "m", "--alias", "gpt-4o", "--alias", "small=n"]).unwrap().aliases;
        assert_eq!(aliases, [("gpt-4o".into(), None), ("small".into(), Some("n".into()))]);
    }

    #[test]
    fn responses_are_kept_as_long_as_is_said() {
        let kept = |typed_age: &str| typed(&["--keep-responses", typed_age]).unwrap().keep_responses;
        assert_eq!(kept("12h"), Some(Duration::from_secs(12 * 3600)));
        assert_eq!(kept("forever"), None);
    }

    #[test]
    fn wrong_usage_names_the_flag_and_the_way_out() {
        let check = |words: &[&str], expected: &[&str]| {
            let message = typed(words).map(|_| ()).unwrap_err();
            for part in expected {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
        };
        for open in ["0.0.0.0", "::", "192.168.1.2", "::ffff:1.2.3.4"] {
            check(&["--host", open], &["--host", open, "--api-key-file", "openssl"]);
        }
        check(&["--host", "example.com"], &["--host example.com", "127.0.0.1"]);
        check(&["--host", ""], &["--host", "127.0.0.1"]);
        check(&["--port", "65536"], &["--port"]);
        check(&["--max-slowdown", "0"], &["--max-slowdown 0", "from 1"]);
        check(&["--max-queue", "0"], &["--max-queue 0", "from 1 to 65536"]);
        check(&["--drain-seconds", "86400"], &["--drain-seconds 86400", "3600"]);
        for unclear in ["0", "0d", "month"] {
            check(&["--keep-responses", unclear], &["--keep-responses", unclear, "30d", "forever"]);
        }
        check(&["--cors-origin", "example.com"], &["--cors-origin", "`example.com`", "https://"]);
        check(&["--log", "xml"], &["--log", "text", "json"]);
        check(&["--alias", "=a"], &["--alias =a", "NAME=MODEL"]);
        check(&["--alias", "a="], &["--alias a=", "NAME=MODEL"]);
        check(&["--alias", "a b"], &["white space"]);
        check(&["--alias", "bandmaster:map"], &["band"]);
    }
}

//! `bench workflow`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;

use super::bench_origin::origin;
use super::config::Config;
use super::error::CliError;
use super::flags::WorkflowFlags;
use super::interrupt::{INTERRUPTED, Interrupt};
use super::load;
use super::process_limits::{runtime, runtime_error};
use super::screen::{Screen, View};
use super::servers::{self, RoleUrl};
use super::settings::kv_type_name;
use super::status::StatusLine;
use super::units::parse_bytes;
use super::{print, print_json};
use crate::band::{BandError, Loader, MemoryLimits, engine_config, limits_for_models};
use crate::bench::Origin;
use crate::bench::workflow::{
    Backend, LateLoader, LocalBackend, Models, OtherSetting, Round, ServerBackend, Trace, TraceOptions,
    TraceResult, WorkflowError, WorkflowReport, median_round, run_trace,
};
use crate::client::{Client, Endpoint};
use crate::engine::{EngineConfig, Order};
use crate::hub::LocalModel;
use crate::text::LoadedModel;

/// Engine settings of `--set` and `--against`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    order: Order,
    warm: bool,
    speculate: bool,
    /// KV cache in bytes; `None` uses what --memory leaves.
    cache_bytes: Option<u64>,
}

impl Settings {
    fn with(mut self, changes: &[String]) -> Result<Self, CliError> {
        let switch = |key: &str, value: &str| match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(CliError::usage(format!("{key}={value}: expected on or off"))),
        };
        for change in changes {
            let (key, value) = change.split_once('=').ok_or_else(|| {
                CliError::usage(format!("`{change}`: expected KEY=VALUE, e.g. order=arrival"))
            })?;
            match key {
                "order" => {
                    self.order = match value {
                        "plan" => Order::Plan,
                        "arrival" => Order::Arrival,
                        _ => return Err(CliError::usage(format!("order={value}: expected plan or arrival"))),
                    };
                }
                "warm" => self.warm = switch(key, value)?,
                "speculate" => self.speculate = switch(key, value)?,
                "cache" => {
                    let bytes = parse_bytes(value)
                        .map_err(|error| CliError::usage(format!("cache={value}: {error}")))?;
                    self.cache_bytes = Some(bytes);
                }
                _ => {
                    let known = "order, warm, speculate or cache";
                    return Err(CliError::usage(format!("no setting `{key}`: expected {known}")));
                }
            }
        }
        Ok(self)
    }
}

/// What computes the trace.
enum Targets {
    /// Models in this process, by role.
    Local(BTreeMap<String, LocalModel>),
    /// OpenAI-compatible servers, by role.
    Servers(Client, BTreeMap<String, Endpoint>),
}

/// What stays the same from round to round.
struct Bench<'a> {
    config: &'a Config,
    trace: Trace,
    targets: Targets,
    runs: usize,
    screen: Screen,
    interrupt: &'a Interrupt,
    status: StatusLine,
}

pub fn bench_workflow(config: &Config, flags: &WorkflowFlags) -> Result<ExitCode, CliError> {
    if flags.runs == 0 || flags.repeat == 0 {
        return Err(CliError::usage("--runs and --repeat must be at least 1".to_owned()));
    }
    let settings = !flags.set.is_empty() || !flags.against.is_empty();
    if settings && !flags.urls.is_empty() {
        return Err(CliError::usage("--set and --against are this program's own: leave them out with --url"));
    }
    let default = Settings { order: Order::Plan, warm: true, speculate: true, cache_bytes: None };
    let own = default.with(&flags.set)?;
    let other = own.with(&flags.against)?;
    let trace = Trace::find(&flags.trace).map_err(|error| CliError::usage(error.to_string()))?;
    let origin = origin();
    let runtime = runtime(1)?;
    let interrupt = Interrupt::listen(&runtime);
    let targets = runtime.block_on(targets(config, flags, &trace))?;
    let screen = Screen::new(View::Quiet);
    let (runs, status) = (flags.runs, StatusLine::new());
    let bench = Bench { config, trace, targets, runs, screen, interrupt: &interrupt, status };
    let (mut rounds, mut others) = (Vec::new(), Vec::new());
    let ended = bench.rounds(flags, own, other, (&mut rounds, &mut others));
    bench.status.clear();
    match ended {
        Err(error) if rounds.is_empty() => Err(error),
        // Rounds that were completed before the error are still reported.
        Err(error) => bench.report(flags, origin, (&rounds, &others), true).and(Err(error)),
        Ok(interrupted) => bench.report(flags, origin, (&rounds, &others), interrupted),
    }
}

/// The model or server for each role, as named by the flags or else by the trace.
async fn targets(config: &Config, flags: &WorkflowFlags, trace: &Trace) -> Result<Targets, CliError> {
    let names = names(trace, &flags.roles)?;
    if flags.urls.is_empty() {
        let hub = config.hub();
        let found = names.into_iter().map(|(role, model)| Ok((role, hub.find_text_model(&model)?)));
        return Ok(Targets::Local(found.collect::<Result<_, CliError>>()?));
    }
    let client = servers::client(flags.timeout_seconds)?;
    let named: Vec<RoleUrl> = flags.urls.iter().map(|url| RoleUrl::parse(url)).collect();
    let endpoints = servers::by_role(config, &client, &named, &names).await?;
    Ok(Targets::Servers(client, endpoints))
}

/// The model name for each role.
fn names(trace: &Trace, named: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut models: BTreeMap<String, String> =
        trace.models.iter().map(|(role, what)| (role.clone(), what.model.clone())).collect();
    for name in named {
        let (role, model) = name
            .split_once('=')
            .ok_or_else(|| CliError::usage(format!("--role {name}: expected ROLE=MODEL")))?;
        let known = models.keys().cloned().collect::<Vec<_>>().join(", ");
        let role_model = models
            .get_mut(role)
            .ok_or_else(|| CliError::usage(format!("--role {name}: the trace's roles are {known}")))?;
        model.clone_into(role_model);
    }
    Ok(models)
}

impl Bench<'_> {
    /// Runs all rounds, alternating the settings; true if interrupted. A partial round is kept only if
    /// it is the only one.
    fn rounds(
        &self,
        flags: &WorkflowFlags,
        own: Settings,
        other: Settings,
        (rounds, others): (&mut Vec<Round>, &mut Vec<Round>),
    ) -> Result<bool, CliError> {
        for at in 0..flags.repeat {
            let seed = flags.seed + at as u64;
            let name = format!("round {} of {}", at + 1, flags.repeat);
            let (round, interrupted) = self.round(&name, own, seed)?;
            if !interrupted || rounds.is_empty() {
                rounds.push(round);
            }
            if interrupted {
                return Ok(true);
            }
            if !flags.against.is_empty() {
                let (round, interrupted) = self.round(&format!("{name}, the other setting"), other, seed)?;
                if interrupted {
                    return Ok(true);
                }
                others.push(round);
            }
        }
        Ok(false)
    }

    fn round(&self, name: &str, settings: Settings, seed: u64) -> Result<(Round, bool), CliError> {
        match &self.targets {
            Targets::Local(roles) => self.round_locally(name, roles, settings, seed),
            Targets::Servers(client, endpoints) => self.round_on_servers(name, client, endpoints, seed),
        }
    }

    fn run_trace(
        &self,
        name: &str,
        backend: &mut dyn Backend,
        late: LateLoader<'_>,
        options: TraceOptions,
    ) -> Result<TraceResult, CliError> {
        let tasks = self.trace.tasks.len() * self.runs;
        let mut on_task = |ended: usize| self.status.show(&format!("{name}: {ended} of {tasks} tasks"));
        on_task(0);
        self.interrupt.arm();
        let failed = |error: WorkflowError| CliError::Failed(anyhow!(error));
        run_trace(backend, late, &self.trace, options, &self.interrupt.cancel, &mut on_task).map_err(failed)
    }

    fn round_on_servers(
        &self,
        name: &str,
        client: &Client,
        endpoints: &BTreeMap<String, Endpoint>,
        seed: u64,
    ) -> Result<(Round, bool), CliError> {
        let backend = ServerBackend::new(client.clone(), endpoints.clone());
        let mut backend = backend.map_err(|error| runtime_error(&error))?;
        let late = |_: &str| unreachable!("servers have their models");
        let result =
            self.run_trace(name, &mut backend, &late, TraceOptions { runs: self.runs, warm: false, seed })?;
        Ok((Round::new(&self.trace, &result.runs, None), result.interrupted))
    }

    /// Runs the trace once on a new engine, so that nothing is cached.
    fn round_locally(
        &self,
        name: &str,
        roles: &BTreeMap<String, LocalModel>,
        settings: Settings,
        seed: u64,
    ) -> Result<(Round, bool), CliError> {
        let mut writers: Vec<&LocalModel> = Vec::new();
        for found in roles.values() {
            if writers.iter().all(|other| other.path != found.path) {
                writers.push(found);
            }
        }
        let mut memory = limits_for_models(load::available(self.config), &self.config.hub(), &writers, 0)?;
        if let Some(cache_bytes) = settings.cache_bytes {
            memory = MemoryLimits { kv_bytes: cache_bytes, ..memory };
        }
        let config =
            EngineConfig { order: settings.order, speculate: settings.speculate, ..engine_config(&memory) };
        let loader = Loader::start(config, load::settings(self.config))?;
        let engine = loader.engine();
        let load = |found: &LocalModel| loader.model(found, load::bar(&self.screen, found));
        let models = self.models(roles, &load)?;
        let late = |role: &str| load(&roles[role]).map_err(|error| error.with_causes());
        let mut backend = LocalBackend::new(engine, models);
        let result = self.run_trace(
            name,
            &mut backend,
            &late,
            TraceOptions { runs: self.runs, warm: settings.warm, seed },
        )?;
        let stats = engine.stats();
        engine.shutdown();
        Ok((Round::new(&self.trace, &result.runs, Some(&stats)), result.interrupted))
    }

    /// Loads the models of all roles except those that load late. A model with several roles is loaded once.
    fn models(
        &self,
        roles: &BTreeMap<String, LocalModel>,
        load: &dyn Fn(&LocalModel) -> Result<Arc<LoadedModel>, BandError>,
    ) -> Result<Models, CliError> {
        let mut models = Models::new();
        for (role, found) in roles {
            if self.trace.models[role].load_at_ms.is_some() {
                continue;
            }
            let same =
                roles.iter().find(|(other, twin)| twin.path == found.path && models.contains_key(*other));
            let model = match same {
                Some((other, _)) => Arc::clone(&models[other]),
                None => load(found)?,
            };
            models.insert(role.clone(), model);
        }
        Ok(models)
    }

    fn report(
        &self,
        flags: &WorkflowFlags,
        mut origin: Origin,
        (rounds, others): (&[Round], &[Round]),
        interrupted: bool,
    ) -> Result<ExitCode, CliError> {
        let (models, urls) = match &self.targets {
            Targets::Local(roles) => (
                roles.iter().map(|(role, found)| (role.clone(), found.name.clone())).collect(),
                BTreeMap::new(),
            ),
            Targets::Servers(_, endpoints) => (
                endpoints.iter().map(|(role, at)| (role.clone(), at.model.clone())).collect(),
                endpoints.iter().map(|(role, at)| (role.clone(), at.base().to_owned())).collect(),
            ),
        };
        if let Targets::Local(roles) = &self.targets {
            for found in roles.values() {
                origin.build.add_model(&found.name, &found.path);
            }
        }
        let report = WorkflowReport {
            schema: WorkflowReport::SCHEMA,
            origin,
            threads: self.config.threads.value,
            trace: self.trace.name.clone(),
            models,
            kv_type: urls.is_empty().then(|| kv_type_name(self.config.kv_type.value).to_owned()),
            set: flags.set.clone(),
            urls,
            seed: flags.seed,
            runs: flags.runs,
            measured: median_round(rounds),
            rounds_wall_s: rounds.iter().map(|round| round.wall_s).collect(),
            interrupted,
            against: (!others.is_empty())
                .then(|| OtherSetting::new(flags.against.join(","), &rounds[..others.len()], others)),
        };
        match (flags.json, flags.markdown) {
            (true, _) => print_json(&report)?,
            (false, true) => print(&report.markdown())?,
            (false, false) => print(&report.table())?,
        };
        Ok(if interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
    }
}

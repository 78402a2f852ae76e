//! `bench workflow`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use bandmaster_models::Cpu;

use super::config::Config;
use super::error::CliError;
use super::flags::WorkflowFlags;
use super::load::{Loader, Memory, memory_for};
use super::screen::{Screen, View};
use super::units::parse_bytes;
use super::{print, print_json};
use crate::bench::machine::Machine;
use crate::bench::workflow::report::{Against, Round, WorkflowReport, median_round};
use crate::bench::workflow::trace::Trace;
use crate::bench::workflow::{Models, Setting, drive};
use crate::engine::{Engine, EngineConfig, Order};
use crate::hub::Found;

/// How a trace is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    order: Order,
    warm: bool,
    speculate: bool,
    /// Bytes of keys and values; what the memory leaves when not said.
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

/// What stays the same from round to round.
struct Bench<'a> {
    config: &'a Config,
    trace: Trace,
    roles: BTreeMap<String, Found>,
    runs: usize,
    screen: Screen,
}

/// Measures.
pub fn bench_workflow(config: &Config, flags: &WorkflowFlags) -> Result<ExitCode, CliError> {
    if flags.runs == 0 || flags.repeat == 0 {
        return Err(CliError::usage("--runs and --repeat must be at least 1".to_owned()));
    }
    let default = Settings { order: Order::Plan, warm: true, speculate: true, cache_bytes: None };
    let own = default.with(&flags.set)?;
    let other = own.with(&flags.against)?;
    let trace = Trace::find(&flags.trace).map_err(|error| CliError::usage(error.to_string()))?;
    let roles = roles(config, &trace, &flags.roles)?;
    let machine = Machine::here(Cpu::new(1).isa().name());
    let screen = Screen::new(View::Quiet);
    if let Some(warning) = machine.busy_warning() {
        screen.note(&format!("warning: {warning}"));
    }
    let bench = Bench { config, trace, roles, runs: flags.runs, screen };
    let (mut rounds, mut others) = (Vec::new(), Vec::new());
    for round in 0..flags.repeat {
        let seed = flags.seed + round as u64;
        rounds.push(bench.round(own, seed)?);
        if !flags.against.is_empty() {
            others.push(bench.round(other, seed)?);
        }
    }
    let walls = |rounds: &[Round]| rounds.iter().map(|round| round.wall_s).collect();
    let report = WorkflowReport {
        schema: WorkflowReport::SCHEMA.to_owned(),
        machine,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        threads: config.threads.value,
        trace: bench.trace.name.clone(),
        models: bench.roles.iter().map(|(role, found)| (role.clone(), found.name.clone())).collect(),
        runs: flags.runs,
        measured: median_round(&rounds),
        rounds_wall_s: walls(&rounds),
        against: (!others.is_empty()).then(|| Against::new(flags.against.join(","), &rounds, &others)),
    };
    if flags.json { print_json(&report) } else { print(&report.table()) }
}

/// Who plays each role: who was named, or the trace's.
fn roles(config: &Config, trace: &Trace, named: &[String]) -> Result<BTreeMap<String, Found>, CliError> {
    let mut players: BTreeMap<&str, &str> =
        trace.models.iter().map(|(role, what)| (role.as_str(), what.model.as_str())).collect();
    for name in named {
        let (role, model) = name
            .split_once('=')
            .ok_or_else(|| CliError::usage(format!("--role {name}: expected ROLE=MODEL")))?;
        let known = players.keys().copied().collect::<Vec<_>>().join(", ");
        let player = players
            .get_mut(role)
            .ok_or_else(|| CliError::usage(format!("--role {name}: the trace has no role but {known}")))?;
        *player = model;
    }
    let hub = config.hub();
    players.into_iter().map(|(role, model)| Ok((role.to_owned(), hub.find_writer(model)?))).collect()
}

impl Bench<'_> {
    /// One time through, on an engine of its own: nothing is cached.
    fn round(&self, settings: Settings, seed: u64) -> Result<Round, CliError> {
        let mut writers: Vec<&Found> = Vec::new();
        for found in self.roles.values() {
            if writers.iter().all(|other| other.path != found.path) {
                writers.push(found);
            }
        }
        let mut memory = memory_for(self.config, &self.config.hub(), &writers, 0)?;
        if let Some(cache_bytes) = settings.cache_bytes {
            memory = Memory { kv_bytes: cache_bytes, ..memory };
        }
        let config = EngineConfig {
            order: settings.order,
            speculate: settings.speculate,
            cache_bytes_max: usize::try_from(memory.kv_bytes).unwrap_or(usize::MAX),
            ..EngineConfig::with_memory_bytes(usize::try_from(memory.bytes).unwrap_or(usize::MAX))
        };
        let step_tokens_max = config.step_tokens_max + config.batch_max;
        let failed = |error: String| CliError::Failed(anyhow!(error));
        let engine = Engine::start(config).map_err(|error| failed(error.to_string()))?;
        let loader = Loader::new(self.config, &engine, &memory, step_tokens_max, &self.screen);
        let mut models = Models::new();
        for (role, found) in &self.roles {
            if self.trace.models[role].load_at_ms.is_some() {
                continue;
            }
            let same = self
                .roles
                .iter()
                .find(|(other, twin)| twin.path == found.path && models.contains_key(*other));
            let model = match same {
                Some((other, _)) => Arc::clone(&models[other]),
                None => loader.model(found)?,
            };
            models.insert(role.clone(), model);
        }
        let late = |role: &str| loader.model(&self.roles[role]).map_err(|error| format!("{error:#}"));
        let setting = Setting { runs: self.runs, warm: settings.warm, seed };
        let runs =
            drive(&engine, models, &late, &self.trace, setting).map_err(|error| failed(error.to_string()))?;
        let stats = engine.stats();
        engine.shutdown();
        Ok(Round::new(&self.trace, &runs, &stats))
    }
}

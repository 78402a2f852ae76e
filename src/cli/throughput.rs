//! `bench throughput`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bandmaster_models::{Cpu, CpuModel, LoadOptions, Model, load};

use super::bench_origin::origin;
use super::config::Config;
use super::error::CliError;
use super::flags::ThroughputFlags;
use super::interrupt::{INTERRUPTED, Interrupt};
use super::machine::models_bytes;
use super::process_limits::{memory_limit, runtime};
use super::settings::kv_type_name;
use super::status::StatusLine;
use super::{print, print_json};
use crate::bench::throughput::{
    Costs, MachineLimits, MeasureError, ModelFacts, Row, ThroughputReport, Workload, measure,
};
use crate::hub::{LocalModel, check_unchanged, format_memory_size};

/// Most tokens that one step computes; longer prompts take several steps.
const STEP_TOKENS_MAX: usize = 512;

pub fn bench_throughput(config: &Config, flags: &ThroughputFlags) -> Result<ExitCode, CliError> {
    let workloads = workloads(config, flags);
    for workload in &workloads {
        workload.validate().map_err(|error| CliError::usage(error.to_string()))?;
    }
    let found = config.hub().find_text_model(&flags.model)?;
    let kv_bytes_max = kv_bytes_max(config, &found)?;
    let mut origin = origin();
    origin.build.add_model(&found.name, &found.path);
    let runtime = runtime(1)?;
    let interrupt = Interrupt::listen(&runtime);
    let status = StatusLine::new();
    let bench = Bench { config, flags, found: &found, kv_bytes_max, status, interrupt: &interrupt };
    let mut all = Measured::default();
    interrupt.arm();
    for same_threads in workloads.chunk_by(|a, b| a.threads == b.threads) {
        bench.measure(same_threads, &mut all)?;
        if bench.is_interrupted() {
            break;
        }
    }
    let interrupted = bench.is_interrupted();
    if let Some(limits) = all.limits.iter().find(|limits| limits.threads == config.threads.value) {
        origin.machine.memory_bytes_per_s = Some(limits.memory_bytes_per_s);
        origin.machine.int8_macs_per_s = limits.int8_macs_per_s;
    }
    let report = ThroughputReport {
        schema: ThroughputReport::SCHEMA,
        origin,
        interrupted,
        threads: config.threads.value,
        kv_type: kv_type_name(config.kv_type.value).to_owned(),
        model: ModelFacts {
            name: found.name.clone(),
            file: found.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: found.bytes,
            parameters: all.parameters,
        },
        rows: all.rows,
        limits: all.limits,
        left_out: all.left_out,
    };
    match (flags.json, flags.markdown) {
        (true, _) => print_json(&report)?,
        (_, true) => print(&report.markdown())?,
        _ => print(&report.table())?,
    };
    Ok(if interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// The measurements to make. Those with the same thread count are adjacent, so that they share one load of the model.
fn workloads(config: &Config, flags: &ThroughputFlags) -> Vec<Workload> {
    let threads = config.threads.value;
    if flags.all {
        return Workload::sweep(threads, config.machine.cores_logical, flags.warmup, flags.repeat);
    }
    vec![Workload {
        prompt_tokens: flags.prompt_tokens,
        gen_tokens: flags.gen_tokens,
        batches: flags.batch.clone(),
        depth_tokens: flags.depth,
        shared_prefix_tokens: flags.shared_prefix,
        warmup: flags.warmup,
        repeat: flags.repeat,
        threads,
        seed: 0,
    }]
}

/// Bytes left for the KV cache by --memory and by the process's memory limit.
fn kv_bytes_max(config: &Config, found: &LocalModel) -> Result<usize, CliError> {
    let limit = memory_limit().map(models_bytes);
    let may = config.memory_bytes.value.min(limit.unwrap_or(u64::MAX));
    let kv_bytes_max = may.saturating_sub(found.bytes + found.bytes / 8);
    if kv_bytes_max == 0 && may < config.memory_bytes.value {
        return Err(CliError::Failed(anyhow::anyhow!(
            "{} needs about {}, but this process may have {}: raise its limit (`ulimit -v`, `ulimit -d`)",
            found.name,
            format_memory_size(found.memory_bytes),
            format_memory_size(may)
        )));
    }
    if kv_bytes_max == 0 {
        let needed = format_memory_size(found.memory_bytes);
        let allowed = format_memory_size(config.memory_bytes.value);
        return Err(CliError::Failed(anyhow::anyhow!(
            "{} needs about {needed}, but --memory allows {allowed}",
            found.name
        )));
    }
    Ok(usize::try_from(kv_bytes_max).unwrap_or(usize::MAX))
}

/// What stays the same for all measurements.
struct Bench<'a> {
    config: &'a Config,
    flags: &'a ThroughputFlags,
    found: &'a LocalModel,
    /// For the KV cache.
    kv_bytes_max: usize,
    status: StatusLine,
    interrupt: &'a Interrupt,
}

#[derive(Default)]
struct Measured {
    rows: Vec<Row>,
    limits: Vec<MachineLimits>,
    left_out: Vec<String>,
    parameters: u64,
}

impl Bench<'_> {
    fn is_interrupted(&self) -> bool {
        self.interrupt.cancel.reason().is_some()
    }

    /// Loads the model once and makes measurements that use the same number of threads.
    fn measure(&self, workloads: &[Workload], all: &mut Measured) -> Result<(), CliError> {
        let Some(first) = workloads.first() else { return Ok(()) };
        let cpu = Arc::new(Cpu::new(first.threads));
        let before = self.flags.roofline.then(|| MachineLimits::measure(&cpu));
        let mut model = self.load(workloads, &cpu)?;
        all.parameters = model.info().parameters;
        let mut rows = Vec::new();
        for workload in workloads {
            match self.rows(&mut model, workload) {
                Ok(measured) => rows.extend(measured),
                // A sweep skips depths that don't fit into the model's context or the memory.
                Err(error @ (MeasureError::Context { .. } | MeasureError::Pool { .. })) if self.flags.all => {
                    all.left_out.push(format!("depth {}: {error}", workload.depth_tokens));
                }
                Err(error) => return Err(anyhow::Error::from(error).into()),
            }
        }
        if let Some(before) = before {
            let limits = before.or_better(MachineLimits::measure(&cpu));
            let costs = Costs::new(model.spec(), model.info().weight_bytes);
            for row in &mut rows {
                row.limit_shares = Some(limits.shares(&costs, row));
            }
            all.limits.push(limits);
        }
        all.rows.append(&mut rows);
        Ok(())
    }

    fn load(&self, workloads: &[Workload], cpu: &Arc<Cpu>) -> Result<CpuModel, CliError> {
        let batch_max = workloads.iter().flat_map(|workload| &workload.batches).copied().max().unwrap_or(1);
        let options = LoadOptions {
            step_tokens_max: STEP_TOKENS_MAX.max(batch_max),
            keep_packed: self.config.keep_packed.value,
            kv_type: self.config.kv_type.value,
            ..LoadOptions::new(Arc::clone(cpu), self.kv_bytes_max)
        };
        let path = &self.found.path;
        check_unchanged(path)?;
        Ok(load(path, &options).with_context(|| format!("{} can't be loaded", path.display()))?)
    }

    fn rows(&self, model: &mut CpuModel, workload: &Workload) -> Result<Vec<Row>, MeasureError> {
        let rounds = workload.warmup + workload.repeat;
        let mut progress = |batch: usize, round: usize| {
            self.status.show(&format!("batch {batch}, round {} of {rounds}", round + 1));
            !self.is_interrupted()
        };
        let rows = measure(model, STEP_TOKENS_MAX, workload, &mut progress);
        self.status.clear();
        rows
    }
}

//! `bench`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bandmaster_models::{Cpu, LoadOptions, Model, load};

use super::accuracy::bench_accuracy;
use super::config::{Config, kv_type_name};
use super::error::CliError;
use super::flags::{BenchCommand, ThroughputFlags};
use super::serve_bench::bench_serve;
use super::units::gib;
use super::workflow::bench_workflow;
use super::{print, print_json};
use crate::bench::machine::Machine;
use crate::bench::measure::throughput;
use crate::bench::report::{ModelFacts, ThroughputReport};
use crate::bench::workload::Throughput;

/// Tokens of one step; longer prompts take several.
const STEP_TOKENS_MAX: usize = 512;

/// Dispatches `bench`.
pub fn bench(config: &Config, command: BenchCommand) -> Result<ExitCode, CliError> {
    match command {
        BenchCommand::Throughput(flags) => bench_throughput(config, &flags),
        BenchCommand::Workflow(flags) => bench_workflow(config, &flags),
        BenchCommand::Serve(flags) => bench_serve(config, &flags),
        BenchCommand::Accuracy(flags) => bench_accuracy(config, &flags),
    }
}

fn bench_throughput(config: &Config, flags: &ThroughputFlags) -> Result<ExitCode, CliError> {
    let work = Throughput {
        prompt_tokens: flags.prompt_tokens,
        gen_tokens: flags.gen_tokens,
        batches: flags.batch.clone(),
        depth_tokens: flags.depth,
        shared_prefix_tokens: flags.shared_prefix,
        warmup: flags.warmup,
        repeat: flags.repeat,
    };
    work.validate().map_err(|error| CliError::usage(error.to_string()))?;
    let found = config.hub().find_writer(&flags.model)?;
    let room = config.memory_bytes.value.saturating_sub(found.bytes + found.bytes / 8);
    if room == 0 {
        let needed = gib(found.memory_bytes);
        let allowed = gib(config.memory_bytes.value);
        return Err(CliError::Failed(anyhow::anyhow!(
            "{} needs about {needed} and --memory allows {allowed}",
            found.name
        )));
    }
    let cpu = Arc::new(Cpu::new(config.threads.value));
    let machine = Machine::here(cpu.isa().name());
    if let Some(warning) = machine.busy_warning() {
        writeln!(std::io::stderr(), "warning: {warning}")?;
    }
    let batch_max = flags.batch.iter().copied().max().unwrap_or(1);
    let options = LoadOptions {
        step_tokens_max: STEP_TOKENS_MAX.max(batch_max),
        keep_packed: config.keep_packed.value,
        kv_type: config.kv_type.value,
        ..LoadOptions::new(cpu, usize::try_from(room).unwrap_or(usize::MAX))
    };
    let mut model =
        load(&found.path, &options).with_context(|| format!("{} can't be loaded", found.path.display()))?;
    let terminal = std::io::stderr().is_terminal();
    let mut progress = |batch: usize, round: usize| {
        if terminal {
            // Only for who watches.
            let _ = write!(
                std::io::stderr(),
                "\rbatch {batch}, round {} of {}   ",
                round + 1,
                flags.warmup + flags.repeat
            );
        }
    };
    let rows = throughput(&mut model, STEP_TOKENS_MAX, &work, &mut progress).map_err(anyhow::Error::from)?;
    if terminal {
        let _ = write!(std::io::stderr(), "\r{:40}\r", "");
    }
    let report = ThroughputReport {
        schema: ThroughputReport::SCHEMA.to_owned(),
        machine,
        command: std::env::args().collect::<Vec<_>>().join(" "),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        threads: config.threads.value,
        kv_type: kv_type_name(config.kv_type.value).to_owned(),
        model: ModelFacts {
            name: found.name,
            file: found.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: found.bytes,
            parameters: model.info().parameters,
        },
        rows,
    };
    if flags.json { print_json(&report) } else { print(&report.table()) }
}

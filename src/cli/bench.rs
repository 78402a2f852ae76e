//! `bench`.

use std::process::ExitCode;

use super::accuracy::bench_accuracy;
use super::compare::bench_compare;
use super::config::Config;
use super::error::CliError;
use super::flags::BenchCommand;
use super::inputs;
use super::serve_bench::bench_serve;
use super::throughput::bench_throughput;
use super::workflow::bench_workflow;
use crate::bench::origin::Origin;

/// Where a result will come from; warns when the machine is busy with something else.
pub fn origin() -> Origin {
    let origin = Origin::here();
    if let Some(warning) = origin.machine.busy_warning() {
        inputs::warn(&warning);
    }
    origin
}

pub fn bench(config: &Config, command: BenchCommand) -> Result<ExitCode, CliError> {
    match command {
        BenchCommand::Throughput(flags) => bench_throughput(config, &flags),
        BenchCommand::Workflow(flags) => bench_workflow(config, &flags),
        BenchCommand::Serve(flags) => bench_serve(config, &flags),
        BenchCommand::Accuracy(flags) => bench_accuracy(config, &flags),
        BenchCommand::Compare(flags) => bench_compare(&flags),
    }
}

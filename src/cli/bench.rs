//! `bench`.

use std::process::ExitCode;

use super::accuracy::bench_accuracy;
use super::compare::bench_compare;
use super::config::Config;
use super::error::CliError;
use super::flags::BenchCommand;
use super::serve_bench::bench_serve;
use super::throughput::bench_throughput;
use super::workflow::bench_workflow;

pub fn bench(config: &Config, command: BenchCommand) -> Result<ExitCode, CliError> {
    match command {
        BenchCommand::Throughput(flags) => bench_throughput(config, &flags),
        BenchCommand::Workflow(flags) => bench_workflow(config, &flags),
        BenchCommand::Serve(flags) => bench_serve(config, &flags),
        BenchCommand::Accuracy(flags) => bench_accuracy(config, &flags),
        BenchCommand::Compare(flags) => bench_compare(&flags),
    }
}

//! `bench serve`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;

use super::bench_origin::origin;
use super::config::Config;
use super::error::CliError;
use super::flags::ServeBenchFlags;
use super::interrupt::{INTERRUPTED, Interrupt};
use super::process_limits::runtime;
use super::status::StatusLine;
use super::{inputs, print, print_json, servers};
use crate::bench::Origin;
use crate::bench::serve::{
    LatencyLimits, LoadReport, LoadResult, Mode, Sample, ServeReport, Sweep, SweepRow, Target, Workload,
    run_load,
};

/// Rates of the sweep, as fractions of the rate reached in the closed loop.
const SWEEP_SHARES: [f64; 7] = [0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2];

/// Accepted values of --rate, in requests per second.
const RATES: std::ops::RangeInclusive<f64> = 1e-4..=1e5;

struct Bench<'a> {
    /// The server, and the second one if --against is given.
    targets: Vec<Target>,
    workload: Workload,
    flags: &'a ServeBenchFlags,
    interrupt: &'a Interrupt,
    status: StatusLine,
}

pub fn bench_serve(config: &Config, flags: &ServeBenchFlags) -> Result<ExitCode, CliError> {
    let workload = Workload::find(&flags.workload).map_err(|error| CliError::usage(error.to_string()))?;
    for note in workload.notes() {
        inputs::warn(note);
    }
    let mode = mode(flags, &workload)?;
    let origin = origin();
    let runtime = runtime(1)?;
    let interrupt = Interrupt::listen(&runtime);
    let client = servers::client(flags.timeout_seconds)?;
    let target = |url: &str| -> Result<Target, CliError> {
        let model = flags.model.as_deref();
        let endpoint = runtime.block_on(servers::endpoint(config, &client, url, model))?;
        Ok(Target { client: client.clone(), endpoint })
    };
    let mut targets = vec![target(&flags.url)?];
    targets.extend(flags.against.as_deref().map(target).transpose()?);
    let bench = Bench { targets, workload, flags, interrupt: &interrupt, status: StatusLine::new() };
    interrupt.arm();
    let measured = runtime.block_on(bench.measure(mode));
    bench.status.clear();
    let Measured { loaded, sweep, sweep_error } = measured?;
    let interrupted = loaded.iter().any(|loaded| loaded.interrupted) || sweep_error.is_some();
    let mut reports: Vec<ServeReport> = bench
        .targets
        .iter()
        .zip(loaded)
        .map(|(target, loaded)| {
            bench.report(&origin, mode, target, LoadReport::new(loaded, limits(flags)), interrupted)
        })
        .collect();
    let against = reports.split_off(1).pop().map(Box::new);
    let report = ServeReport { sweep, against, ..reports.remove(0) };
    match (flags.json, flags.markdown) {
        (true, _) => print_json(&report)?,
        (false, true) => print(&report.markdown())?,
        (false, false) => print(&report.table())?,
    };
    match sweep_error {
        Some(error) => Err(error),
        None => exit_status(&report),
    }
}

/// What was measured, possibly only in part.
struct Measured {
    /// In the order of the targets.
    loaded: Vec<LoadResult>,
    sweep: Option<Sweep>,
    /// The error that ended the sweep early.
    sweep_error: Option<CliError>,
}

/// The exit status; warns if some requests failed.
fn exit_status(report: &ServeReport) -> Result<ExitCode, CliError> {
    if report.interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let load = &report.load;
    let first = load.samples.iter().find_map(|sample| sample.error.as_deref());
    match first {
        Some(first) if load.errors == load.requests => {
            Err(CliError::Failed(anyhow!("no call was answered; the first: {first}")))
        }
        Some(first) => {
            inputs::warn(&format!("{} of {} calls failed; the first: {first}", load.errors, load.requests));
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

fn limits(flags: &ServeBenchFlags) -> LatencyLimits {
    LatencyLimits { ttft_limit_ms: flags.limit_ttft_ms, itl_limit_ms: flags.limit_itl_ms }
}

fn mode(flags: &ServeBenchFlags, workload: &Workload) -> Result<Mode, CliError> {
    if flags.requests == 0 || flags.concurrency == 0 || flags.repeat == 0 {
        return Err(CliError::usage("--requests, --repeat and --concurrency must be at least 1"));
    }
    if flags.as_recorded {
        return match workload {
            Workload::Recorded(recording) if recording.has_times() => Ok(Mode::Recorded),
            _ => Err(CliError::usage("--as-recorded needs a file whose every line has `at_ms`")),
        };
    }
    match flags.rate {
        Some(rate) if RATES.contains(&rate) => Ok(Mode::Open { rate }),
        Some(rate) => Err(CliError::usage(format!("--rate {rate}: give calls per second, 0.0001 to 100000"))),
        None => Ok(Mode::Closed { concurrency: flags.concurrency }),
    }
}

impl Bench<'_> {
    fn report(
        &self,
        origin: &Origin,
        mode: Mode,
        target: &Target,
        load: LoadReport,
        interrupted: bool,
    ) -> ServeReport {
        ServeReport {
            schema: ServeReport::SCHEMA,
            origin: origin.clone(),
            url: target.endpoint.base().to_owned(),
            model: target.endpoint.model.clone(),
            workload: self.workload.name().to_owned(),
            workload_sha256: self.workload.sha256().map(str::to_owned),
            warmup: self.flags.warmup,
            seed: self.flags.seed,
            repeat: self.flags.repeat,
            mode,
            load,
            interrupted,
            output_in_pieces: target.endpoint.is_band(),
            sweep: None,
            against: None,
        }
    }

    /// Warms up, measures, and runs the rate sweep if asked for.
    async fn measure(&self, mode: Mode) -> Result<Measured, CliError> {
        let seed = self.flags.seed;
        for target in self.targets.iter().filter(|_| self.flags.warmup > 0) {
            // The warm-up uses other prompts, so that the server's prefix cache doesn't help the measured requests.
            let warm = self.load(target, "warm-up", self.flags.warmup, mode, seed ^ (1 << 40)).await?;
            if warm.interrupted {
                let none = || LoadResult { samples: Vec::new(), wall: Duration::ZERO, interrupted: true };
                let loaded = self.targets.iter().map(|_| none()).collect();
                return Ok(Measured { loaded, sweep: None, sweep_error: None });
            }
        }
        let mut loaded = self.rounds(mode, seed).await?;
        if !self.flags.rate_sweep || loaded[0].interrupted {
            return Ok(Measured { loaded, sweep: None, sweep_error: None });
        }
        let mut rows = Vec::new();
        let (interrupted, sweep_error) = match self.sweep(&loaded[0], &mut rows).await {
            Ok(interrupted) => (interrupted, None),
            Err(error) => (false, Some(error)),
        };
        loaded[0].interrupted = interrupted;
        Ok(Measured { loaded, sweep: Some(Sweep::new(rows)), sweep_error })
    }

    /// Runs all rounds on every target, each round with its own prompts and lengths; a round starts when no request is
    /// running. The target that goes first alternates, so that a machine that slows down affects both.
    async fn rounds(&self, mode: Mode, seed: u64) -> Result<Vec<LoadResult>, CliError> {
        let none = || LoadResult { samples: Vec::new(), wall: Duration::ZERO, interrupted: false };
        let mut all: Vec<LoadResult> = self.targets.iter().map(|_| none()).collect();
        for round in 0..self.flags.repeat {
            let mut order: Vec<usize> = (0..self.targets.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for target_index in order {
                let name = self.round_name(round, target_index);
                let seed = seed.wrapping_add((round as u64) << 32);
                let loaded =
                    self.load(&self.targets[target_index], &name, self.flags.requests, mode, seed).await?;
                all[target_index].wall += loaded.wall;
                all[target_index]
                    .samples
                    .extend(loaded.samples.into_iter().map(|sample| Sample { round, ..sample }));
                if loaded.interrupted {
                    all.iter_mut().for_each(|loaded| loaded.interrupted = true);
                    return Ok(all);
                }
            }
        }
        Ok(all)
    }

    fn round_name(&self, round: usize, target_index: usize) -> String {
        let name = match self.flags.repeat {
            1 => "calls".to_owned(),
            repeat => format!("round {} of {repeat}", round + 1),
        };
        if self.targets.len() == 1 {
            name
        } else {
            format!("{name} at {}", self.targets[target_index].endpoint.base())
        }
    }

    /// Runs the rate sweep; true if it was interrupted. Each rate has its own prompts, so that none
    /// benefits from the prefix cache.
    async fn sweep(&self, closed: &LoadResult, rows: &mut Vec<SweepRow>) -> Result<bool, CliError> {
        let most = closed.samples.len() as f64 / closed.wall.as_secs_f64().max(1e-9);
        for (index, share) in SWEEP_SHARES.iter().enumerate() {
            let rate = most * share;
            let seed = self.flags.seed + 1 + index as u64;
            let name = format!("{rate:.2} per second");
            let loaded =
                self.load(&self.targets[0], &name, self.flags.requests, Mode::Open { rate }, seed).await?;
            if loaded.interrupted {
                return Ok(true);
            }
            rows.push(SweepRow { rate, load: LoadReport::new(loaded, limits(self.flags)) });
        }
        Ok(false)
    }

    async fn load(
        &self,
        target: &Target,
        name: &str,
        count: usize,
        mode: Mode,
        seed: u64,
    ) -> Result<LoadResult, CliError> {
        let calls = self.workload.calls(count, seed);
        let mut on_end = |ended: usize| self.status.show(&format!("{name}: {ended} of {count}"));
        on_end(0);
        let loaded = run_load(target, calls, mode, seed, &self.interrupt.cancel, &mut on_end).await;
        loaded.map_err(|error| CliError::Failed(anyhow::Error::new(error)))
    }
}

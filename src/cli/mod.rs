//! The command line: parses the flags, resolves the settings and calls one room per command. No logic lives here.

mod accuracy;
mod bars;
mod bench;
mod bench_origin;
mod compare;
mod config;
mod doctor;
mod error;
mod flags;
mod inputs;
mod interrupt;
mod load;
mod machine;
mod models;
mod parked;
mod process_limits;
mod replay;
mod run;
mod runs;
mod screen;
mod serve;
mod serve_bench;
mod servers;
mod settings;
mod status;
mod terminal;
mod throughput;
mod tokenize;
mod units;
mod workers;
mod workflow;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use config::{Config, process_environment};
use error::CliError;
use flags::{BandFlags, Cli, Command, ServeFlags};
use settings::serve::LogFormat;

use crate::server::SPAN_TARGET;

/// Parses the command line, runs the command and returns the exit status.
#[must_use]
pub fn main() -> ExitCode {
    bandmaster_models::heap::share();
    interrupt::outlive_file_limits();
    // If no thread can be started, the command runs on this one, which then reports the shortage.
    let thread = std::thread::Builder::new().name("main".into()).stack_size(process_limits::STACK_BYTES);
    match thread.spawn(command) {
        // The panic hook has already printed the reason.
        Ok(done) => done.join().unwrap_or(ExitCode::from(PANICKED)),
        Err(_) => command(),
    }
}

/// Exit status after a panic.
const PANICKED: u8 = 101;

fn command() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
            return exit_code(terminal::print_clap(&error).map(|()| status));
        }
    };
    // `serve` starts its own log once it knows where its spans go.
    if !matches!(cli.command, Command::Serve(_)) {
        start_log(cli.global.verbose, LogFormat::Text, None);
    }
    exit_code(dispatch(cli))
}

/// Prints an error, if there is one, and returns the exit status.
fn exit_code(result: Result<ExitCode, CliError>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(CliError::BrokenPipe) => ExitCode::SUCCESS,
        Err(CliError::Usage(message)) => {
            print_error(&message);
            ExitCode::from(2)
        }
        Err(CliError::Failed(error)) => {
            print_error(&error::with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn print_error(message: &str) {
    terminal::err(&format!("error: {message}\n"));
}

/// Receives tracing spans, beside the log.
type SpanLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn start_log(verbose: u8, format: LogFormat, spans: Option<SpanLayer>) {
    let level = ["warn", "bandmaster=info,warn", "bandmaster=debug,info"][usize::from(verbose.min(2))];
    let filter = EnvFilter::new(format!("{level},{SPAN_TARGET}=off"));
    // If stderr can't be written, don't report that on stderr: it would panic.
    let log = tracing_subscriber::fmt::layer().with_writer(|| terminal::Log).log_internal_errors(false);
    let all = tracing_subscriber::registry().with(spans);
    match format {
        // A person watching knows the time, and a service manager's journal adds its own.
        LogFormat::Text => all.with(log.without_time().with_filter(filter)).init(),
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_current_span(false).with_span_list(false);
            all.with(log.with_filter(filter)).init();
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    terminal::check_stdout()?;
    process_limits::check(&cli.command)?;
    let no_serve = ServeFlags::default();
    let config = |band: &BandFlags| Config::resolve(&cli.global, band, &no_serve, &process_environment);
    let plain = || config(&BandFlags::default());
    match cli.command {
        Command::Models(command) => models::models(&plain()?, command),
        Command::Runs(command) => runs::runs(&config(&command.band())?, command),
        Command::Workers(command) => workers::workers(&plain()?, command),
        Command::Doctor { json } => doctor::doctor(&plain()?, json),
        Command::Completions { shell } => completions(shell),
        Command::Run(flags) => run::run(&config(&flags.band)?, &flags),
        Command::Serve(flags) => {
            let config = Config::resolve(&cli.global, &flags.band, &flags, &process_environment)?;
            serve::serve(&config, cli.global.verbose)
        }
        Command::Bench(command) => bench::bench(&config(&command.band())?, command),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bandmaster", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn print(text: &str) -> Result<ExitCode, CliError> {
    terminal::out(text)?;
    Ok(ExitCode::SUCCESS)
}

fn print_json(value: &impl serde::Serialize) -> Result<ExitCode, CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Failed(error.into()))?;
    print(&format!("{text}\n"))
}

/// The beginning of a text, on one line of at most `chars` characters.
fn one_line(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars { line } else { line.chars().take(chars - 1).chain(['…']).collect() }
}

/// Lays rows out in columns as wide as their widest cell, two spaces apart and without borders.
fn table(rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

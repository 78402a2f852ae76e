//! `run`: a goal in, an answer out.

use std::process::ExitCode;
use std::time::Duration;

use super::config::Config;
use super::error::CliError;
use super::flags::{BandFlags, GoFlags, RunFlags};
use super::inputs::Piped;
use super::interrupt::{Interrupt, outlive_file_limits};
use super::join::{self, Joined};
use super::screen::{Screen, View};
use super::{inputs, load, print, print_json, terminal};
use crate::journal::Desk;
use crate::orchestrator::{Band, Budget, Outcome, RunEvent, RunRequest, Status, run as run_goal};

/// Before it is said that the record is waited for.
const RECORD_TIME_SILENT: Duration = Duration::from_millis(500);
/// After the answer was printed, a record that another process has locked is waited for so long.
const RECORD_TIME_MAX: Duration = Duration::from_secs(30);

/// Does the goal and prints the answer.
pub fn run(config: &Config, flags: &RunFlags) -> Result<ExitCode, CliError> {
    let request = request(flags)?;
    go(config, &flags.band, &flags.go, &request, &[])
}

/// Does a request, in the server that lives on this home or with an engine of its own, and prints the answer. `notes` are
/// for who asked.
pub fn go(
    config: &Config,
    band: &BandFlags,
    flags: &GoFlags,
    request: &RunRequest,
    notes: &[String],
) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let interrupt = Interrupt::listen(&runtime);
    outlive_file_limits(&runtime);
    if !flags.standalone
        && !band.are_typed()
        && let Some(server) = runtime.block_on(join::find(config))
        && let Some(code) = join(&server, flags, request, notes, &runtime, &interrupt)?
    {
        return Ok(code);
    }
    let hub = config.hub();
    let files = load::find(config, &hub, flags.quiet)?;
    let memory = load::memory(config, &hub, &files)?;
    let home = &config.home.value;
    home.create_state_dir()?;
    let desk = Desk::open(&home.runs_file())?;
    let mut screen = Screen::new(view(flags));
    for note in notes.iter().chain(&memory.note) {
        screen.note(note);
    }
    let loaded = load::load(config, &files, &memory, &screen)?;
    let engine = loaded.engine.clone();
    screen.watch(Box::new(move || {
        let stats = engine.stats();
        (stats.steps, stats.batch_sum)
    }));
    check_goal(request, &loaded.band)?;
    interrupt.arm();
    let cancel = interrupt.cancel.clone();
    let mut observer = |event: &RunEvent| {
        screen.event(event);
        if screen.is_broken() {
            cancel.cancel();
        }
    };
    let outcome = runtime.block_on(run_goal(&loaded.band, request, &desk, &mut observer, &interrupt.cancel));
    screen.finish()?;
    loaded.engine.shutdown();
    // The answer first: the record may have to be waited for.
    let code = finish(flags, &outcome);
    runtime.block_on(record_rest(&desk));
    code
}

/// Waits for the rest of the record, and says so where that takes a while: what is not written when the process ends is lost.
async fn record_rest(desk: &Desk) {
    if desk.flush(RECORD_TIME_SILENT).await.is_empty() {
        return;
    }
    inputs::warn(
        "the run is not recorded whole yet: waiting until its record can be written; Ctrl-C leaves without it",
    );
    if !desk.flush(RECORD_TIME_MAX).await.is_empty() {
        inputs::warn("the rest of the run is not recorded: its record could not be written in time");
    }
}

/// The same by the server that lives on this home; `None` where it can't take it.
fn join(
    server: &Joined,
    flags: &GoFlags,
    request: &RunRequest,
    notes: &[String],
    runtime: &tokio::runtime::Runtime,
    interrupt: &Interrupt,
) -> Result<Option<ExitCode>, CliError> {
    let mut screen = Screen::new(view(flags));
    notes.iter().for_each(|note| screen.note(note));
    screen.note("joined the server of this home (--standalone runs apart)");
    interrupt.arm();
    let mut observer = |event: &RunEvent| {
        screen.event(event);
        if screen.is_broken() {
            interrupt.cancel.cancel();
        }
    };
    let outcome = runtime.block_on(server.run(request, &mut observer, &interrupt.cancel))?;
    screen.finish()?;
    outcome.map(|outcome| finish(flags, &outcome)).transpose()
}

/// Refuses a goal that its planner can't read, before anything is recorded.
fn check_goal(request: &RunRequest, band: &Band) -> Result<(), CliError> {
    let goal_tokens = band.planner.count_tokens(&request.goal);
    let context_tokens = band.planner.context_tokens();
    if goal_tokens < context_tokens {
        return Ok(());
    }
    let name = band.planner.name();
    Err(CliError::usage(format!(
        "the goal has {goal_tokens} tokens, and {name} reads {context_tokens} at most: shorten it, give its long part as \
         a file (-f), or raise --context-tokens"
    )))
}

fn view(flags: &GoFlags) -> View {
    match (flags.quiet, flags.events) {
        (_, true) => View::Events,
        (true, false) => View::Quiet,
        (false, false) => View::Progress,
    }
}

/// The request; what was left out of it is said on stderr.
fn request(flags: &RunFlags) -> Result<RunRequest, CliError> {
    if flags.goal.trim().is_empty() {
        return Err(CliError::usage(
            "the goal is empty: say what is wanted, e.g. bandmaster run \"Summarise this\" -f notes.md",
        ));
    }
    let strategy = match flags.strategy.as_str() {
        "auto" => None,
        name => Some(name.parse().map_err(|error| CliError::usage(format!("--strategy: {error}")))?),
    };
    let time = match flags.budget_seconds {
        None => None,
        Some(seconds) => match Duration::try_from_secs_f64(seconds) {
            Ok(time) if !time.is_zero() => Some(time),
            _ => {
                return Err(CliError::usage(format!(
                    "--budget-seconds: {seconds} is no time: give seconds above 0"
                )));
            }
        },
    };
    if flags.budget_tokens == Some(0) {
        return Err(CliError::usage("--budget-tokens: give at least 1"));
    }
    let asked_for_stdin = flags.files.iter().any(|file| file.as_os_str() == "-");
    let piped = if asked_for_stdin { Piped::Nothing } else { inputs::piped_stdin()? };
    if let Some(note) = piped.note() {
        inputs::warn(&note);
    }
    let found = inputs::read(&flags.files, piped, &mut std::io::stdin())?;
    found.warnings().iter().for_each(|warning| inputs::warn(warning));
    Ok(RunRequest {
        inputs: found.inputs,
        strategy,
        budget: Budget { tokens: flags.budget_tokens, time },
        seed: flags.seed,
        ..RunRequest::new(flags.goal.trim())
    })
}

fn finish(flags: &GoFlags, outcome: &Outcome) -> Result<ExitCode, CliError> {
    if flags.json {
        print_json(outcome)?;
    } else if !flags.events && !outcome.answer.is_empty() {
        print(&format!("{}\n", outcome.answer.trim_end()))?;
    }
    if let Some(error) = &outcome.error {
        terminal::err(&format!("error: {error}\n"));
    }
    if !flags.quiet && !flags.events {
        terminal::err(&outcome.report());
        let id = &outcome.id;
        match outcome.status {
            Status::Cancelled => terminal::err(&format!(
                "`bandmaster runs show {id}` shows what is finished, `bandmaster runs resume {id}` does it again\n"
            )),
            Status::RequiresAction => terminal::err(&format!("`bandmaster runs answer {id} TEXT` answers\n")),
            _ => {}
        }
    }
    Ok(ExitCode::from(outcome.exit_code()))
}

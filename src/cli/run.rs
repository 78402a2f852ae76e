//! `run`: a goal in, an answer out.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::config::Config;
use super::error::CliError;
use super::flags::{BandFlags, GoFlags, RunFlags};
use super::inputs::Piped;
use super::interrupt::Interrupt;
use super::join::{self, Joined};
use super::screen::{Screen, View};
use super::{inputs, load, print, print_json};
use crate::journal::Journal;
use crate::orchestrator::{Band, Budget, Outcome, RunEvent, RunRequest, Status, run as run_goal};

/// Does the goal and prints the answer.
pub fn run(config: &Config, flags: &RunFlags) -> Result<ExitCode, CliError> {
    let (request, left_out) = request(flags)?;
    go(config, &flags.band, &flags.go, &request, &left_out)
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
    let journal = Journal::open(&home.runs_file())?;
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
    let outcome =
        runtime.block_on(run_goal(&loaded.band, request, &journal, &mut observer, &interrupt.cancel));
    screen.finish()?;
    loaded.engine.shutdown();
    finish(flags, &outcome)
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

/// The request, and a sentence for every file of a folder that was left out.
fn request(flags: &RunFlags) -> Result<(RunRequest, Vec<String>), CliError> {
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
    let request = RunRequest {
        inputs: found.inputs,
        strategy,
        budget: Budget { tokens: flags.budget_tokens, time },
        seed: flags.seed,
        ..RunRequest::new(flags.goal.trim())
    };
    let left_out = |(path, why): &(std::path::PathBuf, String)| format!("left out {}: {why}", path.display());
    Ok((request, found.left_out.iter().map(left_out).collect()))
}

fn finish(flags: &GoFlags, outcome: &Outcome) -> Result<ExitCode, CliError> {
    if flags.json {
        print_json(outcome)?;
    } else if !flags.events && !outcome.answer.is_empty() {
        print(&format!("{}\n", outcome.answer.trim_end()))?;
    }
    let mut said = String::new();
    if let Some(error) = &outcome.error {
        said.push_str(&format!("error: {error}\n"));
    }
    if !flags.quiet && !flags.events {
        said.push_str(&outcome.report().to_string());
        let id = &outcome.id;
        match outcome.status {
            Status::Cancelled => said.push_str(&format!(
                "`bandmaster runs show {id}` shows what is finished, `bandmaster runs resume {id}` does it again\n"
            )),
            Status::RequiresAction => said.push_str(&format!("`bandmaster runs answer {id} TEXT` answers\n")),
            _ => {}
        }
    }
    // Nobody may read stderr; the answer is written all the same.
    let _ = std::io::stderr().write_all(said.as_bytes());
    Ok(ExitCode::from(outcome.exit_code()))
}

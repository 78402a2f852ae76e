//! `run`: reads a goal and its inputs, does the run and prints the answer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::config::Config;
use super::error::{CliError, with_causes};
use super::flags::{BandFlags, ExecutionFlags, RunFlags};
use super::inputs::PipedStdin;
use super::interrupt::Interrupt;
use super::process_limits::runtime;
use super::screen::{Screen, View};
use super::{inputs, load, parked, print, print_json, terminal};
use crate::band::{BandFiles, limits_for_band};
use crate::client::HomeServer;
use crate::journal::{AsyncJournal, Journal};
use crate::orchestrator::{
    self, Answer, Band, Budget, Outcome, RunEvent, RunRequest, RunStart, StartError, StartKind, Status,
};

/// How long to wait for the record before saying so.
const RECORD_TIME_SILENT: Duration = Duration::from_millis(500);
/// How long to wait, after the answer is printed, for a record that another process has locked.
const RECORD_TIME_MAX: Duration = Duration::from_secs(30);

pub fn run(config: &Config, flags: &RunFlags) -> Result<ExitCode, CliError> {
    let (request, left_out) = request(flags)?;
    execute(config, &flags.band, &flags.execution, RunStart::new(request), &left_out)
}

/// Does a run and prints its answer, in the server that is running on this home or in an engine of its own. `left_out`
/// lists files of the input folders that were not read.
pub fn execute(
    config: &Config,
    band: &BandFlags,
    flags: &ExecutionFlags,
    mut start: RunStart,
    left_out: &[LeftOut],
) -> Result<ExitCode, CliError> {
    let runtime = runtime(1)?;
    let interrupt = Interrupt::listen(&runtime);
    if !flags.standalone
        && !band.are_given()
        && let Some(server) = runtime.block_on(HomeServer::find(&config.home.value.state_dir))
        && let Some(code) = run_on_server(&server, config, flags, &start, left_out, &runtime, &interrupt)?
    {
        return Ok(code);
    }
    let hub = config.hub();
    let (config, files) = if band.are_given() {
        (config.clone(), load::find(config, &hub, flags.quiet)?)
    } else {
        load::find_of_run(config, start.state(), &hub, flags.quiet)?
    };
    if !band.are_given() {
        warn_of_changed_models(&mut start, &files);
    }
    let config = &config;
    if start.kind == StartKind::New {
        start.request.models = Some(load::model_files(config, &files));
    }
    let memory = limits_for_band(load::available(config), &hub, &files)?;
    let home = &config.home.value;
    home.create_state_dir()?;
    let journal = AsyncJournal::open(&home.runs_file())?;
    let screen = Screen::new(view(flags));
    if let Some(note) = &memory.note {
        screen.note(note);
    }
    let loaded = load::load(config, &files, &memory, &screen)?;
    check_goal(&start.request, &loaded.band)?;
    let mut work = |start: RunStart, screen: &mut Screen| {
        let engine = loaded.engine.clone();
        screen.set_step_counts(Box::new(move || {
            let stats = engine.stats();
            (stats.steps, stats.batch_sum)
        }));
        let mut observer = observer(screen, &interrupt);
        let done = async {
            match start.kind {
                StartKind::Answered(Answer::Approval { approve: false }) => {
                    orchestrator::decline(start, &journal).await
                }
                _ => {
                    let (band, cancel) = (&loaded.band, &interrupt.cancel);
                    orchestrator::run(band, start, &journal, &mut observer, cancel).await
                }
            }
        };
        Ok(Some(runtime.block_on(done)?))
    };
    let checked = |id: &str, answer: Answer| {
        let id = id.to_owned();
        runtime.block_on(journal.read(move |journal| orchestrator::answer(journal, &id, answer)))
    };
    let user = User { folder: &home.state_dir, interrupt: &interrupt, checked: &checked };
    let code = finish(flags, left_out, &user, start, screen, &mut work);
    loaded.engine.shutdown();
    runtime.block_on(finish_recording(&journal));
    // There is always an outcome: nobody else was asked.
    Ok(code?.unwrap_or(ExitCode::FAILURE))
}

/// Warns of model files that have changed since a recorded run used them.
fn warn_of_changed_models(start: &mut RunStart, files: &BandFiles) {
    let changed = start.state().asked.models.as_ref().map(|models| files.changed_since(models));
    start.warnings.extend(changed.unwrap_or_default());
}

/// Shows events on the screen. Ends the run when they can't be written any more.
fn observer<'a>(screen: &'a mut Screen, interrupt: &'a Interrupt) -> impl FnMut(&RunEvent) + Send + 'a {
    move |event: &RunEvent| {
        screen.event(event);
        if screen.has_write_error() {
            interrupt.cancel.cancel();
        }
    }
}

/// Whoever is asked when a run needs an answer.
struct User<'a> {
    /// For a plan that is being edited.
    folder: &'a Path,
    interrupt: &'a Interrupt,
    /// Checks an answer to a run.
    checked: &'a dyn Fn(&str, Answer) -> Result<RunStart, StartError>,
}

/// Does a run until it ends or needs the user. Without an outcome there is nothing to print.
type Stretch<'a> = dyn FnMut(RunStart, &mut Screen) -> Result<Option<Outcome>, CliError> + 'a;

/// Works on a run and prints its answer. On a terminal, a run that needs the user asks and goes on. `work` does the run
/// until it ends or needs the user; if it gives no outcome, there is nothing to print.
fn finish(
    flags: &ExecutionFlags,
    left_out: &[LeftOut],
    user: &User<'_>,
    mut start: RunStart,
    mut screen: Screen,
    work: &mut Stretch<'_>,
) -> Result<Option<ExitCode>, CliError> {
    loop {
        user.interrupt.arm();
        let Some(outcome) = work(start, &mut screen)? else { return Ok(None) };
        let shown = screen.finish();
        let asks = parked::can_ask() && shown.is_ok();
        let next = match outcome.required_action().filter(|_| asks) {
            Some(action) => {
                user.interrupt.disarm();
                let checked = |answer| (user.checked)(&outcome.id, answer);
                parked::ask(&outcome.id, &action, user.folder, &checked)?
            }
            None => None,
        };
        let Some(next) = next else {
            // Print the answer first: the record may be locked for a while. It is waited for even if the answer could
            // not be printed.
            let code = shown.and_then(|()| print_outcome(flags, &outcome, left_out));
            return code.map(Some).map_err(|error| with_record_hint(error, &outcome.id));
        };
        start = next;
        screen = Screen::new(view(flags));
    }
}

/// Waits until the rest of the record is written, and says so if that takes a while: unwritten events are lost at exit.
pub async fn finish_recording(journal: &AsyncJournal) {
    if journal.flush(RECORD_TIME_SILENT).await.is_empty() {
        return;
    }
    inputs::warn(
        "the run is not completely recorded yet: waiting until its record can be written; Ctrl-C leaves without waiting",
    );
    if !journal.flush(RECORD_TIME_MAX).await.is_empty() {
        inputs::warn("the rest of the run is not recorded: its record could not be written in time");
    }
}

/// Does the run in the server on this home; `None` if that server can't take it.
fn run_on_server(
    server: &HomeServer,
    config: &Config,
    flags: &ExecutionFlags,
    start: &RunStart,
    left_out: &[LeftOut],
    runtime: &tokio::runtime::Runtime,
    interrupt: &Interrupt,
) -> Result<Option<ExitCode>, CliError> {
    let screen = Screen::new(view(flags));
    screen.note("using the server of this home (--standalone does not)");
    let mut work = |start: RunStart, screen: &mut Screen| {
        let mut observer = observer(screen, interrupt);
        Ok(runtime.block_on(server.run(&start, &mut observer, &interrupt.cancel))?)
    };
    let home = &config.home.value;
    let checked =
        |id: &str, answer: Answer| orchestrator::answer(&Journal::open(&home.runs_file())?, id, answer);
    let user = User { folder: &home.state_dir, interrupt, checked: &checked };
    finish(flags, left_out, &user, start.clone(), screen, &mut work)
}

/// Refuses a goal longer than the planner's context before anything is recorded.
fn check_goal(request: &RunRequest, band: &Band) -> Result<(), CliError> {
    let goal_tokens = band.planner.count_tokens(&request.goal);
    let context_tokens = band.planner.context_tokens();
    if goal_tokens < context_tokens {
        return Ok(());
    }
    let name = band.planner.name();
    Err(CliError::usage(format!(
        "the goal has {goal_tokens} tokens, but {name} reads at most {context_tokens}: shorten it, give its long part as \
         a file (-f), or raise --context-tokens"
    )))
}

fn view(flags: &ExecutionFlags) -> View {
    match (flags.quiet, flags.events) {
        (_, true) => View::Events,
        (true, false) => View::Quiet,
        (false, false) => View::Progress,
    }
}

/// Builds the request from the flags. Also returns the files that were left out; they are reported on stderr.
fn request(flags: &RunFlags) -> Result<(RunRequest, Vec<LeftOut>), CliError> {
    if flags.goal.trim().is_empty() {
        return Err(CliError::usage(
            "the goal is empty: describe the task, e.g. bandmaster run \"Summarise this\" -f notes.md",
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
                    "--budget-seconds: {seconds} is not a time: give seconds above 0"
                )));
            }
        },
    };
    if flags.budget_tokens == Some(0) {
        return Err(CliError::usage("--budget-tokens: give at least 1"));
    }
    let asked_for_stdin = flags.files.iter().any(|file| file.as_os_str() == "-");
    let piped = if asked_for_stdin { PipedStdin::Nothing } else { inputs::piped_stdin()? };
    if let Some(note) = piped.note() {
        inputs::warn(&note);
    }
    let found = inputs::read(&flags.files, piped, &mut std::io::stdin())?;
    found.warnings().iter().for_each(|warning| inputs::warn(warning));
    let left_out = found.left_out.into_iter().map(LeftOut::from).collect();
    let request = RunRequest {
        inputs: found.inputs,
        paths: found.paths,
        strategy,
        budget: Budget {
            tokens: flags.budget_tokens,
            time,
            tasks: flags.budget_tasks,
            depth: flags.budget_depth,
        },
        approve: flags.approve,
        seed: flags.seed,
        ..RunRequest::new(flags.goal.trim())
    };
    Ok((request, left_out))
}

/// A file in an input folder that was not read.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    path: String,
    reason: String,
}

impl From<(PathBuf, String)> for LeftOut {
    fn from((path, reason): (PathBuf, String)) -> Self {
        Self { path: path.display().to_string(), reason }
    }
}

/// The object that `run --json` prints.
#[derive(Serialize)]
struct JsonOutcome<'a> {
    #[serde(flatten)]
    outcome: &'a Outcome,
    /// The full list; stderr names only the first few.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    left_out: &'a [LeftOut],
}

/// Adds to an output error that the answer is kept in the run's record.
fn with_record_hint(error: CliError, id: &str) -> CliError {
    match error {
        CliError::Failed(error) => {
            let error = with_causes(&error);
            CliError::Failed(anyhow::anyhow!("{error}. `bandmaster runs show {id}` shows what it did"))
        }
        other => other,
    }
}

fn print_outcome(
    flags: &ExecutionFlags,
    outcome: &Outcome,
    left_out: &[LeftOut],
) -> Result<ExitCode, CliError> {
    if flags.json {
        print_json(&JsonOutcome { outcome, left_out })?;
    } else if !flags.events && !outcome.answer.is_empty() {
        print(&format!("{}\n", outcome.answer.trim_end()))?;
    }
    if let Some(error) = &outcome.error {
        terminal::err(&format!("error: {error}\n"));
    }
    if !flags.quiet && !flags.events {
        terminal::err(&outcome.report());
        let id = &outcome.id;
        if outcome.status == Status::Cancelled {
            terminal::err(&format!(
                "`bandmaster runs show {id}` shows what is finished, `bandmaster runs resume {id}` goes on\n"
            ));
        }
        if let Some(action) = outcome.required_action() {
            terminal::err(&parked::how_to_answer(id, &action));
        }
    }
    Ok(ExitCode::from(outcome.exit_code()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn outcome() -> Outcome {
        let usage = json!({"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0},
                           "steps": 0, "mean_batch": 0.0, "wall_ms": 0});
        let facts = json!({"inputs": 0, "input_tokens": 0, "inputs_fit_together": true, "speaks_of_attachment": "no",
                           "named_aspects": [], "speaks_of_parts": false, "numbers": 0, "arithmetic": null,
                           "speaks_of_each": false});
        let why = json!({"facts": facts, "nearest": [], "because": "one call"});
        serde_json::from_value(json!({"id": "r1", "status": "completed", "answer": "a", "strategy": "direct",
            "strategy_why": why, "tasks": [], "planner_tasks": [], "usage": usage, "missing": [], "unchecked": []}))
        .unwrap()
    }

    #[test]
    fn json_names_everything_that_was_left_out() {
        let outcome = outcome();
        let printed = |left_out: &[LeftOut]| -> Value {
            serde_json::to_value(JsonOutcome { outcome: &outcome, left_out }).unwrap()
        };
        let left_out: Vec<LeftOut> = (0..30)
            .map(|n| LeftOut::from((PathBuf::from(format!("{n}.png")), "an image".to_owned())))
            .collect();
        let named = printed(&left_out);
        assert_eq!((named["id"].as_str(), named["answer"].as_str()), (Some("r1"), Some("a")));
        assert_eq!(named["left_out"].as_array().unwrap().len(), 30);
        assert_eq!(named["left_out"][29], json!({"path": "29.png", "reason": "an image"}));
        assert!(printed(&[]).get("left_out").is_none());
    }

    #[test]
    fn an_answer_that_could_not_be_printed_is_said_to_be_in_the_record() {
        let full = CliError::stdout(&std::io::ErrorKind::StorageFull.into());
        let CliError::Failed(error) = with_record_hint(full, "r1") else { panic!("it failed") };
        let message = with_causes(&error);
        assert!(message.contains("standard output") && message.contains("runs show r1"), "{message}");
        assert!(matches!(with_record_hint(CliError::BrokenPipe, "r1"), CliError::BrokenPipe));
    }
}

//! `runs`: list, show, resume, answer, fork, cancel, rm, prune. The record is read here directly, even while a server is
//! running; resume, answer and fork do a run through `run.rs`. Replay and diff are in `replay.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use serde_json::{Value, json};

use super::config::Config;
use super::error::CliError;
use super::flags::RunsCommand;
use super::process_limits::runtime;
use super::run::{execute, finish_recording};
use super::units::parse_age;
use super::{inputs, one_line, parked, print, print_json, replay, table};
use crate::bench::workflow::trace_of_run;
use crate::client::HomeServer;
use crate::journal::{AsyncJournal, Event, Journal, Pruned, TaskCount};
use crate::orchestrator::{
    Answer, Label, RunStart, RunState, StartKind, Status, StrategyName, TaskState, answer, decline, fork,
    labels, resume, state, states,
};

/// How long to wait for deleted text to be erased from the file.
const ERASE_TIME_MAX: Duration = Duration::from_secs(30);

/// Characters of a goal shown in a list.
const GOAL_CHARS: usize = 60;

pub fn runs(config: &Config, command: RunsCommand) -> Result<ExitCode, CliError> {
    let older_than = match &command {
        RunsCommand::Prune { older_than } => {
            parse_age(older_than).map_err(|problem| CliError::usage(format!("--older-than: {problem}")))?
        }
        _ => Duration::ZERO,
    };
    let home = &config.home.value;
    home.create_state_dir()?;
    let journal = Journal::open(&home.runs_file())?;
    match command {
        RunsCommand::List { json } => list(&journal, json),
        RunsCommand::Show { id, task, trace, events, plan, json } => {
            let id = journal.find(&id)?;
            match task {
                _ if plan => show_plan(&state(&journal, &id)?, json),
                _ if trace => show_trace(&journal, &id),
                _ if events => show_events(&journal.events(&id, 0)?, json),
                Some(task) => show_task(&state(&journal, &id)?, &task, json),
                None => show_run(&state(&journal, &id)?, json),
            }
        }
        RunsCommand::Resume(rerun) => {
            let mut start = resume(&journal, &journal.find(&rerun.id)?)?.without_own_strategy()?;
            inputs::read_again(&mut start)?;
            execute(config, &rerun.band, &rerun.execution, start, &[])
        }
        RunsCommand::Answer { rerun, text, task, plan } => {
            let given = match (text, task, plan) {
                (_, _, Some(file)) => Answer::Plan { plan: parked::read_plan(&file)? },
                (text, Some(task), None) => Answer::Task { task, text: text.unwrap_or_default() },
                (text, None, None) => Answer::Text(text.unwrap_or_default()),
            };
            let start = answer(&journal, &journal.find(&rerun.id)?, given)?.without_own_strategy()?;
            if matches!(start.kind, StartKind::Answered(Answer::Approval { approve: false })) {
                return end_parked(config, start);
            }
            execute(config, &rerun.band, &rerun.execution, start, &[])
        }
        RunsCommand::Fork { rerun, at, set } => {
            let set = settings(&set)?;
            let start = fork(&journal, &journal.find(&rerun.id)?, at, set)?.without_own_strategy()?;
            execute(config, &rerun.band, &rerun.execution, start, &[])
        }
        RunsCommand::Replay { id, verify, band, json } => {
            replay::replay(config, &journal, &journal.find(&id)?, verify.then_some(&band), json)
        }
        RunsCommand::Diff { a, b, json } => {
            let (a, b) = (journal.find(&a)?, journal.find(&b)?);
            replay::diff(&state(&journal, &a)?, &state(&journal, &b)?, json)
        }
        RunsCommand::Cancel { id, standalone } => cancel(config, &journal, &id, standalone),
        RunsCommand::Rm { id } => {
            let id = journal.find(&id)?;
            journal.delete(&id)?;
            erase(&journal);
            print(&format!("{id}: deleted\n"))
        }
        RunsCommand::Prune { .. } => prune(&journal, older_than),
    }
}

fn prune(journal: &Journal, older_than: Duration) -> Result<ExitCode, CliError> {
    let Pruned { forgotten, going } = journal.prune(older_than)?;
    let mut responses = 0;
    loop {
        match journal.prune_responses(older_than)? {
            0 => break,
            some => responses += some,
        }
    }
    erase(journal);
    let stay = match going {
        0 => String::new(),
        going => {
            format!(
                ", {going} of that age are still running and were kept (`bandmaster runs cancel ID` ends one)"
            )
        }
    };
    print(&format!("{forgotten} runs and {responses} stored responses deleted{stay}\n"))
}

fn show_trace(journal: &Journal, id: &str) -> Result<ExitCode, CliError> {
    let trace = trace_of_run(id, &journal.events(id, 0)?);
    print_json(&trace.map_err(|why| CliError::Failed(anyhow!(why)))?)
}

/// Reads settings that are written as `name=value`.
fn settings(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let read = |setting: &String| match setting.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.to_owned())),
        None => Err(CliError::usage(format!("--set {setting}: write it as NAME=VALUE"))),
    };
    given.iter().map(read).collect()
}

/// Erases the deleted text from the file too.
fn erase(journal: &Journal) {
    if !journal.erase_for(ERASE_TIME_MAX) {
        inputs::warn(
            "what was deleted may be left in the file as bytes, because another process uses it or the file is large: it is \
             cleared when `bandmaster run`, `serve` or `runs prune` opens the record next",
        );
    }
}

/// Asks the server on this home to cancel a run. A run of another process can only be ended there.
fn cancel(config: &Config, journal: &Journal, id: &str, standalone: bool) -> Result<ExitCode, CliError> {
    let id = journal.find(id)?;
    let before = state(journal, &id)?;
    if before.status == Status::RequiresAction {
        return end_parked(config, answer(journal, &id, Answer::Approval { approve: false })?);
    }
    if before.status != Status::InProgress {
        return Err(CliError::usage(format!("run {id} is {}: there is nothing to cancel", before.status)));
    }
    let runtime = runtime(1)?;
    let asked = async {
        match HomeServer::find(&config.home.value.state_dir).await {
            Some(server) => server.cancel(&id).await.map_err(CliError::from),
            None => Ok(false),
        }
    };
    let taken = !standalone && runtime.block_on(asked)?;
    let holder = journal.holder(&id);
    let status = state(journal, &id)?.status;
    match holder {
        Some(_) if taken => print(&format!("{id}: ends when its current computation is done\n")),
        Some(holder) => {
            let why = if standalone {
                "--standalone does not use the server"
            } else {
                "no server of this home runs it"
            };
            Err(CliError::usage(format!("run {id} is running in {holder}, and {why}: end it there")))
        }
        None => print(&format!("{id}: {status}\n")),
    }
}

/// Ends a run that waits for the user. Nothing is loaded for that.
fn end_parked(config: &Config, start: RunStart) -> Result<ExitCode, CliError> {
    let runtime = runtime(1)?;
    let journal = AsyncJournal::open(&config.home.value.runs_file())?;
    let outcome = runtime.block_on(decline(start, &journal))?;
    runtime.block_on(finish_recording(&journal));
    print(&format!("{}: {}\n", outcome.id, outcome.status))
}

fn show_plan(run: &RunState, json: bool) -> Result<ExitCode, CliError> {
    let text = parked::plan_text(&run.id, run.required_action.as_ref())?;
    match run.required_action.as_ref().and_then(|action| action.plan.as_ref()).filter(|_| json) {
        Some(plan) => print_json(plan),
        None => print(&text),
    }
}

fn strategy(run: &RunState) -> &'static str {
    run.strategy.map_or("", StrategyName::name)
}

fn list(journal: &Journal, json: bool) -> Result<ExitCode, CliError> {
    let (states, _) = states(journal, None, usize::MAX)?;
    if json {
        let row = |run: &RunState| -> Result<Value, CliError> {
            let TaskCount { tasks, damaged } = journal.task_count(&run.id)?;
            let damaged: BTreeSet<&String> = run.damaged.iter().chain(&damaged).collect();
            warn_of_damage(&run.id, damaged.iter().copied());
            let mut row = json!({
                "id": run.id, "created_ms": run.created_ms, "status": run.status, "strategy": strategy(run),
                "goal": run.goal, "tasks": tasks, "wall_ms": run.wall_ms,
            });
            if !damaged.is_empty() {
                row["damaged"] = json!(damaged);
            }
            Ok(row)
        };
        return print_json(&states.iter().map(row).collect::<Result<Vec<Value>, _>>()?);
    }
    states.iter().for_each(|run| warn_of_damage(&run.id, &run.damaged));
    if states.is_empty() {
        return print("no runs yet\n");
    }
    let mut rows = vec![["ID", "AGE", "STATUS", "STRATEGY", "SECONDS", "GOAL"].map(str::to_owned).to_vec()];
    rows.extend(states.iter().map(|run| {
        vec![
            run.id.clone(),
            age(run.created_ms),
            run.status.to_string(),
            strategy(run).to_owned(),
            format!("{:.1}", run.wall_ms as f64 / 1000.0),
            one_line(&run.goal, GOAL_CHARS),
        ]
    }));
    print(&table(&rows))
}

/// Says what can't be read of a run, if anything.
fn warn_of_damage<'a>(run: &str, damaged: impl IntoIterator<Item = &'a String>) {
    let damaged: Vec<&str> = damaged.into_iter().map(String::as_str).collect();
    if !damaged.is_empty() {
        inputs::warn(&format!("run {run}: {}", damaged.join("; ")));
    }
}

/// The object that `runs show --json` prints.
#[derive(Serialize)]
struct ShownRun<'a> {
    #[serde(flatten)]
    run: &'a RunState,
    /// Known failure modes that rules find in the record.
    labels: &'a [Label],
}

fn show_run(run: &RunState, json: bool) -> Result<ExitCode, CliError> {
    let labels = labels(run);
    if json {
        return print_json(&ShownRun { run, labels: &labels });
    }
    let mut text = format!("{} · {} · {} ago\n", run.id, run.status, age(run.created_ms));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:9} {value}");
        }
    };
    line("goal", &run.goal);
    let inputs: Vec<&str> = run.inputs.iter().map(|input| input.name.as_str()).collect();
    line("inputs", &inputs.join(", "));
    line("strategy", strategy(run));
    line("because", run.strategy_why.as_ref().map_or("", |why| &why.because));
    for missing in &run.missing {
        line("missing", missing);
    }
    for unchecked in &run.unchecked {
        line("unchecked", unchecked);
    }
    for Label { mode, task, why } in &labels {
        line("label", &format!("{} in {task}: {why}", mode.name()));
    }
    text.push('\n');
    let mut rows =
        vec![["TASK", "STATUS", "WORKER", "TRIES", "FROM s", "TO s", "OUTPUT"].map(str::to_owned).to_vec()];
    rows.extend(run.tasks.iter().map(|task| {
        let seconds =
            |ms: Option<u64>| ms.map_or_else(String::new, |ms| format!("{:.1}", ms as f64 / 1000.0));
        vec![
            task.id.clone(),
            task.status.to_string(),
            task.worker.clone(),
            task.attempts.len().to_string(),
            seconds(task.started_ms),
            seconds(task.finished_ms),
            one_line(&task.output, GOAL_CHARS),
        ]
    }));
    text.push_str(&table(&rows));
    let _ = write!(text, "\n{}\n", run.answer.trim_end());
    if let Some(action) = &run.required_action {
        let _ = write!(text, "\n{}", parked::how_to_answer(&run.id, action));
    }
    print(&text)
}

fn show_task(run: &RunState, id: &str, json: bool) -> Result<ExitCode, CliError> {
    warn_of_damage(&run.id, &run.damaged);
    let task = run.tasks.iter().find(|task| task.id == id).ok_or_else(|| {
        let ids: Vec<&str> = run.tasks.iter().map(|task| task.id.as_str()).collect();
        CliError::usage(format!("run {} has no task {id}; it has {}", run.id, ids.join(", ")))
    })?;
    if json { print_json(task) } else { print(&task_text(task)) }
}

fn task_text(task: &TaskState) -> String {
    let mut text = format!("{} · {} · {} on {}\n", task.id, task.status, task.worker, task.model);
    for attempt in &task.attempts {
        let _ = write!(
            text,
            "\n== attempt {} · {} on {} · sampling {} · usage {}\n",
            attempt.attempt,
            attempt.worker,
            attempt.model,
            attempt.sampling,
            json!(attempt.usage)
        );
        let template = attempt.prompt_template.as_ref().map_or_else(String::new, |id| format!(" of {id}"));
        let _ = write!(
            text,
            "-- prompt{template}\n{}\n-- output\n{}\n",
            attempt.prompt.trim_end(),
            attempt.output.trim_end()
        );
        if let Some(error) = &attempt.error {
            let _ = writeln!(text, "-- not accepted: {error}");
        }
    }
    if task.attempts.is_empty() {
        let _ = writeln!(text, "{}", task.output);
    }
    text
}

fn show_events(events: &[Event], json: bool) -> Result<ExitCode, CliError> {
    let mut text = String::new();
    for event in events {
        if json {
            let mut object = serde_json::Map::new();
            object.insert("seq".to_owned(), event.seq.into());
            object.insert("ms".to_owned(), event.ms.into());
            object.insert("type".to_owned(), event.kind.clone().into());
            object.extend(event.body.as_object().cloned().unwrap_or_default());
            let _ = writeln!(text, "{}", Value::Object(object));
        } else {
            let _ = writeln!(
                text,
                "{:>5} {:>9.3} s  {:16} {}",
                event.seq,
                event.ms as f64 / 1000.0,
                event.kind,
                event.body
            );
        }
    }
    print(&text)
}

/// Age as `3 d` of a time in milliseconds since 1970.
fn age(created_ms: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = (now.as_millis() as u64).saturating_sub(created_ms) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

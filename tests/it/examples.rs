//! The scripts of `examples/` on a small real model. The strategies there are tested in `orchestrator/patterns.rs`.

use std::path::Path;
use std::process::Command;

use bandmaster::journal::{Event, Journal};
use bandmaster::orchestrator::state;
use serde_json::Value;

/// Runs a script with a home of its own and the smallest model. Gives what it printed, and the home.
fn script(name: &str) -> Option<(String, tempfile::TempDir)> {
    let model = bandmaster_test_support::model("smollm2-135m.gguf")?;
    let home = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let output = Command::new("bash")
        .arg(script)
        .args([home.path(), model.as_path()])
        .env("BANDMASTER", env!("CARGO_BIN_EXE_bandmaster"))
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let log = std::fs::read_to_string(home.path().join("log")).unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{printed}\n{errors}\n{log}", output.status);
    Some((printed, home))
}

#[test]
fn a_killed_run_goes_on_and_its_fork_shares_what_came_before() {
    let Some((printed, home)) = script("checkpoints.sh") else { return };
    assert!(printed.contains("all as recorded"), "{printed}");
    let journal = Journal::open(&home.path().join("runs.sqlite")).unwrap();
    let fork = journal.find("last").unwrap();
    let of_fork = journal.events(&fork, 0).unwrap();
    let forked = of_fork.iter().find(|event| event.kind == "run.forked").expect("it is a fork");
    let run = forked.body["from"].as_str().unwrap();
    let events = journal.events(run, 0).unwrap();
    let resumed = events.iter().position(|event| event.kind == "run.resumed").expect("it was killed");
    let before = events[..resumed].iter().filter(|event| event.kind == "task.finished");
    let done: Vec<&Value> = before.map(|event| &event.body["task"]).collect();
    assert!(done.len() >= 2, "the plan and one reading: {done:?}");
    let again = |event: &&Event| event.kind.starts_with("task.") && done.contains(&&event.body["task"]);
    assert_eq!(events[resumed..].iter().find(again), None, "what was done is not done again");
    let at = forked.body["at"].as_u64().unwrap() as usize;
    assert_eq!(of_fork[..at], events[..at]);
    let (run, fork) = (state(&journal, run).unwrap(), state(&journal, &fork).unwrap());
    assert!(run.plan == fork.plan && run.goal != fork.goal);
}

#[test]
fn a_plan_that_waits_for_approval_can_be_edited() {
    let Some((printed, home)) = script("approval.sh") else { return };
    let journal = Journal::open(&home.path().join("runs.sqlite")).unwrap();
    let run = state(&journal, &journal.find("last").unwrap()).unwrap();
    let titles: Vec<String> = run.plan_tasks().map(|task| task.task.instruction.clone()).collect();
    let begins = |(title, begin): (&String, &str)| title.starts_with(begin);
    assert!(titles.len() == 3 && titles.iter().zip(["hives", "food", "winter"]).all(begins), "{titles:?}");
    assert!(
        run.outcome.is_some() && printed.contains("requires_action") && printed.contains("run.resumed"),
        "{printed}"
    );
}

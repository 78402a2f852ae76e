//! Runs with a running server and after a `kill -9`: showing, cancelling, resuming and deleting them, through the
//! server and with `runs …`.

use std::path::Path;
use std::process::Output;

use super::*;

/// The command `bandmaster WORDS` with the server's home.
pub fn command(home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bandmaster"));
    command.args(words).args(["--offline", "--threads", "1", "--home"]).arg(home).stdin(Stdio::null());
    command
}

pub fn said(home: &Path, words: &[&str], status: i32) -> String {
    let Output { status: ended, stdout, stderr } = command(home, words).output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(ended.code(), Some(status), "{words:?}: {text}");
    text
}

fn status(home: &Path, run: &str) -> String {
    let state: Value = serde_json::from_str(&said(home, &["runs", "show", run, "--json"], 0)).unwrap();
    state["status"].as_str().unwrap().to_owned()
}

/// The events by which a run ended and went on, in order. Its events must be numbered without gaps.
fn ends(home: &Path, run: &str) -> Vec<String> {
    let lines = said(home, &["runs", "show", run, "--events", "--json"], 0);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap());
    kinds.filter(|kind| matches!(*kind, "run.finished" | "run.resumed")).map(str::to_owned).collect()
}

/// Starts a server whose band is the small model.
pub fn serve(home: &tempfile::TempDir) -> Option<Server> {
    Server::start(home, &["--planner", model()?.to_str().unwrap()])
}

/// A request body with a goal that takes long.
fn long() -> Value {
    let file =
        |n: u32| json!({"name": format!("{n}.md"), "text": format!("Farm {n} keeps sheep. ").repeat(60)});
    let files: Vec<Value> = (0..40).map(file).collect();
    json!({"goal": "Count to a thousand.", "strategy": "map", "files": files})
}

fn begin(server: &Server) -> String {
    let (status, run) = server.post("/v1/runs", &long());
    assert_eq!((status, &run["status"]), (200, &json!("in_progress")), "{run}");
    run["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_of_the_server_is_cancelled_and_goes_on_from_another_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let home = folder.path();
    let run = begin(&server);
    assert_eq!(status(home, &run), "in_progress");
    let refused = said(home, &["runs", "rm", &run], 2);
    assert!(refused.contains(&format!("runs cancel {run}")), "{refused}");
    let pruned = said(home, &["runs", "prune", "--older-than", "0s"], 0);
    assert!(
        pruned.starts_with("0 runs and 0 stored responses deleted, 1 of that age are still running"),
        "{pruned}"
    );
    let refused = said(home, &["runs", "resume", &run], 2);
    assert!(refused.contains("in progress"), "{refused}");
    let refused = said(home, &["runs", "cancel", &run, "--standalone"], 2);
    let process = format!("process {}", server.child.id());
    assert!(
        refused.contains(&process) && refused.contains("--standalone does not use the server"),
        "{refused}"
    );

    assert_eq!(said(home, &["runs", "cancel", &run], 0), format!("{run}: cancelled\n"));
    assert_eq!(status(home, &run), "cancelled");
    let refused = said(home, &["runs", "cancel", &run], 2);
    assert!(refused.contains("nothing to cancel"), "{refused}");

    // Resumed on the server under its own id, and cancelled by Ctrl-C as with `run`.
    let mut again = command(home, &["runs", "resume", &run]);
    let mut again = again.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(again.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("using the server"), "{line}");
    let began = Instant::now();
    while server.get(&format!("/v1/runs/{run}")).1["status"] != "in_progress" {
        assert!(began.elapsed() < PATIENCE, "it does not go on");
    }
    signal("INT", again.id());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(again.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains(&format!("runs resume {run}")), "{rest}");
    let (_, again) = server.get(&format!("/v1/runs/{run}"));
    assert_eq!((&again["status"], &again["goal"]), (&json!("cancelled"), &long()["goal"]));
    assert_eq!(again["inputs"].as_array().unwrap().len(), 40);
    assert_eq!(server.get("/v1/runs").1["data"].as_array().unwrap().len(), 1, "it is the same run");
    assert_eq!(ends(home, &run), ["run.finished", "run.resumed", "run.finished"]);
    assert_eq!(said(home, &["runs", "rm", &run], 0), format!("{run}: deleted\n"));
}

#[test]
fn a_killed_servers_run_is_incomplete_and_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut first) = serve(&folder) else { return };
    let home = folder.path();
    let run = begin(&first);
    first.signal("KILL");
    first.child.wait().unwrap();
    // The server is gone now.
    assert_eq!(status(home, &run), "incomplete");
    let shown = said(home, &["runs", "show", &run], 0);
    assert!(shown.contains("interrupted") && shown.contains(&format!("runs resume {run}")), "{shown}");

    let second = serve(&folder).unwrap();
    let (_, list) = second.get("/v1/runs");
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["status"]), (&json!(run), &json!("incomplete")));
    let (asked, answer) = second.post(&format!("/v1/runs/{run}/cancel"), &json!({}));
    assert_eq!(asked, 409, "{answer}");
    let (asked, again) = second.post(&format!("/v1/runs/{run}/resume"), &json!({}));
    assert_eq!((asked, &again["resumes"], &again["status"]), (200, &json!(run), &json!("in_progress")));
    assert_eq!(again["id"], json!(run), "it goes on under its own id");
    let (asked, refused) = second.post(&format!("/v1/runs/{run}/resume"), &json!({}));
    assert_eq!(asked, 409, "{refused}");
    let (asked, ended) = second.post(&format!("/v1/runs/{run}/cancel"), &json!({}));
    assert_eq!((asked, &ended["status"], &ended["goal"]), (200, &json!("cancelled"), &long()["goal"]));
    assert_eq!(ends(home, &run), ["run.resumed", "run.finished"]);
    // Whoever follows it from its beginning hears all of it.
    let (_, heard) = second.get(&format!("/v1/runs/{run}/events"));
    let heard = heard.as_str().unwrap();
    assert!(heard.contains("run.started") && heard.contains("run.finished"), "{heard}");
}

#[test]
fn who_follows_a_run_that_was_resumed_hears_it_to_its_last_end() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let run = begin(&server);
    let cancel = || server.post(&format!("/v1/runs/{run}/cancel"), &json!({}));
    assert_eq!(cancel().1["status"], "cancelled");
    assert_eq!(server.post(&format!("/v1/runs/{run}/resume"), &json!({})).0, 200);
    let heard = std::thread::scope(|scope| {
        let events = scope.spawn(|| server.get(&format!("/v1/runs/{run}/events")).1);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(cancel().1["status"], "cancelled");
        events.join().unwrap()
    });
    let heard = heard.as_str().unwrap();
    assert_eq!(heard.matches("event: run.finished").count(), 2, "{heard}");
}

#[test]
fn no_run_that_was_acknowledged_is_lost_by_a_kill_right_after() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let Some(mut server) = serve(&folder) else { return };
        let mut ids: Vec<String> = (0..round).map(|_| begin(&server)).collect();
        ids.push(begin(&server));
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        let listed = said(folder.path(), &["runs", "list"], 0);
        for id in ids {
            assert!(listed.contains(&id), "round {round}: {id} is lost: {listed}");
            let shown = said(folder.path(), &["runs", "show", &id, "--json"], 0);
            assert!(shown.contains("Count to a thousand."), "it can be resumed: {shown}");
        }
    }
}

#[test]
fn no_run_whose_beginning_was_printed_is_lost_by_a_kill_right_after() {
    let folder = tempfile::tempdir().unwrap();
    let Some(model) = model() else { return };
    let model = model.to_str().unwrap();
    for round in 0..20 {
        let words = ["run", "Count to a thousand.", "--standalone", "--events", "--planner", model];
        let mut run = command(folder.path(), &words);
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let started: Value = serde_json::from_str(&line).unwrap();
        let id = started["run"].as_str().unwrap();
        let shown = said(folder.path(), &["runs", "show", id, "--json"], 0);
        assert!(shown.contains("Count to a thousand."), "round {round}: {shown}");
    }
}

#[test]
fn runs_are_listed_some_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let ids: Vec<String> = (0..3).map(|_| begin(&server)).collect();
    let page = |query: &str| {
        let (status, list) = server.get(&format!("/v1/runs{query}"));
        assert_eq!(status, 200, "{list}");
        let ids: Vec<String> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, list["last_id"].as_str().unwrap().to_owned(), list["has_more"].as_bool().unwrap())
    };
    let latest_first = [2, 1, 0].map(|n| ids[n].clone());
    assert_eq!(page(""), (latest_first.to_vec(), ids[0].clone(), false));
    assert_eq!(page("?limit=2"), (latest_first[..2].to_vec(), ids[1].clone(), true));
    assert_eq!(page(&format!("?limit=2&after={}", ids[1])), (vec![ids[0].clone()], ids[0].clone(), false));
    for query in ["?limit=0", "?limit=x", "?after=none"] {
        assert_eq!(server.get(&format!("/v1/runs{query}")).0, 400, "{query}");
    }
}

#[test]
fn a_run_of_its_own_process_goes_on_beside_the_server_until_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let home = folder.path();
    let file = home.join("long.md");
    std::fs::write(&file, "Farm 7 keeps sheep. ".repeat(20_000)).unwrap();
    let (model, file) = (model().unwrap(), file.to_str().unwrap().to_owned());
    let words = ["run", "How many sheep?", "--standalone", "--strategy", "map", "--events", "-f", &file];
    let mut run = command(home, &words);
    let mut child =
        run.arg("--planner").arg(model).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    // It is kept open: a run that can't be printed any more is cancelled.
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let started: Value = serde_json::from_str(&line).unwrap();
    let id = started["run"].as_str().unwrap();
    let shown = || server.get(&format!("/v1/runs/{id}")).1["status"].clone();
    assert_eq!(shown(), "in_progress");
    for verb in ["cancel", "resume"] {
        let (asked, answer) = server.post(&format!("/v1/runs/{id}/{verb}"), &json!({}));
        assert_eq!(asked, 409, "{answer}");
    }
    let refused = said(home, &["runs", "cancel", id], 2);
    assert!(
        refused.contains(&format!("process {}", child.id())) && refused.contains("end it there"),
        "{refused}"
    );
    assert_eq!(shown(), "in_progress");
    signal("KILL", child.id());
    child.wait().unwrap();
    assert_eq!(shown(), "incomplete");
    assert_eq!(said(home, &["runs", "rm", id], 0), format!("{id}: deleted\n"));
}

#[test]
fn a_question_is_answered_with_and_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let home = folder.path();
    let answer = |more: &[&str]| {
        let asked = said(home, &["run", "Proofread it.", "--strategy", "ask"], 4);
        assert!(asked.contains("using the server") && asked.contains("runs answer"), "{asked}");
        let (_, question) = server.get("/v1/runs/last");
        let id = question["id"].as_str().unwrap();
        assert_eq!(question["status"], "requires_action");
        let refused = said(home, &["runs", "resume", id], 2);
        assert!(refused.contains("waits for an answer"), "{refused}");
        let words = [&["runs", "answer", id, "It are blue.", "--json", "--quiet"], more].concat();
        let output = command(home, &words).output().unwrap();
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(outcome["id"], id, "the run goes on under its own id");
        let shown = said(home, &["runs", "show", id, "--json"], 0);
        let state: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((&state["goal"], &state["inputs"]), (&question["goal"], &question["inputs"]));
        assert!(state["status"] != "requires_action" && state["strategy"] != "ask", "{state}");
        assert_eq!(ends(home, id), ["run.finished", "run.resumed", "run.finished"]);
        let events = said(home, &["runs", "show", id, "--events", "--json"], 0);
        let resumed = events.lines().find(|line| line.contains("run.resumed")).unwrap();
        let resumed: Value = serde_json::from_str(resumed).unwrap();
        assert_eq!(resumed["answer"], "It are blue.");
        assert!(events.contains("(answer):"), "the model reads the answer: {events}");
        // The list says how it is now.
        let listed: Value = serde_json::from_str(&said(home, &["runs", "list", "--json"], 0)).unwrap();
        let of_list = [&listed[0]["id"], &listed[0]["status"], &listed[0]["strategy"]];
        assert_eq!(of_list, [&state["id"], &state["status"], &state["strategy"]]);
        let refused = said(home, &["runs", "answer", id, "Once more."], 2);
        assert!(refused.contains("no open question"), "{refused}");
    };
    answer(&[]);
    let model = model().unwrap();
    answer(&["--standalone", "--planner", model.to_str().unwrap()]);
}

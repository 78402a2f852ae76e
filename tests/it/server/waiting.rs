//! Runs that wait for an answer, and runs whose server was started again: with the same models, without a band, or in
//! another way.

use super::runs::serve;
use super::*;

/// A small share of `tests/long/waiting_runs.py`.
const WAITING: usize = 24;

fn status(server: &Server, run: &str) -> Value {
    ok(server.get(&format!("/v1/runs/{run}")))["status"].clone()
}

/// The types of a run's events, until it ends.
fn events(server: &Server, run: &str) -> Vec<String> {
    let text = ok(server.get(&format!("/v1/runs/{run}/events")));
    let types = text.as_str().unwrap().lines().filter_map(|line| line.strip_prefix("event: "));
    types.map(str::to_owned).collect()
}

fn begin(server: &Server, goal: &Value) -> String {
    ok(server.post("/v1/runs", goal))["id"].as_str().unwrap().to_owned()
}

fn kill(mut server: Server) {
    server.signal("KILL");
    server.child.wait().unwrap();
}

#[cfg(target_os = "linux")]
fn threads(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap().count()
}

#[cfg(target_os = "linux")]
#[test]
fn runs_that_wait_for_an_answer_cost_nothing_and_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let goal = json!({"goal": "Proofread it.", "strategy": "ask", "budget": {"tokens": 40}});
    let answer = |server: &Server, run: &str| {
        let answered = ok(server.post(&format!("/v1/runs/{run}/answer"), &json!({"text": "It are blue."})));
        assert_eq!(answered["id"], run);
        let events = events(server, run);
        let resumed = events.iter().position(|kind| kind == "run.resumed").expect("it goes on");
        assert!(events[resumed..].iter().any(|kind| kind == "task.output"), "{events:?}");
        assert_eq!(events.last().unwrap(), "run.finished");
        assert_ne!(status(server, run), "requires_action");
    };
    // The first one uses every thread and loads the model.
    let first = begin(&server, &goal);
    answer(&server, &first);
    let before = threads(&server);
    let runs: Vec<String> = (0..WAITING).map(|_| begin(&server, &goal)).collect();
    for run in &runs {
        assert_eq!(events(&server, run).last().unwrap(), "run.finished");
        assert_eq!(status(&server, run), "requires_action");
    }
    // Threads for short work end when they have had none for a while.
    let began = Instant::now();
    while threads(&server) > before {
        assert!(began.elapsed() < PATIENCE, "{} threads, {before} before", threads(&server));
        std::thread::sleep(Duration::from_millis(100));
    }
    for what in ["running_sequences", "waiting_sequences", "cache_held_bytes"] {
        assert_eq!(server.metric(&format!("bandmaster_engine_{what} ")), 0.0, "{what}");
    }
    kill(server);
    let server = serve(&folder).unwrap();
    for run in &runs {
        assert_eq!(status(&server, run), "requires_action");
        answer(&server, run);
    }
}

#[test]
fn a_run_that_the_end_of_its_server_interrupts_goes_on_in_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = serve(&folder) else { return };
    let goal = json!({"goal": "Write a long story about sheep.", "strategy": "direct"});
    let alone = begin(&server, &goal);
    events(&server, &alone);
    let answer = |server: &Server, run: &str| ok(server.get(&format!("/v1/runs/{run}")))["answer"].clone();
    let whole = answer(&server, &alone);
    let run = begin(&server, &goal);
    server.signal("TERM");
    assert!(server.child.wait().unwrap().success());
    let server = serve(&folder).unwrap();
    assert_eq!(status(&server, &run), "incomplete");
    assert_eq!(ok(server.post(&format!("/v1/runs/{run}/resume"), &json!({})))["id"], json!(run));
    let events = events(&server, &run);
    assert!(!events.contains(&"run.cancelled".to_owned()), "{events:?}");
    assert_eq!(answer(&server, &run), whole);
}

#[test]
fn a_run_goes_on_with_its_own_models_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = serve(&folder) else { return };
    let file = |n: u32| json!({"name": format!("{n}.md"), "text": "The farm keeps sheep. ".repeat(50)});
    let files: Vec<Value> = (0..20).map(file).collect();
    let goal = json!({"goal": "How many sheep?", "strategy": "map", "files": files});
    let run = begin(&server, &goal);
    kill(server);

    // A server that loads models in another way.
    let model = model().unwrap();
    let planner = ["--planner", model.to_str().unwrap(), "--context-tokens", "1024"];
    let other = Server::start(&folder, &planner).unwrap();
    assert_eq!(status(&other, &run), "incomplete");
    for (verb, body) in [("resume", json!({})), ("fork", json!({"at": 1}))] {
        let (status, refused) = other.post(&format!("/v1/runs/{run}/{verb}"), &body);
        assert_eq!(status, 409, "{refused}");
        let message = refused["error"]["message"].as_str().unwrap();
        for part in ["smollm2-135m.gguf", "context of 1024 tokens", &run, "--standalone"] {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
    kill(other);

    // A server without a band that has the model.
    let plain = Server::start(&folder, &[]).unwrap();
    assert_eq!(plain.post("/v1/runs", &goal).0, 404, "it has no band");
    assert_eq!(ok(plain.post(&format!("/v1/runs/{run}/resume"), &json!({})))["id"], json!(run));
    let cancelled = ok(plain.post(&format!("/v1/runs/{run}/cancel"), &json!({})));
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(ok(plain.ask(&format!("DELETE /v1/runs/{run} HTTP/1.1"), ""))["deleted"], true);
    assert_eq!(plain.get(&format!("/v1/runs/{run}")).0, 404);
}

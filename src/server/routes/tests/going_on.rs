//! Runs that are resumed, answered, forked, cancelled and deleted at the same time, and who owns and pays for them.

use std::sync::Arc;

use bandmaster_journal::AsyncJournal;
use bandmaster_text::fixtures::parrot;
use serde_json::{Value, json};

use super::owners::keys;
use crate::fixtures::Running;

const ROUNDS: usize = 20;

fn server() -> Running {
    serving(AsyncJournal::in_memory().unwrap(), None)
}

fn serving(journal: AsyncJournal, keys_file: Option<&str>) -> Running {
    let model = parrot("Seven sheep.");
    Running::with_band(journal, Box::new(move |_| Ok(Arc::clone(&model))), keys_file.map(keys))
}

impl Running {
    /// Starts a run whose budget ends it at its first call, so that it can be resumed, and waits for its end.
    async fn short_run(&self) -> String {
        let goal = json!({"goal": "Count the sheep.", "strategy": "direct", "budget": {"tokens": 1}});
        let run = self.call(200, "POST", "/v1/runs", goal).await;
        let id = run["id"].as_str().unwrap().to_owned();
        assert_eq!(self.ended(&id).await, "incomplete");
        id
    }

    /// The status of a run after its end.
    async fn ended(&self, id: &str) -> String {
        // The events end with the run.
        assert_eq!(self.respond("GET", &format!("/v1/runs/{id}/events"), &Value::Null).await.0, 200);
        let run = self.call(200, "GET", &format!("/v1/runs/{id}"), Value::Null).await;
        run["status"].as_str().unwrap().to_owned()
    }

    /// The types of the events by which a run began, ended and went on, in order.
    async fn turns(&self, id: &str) -> Vec<String> {
        let (_, events) = self.respond("GET", &format!("/v1/runs/{id}/events"), &Value::Null).await;
        let types = events.lines().filter_map(|line| line.strip_prefix("event: "));
        types.filter(|kind| kind.starts_with("run.")).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn of_two_resumes_at_once_exactly_one_goes_on() {
    let server = server();
    let mut refused = 0;
    for _ in 0..ROUNDS {
        let id = server.short_run().await;
        let path = format!("/v1/runs/{id}/resume");
        let resume = || server.respond("POST", &path, &Value::Null);
        let (one, other) = tokio::join!(resume(), resume());
        let mut statuses = [one.0, other.0];
        statuses.sort_unstable();
        server.ended(&id).await;
        let turns = server.turns(&id).await;
        let resumed = turns.iter().filter(|kind| *kind == "run.resumed").count();
        match statuses {
            [200, 409] => assert_eq!(resumed, 1, "{turns:?}"),
            // The first had already ended again when the second came.
            [200, 200] => assert_eq!(resumed, 2, "{turns:?}"),
            _ => panic!("{one:?} {other:?}"),
        }
        refused += usize::from(statuses[1] == 409);
        // Nobody goes on with what has not ended.
        for pair in turns.windows(2).filter(|pair| pair[1] == "run.resumed") {
            assert_eq!(pair[0], "run.finished", "{turns:?}");
        }
    }
    assert!(refused > 0, "they never met");
}

#[tokio::test]
async fn a_run_that_is_being_resumed_is_not_deleted() {
    let server = server();
    for _ in 0..ROUNDS {
        let id = server.short_run().await;
        let (resume, delete) = (format!("/v1/runs/{id}/resume"), format!("/v1/runs/{id}"));
        let both = tokio::join!(
            server.respond("POST", &resume, &Value::Null),
            server.respond("DELETE", &delete, &Value::Null)
        );
        let there = server.respond("GET", &delete, &Value::Null).await.0;
        match (both.0.0, both.1.0, there) {
            (200, 409, 200) => assert_eq!(server.ended(&id).await, "incomplete"),
            // Deleted before it was taken up, or after it had ended again.
            (404, 200, 404) | (200, 200, 404) => {}
            other => panic!("{other:?}: {both:?}"),
        }
    }
}

#[tokio::test]
async fn a_deleted_run_is_gone_and_one_in_progress_stays() {
    let server = server();
    let id = server.short_run().await;
    let path = format!("/v1/runs/{id}");
    // A slip must not delete another run.
    for other in ["last", &id[..10], &id[..13]] {
        server.call(404, "DELETE", &format!("/v1/runs/{other}"), Value::Null).await;
    }
    let deleted = server.call(200, "DELETE", &path, Value::Null).await;
    assert_eq!(deleted, json!({"id": id, "object": "run.deleted", "deleted": true}));
    server.call(404, "GET", &path, Value::Null).await;
    server.call(404, "DELETE", &path, Value::Null).await;
    assert_eq!(server.call(200, "GET", "/v1/runs", Value::Null).await["data"], json!([]));
}

#[tokio::test]
async fn a_run_is_cancelled_in_its_first_moment_while_its_inputs_are_still_read() {
    let server = server();
    // Reading it takes a while, and before that nobody is told its id.
    let files = json!([{"name": "long.md", "text": "Farm 7 keeps sheep. ".repeat(40_000)}]);
    let goal = json!({"goal": "Count the sheep.", "strategy": "map", "files": files});
    let begun = server.call(200, "POST", "/v1/runs", goal);
    let cancelled = async {
        let run: Value = loop {
            match server.respond("GET", "/v1/runs/last", &Value::Null).await {
                (200, run) => break serde_json::from_str(&run).unwrap(),
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!(run["last_seq"], 0, "it has not begun: {run}");
        let id = run["id"].as_str().unwrap().to_owned();
        server.call(200, "POST", &format!("/v1/runs/{id}/cancel"), Value::Null).await;
        (server.ended(&id).await, id)
    };
    let (begun, (status, id)) = tokio::join!(begun, cancelled);
    assert_eq!((status.as_str(), &begun["id"]), ("cancelled", &json!(id)), "{begun}");
}

#[tokio::test]
async fn a_resume_and_a_cancel_at_once_leave_no_run_that_nobody_can_end() {
    let server = server();
    for _ in 0..ROUNDS {
        let id = server.short_run().await;
        let (resume, cancel) = (format!("/v1/runs/{id}/resume"), format!("/v1/runs/{id}/cancel"));
        let (resumed, cancelled) = tokio::join!(
            server.respond("POST", &resume, &Value::Null),
            server.respond("POST", &cancel, &Value::Null)
        );
        assert_eq!(resumed.0, 200, "{resumed:?}");
        // A cancel that comes first finds a run that has ended.
        assert!(matches!(cancelled.0, 200 | 409), "{cancelled:?}");
        let status = server.ended(&id).await;
        assert!(["cancelled", "incomplete"].contains(&status.as_str()), "{status}");
        assert_eq!(server.call(200, "POST", &resume, Value::Null).await["id"], json!(id));
        server.ended(&id).await;
    }
}

#[tokio::test]
async fn a_fork_of_an_admin_stays_readable_to_the_key_that_made_it() {
    let journal = AsyncJournal::in_memory().unwrap();
    let admin = serving(journal.clone(), Some("ann-key name=ann\nbob-key name=bob admin\n"));
    let goal = json!({"goal": "Proofread it.", "strategy": "ask"});
    let (status, run) = admin.respond_to("ann-key", "POST", "/v1/runs", &goal).await;
    assert_eq!(status, 200, "{run}");
    let run: Value = serde_json::from_str(&run).unwrap();
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let events = async |server: &Running, key: &str, path: &str| {
        server.respond_to(key, "GET", &format!("{path}/events"), &Value::Null).await
    };
    events(&admin, "ann-key", &path).await;
    let (status, fork) =
        admin.respond_to("bob-key", "POST", &format!("{path}/fork"), &json!({"at": 1})).await;
    assert_eq!(status, 200, "{fork}");
    let fork: Value = serde_json::from_str(&fork).unwrap();
    let fork = format!("/v1/runs/{}", fork["id"].as_str().unwrap());
    let whole = events(&admin, "bob-key", &fork).await;
    assert!(whole.1.contains("run.started") && whole.1.contains("run.forked"), "{whole:?}");

    let plain = serving(journal, Some("ann-key name=ann\nbob-key name=bob\n"));
    assert_eq!(events(&plain, "bob-key", &fork).await, whole);
    let (status, shown) = plain.respond_to("bob-key", "GET", &fork, &Value::Null).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((status, &shown["goal"]), (200, &goal["goal"]), "{shown}");
    // The run it was forked from stays its owner's, and the fork is nothing to that owner.
    assert_eq!(events(&plain, "bob-key", &path).await.0, 404);
    assert_eq!(events(&plain, "ann-key", &fork).await.0, 404);
}

#[tokio::test]
async fn the_models_of_another_band_are_named_and_no_run_goes_on_with_others() {
    let server = server();
    let id = server.short_run().await;
    let run = id.clone();
    let other = server.journal.read(move |journal| {
        let state = bandmaster_orchestrator::state(journal, &run)?;
        Ok::<_, bandmaster_journal::JournalError>(state.asked.models)
    });
    let models = other.await.unwrap().expect("a run of the server records its models");
    assert_eq!((models.planner.as_str(), models.context_tokens), ("parrot.gguf", 4096));

    let started = json!({"goal": "Count the sheep.", "asked": {"strategy": "direct", "models": {
        "planner": "/other/place/crow.gguf", "workers": ["parrot.gguf"], "workers_named": true,
        "context_tokens": 4096, "kv_type": "f16"}}});
    let mut recording = server.journal.begin(Vec::new());
    recording.append("run.started", 0, &started);
    let end = json!({"status": "incomplete", "answer": "", "missing": []});
    recording.finish("run.finished", 1, &end, std::time::Duration::from_secs(20)).await;
    let path = format!("/v1/runs/{}", recording.id());
    for (verb, body, command) in [
        ("resume", Value::Null, format!("runs resume {} --standalone", recording.id())),
        ("fork", json!({"at": 1}), format!("runs fork {} --at 1 --standalone", recording.id())),
    ] {
        let refused = server.call(409, "POST", &format!("{path}/{verb}"), body).await;
        let message = refused["error"]["message"].as_str().unwrap();
        for part in ["crow.gguf", "parrot.gguf", "4096", "does not have crow.gguf", &command] {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        assert!(!message.contains("/other/place"), "{message}");
    }
    assert_eq!(
        server.call(200, "POST", &format!("/v1/runs/{id}/resume"), Value::Null).await["id"],
        json!(id)
    );
}

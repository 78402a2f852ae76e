//! Damaged rows in the record: a route that needs one answers 500 and names it, lists mark it, and the server goes on.

use std::time::Duration;

use bandmaster_journal::AsyncJournal;
use bandmaster_text::fixtures::parrot;
use serde_json::{Value, json};

use crate::fixtures::Running;

struct Damaged {
    server: Running,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Damaged {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        let model = parrot("Hello!");
        let journal = AsyncJournal::open(&path).unwrap();
        let server = Running::on(journal, Box::new(move |_| Ok(std::sync::Arc::clone(&model))), None);
        Self { server, path, _folder: folder }
    }

    fn change(&self, statement: &str) {
        let changed = rusqlite::Connection::open(&self.path).unwrap().execute(statement, []).unwrap();
        assert!(changed > 0, "{statement}");
    }

    async fn make(&self, path: &str, body: Value) -> String {
        self.server.call(200, "POST", path, body).await["id"].as_str().unwrap().to_owned()
    }

    /// The route must answer 500 with a message that has every part.
    async fn fails(&self, method: &str, path: &str, body: Value, parts: &[&str]) {
        let error = self.server.call(500, method, path, body).await["error"].take();
        let message = error["message"].as_str().unwrap();
        assert_eq!((&error["type"], &error["param"]), (&json!("server_error"), &Value::Null), "{error}");
        assert!(parts.iter().all(|part| message.contains(part)), "{path}: {message} lacks one of {parts:?}");
    }
}

const BROKEN: &str = "'{\"cut\": \"off'";

#[tokio::test]
async fn a_damaged_response_is_an_error_that_names_it() {
    let damaged = Damaged::new();
    let first = damaged.make("/v1/responses", json!({"input": "Hi"})).await;
    let whole = damaged.make("/v1/responses", json!({"input": "Hi"})).await;
    damaged.change(&format!("UPDATE responses SET body = {BROKEN} WHERE id = '{first}'"));
    let (path, parts) = (format!("/v1/responses/{first}"), [format!("the body of response {first}")]);
    let parts = parts.each_ref().map(String::as_str);
    damaged.fails("GET", &path, Value::Null, &parts).await;
    damaged.fails("POST", &format!("{path}/cancel"), Value::Null, &parts).await;
    // What doesn't need the document works.
    damaged.server.call(200, "GET", &format!("{path}/input_items"), Value::Null).await;
    damaged
        .server
        .call(200, "POST", "/v1/responses", json!({"input": "x", "previous_response_id": first}))
        .await;
    damaged.server.call(200, "GET", &format!("/v1/responses/{whole}"), Value::Null).await;
    damaged.server.call(200, "DELETE", &path, Value::Null).await;
}

#[tokio::test]
async fn a_damaged_item_is_marked_in_lists_and_elsewhere_an_error_that_names_it() {
    let damaged = Damaged::new();
    let response = damaged.make("/v1/responses", json!({"input": "Hi"})).await;
    let says = |text: &str| json!({"type": "message", "role": "user", "content": text});
    let talk = damaged.make("/v1/conversations", json!({"items": [says("a"), says("b")]})).await;
    let (items, inputs) =
        (format!("/v1/conversations/{talk}/items"), format!("/v1/responses/{response}/input_items"));
    let listed = damaged.server.call(200, "GET", &format!("{items}?order=asc"), Value::Null).await;
    let [first, second] = [0, 1].map(|at| listed["data"][at]["id"].as_str().unwrap().to_owned());
    damaged.change(&format!("UPDATE items SET body = {BROKEN} WHERE id = '{first}' OR owner = '{response}'"));

    let listed = damaged.server.call(200, "GET", &format!("{items}?order=asc"), Value::Null).await;
    assert_eq!(listed["first_id"], first);
    let marked = &listed["data"][0];
    assert_eq!((&marked["id"], &marked["type"]), (&json!(first), &json!("record.damaged")));
    assert!(marked["message"].as_str().unwrap().contains(&format!("item {first} of conversation {talk}")));
    assert_eq!(listed["data"][1]["id"], second);
    let listed = damaged.server.call(200, "GET", &inputs, Value::Null).await;
    assert_eq!(listed["data"][0]["type"], "record.damaged");

    let named = format!("the body of item {first} of conversation {talk}");
    damaged.fails("GET", &format!("{items}/{first}"), Value::Null, &[&named]).await;
    let goes_on = json!({"input": "x", "conversation": talk});
    damaged.fails("POST", "/v1/responses", goes_on.clone(), &[&named]).await;
    let refers = json!({"input": [{"type": "item_reference", "id": first}]});
    damaged.fails("POST", "/v1/responses", refers, &[&named]).await;
    let goes_on_from = json!({"input": "x", "previous_response_id": response});
    damaged.fails("POST", "/v1/responses", goes_on_from, &[&format!("of response {response}")]).await;
    damaged.server.call(200, "GET", &format!("{items}/{second}"), Value::Null).await;
    damaged.server.call(200, "POST", &items, json!({"items": [says("c")]})).await;
    damaged.server.call(200, "DELETE", &format!("{items}/{first}"), Value::Null).await;
    damaged.server.call(200, "POST", "/v1/responses", goes_on).await;
}

#[tokio::test]
async fn damaged_metadata_is_an_error_until_they_are_replaced() {
    let damaged = Damaged::new();
    let talk = damaged.make("/v1/conversations", json!({"metadata": {"a": "b"}})).await;
    damaged.change(&format!("UPDATE conversations SET metadata = {BROKEN}"));
    let path = format!("/v1/conversations/{talk}");
    damaged.fails("GET", &path, Value::Null, &[&format!("the metadata of conversation {talk}")]).await;
    damaged.server.call(200, "GET", &format!("{path}/items"), Value::Null).await;
    damaged.server.call(200, "POST", "/v1/responses", json!({"input": "x", "conversation": talk})).await;
    damaged.server.call(200, "POST", &path, json!({"metadata": {"a": "c"}})).await;
    damaged.server.call(200, "GET", &path, Value::Null).await;
}

#[tokio::test]
async fn a_damaged_run_is_marked_in_the_list_and_can_not_be_resumed() {
    let damaged = Damaged::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut recording = damaged.server.journal.begin(Vec::new());
        recording.append("run.started", 0, &json!({"goal": "g"}));
        let end = json!({"id": "r", "status": "incomplete", "answer": "", "strategy": "direct"});
        recording.finish("run.finished", 1, &end, Duration::from_secs(20)).await;
        ids.push(recording.id().to_owned());
    }
    let id = &ids[0];
    damaged.change(&format!("UPDATE events SET body = {BROKEN} WHERE run = '{id}' AND seq = 1"));
    let listed = damaged.server.call(200, "GET", "/v1/runs", Value::Null).await;
    let said = listed["data"][1]["damaged"][0].as_str().unwrap();
    assert!(said.starts_with("event 1 (run.started), whose record is damaged"), "{said}");
    assert!(listed["data"][0].get("damaged").is_none(), "{listed}");
    let shown = damaged.server.call(200, "GET", &format!("/v1/runs/{id}"), Value::Null).await;
    assert_eq!(shown["damaged"][0], said);
    let named = [format!("event 1 of run {id}"), format!("bandmaster runs rm {id}")];
    let named = named.each_ref().map(String::as_str);
    damaged.fails("POST", &format!("/v1/runs/{id}/resume"), json!({}), &named).await;
    let (status, events) =
        damaged.server.respond("GET", &format!("/v1/runs/{id}/events"), &Value::Null).await;
    assert!(
        status == 200 && events.contains("record.damaged") && events.contains("run.finished"),
        "{events}"
    );
    damaged.server.call(200, "GET", &format!("/v1/runs/{}", ids[1]), Value::Null).await;
}

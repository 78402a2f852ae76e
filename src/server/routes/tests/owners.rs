//! Ownership: a key sees what was made with it, and can't even tell whether anything else exists.

use std::sync::Arc;
use std::time::Duration;

use bandmaster_journal::{AsyncJournal, Viewer};
use bandmaster_text::fixtures::parrot;
use serde_json::{Value, json};

use crate::auth::ApiKeys;
use crate::fixtures::Running;

const KEYS: &str = "ann-key name=ann\nbob-key name=bob\nroot-key name=root admin\nplain-key\n";

fn server(journal: &AsyncJournal, text: Option<&str>) -> Running {
    let model = parrot("Hello!");
    Running::on(journal.clone(), Box::new(move |_| Ok(Arc::clone(&model))), text.map(keys))
}

/// The keys of a file with this text.
pub(super) fn keys(text: &str) -> Arc<ApiKeys> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, text).unwrap();
    Arc::new(ApiKeys::read(&path).unwrap())
}

/// The ids of one response, conversation, item and run, all of the same owner.
struct Made {
    response: String,
    conversation: String,
    item: String,
    run: String,
}

impl Made {
    /// Well-formed ids that were never used.
    fn never() -> Self {
        Self {
            response: format!("resp_{}", "0".repeat(24)),
            conversation: format!("conv_{}", "0".repeat(24)),
            item: format!("msg_{}", "0".repeat(24)),
            run: "0".repeat(14),
        }
    }

    /// Fills in `{id}` and `{item}` in a route's path. A new kind of route fails here until it is added.
    fn path(&self, path: &str) -> String {
        let id = match path.split('/').nth(2) {
            Some("responses") => &self.response,
            Some("conversations") => &self.conversation,
            Some("runs") => &self.run,
            _ => panic!("{path} takes an id, and this test doesn't know of what"),
        };
        let filled = path.replace("{id}", id).replace("{item}", &self.item);
        assert!(!filled.contains('{'), "{path} takes something that this test doesn't know");
        filled
    }

    /// Replaces the ids in a text, so that responses about different ids can be compared.
    fn blank(&self, text: &str) -> String {
        [&self.response, &self.conversation, &self.item, &self.run]
            .into_iter()
            .fold(text.to_owned(), |text, id| text.replace(id.as_str(), "ID"))
    }
}

async fn said(server: &Running, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, text) = server.respond_to(key, method, path, body).await;
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn make(server: &Running, key: &str, viewer: &Viewer) -> Made {
    let id = |(status, answer): (u16, Value)| {
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    };
    let response = id(said(server, key, "POST", "/v1/responses", &json!({"input": "Hi"})).await);
    let talk = json!({"items": [{"type": "message", "role": "user", "content": "Ho"}]});
    let conversation = id(said(server, key, "POST", "/v1/conversations", &talk).await);
    let path = format!("/v1/conversations/{conversation}/items");
    let (_, items) = said(server, key, "GET", &path, &Value::Null).await;
    let item = items["data"][0]["id"].as_str().unwrap().to_owned();
    let mut recording = server.journal.seen_by(viewer).begin(Vec::new());
    recording.append("run.started", 0, &json!({"goal": "g"}));
    let end = json!({"status": "requires_action", "answer": "which?", "missing": []});
    recording.finish("run.finished", 1, &end, Duration::from_secs(20)).await;
    Made { response, conversation, item, run: recording.id().to_owned() }
}

fn ann() -> Viewer {
    Viewer::named("name:ann".into(), false)
}

/// Method, path and a valid body of every route that takes an id from the record.
async fn routes(server: &Running) -> Vec<(String, String, Value)> {
    let (_, api) = said(server, "ann-key", "GET", "/openapi.json", &Value::Null).await;
    let mut routes = Vec::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        if !path.contains('{') || path.starts_with("/v1/models/") {
            continue;
        }
        for (method, route) in methods.as_object().unwrap() {
            let body = match (method.as_str(), path.rsplit('/').next()) {
                _ if route["requestBody"].is_null() => Value::Null,
                (_, Some("fork")) => json!({"at": 1}),
                (_, Some("resume")) => json!({}),
                (_, Some("answer")) => json!({"text": "this"}),
                (_, Some("items")) => json!({"items": [{"type": "message", "role": "user", "content": "x"}]}),
                (_, Some("{id}")) => json!({"metadata": {"a": "b"}}),
                _ => panic!("{method} {path} takes a body: give a right one here"),
            };
            routes.push((method.to_uppercase(), path.clone(), body));
        }
    }
    assert!(routes.len() >= 16, "{routes:?}");
    routes
}

#[tokio::test]
async fn what_another_key_owns_does_not_exist_on_any_route() {
    let server = server(&AsyncJournal::in_memory().unwrap(), Some(KEYS));
    let (made, never) = (make(&server, "ann-key", &ann()).await, Made::never());
    let all = routes(&server).await;
    for key in ["bob-key", "plain-key"] {
        for (method, path, body) in &all {
            let (status, answer) = server.respond_to(key, method, &made.path(path), body).await;
            let (_, unknown) = server.respond_to(key, method, &never.path(path), body).await;
            assert_eq!(status, 404, "{method} {path}: {answer}");
            assert_eq!(made.blank(&answer), never.blank(&unknown), "{method} {path}");
        }
        for path in ["/v1/runs/last".to_owned(), format!("/v1/runs/{}", &made.run[..9])] {
            assert_eq!(said(&server, key, "GET", &path, &Value::Null).await.0, 404, "{path}");
        }
        assert_eq!(said(&server, key, "GET", "/v1/runs", &Value::Null).await.1["data"], json!([]));
        let (_, metrics) = server.respond_to(key, "GET", "/metrics", &Value::Null).await;
        assert_eq!(made.blank(&metrics), metrics);
    }
    // The attempts changed nothing: for the owner and the admin key every route still works. Deletions are left out.
    for key in ["root-key", "ann-key"] {
        for (method, path, body) in all.iter().filter(|(method, ..)| method != "DELETE") {
            let (_, answer) = server.respond_to(key, method, &made.path(path), body).await;
            let (_, unknown) = server.respond_to(key, method, &never.path(path), body).await;
            assert_ne!(made.blank(&answer), never.blank(&unknown), "{key} {method} {path}");
        }
        let (_, list) = said(&server, key, "GET", "/v1/runs", &Value::Null).await;
        assert_eq!(list["data"][0]["id"], made.run, "{list}");
    }
}

#[tokio::test]
async fn ids_in_a_body_refer_only_to_what_the_key_owns() {
    let server = server(&AsyncJournal::in_memory().unwrap(), Some(KEYS));
    let (made, never) = (make(&server, "ann-key", &ann()).await, Made::never());
    let bodies = |ids: &Made| {
        let reference = json!([{"type": "item_reference", "id": ids.item}]);
        [
            ("/v1/responses", json!({"input": "Hi", "previous_response_id": ids.response})),
            ("/v1/responses", json!({"input": "Hi", "conversation": ids.conversation})),
            ("/v1/responses", json!({"input": "Hi", "conversation": {"id": ids.conversation}})),
            ("/v1/responses", json!({"input": reference})),
            ("/v1/conversations", json!({"items": reference})),
        ]
    };
    for ((path, theirs), (_, none)) in bodies(&made).into_iter().zip(bodies(&never)) {
        for key in ["bob-key", "plain-key"] {
            let (status, answer) = server.respond_to(key, "POST", path, &theirs).await;
            let (expected, unknown) = server.respond_to(key, "POST", path, &none).await;
            assert_eq!(status, expected, "{theirs}: {answer}");
            assert!((400..500).contains(&status), "{theirs}: {answer}");
            assert_eq!(made.blank(&answer), never.blank(&unknown), "{theirs}");
        }
        for key in ["ann-key", "root-key"] {
            let (status, answer) = server.respond_to(key, "POST", path, &theirs).await;
            assert_eq!(status, 200, "{key} {theirs}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_was_created_without_keys_is_visible_to_admins_only() {
    let journal = AsyncJournal::in_memory().unwrap();
    let open = server(&journal, None);
    let made = make(&open, "", &Viewer::everybody()).await;
    let keyed = server(&journal, Some(KEYS));
    for path in ["/v1/responses/{id}", "/v1/conversations/{id}/items/{item}", "/v1/runs/{id}"] {
        let path = made.path(path);
        for (server, key, expected) in [
            (&open, "", 200),
            (&keyed, "ann-key", 404),
            (&keyed, "plain-key", 404),
            (&keyed, "root-key", 200),
        ] {
            let (status, answer) = server.respond_to(key, "GET", &path, &Value::Null).await;
            assert_eq!(status, expected, "{key} {path}: {answer}");
        }
    }
    // On a server without keys, everything is visible, including what a key made.
    let theirs = make(&keyed, "plain-key", &ann()).await;
    assert_eq!(open.respond_to("", "GET", &theirs.path("/v1/responses/{id}"), &Value::Null).await.0, 200);
}

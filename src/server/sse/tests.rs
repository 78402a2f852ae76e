//! Streams that begin before their model is loaded, on every route that streams answers.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::body::BodyDataStream;
use bandmaster_text::LoadedModel;
use bandmaster_text::fixtures::parrot;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::Running;

type Loaded = Result<Arc<LoadedModel>, String>;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose model is loaded when the test sends it.
fn loading() -> (Running, mpsc::Sender<Loaded>) {
    let (give, given) = mpsc::channel();
    let given = Mutex::new(given);
    let load = move |_: &_| given.lock().unwrap().recv().unwrap_or_else(|error| Err(error.to_string()));
    (Running::new(Box::new(load)), give)
}

fn routes() -> [(&'static str, Value); 3] {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    [
        ("/v1/chat/completions", json!({"messages": messages, "stream": true, "temperature": 0})),
        ("/v1/completions", json!({"prompt": "Hi", "stream": true, "temperature": 0, "max_tokens": 20})),
        ("/v1/responses", json!({"input": "Hi", "stream": true, "temperature": 0})),
    ]
}

/// Starts a stream while its model is being loaded; returns its first bytes and the rest of the stream.
async fn begun(server: &Running, path: &str, body: &Value) -> (String, BodyDataStream) {
    let begun = async {
        let response = server.begin("POST", path, body).await;
        assert_eq!(response.status(), 200, "{path}");
        let mut stream = response.into_body().into_data_stream();
        (next(&mut stream).await.expect("first bytes"), stream)
    };
    tokio::time::timeout(PATIENCE, begun).await.unwrap_or_else(|_| panic!("{path} waits for the model"))
}

async fn next(stream: &mut BodyDataStream) -> Option<String> {
    let chunk = tokio::time::timeout(PATIENCE, stream.next()).await.expect("more of the stream");
    chunk.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
}

async fn data_of((mut text, mut stream): (String, BodyDataStream)) -> Vec<String> {
    while let Some(more) = next(&mut stream).await {
        text.push_str(&more);
    }
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_stream_begins_before_its_model_is_loaded_and_continues_after() {
    for (path, body) in routes() {
        let (server, give) = loading();
        let stream = begun(&server, path, &body).await;
        give.send(Ok(parrot("Hello!"))).unwrap();
        let late = data_of(stream).await;
        // The events, and their number, are the same as when no model must be loaded.
        let soon = server.begin("POST", path, &body).await.into_body().into_data_stream();
        let soon = data_of((String::new(), soon)).await;
        let told = |events: &[String]| -> Vec<Value> {
            let events = events.iter().filter(|data| *data != "[DONE]");
            let events = events.map(|data| serde_json::from_str::<Value>(data).unwrap());
            let told = |event: Value| {
                json!([event["type"], event["sequence_number"], event["choices"], event["delta"]])
            };
            events.map(told).collect()
        };
        assert_eq!(told(&late), told(&soon), "{path}");
        assert_eq!(late.len(), soon.len(), "{path}");
        assert!(late.concat().contains('!'), "{path}: {late:?}");
    }
}

#[tokio::test]
async fn a_model_that_can_not_be_loaded_ends_the_stream_with_an_error() {
    for (path, body) in routes() {
        let (server, give) = loading();
        let stream = begun(&server, path, &body).await;
        give.send(Err("it is broken".to_owned())).unwrap();
        ends_with_error(path, &data_of(stream).await, "it is broken", &Value::Null);
        let (_, metrics) = server.respond("GET", "/metrics", &Value::Null).await;
        let counted = |line: &str| line.contains("errors_total{") && line.ends_with(" 1");
        assert!(metrics.lines().any(counted), "{path}: {metrics}");
    }
}

#[tokio::test]
async fn a_stream_that_waits_for_its_model_ends_with_the_server() {
    for (path, body) in routes() {
        let (server, give) = loading();
        let stream = begun(&server, path, &body).await;
        server.start_shutdown.send_replace(true);
        ends_with_error(path, &data_of(stream).await, "the server is shutting down", &json!("cut"));
        drop(give);
    }
}

/// Checks the error in each route's own format.
fn ends_with_error(path: &str, events: &[String], message: &str, code: &Value) {
    let read = |data: &String| serde_json::from_str::<Value>(data).unwrap();
    let (error, code) = match path {
        "/v1/responses" => {
            let last = read(events.last().unwrap());
            assert_eq!(last["type"], "response.failed", "{last}");
            // The Responses API has a list of error codes of its own.
            (last["response"]["error"].clone(), &json!("server_error"))
        }
        _ => {
            let [.., error, done] = events else { panic!("{path}: {events:?}") };
            assert_eq!(done, "[DONE]");
            (read(error)["error"].clone(), code)
        }
    };
    assert!(error["message"].as_str().unwrap().contains(message), "{path}: {error}");
    assert_eq!(&error["code"], code, "{path}: {error}");
}

#[tokio::test]
async fn errors_that_need_no_model_set_the_status() {
    for (path, body) in routes() {
        let (server, _give) = loading();
        let check = async |status: u16, more: Value, param: &str| {
            let mut body = body.clone();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = server.call(status, "POST", path, body).await;
            assert_eq!(answer["error"]["param"], param, "{path}: {answer}");
        };
        let status = if path == "/v1/completions" { 400 } else { 404 };
        check(status, json!({"model": "bandmaster"}), "model").await;
        check(400, json!({"temperature": -1}), "temperature").await;
        check(400, json!({"logits_processors": ["a"]}), "logits_processors").await;
    }
}

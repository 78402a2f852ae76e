//! Requests over a real socket through all layers: the responses, the metrics, and the log.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bandmaster_text::EngineStats;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::fixtures::{Answer, Server, ask, listen};
use super::*;

/// A body of one chunk and then a long silence.
fn endless() -> Body {
    let chunks = stream::unfold(0, |n| async move {
        if n > 0 {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Some((Ok::<_, io::Error>("chunk"), n + 1))
    });
    Body::from_stream(chunks)
}

fn routes() -> Router {
    let named = |Extension(context): Extension<RequestContext>| async move {
        context.set_model("tiny");
        context.charge_total(40);
        format!("{} {}", context.id(), context.key().unwrap_or("nobody"))
    };
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/things/{id}", get(named).delete(|| async { "gone" }))
        .route("/panic", post(|| async { panic!("on purpose") as &'static str }))
        .route("/endless", get(|| async { endless() }))
        .route("/refused", get(|| async { ApiError::invalid("n", "`n` is wrong") }))
}

#[derive(Default)]
struct Setup {
    keys: Option<&'static str>,
    origins: &'static [&'static str],
    hosts: &'static [&'static str],
}

struct Running {
    server: Server,
    metrics: Arc<Metrics>,
}

impl Setup {
    async fn start(self) -> Running {
        let origins: Vec<String> = self.origins.iter().map(|origin| (*origin).to_owned()).collect();
        let origins = Arc::new(Origins::parse(&origins).unwrap());
        let keys = self.keys.map(|text| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            Arc::new(ApiKeys::read(file.path()).unwrap())
        });
        let names: Vec<String> = self.hosts.iter().map(|name| (*name).to_owned()).collect();
        let address = listen().address.ip();
        let hosts = Arc::new(Hosts::new(address, keys.is_some(), &names, Arc::clone(&origins)).unwrap());
        let metrics = Arc::new(Metrics::new());
        let layers = Layers { metrics: Arc::clone(&metrics), keys, origins, hosts };
        Running { server: Server::start(&listen(), with_layers(routes(), &layers)).await, metrics }
    }
}

impl Running {
    async fn ask(&self, head: &str) -> Answer {
        ask(self.address(), head).await
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Waits until the metrics contain a line.
    async fn counted(&self, line: &str) {
        for _ in 0..500 {
            if self.metrics.render(&EngineStats::default()).lines().any(|there| there == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{line} is not in {}", self.metrics.render(&EngineStats::default()));
    }
}

fn error(answer: &Answer, status: u16, kind: &str, code: Value) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!(kind), &code), "{body}");
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
}

#[tokio::test]
async fn valid_request_ids_are_kept_and_others_replaced() {
    let running = Setup::default().start().await;
    let id = async |head: &str| {
        let answer = running.ask(&format!("GET /things/1\n{head}")).await;
        let told = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(answer.body, format!("{told} nobody"), "the handler knows it too");
        told
    };
    assert_eq!(id("x-request-id: abc-123").await, "abc-123");
    let longest = "a".repeat(128);
    assert_eq!(id(&format!("x-request-id: {longest}")).await, longest);
    let (first, second) = (id("").await, id("").await);
    assert!(first.starts_with("req_") && first.len() == 20 && first != second, "{first} {second}");
    for bad in ["a".repeat(129), "two words".to_owned(), "caf\u{e9}".to_owned(), String::new()] {
        assert!(id(&format!("x-request-id: {bad}")).await.starts_with("req_"), "{bad}");
    }
}

#[tokio::test]
async fn errors_are_openais_object_whatever_happens() {
    let running = Setup::default().start().await;
    error(&running.ask("GET /nowhere").await, 404, "invalid_request_error", json!("unknown_url"));
    let wrong = running.ask("PUT /things/1").await;
    error(&wrong, 405, "invalid_request_error", json!("method_not_allowed"));
    let mut allowed: Vec<_> = wrong.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD"]);
    let broken = running.ask("POST /panic").await;
    error(&broken, 500, "server_error", json!("internal_error"));
    assert!(broken.header("x-request-id").is_some() && !broken.body.contains("on purpose"));
    assert_eq!(running.ask("GET /health").await.body, "ok", "the server lives");
}

#[tokio::test]
async fn requests_are_counted_by_pattern_when_they_end() {
    let running = Setup::default().start().await;
    running.ask("GET /things/1").await;
    running.ask("GET /things/2").await;
    running.ask("HEAD /things/3").await;
    running.ask("BREW /nowhere").await;
    running.ask("GET /refused").await;
    let requests = "bandmaster_http_requests_total";
    for (labels, count) in [
        ("method=\"GET\",route=\"/things/{id}\",status=\"200\"", 2),
        ("method=\"HEAD\",route=\"/things/{id}\",status=\"200\"", 1),
        ("method=\"other\",route=\"unknown\",status=\"404\"", 1),
        ("method=\"GET\",route=\"/refused\",status=\"400\"", 1),
    ] {
        running.counted(&format!("{requests}{{{labels}}} {count}")).await;
    }
    running.counted("bandmaster_errors_total{model=\"\",kind=\"invalid_request_error\"} 1").await;
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut bytes = [0; 1024];
    while !bytes.windows(5).any(|window| window == b"chunk") {
        assert!(stream.read(&mut bytes).await.unwrap() > 0);
    }
    running.counted("bandmaster_http_requests_in_flight 1").await;
    drop(stream);
    let left = "method=\"GET\",route=\"/endless\",status=\"499\"";
    running.counted(&format!("{requests}{{{left}}} 1")).await;
    running.counted("bandmaster_http_requests_in_flight 0").await;
    running.counted("bandmaster_cancelled_requests_total{model=\"\"} 1").await;
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn log_has_a_line_for_each_request() {
    let written = Written::default();
    let sink = written.clone();
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || sink.clone()).finish();
    // This test's runtime has one thread, so the server's tasks use this subscriber too.
    let _guard = tracing::subscriber::set_default(log);
    let running = Setup { keys: Some("k name=ann"), ..Setup::default() }.start().await;
    // `tracing` caches whether a call site is enabled. If another test, without a subscriber, reaches this one first,
    // the line is missing until the cache is refreshed.
    for _ in 0..100 {
        running.ask("GET /health").await;
        if !written.0.lock().unwrap().is_empty() {
            break;
        }
        tracing::callsite::rebuild_interest_cache();
    }
    running.ask("GET /things/secret-id\nauthorization: Bearer k\nx-request-id: mine").await;
    running.ask("GET /things/2").await;
    running.counted("bandmaster_http_requests_in_flight 0").await;
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("secret-id"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<&Value> = lines.iter().filter(|line| line["route"] == "/things/{id}").collect();
    assert_eq!(lines.len(), 2, "{text}");
    let expected = json!({"message": "request", "id": "mine", "method": "GET", "route": "/things/{id}", "status": 200, "key": "ann",
                          "model": "tiny"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&lines[0][field], value, "{field}");
    }
    assert!(lines[0]["ms"].as_f64().is_some_and(|ms| (0.0..10_000.0).contains(&ms)));
    assert_eq!((&lines[1]["status"], &lines[1]["error"]), (&json!(401), &json!("invalid_api_key")));
    assert_eq!(lines[1].get("key"), None);
}

#[tokio::test]
async fn keys_admit_and_limit_requests() {
    let text = "k1 name=ann tokens_per_minute=30\nk2 concurrent=1\n";
    let running = Setup { keys: Some(text), ..Setup::default() }.start().await;
    assert_eq!(running.ask("GET /health").await.status, 200, "no key is needed to see whether it lives");
    for head in ["", "authorization: Bearer k3", "x-api-key: k", "authorization: Basic azE="] {
        let answer = running.ask(&format!("GET /things/1\n{head}")).await;
        error(&answer, 401, "invalid_request_error", json!("invalid_api_key"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(running.ask("GET /nowhere").await.status, 401, "what routes there are is not told");
    let answer = running.ask("GET /things/1\nauthorization: Bearer k1\nx-request-id: a").await;
    assert_eq!(answer.body, "a ann");
    let answer = running.ask("GET /things/1\nx-api-key: k1").await;
    error(&answer, 429, "rate_limit_error", json!("rate_limit_exceeded"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((15..=23).contains(&wait), "11 tokens are missing and one comes every two seconds: {wait}");

    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: localhost\r\napi-key: k2\r\n\r\n").await.unwrap();
    assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
    assert_eq!(running.ask("GET /things/1\napi-key: k2").await.status, 429);
    drop(stream);
    running.counted("bandmaster_http_requests_in_flight 0").await;
    assert_eq!(running.ask("GET /things/1\napi-key: k2").await.status, 200, "it counts no longer");
}

#[tokio::test]
async fn pages_read_answers_only_where_they_are_listed() {
    let listed: &[&str] = &["https://app.example.com", "http://box.lan:3000"];
    let preflight = "OPTIONS /things/1\naccess-control-request-method: GET\n\
                     access-control-request-headers: authorization, x-stainless-os\n\
                     access-control-request-private-network: true\norigin: ";
    let check = async |origins, origin: &str, allowed: Option<&str>| {
        let running = Setup { origins, keys: Some("k"), hosts: &[] }.start().await;
        let answer = running.ask(&format!("GET /things/1\nx-api-key: k\norigin: {origin}")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, allowed), "{origin}");
        assert!(answer.header("vary").is_some());
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(exposed.is_some_and(|headers| headers.contains("x-request-id")), allowed.is_some());
        let refused = running.ask(&format!("GET /things/1\norigin: {origin}")).await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, allowed));
        let before = running.ask(&format!("{preflight}{origin}")).await;
        assert_eq!(before.header("access-control-allow-origin"), allowed, "{origin}");
        if allowed.is_some() {
            assert_eq!(before.status, 204, "a preflight carries no key");
            assert_eq!(before.header("access-control-allow-headers"), Some("authorization, x-stainless-os"));
            assert!(before.header("access-control-allow-methods").unwrap().contains("POST"));
            assert_eq!(before.header("access-control-allow-private-network"), Some("true"));
        }
    };
    check(&[], "https://app.example.com", None).await;
    check(listed, "https://app.example.com", Some("https://app.example.com")).await;
    check(listed, "http://box.lan:3000", Some("http://box.lan:3000")).await;
    check(listed, "http://app.example.com", None).await;
    check(listed, "https://app.example.com.evil.example", None).await;
    check(listed, "http://box.lan:3001", None).await;
    check(listed, "null", None).await;
    check(&["*"], "https://anybody.example", Some("https://anybody.example")).await;
}

#[test]
fn origins_are_checked_when_they_are_read() {
    let parse = |typed: &str| Origins::parse(&[typed.to_owned()]);
    for good in ["https://a.example", "http://localhost:3000", "*", "vscode-webview://abc", "http://[::1]:80"]
    {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in
        ["", "null", "a.example", "https://", "https://a.example/", "https://u@a.example", "://a", "**"]
    {
        let message = parse(bad).unwrap_err();
        assert!(message.contains(bad) && message.contains("https://app.example.com"), "{message}");
    }
}

#[tokio::test]
async fn pages_of_this_machine_read_answers_without_being_listed() {
    let check = async |origin: &str, is_ours: bool| {
        for keys in [None, Some("k")] {
            let running = Setup { keys, ..Setup::default() }.start().await;
            let allowed = is_ours.then_some(origin);
            for route in ["/things/1", "/health", "/nowhere"] {
                let before = running
                    .ask(&format!("OPTIONS {route}\naccess-control-request-method: POST\norigin: {origin}"))
                    .await;
                assert_eq!(before.header("access-control-allow-origin"), allowed, "{origin} {route}");
                assert_eq!(before.status == 204, is_ours, "{origin} {route}");
            }
            let answer = running.ask(&format!("GET /things/1\nx-api-key: k\norigin: {origin}")).await;
            assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
        }
    };
    for ours in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443", "http://app.localhost:1"]
    {
        check(ours, true).await;
    }
    for foreign in
        ["null", "http://localhost.evil.example", "http://evil.example", "http://127.0.0.1.evil.example"]
    {
        check(foreign, false).await;
    }
}

#[tokio::test]
async fn foreign_names_and_pages_are_refused_without_a_key() {
    let check = async |keys, origins, headers: &str, status: u16| {
        let running = Setup { keys, origins, hosts: &["Box.Lan"] }.start().await;
        for route in ["GET /things/1", "DELETE /things/1", "GET /health"] {
            let answer = running.ask(&format!("{route}\nx-api-key: k\n{headers}")).await;
            assert_eq!(answer.status, status, "{route} {headers}");
            if status == 403 {
                error(&answer, 403, "invalid_request_error", json!("forbidden"));
            }
        }
        assert_eq!(
            running.ask(&format!("GET /nowhere\nx-api-key: k\n{headers}")).await.status == 403,
            status == 403
        );
    };
    for ours in
        ["localhost", "localhost:8080", "LOCALHOST.", "127.0.0.1:1", "[::1]:8080", "a.localhost", "box.lan:1"]
    {
        check(None, &[], &format!("host: {ours}"), 200).await;
    }
    for foreign in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "0.0.0.0", "192.168.1.2", "a b"]
    {
        check(None, &[], &format!("host: {foreign}"), 403).await;
        check(Some("k"), &[], &format!("host: {foreign}"), 403).await;
    }
    check(None, &[], "host: localhost\nhost: evil.example", 403).await;
    for (origin, status) in [
        ("http://localhost:8080", 200),
        ("http://127.0.0.1:3000", 200),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        check(None, &[], &format!("origin: {origin}"), status).await;
        check(None, &[], &format!("sec-fetch-site: cross-site\norigin: {origin}"), status).await;
    }
    check(None, &["https://evil.example"], "origin: https://evil.example", 200).await;
    check(None, &["*"], "origin: null", 200).await;
    for (site, status) in
        [("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403), ("new", 403)]
    {
        check(None, &[], &format!("sec-fetch-site: {site}"), status).await;
        check(None, &["*"], &format!("sec-fetch-site: {site}\nsec-fetch-mode: no-cors"), status).await;
        let navigates = format!("sec-fetch-site: {site}\nsec-fetch-mode: navigate\nsec-fetch-dest: document");
        check(None, &[], &navigates, status).await;
    }
}

#[tokio::test]
async fn links_of_other_pages_may_lead_to_the_root() {
    let running = Setup::default().start().await;
    let follow = async |line: &str, dest: &str| {
        let head =
            format!("{line}\nsec-fetch-site: cross-site\nsec-fetch-mode: navigate\nsec-fetch-dest: {dest}");
        running.ask(&head).await.status
    };
    assert_eq!(follow("GET /", "document").await, 404);
    assert_eq!(follow("GET /", "iframe").await, 403);
    assert_eq!(follow("POST /", "document").await, 403);
    assert_eq!(follow("GET /things/1", "document").await, 403);
}

#[test]
fn host_names_are_checked_on_loopback_without_keys_and_if_names_are_listed() {
    let check = |bound: &str, has_keys: bool, names: &[&str], host: &str, refused: bool| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let hosts = Hosts::new(bound.parse().unwrap(), has_keys, &names, Arc::default()).unwrap();
        let request = axum::http::Request::get("/").header("host", host).body(Body::empty()).unwrap();
        assert_eq!(hosts.refusal(&request).is_some(), refused, "{bound} {has_keys} {names:?} {host}");
    };
    check("127.0.0.1", false, &[], "evil.example", true);
    check("::1", false, &[], "evil.example", true);
    check("127.0.0.1", true, &[], "evil.example", false);
    check("0.0.0.0", true, &[], "evil.example", false);
    check("127.0.0.1", false, &["Evil.Example."], "evil.example:80", false);
    check("127.0.0.1", false, &["*"], "evil.example", false);
    check("0.0.0.0", true, &["box.lan"], "evil.example", true);
    check("0.0.0.0", true, &["box.lan"], "box.lan:8080", false);
    check("0.0.0.0", true, &["box.lan"], "192.168.1.2:8080", false);
    check("0.0.0.0", true, &["box.lan"], "localhost", false);
    assert!(Hosts::default().refusal(&axum::http::Request::new(Body::empty())).is_none());
    for wrong in ["", "http://box.lan", "box.lan:8080", "box.lan/", "a b", "*.lan"] {
        let names = [wrong.to_owned()];
        let message = Hosts::new([127, 0, 0, 1].into(), false, &names, Arc::default()).unwrap_err();
        assert!(message.contains("box.lan"), "{message}");
    }
}

#[tokio::test]
async fn guessed_keys_are_delayed_and_trusted_connections_are_not() {
    let running = Setup { keys: Some("right"), ..Setup::default() }.start().await;
    let mut known = TcpStream::connect(running.address()).await.unwrap();
    let mut ask_known = async || {
        known
            .write_all(b"GET /things/1 HTTP/1.1\r\nhost: localhost\r\nx-api-key: right\r\n\r\n")
            .await
            .unwrap();
        let mut bytes = [0; 1024];
        let read = known.read(&mut bytes).await.unwrap();
        assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
    };
    ask_known().await;
    let began = std::time::Instant::now();
    let guess = |n: usize| format!("GET /things/1\nx-api-key: guess-{n}");
    for n in 0..10 {
        assert_eq!(running.ask(&guess(n)).await.status, 401);
    }
    let guesses: Vec<String> = (10..40).map(guess).collect();
    let asking = guesses.iter().map(|guess| running.ask(guess));
    let answers = futures_util::future::join_all(asking).await;
    assert!(answers.iter().all(|answer| answer.status == 401));
    assert!(began.elapsed() > Duration::from_millis(100), "{:?}", began.elapsed());
    let began = std::time::Instant::now();
    ask_known().await;
    assert!(began.elapsed() < Duration::from_millis(90), "a connection that is known doesn't wait");
    let right = running.ask("GET /things/1\nx-api-key: right").await;
    assert_eq!(right.status, 200);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(200) && took < Duration::from_secs(6), "{took:?}");
    assert_eq!(running.ask("GET /health").await.status, 200);
}

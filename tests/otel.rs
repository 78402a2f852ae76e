//! Traces as a collector receives them: what the spans of a request and of a run contain, and that nothing waits for a
//! collector. The last test runs the program itself and needs `smollm2-135m.gguf` in the folder that
//! `BANDMASTER_TEST_MODELS` names; without it that test says so and passes.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bandmaster::orchestrator::RunEvent;
use bandmaster::server::{
    ApiError, Hosts, Layers, Listen, Metrics, Origins, OtlpEndpoint, RequestContext, SpanExport, SpanParent,
    Usage, bind, traced, with_layers,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tracing_subscriber::layer::SubscriberExt;

const PATIENCE: Duration = Duration::from_secs(60);
/// Text that must never appear in a trace.
const SECRET: &str = "xyzzy";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector on threads of its own.
struct Collector {
    runtime: Runtime,
    address: SocketAddr,
    received: Arc<Mutex<Vec<(String, Bytes)>>>,
}

impl Collector {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let take = move |headers: HeaderMap, body: Bytes| async move {
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            kept.lock().unwrap_or_else(PoisonError::into_inner).push((kind, body));
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async { axum::serve(listener, Router::new().route("/v1/traces", post(take))).await });
        Self { runtime, address, received }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The spans received so far, with the service's name.
    fn spans(&self) -> Vec<(String, Seen)> {
        let received = self.received.lock().unwrap();
        let mut spans = Vec::new();
        for (kind, body) in received.iter() {
            assert_eq!(kind, "application/x-protobuf");
            assert!(!contains(body, SECRET), "a prompt left");
            for group in ExportTraceServiceRequest::decode(body.clone()).unwrap().resource_spans {
                let resource = group.resource.unwrap().attributes;
                let service = resource.iter().find(|attribute| attribute.key == "service.name").unwrap();
                let Some(Any::StringValue(service)) = service.value.clone().unwrap().value else { panic!() };
                let of_group = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(of_group.map(|span| (service.clone(), Seen::from(span))));
            }
        }
        spans
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A span, in readable form.
#[derive(Debug)]
struct Seen {
    name: String,
    /// 1 is internal, 2 server.
    kind: i32,
    trace: String,
    id: String,
    parent: String,
    ms: f64,
    /// 0 is unset, 2 error.
    status: i32,
    events: usize,
    attributes: BTreeMap<String, Value>,
}

impl From<Span> for Seen {
    fn from(span: Span) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let plain = |value: AnyValue| match value.value {
            Some(Any::StringValue(text)) => json!(text),
            Some(Any::IntValue(number)) => json!(number),
            Some(Any::DoubleValue(number)) => json!(number),
            other => panic!("{other:?}"),
        };
        let attributes = span.attributes.into_iter();
        let attributes: Vec<_> =
            attributes.map(|attribute| (attribute.key, plain(attribute.value.unwrap()))).collect();
        let named: BTreeMap<_, _> = attributes.iter().cloned().collect();
        assert_eq!(named.len(), attributes.len(), "one is there twice: {attributes:?}");
        Self {
            name: span.name,
            kind: span.kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            ms: (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6,
            status: span.status.map_or(0, |status| status.code),
            events: span.events.len(),
            attributes: named,
        }
    }
}

/// Serves `answer` behind all layers, with spans going to `collector`, until `asking` is done. Returns its result and
/// how long the export took to end.
fn served<T, F: Future<Output = T>>(
    collector: &str,
    router: Router,
    asking: impl FnOnce(String) -> F,
) -> (T, Duration) {
    let export = SpanExport::start(&OtlpEndpoint::new(collector, true).unwrap()).unwrap();
    let taking = tracing_subscriber::registry().with(export.layer());
    // The runtime has one thread, so that the subscriber also sees the server's tasks.
    let guard = tracing::subscriber::set_default(taking);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let given = runtime.block_on(async {
        let listen = Listen {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            socket: None,
            header_timeout: PATIENCE,
            write_timeout: Duration::from_secs(60),
            headers_max: 64,
            drain_timeout: Duration::from_secs(1),
            connections_max: 64,
            per_address_max: None,
        };
        let bound = bind(&listen).await.unwrap();
        let url = format!("http://{}", bound.address());
        let layers = Layers {
            metrics: Arc::new(Metrics::new()),
            keys: None,
            origins: Arc::new(Origins::default()),
            hosts: Arc::new(Hosts::default()),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(
            bound.serve(with_layers(router, &layers), Router::new(), async { drop(stopped.await) }),
        );
        let given = asking(url).await;
        stop.send(()).unwrap();
        serving.await.unwrap();
        given
    });
    drop((runtime, guard));
    let began = Instant::now();
    export.end(Duration::from_millis(500));
    (given, began.elapsed())
}

/// Answers like a model, or not at all.
async fn chat(context: axum::Extension<RequestContext>, body: String) -> Result<String, ApiError> {
    tracing::error!("{body}");
    if body.contains("break") {
        return Err(ApiError::internal(format!("no answer to {body}")));
    }
    context.set_model("tiny");
    context.first_token(Duration::from_millis(250));
    context.set_usage(Usage {
        prompt_tokens: 12,
        cached_tokens: 4,
        completion_tokens: 3,
        ..Usage::default()
    });
    Ok(body)
}

fn routes() -> Router {
    Router::new().route("/v1/chat/completions", post(chat))
}

#[test]
fn a_request_is_a_span_by_the_conventions() {
    let collector = Collector::start();
    served(&collector.url(), routes(), |url| async move {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let chat = |url: &str| client.post(format!("{url}/v1/chat/completions?q={SECRET}"));
        let asked = chat(&url).header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
        let answer = asked.header("x-request-id", "mine").body(SECRET).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), SECRET);
        let unheard = chat(&url).header("traceparent", format!("00-{TRACE}-{CALLER}-00"));
        assert_eq!(unheard.body(SECRET).send().await.unwrap().status(), 200);
        let broken = chat(&url).header("traceparent", "nonsense").body(format!("break {SECRET}"));
        assert_eq!(broken.send().await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
        let nowhere = client.request("BREW".parse().unwrap(), format!("{url}/tea")).send().await.unwrap();
        assert_eq!(nowhere.status(), 404);
    });
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "who is asked not to tell doesn't: {spans:?}");
    assert!(
        spans.iter().all(|(service, span)| service == "bandmaster" && span.kind == 2 && span.events == 0)
    );
    let of_status = |status: u16| {
        let status = json!(status);
        let of = |(_, span): &&(String, Seen)| span.attributes["http.response.status_code"] == status;
        &spans.iter().find(of).unwrap_or_else(|| panic!("no {status}: {spans:?}")).1
    };
    let whole = of_status(200);
    assert_eq!((whole.name.as_str(), whole.status), ("POST /v1/chat/completions", 0));
    assert_eq!((whole.trace.as_str(), whole.parent.as_str()), (TRACE, CALLER));
    assert!((0.0..10_000.0).contains(&whole.ms), "{whole:?}");
    let expected = json!({
        "http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": 200,
        "url.scheme": "http", "url.path": "/v1/chat/completions", "bandmaster.request.id": "mine",
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "bandmaster", "gen_ai.request.model": "tiny",
        "gen_ai.response.time_to_first_chunk": 0.25, "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3, "gen_ai.usage.cache_read.input_tokens": 4
    });
    assert_eq!(json!(whole.attributes), expected);
    let broken = of_status(500);
    assert_eq!((broken.status, &broken.attributes["error.type"]), (2, &json!("server_error")), "{broken:?}");
    assert_eq!(broken.parent, "", "what makes no sense begins a trace: {broken:?}");
    assert!(broken.trace != TRACE && !broken.attributes.contains_key("gen_ai.request.model"));
    let nowhere = of_status(404);
    assert_eq!((nowhere.name.as_str(), nowhere.status), ("HTTP", 0), "a client's mistake: {nowhere:?}");
    assert_eq!(nowhere.attributes["http.request.method"], "_OTHER");
    assert_eq!(nowhere.attributes["error.type"], "unknown_url");
    assert!(!nowhere.attributes.contains_key("http.route"));
}

/// Sends more requests than the queue holds, some at a time. Returns the longest duration.
async fn many_requests(url: String) -> Duration {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        let asking = (0..25).map(|_| {
            let request = client.post(format!("{url}/v1/chat/completions")).body("hello");
            tokio::spawn(async move {
                let began = Instant::now();
                assert_eq!(request.send().await.unwrap().text().await.unwrap(), "hello");
                began.elapsed()
            })
        });
        for took in asking.collect::<Vec<_>>() {
            longest = longest.max(took.await.unwrap());
        }
    }
    longest
}

#[test]
fn a_dead_or_silent_collector_costs_nothing() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let dead = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    // Accepts connections, as far as the system does it, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    for collector in [dead, silent_url] {
        let (longest, ending) = served(&collector, routes(), many_requests);
        assert!(longest < Duration::from_secs(2), "{collector}: {longest:?}");
        assert!(ending < Duration::from_secs(2), "{collector}: it ended after {ending:?}");
    }
}

/// The events of a run in which an attempt fails, another worker takes over, and the calculator helps.
fn run_events() -> Vec<RunEvent> {
    let usage = |prompt: u64, completion: u64, cached: u64| {
        json!({"prompt_tokens": prompt, "completion_tokens": completion,
               "prompt_tokens_details": {"cached_tokens": cached}})
    };
    let output = |attempt: u64, model: &str, usage: Value| {
        json!({"type": "task.output", "task": "t1", "attempt": attempt, "worker": model, "model": model,
               "prompt": SECRET, "sampling": {}, "output": SECRET, "usage": usage})
    };
    let why = json!({"facts": {"inputs": 0, "input_tokens": 0, "inputs_fit_together": true,
        "speaks_of_attachment": "no", "named_aspects": [SECRET], "speaks_of_parts": false, "numbers": 0,
        "arithmetic": null, "speaks_of_each": false}, "nearest": [], "because": SECRET});
    let mut all = usage(22, 7, 8);
    all.as_object_mut().unwrap().extend([
        ("steps".to_owned(), json!(9)),
        ("mean_batch".to_owned(), json!(1.5)),
        ("wall_ms".to_owned(), json!(12)),
    ]);
    let events = [
        json!({"type": "run.started", "run": "r1", "goal": SECRET, "inputs": [], "planner": "p", "workers": []}),
        json!({"type": "strategy.chosen", "strategy": "parallel", "why": why}),
        json!({"type": "task.started", "task": "t1", "attempt": 1, "worker": "small", "model": "small"}),
        json!({"type": "task.started", "task": "t2", "attempt": 1, "worker": "calculator", "model": "rule"}),
        output(1, "small", usage(10, 3, 0)),
        json!({"type": "task.failed", "task": "t1", "attempt": 1, "class": "content", "error": SECRET}),
        json!({"type": "task.retried", "task": "t1", "attempt": 2, "worker": "large", "model": "large"}),
        output(2, "large", usage(12, 4, 8)),
        json!({"type": "task.finished", "task": "t1", "status": "completed", "attempts": 2, "output": SECRET,
               "usage": usage(22, 7, 8)}),
        json!({"type": "run.finished", "id": "r1", "status": "failed", "answer": SECRET, "strategy": "parallel",
               "strategy_why": why, "tasks": [], "planner_tasks": [], "usage": all, "missing": [SECRET]}),
    ];
    let numbered = events.into_iter().zip(1..).map(|(event, seq)| {
        let kind = serde_json::from_value(event.clone()).unwrap_or_else(|error| panic!("{error}: {event}"));
        RunEvent { seq, ms: seq, kind }
    });
    numbered.collect()
}

#[test]
fn attempts_lie_below_their_run() {
    let collector = Collector::start();
    let export = SpanExport::start(&OtlpEndpoint::new(&collector.url(), true).unwrap()).unwrap();
    let taking = tracing_subscriber::registry().with(export.layer());
    let heard = tracing::subscriber::with_default(taking, || {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
        let heard = Arc::new(Mutex::new(0));
        let count = Arc::clone(&heard);
        let listener = Box::new(move |_: &RunEvent| *count.lock().unwrap() += 1);
        let listener = traced(&SpanParent::from_headers(&headers), listener);
        run_events().iter().for_each(listener);
        *heard.lock().unwrap()
    });
    assert_eq!(heard, run_events().len(), "the listener hears everything");
    export.end(PATIENCE);
    let spans: Vec<Seen> = collector.spans().into_iter().map(|(_, span)| span).collect();
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let check = |name: &str, status: i32, expected: Value| {
        let span =
            spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:#?}"));
        assert_eq!((span.trace.as_str(), span.kind, span.status), (TRACE, 1, status), "{name}");
        let mut attributes = span.attributes.clone();
        assert_eq!(attributes.remove("gen_ai.provider.name").unwrap(), "bandmaster", "{name}");
        assert_eq!(json!(attributes), expected, "{name}");
        span
    };
    let tokens = |input: u64, output: u64, cached: u64, other: Value| {
        let mut all = json!({"gen_ai.usage.input_tokens": input, "gen_ai.usage.output_tokens": output,
                             "gen_ai.usage.cache_read.input_tokens": cached});
        all.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        all
    };
    let of_run = json!({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "bandmaster",
        "bandmaster.run.id": "r1", "bandmaster.run.strategy": "parallel", "bandmaster.run.status": "failed"});
    let run = check("invoke_agent bandmaster", 2, tokens(22, 7, 8, of_run));
    assert_eq!(run.parent, CALLER);
    let first = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "small", "error.type": "content",
        "bandmaster.task.id": "t1", "bandmaster.task.attempt": 1, "bandmaster.task.worker": "small"});
    let second = json!({"gen_ai.operation.name": "chat", "gen_ai.request.model": "large",
        "bandmaster.task.id": "t1", "bandmaster.task.attempt": 2, "bandmaster.task.worker": "large",
        "bandmaster.task.status": "completed"});
    // Its end was not reported, so it ends with the run.
    let rule = json!({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "calculator",
        "bandmaster.task.id": "t2", "bandmaster.task.attempt": 1, "bandmaster.task.worker": "calculator"});
    let first = check("chat small", 2, tokens(10, 3, 0, first));
    let second = check("chat large", 0, tokens(12, 4, 8, second));
    let rule = check("execute_tool calculator", 0, rule);
    assert!([first, second, rule].iter().all(|attempt| attempt.parent == run.id));
}

#[test]
fn nobody_but_the_collector_is_told() {
    let elsewhere = Collector::start();
    let target = elsewhere.url() + "/v1/traces";
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let sends_on = move || async move {
        *count.lock().unwrap() += 1;
        axum::response::Redirect::temporary(&target)
    };
    runtime.spawn(async { axum::serve(listener, Router::new().route("/v1/traces", post(sends_on))).await });
    served(&url, routes(), |url| async move {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(format!("{url}/v1/chat/completions")).body("hello").send().await.unwrap();
    });
    assert_eq!((*asked.lock().unwrap(), elsewhere.spans().len()), (1, 0));
}

/// Asks the program for a streaming chat and a run, then stops it.
#[cfg(unix)]
#[test]
fn the_program_sends_its_spans_before_it_ends() {
    let Some(model) = bandmaster_test_support::model("smollm2-135m.gguf") else { return };
    let collector = Collector::start();
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bandmaster"))
        .args(["serve", "--port", "0", "--offline", "--threads", "1", "--drain-seconds", "10"])
        .args(["--otlp-endpoint", &collector.url()])
        .args(["--home".as_ref(), home.path().as_os_str(), "--model".as_ref(), model.as_os_str()])
        .args(["--planner".as_ref(), model.as_os_str()])
        // No batch is exported before the end.
        .env("OTEL_BSP_SCHEDULE_DELAY", "600000")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let run = collector.runtime.block_on(ask_the_program(&url));
    assert_eq!(collector.spans().len(), 0, "nothing is sent before the end");
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let began = Instant::now();
    assert!(child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    let spans: Vec<Seen> = collector.spans().into_iter().map(|(_, span)| span).collect();
    let one = |name: &str| {
        let found: Vec<&Seen> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {spans:#?}");
        found[0]
    };
    let chat = one("POST /v1/chat/completions");
    assert_eq!((chat.trace.as_str(), chat.parent.as_str()), (TRACE, CALLER));
    assert_eq!(chat.attributes["gen_ai.usage.output_tokens"], 7);
    assert_eq!(chat.attributes["gen_ai.request.model"], "smollm2-135m");
    let first = chat.attributes["gen_ai.response.time_to_first_chunk"].as_f64().unwrap() * 1e3;
    assert!(first > 0.0 && first < chat.ms, "{first} of {} ms", chat.ms);
    let (began, ran) = (one("POST /v1/runs"), one("invoke_agent bandmaster"));
    assert_eq!((&ran.trace, &ran.parent), (&began.trace, &began.id));
    assert_eq!(
        (&ran.attributes["bandmaster.run.id"], &ran.attributes["bandmaster.run.strategy"]),
        (&run["id"], &json!("direct"))
    );
    assert_eq!(ran.attributes["bandmaster.run.status"], "completed");
    assert!(began.ms < ran.ms, "a run outlives the request that began it");
    let attempts: Vec<&Seen> = spans.iter().filter(|span| span.parent == ran.id).collect();
    let tokens = |span: &Seen| span.attributes["gen_ai.usage.output_tokens"].as_i64().unwrap();
    assert!(
        !attempts.is_empty() && attempts.iter().all(|span| span.name == "chat smollm2-135m"),
        "{spans:#?}"
    );
    assert_eq!(attempts.iter().map(|span| tokens(span)).sum::<i64>(), tokens(ran));
}

/// Starts a streaming chat and a run, waits for both, and returns the run.
async fn ask_the_program(url: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let began = Instant::now();
    while client.get(format!("{url}/health")).send().await.unwrap().status() != 200 {
        assert!(began.elapsed() < PATIENCE, "the model is not there");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let body = json!({"messages": [{"role": "user", "content": format!("What is {SECRET}?")}], "max_tokens": 7,
                      "ignore_eos": true, "stream": true});
    let chat = client.post(format!("{url}/v1/chat/completions")).body(body.to_string());
    let chat = chat.header("content-type", "application/json");
    let chat = chat.header("traceparent", format!("00-{TRACE}-{CALLER}-01")).send().await.unwrap();
    assert!(chat.text().await.unwrap().contains("[DONE]"));
    let body = json!({"goal": format!("Say {SECRET}."), "strategy": "direct", "budget": {"tokens": 400}});
    let begun = client.post(format!("{url}/v1/runs")).body(body.to_string());
    let begun = begun.header("content-type", "application/json").send().await.unwrap().text().await.unwrap();
    let begun: Value = serde_json::from_str(&begun).unwrap();
    let events =
        format!("{url}/v1/runs/{}/events", begun["id"].as_str().unwrap_or_else(|| panic!("{begun}")));
    let events = client.get(events).send().await.unwrap().text().await.unwrap();
    assert!(events.contains("run.finished"), "{events}");
    begun
}

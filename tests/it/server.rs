//! Tests of `serve` from the outside: the program itself on a free port, with a small model. Request formats are tested
//! beside the code; these tests check that everything works together, shuts down in order, and restarts whatever
//! happened before. They need `smollm2-135m.gguf` in the folder that `BANDMASTER_TEST_MODELS` names; without it they
//! say so and pass.

#[cfg(unix)]
mod locked;
#[cfg(unix)]
mod parked;
#[cfg(unix)]
mod runs;
#[cfg(unix)]
mod waiting;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a test waits for what must come. A machine that does other work as well may stop it for minutes.
const PATIENCE: Duration = Duration::from_secs(240);

fn model() -> Option<PathBuf> {
    bandmaster_test_support::model("smollm2-135m.gguf")
}

/// A server with its own home folder.
struct Server {
    child: Child,
    address: String,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(home: &tempfile::TempDir, flags: &[&str]) -> Option<Self> {
        let model = model()?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_bandmaster"))
            .args(["serve", "--port", "0", "--offline", "--threads", "1", "--model"])
            .arg(model)
            .args(flags)
            .arg("--home")
            .arg(home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("listening on http://").expect("it says where it listens").to_owned();
        let server = Self { child, address, _stdout: stdout };
        let began = Instant::now();
        while server.get("/health").0 != 200 {
            assert!(began.elapsed() < PATIENCE, "the model is not there");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn open(&self, head: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(stream, "{head}\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}", self.address).unwrap();
        BufReader::new(stream)
    }

    fn ask(&self, head: &str, body: &str) -> (u16, Value) {
        let mut answer = String::new();
        self.open(head, body).read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!("GET {path} HTTP/1.1"), "")
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask(&format!("POST {path} HTTP/1.1"), &body.to_string())
    }

    /// Starts a stream of chat completions and waits for its first text. The rest can be read from it.
    fn stream(&self, tokens: u32) -> BufReader<TcpStream> {
        let body = json!({"messages": [{"role": "user", "content": "Count to a thousand."}], "max_tokens": tokens,
                          "ignore_eos": true, "stream": true, "temperature": 1.4});
        // A high temperature prevents repetition, which speculative decoding would speed up.
        let mut stream = self.open("POST /v1/chat/completions HTTP/1.1", &body.to_string());
        let mut line = String::new();
        while !line.contains("\"content\":\"") || line.contains("\"content\":\"\"") {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        }
        stream
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.as_str().unwrap().lines().find(|line| line.starts_with(name)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
    }
}

#[cfg(unix)]
fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.unwrap().success());
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chat(text: &str, more: &Value) -> Value {
    let mut body =
        json!({"messages": [{"role": "user", "content": text}], "max_tokens": 12, "temperature": 0});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    body
}

/// The body of an answer, which must not be a refusal.
fn ok((status, body): (u16, Value)) -> Value {
    assert_eq!(status, 200, "{body}");
    body
}

/// Asks again as long as the server is too busy, as clients do.
fn patiently(ask: impl Fn() -> (u16, Value)) -> Value {
    let began = Instant::now();
    loop {
        match ask() {
            (429 | 503, _) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_secs(1)),
            answer => return ok(answer),
        }
    }
}

#[test]
fn routes_answer_in_openais_shapes() {
    let home = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(&home, &[]) else { return };
    let models = ok(server.get("/v1/models"));
    assert_eq!(models["data"][0]["id"], "smollm2-135m", "{models}");
    let answer = ok(server.post("/v1/chat/completions", &chat("Say hello.", &json!({}))));
    assert_eq!(answer["object"], "chat.completion", "{answer}");
    let tokens = answer["usage"]["completion_tokens"].as_u64().unwrap();
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    let cut = ok(server.post("/tokenize", &json!({"content": text})));
    assert!(cut["tokens"].as_array().unwrap().len() as u64 <= tokens, "{text:?} is of {tokens} tokens");
    let back = ok(server.post("/detokenize", &json!({"tokens": cut["tokens"]})));
    assert_eq!(back["content"], text);
    let scored = ok(server.post(
        "/v1/completions",
        &json!({"prompt": "The capital of France is", "max_tokens": 0, "echo": true, "logprobs": 1}),
    ));
    let logprobs = scored["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap();
    assert_eq!(
        (scored["choices"][0]["text"].as_str(), logprobs[0].is_null()),
        (Some("The capital of France is"), true)
    );
    assert!(
        logprobs[1..].iter().all(|logprob| logprob.as_f64().is_some_and(|logprob| logprob < 0.0)),
        "{logprobs:?}"
    );
    let format = json!({"max_tokens": 64, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": true, "schema":
        {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": false}}}});
    // On a busy machine even a small grammar may not be compiled in time.
    let shaped = patiently(|| server.post("/v1/chat/completions", &chat("Is water wet?", &format)));
    let choice = &shaped["choices"][0];
    assert_eq!(choice["finish_reason"], "stop", "{shaped}");
    let value: Value = serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
    assert!(value["ok"].is_boolean(), "{shaped}");
    let api = ok(server.get("/openapi.json"));
    assert!(api["paths"].as_object().unwrap().len() > 15, "{api}");
}

#[test]
fn several_answers_share_a_prompt_and_a_seed_gives_them_again() {
    let home = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(&home, &[]) else { return };
    let body = chat("Tell me something.", &json!({"n": 3, "seed": 7, "temperature": 1}));
    let texts = |answer: &Value| -> Vec<String> {
        let choices = answer["choices"].as_array().unwrap();
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap().to_owned()).collect()
    };
    let (_, first) = server.post("/v1/chat/completions", &body);
    let (_, second) = server.post("/v1/chat/completions", &body);
    assert_eq!(texts(&first), texts(&second));
    assert_ne!(texts(&first)[0], texts(&first)[1], "another seed each");
    let prompt = first["usage"]["prompt_tokens"].as_f64().unwrap();
    let computed = server.metric("bandmaster_engine_prefill_tokens_total");
    assert!(computed < 2.0 * prompt, "the prompt of {prompt} tokens was computed once: {computed} in all");
}

#[test]
fn what_can_not_be_done_is_told_with_its_field_and_the_server_lives() {
    let home = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(&home, &[]) else { return };
    let check = |body: &str, status: u16, param: Value| {
        let (got, answer) = server.ask("POST /v1/chat/completions HTTP/1.1", body);
        assert_eq!((got, &answer["error"]["param"]), (status, &param), "{body:.200}: {answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| message.len() > 5));
    };
    check("{", 400, Value::Null);
    check("{\"messages\": [{\"role\": \"user\", \"content\": \"\u{1}\"}]}", 400, Value::Null);
    check(&chat("a", &json!({"model": "bandmaster:nothing"})).to_string(), 400, json!("model"));
    check(&chat("a", &json!({"temperature": -1})).to_string(), 400, json!("temperature"));
    check(&chat("a", &json!({"temperature": "hot"})).to_string(), 400, json!("temperature"));
    check(&chat("a", &json!({"n": 0})).to_string(), 400, json!("n"));
    check(
        &chat("a", &json!({"audio": {"voice": "alloy", "format": "wav"}})).to_string(),
        400,
        json!("audio"),
    );
    check(&chat("a", &json!({"tool_choice": "required"})).to_string(), 400, json!("tool_choice"));
    check(&chat(&"word ".repeat(20_000), &json!({})).to_string(), 400, json!("messages"));
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]);
    check(&json!({"messages": image}).to_string(), 400, json!("messages[0].content[0]"));
    let schema = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "nonsense"}}});
    check(&chat("a", &json!({"response_format": schema})).to_string(), 400, json!("response_format"));
    check(&"[".repeat(100_000), 400, Value::Null);
    assert_eq!(server.get("/nowhere").0, 404);
    assert_eq!(server.get("/v1/models/nobody").0, 404);
    // The only model answers for an unknown name, and no file is opened for the name.
    let (status, answer) = server.post("/v1/chat/completions", &chat("a", &json!({"model": "/etc/passwd"})));
    assert_eq!((status, &answer["model"]), (200, &json!("smollm2-135m")));
    assert_eq!(server.post("/v1/chat/completions", &chat("a", &json!({"tempreature": 1}))).0, 200);
    assert_eq!(server.get("/v1/chat/completions").0, 405);
    assert_eq!(server.post("/v1/chat/completions", &chat("a", &json!({}))).0, 200);
}

#[test]
fn a_client_that_leaves_frees_its_work() {
    let home = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(&home, &[]) else { return };
    let streams: Vec<_> = (0..3).map(|_| server.stream(4000)).collect();
    let began = Instant::now();
    // The statistics are those of the last step.
    while server.metric("bandmaster_engine_running_sequences ") < 3.0 {
        assert!(began.elapsed() < Duration::from_secs(5), "three streams go on");
    }
    drop(streams);
    let began = Instant::now();
    while server.metric("bandmaster_engine_running_sequences ") > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(5), "its sequences go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.metric("bandmaster_engine_cache_held_bytes "), 0.0);
}

#[test]
fn without_its_key_nobody_is_let_in() {
    let home = tempfile::tempdir().unwrap();
    let keys = home.path().join("keys");
    std::fs::write(&keys, "sk-one name=alice requests_per_minute=2\n").unwrap();
    let Some(server) = Server::start(&home, &["--api-key-file", keys.to_str().unwrap()]) else { return };
    let models =
        |key: &str| server.ask(&format!("GET /v1/models HTTP/1.1\r\nauthorization: Bearer {key}"), "");
    assert_eq!(server.get("/v1/models").0, 401);
    assert_eq!(models("sk-two").0, 401);
    assert_eq!((models("sk-one").0, models("sk-one").0), (200, 200));
    let (status, answer) = models("sk-one");
    assert_eq!((status, &answer["error"]["type"]), (429, &json!("rate_limit_error")));
}

#[cfg(unix)]
#[test]
fn asked_to_end_it_lets_streams_end_and_cuts_those_that_do_not() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut server) = Server::start(&home, &["--drain-seconds", "2"]) else { return };
    let (mut short, mut long) = (server.stream(40), server.stream(7000));
    let began = Instant::now();
    server.signal("TERM");
    let (mut of_short, mut of_long) = (String::new(), String::new());
    short.read_to_string(&mut of_short).unwrap();
    long.read_to_string(&mut of_long).unwrap();
    assert!(of_short.contains("\"finish_reason\":\"length\"") && of_short.contains("[DONE]"), "{of_short}");
    assert!(of_long.contains("the server is shutting down") && of_long.contains("[DONE]"));
    assert!(server.child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(5), "after {:?}", began.elapsed());
}

#[cfg(unix)]
#[test]
fn killed_it_starts_again_and_only_one_serves_a_home() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut first) = Server::start(&home, &[]) else { return };
    let _stream = first.stream(4000);
    let second = Command::new(env!("CARGO_BIN_EXE_bandmaster"))
        .args(["serve", "--port", "0", "--offline", "--model"])
        .arg(model().unwrap())
        .arg("--home")
        .arg(home.path())
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && says.contains("--standalone"), "{says}");
    first.signal("KILL");
    first.child.wait().unwrap();
    let again = Server::start(&home, &[]).unwrap();
    assert_eq!(again.post("/v1/chat/completions", &chat("a", &json!({}))).0, 200);
}

#[cfg(unix)]
#[test]
fn stopped_for_a_while_it_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(&home, &[]) else { return };
    let mut stream = server.stream(60);
    server.signal("STOP");
    std::thread::sleep(Duration::from_secs(3));
    server.signal("CONT");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"finish_reason\":\"length\"") && rest.contains("data: [DONE]"), "{rest}");
    assert_eq!(server.post("/v1/chat/completions", &chat("a", &json!({}))).0, 200);
}

#[test]
fn a_large_body_is_read_and_one_model_stays_one() {
    let home = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(&home, &[]) else { return };
    let large =
        json!({"model": "smollm2-135m", "messages": [{"role": "user", "content": "word ".repeat(500_000)}]});
    // Over two megabytes: takes its memory from the budget for large bodies, and is refused for its length.
    let (status, answer) = server.post("/v1/chat/completions", &large);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")), "{answer}");
    assert_eq!(server.metric("bandmaster_engine_loads_total"), 1.0);
    let (_, metrics) = server.get("/metrics");
    let series =
        metrics.as_str().unwrap().lines().filter(|line| line.starts_with("bandmaster_model_resident{"));
    assert_eq!(series.count(), 1);
}

//! Tests of `bench` as a user runs it, against servers that behave and servers that don't: flags, exit statuses and
//! output. The results of loads and suites are tested beside the code.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A server with one model that writes as many tokens as asked for, waiting `ms` milliseconds before each.
fn server(ms: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Ignore errors: the client may disconnect.
            std::thread::spawn(move || drop(answer(stream, ms)));
        }
    });
    url
}

/// The same, but it stops after `answers` answers.
fn server_of(answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut listener = Some(listener);
        for left in (0..answers).rev() {
            let accepted = listener.as_ref().map(|listener| listener.accept().unwrap());
            listener = listener.filter(|_| left > 0);
            drop(accepted.map(|(stream, _)| answer(stream, 0)));
        }
    });
    url
}

fn answer(mut stream: TcpStream, ms: u64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first)?;
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if first.starts_with("GET") {
        let models = json!({"data": [{"id": "m"}]}).to_string();
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{models}",
            models.len()
        );
    }
    let body = serde_json::from_slice::<Value>(&body)?;
    if body["model"] == "broken" {
        return write!(stream, "HTTP/1.1 500 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
    }
    let tokens = body["max_tokens"].as_u64().unwrap();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let word =
        if first.contains("chat") { json!({"delta": {"content": " 4"}}) } else { json!({"text": " 4"}) };
    for _ in 0..tokens {
        std::thread::sleep(Duration::from_millis(ms));
        write!(stream, "data: {}\n\n", json!({"choices": [word]}))?;
    }
    let usage = json!({"prompt_tokens": 9, "completion_tokens": tokens});
    write!(
        stream,
        "data: {}\n\ndata: [DONE]\n\n",
        json!({"choices": [{"finish_reason": "length"}], "usage": usage})
    )
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bandmaster"));
        command.arg("bench").args(words).arg("--offline").arg("--home").arg(self.dir.path().join("home"));
        command.env_remove("OPENAI_API_KEY").stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn fails(&self, words: &[&str], status: i32, says: &[&str]) {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        for part in says {
            assert!(said.contains(part), "{words:?}: {said:?} lacks {part:?}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }

    /// The JSON that a command prints when it exits with `status`.
    fn json(&self, words: &[&str], status: i32) -> Value {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

const TRACE: &str = r#"{"schema": "bandmaster.trace/1", "name": "two", "models": {"w": {"model": "m"}}, "tasks": [
    {"id": "a", "model": "w", "prompt_tokens": 8, "output_tokens": 3},
    {"id": "b", "model": "w", "needs": ["a"], "reads_needs": true, "output_tokens": 4}]}"#;

#[test]
fn serve_prints_what_the_interface_names() {
    let (place, url) = (Place::new(), server(1));
    let words =
        ["serve", "--url", &url, "--workload", "chat", "--requests", "6", "--concurrency", "3", "--json"];
    let report = place.json(&words, 0);
    assert_eq!(report["schema"], "bandmaster.bench.serve/1");
    for field in
        ["machine", "command", "version", "model", "workload", "wall_s", "output_tokens_per_s", "goodput"]
    {
        assert!(!report[field].is_null(), "no {field}");
    }
    for times in ["ttft_ms", "itl_ms", "e2e_ms"] {
        for percentile in ["p50", "p90", "p99", "max"] {
            assert!(report[times][percentile].as_f64().unwrap() > 0.0, "{times} {percentile}");
        }
    }
    assert_eq!(
        (&report["requests"], &report["errors"], &report["mode"]["closed"]["concurrency"]),
        (&json!(6), &json!(0), &json!(3))
    );
    let open = ["serve", "--url", &url, "--requests", "4", "--rate", "100", "--json"];
    assert_eq!(place.json(&open, 0)["mode"]["open"]["rate"], 100.0);
}

#[test]
fn two_results_are_held_against_each_other() {
    let (place, url) = (Place::new(), server(0));
    let words =
        ["workflow", "--trace", &place.file("t.json", TRACE), "--url", &url, "--json", "--repeat", "3"];
    let report = place.json(&words, 0);
    assert_eq!((&report["schema"], &report["trace"]), (&json!("bandmaster.bench.workflow/1"), &json!("two")));
    assert_eq!((&report["output_tokens"], &report["prompt_tokens"]), (&json!(7), &json!(18)));
    assert_eq!(report["tasks"][1]["id"], "b");
    let (a, b) = (place.file("a.json", &report.to_string()), place.file("b.json", &report.to_string()));
    let page = place.dir.path().join("page.html");
    let compared = place.json(&["compare", &a, &b, "--json", "-o", page.to_str().unwrap()], 0);
    assert_eq!(compared["schema"], "bandmaster.bench.compare/1");
    assert!(std::fs::read_to_string(page).unwrap().contains("<svg"));
    let other = place.file("c.json", &report.to_string().replace("\"two\"", "\"three\""));
    place.fails(&["compare", &a, &other], 2, &["different work", "two", "three"]);
    let newer = place.file("d.json", &report.to_string().replace("workflow/1", "workflow/9"));
    place.fails(&["compare", &a, &newer], 2, &["workflow/9"]);
    place.fails(&["compare", &a, &place.file("e.json", "")], 2, &["e.json"]);
}

#[test]
fn what_got_worse_fails_and_too_few_rounds_are_no_answer() {
    let place = Place::new();
    let result = |name: &str, walls: &[f64]| {
        let machine = json!({"cpu": "c", "cores": 2, "isa": "avx2", "memory_bytes": 1, "load_1m": 0});
        let body = json!({"schema": "bandmaster.bench.workflow/1", "command": "c", "version": "1", "threads": 2,
            "machine": machine, "trace": "fanout", "runs": 1, "models": {"w": "m"}, "rounds_wall_s": walls,
            "prompt_tokens": 10, "output_tokens": 5});
        place.file(name, &body.to_string())
    };
    let (slow, fast) = (result("slow.json", &[2.0, 2.02, 2.04]), result("fast.json", &[1.0, 1.02, 1.01]));
    place.fails(&["compare", &fast, &slow, "--fail-if", "worse"], 1, &["B is worse in wall, s", "--fail-if"]);
    place.json(&["compare", &slow, &fast, "--fail-if", "worse", "--json"], 0);
    place.json(&["compare", &fast, &fast, "--fail-if", "worse", "--json"], 0);
    let (one, two) = (result("one.json", &[1.0]), result("two.json", &[2.0, 2.1]));
    for (a, b) in [(&one, &two), (&fast, &two), (&one, &slow)] {
        place.fails(&["compare", a, b, "--fail-if", "worse"], 2, &["too few rounds", "--repeat 5"]);
        place.json(&["compare", a, b, "--json"], 0);
    }
}

#[test]
fn a_suite_is_judged_with_a_server_as_the_player() {
    let (place, url) = (Place::new(), server(0));
    let suite = place.file(
        "s.jsonl",
        "{\"question\":\"2 + 2?\",\"answer\":\"#### 4\"}\n{\"question\":\"3 + 2?\",\"answer\":\"#### 5\"}\n",
    );
    let report = place.json(&["accuracy", "--suite", &suite, "--url", &url, "--json"], 0);
    assert_eq!(
        (&report["n"], &report["correct"], &report["strategy"]),
        (&json!(2), &json!(1), &json!("alone"))
    );
    assert_eq!(report["items"].as_array().unwrap().len(), 2);
}

/// Arguments of `bench accuracy` with one item at a time; `more` begins with the model's name.
fn accuracy<'a>(suite: &'a str, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["accuracy", "--suite", suite, "--concurrency", "1", "--url", url, "--model"];
    [&words[..], more].concat()
}

#[test]
fn a_suite_that_nobody_answers_is_no_result() {
    let (place, url) = (Place::new(), server(0));
    // Not arithmetic, which the calculator would answer without the model.
    let line =
        |n: u32| format!("{{\"question\": \"Which number is it in text {n}?\", \"answer\": \"#### 4\"}}\n");
    let suite = place.file("s.jsonl", &(line(1) + &line(2)));
    let report = place.json(&accuracy(&suite, &url, &["broken", "--json"]), 1);
    assert_eq!((&report["n"], &report["correct"], &report["errors"]), (&json!(2), &json!(0), &json!(2)));
    assert_eq!(
        (&report["url"], &report["threads"], &report["energy_j"]),
        (&json!(url), &Value::Null, &Value::Null)
    );
    assert!(report["items"][0]["error"].as_str().unwrap().contains("500"), "{report}");
    place.fails(&accuracy(&suite, &url, &["broken"]), 1, &["error: alone: 2 of 2 items failed", "500"]);
    place.fails(&accuracy(&suite, &url, &["m,n"]), 2, &["--model n", "has m"]);
    place.fails(&accuracy(&suite, "http://127.0.0.1:9", &["m"]), 1, &["can't be reached"]);
    let leaves = server_of(2);
    let matrix = place.json(&accuracy(&suite, &leaves, &["m", "--strategy", "alone,direct", "--json"]), 1);
    assert_eq!((&matrix["interrupted"], &matrix["cells"][0]["n"]), (&json!(true), &json!(2)));
    assert_eq!(matrix["cells"].as_array().unwrap().len(), 1, "the second cell has no answer");
}

#[test]
fn what_cannot_be_measured_is_said_with_what_to_do() {
    let (place, url) = (Place::new(), server(0));
    let nobody = "http://127.0.0.1:9";
    let trace = place.file("t.json", TRACE);
    let goals = place.file("g.jsonl", "{\"question\": \"x\", \"answer\": \"y\"}\n{broken\n");
    let empty = place.file("empty.jsonl", "\n");
    let check = |words: &[&str], status: i32, says: &[&str]| place.fails(words, status, says);
    check(
        &["serve", "--url", nobody, "--model", "m"],
        1,
        &["127.0.0.1:9", "can't be reached", "is the server running"],
    );
    check(&["serve", "--url", "localhost", "--model", "m"], 2, &["--url localhost"]);
    check(&["serve", "--url", "https://example.org", "--model", "m"], 2, &["--offline forbids"]);
    check(&["serve", "--url", &url, "--workload", "nothing"], 2, &["chat, fanout, mixed"]);
    check(&["serve", "--url", &url, "--workload", &goals], 2, &["g.jsonl line 1"]);
    check(&["serve", "--url", &url, "--workload", &empty], 2, &["holds no calls"]);
    check(&["serve", "--url", &url, "--rate", "-1"], 2, &["--rate -1"]);
    check(&["serve", "--url", &url, "--rate", "1e-19"], 2, &["0.0001 to 100000"]);
    check(&["serve", "--url", &url, "--as-recorded"], 2, &["at_ms"]);
    check(&["serve", "--url", &url, "--requests", "0"], 2, &["at least 1"]);
    check(&["workflow", "--trace", &trace, "--url", nobody], 1, &["can't be reached"]);
    check(&["workflow", "--trace", &trace, "--url", &format!("x={url}")], 2, &["roles are w"]);
    check(
        &["workflow", "--trace", &trace, "--url", &url, "--set", "warm=off"],
        2,
        &["leave them out with --url"],
    );
    check(&["workflow", "--trace", "nothing"], 2, &["no trace `nothing`", "write-test-fix"]);
    check(&["accuracy", "--suite", &goals, "--url", &url], 2, &["g.jsonl", "line 2"]);
    check(&["accuracy", "--suite", &empty, "--url", &url], 2, &["empty.jsonl"]);
    check(&["accuracy", "--suite", "nowhere.jsonl", "--url", &url], 2, &["nowhere.jsonl"]);
    check(&["compare", "nowhere.json", &trace], 2, &["nowhere.json"]);
}

#[cfg(unix)]
#[test]
fn an_interrupt_prints_what_is_finished() {
    let (place, url) = (Place::new(), server(5));
    let words = ["serve", "--url", &url, "--requests", "10000", "--warmup", "0", "--json"];
    let child = place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true);
    let requests = report["requests"].as_u64().unwrap();
    assert!(requests > 0 && requests < 10_000, "{requests}");
}

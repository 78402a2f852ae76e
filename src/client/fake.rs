//! A scripted server for tests, well-behaved or not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq)]
pub enum Script {
    /// As many tokens as asked for, one every `ms` milliseconds, with correct counts.
    Good { ms: u64 },
    /// The same, written in chunks of this many bytes.
    Chopped { bytes: usize },
    /// A status and a body.
    Status(u16, &'static str),
    /// This body with this content type and status 200.
    Body(&'static str, &'static str),
    /// A complete answer, after which the connection stays open but nothing more is read from it.
    KeepsOpen,
    /// Accepts the request and sends nothing.
    Silent,
    /// Sends three tokens, then nothing.
    Stalls,
    /// Sends three tokens, then closes the connection.
    Closes,
    /// Good, but reports this token count.
    Counts { output_tokens: u32 },
    /// Good, but ends after this many tokens.
    Short { tokens: u32 },
    /// Sends tokens without end.
    Endless,
    /// Sends SSE comments without end and nothing else.
    Comments,
    /// Reads the request and closes the connection.
    HangsUp,
}

/// A running server; it ends with the test process.
pub struct FakeServer {
    /// Base URL without a path: `http://127.0.0.1:PORT`.
    pub url: String,
    /// Bodies of the requests so far.
    pub bodies: Arc<Mutex<Vec<Value>>>,
}

impl FakeServer {
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, kept) = (script.clone(), Arc::clone(&kept));
                // Ignore errors: a client that disconnects is part of the test.
                std::thread::spawn(move || drop(answer(stream, &script, &kept)));
            }
        });
        Self { url, bodies }
    }
}

fn answer(mut stream: TcpStream, script: &Script, kept: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if first.starts_with("GET") {
        let models = json!({"object": "list", "data": [{"id": "fake", "object": "model"}]});
        return whole(&mut stream, 200, "application/json", &models.to_string());
    }
    let body: Value = serde_json::from_slice(&body).expect("a JSON body");
    kept.lock().expect("no test panics with it").push(body.clone());
    match script {
        Script::Status(status, text) => whole(&mut stream, *status, "application/json", text),
        Script::Body(kind, text) => whole(&mut stream, 200, kind, text),
        Script::Silent => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Script::HangsUp => Ok(()),
        Script::KeepsOpen => {
            let body = "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n";
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length:";
            write!(stream, "{head} {}\r\n\r\n{body}", body.len())?;
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        script => streamed(&mut stream, script, &body, first.contains("chat")),
    }
}

fn whole(stream: &mut TcpStream, status: u16, kind: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn streamed(stream: &mut TcpStream, script: &Script, body: &Value, chat: bool) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let wanted = body["max_tokens"].as_u64().expect("a limit") as u32;
    let tokens = match script {
        Script::Short { tokens } => *tokens,
        Script::Stalls | Script::Closes => 3,
        Script::Endless => u32::MAX,
        Script::Comments => 0,
        _ => wanted,
    };
    let mut send = |text: &str| match script {
        Script::Chopped { bytes } => text.as_bytes().chunks(*bytes).try_for_each(|part| {
            stream.write_all(part)?;
            stream.flush()
        }),
        _ => stream.write_all(text.as_bytes()),
    };
    for token in 0..tokens {
        if let Script::Good { ms } = script {
            std::thread::sleep(Duration::from_millis(*ms));
        }
        let choice = match chat {
            true => json!({"index": 0, "delta": {"content": format!(" w{token}")}, "finish_reason": null}),
            false => json!({"index": 0, "text": format!(" w{token}"), "finish_reason": null}),
        };
        send(&format!("data: {}\n\n", json!({"choices": [choice]})))?;
    }
    match script {
        Script::Comments => loop {
            send(": still here\n\n")?;
            std::thread::sleep(Duration::from_millis(50));
        },
        Script::Stalls => std::thread::sleep(Duration::from_secs(60)),
        Script::Closes => {}
        _ => {
            let output_tokens = match script {
                Script::Counts { output_tokens } => *output_tokens,
                _ => tokens,
            };
            let usage = json!({"prompt_tokens": 7, "completion_tokens": output_tokens,
                               "prompt_tokens_details": {"cached_tokens": 2}});
            let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]});
            send(&format!(": a comment\n\ndata: {end}\n\n"))?;
            send(&format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [], "usage": usage})))?;
        }
    }
    Ok(())
}

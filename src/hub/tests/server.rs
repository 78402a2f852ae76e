//! A hub with a few files, for tests: HEAD and GET on `/{repo}/resolve/{rev}/{file}`, ranges, the listing, and ways to
//! fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use crate::digest::hex;

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Closes the first GETs, this many, in the middle of the body.
    CutFirst(usize),
    /// Answers 401 unless the token is sent.
    Gated,
    /// Announces one checksum and sends other bytes.
    WrongBytes,
    /// Answers 200 with a web page, as a captive portal does.
    Portal,
    /// Announces this size, whatever the file's.
    Announces(u64),
    /// Announces the right size and sends bytes without end.
    Floods,
    /// Announces the right size in HEAD, but a larger one with the bytes.
    Grows,
    /// Announces the size only with the bytes.
    SaysLate,
    /// Announces no size at all.
    SaysNothing,
}

pub(super) struct Server {
    pub(super) endpoint: String,
    /// `METHOD path range`, in order.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

struct Site {
    files: BTreeMap<String, Vec<u8>>,
    fault: Fault,
    gets: AtomicUsize,
}

pub(super) const REPO: &str = "owner/model-GGUF";
pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(super) const TOKEN: &str = "hf_secret";

impl Server {
    pub(super) fn start(files: &[(&str, &[u8])], fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let site = Arc::new(Site { files, fault, gets: AtomicUsize::new(0) });
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (site, log) = (Arc::clone(&site), Arc::clone(&log));
                std::thread::spawn(move || site.serve(&stream, &log));
            }
        });
        Self { endpoint, requests }
    }

    pub(super) fn gets(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|line| line.starts_with("GET")).cloned().collect()
    }
}

impl Site {
    fn serve(&self, stream: &TcpStream, log: &Mutex<Vec<String>>) -> Option<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next()?.ok()?;
        let (mut range, mut token) = (String::new(), false);
        for line in lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ")?;
            match name.to_lowercase().as_str() {
                "range" => value.clone_into(&mut range),
                "authorization" => token = value == format!("Bearer {TOKEN}"),
                _ => {}
            }
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        log.lock().unwrap().push(format!("{method} {path} {range}").trim_end().to_owned());
        let mut stream = stream;
        let response = match self.fault {
            Fault::Portal => answer("200 OK", "", b"<html>please log in</html>"),
            Fault::Gated if !token => answer("401 Unauthorized", "x-error-code: GatedRepo\r\n", b""),
            _ if path.starts_with("/api/") => {
                answer("200 OK", "content-type: application/json\r\n", self.listing().as_bytes())
            }
            _ => self.file(method, path, &range),
        };
        stream.write_all(&response).ok()?;
        let floods = self.fault == Fault::Floods && method == "GET" && !path.starts_with("/api/");
        if floods {
            while stream.write_all(&[0; 1 << 16]).is_ok() {}
        }
        Some(())
    }

    fn listing(&self) -> String {
        let files: Vec<_> = self.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        serde_json::json!({"siblings": files}).to_string()
    }

    fn file(&self, method: &str, path: &str, range: &str) -> Vec<u8> {
        let name = path
            .strip_prefix(&format!("/{REPO}/resolve/main/"))
            .map(|path| percent_decode_str(path).decode_utf8().unwrap());
        let Some(bytes) = name.and_then(|name| self.files.get(&*name)) else {
            return answer("404 Not Found", "x-error-code: EntryNotFound\r\n", b"");
        };
        let sha256 = hex(&Sha256::digest(bytes));
        if method == "HEAD" {
            let size = match self.fault {
                Fault::Announces(bytes) => format!("x-linked-size: {bytes}\r\n"),
                Fault::SaysLate | Fault::SaysNothing => String::new(),
                _ => format!("x-linked-size: {}\r\n", bytes.len()),
            };
            let headers = format!(
                "location: http://{{host}}\r\nx-linked-etag: \"{sha256}\"\r\n{size}x-repo-commit: {COMMIT}\r\n"
            );
            return answer(
                "302 Found",
                &headers.replace("http://{host}", "https://cdn.example/elsewhere"),
                b"",
            );
        }
        let get = self.gets.fetch_add(1, Ordering::SeqCst);
        let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
        let status = if range.is_empty() { "200 OK" } else { "206 Partial Content" };
        let mut body = bytes[from.min(bytes.len())..].to_vec();
        if self.fault == Fault::WrongBytes {
            body.iter_mut().for_each(|byte| *byte ^= 1);
        }
        match self.fault {
            Fault::Floods | Fault::SaysNothing => {
                return [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &body[..]].concat();
            }
            Fault::Grows => body.extend([0; 1000]),
            _ => {}
        }
        let mut response = answer(status, "", &body);
        if matches!(self.fault, Fault::CutFirst(cuts) if get < cuts) {
            response.truncate(response.len() - body.len().div_ceil(2));
        }
        response
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

//! For tests: a server on a real socket, and a client that writes what it is told, byte by byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::serve::{Bound, Ended, Listen, bind};

/// More than any test needs.
pub fn listen() -> Listen {
    Listen {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        socket: None,
        header_timeout: Duration::from_secs(20),
        headers_max: 64,
        drain: Duration::from_secs(20),
        connections_max: 64,
    }
}

/// A server that runs beside its test.
pub struct Server {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Ended>,
}

impl Server {
    pub async fn start(listen: &Listen, router: Router) -> Self {
        let bound = bind(listen).await.expect("a free port");
        Self::serve(bound, router.clone(), router)
    }

    pub fn serve(bound: Bound, tcp: Router, socket: Router) -> Self {
        let address = bound.address();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        Self { address, stop, serving: tokio::spawn(bound.serve(tcp, socket, shutdown)) }
    }

    /// Asks for the end; the handle gives it.
    pub fn stop(self) -> JoinHandle<Ended> {
        self.stop.send(()).expect("it runs");
        self.serving
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower-case names.
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// `None` for nothing, a broken head, or a body that is shorter than was promised.
    fn read(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.map(|line| line.split_once(": ")).map(|pair| {
            let (name, value) = pair.expect("a header's colon");
            (name.to_lowercase(), value.to_owned())
        });
        let answer = Self { status, headers: headers.collect(), body: body.to_owned() };
        let promised =
            answer.header("content-length").map_or(body.len(), |bytes| bytes.parse().expect("a number"));
        (body.len() == promised || body.is_empty()).then_some(answer)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Everything that comes until the other side ends.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset ends it as well.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).expect("text")
}

/// Sends `GET /path` and header lines as they stand, and reads until the end.
pub async fn ask_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> Option<Answer> {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.to_lowercase().contains("host: ") {
        request.push_str("host: localhost\r\n");
    }
    for header in headers.lines() {
        request.push_str(&format!("{header}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    Answer::read(&rest(&mut stream).await)
}

pub async fn ask(address: SocketAddr, head: &str) -> Answer {
    let stream = TcpStream::connect(address).await.expect("it listens");
    ask_over(stream, head).await.expect("an answer")
}

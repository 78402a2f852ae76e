//! For tests: a server on a real socket with a client that sends raw bytes, and one model's routes without a socket.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::response::Response;
use bandmaster_band::BandFiles;
use bandmaster_hub::{Home, Hub, LocalModel, Role};
use bandmaster_journal::AsyncJournal;
use bandmaster_text::fixtures::{engine, parrot};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::auth::ApiKeys;
use super::layers::{Hosts, Layers, Origins, with_layers};
use super::metrics::Metrics;
use super::registry::{Alias, LoadModel, Loaders, ModelRegistry};
use super::runs::Runs;
use super::serve::{BoundServer, Listen, ShutdownReport, ShutdownSignal, bind};
use super::{App, Shutdown, router};

/// Limits that no test reaches.
pub(crate) fn listen() -> Listen {
    Listen {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        socket: None,
        header_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(20),
        headers_max: 64,
        drain_timeout: Duration::from_secs(20),
        connections_max: 64,
        per_address_max: None,
    }
}

/// A server that runs in the background of a test.
pub(crate) struct Server {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<ShutdownReport>,
}

impl Server {
    pub(crate) async fn start(listen: &Listen, router: Router) -> Self {
        let bound = bind(listen).await.expect("a free port");
        Self::serve(bound, router.clone(), router)
    }

    pub(crate) fn serve(bound: BoundServer, tcp: Router, socket: Router) -> Self {
        let address = bound.address();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        Self { address, stop, serving: tokio::spawn(bound.serve(tcp, socket, shutdown)) }
    }

    /// Requests shutdown; the handle resolves when the server has ended.
    pub(crate) fn stop(self) -> JoinHandle<ShutdownReport> {
        self.stop.send(()).expect("it runs");
        self.serving
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    /// The names are in lower case.
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// `None` for an empty response, an invalid head, or a body shorter than its `content-length`.
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

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Reads until the other side closes.
pub(crate) async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset counts as the end, too.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).expect("text")
}

/// Sends a head such as `GET /path`, perhaps followed by header lines, unchanged, and reads until the end.
pub(crate) async fn ask_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> Option<Answer> {
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

pub(crate) async fn ask(address: SocketAddr, head: &str) -> Answer {
    let stream = TcpStream::connect(address).await.expect("it listens");
    ask_over(stream, head).await.expect("an answer")
}

/// A server whose only model always gives the same answer.
pub(crate) fn running(says: &str) -> Running {
    let model = parrot(says);
    Running::new(Box::new(move |_| Ok(Arc::clone(&model))))
}

/// All routes with one model, called without a socket.
pub(crate) struct Running {
    pub router: Router,
    pub journal: AsyncJournal,
    /// Sending true begins the shutdown.
    pub start_shutdown: watch::Sender<bool>,
}

impl Running {
    /// Its model is called `parrot`; `load` is called at the first request for it.
    pub(crate) fn new(load: LoadModel) -> Self {
        Self::with_aliases(load, Vec::new())
    }

    pub(crate) fn with_aliases(load: LoadModel, aliases: Vec<Alias>) -> Self {
        Self::of(AsyncJournal::in_memory().expect("a record"), load, None, aliases, false)
    }

    /// Uses the given record. With `keys`, only those are accepted.
    pub(crate) fn on(journal: AsyncJournal, load: LoadModel, keys: Option<Arc<ApiKeys>>) -> Self {
        Self::of(journal, load, keys, Vec::new(), false)
    }

    /// The same, with a band whose planner is the model.
    pub(crate) fn with_band(journal: AsyncJournal, load: LoadModel, keys: Option<Arc<ApiKeys>>) -> Self {
        Self::of(journal, load, keys, Vec::new(), true)
    }

    fn of(
        journal: AsyncJournal,
        load: LoadModel,
        keys: Option<Arc<ApiKeys>>,
        aliases: Vec<Alias>,
        has_band: bool,
    ) -> Self {
        let found = LocalModel {
            name: "parrot".into(),
            role: Role::Worker,
            path: PathBuf::from("parrot.gguf"),
            bytes: 0,
            memory_bytes: 0,
        };
        let band = has_band.then(|| BandFiles {
            planner: found.clone(),
            workers: Vec::new(),
            embeddings: None,
            workers_named: true,
        });
        let loaders = Loaders {
            model: load,
            embedder: Box::new(|_| Err("there is none".into())),
            context_tokens: 4096,
            kv_type: "f16".into(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let hub = Hub::new(Home::under(folder.path()), true);
        let metrics = Arc::new(Metrics::new());
        let (start_shutdown, signal) = ShutdownSignal::channel();
        let models = ModelRegistry::new(hub, vec![found], band, loaders).with_aliases(aliases);
        let runs = Runs::new(journal.clone());
        let shutdown = Shutdown::new(signal, Duration::from_secs(1));
        let app = Arc::new(App::new(models, runs, engine(), Arc::clone(&metrics), shutdown));
        app.set_ready();
        let origins = Arc::new(Origins::parse(&[]).expect("none is fine"));
        let hosts = Arc::new(
            Hosts::new([127, 0, 0, 1].into(), false, &[], Arc::clone(&origins)).expect("none is fine"),
        );
        let router = with_layers(router(app), &Layers { metrics, keys, origins, hosts });
        Self { router, journal, start_shutdown }
    }

    /// Sends a request and returns the response without waiting for its body.
    pub(crate) async fn begin(&self, method: &str, path: &str, body: &Value) -> Response {
        self.begin_as("", method, path, body).await
    }

    /// As [`Running::begin`], with an API key.
    pub(crate) async fn begin_as(&self, key: &str, method: &str, path: &str, body: &Value) -> Response {
        let request = Request::builder()
            .method(method)
            .header("authorization", format!("Bearer {key}"))
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Body::from(if body.is_null() { String::new() } else { body.to_string() }))
            .expect("a request");
        TowerToHyperService::new(self.router.clone()).call(request).await.expect("routers always answer")
    }

    pub(crate) async fn respond(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        self.respond_to("", method, path, body).await
    }

    pub(crate) async fn respond_to(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, String) {
        let response = self.begin_as(key, method, path, body).await;
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 64 << 20).await.expect("a whole body");
        (status, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    /// Sends a request, checks that the status is `expected`, and returns the body.
    pub(crate) async fn call(&self, expected: u16, method: &str, path: &str, body: Value) -> Value {
        let (status, text) = self.respond(method, path, &body).await;
        assert_eq!(status, expected, "{method} {path} {body}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

//! A request's id, its line in the log, its span and its numbers, written when the last byte of its answer is gone.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::super::answer::Spent;
use super::super::auth::Admitted;
use super::super::budget::Part;
use super::super::error::ErrorKind;
use super::super::metrics::Metrics;
use super::super::spans::{Asked, Parent, RequestSpan, Told};
use crate::journal::Viewer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names the fields of the body that were taken without effect.
const IGNORED: HeaderName = HeaderName::from_static("x-bandmaster-ignored");
/// Names the model that answers where another one was asked for.
const MODEL: HeaderName = HeaderName::from_static("x-bandmaster-model");
const ID_BYTES_MAX: usize = 128;
/// The status of a request whose client left before the end; never sent.
const CLIENT_LEFT: u16 = 499;
/// The same in a word, for traces.
const LEFT: &str = "client_left";

/// What is learned of a request on its way: its handler finds it among the extensions and writes into it. Cheap to
/// clone; as long as one lives, the request counts as running for its key.
#[derive(Debug, Clone)]
pub struct Notes(Arc<Learned>);

#[derive(Debug)]
struct Learned {
    id: String,
    /// For spans of what the request begins.
    parent: Parent,
    model: OnceLock<String>,
    admitted: OnceLock<Admitted>,
    first_token: OnceLock<Duration>,
    spent: OnceLock<Spent>,
    /// What the request holds of the memory of all.
    part: OnceLock<Part>,
    /// What broke an answer whose status was sent.
    broke: OnceLock<&'static str>,
    /// Fields of the body that were taken without effect.
    ignored: Mutex<Vec<String>>,
    /// Who answers, where another model was asked for.
    instead: OnceLock<String>,
}

impl Notes {
    fn new(id: String, parent: Parent) -> Self {
        Self(Arc::new(Learned {
            id,
            parent,
            model: OnceLock::new(),
            admitted: OnceLock::new(),
            first_token: OnceLock::new(),
            spent: OnceLock::new(),
            part: OnceLock::new(),
            broke: OnceLock::new(),
            ignored: Mutex::default(),
            instead: OnceLock::new(),
        }))
    }

    /// The request's id, as the response tells it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Says which model answers, once. It must exist, because metrics keep every name.
    pub fn answered_by(&self, model: &str) {
        let _ = self.0.model.set(model.to_owned());
    }

    /// Says that the first token of any answer came so long after the request.
    pub fn first_token(&self, after: Duration) {
        let _ = self.0.first_token.set(after);
    }

    /// Says what all answers cost.
    pub fn spent(&self, spent: Spent) {
        let _ = self.0.spent.set(spent);
    }

    /// Says that an answer broke whose status was sent, and by what: one of a few words.
    pub fn broke(&self, kind: &'static str) {
        let _ = self.0.broke.set(kind);
    }

    /// Names fields of the body that were taken without effect: a header and the log tell them. Names are plain.
    pub fn ignored(&self, names: impl IntoIterator<Item = String>) {
        let mut ignored = self.0.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if !ignored.contains(&name) {
                ignored.push(name);
            }
        }
    }

    /// Says that this model answers in the place of the one that was asked for: a header tells it.
    pub fn answers_instead(&self, model: &str) {
        let _ = self.0.instead.set(model.to_owned());
    }

    fn ignored_names(&self) -> Option<String> {
        let ignored = self.0.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        (!ignored.is_empty()).then(|| ignored.join(", "))
    }

    /// Holds a part of the memory of all requests as long as the request lives.
    pub fn hold(&self, part: Part) {
        let _ = self.0.part.set(part);
    }

    /// The request's place in its trace.
    #[must_use]
    pub fn parent(&self) -> &Parent {
        &self.0.parent
    }

    /// Counts tokens against the key that let the request in, if one did.
    pub fn charge(&self, tokens: u64) {
        if let Some(admitted) = self.0.admitted.get() {
            admitted.charge(tokens);
        }
    }

    /// The name of the key that let the request in.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.admitted.get().map(Admitted::name)
    }

    /// As whom the record is read and written: as the key that let the request in, and without keys as the server's owner,
    /// who sees everything.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        self.0.admitted.get().map_or_else(Viewer::everybody, Admitted::viewer)
    }

    pub(super) fn admit(&self, admitted: Admitted) {
        let _ = self.0.admitted.set(admitted);
    }

    fn model(&self) -> &str {
        self.0.model.get().map_or("", String::as_str)
    }
}

/// Numbers requests and counts them.
#[derive(Debug)]
pub(super) struct Observer {
    metrics: Arc<Metrics>,
    count: AtomicU64,
    /// Keyed at random for each process, so that ids of two never meet.
    random: RandomState,
}

impl Observer {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, count: AtomicU64::new(0), random: RandomState::new() }
    }

    /// The client's id where it is one, else a new one.
    fn id(&self, headers: &HeaderMap) -> String {
        let sane = |id: &&str| {
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane);
        given.map_or_else(
            || format!("req_{:016x}", self.random.hash_one(self.count.fetch_add(1, Ordering::Relaxed))),
            str::to_owned,
        )
    }
}

pub(super) async fn observe(
    State(observer): State<Arc<Observer>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut line = Line::begin(&observer, &request);
    request.extensions_mut().insert(line.notes.clone());
    // Dropped while it waits here when the client leaves.
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(line.notes.id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let (ignored, instead) = (line.notes.ignored_names(), line.notes.0.instead.get().cloned());
    for (name, value) in [(IGNORED, ignored), (MODEL, instead)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    line.status = Some(response.status().as_u16());
    // Nobody takes the body of what HEAD is answered with.
    line.whole = line.method == "HEAD";
    line.error = response.extensions().get::<ErrorKind>().copied();
    response.map(|body| Body::new(Observed { body, line }))
}

/// A line of the log in the making. It is written when this is dropped.
#[derive(Debug)]
struct Line {
    metrics: Arc<Metrics>,
    notes: Notes,
    span: RequestSpan,
    method: &'static str,
    route: String,
    began: Instant,
    /// None until it is sent.
    status: Option<u16>,
    error: Option<ErrorKind>,
    /// Whether everything there was to send was taken.
    whole: bool,
}

impl Line {
    fn begin(observer: &Observer, request: &Request) -> Self {
        observer.metrics.request_began();
        let id = observer.id(request.headers());
        let method = known_method(request.method());
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let span = RequestSpan::begin(Asked {
            method,
            route,
            path: request.uri().path(),
            id: &id,
            headers: request.headers(),
        });
        Self {
            metrics: Arc::clone(&observer.metrics),
            notes: Notes::new(id, span.as_parent()),
            span,
            method,
            // What was typed must not become a label.
            route: route.unwrap_or("unknown").to_owned(),
            began: Instant::now(),
            status: None,
            error: None,
            whole: false,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let model = self.notes.model();
        let learned = &self.notes.0;
        let error = self.error.map(|ErrorKind(kind)| kind);
        let broke = learned.broke.get().copied();
        let left = (!self.whole).then_some(LEFT);
        self.span.end(Told {
            status: self.status,
            error: error.or(broke).or(left),
            broke: broke.is_some(),
            model: learned.model.get().map(String::as_str),
            first_token: learned.first_token.get().copied(),
            spent: learned.spent.get().copied(),
        });
        let status = self.status.filter(|_| self.whole).unwrap_or(CLIENT_LEFT);
        self.metrics.request_ended(self.method, &self.route, status, took);
        if !self.whole {
            self.metrics.cancelled(model);
        }
        if let Some(kind) = error {
            self.metrics.error(model, kind);
        }
        tracing::info!(
            id = self.notes.id(),
            method = self.method,
            route = self.route,
            status,
            ms = took.as_secs_f64() * 1e3,
            key = self.notes.key(),
            model = (!model.is_empty()).then_some(model),
            error = error.or(broke),
            ignored = self.notes.ignored_names(),
            "request"
        );
    }
}

/// Anybody may make methods up.
fn known_method(method: &Method) -> &'static str {
    let known = ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// A body that knows whether it was taken whole.
struct Observed {
    body: Body,
    line: Line,
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // A body that breaks is our mistake, not the client's leaving.
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.line.whole = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // Who knows the length doesn't ask once more whether it was all.
        self.line.whole |= self.body.is_end_stream();
    }
}

//! Request ids, the access log, spans and metrics, written when the last byte of the response was sent.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use bandmaster_journal::Viewer;
use hyper::body::{Frame, SizeHint};

use super::super::auth::Permit;
use super::super::budget::BudgetShare;
use super::super::error::{ApiError, ErrorKind};
use super::super::metrics::Metrics;
use super::super::spans::{RequestEnd, RequestSpan, RequestStart, SpanParent};
use super::super::usage::Usage;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Response header that lists the fields of the request that were accepted without effect.
const IGNORED: HeaderName = HeaderName::from_static("x-bandmaster-ignored");
/// Response header that names the model that answers, if it is not the one that was asked for.
const MODEL: HeaderName = HeaderName::from_static("x-bandmaster-model");
const ID_BYTES_MAX: usize = 128;
/// Status in log and metrics of a request whose client left before the end; it is never sent.
const CLIENT_LEFT: u16 = 499;
/// The corresponding error type in traces.
const CLIENT_LEFT_ERROR: &str = "client_left";

/// What is recorded about a request while it is handled; found in the request's extensions. Cheap to clone. As long as
/// a clone lives, the request counts as running for its API key.
#[derive(Debug, Clone)]
pub struct RequestContext(Arc<RequestRecord>);

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<Self>().cloned();
        context.ok_or_else(|| ApiError::internal("the middleware did not run for this request"))
    }
}

#[derive(Debug)]
struct RequestRecord {
    id: String,
    parent: SpanParent,
    model: OnceLock<String>,
    permit: OnceLock<Permit>,
    /// Tokens that the permit's key was charged.
    charged: AtomicU64,
    first_token: OnceLock<Duration>,
    usage: OnceLock<Usage>,
    budget_share: OnceLock<BudgetShare>,
    stream_error: OnceLock<&'static str>,
    ignored: Mutex<Vec<String>>,
    substitute: OnceLock<String>,
}

impl RequestContext {
    pub(crate) fn new(id: String, parent: SpanParent) -> Self {
        Self(Arc::new(RequestRecord {
            id,
            parent,
            model: OnceLock::new(),
            permit: OnceLock::new(),
            charged: AtomicU64::new(0),
            first_token: OnceLock::new(),
            usage: OnceLock::new(),
            budget_share: OnceLock::new(),
            stream_error: OnceLock::new(),
            ignored: Mutex::default(),
            substitute: OnceLock::new(),
        }))
    }

    /// The request's id, as in the response's `x-request-id` header.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Records which model answers; only the first call counts. The model must exist, because metrics keep every name.
    pub fn set_model(&self, model: &str) {
        let _ = self.0.model.set(model.to_owned());
    }

    /// Records the time from the request's arrival to the first token of any answer.
    pub fn first_token(&self, after: Duration) {
        let _ = self.0.first_token.set(after);
    }

    pub fn set_usage(&self, usage: Usage) {
        let _ = self.0.usage.set(usage);
    }

    /// Records that the response failed after its status was sent. `kind` is one of a small fixed set.
    pub fn set_stream_error(&self, kind: &'static str) {
        let _ = self.0.stream_error.set(kind);
    }

    /// Records fields of the request that were accepted without effect, for a response header and the log. The names
    /// must be valid in a header.
    pub fn add_ignored(&self, names: impl IntoIterator<Item = String>) {
        let mut ignored = self.0.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if !ignored.contains(&name) {
                ignored.push(name);
            }
        }
    }

    /// Records that this model answers in place of the requested one, for a response header.
    pub fn set_substitute(&self, model: &str) {
        let _ = self.0.substitute.set(model.to_owned());
    }

    fn ignored_names(&self) -> Option<String> {
        let ignored = self.0.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        (!ignored.is_empty()).then(|| ignored.join(", "))
    }

    /// Keeps the request's share of memory until the request has ended.
    pub fn keep_budget_share(&self, budget_share: BudgetShare) {
        let _ = self.0.budget_share.set(budget_share);
    }

    #[must_use]
    pub fn parent(&self) -> &SpanParent {
        &self.0.parent
    }

    /// Charges the request's API key, if it has one, for `tokens` in all: without what it was charged before.
    pub fn charge_total(&self, tokens: u64) {
        let before = self.0.charged.fetch_max(tokens, Ordering::Relaxed);
        if let Some(permit) = self.0.permit.get() {
            permit.charge(tokens.saturating_sub(before));
        }
    }

    #[cfg(test)]
    pub(crate) fn charged(&self) -> u64 {
        self.0.charged.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.permit.get().map(Permit::name)
    }

    /// As whom the request reads and writes the record: as the owner of its API key, or, on a server without keys, as
    /// somebody who sees everything.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        self.0.permit.get().map_or_else(Viewer::everybody, Permit::viewer)
    }

    pub(super) fn set_permit(&self, permit: Permit) {
        let _ = self.0.permit.set(permit);
    }

    fn model(&self) -> &str {
        self.0.model.get().map_or("", String::as_str)
    }
}

/// Assigns request ids and counts requests.
#[derive(Debug)]
pub(super) struct Observer {
    metrics: Arc<Metrics>,
    count: AtomicU64,
    /// Randomly seeded in each process, so that two processes do not produce the same ids.
    random: RandomState,
}

impl Observer {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, count: AtomicU64::new(0), random: RandomState::new() }
    }

    /// The client's `x-request-id` if it is valid, otherwise a new one.
    fn id(&self, headers: &HeaderMap) -> String {
        let is_valid = |id: &&str| {
            (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let from_client = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_valid);
        from_client.map_or_else(
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
    let mut entry = AccessLogEntry::begin(&observer, &request);
    request.extensions_mut().insert(entry.context.clone());
    // If the client leaves now, `entry` is dropped during this wait, and logged.
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::from_str(entry.context.id()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let (ignored, substitute) = (entry.context.ignored_names(), entry.context.0.substitute.get().cloned());
    for (name, value) in [(IGNORED, ignored), (MODEL, substitute)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    entry.status = Some(response.status().as_u16());
    // The body of a response to HEAD is never read.
    entry.is_complete = entry.method == "HEAD";
    entry.error = response.extensions().get::<ErrorKind>().copied();
    response.map(|body| Body::new(ObservedBody { body, entry }))
}

/// The access log's line for a request. Dropping it writes the line and ends the request in metrics and traces.
#[derive(Debug)]
struct AccessLogEntry {
    metrics: Arc<Metrics>,
    context: RequestContext,
    span: RequestSpan,
    method: &'static str,
    route: String,
    began: Instant,
    /// `None` until the response is ready.
    status: Option<u16>,
    error: Option<ErrorKind>,
    /// Whether the whole response was read.
    is_complete: bool,
}

impl AccessLogEntry {
    fn begin(observer: &Observer, request: &Request) -> Self {
        observer.metrics.request_began();
        let id = observer.id(request.headers());
        let method = known_method(request.method());
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let span = RequestSpan::begin(RequestStart {
            method,
            route,
            path: request.uri().path(),
            id: &id,
            headers: request.headers(),
        });
        Self {
            metrics: Arc::clone(&observer.metrics),
            context: RequestContext::new(id, span.as_parent()),
            span,
            method,
            // An unknown path must not become a label of the metrics.
            route: route.unwrap_or("unknown").to_owned(),
            began: Instant::now(),
            status: None,
            error: None,
            is_complete: false,
        }
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let model = self.context.model();
        let record = &self.context.0;
        let error = self.error.map(|ErrorKind(kind)| kind);
        let stream_error = record.stream_error.get().copied();
        let disconnected = (!self.is_complete).then_some(CLIENT_LEFT_ERROR);
        self.span.end(RequestEnd {
            status: self.status,
            error: error.or(stream_error).or(disconnected),
            is_stream_error: stream_error.is_some(),
            model: record.model.get().map(String::as_str),
            first_token: record.first_token.get().copied(),
            usage: record.usage.get().copied(),
        });
        let status = self.status.filter(|_| self.is_complete).unwrap_or(CLIENT_LEFT);
        self.metrics.request_ended(self.method, &self.route, status, took);
        if !self.is_complete {
            self.metrics.cancelled(model);
        }
        if let Some(kind) = error {
            self.metrics.error(model, kind);
        }
        tracing::info!(
            id = self.context.id(),
            method = self.method,
            route = self.route,
            status,
            ms = took.as_secs_f64() * 1e3,
            key = self.context.key(),
            model = (!model.is_empty()).then_some(model),
            error = error.or(stream_error),
            ignored = self.context.ignored_names(),
            "request"
        );
    }
}

/// Maps unknown methods to one name, since clients may invent them and metrics keep every label.
fn known_method(method: &Method) -> &'static str {
    let known = ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// A response body that records whether it was read to its end.
struct ObservedBody {
    body: Body,
    entry: AccessLogEntry,
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // A failing body is the server's fault and does not count as a client that left.
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.entry.is_complete = true;
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

impl Drop for ObservedBody {
    fn drop(&mut self) {
        // If the length is known, the body is not polled again after its last frame.
        self.entry.is_complete |= self.body.is_end_stream();
    }
}

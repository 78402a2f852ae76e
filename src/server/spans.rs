//! What traces tell of requests and runs: times, names and numbers, by OpenTelemetry's conventions for HTTP servers and
//! generative models; never what was asked or answered.
//!
//! They are spans of `tracing` under a target of their own, which the log leaves out. Where they go is known in `otlp`
//! alone, which is there with the feature `otel`; without it, or when nobody asked for traces, they cost nothing.

#[cfg(not(feature = "otel"))]
mod none;
#[cfg(feature = "otel")]
mod otlp;
mod run;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderMap;
use tracing::Span;
use tracing::field::Empty;

#[cfg(not(feature = "otel"))]
pub use none::{Export, Parent};
#[cfg(feature = "otel")]
pub use otlp::{Export, Parent};
pub use run::followed;

use super::answer::Spent;

/// Target of every span that is for a trace.
pub const TARGET: &str = "otel";
/// The conventions want to know whose models these are.
const PROVIDER: &str = "bandmaster";
/// Of a path, which anybody may make as long as a head may be.
const PATH_CHARS_MAX: usize = 256;
/// What collectors listen at, below their address.
const TRACES_PATH: &str = "/v1/traces";

/// A collector of OpenTelemetry's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// With `/v1/traces`.
    url: String,
}

impl Endpoint {
    /// The collector at `url`, the address below which it listens: `http://127.0.0.1:4318`. With `offline`, only one on
    /// this machine.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(url: &str, offline: bool) -> Result<Self, String> {
        let wrong = |reason: &str| Err(format!("{url}: {reason}; expected e.g. http://127.0.0.1:4318"));
        let parsed = match reqwest::Url::parse(url) {
            Ok(parsed) => parsed,
            Err(error) => return wrong(&error.to_string()),
        };
        if !matches!(parsed.scheme(), "http" | "https") {
            return wrong("neither http nor https");
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err("a key belongs into OTEL_EXPORTER_OTLP_HEADERS, where no list shows it".to_owned());
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return wrong("it has a query or a fragment");
        }
        if offline && !parsed.host_str().is_some_and(is_here) {
            return Err(format!(
                "{url}: --offline forbids it; only a collector on this machine (127.0.0.1, localhost) may be told"
            ));
        }
        let base = url.trim_end_matches('/');
        Ok(Self { url: format!("{}{TRACES_PATH}", base.strip_suffix(TRACES_PATH).unwrap_or(base)) })
    }

    /// Where spans are sent.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn is_here(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// A request's span; it ends when this is dropped.
#[derive(Debug)]
pub struct RequestSpan(Span);

/// What is known of a request when it comes.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `GET` and the like; `other` for one that nobody knows.
    pub method: &'static str,
    /// The pattern of its path, where there is one.
    pub route: Option<&'a str>,
    /// Its path, without what stands behind a `?`.
    pub path: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Its headers; `traceparent` says whose part it is.
    pub headers: &'a HeaderMap,
}

/// What is known of it at its end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told<'a> {
    /// What was answered; none where nobody waited for it.
    pub status: Option<u16>,
    /// One of a few words for what went wrong.
    pub error: Option<&'static str>,
    /// Whether the answer broke after its status was sent.
    pub broke: bool,
    /// The model that answered.
    pub model: Option<&'a str>,
    /// When its first token was there, after the request came.
    pub first_token: Option<Duration>,
    /// Its tokens.
    pub spent: Option<Spent>,
}

impl RequestSpan {
    /// Begins now.
    #[must_use]
    pub fn begin(asked: Asked<'_>) -> Self {
        let method = if asked.method == "other" { "_OTHER" } else { asked.method };
        let operation = asked.route.and_then(operation);
        let span = tracing::info_span!(
            target: TARGET,
            parent: None,
            "request",
            otel.name = name(method, asked.route),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = asked.route,
            http.response.status_code = Empty,
            url.scheme = "http",
            url.path = beginning(asked.path),
            error.type = Empty,
            bandmaster.request.id = asked.id,
            gen_ai.operation.name = operation,
            gen_ai.provider.name = operation.map(|_| PROVIDER),
            gen_ai.request.model = Empty,
            gen_ai.response.time_to_first_chunk = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
        );
        if !span.is_disabled() {
            Parent::told(asked.headers).adopt(&span);
        }
        Self(span)
    }

    /// For spans below it, also when they outlive it.
    #[must_use]
    pub fn as_parent(&self) -> Parent {
        Parent::of(&self.0)
    }

    /// Writes down how it ended.
    pub fn end(&self, told: Told<'_>) {
        let span = &self.0;
        if span.is_disabled() {
            return;
        }
        span.record("http.response.status_code", told.status.map(i64::from));
        span.record("error.type", told.error);
        // A client's mistake is no error of this server's.
        let failed = told.broke || told.status.is_some_and(|status| status >= 500);
        span.record("otel.status_code", failed.then_some("error"));
        span.record("gen_ai.request.model", told.model);
        let first = told.first_token.map(|after| after.as_secs_f64());
        span.record("gen_ai.response.time_to_first_chunk", first);
        if let Some(spent) = told.spent {
            record_tokens(span, spent.prompt_tokens, spent.cached_tokens, spent.completion_tokens);
        }
    }
}

fn record_tokens(span: &Span, prompt: u64, cached: u64, completion: u64) {
    // Other integers would become text.
    let whole = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    span.record("gen_ai.usage.input_tokens", whole(prompt));
    span.record("gen_ai.usage.output_tokens", whole(completion));
    span.record("gen_ai.usage.cache_read.input_tokens", whole(cached));
}

fn name(method: &str, route: Option<&str>) -> String {
    let method = if method == "_OTHER" { "HTTP" } else { method };
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// What a route does, in the conventions' words.
fn operation(route: &str) -> Option<&'static str> {
    match route {
        "/v1/chat/completions" | "/v1/responses" => Some("chat"),
        "/v1/completions" => Some("text_completion"),
        "/v1/embeddings" => Some("embeddings"),
        _ => None,
    }
}

fn beginning(path: &str) -> &str {
    path.char_indices().nth(PATH_CHARS_MAX).map_or(path, |(at, _)| &path[..at])
}

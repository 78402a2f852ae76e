//! Traces of requests and runs: times, names and numbers, by OpenTelemetry's semantic conventions for HTTP servers and
//! generative AI. They never contain prompts or answers.
//!
//! The spans are `tracing` spans with a target of their own, which the log leaves out. Only `otlp`, compiled with the
//! feature `otel`, knows where they are sent. Without it, or without an endpoint for traces, they cost nothing.

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
pub use none::{SpanExport, SpanParent};
#[cfg(feature = "otel")]
pub use otlp::{SpanExport, SpanParent};
pub use run::traced;

use super::usage::Usage;

/// Target of all spans that are exported.
pub const SPAN_TARGET: &str = "otel";
/// Value of `gen_ai.provider.name`.
const PROVIDER: &str = "bandmaster";
/// Paths are cut to this many characters, since a client may send very long ones.
const PATH_CHARS_MAX: usize = 256;
/// Path of the OTLP endpoint, below a collector's address.
const TRACES_PATH: &str = "/v1/traces";

/// The address of an OpenTelemetry collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// Ends in `/v1/traces`.
    url: String,
}

impl OtlpEndpoint {
    /// `url` is the collector's base address, e.g. `http://127.0.0.1:4318`, with or without `/v1/traces`. With
    /// `offline`, it must be on this machine.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the address.
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
            return Err(
                "put the key into OTEL_EXPORTER_OTLP_HEADERS, because process lists show the URL".to_owned()
            );
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return wrong("it has a query or a fragment");
        }
        if offline && !parsed.host_str().is_some_and(is_loopback) {
            return Err(format!(
                "{url}: --offline forbids it; only a collector on this machine (127.0.0.1, localhost) is allowed"
            ));
        }
        let base = url.trim_end_matches('/');
        Ok(Self { url: format!("{}{TRACES_PATH}", base.strip_suffix(TRACES_PATH).unwrap_or(base)) })
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[derive(Debug)]
pub(crate) struct RequestSpan(Span);

/// What is known of a request when it arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestStart<'a> {
    /// `GET` and the like; `other` for an unknown method.
    pub method: &'static str,
    /// The pattern of the matched route; `None` if no route matched.
    pub route: Option<&'a str>,
    /// The path without the query.
    pub path: &'a str,
    pub id: &'a str,
    /// The headers; `traceparent` names the parent span.
    pub headers: &'a HeaderMap,
}

/// What is known of a request at its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestEnd<'a> {
    /// The response's status; `None` if the client left before it.
    pub status: Option<u16>,
    /// Value of `error.type`, one of a small fixed set.
    pub error: Option<&'static str>,
    /// Whether the response failed after its status was sent.
    pub is_stream_error: bool,
    pub model: Option<&'a str>,
    /// Time from the request's arrival to the first token.
    pub first_token: Option<Duration>,
    pub usage: Option<Usage>,
}

impl RequestSpan {
    #[must_use]
    pub(crate) fn begin(start: RequestStart<'_>) -> Self {
        let method = if start.method == "other" { "_OTHER" } else { start.method };
        let operation = start.route.and_then(operation);
        let span = tracing::info_span!(
            target: SPAN_TARGET,
            parent: None,
            "request",
            otel.name = name(method, start.route),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = start.route,
            http.response.status_code = Empty,
            url.scheme = "http",
            url.path = truncated(start.path),
            error.type = Empty,
            bandmaster.request.id = start.id,
            gen_ai.operation.name = operation,
            gen_ai.provider.name = operation.map(|_| PROVIDER),
            gen_ai.request.model = Empty,
            gen_ai.response.time_to_first_chunk = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
        );
        if !span.is_disabled() {
            SpanParent::from_headers(start.headers).adopt(&span);
        }
        Self(span)
    }

    /// The parent for spans below this one, which may outlive it.
    #[must_use]
    pub(crate) fn as_parent(&self) -> SpanParent {
        SpanParent::of(&self.0)
    }

    pub(crate) fn end(&self, end: RequestEnd<'_>) {
        let span = &self.0;
        if span.is_disabled() {
            return;
        }
        span.record("http.response.status_code", end.status.map(i64::from));
        span.record("error.type", end.error);
        // By the conventions, a client's error (4xx) is no error of a server span.
        let failed = end.is_stream_error || end.status.is_some_and(|status| status >= 500);
        span.record("otel.status_code", failed.then_some("error"));
        span.record("gen_ai.request.model", end.model);
        let first = end.first_token.map(|after| after.as_secs_f64());
        span.record("gen_ai.response.time_to_first_chunk", first);
        if let Some(usage) = end.usage {
            record_usage(span, usage);
        }
    }
}

fn record_usage(span: &Span, usage: Usage) {
    // Other integer types would be exported as strings.
    let whole = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    span.record("gen_ai.usage.input_tokens", whole(usage.prompt_tokens));
    span.record("gen_ai.usage.output_tokens", whole(usage.completion_tokens));
    span.record("gen_ai.usage.cache_read.input_tokens", whole(usage.cached_tokens));
}

fn name(method: &str, route: Option<&str>) -> String {
    let method = if method == "_OTHER" { "HTTP" } else { method };
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// Value of `gen_ai.operation.name` for a route.
fn operation(route: &str) -> Option<&'static str> {
    match route {
        "/v1/chat/completions" | "/v1/responses" => Some("chat"),
        "/v1/completions" => Some("text_completion"),
        "/v1/embeddings" => Some("embeddings"),
        _ => None,
    }
}

fn truncated(path: &str) -> &str {
    path.char_indices().nth(PATH_CHARS_MAX).map_or(path, |(at, _)| &path[..at])
}

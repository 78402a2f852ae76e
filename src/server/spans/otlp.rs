//! Exports spans to a collector: OTLP over HTTP in batches, from its own thread. Their content is not known here.
//!
//! Requests never wait for the collector. Spans that it does not accept are dropped, which the log says once; so are
//! spans that do not fit into the queue (2,048 spans). OpenTelemetry's environment variables configure the rest:
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use super::{OtlpEndpoint, SPAN_TARGET};

/// A batch that the collector does not accept within this time is lost.
const SEND_TIME_MAX: Duration = Duration::from_secs(10);
const SERVICE: &str = "bandmaster";

/// Time for the last spans, even if the server's drain time is used up: they include the answers that were cut.
const LAST_SPANS_TIME_MIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct SpanExport {
    provider: SdkTracerProvider,
}

impl SpanExport {
    /// Starts exporting; the collector need not be running yet. The HTTP client blocks, so not for async tasks.
    ///
    /// # Errors
    /// A sentence if the machine's certificates can't be read or OpenTelemetry's variables are invalid.
    pub fn start(endpoint: &OtlpEndpoint) -> Result<Self, String> {
        // Fails if a provider is installed already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Spans go to no other address than the given one: no proxy, no redirect.
        let client = reqwest::blocking::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SEND_TIME_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.url())
            .with_timeout(SEND_TIME_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        let exporter = Sender { exporter, url: endpoint.url().to_owned(), lost: AtomicUsize::new(0) };
        let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| SERVICE.to_owned());
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(name).with_attribute(version).build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { provider })
    }

    /// The layer that collects the spans of [`SPAN_TARGET`] only: other spans, and events, could contain user data.
    #[must_use]
    pub fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == SPAN_TARGET))
            .boxed()
    }

    /// Sends the remaining spans, for at most `time_max` or a second, whichever is more.
    pub fn end(self, time_max: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(time_max.max(LAST_SPANS_TIME_MIN)) {
            tracing::warn!("the last spans were not sent: {error}");
        }
    }
}

/// Sends batches. Logs when that starts to fail and when it works again, not every failure.
#[derive(Debug)]
struct Sender {
    exporter: opentelemetry_otlp::SpanExporter,
    url: String,
    /// Spans lost since the last successful batch.
    lost: AtomicUsize,
}

impl SpanExporter for Sender {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) => match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => tracing::info!("{} accepts spans again; {lost} were lost", self.url),
            },
            Err(error) => {
                if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 {
                    let url = &self.url;
                    tracing::warn!(
                        "{url} does not accept spans: {error}; they are dropped until it does; requests are not affected"
                    );
                }
            }
        }
        // Logged above; the batch processor would log an error for every batch.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        match self.lost.load(Ordering::Relaxed) {
            0 => {}
            lost => tracing::warn!("{} did not accept the last {lost} spans", self.url),
        }
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// A span context, to which child spans are attached.
#[derive(Debug, Clone)]
pub struct SpanParent(Context);

impl SpanParent {
    /// The parent that `traceparent` and `tracestate` name; without them, a new trace begins.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self(TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers)))
    }

    /// The context of `span`. This assigns the span its id.
    #[must_use]
    pub fn of(span: &Span) -> Self {
        Self(span.context())
    }

    /// Makes a span that was just created a child of this one.
    pub fn adopt(&self, child: &Span) {
        // Fails if no exporter is installed.
        let _ = child.set_parent(self.0.clone());
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|key| key.as_str()).collect()
    }
}

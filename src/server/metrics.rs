//! Metrics of the endpoint and of the engine, as OpenMetrics text.
//!
//! Names carry units, counters end in `_total`. Who reads them, and when, is not known here.

mod engine;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bandmaster_text::EngineStats;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::usage::Usage;

/// `Content-Type` of [`Metrics::render`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PREFIX: &str = "bandmaster";

/// Bounds of the histograms of waiting times (time to first token, time in the queue), in seconds.
const WAIT_BOUNDS_S: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Bounds of the histogram of the time between two tokens of an answer, in seconds.
const TOKEN_GAP_BOUNDS_S: [f64; 12] = [0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0];
/// Bounds of the histograms of whole requests and answers, in seconds.
const DURATION_BOUNDS_S: [f64; 14] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1200.0];

type Labels<const N: usize> = [(&'static str, String); N];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    in_flight: Gauge,
    requests: Family<Labels<3>, Counter>,
    request_time: Histograms<2>,
    first_token: Histograms<1>,
    between_tokens: Histograms<1>,
    end_to_end: Histograms<1>,
    queue: Histograms<1>,
    prompt_tokens: Family<Labels<1>, Counter>,
    cached_tokens: Family<Labels<1>, Counter>,
    completion_tokens: Family<Labels<1>, Counter>,
    errors: Family<Labels<2>, Counter>,
    cancelled: Family<Labels<1>, Counter>,
}

/// The metrics of one model, looked up once for a request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    first_token: Histogram,
    between_tokens: Histogram,
    end_to_end: Histogram,
    queue: Histogram,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    completion_tokens: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn wait_histogram() -> Histogram {
    Histogram::new(WAIT_BOUNDS_S)
}

fn token_gap_histogram() -> Histogram {
    Histogram::new(TOKEN_GAP_BOUNDS_S)
}

fn duration_histogram() -> Histogram {
    Histogram::new(DURATION_BOUNDS_S)
}

fn histograms<const N: usize>(make: fn() -> Histogram) -> Histograms<N> {
    Family::new_with_constructor(make)
}

fn model_label(model: &str) -> Labels<1> {
    [("model", model.to_owned())]
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            in_flight: Gauge::default(),
            requests: Family::default(),
            request_time: histograms(duration_histogram),
            first_token: histograms(wait_histogram),
            between_tokens: histograms(token_gap_histogram),
            end_to_end: histograms(duration_histogram),
            queue: histograms(wait_histogram),
            prompt_tokens: Family::default(),
            cached_tokens: Family::default(),
            completion_tokens: Family::default(),
            errors: Family::default(),
            cancelled: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let times = [
            ("time_to_first_token", "From a request's arrival to its first token", &self.first_token),
            ("time_between_tokens", "From one token to the next of the same answer", &self.between_tokens),
            ("request_duration", "From a request's arrival to its last token", &self.end_to_end),
            ("queue_time", "From a request's arrival to its first step", &self.queue),
        ];
        for (name, help, family) in times {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
        let tokens = [
            ("prompt", "Prompt tokens", &self.prompt_tokens),
            ("cached_prompt", "Prompt tokens found in the prefix cache", &self.cached_tokens),
            ("completion", "Generated tokens", &self.completion_tokens),
        ];
        for (name, help, family) in tokens {
            registry.register_with_unit(name, help, Unit::Other("tokens".to_owned()), family.clone());
        }
        registry.register("errors", "Failed requests, by kind of error", self.errors.clone());
        let cancelled = self.cancelled.clone();
        registry.register("cancelled_requests", "Requests whose client left before the end", cancelled);
        registry.register("http_requests", "Requests that were answered", self.requests.clone());
        let in_flight = self.in_flight.clone();
        registry.register("http_requests_in_flight", "Requests that are being answered", in_flight);
        registry.register_with_unit(
            "http_request_duration",
            "From a request's arrival to its answer's last byte",
            Unit::Seconds,
            self.request_time.clone(),
        );
    }

    pub fn request_began(&self) {
        self.in_flight.inc();
    }

    /// Counts a request's end. `route` is a pattern such as `/v1/models/{id}`, never the client's path; status 499
    /// means that the client left.
    pub fn request_ended(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.in_flight.dec();
        let labels = [("method", method.to_owned()), ("route", route.to_owned())];
        self.request_time.get_or_create(&labels).observe(took.as_secs_f64());
        let [method, route] = labels;
        self.requests.get_or_create(&[method, route, ("status", status.to_string())]).inc();
    }

    /// The metrics of a model. Only for names of existing models, because every name is kept until the process ends.
    #[must_use]
    pub fn model(&self, model: &str) -> ModelMetrics {
        let labels = model_label(model);
        ModelMetrics {
            first_token: self.first_token.get_or_create_owned(&labels),
            between_tokens: self.between_tokens.get_or_create_owned(&labels),
            end_to_end: self.end_to_end.get_or_create_owned(&labels),
            queue: self.queue.get_or_create_owned(&labels),
            prompt_tokens: self.prompt_tokens.get_or_create_owned(&labels),
            cached_tokens: self.cached_tokens.get_or_create_owned(&labels),
            completion_tokens: self.completion_tokens.get_or_create_owned(&labels),
        }
    }

    /// Counts a failed request. `model` is empty if none was found; `kind` is one of a small fixed set.
    pub fn error(&self, model: &str, kind: &str) {
        let [model] = model_label(model);
        self.errors.get_or_create(&[model, ("kind", kind.to_owned())]).inc();
    }

    /// Counts a request whose client left before the end. `model` is empty if none was found.
    pub fn cancelled(&self, model: &str) {
        self.cancelled.get_or_create(&model_label(model)).inc();
    }

    /// All metrics as OpenMetrics text, including the engine's; to be sent as `CONTENT_TYPE`.
    #[must_use]
    pub fn render(&self, stats: &EngineStats) -> String {
        let mut engine = Registry::with_prefix(PREFIX);
        engine.register_collector(Box::new(engine::EngineCollector(stats.clone())));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &engine))
            .and_then(|()| encode_eof(&mut text))
            .expect("a string takes everything");
        text
    }
}

impl ModelMetrics {
    /// Records the time from a request's arrival to its first step in the engine.
    pub fn queued(&self, waited: Duration) {
        self.queue.observe(waited.as_secs_f64());
    }

    pub fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    pub fn next_token(&self, after: Duration) {
        self.between_tokens.observe(after.as_secs_f64());
    }

    /// Records the time from a request's arrival to its last token, and its usage.
    pub fn ended(&self, after: Duration, usage: Usage) {
        self.end_to_end.observe(after.as_secs_f64());
        self.prompt_tokens.inc_by(usage.prompt_tokens);
        self.cached_tokens.inc_by(usage.cached_tokens);
        self.completion_tokens.inc_by(usage.completion_tokens);
    }
}

//! Stands in for `otlp` in a build without the feature `otel`: no spans are exported, and asking for it is an error
//! that says which build can.

use std::time::Duration;

use axum::http::HeaderMap;
use tracing::Span;
use tracing_subscriber::{Layer, Registry};

use super::OtlpEndpoint;

/// Has no values: [`SpanExport::start`] always fails.
#[derive(Debug)]
pub enum SpanExport {}

impl SpanExport {
    /// # Errors
    /// Always.
    pub fn start(_: &OtlpEndpoint) -> Result<Self, String> {
        Err("traces can't be sent by this build: make one with `cargo build --release --features otel`"
            .to_owned())
    }

    #[must_use]
    pub fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        match *self {}
    }

    pub fn end(self, _: Duration) {
        match self {}
    }
}

#[derive(Debug, Clone)]
pub struct SpanParent;

impl SpanParent {
    #[must_use]
    pub fn from_headers(_: &HeaderMap) -> Self {
        Self
    }

    #[must_use]
    pub fn of(_: &Span) -> Self {
        Self
    }

    pub fn adopt(&self, _: &Span) {}
}

//! A request body with a timeout: a client that stops sending would hold a connection and a handler for nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::slots::{Connection, ConnectionState};

/// Fails when the next part doesn't arrive within the timeout.
pub(super) struct RequestBody {
    body: Incoming,
    timeout: Duration,
    /// Set while waiting for a part.
    timer: Option<Pin<Box<Sleep>>>,
    connection: Arc<Connection>,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, timeout: Duration, connection: Arc<Connection>) -> Self {
        Self { body, timeout, timer: None, connection }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.timer = None;
            if frame.is_none() || this.body.is_end_stream() {
                this.connection.set_state(ConnectionState::Answer);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let timeout = this.timeout;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        timer.as_mut().poll(context).map(|()| {
            Some(Err(format!(
                "the request's body stopped: nothing was received for {} s",
                timeout.as_secs_f64()
            )
            .into()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! A connection with a write timeout: a client that stops reading would hold an answer, its place and its cache for
//! nothing. What is sent is not known here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::places::Guest;

/// Fails when nothing could be written for longer than the timeout.
pub(super) struct Taken<S> {
    stream: S,
    /// `None` waits without limit.
    timeout: Option<Duration>,
    /// Set while a write is pending.
    waiting: Option<Pin<Box<Sleep>>>,
    guest: Arc<Guest>,
}

impl<S> Taken<S> {
    pub(super) fn new(stream: S, timeout: Option<Duration>, guest: Arc<Guest>) -> Self {
        Self { stream, timeout, waiting: None, guest }
    }

    /// Passes on the outcome of a write, or fails when writes have been pending for too long.
    fn in_time(
        &mut self,
        context: &mut Context<'_>,
        sent: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Some(timeout) = self.timeout.filter(|_| sent.is_pending()) else {
            if self.waiting.take().is_some() {
                self.guest.takes(true);
            }
            return sent;
        };
        let guest = &self.guest;
        let waiting = self.waiting.get_or_insert_with(|| {
            guest.takes(false);
            Box::pin(sleep(timeout))
        });
        waiting.as_mut().poll(context).map(|()| {
            let message = format!("the client read nothing for {} s", timeout.as_secs_f64());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, bytes)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.in_time(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! A connection whose client must take what is sent to it: who stops reading holds an answer, its place and its cache for
//! nothing. What is sent is not known here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::places::Guest;

/// Breaks when nothing of what is to be sent can be sent for too long.
pub(super) struct Taken<S> {
    stream: S,
    /// For ever where there is none.
    timeout: Option<Duration>,
    /// Runs while the client takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Whose connection it is.
    guest: Arc<Guest>,
}

impl<S> Taken<S> {
    pub(super) fn new(stream: S, timeout: Option<Duration>, guest: Arc<Guest>) -> Self {
        Self { stream, timeout, waiting: None, guest }
    }

    /// The same outcome, or an error when it has been pending for too long.
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
            let message = format!("the client took nothing for {} s", timeout.as_secs_f64());
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

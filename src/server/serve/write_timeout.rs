//! A connection with a write timeout: a client that stops reading would hold an answer, its slot and its cache for
//! nothing. What is sent is not known here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::slots::Connection;

/// Fails when nothing could be written for longer than the timeout.
pub(super) struct WriteTimeout<S> {
    stream: S,
    /// `None` waits without limit.
    timeout: Option<Duration>,
    /// Set while a write is pending.
    timer: Option<Pin<Box<Sleep>>>,
    connection: Arc<Connection>,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(stream: S, timeout: Option<Duration>, connection: Arc<Connection>) -> Self {
        Self { stream, timeout, timer: None, connection }
    }

    /// Passes on the outcome of a write, or fails when writes have been pending for too long.
    fn with_timeout(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Some(timeout) = self.timeout.filter(|_| written.is_pending()) else {
            if self.timer.take().is_some() {
                self.connection.set_reading(true);
            }
            return written;
        };
        let connection = &self.connection;
        let timer = self.timer.get_or_insert_with(|| {
            connection.set_reading(false);
            Box::pin(sleep(timeout))
        });
        timer.as_mut().poll(context).map(|()| {
            let message = format!("the client read nothing for {} s", timeout.as_secs_f64());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, bytes)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.with_timeout(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.with_timeout(context, written)
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

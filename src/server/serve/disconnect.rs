//! Distinguishes a client that has disconnected from one that only closed its sending side (`nc -N`, some proxies) and
//! still reads its answer: on the connection both look the same. The content of requests is not known here.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::slots::Connection;

/// How often to check whether a client that is being answered is still connected.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// How long to wait for a client to read the end of its answer and close.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Most bytes to discard that the client still sends in that time.
const LINGER_BYTES_MAX: usize = 1 << 20;
/// A probe: a client that waits for its answer ignores it; the system of one that has left replies with a reset.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connected socket, used through shared references.
pub(super) trait Socket: Send + Sync + Unpin + 'static {
    /// Whether the kernel reports a closed peer without anything being sent to it.
    const REPORTS_CLOSED_PEER: bool;

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn try_read_buf(&self, bytes: &mut ReadBuf<'_>) -> io::Result<usize>;
    fn try_write_vectored(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize>;
    /// The readiness as the runtime knows it now, without waiting.
    fn readiness(&self) -> Ready;
    fn end_writing(&self) -> io::Result<()>;
}

macro_rules! socket {
    ($stream:ty, $reports:expr) => {
        impl Socket for $stream {
            const REPORTS_CLOSED_PEER: bool = $reports;

            fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_read_ready(context)
            }

            fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_ready(context)
            }

            fn try_read_buf(&self, bytes: &mut ReadBuf<'_>) -> io::Result<usize> {
                self.try_read_buf(bytes)
            }

            fn try_write_vectored(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
                self.try_write_vectored(bytes)
            }

            fn readiness(&self) -> Ready {
                let now = self.ready(Interest::READABLE | Interest::WRITABLE).now_or_never();
                now.and_then(Result::ok).unwrap_or(Ready::EMPTY)
            }

            fn end_writing(&self) -> io::Result<()> {
                SockRef::from(self).shutdown(Shutdown::Write)
            }
        }
    };
}

socket!(TcpStream, false);
#[cfg(unix)]
socket!(tokio::net::UnixStream, true);

/// A socket that the connection reads and writes while [`SharedSocket::disconnected`] watches it.
pub(super) struct SharedSocket<S>(Arc<Inner<S>>);

struct Inner<S> {
    socket: S,
    /// Whether the last write is pending, so that part of an answer is still unsent.
    write_pending: AtomicBool,
}

impl<S> Clone for SharedSocket<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Socket> SharedSocket<S> {
    pub(super) fn new(socket: S) -> Self {
        Self(Arc::new(Inner { socket, write_pending: AtomicBool::new(false) }))
    }

    fn write(&self, context: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Inner { socket, write_pending } = &*self.0;
        loop {
            let writable = socket.poll_write_ready(context);
            write_pending.store(writable.is_pending(), Ordering::Relaxed);
            ready!(writable)?;
            match socket.try_write_vectored(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Ends the answer and waits for the client to close. Closing a socket with unread input resets the connection, and
    /// the client could then lose the part of its answer that it has not read yet.
    pub(super) async fn linger(&self) {
        if self.0.socket.end_writing().is_ok() {
            let _ = tokio::time::timeout(LINGER_MAX, self.discard_input()).await;
        }
    }

    async fn discard_input(&self) {
        let socket = &self.0.socket;
        let mut rest = LINGER_BYTES_MAX;
        let mut bytes = [0; 4096];
        while rest > 0 && poll_fn(|context| socket.poll_read_ready(context)).await.is_ok() {
            match socket.try_read_buf(&mut ReadBuf::new(&mut bytes)) {
                Ok(0) => return,
                Ok(read) => rest = rest.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Waits until the client has left while a request of it is open.
    pub(super) async fn disconnected(&self, request: &RequestState, connection: &Connection) {
        loop {
            // Between requests, a client that leaves is noticed by the read of the next request.
            if connection.has_no_request() {
                request.arrived.notified().await;
            }
            tokio::time::sleep(CHECK_EVERY).await;
            let Inner { socket, write_pending } = &*self.0;
            let readiness = socket.readiness();
            if readiness.is_write_closed() {
                return;
            }
            // If a write is pending, it fails by itself once the client has left.
            if !readiness.is_read_closed()
                || S::REPORTS_CLOSED_PEER
                || write_pending.load(Ordering::Relaxed)
                || connection.has_no_request()
            {
                continue;
            }
            if !request.unanswered.load(Ordering::Relaxed) {
                // The response has begun, so no probe can be sent in the middle of it.
                return;
            }
            if !request.mark_probed() {
                continue;
            }
            let written = if request.is_http_1_0() {
                Ok(0)
            } else {
                socket.try_write_vectored(&[IoSlice::new(CONTINUE)])
            };
            match written {
                Ok(bytes) if bytes == CONTINUE.len() => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An HTTP/1.0 client would take the probe for the answer.
                _ => return,
            }
        }
    }
}

impl<S: Socket> AsyncRead for SharedSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &self.0.socket;
        loop {
            ready!(socket.poll_read_ready(context))?;
            match socket.try_read_buf(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl<S: Socket> AsyncWrite for SharedSocket<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: writes are not buffered, and [`SharedSocket::linger`] closes the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The state of the current request on a connection.
#[derive(Debug, Default)]
pub(super) struct RequestState {
    arrived: Notify,
    /// The request has arrived and its response has not begun.
    unanswered: AtomicBool,
    /// The client speaks HTTP/1.0, which has no `100 Continue`.
    is_http10: AtomicBool,
    /// The probe was already sent for this request.
    probe_sent: AtomicBool,
}

impl RequestState {
    /// Called when a request's head was read.
    pub(super) fn begin(&self, version: hyper::Version) {
        self.is_http10.store(version < hyper::Version::HTTP_11, Ordering::Relaxed);
        self.probe_sent.store(false, Ordering::Relaxed);
        self.unanswered.store(true, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// Called when the response begins.
    pub(super) fn answered(&self) {
        self.unanswered.store(false, Ordering::Relaxed);
    }

    fn is_http_1_0(&self) -> bool {
        self.is_http10.load(Ordering::Relaxed)
    }

    /// Marks the probe as sent; true the first time for each request.
    fn mark_probed(&self) -> bool {
        !self.probe_sent.swap(true, Ordering::Relaxed)
    }
}

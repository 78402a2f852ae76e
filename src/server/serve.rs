//! Listening and shutting down: a TCP address for all clients, a private Unix socket for this program's own commands,
//! limits on connections and headers, and a graceful shutdown that lets running answers finish.
//!
//! The content of requests and responses is not known here.

mod disconnect;
mod request_body;
mod response_body;
mod slots;
#[cfg(unix)]
mod socket;
#[cfg(test)]
mod tests;
mod write_timeout;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use disconnect::{RequestState, SharedSocket, Socket};
use request_body::RequestBody;
use response_body::ResponseBody;
pub use slots::connections_within;
use slots::descriptors_needed;
pub(crate) use slots::{ClientAddress, Connection, ConnectionLimit};
use slots::{ConnectionState, Slot, Slots};
use write_timeout::WriteTimeout;

/// Most bytes of a request's first line and headers together; larger heads get 431.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Size of the TCP send buffer. Once it is full, unsent data waits in the response body, where a client that does not
/// read is noticed. Without this limit the kernel buffers megabytes for a client that reads nothing.
const SEND_BUFFER_BYTES: u32 = 256 << 10;
/// Connections that the kernel queues until they are accepted; large enough for a burst.
const BACKLOG: u32 = 1024;
/// First and longest pause after a failed accept; the pause doubles from one to the next.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Shortest time between two log lines about connections that can't be accepted.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// Time that a connection in the reserve has to send its request head.
const RESERVE_HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for connections to close after they were cut off.
const CUT_MAX: Duration = Duration::from_secs(1);

/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that accepts no bytes of its answer for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const HEADERS_MAX: usize = 100;

/// Where to listen, and the limits on connections.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The TCP address; port 0 picks a free port.
    pub address: SocketAddr,
    /// Path of the private Unix socket, if there is one. Ignored on other systems.
    pub socket: Option<PathBuf>,
    /// How long a connection may take to send a complete request head, and how long a body may stall between two parts.
    /// Also the time after which an idle connection is closed.
    pub header_timeout: Duration,
    /// How long a TCP client may read nothing of its response before it is disconnected and its request cancelled.
    /// There is no such limit on the Unix socket.
    pub write_timeout: Duration,
    /// Most headers in a request; more get 431.
    pub headers_max: usize,
    /// How long running requests may take to finish after shutdown was requested.
    pub drain_timeout: Duration,
    /// Most connections at a time, for TCP and the Unix socket separately. Beyond it, connections that are not being
    /// answered are closed to make room; if there are none, the new one gets an error.
    pub connections_max: usize,
    /// Most of them from one address. `None` means 256 for other machines and no limit for this one; 0 means no limit.
    pub per_address_max: Option<usize>,
}

impl Listen {
    /// The server's limits on single requests, for at most `connections_max` connections at `address`.
    #[must_use]
    pub fn new(address: SocketAddr, drain_timeout: Duration, connections_max: usize) -> Self {
        Self {
            address,
            socket: None,
            header_timeout: HEADER_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            headers_max: HEADERS_MAX,
            drain_timeout,
            connections_max,
            per_address_max: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{address} is taken: name another port with --port, or 0 for any that is free")]
    PortTaken { address: SocketAddr },
    #[error("{address} needs privileges: name a port from 1024 with --port")]
    NotAllowed { address: SocketAddr },
    #[error(
        "{address} is not an address of this machine: name one of its addresses with --host, such as 127.0.0.1"
    )]
    NotHere { address: SocketAddr },
    #[error("{address}: {problem}; --host and --port name another")]
    Address { address: SocketAddr, problem: String },
    #[error(
        "a server of this home is already running ({} is its socket): end it first, name another --home, or use --standalone",
        path.display()
    )]
    AlreadyServing { path: PathBuf },
    /// A file at the socket's path that is not a stale socket, or that can't be removed.
    #[error("{} exists and can't be replaced by the server's socket: move it away", path.display())]
    InTheWay { path: PathBuf },
    /// Most systems limit a socket's path to about 100 bytes.
    #[error(
        "{} is too long for a socket's path: name a shorter folder with --home, or use --standalone",
        path.display()
    )]
    SocketPathTooLong { path: PathBuf },
    #[error("{}: {problem}; --standalone needs no socket", path.display())]
    Socket { path: PathBuf, problem: String },
}

/// Where a request came from; found in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// Over the private Unix socket.
    Socket,
}

/// Tells streams that shutdown was requested, so that they can end properly.
#[derive(Debug, Clone)]
pub struct ShutdownSignal(watch::Receiver<bool>);

impl ShutdownSignal {
    /// The signal is set when the sender sends true or is dropped.
    #[must_use]
    pub fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until shutdown is requested.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        // An error means that the sender is gone, which also requests shutdown.
        let _ = receiver.wait_for(|is_set| *is_set).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections that did not end within the drain time and were cut off.
    pub cut: usize,
}

/// A listening server: connections wait until [`BoundServer::serve`]. Dropping it releases the address and the socket.
#[derive(Debug)]
pub struct BoundServer {
    tcp: TcpListener,
    address: SocketAddr,
    #[cfg(unix)]
    socket: Option<(tokio::net::UnixListener, socket::SocketFile)>,
    listen: Listen,
    start_drain: watch::Sender<bool>,
    signal: ShutdownSignal,
}

/// Listens on the address and the private socket.
///
/// # Errors
/// `ServeError` says what is taken or not allowed, and which flag chooses another.
pub async fn bind(listen: &Listen) -> Result<BoundServer, ServeError> {
    // The socket first: "a server is already running" helps more than "the port is taken".
    #[cfg(unix)]
    let socket = listen.socket.as_deref().map(socket::bind).transpose()?;
    let requested = listen.address;
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortTaken { address: requested },
        io::ErrorKind::PermissionDenied => ServeError::NotAllowed { address: requested },
        io::ErrorKind::AddrNotAvailable => ServeError::NotHere { address: requested },
        _ => ServeError::Address { address: requested, problem: error.to_string() },
    };
    let tcp = listen_on(requested).map_err(refused)?;
    let address = tcp.local_addr().map_err(refused)?;
    let (start_drain, signal) = ShutdownSignal::channel();
    let listen = listen.clone();
    #[cfg(unix)]
    return Ok(BoundServer { tcp, address, socket, listen, start_drain, signal });
    #[cfg(not(unix))]
    return Ok(BoundServer { tcp, address, listen, start_drain, signal });
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Lets a server start where one has just ended. On Windows the option would share the port of a running one.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit the listener's buffer size.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl BoundServer {
    /// The address, with the actual port if port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn shutdown_signal(&self) -> ShutdownSignal {
        self.signal.clone()
    }

    /// Serves `tcp` and `socket` until `shutdown` resolves. Then no connection is accepted any more, idle connections
    /// are closed, and running requests get the drain time before they are cut off.
    pub async fn serve(
        self,
        tcp: Router,
        socket: Router,
        shutdown: impl Future<Output = ()>,
    ) -> ShutdownReport {
        let tcp_listener = Listener::new(&self.listen, tcp, Some(self.listen.write_timeout));
        // A command on the socket may pause its output for as long as its user likes.
        let socket_listener = Listener::new(&self.listen, socket, None);
        let (cut, _) = watch::channel(());
        let graceful = GracefulShutdown::new();
        let accepting = async {
            let tcp = tcp_listener.accept(&self.tcp, &graceful, &cut);
            #[cfg(unix)]
            if let Some((listener, _)) = &self.socket {
                tokio::join!(tcp, socket_listener.accept(listener, &graceful, &cut));
                return;
            }
            tcp.await;
        };
        tokio::select! {
            () = accepting => {}
            () = shutdown => {}
        }
        // New connections are refused from here on. The socket's file is removed last, when another server may start.
        drop(self.tcp);
        #[cfg(unix)]
        let _file = self.socket.map(|(_listener, file)| file);
        self.start_drain.send_replace(true);
        let mut ending = std::pin::pin!(graceful.shutdown());
        if tokio::time::timeout(self.listen.drain_timeout, &mut ending).await.is_ok() {
            return ShutdownReport { cut: 0 };
        }
        let open = tcp_listener.open() + socket_listener.open();
        cut.send_replace(());
        // Connections end at their next poll; one whose handler blocks its thread is not waited for.
        let _ = tokio::time::timeout(CUT_MAX, ending).await;
        ShutdownReport { cut: open }
    }
}

/// One listener, TCP or the socket: its connections are counted together and served alike.
struct Listener {
    router: Router,
    http: http1::Builder,
    /// Used for connections in the reserve: no keep-alive, and a shorter timeout for the head.
    reserve_http: http1::Builder,
    body_timeout: Duration,
    write_timeout: Option<Duration>,
    slots: Arc<Slots>,
    /// One permit for each connection that still holds a file descriptor.
    descriptors: Arc<Semaphore>,
}

impl Listener {
    fn new(listen: &Listen, router: Router, write_timeout: Option<Duration>) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(listen.header_timeout)
            .max_headers(listen.headers_max)
            // A client that has closed its sending side still gets its answer.
            .half_close(true)
            .max_header_size(HEAD_BYTES_MAX);
        let mut reserve_http = http.clone();
        reserve_http.keep_alive(false).header_read_timeout(listen.header_timeout.min(RESERVE_HEAD_TIMEOUT));
        let slots_max = listen.connections_max.clamp(1, Semaphore::MAX_PERMITS / 2);
        Self {
            router,
            http,
            reserve_http,
            body_timeout: listen.header_timeout,
            write_timeout,
            slots: Slots::new(slots_max, listen.per_address_max),
            descriptors: Arc::new(Semaphore::new(descriptors_needed(slots_max))),
        }
    }

    fn open(&self) -> usize {
        self.slots.open()
    }

    async fn accept<A: Accept>(&self, listener: &A, graceful: &GracefulShutdown, cut: &watch::Sender<()>) {
        let mut pause = BACKOFF.0;
        let mut warned: Option<Instant> = None;
        loop {
            let descriptor = Arc::clone(&self.descriptors).acquire_owned().await;
            let descriptor = descriptor.expect("nobody closes the semaphore");
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = BACKOFF.0;
                    let slot = self.slots.acquire(peer);
                    self.serve(stream, (slot, descriptor), graceful, cut);
                }
                // The client disconnected before it was accepted.
                Err(error) if is_client_gone(&error) => {}
                // Out of descriptors or memory: others must end first, and retrying at once would only burn time.
                Err(error) => {
                    let shed = self.slots.shed();
                    if warned.is_none_or(|when| when.elapsed() >= WARN_EVERY) {
                        warned = Some(Instant::now());
                        tracing::warn!(
                            %error,
                            idle_connection_closed = shed,
                            "connections can't be taken: raise the limit of open files (ulimit -n) or lower --max-connections"
                        );
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKOFF.1);
                }
            }
        }
    }

    fn serve<I>(
        &self,
        stream: I,
        held: (Slot, OwnedSemaphorePermit),
        graceful: &GracefulShutdown,
        cut: &watch::Sender<()>,
    ) where
        I: Socket,
    {
        let router = TowerToHyperService::new(self.router.clone());
        let timeout = self.body_timeout;
        let connection = Arc::clone(held.0.connection());
        let peer = connection.peer;
        let http = if connection.over_limit().is_some() { &self.reserve_http } else { &self.http };
        let request_state = Arc::new(RequestState::default());
        let (served, served_request) = (Arc::clone(&connection), Arc::clone(&request_state));
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let (connection, request_state) = (Arc::clone(&served), Arc::clone(&served_request));
            request_state.begin(request.version());
            let has_body = !request.body().is_end_stream();
            connection.set_state(if has_body { ConnectionState::Body } else { ConnectionState::Answer });
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(Arc::clone(&connection));
            let response =
                router.call(request.map(|body| RequestBody::new(body, timeout, Arc::clone(&connection))));
            async move {
                let response = response.await.unwrap_or_else(|never| match never {});
                request_state.answered();
                connection.set_state(ConnectionState::Answer);
                Ok::<_, Infallible>(response.map(|body| ResponseBody::new(body, connection)))
            }
        });
        let socket = SharedSocket::new(stream);
        let stream = WriteTimeout::new(socket.clone(), self.write_timeout, Arc::clone(&connection));
        let serving = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        let lingering = socket.clone();
        let serving = async move {
            let ended = serving.await;
            lingering.linger().await;
            ended
        };
        let mut cut = cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                ended = serving => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, ?peer, "connection ended early");
                    }
                }
                () = socket.disconnected(&request_state, &connection) => {
                    tracing::debug!(?peer, "the client left");
                }
                () = connection.evicted() => tracing::debug!(?peer, "connection closed: others need its place"),
                // Also resolves when the server was dropped.
                _ = cut.changed() => {}
            }
            drop(held);
        });
    }
}

fn is_client_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

trait Accept {
    type Stream: Socket;

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)>;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // Without this, a streamed token would wait for the next one. It fails only if the client has already left.
        let _ = stream.set_nodelay(true);
        Ok((stream, Peer::Tcp(address)))
    }
}

#[cfg(unix)]
impl Accept for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, _) = tokio::net::UnixListener::accept(self).await?;
        Ok((stream, Peer::Socket))
    }
}

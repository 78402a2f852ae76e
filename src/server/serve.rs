//! Listening and shutting down: a TCP address for all clients, a private Unix socket for this program's own commands,
//! limits on connections and headers, and a graceful shutdown that lets running answers finish.
//!
//! The content of requests and responses is not known here.

mod answered;
mod body;
mod left;
mod places;
#[cfg(unix)]
mod socket;
mod taken;
#[cfg(test)]
mod tests;

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

use left::{Shared, Socket};
pub use places::{Crowded, Guest, Who, descriptors};
use places::{Doing, Place, Places};

/// Most bytes of a request's first line and headers together; larger heads get 431.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Size of the TCP send buffer. Once it is full, unsent data waits in the response body, where a client that does not
/// read is noticed. Without this limit the kernel buffers megabytes for a client that reads nothing.
const UNTAKEN_BYTES_MAX: u32 = 256 << 10;
/// Connections that the kernel queues until they are accepted; large enough for a burst.
const BACKLOG: u32 = 1024;
/// First and longest pause after a failed accept; the pause doubles from one to the next.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Shortest time between two log lines about connections that can't be accepted.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);
/// Time that a connection in the reserve has to send its request head.
const CROWDED_HEAD_MAX: Duration = Duration::from_secs(2);
/// How long to wait for connections to close after they were cut off.
const CUT_MAX: Duration = Duration::from_secs(1);

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
    pub taking_timeout: Duration,
    /// Most headers in a request; more get 431.
    pub headers_max: usize,
    /// How long running requests may take to finish after shutdown was requested.
    pub drain: Duration,
    /// Most connections at a time, for TCP and the Unix socket separately. Beyond it, connections that are not being
    /// answered are closed to make room; if there are none, the new one gets an error.
    pub connections_max: usize,
    /// Most of them from one address. `None` means 256 for other machines and no limit for this one; 0 means no limit.
    pub per_address_max: Option<usize>,
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
pub struct Drain(watch::Receiver<bool>);

impl Drain {
    /// The drain begins when the sender sends true or is dropped.
    #[must_use]
    pub fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the drain begins.
    pub async fn begun(&self) {
        let mut receiver = self.0.clone();
        // An error means that the sender is gone, which also begins the drain.
        let _ = receiver.wait_for(|begun| *begun).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Connections that did not end within the drain time and were cut off.
    pub cut: usize,
}

/// A listening server: connections wait until [`Bound::serve`]. Dropping it releases the address and the socket.
#[derive(Debug)]
pub struct Bound {
    tcp: TcpListener,
    address: SocketAddr,
    #[cfg(unix)]
    socket: Option<(tokio::net::UnixListener, socket::SocketFile)>,
    listen: Listen,
    draining: watch::Sender<bool>,
    drain: Drain,
}

/// Listens on the address and the private socket.
///
/// # Errors
/// [`ServeError`] says what is taken or not allowed, and which flag chooses another.
pub async fn bind(listen: &Listen) -> Result<Bound, ServeError> {
    // The socket first: "a server is already running" helps more than "the port is taken".
    #[cfg(unix)]
    let socket = listen.socket.as_deref().map(socket::bind).transpose()?;
    let asked = listen.address;
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortTaken { address: asked },
        io::ErrorKind::PermissionDenied => ServeError::NotAllowed { address: asked },
        io::ErrorKind::AddrNotAvailable => ServeError::NotHere { address: asked },
        _ => ServeError::Address { address: asked, problem: error.to_string() },
    };
    let tcp = listen_on(asked).map_err(refused)?;
    let address = tcp.local_addr().map_err(refused)?;
    let (draining, drain) = Drain::channel();
    let listen = listen.clone();
    #[cfg(unix)]
    return Ok(Bound { tcp, address, socket, listen, draining, drain });
    #[cfg(not(unix))]
    return Ok(Bound { tcp, address, listen, draining, drain });
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Lets a server start where one has just ended. On Windows the option would share the port of a running one.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit the listener's buffer size.
    socket.set_send_buffer_size(UNTAKEN_BYTES_MAX)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Bound {
    /// The address, with the actual port if port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Serves `tcp` and `socket` until `shutdown` resolves. Then no connection is accepted any more, idle connections
    /// are closed, and running requests get the drain time before they are cut off.
    pub async fn serve(self, tcp: Router, socket: Router, shutdown: impl Future<Output = ()>) -> Ended {
        let tcp_door = Door::new(&self.listen, tcp, Some(self.listen.taking_timeout));
        // A command on the socket may pause its output for as long as its user likes.
        let socket_door = Door::new(&self.listen, socket, None);
        let (cut, _) = watch::channel(());
        let graceful = GracefulShutdown::new();
        let accepting = async {
            let tcp = tcp_door.accept(&self.tcp, &graceful, &cut);
            #[cfg(unix)]
            if let Some((listener, _)) = &self.socket {
                tokio::join!(tcp, socket_door.accept(listener, &graceful, &cut));
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
        self.draining.send_replace(true);
        let mut ending = std::pin::pin!(graceful.shutdown());
        if tokio::time::timeout(self.listen.drain, &mut ending).await.is_ok() {
            return Ended { cut: 0 };
        }
        let left = tcp_door.open() + socket_door.open();
        cut.send_replace(());
        // Connections end at their next poll; one whose handler blocks its thread is not waited for.
        let _ = tokio::time::timeout(CUT_MAX, ending).await;
        Ended { cut: left }
    }
}

/// One listener, TCP or the socket: its connections are counted together and served alike.
struct Door {
    router: Router,
    http: http1::Builder,
    /// Used for connections in the reserve: no keep-alive, and a shorter timeout for the head.
    crowded: http1::Builder,
    body_timeout: Duration,
    taking_timeout: Option<Duration>,
    places: Arc<Places>,
    /// One permit for each connection that still holds a file descriptor.
    descriptors: Arc<Semaphore>,
}

impl Door {
    fn new(listen: &Listen, router: Router, taking_timeout: Option<Duration>) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(listen.header_timeout)
            .max_headers(listen.headers_max)
            // A client that has closed its sending side still gets its answer.
            .half_close(true)
            .max_header_size(HEAD_BYTES_MAX);
        let mut crowded = http.clone();
        crowded.keep_alive(false).header_read_timeout(listen.header_timeout.min(CROWDED_HEAD_MAX));
        let places_max = listen.connections_max.clamp(1, Semaphore::MAX_PERMITS / 2);
        Self {
            router,
            http,
            crowded,
            body_timeout: listen.header_timeout,
            taking_timeout,
            places: Places::new(places_max, listen.per_address_max),
            descriptors: Arc::new(Semaphore::new(descriptors(places_max))),
        }
    }

    fn open(&self) -> usize {
        self.places.open()
    }

    async fn accept<A: Accept>(&self, listener: &A, graceful: &GracefulShutdown, cut: &watch::Sender<()>) {
        let mut pause = BACKOFF.0;
        let mut complained: Option<Instant> = None;
        loop {
            let descriptor = Arc::clone(&self.descriptors).acquire_owned().await;
            let descriptor = descriptor.expect("nobody closes the semaphore");
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = BACKOFF.0;
                    let place = self.places.enter(peer);
                    self.serve(stream, (place, descriptor), graceful, cut);
                }
                // The client disconnected before it was accepted.
                Err(error) if left_early(&error) => {}
                // Out of descriptors or memory: others must end first, and retrying at once would only burn time.
                Err(error) => {
                    let shed = self.places.shed();
                    if complained.is_none_or(|when| when.elapsed() >= COMPLAINT_EVERY) {
                        complained = Some(Instant::now());
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
        held: (Place, OwnedSemaphorePermit),
        graceful: &GracefulShutdown,
        cut: &watch::Sender<()>,
    ) where
        I: Socket,
    {
        let router = TowerToHyperService::new(self.router.clone());
        let timeout = self.body_timeout;
        let guest = Arc::clone(held.0.guest());
        let peer = guest.peer;
        let http = if guest.crowded().is_some() { &self.crowded } else { &self.http };
        let asked = Arc::clone(&guest);
        let request_now = Arc::new(left::Request::default());
        let noted = Arc::clone(&request_now);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let (guest, noted) = (Arc::clone(&asked), Arc::clone(&noted));
            noted.begins(request.version());
            guest.does(if request.body().is_end_stream() { Doing::Answer } else { Doing::Body });
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(Arc::clone(&guest));
            let answer = router.call(request.map(|body| body::Timed::new(body, timeout, Arc::clone(&guest))));
            async move {
                let response = answer.await.unwrap_or_else(|never| match never {});
                noted.answers();
                guest.does(Doing::Answer);
                Ok::<_, Infallible>(response.map(|body| answered::Answered::new(body, guest)))
            }
        });
        let socket = Shared::new(stream);
        let stream = taken::Taken::new(socket.clone(), self.taking_timeout, Arc::clone(&guest));
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let ending = socket.clone();
        let connection = async move {
            let ended = connection.await;
            ending.linger().await;
            ended
        };
        let mut cut = cut.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, ?peer, "connection ended early");
                    }
                }
                () = socket.left(&request_now, &guest) => tracing::debug!(?peer, "the client left"),
                () = guest.must_leave() => tracing::debug!(?peer, "connection closed: others need its place"),
                // Also resolves when the server was dropped.
                _ = cut.changed() => {}
            }
            drop(held);
        });
    }
}

fn left_early(error: &io::Error) -> bool {
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

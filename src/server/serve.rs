//! Listening and ending: a TCP address for everybody, a private socket for this program's own commands, limits on
//! connections and headers, and an end that lets running answers finish.
//!
//! What is asked and answered is not known here.

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

/// Bytes of a request's first line and headers together; more is answered with 431.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Of what is sent over TCP, about so many bytes wait in the system until the client takes them; more waits in the answer,
/// where it is noticed. Without a limit the system keeps megabytes for a client that reads nothing.
const UNTAKEN_BYTES_MAX: u32 = 256 << 10;
/// Connections that the system holds until they are accepted: as many as come at once in a burst.
const BACKLOG: u32 = 1024;
/// Pauses after a failed accept, from the first to the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// So often the log says that connections can't be taken.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);
/// A connection that has only a place of the reserve has so long for its head.
const CROWDED_HEAD_MAX: Duration = Duration::from_secs(2);
/// What connections that were cut may take to go.
const CUT_MAX: Duration = Duration::from_secs(1);

/// Where to listen, and how much is taken.
#[derive(Debug, Clone)]
pub struct Listen {
    /// TCP; port 0 takes any that is free.
    pub address: SocketAddr,
    /// The private socket, where there is one. Unix only; elsewhere it is not made.
    pub socket: Option<PathBuf>,
    /// How long a connection may be without a whole request head, or a body without its next part: the slow are cut, the
    /// idle are closed.
    pub header_timeout: Duration,
    /// How long a client may take nothing of what is sent to it before it is cut, and what works for
    /// it ended; for ever on the socket.
    pub taking_timeout: Duration,
    /// Headers of a request; more are answered with 431.
    pub headers_max: usize,
    /// How long running requests may take to end once the end was asked for.
    pub drain: Duration,
    /// Connections at a time, TCP and socket each. For more, those leave that ask nothing; where all are answered, a new
    /// one hears that.
    pub connections_max: usize,
    /// Of them from one address; unless said, 256 from another machine and all from this one. 0 is no limit.
    pub per_address_max: Option<usize>,
}

/// Why nobody can listen there.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody listens there.
    #[error("{address} is taken: name another port with --port, or 0 for any that is free")]
    PortTaken {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Small ports belong to the system.
    #[error("{address} is not for everybody: name a port from 1024 with --port")]
    NotAllowed {
        /// What was asked for.
        address: SocketAddr,
    },
    /// No interface has the address.
    #[error("{address} is no address of this machine: name one that it has with --host, such as 127.0.0.1")]
    NotHere {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Anything else about the address.
    #[error("{address}: {problem}; --host and --port name another")]
    Address {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        problem: String,
    },
    /// One server a home.
    #[error(
        "a server of this home runs already ({} is its socket): end it first, name another --home, or use --standalone",
        path.display()
    )]
    AlreadyServing {
        /// The living server's socket.
        path: PathBuf,
    },
    /// A file that is no stale socket.
    #[error("{} is in the way of the server's socket: move it away", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// Systems give a socket's path about 100 bytes.
    #[error(
        "{} is too long for a socket's path: name a shorter folder with --home, or use --standalone",
        path.display()
    )]
    SocketPathTooLong {
        /// The socket.
        path: PathBuf,
    },
    /// Anything else about the socket.
    #[error("{}: {problem}; --standalone needs no socket", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
}

/// Where a request came from; in the extensions of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP, from there.
    Tcp(SocketAddr),
    /// Over the private socket.
    Socket,
}

/// Tells those who stream that the end was asked for, so that they can end properly.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

impl Drain {
    /// One that begins when the sender says true, or is gone.
    #[must_use]
    pub fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        let mut receiver = self.0.clone();
        // An error says that the server is gone, which is an end as well.
        let _ = receiver.wait_for(|begun| *begun).await;
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Connections that did not end by themselves within the drain time.
    pub cut: usize,
}

/// Listens, and answers nobody yet: who connects waits until [`Bound::serve`]. Dropping it lets go of everything.
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

/// Takes the address and the socket.
///
/// # Errors
/// What is taken or not allowed, and which flag names another.
pub async fn bind(listen: &Listen) -> Result<Bound, ServeError> {
    // The socket first: that a server runs already says more than that its port is taken.
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
    // So that a server can begin where one has just ended; on Windows it would share a living one's port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    // Connections get what the listener has.
    socket.set_send_buffer_size(UNTAKEN_BYTES_MAX)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Bound {
    /// The address, with the port that was given for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells when draining begins.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Answers with `tcp` and `socket` until `shutdown` resolves. Then nobody new is taken, connections without a
    /// request are closed, and running requests get the drain time before they are cut.
    pub async fn serve(self, tcp: Router, socket: Router, shutdown: impl Future<Output = ()>) -> Ended {
        let tcp_door = Door::new(&self.listen, tcp, Some(self.listen.taking_timeout));
        // Who joins over the socket may stop its output for as long as it likes.
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
        // Who comes now is refused at once; the socket's file goes last, when another server may begin.
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
        // They go as soon as they are polled; one that blocks its thread is not waited for.
        let _ = tokio::time::timeout(CUT_MAX, ending).await;
        Ended { cut: left }
    }
}

/// One way in: its connections are counted and all served alike.
struct Door {
    router: Router,
    http: http1::Builder,
    /// For those without a place of their own.
    crowded: http1::Builder,
    body_timeout: Duration,
    taking_timeout: Option<Duration>,
    places: Arc<Places>,
    /// One for each connection that still has its descriptor.
    descriptors: Arc<Semaphore>,
}

impl Door {
    fn new(listen: &Listen, router: Router, taking_timeout: Option<Duration>) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(listen.header_timeout)
            .max_headers(listen.headers_max)
            // Who has said all it had to say is answered.
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

    /// Connections that live.
    fn open(&self) -> usize {
        self.places.open()
    }

    /// Takes connections for ever.
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
                // The client left while it waited.
                Err(error) if left_early(&error) => {}
                // Out of descriptors or memory: others must end first, and asking at once would only burn time.
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
                // Also when the server was dropped.
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

/// Something that takes connections.
trait Accept {
    type Stream: Socket;

    /// The next connection.
    async fn accept(&self) -> io::Result<(Self::Stream, Peer)>;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // A streamed token must not wait for the next one. A client that left already doesn't mind.
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

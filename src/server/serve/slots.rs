//! Slots for connections, divided by client address. When slots run short, a connection that is not being answered
//! is closed: of the address that holds the most slots, the one that has waited for longest. The content of requests
//! is not known here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Peer;

/// Open files that are not connections: models, the record, listening sockets, and the runtime's own.
const OTHER_FILES: u64 = 32;
/// The reserve: slots beyond the limit, in which a connection can still learn that the server is full, or ask for its
/// health. It has one slot for every 16 regular ones, but at least 4 and at most 64.
const RESERVE_PART: usize = 16;
const RESERVE: (usize, usize) = (4, 64);
/// A new connection is protected for this long while its request head is incomplete; after that it counts as idle.
const HEAD_GRACE: Duration = Duration::from_secs(1);
/// A client that has read nothing of its answer for this long may lose its slot when slots run short.
const STALL_TIME_MAX: Duration = Duration::from_secs(5);

/// Connections are counted by IPv4 address or IPv6 /64 network, since one customer usually has a whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientAddress {
    /// All clients of the private Unix socket.
    Socket,
    Net(IpAddr),
}

impl ClientAddress {
    #[must_use]
    pub fn of(peer: Peer) -> Self {
        let Peer::Tcp(address) = peer else { return Self::Socket };
        Self::Net(match address.ip().to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => {
                let network = ip.to_bits() >> 64 << 64;
                IpAddr::V6(network.into())
            }
            ip => ip,
        })
    }

    fn is_local(self) -> bool {
        match self {
            Self::Socket => true,
            Self::Net(ip) => ip.is_loopback(),
        }
    }
}

/// Why a connection is only in the reserve, with the limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionLimit {
    /// The limit for its address.
    Address(usize),
    /// The limit of the server: all slots are busy.
    Server(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum ConnectionState {
    /// The head of its first request is incomplete.
    Head,
    /// Between two requests.
    Idle,
    /// A request's body is being received, or the request is delayed (see [`Connection::set_waiting`]).
    Body,
    Answer,
}

impl ConnectionState {
    fn from_u8(value: u8) -> Self {
        [Self::Head, Self::Idle, Self::Body, Self::Answer][usize::from(value & 3)]
    }
}

/// A connection as request handlers see it; found in the extensions of each request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub peer: Peer,
    client: ClientAddress,
    over_limit: Mutex<Option<ConnectionLimit>>,
    /// See [`Connection::is_trusted`].
    trusted: AtomicBool,
    state: AtomicU8,
    /// When `state` last changed, in milliseconds since the slots were created.
    since_ms: AtomicU64,
    /// When the client stopped reading its answer, in the same unit; 0 while it reads.
    stalled_ms: AtomicU64,
    evicted: Notify,
    slots: Arc<Slots>,
    number: u64,
}

impl Connection {
    #[must_use]
    pub(crate) fn client(&self) -> ClientAddress {
        self.client
    }

    /// Whether the last API key presented on this connection was right.
    #[must_use]
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    pub(crate) fn trust(&self, right: bool) {
        self.trusted.store(right, Ordering::Relaxed);
    }

    pub(super) fn has_no_request(&self) -> bool {
        matches!(
            ConnectionState::from_u8(self.state.load(Ordering::Relaxed)),
            ConnectionState::Head | ConnectionState::Idle
        )
    }

    /// Why the connection is only in the reserve; `None` if it has a regular slot.
    #[must_use]
    pub(crate) fn over_limit(&self) -> Option<ConnectionLimit> {
        *self.over_limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits up to `time_max` for a regular slot.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn wait_for_slot(&self, time_max: Duration) -> Result<(), ConnectionLimit> {
        const EVERY: Duration = Duration::from_millis(20);
        let until = tokio::time::Instant::now() + time_max;
        while let Some(over_limit) = self.over_limit() {
            if self.slots.promote(self) {
                break;
            }
            if tokio::time::Instant::now() >= until {
                return Err(over_limit);
            }
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    /// Marks the request as waiting, so that its connection may be closed in favour of others, or as being answered.
    pub(crate) fn set_waiting(&self, is_waiting: bool) {
        self.set_state(if is_waiting { ConnectionState::Body } else { ConnectionState::Answer });
    }

    pub(super) fn set_state(&self, state: ConnectionState) {
        self.since_ms.store(self.slots.now_ms(), Ordering::Relaxed);
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Records whether the client reads what is sent to it.
    pub(super) fn set_reading(&self, is_reading: bool) {
        let since = if is_reading { 0 } else { self.slots.now_ms().max(1) };
        self.stalled_ms.store(since, Ordering::Relaxed);
    }

    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The order in which connections are closed when slots run short: lower ranks first, then the one that has been
    /// in that state for longest. `None` protects a connection that is being answered and, with `spare_new`, a new one.
    fn eviction_rank(&self, now_ms: u64, spare_new: bool) -> Option<(u8, u64)> {
        let since = self.since_ms.load(Ordering::Relaxed);
        let stalled = self.stalled_ms.load(Ordering::Relaxed);
        let lasted =
            |since: u64, time: Duration| u128::from(now_ms.saturating_sub(since)) >= time.as_millis();
        match ConnectionState::from_u8(self.state.load(Ordering::Relaxed)) {
            ConnectionState::Idle => Some((0, since)),
            ConnectionState::Head if lasted(since, HEAD_GRACE) => Some((0, since)),
            ConnectionState::Head => (!spare_new).then_some((1, since)),
            ConnectionState::Body => Some((2, since)),
            ConnectionState::Answer if stalled > 0 && lasted(stalled, STALL_TIME_MAX) => Some((3, stalled)),
            ConnectionState::Answer => None,
        }
    }
}

/// Reduces the number of connections to what the limit of open files allows. Half of the files are for the private
/// socket.
#[must_use]
pub fn connections_within(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files else { return wanted };
    let room = files.saturating_sub(OTHER_FILES) / 2;
    let fits = |connections_max: &usize| descriptors_needed(*connections_max) as u64 <= room;
    let connections_max = (1..=wanted).rev().find(fits).unwrap_or(1);
    if connections_max < wanted {
        tracing::warn!(
            "{connections_max} connections at a time, since {files} files may be open: raise that limit (ulimit -n)"
        );
    }
    connections_max
}

/// File descriptors needed for `slots` regular slots, the reserve, and connections that are still closing.
#[must_use]
pub(super) fn descriptors_needed(slots: usize) -> usize {
    let reserve = reserve(slots);
    slots + reserve + reserve.div_ceil(4)
}

fn reserve(slots: usize) -> usize {
    (slots / RESERVE_PART).clamp(RESERVE.0, RESERVE.1)
}

/// All slots of one listener.
#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    per_address: Option<usize>,
    created: Instant,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    next: u64,
    regular: BTreeMap<u64, Arc<Connection>>,
    /// Connections in the reserve; they are not in `regular`.
    reserve: BTreeMap<u64, Arc<Connection>>,
}

/// A connection's slot; dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot(Arc<Connection>);

impl Slot {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut connections = self.0.slots.connections();
        connections.regular.remove(&self.0.number);
        connections.reserve.remove(&self.0.number);
    }
}

impl Slots {
    /// `max` slots, of which one address may hold `per_address`. By default this machine has no limit of its own,
    /// since all its users share one address.
    pub(super) fn new(max: usize, per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            max: max.max(1),
            per_address,
            created: Instant::now(),
            connections: Mutex::default(),
        })
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn limit(&self, client: ClientAddress) -> Option<usize> {
        /// The default for other machines.
        const PER_ADDRESS: usize = 256;
        if client == ClientAddress::Socket {
            return None;
        }
        self.per_address.or((!client.is_local()).then_some(PER_ADDRESS)).filter(|limit| *limit > 0)
    }

    pub(super) fn open(&self) -> usize {
        let connections = self.connections();
        connections.regular.len() + connections.reserve.len()
    }

    /// Gives a connection a slot. If all are taken, a connection that is not being answered is closed; if there is
    /// none, the slot is one of the reserve.
    pub(super) fn acquire(self: &Arc<Self>, peer: Peer) -> Slot {
        let (client, now_ms) = (ClientAddress::of(peer), self.now_ms());
        let mut connections = self.connections();
        let is_reserve_full = connections.reserve.len() >= reserve(self.max);
        let mut over_limit = self.make_room(&mut connections.regular, client, now_ms, true);
        if over_limit.is_some() && is_reserve_full {
            over_limit = self.make_room(&mut connections.regular, client, now_ms, false);
        }
        let number = connections.next;
        connections.next += 1;
        let connection = Arc::new(Connection {
            peer,
            client,
            over_limit: Mutex::new(over_limit),
            trusted: AtomicBool::new(false),
            state: AtomicU8::new(ConnectionState::Head as u8),
            since_ms: AtomicU64::new(now_ms),
            stalled_ms: AtomicU64::new(0),
            evicted: Notify::new(),
            slots: Arc::clone(self),
            number,
        });
        match over_limit {
            None => connections.regular.insert(number, Arc::clone(&connection)),
            Some(_) => {
                if is_reserve_full {
                    evict(&mut connections.reserve, |connection| Some((0, connection.number)));
                }
                connections.reserve.insert(number, Arc::clone(&connection))
            }
        };
        Slot(connection)
    }

    /// Makes room for one more connection of `client`, closing another if necessary. Returns the reason if it can't.
    fn make_room(
        &self,
        regular: &mut BTreeMap<u64, Arc<Connection>>,
        client: ClientAddress,
        now_ms: u64,
        spare_new: bool,
    ) -> Option<ConnectionLimit> {
        if let Some(limit) = self.limit(client)
            && regular.values().filter(|connection| connection.client == client).count() >= limit
        {
            let made_room = evict(regular, |connection| {
                connection.eviction_rank(now_ms, spare_new).filter(|_| connection.client == client)
            });
            return (!made_room).then_some(ConnectionLimit::Address(limit));
        }
        let is_full = regular.len() >= self.max
            && !evict(regular, |connection| connection.eviction_rank(now_ms, spare_new));
        is_full.then_some(ConnectionLimit::Server(self.max))
    }

    /// Moves a connection from the reserve to a regular slot if there is room now.
    fn promote(&self, connection: &Connection) -> bool {
        let mut connections = self.connections();
        let over_limit = self.make_room(&mut connections.regular, connection.client, self.now_ms(), true);
        *connection.over_limit.lock().unwrap_or_else(PoisonError::into_inner) = over_limit;
        if over_limit.is_none()
            && let Some(connection) = connections.reserve.remove(&connection.number)
        {
            connections.regular.insert(connection.number, connection);
        }
        over_limit.is_none()
    }

    /// When the system is out of descriptors: closes a connection that is not being answered; false if there is none.
    pub(super) fn shed(&self) -> bool {
        let now_ms = self.now_ms();
        evict(&mut self.connections().regular, |connection| connection.eviction_rank(now_ms, false))
    }
}

/// Of the address that holds the most slots and has a connection with a rank, closes the lowest-ranked one.
fn evict(
    regular: &mut BTreeMap<u64, Arc<Connection>>,
    eviction_rank: impl Fn(&Connection) -> Option<(u8, u64)>,
) -> bool {
    // The number of connections, and rank and number of the one to close first.
    type CountAndFirst = (usize, Option<((u8, u64), u64)>);
    let mut by_client: HashMap<ClientAddress, CountAndFirst> = HashMap::new();
    for connection in regular.values() {
        let (count, first) = by_client.entry(connection.client).or_default();
        *count += 1;
        if let Some(rank) = eviction_rank(connection) {
            let candidate = (rank, connection.number);
            *first = Some(first.map_or(candidate, |first| first.min(candidate)));
        }
    }
    let evictable =
        by_client.into_iter().filter_map(|(client, (count, first))| Some((count, client, first?.1)));
    let Some((_, _, number)) = evictable.max() else { return false };
    regular.remove(&number).inspect(|connection| connection.evicted.notify_one()).is_some()
}

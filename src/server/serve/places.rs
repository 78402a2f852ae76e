//! Places for connections, divided by client address. When places run short, a connection that is not being answered
//! is closed: of the address that holds the most places, the one that has waited for longest. The content of requests
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

/// The reserve: places beyond the limit, in which a connection can still learn that the server is full, or ask for its
/// health. It has one place for every 16 regular ones, but at least 4 and at most 64.
const RESERVE_PART: usize = 16;
const RESERVE: (usize, usize) = (4, 64);
/// A new connection is protected for this long while its request head is incomplete; after that it counts as idle.
const FRESH: Duration = Duration::from_secs(1);
/// A client that has read nothing of its answer for this long may lose its place when places run short.
const UNTAKEN: Duration = Duration::from_secs(5);

/// Connections are counted by IPv4 address or IPv6 /64 network, since one customer usually has a whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// All clients of the private Unix socket.
    Socket,
    Net(IpAddr),
}

impl Who {
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
pub enum Crowded {
    /// The limit for its address.
    Address(usize),
    /// The limit of the server: all places are busy.
    Server(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Doing {
    /// The head of its first request is incomplete.
    Head,
    /// Between two requests.
    Idle,
    /// A request's body is being received, or the request is delayed (see [`Guest::waits`]).
    Body,
    Answer,
}

impl Doing {
    fn from_u8(value: u8) -> Self {
        [Self::Head, Self::Idle, Self::Body, Self::Answer][usize::from(value & 3)]
    }
}

/// A connection as request handlers see it; found in the extensions of each request.
#[derive(Debug)]
pub struct Guest {
    pub peer: Peer,
    who: Who,
    crowded: Mutex<Option<Crowded>>,
    /// See [`Guest::is_trusted`].
    trusted: AtomicBool,
    doing: AtomicU8,
    since_ms: AtomicU64,
    /// When `doing` last changed, in milliseconds since the places were created.
    /// When the client stopped reading its answer, in the same unit; 0 while it reads.
    untaken_ms: AtomicU64,
    leave: Notify,
    places: Arc<Places>,
    number: u64,
}

impl Guest {
    #[must_use]
    pub fn who(&self) -> Who {
        self.who
    }

    /// Whether the last API key presented on this connection was right.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    pub fn trust(&self, right: bool) {
        self.trusted.store(right, Ordering::Relaxed);
    }

    pub(super) fn asks_nothing(&self) -> bool {
        matches!(Doing::from_u8(self.doing.load(Ordering::Relaxed)), Doing::Head | Doing::Idle)
    }

    /// Why the connection is only in the reserve; `None` if it has a regular place.
    #[must_use]
    pub fn crowded(&self) -> Option<Crowded> {
        *self.crowded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits up to `patience` for a regular place.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn seated(&self, patience: Duration) -> Result<(), Crowded> {
        const EVERY: Duration = Duration::from_millis(20);
        let until = tokio::time::Instant::now() + patience;
        while let Some(crowded) = self.crowded() {
            if self.places.seat(self) {
                break;
            }
            if tokio::time::Instant::now() >= until {
                return Err(crowded);
            }
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    /// Marks the request as waiting, so that its connection may be closed in favour of others, or as being answered.
    pub fn waits(&self, waits: bool) {
        self.does(if waits { Doing::Body } else { Doing::Answer });
    }

    pub(super) fn does(&self, doing: Doing) {
        self.since_ms.store(self.places.now_ms(), Ordering::Relaxed);
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// Records whether the client reads what is sent to it.
    pub(super) fn takes(&self, takes: bool) {
        let since = if takes { 0 } else { self.places.now_ms().max(1) };
        self.untaken_ms.store(since, Ordering::Relaxed);
    }

    pub(super) async fn must_leave(&self) {
        self.leave.notified().await;
    }

    /// The order in which connections are closed when places run short: lower ranks first, then the one that has been
    /// in that state for longest. `None` protects a connection that is being answered and, with `patience`, a new one.
    fn rank(&self, now_ms: u64, patience: bool) -> Option<(u8, u64)> {
        let since = self.since_ms.load(Ordering::Relaxed);
        let untaken = self.untaken_ms.load(Ordering::Relaxed);
        let for_so_long =
            |since: u64, time: Duration| u128::from(now_ms.saturating_sub(since)) >= time.as_millis();
        match Doing::from_u8(self.doing.load(Ordering::Relaxed)) {
            Doing::Idle => Some((0, since)),
            Doing::Head if for_so_long(since, FRESH) => Some((0, since)),
            Doing::Head => (!patience).then_some((1, since)),
            Doing::Body => Some((2, since)),
            Doing::Answer if untaken > 0 && for_so_long(untaken, UNTAKEN) => Some((3, untaken)),
            Doing::Answer => None,
        }
    }
}

/// File descriptors needed for `places` regular places, the reserve, and connections that are still closing.
#[must_use]
pub fn descriptors(places: usize) -> usize {
    let reserve = reserve(places);
    places + reserve + reserve.div_ceil(4)
}

fn reserve(places: usize) -> usize {
    (places / RESERVE_PART).clamp(RESERVE.0, RESERVE.1)
}

/// All places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    per_address: Option<usize>,
    began: Instant,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    guests: BTreeMap<u64, Arc<Guest>>,
    /// Connections in the reserve; they are not in `guests`.
    reserved: BTreeMap<u64, Arc<Guest>>,
}

/// A connection's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place(Arc<Guest>);

impl Place {
    pub(super) fn guest(&self) -> &Arc<Guest> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.0.places.held();
        held.guests.remove(&self.0.number);
        held.reserved.remove(&self.0.number);
    }
}

impl Places {
    /// `max` places, of which one address may hold `per_address`. By default this machine has no limit of its own,
    /// since all its users share one address.
    pub(super) fn new(max: usize, per_address: Option<usize>) -> Arc<Self> {
        Arc::new(Self { max: max.max(1), per_address, began: Instant::now(), held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn limit(&self, who: Who) -> Option<usize> {
        /// The default for other machines.
        const PER_ADDRESS: usize = 256;
        if who == Who::Socket {
            return None;
        }
        self.per_address.or((!who.is_local()).then_some(PER_ADDRESS)).filter(|limit| *limit > 0)
    }

    pub(super) fn open(&self) -> usize {
        let held = self.held();
        held.guests.len() + held.reserved.len()
    }

    /// Gives a connection a place. If all are taken, a connection that is not being answered is closed; if there is
    /// none, the place is one of the reserve.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer) -> Place {
        let (who, now_ms) = (Who::of(peer), self.now_ms());
        let mut held = self.held();
        let is_reserve_full = held.reserved.len() >= reserve(self.max);
        let mut crowded = self.make_room(&mut held.guests, who, now_ms, true);
        if crowded.is_some() && is_reserve_full {
            crowded = self.make_room(&mut held.guests, who, now_ms, false);
        }
        let number = held.next;
        held.next += 1;
        let guest = Arc::new(Guest {
            peer,
            who,
            crowded: Mutex::new(crowded),
            trusted: AtomicBool::new(false),
            doing: AtomicU8::new(Doing::Head as u8),
            since_ms: AtomicU64::new(now_ms),
            untaken_ms: AtomicU64::new(0),
            leave: Notify::new(),
            places: Arc::clone(self),
            number,
        });
        match crowded {
            None => held.guests.insert(number, Arc::clone(&guest)),
            Some(_) => {
                if is_reserve_full {
                    leave(&mut held.reserved, |guest| Some((0, guest.number)));
                }
                held.reserved.insert(number, Arc::clone(&guest))
            }
        };
        Place(guest)
    }

    /// Makes room for one more connection of `who`, closing another if necessary. Returns the reason if it can't.
    fn make_room(
        &self,
        guests: &mut BTreeMap<u64, Arc<Guest>>,
        who: Who,
        now_ms: u64,
        patience: bool,
    ) -> Option<Crowded> {
        if let Some(limit) = self.limit(who)
            && guests.values().filter(|guest| guest.who == who).count() >= limit
        {
            let left = leave(guests, |guest| guest.rank(now_ms, patience).filter(|_| guest.who == who));
            return (!left).then_some(Crowded::Address(limit));
        }
        let full = guests.len() >= self.max && !leave(guests, |guest| guest.rank(now_ms, patience));
        full.then_some(Crowded::Server(self.max))
    }

    /// Moves a connection from the reserve to a regular place if there is room now.
    fn seat(&self, guest: &Guest) -> bool {
        let mut held = self.held();
        let crowded = self.make_room(&mut held.guests, guest.who, self.now_ms(), true);
        *guest.crowded.lock().unwrap_or_else(PoisonError::into_inner) = crowded;
        if crowded.is_none()
            && let Some(guest) = held.reserved.remove(&guest.number)
        {
            held.guests.insert(guest.number, guest);
        }
        crowded.is_none()
    }

    /// When the system is out of descriptors: closes a connection that is not being answered; false if there is none.
    pub(super) fn shed(&self) -> bool {
        let now_ms = self.now_ms();
        leave(&mut self.held().guests, |guest| guest.rank(now_ms, false))
    }
}

/// Of the address that holds the most places and has a connection with a rank, closes the lowest-ranked one.
fn leave(guests: &mut BTreeMap<u64, Arc<Guest>>, rank: impl Fn(&Guest) -> Option<(u8, u64)>) -> bool {
    // The number of connections, and rank and number of the one to close first.
    type Counted = (usize, Option<((u8, u64), u64)>);
    let mut counted: HashMap<Who, Counted> = HashMap::new();
    for guest in guests.values() {
        let (count, first) = counted.entry(guest.who).or_default();
        *count += 1;
        if let Some(rank) = rank(guest) {
            let this = (rank, guest.number);
            *first = Some(first.map_or(this, |first| first.min(this)));
        }
    }
    let able = counted.into_iter().filter_map(|(who, (count, first))| Some((count, who, first?.1)));
    let Some((_, _, number)) = able.max() else { return false };
    guests.remove(&number).inspect(|guest| guest.leave.notify_one()).is_some()
}

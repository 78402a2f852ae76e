//! Places for connections, shared out by the address they come from. Where places are short, a connection that asks
//! nothing gives its place up: the one that has done so for longest, of the address that holds the most. What is asked is
//! not known here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Peer;

/// Places beyond the limit, in which a connection hears that there is none, and whether the server lives: of each so many
/// one, within bounds.
const RESERVE_PART: usize = 16;
const RESERVE: (usize, usize) = (4, 64);
/// A new connection may be without a whole request head for so long before idle ones are spared for it.
const FRESH: Duration = Duration::from_secs(1);
/// A client that has taken nothing of its answer for so long gives its place up where places are short.
const UNTAKEN: Duration = Duration::from_secs(5);

/// Whose connections are counted together: an address; of IPv6 the network that one customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// This machine's users, over the private socket.
    Socket,
    /// An address, or the first 64 bits of one.
    Net(IpAddr),
}

impl Who {
    /// Who is behind a peer.
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

/// Why a connection has only a place of the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// Its address has as many as it may.
    Address(usize),
    /// All places are taken by requests.
    Server(usize),
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Doing {
    /// Its first request's head is not whole.
    Head,
    /// It waits for its next request.
    Idle,
    /// Its request's body is on its way, or the request waits.
    Body,
    /// Its request is being answered.
    Answer,
}

impl Doing {
    fn from_u8(value: u8) -> Self {
        [Self::Head, Self::Idle, Self::Body, Self::Answer][usize::from(value & 3)]
    }
}

/// A connection, as those who answer on it see it. In the extensions of each request.
#[derive(Debug)]
pub struct Guest {
    /// Where it comes from.
    pub peer: Peer,
    who: Who,
    crowded: Mutex<Option<Crowded>>,
    /// Whether a key was right on it, and none wrong since.
    trusted: AtomicBool,
    doing: AtomicU8,
    /// Milliseconds from the first connection's time to the last change of `doing`.
    since_ms: AtomicU64,
    /// The same of when the client last stopped taking what is sent; 0 while it takes.
    untaken_ms: AtomicU64,
    leave: Notify,
    places: Arc<Places>,
    number: u64,
}

impl Guest {
    /// Whose connection it is.
    #[must_use]
    pub fn who(&self) -> Who {
        self.who
    }

    /// Whether a key was right on this connection, and none wrong since.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// Says whether its last key was right.
    pub fn trust(&self, right: bool) {
        self.trusted.store(right, Ordering::Relaxed);
    }

    /// Whether it has no request now.
    pub(super) fn asks_nothing(&self) -> bool {
        matches!(Doing::from_u8(self.doing.load(Ordering::Relaxed)), Doing::Head | Doing::Idle)
    }

    /// Why it has only a place of the reserve, if so.
    #[must_use]
    pub fn crowded(&self) -> Option<Crowded> {
        *self.crowded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has a place of its own, for a while.
    ///
    /// # Errors
    /// Why it has none.
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

    /// Says whether its request waits, so that its place can be spared for others, or is being answered.
    pub fn waits(&self, waits: bool) {
        self.does(if waits { Doing::Body } else { Doing::Answer });
    }

    pub(super) fn does(&self, doing: Doing) {
        self.since_ms.store(self.places.now_ms(), Ordering::Relaxed);
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// Says whether the client takes what is sent to it.
    pub(super) fn takes(&self, takes: bool) {
        let since = if takes { 0 } else { self.places.now_ms().max(1) };
        self.untaken_ms.store(since, Ordering::Relaxed);
    }

    /// Resolves when the place is needed by others.
    pub(super) async fn must_leave(&self) {
        self.leave.notified().await;
    }

    /// How early it goes where places are short: lower first, then who has been so for longer. `None` for one that works,
    /// and for one that has only just come where there is `patience` for it.
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

/// Descriptors that so many places need: those of the reserve come on top, and connections that were told to leave and
/// haven't yet.
#[must_use]
pub fn descriptors(places: usize) -> usize {
    let reserve = reserve(places);
    places + reserve + reserve.div_ceil(4)
}

fn reserve(places: usize) -> usize {
    (places / RESERVE_PART).clamp(RESERVE.0, RESERVE.1)
}

/// All places of one way in.
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
    /// Of them, those in the reserve.
    reserved: BTreeMap<u64, Arc<Guest>>,
}

/// A connection's place; dropped, it is free.
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
    /// `max` places, of them so many for one address: those of this machine have no limit of their own unless one was
    /// asked for, since all its users share an address.
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
        /// What other addresses have unless it was said.
        const PER_ADDRESS: usize = 256;
        if who == Who::Socket {
            return None;
        }
        self.per_address.or((!who.is_local()).then_some(PER_ADDRESS)).filter(|limit| *limit > 0)
    }

    /// Connections that live.
    pub(super) fn open(&self) -> usize {
        let held = self.held();
        held.guests.len() + held.reserved.len()
    }

    /// A place for a connection. Where there is none, one that asks nothing leaves; where none does, it is one of the reserve.
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

    /// Sees to it that there is room for one more of `who`; why not, where nobody can leave.
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

    /// Gives one of the reserve a place of its own, if there is room now.
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

    /// Frees a place where the system has no more descriptors.
    pub(super) fn shed(&self) -> bool {
        let now_ms = self.now_ms();
        leave(&mut self.held().guests, |guest| guest.rank(now_ms, false))
    }
}

/// Sends away the connection of the lowest rank, of those that have one, of the address that holds the most places.
fn leave(guests: &mut BTreeMap<u64, Arc<Guest>>, rank: impl Fn(&Guest) -> Option<(u8, u64)>) -> bool {
    // Connections, and which of them goes first.
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

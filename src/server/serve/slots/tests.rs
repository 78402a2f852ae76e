//! Which connection is closed when slots run short.

use super::*;

fn from(address: &str) -> Peer {
    Peer::Tcp(address.parse().unwrap())
}

const LOCAL: &str = "127.0.0.1:1";
const NEAR: &str = "10.0.0.1:1";
const FAR: &str = "10.0.0.2:1";

fn was_evicted(slot: &Slot) -> bool {
    let slots = &slot.0.slots;
    let connections = slots.connections();
    !connections.regular.contains_key(&slot.0.number) && !connections.reserve.contains_key(&slot.0.number)
}

fn acquire(slots: &Arc<Slots>, address: &str, state: ConnectionState) -> Slot {
    let slot = slots.acquire(from(address));
    slot.connection().set_state(state);
    slot
}

#[test]
fn connections_without_a_request_are_evicted_and_busy_ones_stay() {
    let check = |held: &[(&str, ConnectionState)], expected: Option<usize>| {
        let created = Instant::now().checked_sub(2 * HEAD_GRACE).unwrap();
        let slots = Slots { created, ..Arc::into_inner(Slots::new(held.len(), Some(0))).unwrap() };
        let slots = Arc::new(slots);
        let held: Vec<Slot> = held.iter().map(|(address, state)| acquire(&slots, address, *state)).collect();
        // No connection is new enough to be protected.
        held.iter().for_each(|slot| slot.connection().since_ms.store(0, Ordering::Relaxed));
        let new = slots.acquire(from(LOCAL));
        let evicted: Vec<usize> = (0..held.len()).filter(|at| was_evicted(&held[*at])).collect();
        assert_eq!(evicted, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(new.connection().over_limit().is_some(), expected.is_none());
    };
    use ConnectionState::{Answer, Body, Head, Idle};
    check(&[(LOCAL, Answer), (LOCAL, Answer)], None);
    check(&[(LOCAL, Answer), (LOCAL, Head), (LOCAL, Head)], Some(1));
    check(&[(LOCAL, Head), (LOCAL, Idle)], Some(0));
    check(&[(LOCAL, Body), (LOCAL, Head)], Some(1));
    check(&[(LOCAL, Answer), (LOCAL, Body), (LOCAL, Body)], Some(1));
    // The address that holds the most slots loses one first, whatever its connections are doing.
    check(&[(NEAR, Idle), (FAR, Answer), (FAR, Body)], Some(2));
    check(&[(NEAR, Idle), (FAR, Answer), (FAR, Answer)], Some(0));
}

#[test]
fn a_new_connection_is_evicted_when_the_reserve_is_full() {
    let slots = Slots::new(2, None);
    let held = [acquire(&slots, LOCAL, ConnectionState::Head), acquire(&slots, LOCAL, ConnectionState::Head)];
    let waiting: Vec<Slot> = (0..4).map(|_| slots.acquire(from(LOCAL))).collect();
    assert!(waiting.iter().all(|slot| slot.connection().over_limit().is_some() && !was_evicted(slot)));
    assert!(!held.iter().any(was_evicted));
    assert_eq!(slots.acquire(from(LOCAL)).connection().over_limit(), None);
    assert!(was_evicted(&held[0]) && !was_evicted(&held[1]));
}

#[test]
fn a_client_that_reads_nothing_can_be_evicted_after_a_while() {
    let slots = Slots::new(1, None);
    let slot = acquire(&slots, LOCAL, ConnectionState::Answer);
    slot.connection().set_reading(false);
    let created = slot.connection().stalled_ms.load(Ordering::Relaxed);
    assert_eq!(slot.connection().eviction_rank(created + 4_999, true), None);
    assert_eq!(slot.connection().eviction_rank(created + 5_000, true), Some((3, created)));
    slot.connection().set_reading(true);
    assert_eq!(slot.connection().eviction_rank(created + 60_000, true), None);
}

#[test]
fn an_address_has_a_limit_and_this_machine_none() {
    let check = |per_address: Option<usize>, address: &str, expected: usize| {
        let slots = Slots::new(1024, per_address);
        let mut held = Vec::new();
        while held.len() < 400 {
            let slot = acquire(&slots, address, ConnectionState::Answer);
            if slot.connection().over_limit().is_some() {
                assert_eq!(slot.connection().over_limit(), Some(ConnectionLimit::Address(expected)));
                break;
            }
            held.push(slot);
        }
        assert_eq!(held.len(), expected, "{address} {per_address:?}");
        assert_eq!(
            slots.acquire(from("192.168.7.7:1")).connection().over_limit(),
            None,
            "others have theirs"
        );
    };
    check(None, NEAR, 256);
    check(None, LOCAL, 400);
    check(None, "[::1]:5", 400);
    check(None, "[::ffff:127.0.0.1]:5", 400);
    check(Some(3), NEAR, 3);
    check(Some(3), LOCAL, 3);
    check(Some(0), NEAR, 400);
}

#[test]
fn networks_of_one_customer_are_one_address() {
    let client = |address: &str| ClientAddress::of(from(address));
    assert_eq!(client("[2001:db8::1]:1"), client("[2001:db8::ffff]:2"));
    assert_ne!(client("[2001:db8:0:1::1]:1"), client("[2001:db8::1]:1"));
    assert_eq!(client("[::ffff:10.0.0.1]:1"), client("10.0.0.1:9"));
    assert_ne!(client("10.0.0.1:1"), client("10.0.0.2:1"));
}

#[test]
fn reserve_keeps_the_newest() {
    let slots = Slots::new(1, None);
    let _busy = acquire(&slots, LOCAL, ConnectionState::Answer);
    let waiting: Vec<Slot> = (0..7).map(|_| acquire(&slots, LOCAL, ConnectionState::Answer)).collect();
    let evicted = waiting.iter().filter(|slot| was_evicted(slot)).count();
    assert_eq!(evicted, 3);
    assert!(waiting[..3].iter().all(was_evicted));
    assert_eq!(slots.open(), 1 + 4);
}

#[tokio::test]
async fn a_connection_in_the_reserve_is_promoted_when_another_ends() {
    let slots = Slots::new(1, None);
    let busy = acquire(&slots, LOCAL, ConnectionState::Answer);
    let waiting = acquire(&slots, LOCAL, ConnectionState::Answer);
    let soon = Duration::from_millis(30);
    assert_eq!(waiting.connection().wait_for_slot(soon).await, Err(ConnectionLimit::Server(1)));
    drop(busy);
    assert_eq!(waiting.connection().wait_for_slot(soon).await, Ok(()));
    assert_eq!(waiting.connection().over_limit(), None);
    assert_eq!(slots.open(), 1);
    drop(waiting);
    assert_eq!(slots.open(), 0);
}

//! Which connection is closed when places run short.

use super::*;

fn from(address: &str) -> Peer {
    Peer::Tcp(address.parse().unwrap())
}

const LOCAL: &str = "127.0.0.1:1";
const NEAR: &str = "10.0.0.1:1";
const FAR: &str = "10.0.0.2:1";

fn told_to_leave(place: &Place) -> bool {
    let places = &place.0.places;
    let held = places.held();
    !held.guests.contains_key(&place.0.number) && !held.reserved.contains_key(&place.0.number)
}

fn enter(places: &Arc<Places>, address: &str, doing: Doing) -> Place {
    let place = places.enter(from(address));
    place.guest().does(doing);
    place
}

#[test]
fn whoever_asks_nothing_gives_way_and_whoever_works_stays() {
    let check = |there: &[(&str, Doing)], expected: Option<usize>| {
        let began = Instant::now().checked_sub(2 * FRESH).unwrap();
        let places = Places { began, ..Arc::into_inner(Places::new(there.len(), Some(0))).unwrap() };
        let places = Arc::new(places);
        let there: Vec<Place> =
            there.iter().map(|(address, doing)| enter(&places, address, *doing)).collect();
        // No connection is new enough to be protected.
        there.iter().for_each(|place| place.guest().since_ms.store(0, Ordering::Relaxed));
        let new = places.enter(from(LOCAL));
        let left: Vec<usize> = (0..there.len()).filter(|at| told_to_leave(&there[*at])).collect();
        assert_eq!(left, expected.into_iter().collect::<Vec<_>>());
        assert_eq!(new.guest().crowded().is_some(), expected.is_none());
    };
    use Doing::{Answer, Body, Head, Idle};
    check(&[(LOCAL, Answer), (LOCAL, Answer)], None);
    check(&[(LOCAL, Answer), (LOCAL, Head), (LOCAL, Head)], Some(1));
    check(&[(LOCAL, Head), (LOCAL, Idle)], Some(0));
    check(&[(LOCAL, Body), (LOCAL, Head)], Some(1));
    check(&[(LOCAL, Answer), (LOCAL, Body), (LOCAL, Body)], Some(1));
    // The address that holds the most places loses one first, whatever its connections are doing.
    check(&[(NEAR, Idle), (FAR, Answer), (FAR, Body)], Some(2));
    check(&[(NEAR, Idle), (FAR, Answer), (FAR, Answer)], Some(0));
}

#[test]
fn one_that_has_only_just_come_leaves_when_the_reserve_is_full() {
    let places = Places::new(2, None);
    let there = [enter(&places, LOCAL, Doing::Head), enter(&places, LOCAL, Doing::Head)];
    let waiting: Vec<Place> = (0..4).map(|_| places.enter(from(LOCAL))).collect();
    assert!(waiting.iter().all(|place| place.guest().crowded().is_some() && !told_to_leave(place)));
    assert!(!there.iter().any(told_to_leave));
    assert_eq!(places.enter(from(LOCAL)).guest().crowded(), None);
    assert!(told_to_leave(&there[0]) && !told_to_leave(&there[1]));
}

#[test]
fn client_that_takes_nothing_can_be_spared_after_a_while() {
    let places = Places::new(1, None);
    let place = enter(&places, LOCAL, Doing::Answer);
    place.guest().takes(false);
    let began = place.guest().untaken_ms.load(Ordering::Relaxed);
    assert_eq!(place.guest().rank(began + 4_999, true), None);
    assert_eq!(place.guest().rank(began + 5_000, true), Some((3, began)));
    place.guest().takes(true);
    assert_eq!(place.guest().rank(began + 60_000, true), None);
}

#[test]
fn an_address_has_its_share_and_this_machine_all() {
    let check = |per_address: Option<usize>, address: &str, expected: usize| {
        let places = Places::new(1024, per_address);
        let mut there = Vec::new();
        while there.len() < 400 {
            let place = enter(&places, address, Doing::Answer);
            if place.guest().crowded().is_some() {
                assert_eq!(place.guest().crowded(), Some(Crowded::Address(expected)));
                break;
            }
            there.push(place);
        }
        assert_eq!(there.len(), expected, "{address} {per_address:?}");
        assert_eq!(places.enter(from("192.168.7.7:1")).guest().crowded(), None, "others have theirs");
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
    let who = |address: &str| Who::of(from(address));
    assert_eq!(who("[2001:db8::1]:1"), who("[2001:db8::ffff]:2"));
    assert_ne!(who("[2001:db8:0:1::1]:1"), who("[2001:db8::1]:1"));
    assert_eq!(who("[::ffff:10.0.0.1]:1"), who("10.0.0.1:9"));
    assert_ne!(who("10.0.0.1:1"), who("10.0.0.2:1"));
}

#[test]
fn reserve_keeps_the_newest() {
    let places = Places::new(1, None);
    let _busy = enter(&places, LOCAL, Doing::Answer);
    let waiting: Vec<Place> = (0..7).map(|_| enter(&places, LOCAL, Doing::Answer)).collect();
    let left = waiting.iter().filter(|place| told_to_leave(place)).count();
    assert_eq!(left, 3);
    assert!(waiting[..3].iter().all(told_to_leave));
    assert_eq!(places.open(), 1 + 4);
}

#[tokio::test]
async fn one_of_the_reserve_is_seated_when_another_goes() {
    let places = Places::new(1, None);
    let busy = enter(&places, LOCAL, Doing::Answer);
    let waiting = enter(&places, LOCAL, Doing::Answer);
    let soon = Duration::from_millis(30);
    assert_eq!(waiting.guest().seated(soon).await, Err(Crowded::Server(1)));
    drop(busy);
    assert_eq!(waiting.guest().seated(soon).await, Ok(()));
    assert_eq!(waiting.guest().crowded(), None);
    assert_eq!(places.open(), 1);
    drop(waiting);
    assert_eq!(places.open(), 0);
}

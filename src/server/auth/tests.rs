//! Key files, keys and limits, each as a table of inputs and expected results.

use super::*;

fn keys(text: &str, now: Instant) -> Result<ApiKeys, String> {
    ApiKeys::parse(text, Path::new("keys.txt"), now).map_err(|error| error.to_string())
}

#[test]
fn broken_files_name_the_line_and_no_key() {
    let check = |text: &str, expected: &[&str]| {
        let message = keys(text, Instant::now()).map(|_| ()).unwrap_err();
        for part in expected {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        assert!(!message.contains("secret"), "{message:?} tells a key");
    };
    check("", &["keys.txt", "no key", "openssl"]);
    check("# nobody\n\n", &["no key"]);
    check("secret-1 colour=blue", &["line 1", "`colour`", "requests_per_minute"]);
    check("# a\nsecret-1\nsecret-2 concurrent=0", &["line 3", "concurrent=0", "from 1"]);
    check("secret-1 tokens_per_minute=-5", &["tokens_per_minute=-5"]);
    check("secret-1 tokens_per_minute=99999999999999999999", &["whole number"]);
    check("secret-1 requests_per_minute", &["requests_per_minute="]);
    check("secret-1 name=", &["name= is empty"]);
    check("secret-1 name=a name=b", &["name is given twice"]);
    check("secret-1 name=a\nsecret-2 name=a", &["line 2", "name=a", "earlier line"]);
    check("secret-1\nsecret-1 name=b", &["line 2", "same key"]);
    check("s\u{e9}cret-1", &["visible ASCII"]);
}

#[test]
fn file_is_read_as_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let missing = ApiKeys::read(&path).unwrap_err().to_string();
    assert!(missing.contains("keys") && missing.contains("No such file"), "{missing}");
    fs::write(&path, "# people\r\n  first-key   name=ann concurrent=2\r\n\r\nsecond-key\n").unwrap();
    let keys = ApiKeys::read(&path).unwrap();
    assert_eq!(keys.admit(Some("first-key")).unwrap().name(), "ann");
    assert_eq!(keys.admit(Some("second-key")).unwrap().name(), "key-2");
}

#[test]
fn only_a_whole_key_is_accepted_whichever_line_it_is_on() {
    let keys = keys("alpha\nbeta name=b\ngamma", Instant::now()).unwrap();
    let check = |presented: Option<&str>, expected: Result<&str, AuthError>| {
        let admitted = keys.admit(presented);
        assert_eq!(admitted.as_ref().map(Permit::name), expected.as_ref().copied(), "{presented:?}");
    };
    check(Some("alpha"), Ok("key-1"));
    check(Some("beta"), Ok("b"));
    check(Some("gamma"), Ok("key-3"));
    check(None, Err(AuthError::Missing));
    for wrong in ["", "alph", "alphaa", "Alpha", "alpha\nbeta", "key-1", "b"] {
        check(Some(wrong), Err(AuthError::Wrong));
    }
}

#[test]
fn key_is_found_in_each_header_a_client_may_use() {
    let check = |headers: &[(&'static str, &'static str)], expected: Option<&str>| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        assert_eq!(ApiKeys::presented(&map), expected, "{headers:?}");
    };
    check(&[], None);
    check(&[("authorization", "Bearer k1")], Some("k1"));
    check(&[("authorization", "bearer  k1 ")], Some("k1"));
    check(&[("authorization", "Basic dXNlcjpwdw==")], None);
    check(&[("authorization", "k1")], None);
    check(&[("x-api-key", "k2")], Some("k2"));
    check(&[("api-key", "k3")], Some("k3"));
    check(&[("authorization", "Bearer k1"), ("x-api-key", "k2")], Some("k1"));
    check(&[("authorization", "Basic dXNlcjpwdw=="), ("api-key", "k3")], Some("k3"));
}

#[test]
fn the_request_allowance_refills_one_by_one() {
    let start = Instant::now();
    let keys = keys("k requests_per_minute=6", start).unwrap();
    let at = |ms: u64| keys.admit_at(Some("k"), start + Duration::from_millis(ms)).map(drop);
    let wait = |ms: u64| match at(ms) {
        Err(AuthError::TooManyRequests { per_minute: 6, retry_after }) => retry_after.as_secs_f64(),
        other => panic!("{other:?}"),
    };
    for _ in 0..6 {
        at(0).unwrap();
    }
    assert!((wait(0) - 10.0).abs() < 0.01);
    assert!((wait(4_000) - 6.0).abs() < 0.01, "being refused costs nothing");
    at(10_000).unwrap();
    wait(10_001);
    for _ in 0..6 {
        at(600_000).unwrap();
    }
    wait(600_000);
}

#[test]
fn used_tokens_make_the_next_request_wait() {
    let start = Instant::now();
    let keys = keys("k tokens_per_minute=600", start).unwrap();
    let admitted = keys.admit_at(Some("k"), start).unwrap();
    admitted.charge_at(599, start);
    keys.admit_at(Some("k"), start).expect("one is left");
    admitted.charge_at(101, start);
    let Err(AuthError::TooManyTokens { per_minute: 600, retry_after }) = keys.admit_at(Some("k"), start)
    else {
        panic!("nothing is left");
    };
    assert!((retry_after.as_secs_f64() - 10.1).abs() < 0.01, "{retry_after:?}");
    keys.admit_at(Some("k"), start + retry_after).expect("it waited as long as it was told");
    admitted.charge_at(u64::MAX, start);
    assert!(matches!(keys.admit_at(Some("k"), start), Err(AuthError::TooManyTokens { .. })));
}

#[test]
fn running_requests_are_counted_until_they_end() {
    let now = Instant::now();
    let keys = keys("k concurrent=2 requests_per_minute=3\nother", now).unwrap();
    let admit = |key| keys.admit_at(Some(key), now);
    let first = admit("k").unwrap();
    let _second = admit("k").unwrap();
    assert!(matches!(admit("k"), Err(AuthError::TooManyAtOnce { concurrent: 2, .. })));
    assert_eq!(admit("other").map(drop), Ok(()), "each key has limits of its own");
    drop(first);
    let _third = admit("k").expect("what was refused took no request of the minute");
    drop(_third);
    assert!(matches!(admit("k"), Err(AuthError::TooManyRequests { per_minute: 3, .. })));
}

#[test]
fn the_owner_of_a_key_follows_its_name_or_else_the_key() {
    let now = Instant::now();
    let viewer = |text: &str, key: &str| keys(text, now).unwrap().admit(Some(key)).unwrap().viewer();
    let named = viewer("first name=ann", "first");
    assert_eq!(named, viewer("# new\nother\nsecond name=ann concurrent=3", "second"), "a key was replaced");
    assert_ne!(named, viewer("first name=bob", "first"));
    let plain = viewer("first\nsecond", "second");
    assert_eq!(plain, viewer("second\nfirst", "second"), "lines were moved");
    assert_ne!(plain, viewer("first\nsecond", "first"));
    assert!(!plain.name().unwrap().contains("second"), "the key itself is not recorded");
    assert_ne!(named, viewer("first name=ann admin", "first"), "it sees all");
    assert_eq!(viewer("first name=ann admin", "first").name(), named.name());
    let broken = keys("first admin admin", now).unwrap_err();
    assert!(broken.contains("admin is given twice"), "{broken}");
    assert!(keys("first admin=yes", now).unwrap_err().contains("not a setting"));
}

//! A download takes no more than was announced, and leaves nothing half-installed.

use std::fs;
use std::path::Path;

use super::files::{hub_in, quiet, tiny_gguf};
use super::server::{Fault, REPO, Server};
use crate::{HubError, Progress};

const FILE: &str = "model-Q4_K_M.gguf";

/// Result of pulling a small file from a misbehaving server, and the bytes left in the home.
fn pulled(fault: Fault) -> (Result<Vec<u8>, HubError>, u64) {
    let server = Server::start(&[(FILE, &tiny_gguf("a"))], fault);
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), &server.endpoint);
    let result = hub.pull(&format!("hf:{REPO}"), &mut quiet).map(|model| fs::read(model.path).unwrap());
    assert_eq!(hub.installed().is_empty(), result.is_err());
    (result, bytes_in(dir.path()))
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { bytes_in(&entry.path()) } else { meta.len() }
        })
        .sum()
}

#[test]
fn more_than_was_announced_is_not_taken() {
    for fault in [Fault::Floods, Fault::Grows, Fault::Announces(20)] {
        let (result, left) = pulled(fault);
        let error = result.unwrap_err().to_string();
        assert!(error.contains("announced"), "{fault:?}: {error}");
        assert_eq!(left, 0, "{fault:?}");
    }
}

#[test]
fn less_than_was_announced_is_not_installed() {
    let (result, _) = pulled(Fault::Announces(1_000_000));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("cut off") && error.contains("pull again"), "{error}");
}

#[test]
fn nothing_and_more_than_any_disk_are_refused_at_once() {
    let (result, left) = pulled(Fault::Announces(0));
    assert!(result.unwrap_err().to_string().contains("empty"));
    assert_eq!(left, 0);
    for bytes in [1 << 60, u64::MAX - 1, u64::MAX] {
        let (result, left) = pulled(Fault::Announces(bytes));
        assert!(matches!(result, Err(HubError::DiskFull { .. })), "{bytes}: {result:?}");
        assert_eq!(left, 0);
    }
}

#[test]
fn size_that_is_said_late_or_never_is_taken_from_what_comes() {
    for fault in [Fault::SaysLate, Fault::SaysNothing] {
        assert_eq!(pulled(fault).0.unwrap(), tiny_gguf("a"), "{fault:?}");
    }
}

#[test]
fn sizes_of_many_files_add_up_without_an_overflow() {
    let part = |number: u32| format!("m-Q4_K_M-{number:05}-of-00002.gguf");
    let (one, two, bytes) = (part(1), part(2), tiny_gguf("a"));
    let server = Server::start(&[(&one, &bytes), (&two, &bytes)], Fault::Announces(u64::MAX / 2 + 10));
    let dir = tempfile::tempdir().unwrap();
    let result = hub_in(dir.path(), &server.endpoint).pull(&format!("hf:{REPO}"), &mut |_: Progress| {});
    assert!(matches!(result, Err(HubError::DiskFull { .. })), "{result:?}");
}

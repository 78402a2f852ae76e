use std::io::{Seek, SeekFrom, Write};

use super::*;

/// A mapped file of `bytes` bytes with the value 7, and the same file opened for the test to damage.
fn mapped(bytes: usize) -> (tempfile::TempDir, Mapping, File) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, vec![7; bytes]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    // Set long ago, because many file systems' clocks advance only every few milliseconds.
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    (folder, Mapping::open(&path).unwrap(), file)
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

#[test]
fn file_cut_anywhere_reads_as_zeros_and_is_told() {
    const BYTES: usize = 1 << 20;
    for left in [0, 1, 4095, 4096, 100_000, BYTES - 1] {
        let (_folder, mapping, file) = mapped(BYTES);
        assert_eq!(mapping.check(), Ok(()));
        file.set_len(left as u64).unwrap();
        let rest = sum(&mapping);
        assert!(rest >= 7 * left as u64 && rest < 7 * BYTES as u64, "{rest} of {left}");
        let error = mapping.check().unwrap_err().to_string();
        assert!(error.contains("was cut short") && error.contains("renaming"), "{error}");
        // Whatever becomes of the file later, this mapping stays lost.
        file.set_len(BYTES as u64).unwrap();
        assert!(mapping.check().is_err());
    }
}

#[test]
fn many_threads_may_read_while_the_file_is_cut() {
    let (_folder, mapping, file) = mapped(8 << 20);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).map(|_| sum(&mapping)).max());
        }
        for left in (0..8).rev() {
            file.set_len(left << 20).unwrap();
        }
    });
    assert_eq!(sum(&mapping), 0);
    assert!(mapping.check().is_err());
}

#[test]
fn cut_maps_of_several_files_are_told_apart() {
    let (_one, cut, file) = mapped(100_000);
    let (_two, whole, _) = mapped(100_000);
    file.set_len(0).unwrap();
    assert_eq!((sum(&cut), sum(&whole)), (0, 700_000));
    assert!(cut.check().is_err());
    assert_eq!(whole.check(), Ok(()));
    drop(cut);
    let (_three, again, _) = mapped(100_000);
    assert_eq!((sum(&again), again.check()), (700_000, Ok(())), "a range that is used again begins anew");
}

#[test]
fn file_written_in_place_is_told_and_one_replaced_by_rename_lives_on() {
    let (folder, mapping, mut file) = mapped(100_000);
    let new = folder.path().join("new");
    fs::write(&new, "something else").unwrap();
    fs::rename(&new, folder.path().join("f")).unwrap();
    assert_eq!((sum(&mapping), mapping.check()), (700_000, Ok(())));
    file.seek(SeekFrom::Start(500)).unwrap();
    file.write_all(b"other").unwrap();
    let error = mapping.check().unwrap_err().to_string();
    assert!(error.contains("was written to"), "{error}");
}

#[test]
fn draft_that_is_cut_while_it_is_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("draft");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(1 << 20).unwrap();
    let mut draft = MappingMut::new(file).unwrap();
    draft[..10].fill(1);
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    draft.fill(2);
    assert!(draft.finish(&path).is_err());
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Mapping::open(folder.path()).is_err());
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(Mapping::open(&pipe).is_err(), "without waiting for a writer");
    }
}

use std::fs;
use std::time::{Duration, SystemTime};

use super::{Cache, Key, Vectors};
use crate::retrieval::vectors::Vector;

fn vectors(seed: u32) -> Vectors {
    let vector = |n: u32| Vector::new(&[(seed + n) as f32, 1.0, -2.0]);
    (0..5).map(|part| (part * 3, (0..part).map(vector).collect())).collect()
}

fn file(folder: &std::path::Path, key: Key) -> std::path::PathBuf {
    folder.join(key.file())
}

#[test]
fn what_was_stored_is_loaded_under_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("new/folder")).unwrap();
    let key = Key::of(&[b"text", b"model"]);
    assert!(cache.load(key).is_empty());
    cache.store(key, &vectors(1)).unwrap();
    assert_eq!(cache.load(key), vectors(1));
    cache.store(key, &vectors(2)).unwrap();
    assert_eq!(cache.load(key), vectors(2));
    assert!(cache.load(Key::of(&[b"textm", b"odel"])).is_empty());
    // A file under another one's name.
    let other = Key::of(&[b"other"]);
    fs::copy(file(&cache.folder, key), file(&cache.folder, other)).unwrap();
    assert!(cache.load(other).is_empty());
}

#[test]
fn a_file_with_any_damage_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let key = Key::of(&[b"text"]);
    cache.store(key, &vectors(1)).unwrap();
    let whole = fs::read(file(folder.path(), key)).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(file(folder.path(), key), &bytes).unwrap();
        assert!(cache.load(key).is_empty(), "byte {at}");
        fs::write(file(folder.path(), key), &whole[..at]).unwrap();
        assert!(cache.load(key).is_empty(), "cut at {at}");
    }
    fs::write(file(folder.path(), key), &whole).unwrap();
    assert_eq!(cache.load(key), vectors(1));
}

#[test]
fn several_writers_and_readers_see_whole_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::of(&[b"text"]);
    Cache::open(folder.path()).unwrap().store(key, &vectors(0)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let folder = folder.path();
            scope.spawn(move || {
                let cache = Cache::open(folder).unwrap();
                for round in 0..30 {
                    cache.store(key, &vectors(writer * 100 + round)).unwrap();
                    let loaded = cache.load(key);
                    assert!((0..300).any(|seed| loaded == vectors(seed)), "{loaded:?}");
                }
            });
        }
    });
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "no file is left aside");
}

#[test]
fn files_that_were_used_least_recently_are_removed_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let keys: Vec<Key> = (0u8..4).map(|n| Key::of(&[&[n]])).collect();
    for (hours, key) in (1..).zip(&keys) {
        cache.store(*key, &vectors(1)).unwrap();
        let used = SystemTime::now() - Duration::from_secs(3600 * hours);
        fs::File::options().append(true).open(file(folder.path(), *key)).unwrap().set_modified(used).unwrap();
    }
    fs::write(folder.path().join("of-somebody-else.txt"), "x").unwrap();
    assert!(!cache.load(keys[3]).is_empty());
    let bytes = fs::metadata(file(folder.path(), keys[0])).unwrap().len();
    cache.prune(2 * bytes).unwrap();
    let kept: Vec<bool> = keys.iter().map(|key| file(folder.path(), *key).exists()).collect();
    assert_eq!(kept, [true, false, false, true], "the last one was loaded just now");
    assert!(folder.path().join("of-somebody-else.txt").exists());
}

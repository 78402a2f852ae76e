//! A changed installed file is noticed before it is used.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::files::{hub_in, quiet};
use crate::{ImportOptions, InstalledModel, check_unchanged};
use bandmaster_models::gguf;

/// An imported copy of a file of a few megabytes.
fn imported(dir: &Path, options: &ImportOptions) -> InstalledModel {
    let mut writer = gguf::Writer::new();
    writer.set("general.architecture", "llama");
    let numbers: Vec<u8> = (0..4_000_000u32).map(|at| (at % 251) as u8).collect();
    writer.tensor("w", &[1_000_000], 0, &numbers);
    let file = dir.join("m.gguf");
    fs::write(&file, writer.finish()).unwrap();
    hub_in(dir, "http://localhost:1").import(&file, options, &mut quiet).unwrap().0
}

fn copied() -> ImportOptions {
    ImportOptions { copy: true, ..ImportOptions::default() }
}

/// The error after byte `at` of the file was changed.
fn changed_at(path: &Path, at: impl Fn(usize) -> usize) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    check_unchanged(path).unwrap_err().to_string()
}

#[test]
fn changed_bytes_anywhere_are_seen() {
    let places: [fn(usize) -> usize; 5] =
        [|_| 0, |_| 30, |len| len / 2, |len| len / 3 + 12_345, |len| len - 1];
    for place in places {
        let dir = tempfile::tempdir().unwrap();
        let model = imported(dir.path(), &copied());
        check_unchanged(&model.path).unwrap();
        let error = changed_at(&model.path, place);
        for part in ["m.gguf", "was changed", "models rm m"] {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}

#[cfg(unix)]
#[test]
fn changed_bytes_with_the_old_time_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let model = imported(dir.path(), &copied());
    let time = fs::metadata(&model.path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&model.path).unwrap();
    // Between two samples.
    let at = bytes.len() / 255 * 100 + 6000;
    bytes[at] ^= 1;
    fs::write(&model.path, bytes).unwrap();
    File::options().write(true).open(&model.path).unwrap().set_modified(time).unwrap();
    let error = check_unchanged(&model.path).unwrap_err().to_string();
    assert!(error.contains("sha256"), "{error}");
}

#[test]
fn shorter_longer_and_missing_files_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let model = imported(dir.path(), &copied());
    let file = File::options().write(true).open(&model.path).unwrap();
    for bytes in [0, model.bytes - 1, model.bytes + 1] {
        file.set_len(bytes).unwrap();
        let error = check_unchanged(&model.path).unwrap_err().to_string();
        assert!(error.contains(&format!("{bytes} bytes")), "{error}");
    }
    fs::remove_file(&model.path).unwrap();
    let error = check_unchanged(&model.path).unwrap_err().to_string();
    assert!(error.contains("no longer exists"), "{error}");
}

#[test]
fn original_that_is_changed_is_seen_where_it_is_shared() {
    let dir = tempfile::tempdir().unwrap();
    let model = imported(dir.path(), &ImportOptions::default());
    let shared = {
        let original = dir.path().join("m.gguf");
        let file = File::options().write(true).open(&original).unwrap();
        file.set_len(model.bytes - 5).unwrap();
        fs::metadata(&model.path).unwrap().len() != model.bytes
    };
    // A reflink has its own bytes, so it is not affected.
    assert_eq!(check_unchanged(&model.path).is_err(), shared);
}

#[test]
fn touched_copied_and_old_files_are_read_whole_once() {
    let dir = tempfile::tempdir().unwrap();
    let model = imported(dir.path(), &copied());
    let manifest = model.path.with_file_name("manifest.json");
    let kept = || fs::read_to_string(&manifest).unwrap();
    let first = kept();
    File::options()
        .write(true)
        .open(&model.path)
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(1000))
        .unwrap();
    check_unchanged(&model.path).unwrap();
    let touched = kept();
    assert_ne!(first, touched, "its new times are kept");
    check_unchanged(&model.path).unwrap();
    assert_eq!(kept(), touched);
    let mut older: serde_json::Value = serde_json::from_str(&touched).unwrap();
    older["files"][0].as_object_mut().unwrap().remove("seen");
    fs::write(&manifest, older.to_string()).unwrap();
    check_unchanged(&model.path).unwrap();
    assert!(kept().contains("sample_sha256"));
    assert_eq!(fs::read_dir(model.path.parent().unwrap()).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn where_nothing_can_be_kept_a_file_is_not_read_whole_at_each_load() {
    let dir = tempfile::tempdir().unwrap();
    let model = imported(dir.path(), &copied());
    let folder = model.path.parent().unwrap();
    check_unchanged(&model.path).unwrap();
    // A folder in the way of the new manifest simulates a home that can't be written to, which works for root too.
    let way = folder.join(format!("manifest.json.new-{}", std::process::id()));
    fs::create_dir(&way).unwrap();
    let touched = |path: &Path, at: usize| {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(1000)).unwrap();
    };
    // Between two samples: only reading the file in full would notice.
    let between = model.bytes as usize / 255 * 100 + 6000;
    touched(&model.path, between);
    check_unchanged(&model.path).unwrap();
    // In a sample: noticed anyway.
    touched(&model.path, 30);
    let error = check_unchanged(&model.path).unwrap_err().to_string();
    assert!(error.contains("was changed"), "{error}");
    touched(&model.path, 30);
    fs::remove_dir(&way).unwrap();
    let error = check_unchanged(&model.path).unwrap_err().to_string();
    assert!(error.contains("sha256"), "where it can be kept, it is read whole: {error}");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn files_of_ones_own_pass() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.gguf");
    fs::write(&file, "anything").unwrap();
    check_unchanged(&file).unwrap();
    fs::write(dir.path().join("manifest.json"), "{\"name\": \"a web page\"}").unwrap();
    check_unchanged(&file).unwrap();
    check_unchanged(dir.path()).unwrap();
}

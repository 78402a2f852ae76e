//! Tests of files on disk: import, verify, rm, disk space.

use std::fs;
use std::path::{Path, PathBuf};

use bandmaster_models::gguf;

use crate::import::{ImportMethod, link_or_copy};
use crate::store::check_space;
use crate::{Home, Hub, HubError, ImportOptions, Progress, Remote, Role};

pub(super) fn remote(endpoint: &str) -> Remote {
    Remote { endpoint: endpoint.to_owned(), token: None, cache_dir: None, pythons: Vec::new() }
}

pub(super) fn hub_in(dir: &Path, endpoint: &str) -> Hub {
    Hub::with_remote(Home::under(&dir.join("home")), false, remote(endpoint))
}

/// A GGUF file of a few bytes.
pub(super) fn tiny_gguf(word: &str) -> Vec<u8> {
    let mut writer = gguf::Writer::new();
    writer.set("general.architecture", "llama").set("general.name", word);
    writer.tensor("w", &[32], 0, &[7; 128]);
    writer.finish()
}

pub(super) fn quiet(_: Progress) {}

fn written(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn imported_file_is_found_verified_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let file = written(dir.path(), "My Model.gguf", &tiny_gguf("a"));
    let (model, method) = hub.import(&file, &ImportOptions::default(), &mut quiet).unwrap();
    assert_eq!((model.name.as_str(), model.role), ("my-model", Role::Worker));
    assert!(
        matches!(method, Some(ImportMethod::Reflink | ImportMethod::HardLink | ImportMethod::Symlink)),
        "{method:?}"
    );
    assert_eq!(hub.find("my-model").unwrap().path, model.path);
    hub.verify(&model, &mut quiet).unwrap();
    let again = hub.import(&file, &ImportOptions::default(), &mut quiet).unwrap().0;
    assert_eq!(again, model, "importing the same file again changes nothing");
    let other = written(dir.path(), "my-model.gguf", &tiny_gguf("b"));
    let taken = hub.import(&other, &ImportOptions::default(), &mut quiet).unwrap_err();
    assert!(matches!(taken, HubError::NameTaken { .. }), "{taken}");
    assert_eq!(hub.rm("my-model").unwrap(), model.bytes);
    assert!(hub.installed().is_empty());
    assert!(file.is_file(), "the original stays");
}

#[test]
fn changed_file_fails_verification() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let file = written(dir.path(), "m.gguf", &tiny_gguf("a"));
    let options = ImportOptions { copy: true, ..ImportOptions::default() };
    let model = hub.import(&file, &options, &mut quiet).unwrap().0;
    let mut bytes = fs::read(&model.path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&model.path, &bytes).unwrap();
    let error = hub.verify(&model, &mut quiet).unwrap_err().to_string();
    assert!(error.contains("sha256") && error.contains("models rm m"), "{error}");
    fs::write(&model.path, &bytes[1..]).unwrap();
    assert!(hub.verify(&model, &mut quiet).unwrap_err().to_string().contains("bytes"));
}

#[test]
fn what_is_no_model_is_not_imported() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let good = tiny_gguf("a");
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let cases = [
        written(dir.path(), "text.gguf", b"not a model at all, but long enough to hold a header"),
        written(dir.path(), "short.gguf", &good[..good.len() / 2]),
        written(dir.path(), "empty.gguf", b""),
        written(dir.path(), "m-00001-of-00002.gguf", &good),
        written(dir.path(), "model.safetensors", b"alone"),
        dir.path().join("missing.gguf"),
        folder,
    ];
    for path in cases {
        let error =
            hub.import(&path, &ImportOptions::default(), &mut quiet).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
        assert!(hub.installed().is_empty(), "{error}");
    }
}

#[test]
fn embedding_model_is_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let folder = dir.path().join("my-embedder");
    fs::create_dir(&folder).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        written(&folder, name, name.as_bytes());
    }
    let model =
        hub.import(&folder.join("model.safetensors"), &ImportOptions::default(), &mut quiet).unwrap().0;
    assert_eq!((model.name.as_str(), model.role), ("my-embedder", Role::Embeddings));
    assert!(model.path.join("config.json").is_file());
}

#[test]
fn split_model_by_path_is_all_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let part = |number: u32| format!("m-{number:05}-of-00003.gguf");
    let first = written(dir.path(), &part(1), &[1; 1000]);
    let third = written(dir.path(), &part(3), &[3; 3000]);
    let missing = hub.find(first.to_str().unwrap()).unwrap_err().to_string();
    assert!(missing.contains(dir.path().join(part(2)).to_str().unwrap()), "{missing}");
    assert!(missing.contains("3 parts"), "{missing}");
    written(dir.path(), &part(2), &[2; 2000]);
    let found = hub.find(first.to_str().unwrap()).unwrap();
    assert_eq!((found.name.as_str(), found.bytes, &found.path), ("m", 6000, &first));
    assert!(found.memory_bytes > found.bytes);
    assert_eq!(hub.find(third.to_str().unwrap()).unwrap(), found, "any part stands for the whole");
}

#[test]
fn model_of_the_wrong_kind_is_refused_with_those_of_the_right() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let folder = dir.path().join("embedder");
    fs::create_dir(&folder).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        written(&folder, name, name.as_bytes());
    }
    let file = written(dir.path(), "writer.gguf", &tiny_gguf("a"));
    let typed = [&folder, &folder.join("model.safetensors")].map(|path| path.to_str().unwrap().to_owned());
    for typed in &typed {
        let found = hub.find_embedder(typed).unwrap();
        assert_eq!((found.name.as_str(), &found.path), ("embedder", &folder), "{typed}");
        let error = hub.find_text_model(typed).unwrap_err().to_string();
        for part in [typed, "is an embedding model", folder.to_str().unwrap(), "models list"] {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
    hub.import(&folder, &ImportOptions::default(), &mut quiet).unwrap();
    hub.import(&file, &ImportOptions::default(), &mut quiet).unwrap();
    let error = hub.find_text_model("embedder").unwrap_err().to_string();
    assert!(error.contains("installed: writer"), "{error}");
    let error = hub.find_embedder("writer").unwrap_err().to_string();
    assert!(error.contains("a model that writes text") && error.contains("installed: embedder"), "{error}");
    assert!(hub.find_text_model("writer").is_ok() && hub.find_embedder("embedder").is_ok());
}

#[test]
fn debris_is_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let folder = hub.home().models_dir.join("half");
    fs::create_dir_all(&folder).unwrap();
    written(&folder, "model.gguf", &tiny_gguf("a"));
    assert!(hub.installed().is_empty(), "a folder without a manifest is not installed");
    let name = ImportOptions { name: Some("half".to_owned()), ..ImportOptions::default() };
    let file = written(dir.path(), "whole.gguf", &tiny_gguf("b"));
    assert_eq!(hub.import(&file, &name, &mut quiet).unwrap().0.name, "half");
}

#[test]
fn import_leaves_behind_what_a_cut_off_pull_began() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let partial = hub.home().models_dir.join(".partial/m");
    fs::create_dir_all(partial.join("wheels")).unwrap();
    fs::create_dir(partial.join("m.gguf")).unwrap();
    written(&partial, "m.gguf.part", b"half a download");
    let file = written(dir.path(), "m.gguf", &tiny_gguf("a"));
    let model = hub.import(&file, &ImportOptions::default(), &mut quiet).unwrap().0;
    let folder = fs::read_dir(model.path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["m.gguf", "manifest.json"]);
}

#[test]
fn names_that_leave_the_folder_are_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    for name in ["..", ".", ".partial"] {
        assert!(matches!(hub.find(name), Err(HubError::UnknownModel { .. })), "{name}");
        assert!(hub.rm(name).is_err(), "{name}");
    }
    let options = ImportOptions { name: Some("../out".to_owned()), ..ImportOptions::default() };
    let file = written(dir.path(), "m.gguf", &tiny_gguf("a"));
    assert!(hub.import(&file, &options, &mut quiet).is_err());
    assert!(!dir.path().join("home/out").exists());
}

#[test]
fn copies_replace_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let from = written(dir.path(), "from", b"new");
    let to = written(dir.path(), "to", b"old and longer");
    assert!(matches!(link_or_copy(&from, &to, true).unwrap(), ImportMethod::Copy | ImportMethod::Reflink));
    assert_eq!(fs::read(&to).unwrap(), b"new");
}

#[test]
fn full_disk_is_seen_before_the_first_byte() {
    let error = check_space(Path::new("/models"), 1_117_320_768, Some(5_000_000)).unwrap_err().to_string();
    assert!(error.contains("1.12 GB") && error.contains("5.00 MB") && error.contains("--home"), "{error}");
    check_space(Path::new("/models"), 10, Some(10)).unwrap();
    check_space(Path::new("/models"), 10, None).unwrap();
}

#[cfg(unix)]
#[test]
fn private_folders_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let home = Home::under(&dir.path().join("home"));
    let state = home.create_state_dir().unwrap();
    assert_eq!(fs::metadata(state).unwrap().permissions().mode() & 0o777, 0o700);
}

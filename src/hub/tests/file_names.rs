//! Nothing that a hub, an archive, a manifest or a link in the way names may end up outside its folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use bandmaster_models::gguf;
use proptest::prelude::*;

use super::files::{hub_in, quiet, tiny_gguf};
use super::server::{Fault, REPO, Server};
use crate::file_name::{FileName, is_plain_path};
use crate::reference::Reference;
use crate::{Hub, HubError, ImportOptions};

/// Names that lead to another folder, or that some system doesn't allow.
const HOSTILE: &[&str] = &[
    "",
    ".",
    "..",
    "../x.gguf",
    "../../../../x.gguf",
    "a/../../x.gguf",
    "/x.gguf",
    "//host/x.gguf",
    "a//x.gguf",
    "a/./x.gguf",
    "a/",
    "..\\x.gguf",
    "a\\..\\x.gguf",
    "C:x.gguf",
    "C:\\x.gguf",
    "\\\\host\\x.gguf",
    "x.gguf:stream",
    ".ssh",
    ".x.gguf",
    "a/.git/x.gguf",
    "x.gguf ",
    "x.gguf.",
    " x.gguf",
    "x\0.gguf",
    "x\n.gguf",
    "x\u{1b}[2J.gguf",
    "x\u{202e}fugg.gguf",
    "x\u{200b}.gguf",
    "\u{feff}x.gguf",
    "con",
    "CON.gguf",
    "aux.gguf",
    "Nul .gguf",
    "com1.gguf",
    "lpt9",
    "a/prn/x.gguf",
    "x?.gguf",
    "x*.gguf",
    "\"x\".gguf",
    "x|y.gguf",
    "<x>.gguf",
    "manifest.json",
    "Manifest.JSON",
];

#[test]
fn names_that_lead_elsewhere_are_refused_and_ordinary_ones_are_not() {
    let long = "x".repeat(201);
    for name in HOSTILE.iter().copied().chain([long.as_str()]) {
        let error = FileName::of_remote("hf:a/b", name).unwrap_err().to_string();
        assert!(error.contains("hf:a/b") && error.contains("refused"), "{name:?}: {error}");
        assert!(!error.contains('\u{1b}') && error.len() < 500, "{error}");
    }
    let good = [
        ("x.gguf", "x.gguf"),
        ("Q4_K_M/model-00001-of-00002.gguf", "model-00001-of-00002.gguf"),
        ("a/b/c d/SmolLM2 (1.7B) + é.Q4_K_M.gguf", "SmolLM2 (1.7B) + é.Q4_K_M.gguf"),
        ("console.gguf", "console.gguf"),
        ("auxiliary/com10.gguf", "com10.gguf"),
        ("a..b.gguf", "a..b.gguf"),
    ];
    for (path, kept) in good {
        assert_eq!(FileName::of_remote("hf:a/b", path).unwrap().as_str(), kept);
        assert!(is_plain_path(path));
    }
}

/// Paths of every kind, joined from harmless and hostile parts.
fn any_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        Just("C:".to_owned()),
        "[a-z.]{1,8}",
        "\\PC{0,6}",
        any::<String>(),
    ];
    let joined = prop_oneof![Just("/"), Just("\\"), Just("/../"), Just("//")];
    (prop::collection::vec(part, 1..5), joined).prop_map(|(parts, by)| parts.join(by))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_taken_is_one_plain_component(path in any_path()) {
        let folder = Path::new("/home/models/.partial/m");
        if let Ok(name) = FileName::of_remote("hub", &path) {
            for made in [name.within(folder), name.beside(folder, ".part")] {
                prop_assert_eq!(made.parent(), Some(folder));
                prop_assert!(matches!(made.components().next_back(), Some(Component::Normal(_))));
                prop_assert_eq!(made.components().count(), folder.components().count() + 1);
            }
            prop_assert!(is_plain_path(&path));
        }
        if is_plain_path(&path) {
            let inside = folder.join(&path);
            prop_assert!(inside.starts_with(folder) && !inside.components().any(|part| part == Component::ParentDir));
        }
        let own = FileName::of_own(Path::new(&path), "model.gguf").within(folder);
        prop_assert_eq!(own.parent(), Some(folder));
    }

    #[test]
    fn whatever_reference_is_typed_has_a_plain_local_name(
        repo in "[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}",
        select in prop_oneof![Just(String::new()), "\\PC{1,250}".prop_map(|word| format!(":{word}"))],
        rev in prop_oneof![Just(String::new()), "\\PC{1,40}".prop_map(|rev| format!("@{rev}"))],
    ) {
        if let Ok(Reference::Hub(reference)) = Reference::parse(&format!("hf:{repo}{select}{rev}")) {
            let name = reference.local_name();
            prop_assert!(FileName::new(&name).is_ok(), "{name}");
            prop_assert_eq!(Path::new("/m").join(&name).components().count(), 3);
        }
    }
}

/// Every file below `dir` outside the home, with its content; for a link, its target.
fn outside(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if path == dir.join("home") {
                continue;
            }
            if kind.is_dir() {
                found.insert(path.clone(), Vec::new());
                folders.push(path);
            } else if kind.is_file() {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn hub_that_lists_hostile_names_writes_nothing_anywhere() {
    let bytes = tiny_gguf("a");
    for name in HOSTILE.iter().filter(|name| name.to_lowercase().ends_with(".gguf")) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.gguf"), "a person's own").unwrap();
        let before = outside(dir.path());
        let server = Server::start(&[(name, &bytes)], Fault::None);
        let hub = hub_in(dir.path(), &server.endpoint);
        let error = hub.pull(&format!("hf:{REPO}"), &mut quiet).unwrap_err();
        assert!(matches!(error, HubError::UnsafeName { .. }), "{name:?}: {error}");
        assert_eq!(outside(dir.path()), before, "{name:?}");
        assert!(hub.installed().is_empty());
        assert!(server.gets().len() == 1, "its bytes were not asked for");
    }
}

/// A model in two parts, in a folder of its repository.
fn split_parts() -> [(String, Vec<u8>); 2] {
    [0u16, 1].map(|part| {
        let mut writer = gguf::Writer::new();
        writer.set("general.architecture", "llama");
        writer.set("split.no", &part).set("split.count", &2u16).set("split.tensors.count", &2i32);
        writer.tensor(&format!("t{part}"), &[2], 0, &[0; 8]);
        (format!("Q4_K_M/model-Q4_K_M-0000{}-of-00002.gguf", part + 1), writer.finish())
    })
}

#[test]
fn parts_in_a_folder_of_the_repository_are_kept_side_by_side() {
    let parts = split_parts();
    let files: Vec<(&str, &[u8])> =
        parts.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let server = Server::start(&files, Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), &server.endpoint);
    let model = hub.pull(&format!("hf:{REPO}:Q4_K_M"), &mut quiet).unwrap();
    let names: Vec<&str> = model.files.iter().map(|kept| kept.file.as_str()).collect();
    assert_eq!(names, ["model-Q4_K_M-00001-of-00002.gguf", "model-Q4_K_M-00002-of-00002.gguf"]);
    assert_eq!(fs::read(&model.path).unwrap(), parts[0].1);
    hub.verify(&model, &mut quiet).unwrap();
}

/// Every file and folder that a pull creates, in order.
#[cfg(unix)]
fn places(hub: &Hub) -> Vec<PathBuf> {
    let partial = hub.home().models_dir.join(".partial");
    let model = partial.join("owner--model-gguf");
    let name = "model-Q4_K_M.gguf";
    vec![
        partial.join("owner--model-gguf.lock"),
        model.join(format!("{name}.part")),
        model.join(format!("{name}.resume.json")),
        model.join(name),
        model.join("manifest.json"),
        model.clone(),
        partial,
    ]
}

/// Creates at the second path a link to the first, or a pipe.
#[cfg(unix)]
type Plant = fn(&Path, &Path);

#[cfg(unix)]
#[test]
fn links_in_the_way_are_replaced_and_never_written_through() {
    use std::os::unix::fs::symlink;
    let bytes = tiny_gguf("a");
    let server = Server::start(&[("model-Q4_K_M.gguf", &bytes)], Fault::None);
    let plant: [(&str, Plant); 4] = [
        ("link", |to, at| symlink(to, at).unwrap()),
        ("link to nothing", |to, at| symlink(to.with_file_name("nothing"), at).unwrap()),
        ("second name", |to, at| fs::hard_link(to, at).unwrap()),
        ("pipe", |_, at| {
            std::process::Command::new("mkfifo").arg(at).status().unwrap();
        }),
    ];
    for (kind, plant) in plant {
        for number in 0..7 {
            let dir = tempfile::tempdir().unwrap();
            let hub = hub_in(dir.path(), &server.endpoint);
            let place = &places(&hub)[number];
            let is_folder = number >= 5;
            let mine = dir.path().join("mine");
            if is_folder {
                fs::create_dir(&mine).unwrap();
                fs::write(mine.join("file"), "a person's own").unwrap();
                if kind != "link" {
                    continue;
                }
            } else {
                fs::write(&mine, "a person's own, and longer than any download of this test".repeat(9))
                    .unwrap();
            }
            let before = outside(dir.path());
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            plant(&mine, place);
            let model = hub.pull(&format!("hf:{REPO}"), &mut quiet);
            assert_eq!(outside(dir.path()), before, "{kind} at {}", place.display());
            let model = model.unwrap_or_else(|error| panic!("{kind} at {}: {error}", place.display()));
            assert_eq!(fs::read(&model.path).unwrap(), bytes);
            assert!(fs::symlink_metadata(&model.path).unwrap().is_file());
            hub.rm(&model.name).unwrap();
            assert_eq!(outside(dir.path()), before, "rm with a {kind} at {}", place.display());
        }
    }
}

#[cfg(unix)]
#[test]
fn links_in_the_way_of_an_import_are_replaced() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let (file, mine) = (dir.path().join("m.gguf"), dir.path().join("mine"));
    fs::write(&file, tiny_gguf("a")).unwrap();
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("file"), "a person's own").unwrap();
    let before = outside(dir.path());
    fs::create_dir_all(hub.home().models_dir.join(".partial")).unwrap();
    symlink(&mine, hub.home().models_dir.join(".partial/m")).unwrap();
    symlink(&mine, hub.home().models_dir.join("m")).unwrap();
    let options = ImportOptions { copy: true, ..ImportOptions::default() };
    let model = hub.import(&file, &options, &mut quiet).unwrap().0;
    assert_eq!(fs::read(&model.path).unwrap(), tiny_gguf("a"));
    assert_eq!(outside(dir.path()), before);
}

#[test]
fn manifest_that_names_files_elsewhere_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    fs::write(dir.path().join("secret"), "a person's own").unwrap();
    let folder = hub.home().models_dir.join("m");
    fs::create_dir_all(&folder).unwrap();
    for name in ["../../../secret", "/etc/passwd", "..", "a/../../x", "m\\x"] {
        let manifest = serde_json::json!({"name": "m", "role": "worker", "source": "", "licence": null,
            "files": [{"file": name, "bytes": 1, "sha256": ""}]});
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        assert!(hub.installed().is_empty(), "{name}");
    }
}

#[test]
fn a_folder_that_can_not_be_used_is_said_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let models = &hub.home().models_dir;
    let manifest = |file: &str| {
        serde_json::json!({"name": "m", "role": "worker", "source": "", "licence": null,
            "files": [{"file": file, "bytes": 1, "sha256": ""}]})
        .to_string()
    };
    let put = |name: &str, manifest: &str| {
        fs::create_dir_all(models.join(name)).unwrap();
        fs::write(models.join(name).join("manifest.json"), manifest).unwrap();
    };
    put("odd ", &manifest("m.gguf"));
    put("con", &manifest("m.gguf"));
    put("outside", &manifest("../m.gguf"));
    put("cut", "{\"name\": ");
    put(
        "empty",
        "{\"name\": \"m\", \"role\": \"worker\", \"source\": \"\", \"licence\": null, \"files\": []}",
    );
    put("good", &manifest("m.gguf"));
    fs::create_dir_all(models.join("a-persons-own")).unwrap();
    let broken = hub.broken();
    assert_eq!(broken.len(), 5, "{broken:#?}");
    for (said, (name, why)) in broken.iter().zip([
        ("con", "its name is refused"),
        ("cut", "can't be read"),
        ("empty", "names no file"),
        ("odd ", "its name is refused"),
        ("outside", "`../m.gguf`"),
    ]) {
        let path = models.join(name).display().to_string();
        assert!(said.contains(&path) && said.contains(why) && said.contains("delete this folder"), "{said}");
    }
    assert_eq!(hub.installed().len(), 1);
    let error = hub.find("outside").unwrap_err().to_string();
    assert!(error.contains("../m.gguf") && error.contains("delete this folder"), "{error}");
}

#[test]
fn own_file_with_a_name_that_does_not_travel_gets_one_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), "http://localhost:1");
    let mut names = vec![".hidden.gguf".to_owned(), "con.gguf".to_owned(), "a\u{202e}b.gguf".to_owned()];
    names.push(format!("{}.gguf", "x".repeat(230)));
    for (number, name) in names.iter().enumerate() {
        let file = dir.path().join(name);
        fs::write(&file, tiny_gguf("a")).unwrap();
        let options = ImportOptions { name: Some(format!("m{number}")), ..ImportOptions::default() };
        let model = hub.import(&file, &options, &mut quiet).unwrap().0;
        assert_eq!(model.files[0].file, "model.gguf");
        hub.verify(&model, &mut quiet).unwrap();
    }
    for name in ["con", "a.", &"x".repeat(300)] {
        let options = ImportOptions { name: Some(name.to_owned()), ..ImportOptions::default() };
        assert!(hub.import(&dir.path().join(&names[0]), &options, &mut quiet).is_err(), "{name}");
    }
}

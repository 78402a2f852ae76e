//! Tests of the built program where the system gives it little or nothing: low limits, unwritable places, damaged or
//! missing records. The program must say what is missing and what to do, and exit with a status other than 0.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rusqlite::Connection;

use super::cli::Home;

const LISTS: [&[&str]; 2] = [&["runs", "list"], &["models", "list"]];
const WITH_MODELS: [&[&str]; 3] =
    [&["run", "goal"], &["serve", "--port", "0"], &["bench", "throughput", "--model", "m"]];

/// Runs the program in a shell that first executes `before`; `after` follows the command, such as a redirection.
fn in_shell(home: &Home, before: &str, words: &[&str], after: &str) -> Output {
    let command = home.command(words);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{before}\nexec \"$0\" \"$@\" {after}"));
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::null()).output().unwrap()
}

/// Checks that stderr contains every part, that the status is 1 or 2, and that it neither panicked nor was killed.
fn check_failed(output: &Output, parts: &[&str], about: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{about}: {:?}: {said}", output.status);
    assert!(said.contains("error: ") && !said.contains("panicked"), "{about}: {said}");
    for part in parts {
        assert!(said.contains(part), "{about}: {said:?} lacks {part:?}");
    }
}

#[test]
fn too_few_open_files_are_named() {
    let home = Home::new();
    // With fewer files the C library's loader already fails.
    for files in [5, 6, 7, 8, 10, 12, 15] {
        for words in LISTS.iter().chain(&WITH_MODELS) {
            let output = in_shell(&home, &format!("ulimit -n {files}"), words, "");
            check_failed(&output, &[&format!("{files} open files"), "ulimit -n 1024"], &format!("{words:?}"));
        }
    }
    for files in [16, 40, 63] {
        for words in WITH_MODELS {
            let output = in_shell(&home, &format!("ulimit -n {files}"), words, "");
            check_failed(&output, &[&format!("{files} open files"), "ulimit -n 1024"], &format!("{words:?}"));
        }
        for words in LISTS {
            let output = in_shell(&home, &format!("ulimit -n {files}"), words, "");
            assert!(output.status.success(), "{files} {words:?}: {output:?}");
        }
    }
}

#[test]
fn too_little_memory_is_named_by_its_limit() {
    let home = Home::new();
    for (limit, what) in
        [("-v 1500000", "address space"), ("-d 100000", "memory for data"), ("-d 20000", "memory for data")]
    {
        for words in WITH_MODELS {
            let output = in_shell(&home, &format!("ulimit {limit}"), words, "");
            let option = format!("`ulimit {} unlimited`", &limit[..2]);
            check_failed(&output, &[what, &option, "MiB"], &format!("{words:?} {limit}"));
        }
        for words in LISTS {
            let output = in_shell(&home, &format!("ulimit {limit}"), words, "");
            assert!(output.status.success(), "{limit} {words:?}: {output:?}");
        }
    }
}

#[test]
fn a_limit_of_file_sizes_kills_nothing_and_is_named() {
    let home = Home::new();
    for words in [&["runs", "list"][..], &["run", "goal"], &["serve", "--port", "0"]] {
        let output = in_shell(&home, "ulimit -f 0", words, "");
        check_failed(&output, &["0 KiB", "the record of runs", "ulimit -f unlimited"], &format!("{words:?}"));
    }
    let file = home.path().join("out.txt");
    let to_file = format!("> '{}'", file.display());
    for words in [&["models", "list"][..], &["--help"], &["run", "--help"], &["completions", "bash"]] {
        let output = in_shell(&home, "ulimit -f 0", words, &to_file);
        check_failed(&output, &["standard output can't be written", "ulimit -f"], &format!("{words:?}"));
    }
    let mut writer = bandmaster_models::gguf::Writer::new();
    writer.set("general.architecture", "llama").tensor("w", &[32], 0, &[7; 128]);
    let model = home.path().join("mine.gguf");
    fs::write(&model, writer.finish()).unwrap();
    let import = ["models", "import", "--copy", model.to_str().unwrap()];
    check_failed(&in_shell(&home, "ulimit -f 0", &import, ""), &["home/models", "ulimit -f"], "import");
    assert!(in_shell(&home, "", &import, "").status.success(), "nothing half was left");
}

#[test]
fn output_that_nobody_can_have_is_an_error_that_names_stdout() {
    let home = Home::new();
    let commands: [&[&str]; 10] = [
        &["--help"],
        &["--version"],
        &["run", "--help"],
        &["serve", "--help"],
        &["models", "list"],
        &["models", "list", "--json"],
        &["runs", "list"],
        &["workers", "list"],
        &["doctor"],
        &["completions", "bash"],
    ];
    for (to, why) in [("> /dev/full", "space"), (">&-", "closed"), ("1< /dev/null", "reading only")] {
        if to.contains("full") && !Path::new("/dev/full").exists() {
            continue;
        }
        for words in commands {
            let output = in_shell(&home, "", words, to);
            let about = format!("{words:?} {to}");
            check_failed(&output, &["standard output can't be written", why], &about);
        }
    }
    // The error comes before any work is done.
    for words in WITH_MODELS {
        check_failed(
            &in_shell(&home, "", words, ">&-"),
            &["standard output", "closed"],
            &format!("{words:?}"),
        );
    }
    for words in commands {
        for to in ["> /dev/null", "1<> /dev/null", "> /dev/null 2>&-"] {
            assert!(in_shell(&home, "", words, to).status.success(), "{words:?} {to}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_told_nothing() {
    let home = Home::new();
    for words in [&["--help"][..], &["run", "--help"], &["models", "list"], &["completions", "bash"]] {
        let mut command = home.command(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}

#[test]
fn a_home_that_is_no_folder_is_named() {
    let home = Home::new();
    fs::write(home.path().join("home"), "a file").unwrap();
    for words in LISTS.iter().chain(&WITH_MODELS) {
        let output = in_shell(&home, "", words, "");
        check_failed(&output, &["home", "is a file", "--home"], &format!("{words:?}"));
    }
    assert_eq!(fs::read_to_string(home.path().join("home")).unwrap(), "a file");
}

#[test]
fn a_home_that_may_only_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let folder = home.path().join("home");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(folder.join("probe"), "").is_ok() {
        return bandmaster_test_support::skip("this user may write everywhere");
    }
    let output = in_shell(&home, "", &["runs", "list"], "");
    check_failed(&output, &["runs.sqlite", "--home"], "runs list");
    assert!(in_shell(&home, "", &["models", "list"], "").status.success());
}

/// Path and bytes of the closed record of a home with one run.
fn record(home: &Home) -> (PathBuf, Vec<u8>) {
    let path = home.path().join("home/runs.sqlite");
    let journal = bandmaster::journal::Journal::open(&path).unwrap();
    for n in 0..20 {
        let run = journal.create_run().unwrap();
        let body = serde_json::json!({"goal": format!("goal {n} {}", "word ".repeat(500)), "inputs": []});
        journal.append(&run.id, "run.started", 0, &body).unwrap();
    }
    drop(journal);
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// Replaces the record by `bytes`, without its side files.
fn replace(path: &Path, bytes: &[u8]) {
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", path.display()));
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_record_that_is_none_is_named_and_left_as_it_is() {
    let home = Home::new();
    let (path, good) = record(&home);
    let foreign = home.path().join("foreign.sqlite");
    let other = Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE bookmarks (id); PRAGMA user_version = 3;").unwrap();
    drop(other);
    let newer = home.path().join("newer.sqlite");
    fs::write(&newer, &good).unwrap();
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let headless: Vec<u8> = [vec![0; 64], good[64..].to_vec()].concat();
    let bad: [(&str, Vec<u8>, &str); 6] = [
        ("a text", b"notes of mine, a line or two, and no database ".repeat(20), "move it away"),
        ("another program's database", fs::read(foreign).unwrap(), "another program's database"),
        ("of a newer version", fs::read(newer).unwrap(), "use a newer bandmaster"),
        ("cut in half", good[..good.len() / 2].to_vec(), "move it away"),
        ("without its head", headless, "move it away"),
        ("zeros", vec![0; good.len()], "move it away"),
    ];
    for (about, bytes, way_out) in bad {
        replace(&path, &bytes);
        for words in
            [&["runs", "list"][..], &["runs", "show", "last"], &["runs", "prune", "--older-than", "1d"]]
        {
            check_failed(
                &in_shell(&home, "", words, ""),
                &["runs.sqlite", way_out],
                &format!("{about} {words:?}"),
            );
        }
        assert!(fs::read(&path).unwrap() == bytes, "{about}: it was changed");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check_failed(&in_shell(&home, "", &["runs", "list"], ""), &["runs.sqlite", "not a file"], "a folder");
}

#[test]
fn a_record_with_broken_pages_is_read_as_far_as_it_goes_or_refused() {
    let home = Home::new();
    let (path, good) = record(&home);
    let mut random: u64 = 7;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..12 {
        let mut bytes = good.clone();
        for _ in 0..200 {
            let at = 100 + next(bytes.len() - 100);
            bytes[at] = next(256) as u8;
        }
        replace(&path, &bytes);
        for words in [&["runs", "list", "--json"][..], &["runs", "show", "last"]] {
            let output = in_shell(&home, "", words, "");
            if !output.status.success() {
                let about = format!("round {round} {words:?}");
                let said = String::from_utf8_lossy(&output.stderr);
                let is_empty = said.contains("no run");
                check_failed(&output, if is_empty { &[] } else { &["runs.sqlite"] }, &about);
            }
        }
    }
}

#[test]
fn a_clock_that_was_wrong_loses_no_run() {
    let home = Home::new();
    let (path, good) = record(&home);
    for created_ms in [i64::MAX, 4_102_444_800_000_000, 1, 0, -1, i64::MIN] {
        replace(&path, &good);
        let db = Connection::open(&path).unwrap();
        db.execute("UPDATE runs SET created_ms = ?1", [created_ms]).unwrap();
        drop(db);
        let list = in_shell(&home, "", &["runs", "list", "--json"], "");
        assert!(list.status.success(), "{created_ms}: {list:?}");
        let runs: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
        assert_eq!(runs.as_array().unwrap().len(), 20, "{created_ms}");
        let show = in_shell(&home, "", &["runs", "show", "last"], "");
        assert!(show.status.success(), "{created_ms}: {show:?}");
        let prune = in_shell(&home, "", &["runs", "prune", "--older-than", "30d"], "");
        assert!(prune.status.success(), "{created_ms}: {prune:?}");
    }
}

//! The record of runs on a real disk: modes, two holders, damage, files that are not ours.

use std::sync::Arc;
use std::time::Duration;

use bandmaster::journal::{Journal, JournalError, Pruned, StoredConversation, StoredItem, StoredResponse};
use bandmaster::orchestrator::{Status, StrategyName, state, states};
use serde_json::{Value, json};

/// The fields of the last event of a run.
pub fn finished(status: &str, answer: &str, missing: &[&str]) -> Value {
    let facts = json!({"inputs": 0, "input_tokens": 0, "inputs_fit_together": true, "speaks_of_attachment": "no",
        "named_aspects": [], "speaks_of_parts": false, "numbers": 0, "arithmetic": null, "speaks_of_each": false});
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0},
        "steps": 3, "mean_batch": 1.5, "wall_ms": 4});
    json!({"id": "r", "status": status, "answer": answer, "strategy": "map",
        "strategy_why": {"facts": facts, "nearest": [], "because": "it was asked for"},
        "tasks": [], "planner_tasks": [], "usage": usage, "missing": missing})
}

#[cfg(unix)]
#[test]
fn the_record_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    journal.append(&journal.create_run().unwrap().id, "run.started", 0, &json!({})).unwrap();
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn two_holders_of_one_file_write_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let journal = Journal::open(&path).unwrap();
                let run = journal.create_run().unwrap().id;
                for ms in 0..50 {
                    journal.append(&run, "answer.delta", ms, &json!({"text": "x"})).unwrap();
                }
                (journal.events(&run, 0).unwrap().len(), run)
            })
        })
        .collect();
    let runs: std::collections::BTreeSet<String> = writers
        .into_iter()
        .map(|writer| {
            let (events, run) = writer.join().unwrap();
            assert_eq!(events, 50);
            run
        })
        .collect();
    assert_eq!(runs.len(), 4);
    assert_eq!(Journal::open(&path).unwrap().runs().unwrap().len(), 4);
}

#[test]
fn one_journal_is_shared_between_threads() {
    let journal = Arc::new(Journal::in_memory().unwrap());
    let run = journal.create_run().unwrap().id;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (journal, run) = (Arc::clone(&journal), run.clone());
            std::thread::spawn(move || {
                for _ in 0..25 {
                    journal.append(&run, "answer.delta", 0, &json!({})).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let seqs: Vec<u64> = journal.events(&run, 0).unwrap().iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_damaged_or_foreign_file_is_called_so_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let garbage = b"this is not a database, but it is long enough to be read as one ".repeat(40);
    std::fs::write(&path, &garbage).unwrap();
    let error = Journal::open(&path).err().unwrap();
    assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("damaged") && error.to_string().contains("runs.sqlite"));
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

/// Opens what `make` puts where the record is expected. It must be refused with an error that says what to do, and
/// stay as it is.
fn refused(name: &str, make: impl FnOnce(&std::path::Path), says: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    make(&path);
    let before = std::fs::read(&path).ok();
    let error = Journal::open(&path).err().unwrap_or_else(|| panic!("{name} is taken")).to_string();
    assert!(error.contains("runs.sqlite"), "{name}: {error}");
    for word in says {
        assert!(error.contains(word), "{name}: {error}");
    }
    assert_eq!(std::fs::read(&path).ok(), before, "{name} is left as it was");
}

fn database(path: &std::path::Path, statements: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(statements).unwrap();
}

#[test]
fn what_is_no_record_of_ours_is_refused_and_left_alone() {
    let foreign = ["another program's", "move it away"];
    let tables = "CREATE TABLE runs (id); CREATE TABLE inputs (a); CREATE TABLE events (a);";
    refused("another program's tables", |path| database(path, "CREATE TABLE notes (a);"), &foreign);
    refused(
        "another program's tables with a version like ours",
        |path| database(path, "CREATE TABLE notes (a); PRAGMA user_version = 2;"),
        &foreign,
    );
    refused("a marked file", |path| database(path, "PRAGMA application_id = 77;"), &foreign);
    refused(
        "another program's mark on tables of our names",
        |path| database(path, &format!("{tables} PRAGMA application_id = 77; PRAGMA user_version = 2;")),
        &foreign,
    );
    refused("a version below none", |path| database(path, "PRAGMA user_version = -3;"), &foreign);
    let newer = format!("{tables} PRAGMA user_version = 99;");
    refused("a newer version's file", |path| database(path, &newer), &["schema 99", "newer bandmaster"]);
    let text = "just some text that somebody put here\n".repeat(90);
    refused("a text file", |path| std::fs::write(path, text).unwrap(), &["damaged", "move it away"]);
    refused("a folder", |path| std::fs::create_dir(path).unwrap(), &["not a file", "move it away"]);
    let cut = |path: &std::path::Path| {
        drop(Journal::open(path).unwrap());
        let whole = std::fs::read(path).unwrap();
        std::fs::write(path, &whole[..700]).unwrap();
    };
    refused("a file that was cut", cut, &["damaged", "move it away"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_the_record_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = Journal::open(&path).err().unwrap().to_string();
    assert!(error.contains("not a file"), "{error}");
}

#[test]
fn an_empty_file_and_a_log_that_was_left_behind_are_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    std::fs::write(&path, "").unwrap();
    let journal = Journal::open(&path).unwrap();
    let run = journal.create_run().unwrap().id;
    journal.append(&run, "run.started", 0, &json!({"goal": "g"})).unwrap();
    // As after a kill: the last writes are only in the log.
    let (copy, log) = (folder.path().join("b/runs.sqlite"), "runs.sqlite-wal");
    std::fs::create_dir(folder.path().join("b")).unwrap();
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(folder.path().join(log), copy.with_file_name(log)).unwrap();
    assert_eq!(state(&Journal::open(&copy).unwrap(), &run).unwrap().goal, "g");
    // The file itself is gone, but its log is still there.
    let orphan = folder.path().join("c/runs.sqlite");
    std::fs::create_dir(folder.path().join("c")).unwrap();
    std::fs::copy(folder.path().join(log), orphan.with_file_name(log)).unwrap();
    assert!(Journal::open(&orphan).unwrap().runs().unwrap().is_empty());
}

#[test]
fn a_file_that_another_process_writes_can_be_opened_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let run = Journal::open(&path).unwrap().create_run().unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(Journal::open(&path).unwrap().runs().unwrap()[0].id, run.id);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// What an event's row can contain after a bad sector or a change by another program.
#[test]
fn a_damaged_event_is_said_and_hides_nothing_else() {
    let damage = ["'{\"text\": \"cut off'", "''", "NULL", "x'ff00fe'", "12.5", "'[1, 2]'", "'null'"];
    for broken in damage {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        let journal = Journal::open(&path).unwrap();
        let (a, b) = (journal.create_run().unwrap().id, journal.create_run().unwrap().id);
        for run in [&a, &b] {
            journal.append(run, "run.started", 0, &json!({"goal": "g"})).unwrap();
            journal.append(run, "answer.delta", 0, &json!({"text": "t"})).unwrap();
            journal.append(run, "run.finished", 0, &finished("completed", "kept", &[])).unwrap();
        }
        // SQLite itself keeps NULL out of the column.
        let statement = format!("UPDATE OR IGNORE events SET body = {broken} WHERE run = '{a}' AND seq = 2");
        let changed = rusqlite::Connection::open(&path).unwrap().execute(&statement, []).unwrap();
        let states: Vec<_> = [&b, &a].map(|run| state(&journal, run).unwrap()).into();
        let answers: Vec<&str> = states.iter().map(|state| state.answer.as_str()).collect();
        assert_eq!(answers, ["kept", "kept"], "{broken}");
        assert_eq!(states[0].missing.len(), 0, "{broken}");
        assert!(states.iter().all(|state| state.status == Status::Completed), "{broken}");
        assert_eq!(states[1].missing.len(), changed, "{broken}: {:?}", states[1].missing);
        assert!(changed == 0 || states[1].missing[0].contains("event 2"), "{:?}", states[1].missing);
        assert_eq!(journal.events(&a, 0).unwrap().len(), 3, "{broken}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = Journal::open(&file.join("runs.sqlite")).err().unwrap();
    assert!(matches!(error, JournalError::Open { .. }) && error.to_string().contains("--home"), "{error}");
}

#[test]
fn what_was_written_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    let run = journal.create_run().unwrap().id;
    journal.append(&run, "run.started", 0, &json!({"goal": "g"})).unwrap();
    // No orderly end: the connection is never closed.
    std::mem::forget(journal);
    let journal = Journal::open(&path).unwrap();
    assert_eq!(state(&journal, &run).unwrap().goal, "g");
    assert_eq!(journal.prune(Duration::from_secs(1)).unwrap().forgotten, 0);
}

#[test]
fn a_run_goes_on_as_long_as_somebody_has_it_and_is_incomplete_when_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let (theirs, ours) = (Journal::open(&path).unwrap(), Journal::open(&path).unwrap());
    let open = theirs.create_run().unwrap();
    let run = open.id.clone();
    let task = json!({"task": "t1", "attempt": 1});
    for (kind, body) in [("run.started", json!({"goal": "g"})), ("task.started", task)] {
        theirs.append(&run, kind, 0, &body).unwrap();
    }
    let going = state(&ours, &run).unwrap();
    assert_eq!((going.status, going.missing.len()), (Status::InProgress, 0));
    assert_eq!(ours.holder(&run).unwrap().pid, Some(std::process::id()));
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(ours.prune(Duration::ZERO).unwrap(), Pruned { forgotten: 0, going: 1 });
    let refused = ours.delete(&run).unwrap_err().to_string();
    assert!(refused.contains(&format!("runs cancel {run}")), "{refused}");

    drop(open);
    assert_eq!(ours.holder(&run), None);
    let left = state(&ours, &run).unwrap();
    assert_eq!((left.status, left.tasks[0].status), (Status::Incomplete, Status::Incomplete));
    let missing = &left.missing[0];
    assert!(missing.contains("interrupted") && missing.contains(&format!("runs resume {run}")), "{missing}");
    assert_eq!(ours.prune(Duration::ZERO).unwrap(), Pruned { forgotten: 1, going: 0 });
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let locks: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".lock")).collect();
    assert!(locks.is_empty(), "{locks:?}");
}

#[test]
fn a_run_that_said_how_it_ended_stays_so_when_nobody_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("runs.sqlite")).unwrap();
    let run = journal.create_run().unwrap().id;
    journal.append(&run, "run.finished", 0, &finished("completed", "", &[])).unwrap();
    let ended = state(&journal, &run).unwrap();
    assert_eq!((ended.status, ended.missing.len()), (Status::Completed, 0));
}

/// How often the bytes of a text occur in the files of a folder.
fn left(folder: &std::path::Path, text: &str) -> usize {
    let count = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
    };
    std::fs::read_dir(folder).unwrap().map(|entry| count(entry.unwrap().path())).sum()
}

/// Rows of all sizes, in an order that makes SQLite split pages and leave copies behind.
fn texts(name: &str, seed: usize) -> Vec<String> {
    let long = |n: usize| "y".repeat([3, 20, 200, 2000, 9000][(n * 7 + seed) % 5]);
    (0..120).map(|n| format!("SECRET-{name}-{n} {}", long(n))).collect()
}

#[test]
fn what_was_removed_is_in_no_byte_of_the_file() {
    for seed in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        let journal = Journal::open(&path).unwrap();
        // A server has it open as well.
        let other = Journal::open(&path).unwrap();
        let runs: Vec<String> = (0..4).map(|_| journal.create_run().unwrap().id).collect();
        let named: Vec<Vec<String>> = (0..4).map(|n| texts(&format!("run{n}"), seed + n)).collect();
        for (run, texts) in runs.iter().zip(&named) {
            journal.keep_input(run, 0, "a.md", &texts[0]).unwrap();
        }
        for (at, n) in (0..120).map(|at| (at, (at * 5 + seed) % 4)) {
            for n in [n, (n + 2) % 4] {
                journal.append(&runs[n], "answer.delta", 0, &json!({"text": named[n][at]})).unwrap();
            }
        }
        let items = |name: &str| -> Vec<StoredItem> {
            let item = |(n, text): (usize, String)| StoredItem {
                id: format!("{name}{n}"),
                body: json!({"text": text}),
            };
            texts(name, seed).into_iter().enumerate().map(item).collect()
        };
        let answer = |name: &str, created_s: u64| StoredResponse {
            id: name.into(),
            previous: None,
            conversation: None,
            created_s,
            body: json!({"text": format!("SECRET-{name}-body")}),
            input: items(name),
            output: Vec::new(),
        };
        for (name, created_s) in [("answer", 1), ("old", 1), ("young", 1 << 40)] {
            journal.keep_response(&answer(name, created_s)).unwrap();
        }
        for name in ["talk", "other"] {
            let talk = StoredConversation { id: name.into(), created_s: 1, metadata: json!({}) };
            journal.create_conversation(&talk, &items(name)).unwrap();
        }
        assert!(other.runs().unwrap().len() == 4 && left(folder.path(), "SECRET-run2-") > 0);
        let gone = |name: &str| assert_eq!(left(folder.path(), &format!("SECRET-{name}-")), 0, "{name}");
        let erased = || assert!(journal.erase_for(Duration::from_secs(20)));
        journal.delete(&runs[2]).unwrap();
        erased();
        gone("run2");
        assert!(journal.delete_response("answer").unwrap());
        erased();
        gone("answer");
        assert!(journal.delete_conversation("talk").unwrap());
        erased();
        gone("talk");
        assert!(journal.remove_item("other", "other7").unwrap());
        erased();
        assert_eq!(left(folder.path(), "SECRET-other-7 "), 0);
        assert!(left(folder.path(), "SECRET-other-8 ") > 0);
        assert_eq!(journal.prune_responses(Duration::from_secs(60)).unwrap(), 1);
        erased();
        gone("old");
        assert!(left(folder.path(), "SECRET-young-") > 0);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(journal.prune(Duration::ZERO).unwrap().forgotten, 3);
        erased();
        ["run0", "run1", "run3"].into_iter().for_each(gone);
        assert_eq!(other.items("other").unwrap().len(), 119);
    }
}

#[test]
fn what_another_process_still_reads_leaves_the_file_when_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    let run = journal.create_run().unwrap().id;
    journal.append(&run, "answer.delta", 0, &json!({"text": "SECRET-a-"})).unwrap();
    let reader = rusqlite::Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    journal.delete(&run).unwrap();
    assert!(!journal.erase_for(Duration::from_secs(1)) && !journal.is_erased(), "and it is known");
    drop(reader);
    assert!(journal.erase_for(Duration::from_secs(20)) && journal.is_erased());
    assert_eq!(left(folder.path(), "SECRET-a-"), 0);
}

#[test]
fn another_process_that_comes_and_goes_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let list = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bandmaster"));
        let output =
            command.args(["runs", "list", "--offline", "--home"]).arg(folder.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // Several connections in this process, as a server has them.
    let (first, second) = (Journal::open(&path).unwrap(), Journal::open(&path).unwrap());
    drop(Journal::open(&path).unwrap());
    assert!(list().contains("no runs yet"));
    let runs = [first.create_run().unwrap().id, second.create_run().unwrap().id];
    let listed = list();
    assert!(runs.iter().all(|run| listed.contains(run)), "{listed}");
}

#[test]
fn what_a_killed_process_had_removed_leaves_the_file_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    let runs: Vec<String> = (0..3).map(|_| journal.create_run().unwrap().id).collect();
    for (n, text) in texts("a", 1).iter().enumerate() {
        journal.append(&runs[n % 3], "answer.delta", 0, &json!({"text": text})).unwrap();
    }
    assert!(journal.erase_for(Duration::from_secs(20)));
    journal.delete(&runs[1]).unwrap();
    // No orderly end, and nothing is cleared.
    std::mem::forget(journal);
    assert!(left(folder.path(), "SECRET-a-1 ") > 0);
    let again = Journal::open(&path).unwrap();
    assert!(!again.is_erased(), "the mark is in the file");
    assert!(again.erase_for(Duration::from_secs(20)));
    assert_eq!(left(folder.path(), "SECRET-a-1 "), 0);
    assert!(left(folder.path(), "SECRET-a-2 ") > 0);
    drop(again);
    assert!(Journal::open(&path).unwrap().is_erased());
}

/// Size of a large record in bytes.
const LARGE: u64 = 16 << 20;

/// A record of about [`LARGE`] bytes, and its runs in order.
fn large(path: &std::path::Path) -> (Journal, Vec<String>) {
    let journal = Journal::open(path).unwrap();
    // What repeats itself would hardly take any room.
    let mut state = 1_u64;
    let mut text = || {
        let word = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("SECRET-large-{state:x} ")
        };
        (0..1 << 11).map(word).collect::<String>()
    };
    let mut runs = Vec::new();
    while std::fs::metadata(path).unwrap().len() < LARGE {
        let run = journal.create_run().unwrap().id;
        for n in 0..16 {
            journal.append(&run, "answer.delta", 0, &json!({"text": text(), "n": n})).unwrap();
        }
        runs.push(run);
    }
    (journal, runs)
}

#[test]
fn a_large_record_is_cleared_in_steps_between_which_others_write_and_gives_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let (journal, runs) = large(&path);
    let before = std::fs::metadata(&path).unwrap().len();
    let other = Journal::open(&path).unwrap();
    let going = other.create_run().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let (longest, written) = std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let (mut longest, mut written) = (Duration::ZERO, 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let began = std::time::Instant::now();
                other.append(&going.id, "answer.delta", 0, &json!({"text": "x"})).unwrap();
                longest = longest.max(began.elapsed());
                written += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            (longest, written)
        });
        for run in &runs[..runs.len() - 2] {
            journal.delete(run).unwrap();
        }
        assert!(journal.erase_for(Duration::from_secs(60)));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        writes.join().unwrap()
    });
    println!("{written} writes beside it, the longest took {longest:?}");
    // If the whole file were cleared in one step, hardly anything could be written beside it. On a busy machine a single
    // write may take long.
    assert!(written > 20 && longest < Duration::from_secs(5), "{written}, {longest:?}");
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after < before / 4, "{after} of {before} bytes");
    assert_eq!(journal.events(&runs[runs.len() - 1], 0).unwrap().len(), 16);
    let sound: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
}

#[test]
fn a_list_reads_how_runs_began_and_ended_and_nothing_between() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    let mut runs = Vec::new();
    for n in 0..5 {
        let run = journal.create_run().unwrap().id;
        journal.append(&run, "run.started", 0, &json!({"goal": format!("goal {n}")})).unwrap();
        journal.append(&run, "strategy.chosen", 1, &json!({"strategy": "map"})).unwrap();
        for _ in 0..20 {
            journal.append(&run, "task.started", 2, &json!({"task": "t1", "attempt": 1})).unwrap();
        }
        if n != 2 {
            journal.append(&run, "run.finished", 90, &finished("completed", "", &[])).unwrap();
        }
        runs.insert(0, run);
    }
    // If these events were read, the damage would be reported.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE events SET body = '{broken' WHERE seq BETWEEN 5 AND 21", []).unwrap();
    let (listed, more) = states(&journal, None, 10).unwrap();
    assert_eq!(listed.iter().map(|state| state.id.clone()).collect::<Vec<_>>(), runs);
    let shown: Vec<_> = listed
        .iter()
        .map(|state| (state.goal.as_str(), state.strategy, state.status, state.wall_ms))
        .collect();
    assert_eq!(shown[0], ("goal 4", Some(StrategyName::Map), Status::Completed, 90));
    assert_eq!(shown[2], ("goal 2", Some(StrategyName::Map), Status::Incomplete, 2));
    assert!(!more && listed[0].missing.is_empty(), "{:?}", listed[0].missing);
    assert!(!state(&journal, &runs[0]).unwrap().missing.is_empty(), "the run itself says what is damaged");
    let counted = journal.task_count(&runs[0]).unwrap();
    assert_eq!((counted.tasks, counted.damaged.len()), (1, 17), "{counted:?}");
    let ids = |after: Option<&str>, limit: usize| {
        let (listed, more) = states(&journal, after, limit).unwrap();
        (listed.into_iter().map(|state| state.id).collect::<Vec<_>>(), more)
    };
    assert_eq!(ids(None, 2), (runs[..2].to_vec(), true));
    assert_eq!(ids(Some(&runs[1]), 2), (runs[2..4].to_vec(), true));
    assert_eq!(ids(Some(&runs[3]), 2), (runs[4..].to_vec(), false));
    assert!(matches!(states(&journal, Some("none"), 2), Err(JournalError::UnknownRun { .. })));
}

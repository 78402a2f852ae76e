use std::time::Instant;

use serde_json::json;

use super::in_progress::TakenUp;
use super::schema::{SCHEMA_VERSION, STEPS};
use super::*;

fn sample() -> Journal {
    Journal::in_memory().unwrap()
}

/// The goal in a run's first event.
fn goal(journal: &Journal, run: &str) -> String {
    journal.recorded(run).unwrap().events[0].body["goal"].as_str().unwrap().to_owned()
}

/// Appends an event of a run.
fn say(journal: &Journal, run: &str, kind: &str) {
    journal.append(run, kind, 0, &json!({})).unwrap();
}

#[test]
fn events_are_numbered_within_their_run_and_read_from_any_point() {
    let journal = sample();
    let (a, b) = (journal.create_run().unwrap().id, journal.create_run().unwrap().id);
    for n in 1..=3 {
        assert_eq!(journal.append(&a, "answer.delta", n * 10, &json!({"text": "x"})).unwrap(), n);
    }
    assert_eq!(journal.append(&b, "run.started", 0, &json!({"goal": "g"})).unwrap(), 1);
    let tail = journal.events(&a, 1).unwrap();
    assert_eq!(tail.iter().map(|e| (e.seq, e.ms)).collect::<Vec<_>>(), [(2, 20), (3, 30)]);
}

#[test]
fn run_ids_are_short_and_sort_by_time() {
    let ids: Vec<String> =
        [(1_800_000_000_000, 7), (1_800_000_000_001, 3), (2_000_000_000_000, 0), (2_600_000_000_000, 0)]
            .into_iter()
            .map(|(ms, salt)| run_id(ms, salt))
            .collect();
    assert!(ids.iter().all(|id| id.len() == 14));
    assert!(ids.is_sorted(), "{ids:?}");
    let journal = sample();
    let made: Vec<String> = (0..50).map(|_| journal.create_run().unwrap().id).collect();
    let distinct: std::collections::BTreeSet<&String> = made.iter().collect();
    assert_eq!(distinct.len(), made.len());
}

#[test]
fn a_prefix_finds_its_run_and_says_when_it_is_not_enough() {
    let journal = sample();
    let (a, b) = (journal.create_run().unwrap().id, journal.create_run().unwrap().id);
    assert_eq!(journal.find(&a.to_uppercase()).unwrap(), a);
    assert_eq!(journal.find("last").unwrap(), b);
    assert!(matches!(journal.find(&a[..4]), Err(JournalError::Ambiguous { .. })));
    assert!(matches!(journal.find("zzzz"), Err(JournalError::UnknownRun { .. })));
    assert!(matches!(journal.find(""), Err(JournalError::UnknownRun { .. })));
}

#[test]
fn a_removed_run_leaves_nothing_behind() {
    let journal = sample();
    let run = journal.create_run().unwrap().id;
    journal.keep_input(&run, 0, "a.md", "text").unwrap();
    journal.append(&run, "run.started", 0, &json!({})).unwrap();
    assert_eq!(journal.inputs(&run).unwrap(), [("a.md".to_owned(), "text".to_owned())]);
    journal.delete(&run).unwrap();
    assert!(journal.events(&run, 0).unwrap().is_empty());
    assert!(journal.inputs(&run).unwrap().is_empty());
    assert!(matches!(journal.delete(&run), Err(JournalError::UnknownRun { .. })));
}

#[test]
fn prune_takes_only_what_is_older() {
    let journal = sample();
    journal.create_run().unwrap();
    assert_eq!(journal.prune(Duration::from_secs(3600)).unwrap(), Pruned { forgotten: 0, going: 0 });
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(journal.prune(Duration::ZERO).unwrap(), Pruned { forgotten: 1, going: 0 });
    assert!(journal.runs().unwrap().is_empty());
}

#[test]
fn a_full_disk_is_called_by_its_name() {
    let journal = sample();
    let run = journal.create_run().unwrap().id;
    journal.with(|db| db.pragma_update(None, "max_page_count", 16)).unwrap();
    let body = json!({"text": "x".repeat(1 << 16)});
    let error = (0..64).find_map(|_| journal.append(&run, "answer.delta", 0, &body).err()).unwrap();
    assert!(matches!(error, JournalError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("disk is full"));
}

#[test]
fn many_may_open_a_new_file_at_the_same_moment() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..4).map(|_| scope.spawn(|| Journal::open(&path))).collect();
            for journal in opened {
                journal.join().unwrap().unwrap();
            }
        });
    }
}

#[test]
fn a_file_of_any_older_version_gets_what_it_lacks_and_keeps_what_it_has() {
    for version in 1..STEPS.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        let old = Connection::open(&path).unwrap();
        STEPS[..version].iter().for_each(|step| old.execute_batch(step).unwrap());
        old.execute_batch(
            "INSERT INTO runs (id, created_ms) VALUES ('0000000001', 5), ('0000000002', 6), ('0000000003', 4);
             INSERT INTO inputs VALUES ('0000000001', 0, 'a.md', 'text');
             INSERT INTO events VALUES ('0000000001', 1, 0, 'run.started', '{\"goal\": \"g\"}');",
        )
        .unwrap();
        if version >= 2 {
            old.execute_batch(
                "INSERT INTO responses (id, created_s, body) VALUES ('r', 7, '{\"id\": \"r\"}');
                 INSERT INTO conversations (id, created_s, metadata) VALUES ('c', 7, '{}');
                 INSERT INTO items VALUES ('c', 1, 'i', 0, '{\"says\": \"i\"}');",
            )
            .unwrap();
        }
        drop(old);
        // Twice: the second time nothing is left to do.
        for round in 0..2 {
            let journal = Journal::open(&path).unwrap();
            assert_eq!(goal(&journal, "0000000001"), "g", "{version}");
            assert_eq!(journal.inputs("0000000001").unwrap().len(), 1, "{version}");
            assert_eq!(journal.find("last").unwrap(), "0000000003", "{version}");
            assert_eq!(journal.response("r").unwrap().is_some(), version >= 2);
            assert_eq!(journal.item("i").unwrap().is_some(), version >= 2);
            // Rows of older versions belong to nobody.
            let somebody = journal.seen_by(&Viewer::named("somebody".into(), false));
            assert_eq!(somebody.runs().unwrap().len(), 0, "{version}, {round}");
            assert_eq!(somebody.item("i").unwrap(), None);
            assert_eq!(somebody.conversation("c").unwrap(), None);
        }
        let journal = Journal::open(&path).unwrap();
        // A new run is later than all of them, whatever its id.
        let run = journal.create_run().unwrap().id;
        assert_eq!(journal.find("last").unwrap(), run);
        let found: i64 =
            journal.with(|db| db.query_row("PRAGMA user_version", [], |row| row.get(0))).unwrap();
        assert_eq!(found, SCHEMA_VERSION);
        drop(journal);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        let newer = Journal::open(&path).err().unwrap();
        assert!(matches!(newer, JournalError::Newer { .. }), "{newer}");
    }
}

#[test]
fn the_latest_run_is_the_one_begun_last_though_the_clock_was_set_back() {
    let journal = sample();
    let begin = |created_ms: u64| {
        let id = run_id(created_ms, created_ms);
        let new = NewRun { id: id.clone(), created_ms, owner: None, inputs: Arc::default() };
        journal.write(|db| enter(db, &new)).unwrap();
        id
    };
    // 2026, 2106, 1970.
    let ids: Vec<String> = [1_780_000_000_000, 4_300_000_000_000, 0].into_iter().map(begin).collect();
    assert_eq!(journal.find("last").unwrap(), ids[2]);
    let listed: Vec<String> = journal.runs().unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(listed, [&ids[2], &ids[1], &ids[0]].map(String::clone));
    assert!(ids.iter().all(|id| id.len() == 14 && journal.recorded(id).is_ok()), "{ids:?}");
}

#[test]
fn tasks_are_counted_before_they_are_in_the_file() {
    let journal = sample();
    let run = journal.create_run().unwrap().id;
    let line = |seq: u64, kind: &str, task: &str| {
        let body = json!({"task": task}).to_string().into();
        Line { seq, ms: 0, kind: kind.to_owned(), body }
    };
    let written = [line(1, "task.ready", "t1"), line(2, "task.started", "t1")];
    journal.write(|db| add_events(db, &run, &written, None)).unwrap();
    let new = NewRun { id: run.clone(), created_ms: 0, owner: None, inputs: Arc::default() };
    let unwritten = &journal.file.unwritten;
    assert!(unwritten.begin(new).is_some());
    // The second is in the file already: it was read between being written and being forgotten here.
    let waiting = [line(2, "task.started", "t1"), line(3, "task.ready", "t2"), line(4, "task.output", "t3")];
    waiting.into_iter().for_each(|line| unwritten.push(&run, line, false));
    assert_eq!(journal.task_count(&run).unwrap(), TaskCount { tasks: 2, damaged: Vec::new() });
}

#[test]
fn a_run_is_read_with_all_its_events_and_a_list_reads_only_how_it_began_and_ended() {
    let journal = sample();
    let run = journal.create_run().unwrap().id;
    journal.append(&run, "run.started", 0, &json!({"goal": "g"})).unwrap();
    (0..10).for_each(|_| say(&journal, &run, "task.ready"));
    journal.append(&run, "run.finished", 7, &json!({"status": "completed"})).unwrap();
    let recorded = journal.recorded(&run).unwrap();
    assert_eq!((recorded.row.id.as_str(), recorded.left), (run.as_str(), false), "in memory nothing is left");
    assert_eq!(
        recorded.events.iter().map(|event| event.seq).collect::<Vec<_>>(),
        (1..=12).collect::<Vec<_>>()
    );
    assert_eq!(recorded.events, journal.events(&run, 0).unwrap());
    let last = &recorded.events[11];
    assert_eq!((last.kind.as_str(), last.ms, &last.body["status"]), ("run.finished", 7, &json!("completed")));
    let (listed, more) = journal.listed(None, 10).unwrap();
    let outline = listed[0].run.as_ref().unwrap();
    assert_eq!((&listed[0].row, listed.len(), more), (&recorded.row, 1, false));
    assert_eq!(outline.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 12]);
    assert_eq!(outline.events[1], *last);
    assert!(matches!(journal.recorded("none"), Err(JournalError::UnknownRun { .. })));
}

/// A record on disk, its file, and a run in it whose process was killed after `events` events.
fn killed(events: u64) -> (tempfile::TempDir, PathBuf, Journal, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    let run = journal.create_run().unwrap().id;
    (0..events).for_each(|_| say(&journal, &run, "task.ready"));
    (folder, path, journal, run)
}

#[test]
fn a_run_that_nobody_has_is_reopened_and_then_others_see_it_in_progress() {
    let (_folder, path, journal, run) = killed(3);
    assert!(journal.recorded(&run).unwrap().left);
    assert_eq!(journal.reopen(&run).unwrap().last_seq, 3, "the number of its last event");
    assert!(journal.goes_on_here(&run));
    let other = Journal::open(&path).unwrap();
    assert!(!other.recorded(&run).unwrap().left && !other.goes_on_here(&run));
    assert_eq!(other.holder(&run), Some(Holder { pid: Some(std::process::id()) }));
    assert!(matches!(other.delete(&run), Err(JournalError::GoesOn { .. })));
}

#[test]
fn a_run_without_events_is_reopened_at_its_beginning() {
    let (_folder, _, journal, run) = killed(0);
    assert_eq!(journal.reopen(&run).unwrap().last_seq, 0);
    let in_memory = sample();
    let run = in_memory.create_run().unwrap().id;
    say(&in_memory, &run, "run.started");
    assert_eq!(in_memory.reopen(&run).unwrap().last_seq, 1);
}

#[test]
fn a_run_in_progress_is_not_reopened() {
    let (_folder, path, journal, run) = killed(1);
    let refused = |journal: &Journal, run: &str| match journal.reopen(run) {
        Err(JournalError::InProgress { id, holder }) => {
            assert_eq!((id.as_str(), holder.pid), (run, Some(std::process::id())))
        }
        other => panic!("{:?}", other.err()),
    };
    // In this process, through this journal and through another one.
    journal.reopen(&run).unwrap();
    refused(&journal, &run);
    let other = Journal::open(&path).unwrap();
    refused(&other, &run);
    // By its creator.
    let open = journal.create_run().unwrap();
    refused(&other, &open.id);
    let id = open.id.clone();
    drop(open);
    assert_eq!(other.reopen(&id).unwrap().last_seq, 0);
    let in_memory = sample();
    let run = in_memory.create_run().unwrap().id;
    in_memory.reopen(&run).unwrap();
    refused(&in_memory, &run);
}

#[test]
fn who_does_not_see_a_run_can_not_reopen_it() {
    let (_folder, _, journal, run) = killed(1);
    let unknown =
        |reopened: Result<TakenUp, JournalError>| matches!(reopened, Err(JournalError::UnknownRun { .. }));
    assert!(unknown(journal.seen_by(&Viewer::named("somebody".into(), false)).reopen(&run)));
    assert!(unknown(journal.reopen("none")));
    assert_eq!(journal.holder(&run), None, "a refusal leaves nothing locked");
    let owner = Viewer::named("owner".into(), false);
    let theirs = journal.seen_by(&owner).create_run().unwrap().id;
    assert_eq!(journal.seen_by(&owner).reopen(&theirs).unwrap().last_seq, 0);
}

#[test]
fn of_many_that_reopen_a_run_at_the_same_moment_one_gets_it() {
    const OTHERS: usize = 4;
    for round in 0..6 {
        let (_folder, path, _journal, run) = killed(2);
        let journals: Vec<Journal> = (0..OTHERS).map(|_| Journal::open(&path).unwrap()).collect();
        let together = std::sync::Barrier::new(OTHERS);
        let reopened: Vec<Result<u64, JournalError>> = std::thread::scope(|scope| {
            let reopen = |journal| {
                let (together, run) = (&together, &run);
                scope.spawn(move || {
                    together.wait();
                    Journal::reopen(journal, run).map(|taken| taken.last_seq)
                })
            };
            let threads: Vec<_> = journals.iter().map(reopen).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let got = reopened.iter().filter(|one| matches!(one, Ok(2))).count();
        let refused =
            reopened.iter().filter(|one| matches!(one, Err(JournalError::InProgress { .. }))).count();
        assert_eq!((got, refused), (1, OTHERS - 1), "{round}: {reopened:?}");
    }
}

#[test]
fn the_lock_file_of_a_killed_process_hinders_nobody() {
    let (_folder, path, journal, run) = killed(2);
    // A file without a lock is what a killed process leaves.
    let lock = path.with_file_name(format!("run-{run}.lock"));
    for text in ["999999", "", "no number"] {
        std::fs::write(&lock, text).unwrap();
        assert_eq!(journal.holder(&run), None, "{text:?}");
        std::fs::write(&lock, text).unwrap();
        assert!(journal.recorded(&run).unwrap().left, "{text:?}");
        std::fs::write(&lock, text).unwrap();
        let other = Journal::open(&path).unwrap();
        assert_eq!(other.reopen(&run).unwrap().last_seq, 2, "{text:?}");
        assert_eq!(journal.holder(&run).unwrap().pid, Some(std::process::id()), "{text:?}");
        drop(other);
        assert_eq!(journal.holder(&run), None, "{text:?}");
    }
}

#[test]
fn at_most_one_has_a_lock_however_many_look_and_take_it() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run-x.lock");
    let (held, taken, ended) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(SeqCst) {
                    if let Some(hold) = hold::take(&path).unwrap() {
                        assert!(!held.swap(true, SeqCst), "two have it");
                        taken.fetch_add(1, SeqCst);
                        std::thread::yield_now();
                        held.store(false, SeqCst);
                        drop(hold);
                    }
                }
            });
            scope.spawn(|| {
                while !ended.load(SeqCst) {
                    hold::holder(&path);
                    std::thread::yield_now();
                }
            });
        }
        let began = Instant::now();
        while taken.load(SeqCst) < 50 && began.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(5));
        }
        ended.store(true, SeqCst);
    });
    assert!(taken.load(SeqCst) > 0);
}

#[test]
fn a_lock_that_moved_to_another_file_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run-x.lock");
    let ended = std::sync::atomic::AtomicBool::new(false);
    let next = folder.path().join("next.lock");
    let replace = || {
        let hold = hold::take(&next).unwrap().expect("nobody else takes it");
        std::fs::rename(&next, &path).unwrap();
        hold
    };
    let mut held = replace();
    std::thread::scope(|scope| {
        let (ended, replace, held) = (&ended, &replace, &mut held);
        scope.spawn(move || {
            while !ended.load(std::sync::atomic::Ordering::SeqCst) {
                // The one before is let go of only when the next is locked.
                drop(std::mem::replace(held, replace()));
                std::thread::yield_now();
            }
        });
        let nobody = (0..200).filter(|_| hold::holder(&path).is_none()).count();
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(nobody, 0, "it is locked all the time");
    });
}

#[test]
fn a_run_is_not_removed_while_somebody_takes_it_up() {
    let (_folder, path, journal, run) = killed(2);
    // Between the check and the removal: whoever has the lock goes on.
    let lock = journal.hold(&run).unwrap().unwrap();
    let other = Journal::open(&path).unwrap();
    assert!(matches!(other.delete(&run), Err(JournalError::GoesOn { .. })));
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(other.prune(Duration::ZERO).unwrap(), Pruned { forgotten: 0, going: 1 });
    drop(lock);
    for _ in 0..6 {
        let run = journal.create_run().unwrap().id;
        let together = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let removed = scope.spawn(|| {
                together.wait();
                other.delete(&run)
            });
            together.wait();
            let taken = journal.reopen(&run);
            let removed = removed.join().unwrap();
            assert!(taken.is_err() || removed.is_err(), "it was removed and taken up");
            assert_eq!(journal.read(&run, |_| Ok(())).unwrap().is_some(), removed.is_err());
        });
    }
}

#[test]
fn a_run_stays_its_owners_whoever_takes_it_up() {
    let (_folder, _, journal, _) = killed(0);
    let [owner, other] = ["owner", "other"].map(|name| Viewer::named(name.into(), false));
    let admin = Viewer::named("admin".into(), true);
    let run = journal.seen_by(&owner).create_run().unwrap().id;
    journal.seen_by(&admin).reopen(&run).unwrap();
    let body = json!({"goal": "g"}).to_string().into();
    journal.file.unwritten.push(&run, Line { seq: 1, ms: 0, kind: "run.started".to_owned(), body }, false);
    let seen = |viewer: &Viewer| journal.seen_by(viewer).events(&run, 0).unwrap().len();
    assert_eq!((seen(&owner), seen(&admin), seen(&other)), (1, 1, 0));
}

#[test]
fn a_list_says_what_is_true_now_of_a_run_that_ended_before() {
    let journal = sample();
    let run = journal.create_run().unwrap().id;
    let kinds = |journal: &Journal| -> Vec<String> {
        let (listed, _) = journal.listed(None, 1).unwrap();
        listed[0].run.as_ref().unwrap().events.iter().map(|event| event.kind.clone()).collect()
    };
    for kind in
        ["run.started", "strategy.chosen", "tasks.added", "run.finished", "run.resumed", "task.output"]
    {
        say(&journal, &run, kind);
    }
    let resumed = ["run.started", "strategy.chosen", "run.finished", "run.resumed", "task.output"];
    assert_eq!(kinds(&journal), resumed);
    for kind in ["run.finished", "run.resumed", "strategy.chosen", "task.output", "run.finished"] {
        say(&journal, &run, kind);
    }
    let ended = ["run.started", "strategy.chosen", "run.resumed", "strategy.chosen", "run.finished"];
    assert_eq!(kinds(&journal), ended);
    fork(&journal, &run, 6);
    let forked = ["run.started", "strategy.chosen", "run.finished", "run.resumed", "run.forked"];
    assert_eq!(kinds(&journal), forked, "a fork is listed as it is at its beginning");
}

/// Forks a run at event `at`. The fork has the event `run.forked`, which says its id.
pub(super) fn fork(journal: &Journal, run: &str, at: u64) -> String {
    journal.fork(run, at, 7, |id| ("run.forked".to_owned(), json!({"run": id}))).unwrap().id
}

#[test]
fn a_fork_is_recorded_with_its_first_event_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    let run = journal.create_run().unwrap().id;
    (1..=3).for_each(|_| say(&journal, &run, "task.output"));
    // What another process sees as soon as the fork is there, which is what a kill leaves.
    let other = Journal::open(&path).unwrap();
    let forked = fork(&journal, &run, 2);
    let events = other.events(&forked, 1).unwrap();
    assert_eq!(
        events.iter().map(|event| (event.seq, event.kind.as_str())).collect::<Vec<_>>(),
        [(2, "task.output"), (3, "run.forked")]
    );
    assert_eq!((events[1].ms, &events[1].body), (7, &json!({"run": forked})));
    // An event that is missing was not written for lack of room.
    journal.with(|db| db.execute("DELETE FROM events WHERE run = ?1 AND seq = 2", [&run])).unwrap();
    for at in [2, 4] {
        assert!(journal.fork(&run, at, 0, |_| ("run.forked".to_owned(), json!({}))).is_err(), "{at}");
    }
    assert_eq!(other.runs().unwrap().len(), 2);
}

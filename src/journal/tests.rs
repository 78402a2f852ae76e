use serde_json::json;

use super::schema::{SCHEMA_VERSION, STEPS};
use super::*;

fn sample() -> Journal {
    Journal::in_memory().unwrap()
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
fn a_state_is_the_fold_of_the_events() {
    let journal = sample();
    let run = journal.create_run().unwrap().id;
    let events = [
        ("run.started", json!({"goal": "sum", "inputs": [{"name": "a.md"}]})),
        ("strategy.chosen", json!({"strategy": "map", "why": {"facts": {}}})),
        ("task.ready", json!({"task": "t1"})),
        ("task.started", json!({"task": "t1", "attempt": 1, "worker": "w", "model": "m"})),
        (
            "task.output",
            json!({"task": "t1", "attempt": 1, "prompt": "p", "output": "bad", "sampling": {"seed": 1}}),
        ),
        ("task.failed", json!({"task": "t1", "attempt": 1, "error": "not JSON"})),
        ("task.retried", json!({"task": "t1", "attempt": 2, "worker": "w", "model": "m"})),
        ("task.output", json!({"task": "t1", "attempt": 2, "prompt": "p2", "output": "good"})),
        ("task.finished", json!({"task": "t1", "status": "completed", "output": "good"})),
    ];
    for (at, (kind, body)) in events.iter().enumerate() {
        journal.append(&run, kind, at as u64, body).unwrap();
    }
    let state = journal.state(&run).unwrap();
    assert_eq!((state.status.as_str(), state.strategy.as_str()), ("in_progress", "map"));
    assert_eq!(state.inputs, ["a.md"]);
    let task = &state.tasks[0];
    assert_eq!((task.status.as_str(), task.output.as_str(), task.attempts.len()), ("completed", "good", 2));
    assert_eq!(task.attempts[0].error.as_deref(), Some("not JSON"));
    assert_eq!((task.started_ms, task.finished_ms), (Some(3), Some(8)));

    journal
        .append(&run, "run.finished", 9, &json!({"status": "incomplete", "answer": "A", "missing": ["b"]}))
        .unwrap();
    let state = journal.state(&run).unwrap();
    assert_eq!((state.status.as_str(), state.answer.as_str(), state.missing.len()), ("incomplete", "A", 1));
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
    for _ in 0..20 {
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
            assert_eq!(journal.state("0000000001").unwrap().goal, "g", "{version}");
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
    assert!(ids.iter().all(|id| id.len() == 14 && journal.state(id).is_ok()), "{ids:?}");
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
    journal.write(|db| add_events(db, &run, &written)).unwrap();
    let new = NewRun { id: run.clone(), created_ms: 0, owner: None, inputs: Arc::default() };
    let unwritten = &journal.file.unwritten;
    assert!(unwritten.begin(new));
    // The second is in the file already: it was read between being written and being forgotten here.
    let waiting = [line(2, "task.started", "t1"), line(3, "task.ready", "t2"), line(4, "task.output", "t3")];
    waiting.into_iter().for_each(|line| unwritten.push(&run, line, false));
    assert_eq!(journal.task_count(&run).unwrap(), TaskCount { tasks: 2, damaged: Vec::new() });
}

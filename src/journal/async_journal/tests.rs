use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::super::unwritten::BYTES_MAX;
use super::*;
use crate::{DAMAGED, RecordedRun};

/// A journal on a file, and the file.
fn on_disk() -> (TempDir, std::path::PathBuf, AsyncJournal) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let journal = AsyncJournal::open(&path).unwrap();
    (folder, path, journal)
}

/// Locks the file as another process would that writes for a long time.
fn lock(path: &Path) -> Connection {
    let other = Connection::open(path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    other
}

/// Reads a run through the journal's threads.
async fn recorded(journal: &AsyncJournal, run: &str) -> RecordedRun {
    let run = run.to_owned();
    journal.read(move |journal| journal.recorded(&run)).await.unwrap()
}

/// A text in the last event of a run.
fn last(run: &RecordedRun, field: &str) -> String {
    run.events.last().unwrap().body[field].as_str().unwrap().to_owned()
}

/// The numbers of a run's events in the file.
fn seqs(path: &Path, run: &str) -> Vec<u64> {
    let events = Journal::open(path).unwrap().events(run, 0).unwrap();
    assert!(events.iter().all(|event| event.kind != DAMAGED), "{events:?}");
    events.iter().map(|event| event.seq).collect()
}

fn say(recording: &mut Recording, text: &str) {
    recording.append("answer.delta", 1, &json!({"text": text}));
}

async fn finish(recording: &mut Recording) {
    let body = json!({"status": "completed", "answer": "all of it", "missing": []});
    recording.finish("run.finished", 2, &body, Duration::from_millis(50)).await;
}

/// Waits until everything is written.
async fn settled(journal: &AsyncJournal) {
    assert_eq!(journal.flush(Duration::from_secs(20)).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_panic_while_the_record_is_asked_costs_that_question_only() {
    let journal = AsyncJournal::in_memory().unwrap();
    let broken = journal.read(|_| -> Result<(), JournalError> { panic!("on purpose") }).await;
    assert!(matches!(broken, Err(JournalError::NoAnswer { .. })));
    assert!(journal.read(|journal| journal.runs()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_goes_on_while_another_process_has_locked_the_file_and_is_recorded_whole_afterwards() {
    let (_folder, path, journal) = on_disk();
    let locked = lock(&path);
    let began = Instant::now();
    let mut recording = journal.begin(vec![("a.md".into(), "text".into())]);
    let run = recording.id().to_owned();
    recording.append("run.started", 0, &json!({"goal": "g", "inputs": [{"name": "a.md"}]}));
    for n in 0..500 {
        say(&mut recording, &format!("{n} "));
    }
    assert!(began.elapsed() < Duration::from_millis(200), "nothing was waited for: {:?}", began.elapsed());
    // What is not in the file can be read, listed and followed as if it were.
    let seen = recorded(&journal, &run).await;
    let goal = seen.events[0].body["goal"].as_str();
    assert_eq!((seen.left, goal, seen.events.last().unwrap().seq), (false, Some("g"), 501));
    assert!(began.elapsed() < Duration::from_secs(1), "reads don't wait: {:?}", began.elapsed());
    let (id, from) = (run.clone(), 490);
    let tail = journal.read(move |journal| journal.events(&id, from)).await.unwrap();
    assert_eq!(tail.iter().map(|event| event.seq).collect::<Vec<_>>(), (491..=501).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_millis(600)).await;
    let trouble = recording.troubles().remove(0);
    assert!(trouble.contains("locked by another process") && trouble.contains("continues"), "{trouble}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(recording.troubles().is_empty(), "it is said once");
    finish(&mut recording).await;
    drop(recording);
    assert_eq!(last(&recorded(&journal, &run).await, "answer"), "all of it");
    assert_eq!(Journal::open(&path).unwrap().runs().unwrap(), [], "others see only what is in the file");

    drop(locked);
    settled(&journal).await;
    let after = Journal::open(&path).unwrap();
    let ended = after.recorded(&run).unwrap();
    assert_eq!((last(&ended, "status").as_str(), after.holder(&run)), ("completed", None));
    assert_eq!(after.events(&run, 0).unwrap().len(), 502);
    assert_eq!(after.inputs(&run).unwrap(), [("a.md".to_owned(), "text".to_owned())]);
    after.delete(&run).unwrap();
}

#[tokio::test]
async fn whoever_writes_is_told_in_time_that_the_file_is_locked_and_nothing_is_written_later() {
    let (_folder, path, journal) = on_disk();
    let locked = lock(&path);
    let began = Instant::now();
    // All of them wait together, not one after another.
    let create = |n: u32| {
        let journal = journal.clone();
        let talk = crate::StoredConversation { id: format!("c{n}"), created_s: 1, metadata: json!({}) };
        tokio::spawn(
            async move { journal.write(move |journal| journal.create_conversation(&talk, &[])).await },
        )
    };
    let asked: Vec<_> = (0..20).map(create).collect();
    for one in asked {
        let told = one.await.unwrap().unwrap_err();
        assert!(matches!(told, JournalError::Busy { .. }), "{told}");
    }
    let took = began.elapsed();
    // One after another they would take twenty times as long. The rest is for a busy machine.
    assert!(took < 4 * ASK_TIME_MAX, "{took:?}");
    drop(locked);
    for n in 0..20 {
        let there = journal.read(move |journal| journal.conversation(&format!("c{n}"))).await.unwrap();
        assert_eq!(there, None, "c{n}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_what_happened_is_written_when_there_is_space() {
    let (_folder, path, journal) = on_disk();
    let limit = |pages: i64| {
        journal.write(move |journal| {
            journal.with(|db| db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())))
        })
    };
    limit(16).await.unwrap();
    let mut recording = journal.begin(Vec::new());
    for _ in 0..40 {
        say(&mut recording, &"x".repeat(1 << 14));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let trouble = recording.troubles().join("\n");
    assert!(trouble.contains("the disk is full"), "{trouble}");
    finish(&mut recording).await;
    assert_eq!(last(&recorded(&journal, recording.id()).await, "answer"), "all of it");
    limit(1 << 20).await.unwrap();
    settled(&journal).await;
    assert_eq!(Journal::open(&path).unwrap().events(recording.id(), 0).unwrap().len(), 41);
}

#[tokio::test]
async fn what_finds_no_room_is_left_out_but_for_the_end_and_that_is_said() {
    let (_folder, path, journal) = on_disk();
    let locked = lock(&path);
    let mut recording = journal.begin(Vec::new());
    let mebibyte = "x".repeat(1 << 20);
    for _ in 0..=BYTES_MAX >> 20 {
        say(&mut recording, &mebibyte);
    }
    let trouble = recording.troubles().join("\n");
    assert!(trouble.contains("events 64 and later") && trouble.contains("64 MiB already wait"), "{trouble}");
    assert!(matches!(journal.check_room(2 << 20), Err(JournalError::Behind { .. })));
    finish(&mut recording).await;
    drop(locked);
    settled(&journal).await;
    journal.check_room(2 << 20).unwrap();
    let after = Journal::open(&path).unwrap();
    assert_eq!(last(&after.recorded(recording.id()).unwrap(), "answer"), "all of it");
    assert_eq!(after.events(recording.id(), 0).unwrap().len(), 64);
}

#[tokio::test]
async fn a_run_that_is_dropped_without_an_end_was_interrupted() {
    let (_folder, path, journal) = on_disk();
    let mut recording = journal.begin(Vec::new());
    say(&mut recording, "a");
    let run = recording.id().to_owned();
    drop(recording);
    settled(&journal).await;
    let after = Journal::open(&path).unwrap().recorded(&run).unwrap();
    assert!(after.left && after.events.iter().all(|event| event.kind != "run.finished"), "{after:?}");
}

#[tokio::test]
async fn a_run_is_in_the_file_only_with_its_first_event() {
    let (_folder, path, journal) = on_disk();
    let mut recording = journal.begin(vec![("a.txt".to_owned(), "text".to_owned())]);
    journal.flush(Duration::from_millis(200)).await;
    assert_eq!(Journal::open(&path).unwrap().runs().unwrap(), []);
    say(&mut recording, "a");
    let run = recording.id().to_owned();
    drop(recording);
    settled(&journal).await;
    let events = Journal::open(&path).unwrap().recorded(&run).unwrap().events;
    assert_eq!(events.len(), 1, "{events:?}");
}

#[tokio::test]
async fn the_record_of_a_run_that_can_never_be_written_is_let_go_of() {
    let (_folder, path, journal) = on_disk();
    let mut recording = journal.begin(Vec::new());
    say(&mut recording, "a");
    journal.flush(Duration::ZERO).await;
    let run = recording.id().to_owned();
    while Journal::open(&path).unwrap().runs().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Another program deletes its row.
    Connection::open(&path).unwrap().execute("DELETE FROM runs WHERE id = ?1", [&run]).unwrap();
    say(&mut recording, "a");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let trouble = recording.troubles().join("\n");
    assert!(trouble.contains("no longer recorded"), "{trouble}");
    finish(&mut recording).await;
    settled(&journal).await;
    assert!(journal.read(|journal| journal.runs()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_that_is_said_to_be_recorded_is_in_the_file_with_all_it_said() {
    let (_folder, path, journal) = on_disk();
    let reader = Journal::open(&path).unwrap();
    for n in 0..200 {
        let mut recording = journal.begin(vec![("a.md".into(), "text".into())]);
        recording.append("run.started", 0, &json!({"goal": format!("g{n}")}));
        let began = Instant::now();
        recording.recorded(Duration::from_secs(20)).await;
        // A regression: it once waited for the run's end, until the time was over.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        // This is what a process that is killed now would leave.
        assert_eq!(reader.events(recording.id(), 0).unwrap().len(), 1, "{n}");
        assert_eq!(reader.inputs(recording.id()).unwrap().len(), 1, "{n}");
        assert!(recording.troubles().is_empty());
    }
}

#[tokio::test]
async fn a_locked_file_is_waited_for_so_long_and_then_the_run_goes_on_and_says_so() {
    let (_folder, path, journal) = on_disk();
    let locked = lock(&path);
    let mut recording = journal.begin(Vec::new());
    say(&mut recording, "a");
    let began = Instant::now();
    recording.recorded(Duration::from_millis(400)).await;
    let took = began.elapsed();
    assert!((400..2000).contains(&took.as_millis()), "{took:?}");
    let troubles = recording.troubles();
    assert!(troubles.len() == 1 && troubles[0].contains("locked by another process"), "{troubles:?}");
    drop(locked);
    recording.recorded(Duration::from_secs(20)).await;
    assert_eq!(Journal::open(&path).unwrap().events(recording.id(), 0).unwrap().len(), 1);
    // If there is no other reason, the trouble is that the record is slow.
    let (free, waits) = std::sync::mpsc::channel::<()>();
    let desk_of_it = journal.clone();
    let busy = tokio::spawn(async move {
        desk_of_it.write(move |_| waits.recv().map_err(|_| JournalError::NoAnswer { path: "x".into() })).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut recording = journal.begin(Vec::new());
    say(&mut recording, "b");
    recording.recorded(Duration::from_millis(100)).await;
    let troubles = recording.troubles().join("\n");
    assert!(troubles.contains("not in it yet"), "{troubles}");
    free.send(()).unwrap();
    busy.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_question_that_nobody_begins_with_in_time_is_taken_back() {
    let (_folder, path, journal) = on_disk();
    let (free, waits) = std::sync::mpsc::channel::<()>();
    let first = journal.clone();
    let long = tokio::spawn(async move {
        first.write(move |_| waits.recv().map_err(|_| JournalError::NoAnswer { path: "x".into() })).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let talk = crate::StoredConversation { id: "late".into(), created_s: 1, metadata: json!({}) };
    let told = journal.write(move |journal| journal.create_conversation(&talk, &[])).await.unwrap_err();
    assert!(matches!(told, JournalError::Behind { .. }), "{told}");
    assert!(began.elapsed() < 4 * ASK_TIME_MAX, "{:?}", began.elapsed());
    free.send(()).unwrap();
    long.await.unwrap().expect("what is being done is waited for");
    settled(&journal).await;
    assert_eq!(Journal::open(&path).unwrap().conversation("late").unwrap(), None, "and never done");
}

#[tokio::test]
async fn what_was_removed_leaves_the_file_though_the_desk_is_closed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let secret = || {
        let files = std::fs::read_dir(folder.path()).unwrap().flatten();
        files
            .filter(|file| std::fs::read(file.path()).unwrap().windows(6).any(|six| six == b"SECRET"))
            .count()
    };
    let journal = AsyncJournal::open(&path).unwrap();
    let mut recording = journal.begin(Vec::new());
    say(&mut recording, "SECRET");
    finish(&mut recording).await;
    let run = recording.id().to_owned();
    drop(recording);
    settled(&journal).await;
    assert!(secret() > 0);
    journal.write(move |journal| journal.delete(&run)).await.unwrap();
    drop(journal);
    let began = Instant::now();
    while secret() > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is left in the file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A run of this journal that has ended with its third event and is in the file.
async fn ended(journal: &AsyncJournal) -> String {
    let mut recording = journal.begin(vec![("a.md".into(), "text".into())]);
    recording.append("run.started", 0, &json!({"goal": "g"}));
    say(&mut recording, "a");
    finish(&mut recording).await;
    let run = recording.id().to_owned();
    drop(recording);
    settled(journal).await;
    run
}

#[tokio::test]
async fn a_run_that_is_taken_up_again_goes_on_with_its_next_event() {
    let (_folder, path, journal) = on_disk();
    let run = ended(&journal).await;
    let other = Journal::open(&path).unwrap();
    assert!(other.recorded(&run).unwrap().left);
    for round in 1..=3 {
        let mut again = journal.reopen(&run).await.unwrap();
        assert_eq!(again.id(), run);
        assert!(
            !other.recorded(&run).unwrap().left && other.holder(&run).is_some(),
            "others see it in progress"
        );
        again.append("run.resumed", 5, &json!({}));
        let began = Instant::now();
        again.recorded(Duration::from_secs(20)).await;
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        // This is what a process that is killed now would leave.
        assert_eq!(seqs(&path, &run), (1..=2 + 2 * round).collect::<Vec<_>>());
        finish(&mut again).await;
        assert_eq!(again.troubles(), Vec::<String>::new());
        drop(again);
        settled(&journal).await;
        assert_eq!(seqs(&path, &run), (1..=3 + 2 * round).collect::<Vec<_>>());
        let after = other.recorded(&run).unwrap();
        assert!(after.left && other.holder(&run).is_none());
        let kinds: Vec<&str> = after.events.iter().rev().take(2).map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["run.finished", "run.resumed"]);
    }
    assert_eq!(other.inputs(&run).unwrap(), [("a.md".to_owned(), "text".to_owned())]);
    assert_eq!(other.runs().unwrap().len(), 1);
    other.delete(&run).unwrap();
}

#[tokio::test]
async fn a_run_is_taken_up_again_though_what_it_did_before_ended_just_now() {
    let (_folder, path, journal) = on_disk();
    let mut before = journal.begin(Vec::new());
    say(&mut before, "a");
    finish(&mut before).await;
    settled(&journal).await;
    let run = before.id().to_owned();
    // Whoever has seen its last event may take it up, before the recording of the first part is dropped.
    let mut again = journal.reopen(&run).await.unwrap();
    assert!(before.troubles().is_empty());
    drop(before);
    settle_a_moment().await;
    let other = Journal::open(&path).unwrap();
    assert!(other.holder(&run).is_some(), "it is still in progress");
    say(&mut again, "b");
    finish(&mut again).await;
    drop(again);
    settled(&journal).await;
    assert_eq!(seqs(&path, &run), [1, 2, 3, 4]);
    assert!(other.recorded(&run).unwrap().left);
}

/// Lets the journal's thread do what it would do.
async fn settle_a_moment() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn what_is_in_progress_or_not_yet_written_is_not_taken_up() {
    let (_folder, path, journal) = on_disk();
    let in_progress = |reopened: Result<Recording, JournalError>| match reopened.err() {
        Some(error @ JournalError::InProgress { holder, .. }) => {
            assert_eq!(holder.pid, Some(std::process::id()));
            assert!(!error.to_string().contains("removed"), "{error}");
        }
        other => panic!("{other:?}"),
    };
    let mut recording = journal.begin(Vec::new());
    let run = recording.id().to_owned();
    in_progress(journal.reopen(&run).await);
    say(&mut recording, "a");
    recording.recorded(Duration::from_secs(20)).await;
    in_progress(journal.reopen(&run).await);
    // A run of another process.
    let other = Journal::open(&path).unwrap();
    let theirs = other.create_run().unwrap();
    in_progress(journal.reopen(&theirs.id).await);
    // One that has ended, which is not in the file yet.
    let locked = lock(&path);
    finish(&mut recording).await;
    drop(recording);
    let behind = journal.reopen(&run).await.err().unwrap();
    assert!(matches!(behind, JournalError::Behind { .. }), "{behind}");
    drop(locked);
    settled(&journal).await;
    let again = journal.reopen(&run).await.unwrap();
    in_progress(journal.reopen(&run).await);
    drop(again);
    settled(&journal).await;
    assert!(matches!(journal.reopen("none").await.err(), Some(JournalError::UnknownRun { .. })));
    assert_eq!(seqs(&path, &run), [1, 2]);
}

#[tokio::test]
async fn of_two_desks_at_a_file_one_takes_a_run_up() {
    let (_folder, path, first) = on_disk();
    let second = AsyncJournal::open(&path).unwrap();
    let run = ended(&first).await;
    for round in 0..20 {
        let (one, other) = tokio::join!(first.reopen(&run), second.reopen(&run));
        let (mut got, refused) = match (one, other) {
            (Ok(got), Err(refused)) | (Err(refused), Ok(got)) => (got, refused),
            (one, other) => panic!("{round}: {} and {} have it", one.is_ok(), other.is_ok()),
        };
        assert!(matches!(refused, JournalError::InProgress { .. }), "{round}: {refused}");
        say(&mut got, "more");
        drop(got);
        settled(&first).await;
        settled(&second).await;
        assert_eq!(seqs(&path, &run).len(), 4 + round);
    }
}

#[tokio::test]
async fn a_run_that_is_taken_up_and_let_go_of_is_as_it_was() {
    let (_folder, path, journal) = on_disk();
    let run = ended(&journal).await;
    drop(journal.reopen(&run).await.unwrap());
    settled(&journal).await;
    let after = Journal::open(&path).unwrap();
    assert!(after.recorded(&run).unwrap().left && after.holder(&run).is_none());
    assert_eq!(seqs(&path, &run), [1, 2, 3]);
    after.delete(&run).unwrap();
}

#[tokio::test]
async fn a_record_in_memory_is_taken_up_as_well() {
    let journal = AsyncJournal::in_memory().unwrap();
    let run = ended(&journal).await;
    let mut again = journal.reopen(&run).await.unwrap();
    assert!(matches!(journal.reopen(&run).await.err(), Some(JournalError::InProgress { .. })));
    say(&mut again, "b");
    finish(&mut again).await;
    drop(again);
    settled(&journal).await;
    let after = recorded(&journal, &run).await;
    assert_eq!(after.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((after.left, last(&after, "answer").as_str()), (false, "all of it"));
}

#[tokio::test]
async fn nobody_keeps_a_run_who_went_away_while_it_was_taken_up() {
    let (_folder, path, journal) = on_disk();
    let run = ended(&journal).await;
    let (free, waits) = std::sync::mpsc::channel::<()>();
    let busy = journal.clone();
    let busy = tokio::spawn(async move {
        busy.write(move |_| waits.recv().map_err(|_| JournalError::NoAnswer { path: "x".into() })).await
    });
    settle_a_moment().await;
    let gone = tokio::time::timeout(Duration::from_millis(50), async {
        tokio::join!(journal.reopen(&run), journal.fork(&run, 1, 0, |_| ("run.forked".to_owned(), json!({}))))
    });
    assert!(gone.await.is_err(), "the writer is busy");
    free.send(()).unwrap();
    busy.await.unwrap().unwrap();
    settled(&journal).await;
    let other = Journal::open(&path).unwrap();
    assert!(other.runs().unwrap().iter().all(|row| other.holder(&row.id).is_none()));
    journal.reopen(&run).await.unwrap();
}

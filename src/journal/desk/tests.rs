use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::super::unwritten::BYTES_MAX;
use super::*;
use crate::RunState;

/// A desk on a file, and the file.
fn on_disk() -> (TempDir, std::path::PathBuf, Desk) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let desk = Desk::open(&path).unwrap();
    (folder, path, desk)
}

/// Locks the file as another process would that writes for a long time.
fn lock(path: &Path) -> Connection {
    let other = Connection::open(path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    other
}

/// Reads a run's state through the desk.
async fn state(desk: &Desk, run: &str) -> RunState {
    let run = run.to_owned();
    desk.read(move |journal| journal.state(&run)).await.unwrap()
}

fn say(recording: &mut Recording, text: &str) {
    recording.append("answer.delta", 1, &json!({"text": text}));
}

async fn finish(recording: &mut Recording) {
    let body = json!({"status": "completed", "answer": "all of it", "missing": []});
    recording.finish("run.finished", 2, &body, Duration::from_millis(50)).await;
}

/// Waits until everything is written.
async fn settled(desk: &Desk) {
    assert_eq!(desk.flush(Duration::from_secs(20)).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_panic_while_the_record_is_asked_costs_that_question_only() {
    let desk = Desk::in_memory().unwrap();
    let broken = desk.read(|_| -> Result<(), JournalError> { panic!("on purpose") }).await;
    assert!(matches!(broken, Err(JournalError::NoAnswer { .. })));
    assert!(desk.read(|journal| journal.runs()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_goes_on_while_another_process_has_locked_the_file_and_is_recorded_whole_afterwards() {
    let (_folder, path, desk) = on_disk();
    let locked = lock(&path);
    let began = Instant::now();
    let mut recording = desk.begin(vec![("a.md".into(), "text".into())]);
    let run = recording.id().to_owned();
    recording.append("run.started", 0, &json!({"goal": "g", "inputs": [{"name": "a.md"}]}));
    for n in 0..500 {
        say(&mut recording, &format!("{n} "));
    }
    assert!(began.elapsed() < Duration::from_millis(200), "nothing was waited for: {:?}", began.elapsed());
    // What is not in the file can be read, listed and followed as if it were.
    let seen = state(&desk, &run).await;
    assert_eq!((seen.status.as_str(), seen.goal.as_str(), seen.last_seq), ("in_progress", "g", 501));
    assert!(began.elapsed() < Duration::from_secs(1), "reads don't wait: {:?}", began.elapsed());
    let (id, from) = (run.clone(), 490);
    let tail = desk.read(move |journal| journal.events(&id, from)).await.unwrap();
    assert_eq!(tail.iter().map(|event| event.seq).collect::<Vec<_>>(), (491..=501).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_millis(600)).await;
    let trouble = recording.troubles().remove(0);
    assert!(trouble.contains("locked by another process") && trouble.contains("continues"), "{trouble}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(recording.troubles().is_empty(), "it is said once");
    finish(&mut recording).await;
    drop(recording);
    assert_eq!(state(&desk, &run).await.answer, "all of it");
    assert_eq!(Journal::open(&path).unwrap().runs().unwrap(), [], "others see only what is in the file");

    drop(locked);
    settled(&desk).await;
    let after = Journal::open(&path).unwrap();
    assert_eq!((after.state(&run).unwrap().status.as_str(), after.holder(&run)), ("completed", None));
    assert_eq!(after.events(&run, 0).unwrap().len(), 502);
    assert_eq!(after.inputs(&run).unwrap(), [("a.md".to_owned(), "text".to_owned())]);
    after.delete(&run).unwrap();
}

#[tokio::test]
async fn whoever_writes_is_told_in_time_that_the_file_is_locked_and_nothing_is_written_later() {
    let (_folder, path, desk) = on_disk();
    let locked = lock(&path);
    let began = Instant::now();
    // All of them wait together, not one after another.
    let create = |n: u32| {
        let desk = desk.clone();
        let talk = crate::KeptConversation { id: format!("c{n}"), created_s: 1, metadata: json!({}) };
        tokio::spawn(async move { desk.write(move |journal| journal.create_conversation(&talk, &[])).await })
    };
    let asked: Vec<_> = (0..20).map(create).collect();
    for one in asked {
        let told = one.await.unwrap().unwrap_err();
        assert!(matches!(told, JournalError::Busy { .. }), "{told}");
    }
    let took = began.elapsed();
    assert!(took < ASK_TIME_MAX + Duration::from_secs(2), "{took:?}");
    drop(locked);
    for n in 0..20 {
        let there = desk.read(move |journal| journal.conversation(&format!("c{n}"))).await.unwrap();
        assert_eq!(there, None, "c{n}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_what_happened_is_written_when_there_is_space() {
    let (_folder, path, desk) = on_disk();
    let limit = |pages: i64| {
        desk.write(move |journal| {
            journal.with(|db| db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())))
        })
    };
    limit(16).await.unwrap();
    let mut recording = desk.begin(Vec::new());
    for _ in 0..40 {
        say(&mut recording, &"x".repeat(1 << 14));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let trouble = recording.troubles().join("\n");
    assert!(trouble.contains("the disk is full"), "{trouble}");
    finish(&mut recording).await;
    assert_eq!(state(&desk, recording.id()).await.answer, "all of it");
    limit(1 << 20).await.unwrap();
    settled(&desk).await;
    assert_eq!(Journal::open(&path).unwrap().events(recording.id(), 0).unwrap().len(), 41);
}

#[tokio::test]
async fn what_finds_no_room_is_left_out_but_for_the_end_and_that_is_said() {
    let (_folder, path, desk) = on_disk();
    let locked = lock(&path);
    let mut recording = desk.begin(Vec::new());
    let mebibyte = "x".repeat(1 << 20);
    for _ in 0..=BYTES_MAX >> 20 {
        say(&mut recording, &mebibyte);
    }
    let trouble = recording.troubles().join("\n");
    assert!(trouble.contains("events 64 and later") && trouble.contains("64 MiB already wait"), "{trouble}");
    assert!(matches!(desk.check_room(2 << 20), Err(JournalError::Behind { .. })));
    finish(&mut recording).await;
    drop(locked);
    settled(&desk).await;
    desk.check_room(2 << 20).unwrap();
    let after = Journal::open(&path).unwrap();
    assert_eq!(after.state(recording.id()).unwrap().answer, "all of it");
    assert_eq!(after.events(recording.id(), 0).unwrap().len(), 64);
}

#[tokio::test]
async fn a_run_that_is_dropped_without_an_end_was_interrupted() {
    let (_folder, path, desk) = on_disk();
    let mut recording = desk.begin(Vec::new());
    say(&mut recording, "a");
    let run = recording.id().to_owned();
    drop(recording);
    settled(&desk).await;
    assert_eq!(Journal::open(&path).unwrap().state(&run).unwrap().status, "incomplete");
}

#[tokio::test]
async fn the_record_of_a_run_that_can_never_be_written_is_let_go_of() {
    let (_folder, path, desk) = on_disk();
    let mut recording = desk.begin(Vec::new());
    desk.flush(Duration::ZERO).await;
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
    settled(&desk).await;
    assert!(desk.read(|journal| journal.runs()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_that_is_said_to_be_recorded_is_in_the_file_with_all_it_said() {
    let (_folder, path, desk) = on_disk();
    let reader = Journal::open(&path).unwrap();
    for n in 0..200 {
        let mut recording = desk.begin(vec![("a.md".into(), "text".into())]);
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
    let (_folder, path, desk) = on_disk();
    let locked = lock(&path);
    let mut recording = desk.begin(Vec::new());
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
    let desk_of_it = desk.clone();
    let busy = tokio::spawn(async move {
        desk_of_it.write(move |_| waits.recv().map_err(|_| JournalError::NoAnswer { path: "x".into() })).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut recording = desk.begin(Vec::new());
    say(&mut recording, "b");
    recording.recorded(Duration::from_millis(100)).await;
    let troubles = recording.troubles().join("\n");
    assert!(troubles.contains("not in it yet"), "{troubles}");
    free.send(()).unwrap();
    busy.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_question_that_nobody_begins_with_in_time_is_taken_back() {
    let (_folder, path, desk) = on_disk();
    let (free, waits) = std::sync::mpsc::channel::<()>();
    let first = desk.clone();
    let long = tokio::spawn(async move {
        first.write(move |_| waits.recv().map_err(|_| JournalError::NoAnswer { path: "x".into() })).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let talk = crate::KeptConversation { id: "late".into(), created_s: 1, metadata: json!({}) };
    let told = desk.write(move |journal| journal.create_conversation(&talk, &[])).await.unwrap_err();
    assert!(matches!(told, JournalError::Behind { .. }), "{told}");
    assert!(began.elapsed() < ASK_TIME_MAX + Duration::from_secs(3), "{:?}", began.elapsed());
    free.send(()).unwrap();
    long.await.unwrap().expect("what is being done is waited for");
    settled(&desk).await;
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
    let desk = Desk::open(&path).unwrap();
    let mut recording = desk.begin(Vec::new());
    say(&mut recording, "SECRET");
    finish(&mut recording).await;
    let run = recording.id().to_owned();
    drop(recording);
    settled(&desk).await;
    assert!(secret() > 0);
    desk.write(move |journal| journal.delete(&run)).await.unwrap();
    drop(desk);
    let began = Instant::now();
    while secret() > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is left in the file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

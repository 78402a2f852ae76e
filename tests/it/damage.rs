//! Damaged rows in the record of runs: each is named where it is shown, and hides nothing else.

use std::path::{Path, PathBuf};

use bandmaster::journal::{Journal, JournalError, OpenRun, StoredConversation, StoredItem, StoredResponse};
use serde_json::{Value, json};

use super::cli::Home;
use super::journal::finished;

/// What a column of JSON can contain after a bad sector or a change by another program.
const DAMAGE: [&str; 6] = ["'{\"text\": \"cut off'", "''", "x'ff00fe'", "12.5", "'[1, 2]'", "'null'"];

fn change(path: &Path, statement: &str) {
    let changed = rusqlite::Connection::open(path).unwrap().execute(statement, []).unwrap();
    assert!(changed > 0, "{statement}");
}

/// The error must be that something is damaged, and contain every part.
fn is_damage<T>(found: Result<T, JournalError>, parts: &[&str]) {
    let Err(error) = found else { panic!("{parts:?}: no error") };
    let said = error.to_string();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
    assert!(parts.iter().all(|part| said.contains(part)), "{said} lacks one of {parts:?}");
}

fn item(id: &str) -> StoredItem {
    StoredItem { id: id.into(), body: json!({"id": id}) }
}

fn kept(id: &str, previous: Option<&str>) -> StoredResponse {
    StoredResponse {
        id: id.into(),
        previous: previous.map(str::to_owned),
        conversation: None,
        created_s: 7,
        body: json!({"id": id}),
        input: vec![item(&format!("{id}.in"))],
        output: vec![item(&format!("{id}.out"))],
    }
}

/// A record of two responses, the second of which continues the first, and a conversation with two items.
fn said(folder: &Path) -> (Journal, PathBuf) {
    let path = folder.join("runs.sqlite");
    let journal = Journal::open(&path).unwrap();
    journal.keep_response(&kept("r1", None)).unwrap();
    journal.keep_response(&kept("r2", Some("r1"))).unwrap();
    let talk = StoredConversation { id: "talk".into(), created_s: 3, metadata: json!({"a": "b"}) };
    journal.create_conversation(&talk, &[item("first"), item("second")]).unwrap();
    (journal, path)
}

#[test]
fn a_damaged_response_is_named_and_the_others_can_be_read() {
    for broken in DAMAGE {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = said(folder.path());
        change(&path, &format!("UPDATE responses SET body = {broken} WHERE id = 'r1'"));
        is_damage(journal.response("r1"), &["the body of response r1", "DELETE /v1/responses/r1"]);
        assert!(journal.has_response("r1").unwrap());
        assert_eq!(journal.response("r2").unwrap(), Some(json!({"id": "r2"})), "{broken}");
        assert_eq!(
            journal.history("r2").unwrap().unwrap().items.len(),
            4,
            "the document is not needed for it"
        );
        assert!(journal.delete_response("r1").unwrap(), "what the message says to do helps");
    }
}

#[test]
fn a_damaged_conversation_is_named_and_its_items_can_be_read() {
    for broken in DAMAGE {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = said(folder.path());
        change(&path, &format!("UPDATE conversations SET metadata = {broken}"));
        let parts = ["the metadata of conversation talk", "POST /v1/conversations/talk"];
        is_damage(journal.conversation("talk"), &parts);
        assert!(journal.has_conversation("talk").unwrap());
        assert_eq!(journal.items("talk").unwrap().len(), 2, "{broken}");
        assert!(journal.note_conversation("talk", &json!({})).unwrap());
        assert!(journal.conversation("talk").unwrap().is_some(), "what the message says to do helps");
    }
}

#[test]
fn a_damaged_item_is_marked_in_lists_and_named_where_it_is_needed() {
    for broken in DAMAGE {
        let folder = tempfile::tempdir().unwrap();
        let (journal, path) = said(folder.path());
        change(&path, &format!("UPDATE items SET body = {broken} WHERE id IN ('first', 'r1.in')"));
        let now = "DELETE /v1/conversations/talk/items/first";
        let parts = ["the body of item first of conversation talk", now];
        is_damage(journal.items("talk"), &parts);
        is_damage(journal.item("first"), &parts);
        is_damage(journal.item_of("talk", "first"), &parts);
        assert_eq!(journal.item_of("talk", "second").unwrap(), Some(item("second")), "{broken}");
        let listed = journal.listed_items("talk").unwrap();
        let message = listed[0].body["message"].as_str().unwrap();
        assert_eq!((&listed[0].body["type"], &listed[1]), (&json!("record.damaged"), &item("second")));
        assert!(message.contains(parts[0]) && message.contains(now), "{message}");
        let of_response = ["the body of item r1.in of response r1", "DELETE /v1/responses/r1"];
        is_damage(journal.history("r2"), &of_response);
        is_damage(journal.items("r1"), &of_response);
        assert_eq!(journal.items("r2").unwrap().len(), 1, "{broken}");
        assert!(journal.remove_item("talk", "first").unwrap(), "what the message says to do helps");
        assert_eq!(journal.items("talk").unwrap(), [item("second")]);
    }
}

/// A home with four runs that ended early, the oldest first.
struct Runs {
    home: Home,
    path: PathBuf,
    ids: Vec<String>,
}

impl Runs {
    fn new() -> Self {
        let home = Home::new();
        let path = home.path().join("home/runs.sqlite");
        let journal = Journal::open(&path).unwrap();
        let runs: Vec<OpenRun> = (0..4).map(|_| journal.create_run().unwrap()).collect();
        for run in &runs {
            journal.keep_input(&run.id, 0, "a.md", "text").unwrap();
            let task = json!({"task": "t1", "attempt": 1});
            let events = [
                ("run.started", json!({"goal": "count sheep", "inputs": []})),
                ("strategy.chosen", json!({"strategy": "map"})),
                ("task.ready", task.clone()),
                ("task.started", task.clone()),
                ("task.started", task.clone()),
                ("task.output", json!({"task": "t1", "attempt": 1, "prompt": "p", "output": "four"})),
                ("run.finished", finished("incomplete", "", &[])),
            ];
            for (kind, body) in events {
                journal.append(&run.id, kind, 1, &body).unwrap();
            }
        }
        let ids = runs.iter().map(|run| run.id.clone()).collect();
        Self { home, path, ids }
    }

    fn damage(&self, run: usize, seq: u64, broken: &str) {
        let id = &self.ids[run];
        change(&self.path, &format!("UPDATE events SET body = {broken} WHERE run = '{id}' AND seq = {seq}"));
    }

    /// Runs a command, checks its exit status, and returns stdout and stderr.
    fn said(&self, words: &[&str], status: i32) -> (String, String) {
        let output = self.home.command(words).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(status), "{words:?}: {stdout}{stderr}");
        (stdout, stderr)
    }
}

#[test]
fn a_list_of_runs_goes_on_past_damage_and_names_the_runs() {
    for broken in DAMAGE {
        let runs = Runs::new();
        let [first, last, middle] = [0, 1, 2].map(|run| runs.ids[run].as_str());
        runs.damage(0, 1, broken);
        runs.damage(1, 7, broken);
        runs.damage(2, 5, broken);
        let (listed, warned) = runs.said(&["runs", "list"], 0);
        assert!(runs.ids.iter().all(|id| listed.contains(id)), "{listed}");
        assert!(warned.contains(&format!("run {first}: event 1 (run.started)")), "{broken}: {warned}");
        assert!(warned.contains(&format!("run {last}: event 7 (run.finished)")), "{broken}: {warned}");
        // The events between the first and the last are not read for this list.
        assert_eq!(warned.lines().count(), 2, "{warned}");

        let (listed, warned) = runs.said(&["runs", "list", "--json"], 0);
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let damaged: Vec<_> = listed.iter().rev().map(|run| run["damaged"][0].as_str()).collect();
        assert!(damaged[0].is_some_and(|said| said.starts_with("event 1 (run.started)")), "{damaged:?}");
        assert!(damaged[1].is_some_and(|said| said.starts_with("event 7 (run.finished)")), "{damaged:?}");
        assert!(damaged[2].is_some_and(|said| said.starts_with("event 5 (task.started)")), "{damaged:?}");
        assert!(damaged[3].is_none() && listed[0].get("damaged").is_none(), "{listed:?}");
        assert!(
            warned.contains(&format!("run {middle}: event 5")) && warned.lines().count() == 3,
            "{warned}"
        );
        assert!(listed.iter().all(|run| run["tasks"] == 1), "{listed:?}");
    }
}

#[test]
fn a_run_says_which_of_its_events_is_damaged() {
    for broken in DAMAGE {
        let runs = Runs::new();
        let id = runs.ids[0].as_str();
        runs.damage(0, 6, broken);
        let event = "event 6 (task.output), whose record is damaged";
        assert!(runs.said(&["runs", "show", id], 0).0.contains(event), "{broken}");
        let shown: Value = serde_json::from_str(&runs.said(&["runs", "show", id, "--json"], 0).0).unwrap();
        assert_eq!(shown["damaged"], shown["missing"]);
        assert!(shown["damaged"][0].as_str().unwrap().starts_with(event), "{shown}");
        assert!(runs.said(&["runs", "show", id, "--task", "t1"], 0).1.contains(event), "{broken}");
        let (events, _) = runs.said(&["runs", "show", id, "--events", "--json"], 0);
        assert_eq!((events.lines().count(), events.matches("record.damaged").count()), (7, 1), "{events}");
        let (_, refused) = runs.said(&["runs", "show", id, "--trace"], 1);
        assert!(refused.contains(&format!("event 6 of run {id} is damaged")), "{refused}");
        let (whole, _) = runs.said(&["runs", "show", &runs.ids[1], "--json"], 0);
        assert!(!whole.contains("damaged"), "{whole}");
    }
}

#[test]
fn what_a_damaged_run_was_to_do_is_not_made_up() {
    let others = [
        "'{\"inputs\": []}'",
        "'{\"goal\": 5}'",
        "'{\"goal\": \"g\", \"asked\": {\"strategy\": \"nonsense\", \"seed\": 1}}'",
        "'{\"goal\": \"g\", \"asked\": {\"seed\": 1, \"budget_seconds\": -1}}'",
    ];
    for broken in DAMAGE.iter().chain(&others) {
        let runs = Runs::new();
        let id = &runs.ids[0];
        runs.damage(0, 1, broken);
        let (_, refused) = runs.said(&["runs", "resume", id], 1);
        assert!(
            refused.contains(&format!("event 1 of run {id} in the record of runs")),
            "{broken}: {refused}"
        );
        assert!(refused.contains(&format!("bandmaster runs rm {id}")), "{broken}: {refused}");
        runs.said(&["runs", "rm", id], 0);
    }
    let runs = Runs::new();
    let id = &runs.ids[0];
    change(&runs.path, &format!("UPDATE inputs SET text = x'ff00fe' WHERE run = '{id}'"));
    let (_, refused) = runs.said(&["runs", "resume", id], 1);
    assert!(refused.contains(&format!("input 1 of run {id} in the record of runs")), "{refused}");
}

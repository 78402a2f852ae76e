use serde_json::json;

use super::*;

fn items(ids: &[&str]) -> Vec<StoredItem> {
    ids.iter().map(|&id| StoredItem { id: id.into(), body: json!({"says": id}) }).collect()
}

fn answer(id: &str, previous: Option<&str>, input: &[&str], output: &[&str]) -> StoredResponse {
    StoredResponse {
        id: id.into(),
        previous: previous.map(str::to_owned),
        conversation: None,
        created_s: 7,
        body: json!({"id": id}),
        input: items(input),
        output: items(output),
    }
}

fn ids(items: &[StoredItem]) -> Vec<&str> {
    items.iter().map(|item| item.id.as_str()).collect()
}

#[test]
fn a_history_is_all_inputs_and_outputs_of_the_chain() {
    let journal = Journal::in_memory().unwrap();
    journal.keep_response(&answer("r1", None, &["a", "b"], &["c"])).unwrap();
    journal.keep_response(&answer("r2", Some("r1"), &["d"], &["e", "f"])).unwrap();
    journal.keep_response(&answer("other", Some("r1"), &["x"], &["y"])).unwrap();
    let check = |id: &str, expected: Option<(&[&str], Option<&str>)>| {
        let history = journal.history(id).unwrap();
        let says = |history: &History| -> Vec<String> {
            history.items.iter().map(|item| item.body["says"].as_str().unwrap().to_owned()).collect()
        };
        let found = history.as_ref().map(|history| (says(history), history.missing.clone()));
        let expected = expected.map(|(items, missing)| {
            (items.iter().map(|&id| id.to_owned()).collect(), missing.map(str::to_owned))
        });
        assert_eq!(found, expected, "{id}");
    };
    check("r1", Some((&["a", "b", "c"], None)));
    check("r2", Some((&["a", "b", "c", "d", "e", "f"], None)));
    check("none", None);
    assert_eq!(ids(&journal.items("r2").unwrap()), ["d"]);
    assert_eq!(journal.item("e").unwrap(), items(&["e"]).pop());

    assert!(journal.delete_response("r1").unwrap());
    assert!(!journal.delete_response("r1").unwrap());
    assert_eq!(journal.response("r1").unwrap(), None);
    assert_eq!(journal.item("a").unwrap(), None);
    check("r2", Some((&["d", "e", "f"], Some("r1"))));
}

#[test]
fn an_answer_in_a_conversation_says_so_in_the_history() {
    let journal = Journal::in_memory().unwrap();
    let first = StoredResponse { conversation: Some("talk".into()), ..answer("r1", None, &["a"], &["b"]) };
    journal.keep_response(&first).unwrap();
    journal.keep_response(&answer("r2", Some("r1"), &["c"], &[])).unwrap();
    assert_eq!(journal.history("r2").unwrap().unwrap().conversation.as_deref(), Some("talk"));
}

#[test]
fn a_conversation_grows_and_shrinks_in_order() {
    let journal = Journal::in_memory().unwrap();
    let talk = StoredConversation { id: "talk".into(), created_s: 3, metadata: json!({"a": "b"}) };
    journal.create_conversation(&talk, &items(&["a"])).unwrap();
    assert!(journal.extend_conversation("talk", &items(&["b", "c"])).unwrap());
    assert!(!journal.extend_conversation("none", &items(&["b"])).unwrap());
    assert!(journal.remove_item("talk", "b").unwrap());
    assert!(!journal.remove_item("talk", "b").unwrap());
    assert!(journal.extend_conversation("talk", &items(&["d"])).unwrap());
    assert_eq!(ids(&journal.items("talk").unwrap()), ["a", "c", "d"]);

    assert!(journal.note_conversation("talk", &json!({})).unwrap());
    assert!(!journal.note_conversation("none", &json!({})).unwrap());
    let noted = StoredConversation { metadata: json!({}), ..talk };
    assert_eq!(journal.conversation("talk").unwrap(), Some(noted));

    assert!(journal.delete_conversation("talk").unwrap());
    assert!(!journal.delete_conversation("talk").unwrap());
    assert_eq!(journal.conversation("talk").unwrap(), None);
    assert!(journal.items("talk").unwrap().is_empty());
}

#[test]
fn old_answers_are_removed_but_those_that_a_younger_one_goes_on_from() {
    let journal = Journal::in_memory().unwrap();
    let day_s = 86_400;
    let now_s = unix_ms() / 1000;
    let keep = |id: &str, previous: Option<&str>, days: u64| {
        let given = answer(id, previous, &[&format!("{id}.in")], &[&format!("{id}.out")]);
        journal.keep_response(&StoredResponse { created_s: now_s - days * day_s, ..given }).unwrap();
    };
    keep("first", None, 50);
    keep("second", Some("first"), 40);
    keep("third", Some("second"), 1);
    keep("branch", Some("first"), 45);
    keep("alone", None, 31);
    keep("young", None, 29);
    journal
        .create_conversation(
            &StoredConversation { id: "talk".into(), created_s: now_s - 90 * day_s, metadata: json!({}) },
            &items(&["alone.out"]),
        )
        .unwrap();
    let check = |days: u64, removed: usize, left: &[&str]| {
        let age = Duration::from_secs(days * day_s);
        assert_eq!(journal.prune_responses(age).unwrap(), removed, "{days} days");
        for id in ["first", "second", "third", "branch", "alone", "young"] {
            let there = left.contains(&id);
            assert_eq!(journal.response(id).unwrap().is_some(), there, "{id} after {days} days");
            assert_eq!(journal.items(id).unwrap().len(), usize::from(there), "{id} after {days} days");
            assert_eq!(journal.item(&format!("{id}.in")).unwrap().is_some(), there, "{id} after {days} days");
        }
        assert_eq!(ids(&journal.items("talk").unwrap()), ["alone.out"], "conversations stay");
    };
    check(60, 0, &["first", "second", "third", "branch", "alone", "young"]);
    check(30, 2, &["first", "second", "third", "young"]);
    check(30, 0, &["first", "second", "third", "young"]);
    check(0, 4, &[]);
}

use serde_json::json;

use super::*;

fn items(given: Value) -> Vec<InputItem> {
    serde_json::from_value(given).unwrap()
}

#[test]
fn a_model_reads_items_as_turns() {
    let check = |given: Value, expected: Value| {
        let read = messages(Some("Be brief."), &items(given)).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), expected);
    };
    let call = json!({"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{\"x\": 1}", "status": "completed"});
    let called = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}});
    check(
        json!([{"role": "developer", "content": "Be kind."}, {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}]),
        json!([{"role": "system", "content": "Be brief.\n\nBe kind."}, {"role": "user", "content": "ab"}]),
    );
    check(
        json!([{"role": "user", "content": "a"},
               {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
               {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [
                   {"type": "output_text", "text": "I look.", "annotations": [], "logprobs": null}]},
               call,
               {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "7"}]}]),
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
               {"role": "assistant", "content": "I look.", "tool_calls": [called]},
               {"role": "tool", "content": "7", "tool_call_id": "c1"}]),
    );
    check(
        json!([{"role": "user", "content": "a"}, call, {"role": "assistant", "content": "I looked."}]),
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a"},
               {"role": "assistant", "content": "I looked.", "tool_calls": [called]}]),
    );
}

#[test]
fn a_conversation_without_items_is_refused() {
    let error = messages(Some("Be brief."), &items(json!([]))).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("input"));
    assert!(error.message.contains("missing"), "{}", error.message);
}

#[test]
fn missing_fields_of_a_call_are_empty() {
    let read = |given: Value| serde_json::to_value(messages(None, &items(json!([given]))).unwrap()).unwrap();
    for arguments in [json!(null), json!("{}"), json!({})] {
        let call = json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": arguments});
        assert_eq!(read(call)[0]["tool_calls"][0]["function"]["arguments"], json!({}), "{arguments}");
    }
    let call = json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": {"x": 1}});
    assert_eq!(read(call)[0]["tool_calls"][0]["function"]["arguments"], json!({"x": 1}));
    let alone = json!({"type": "function_call_output", "call_id": "c9", "output": "7"});
    assert_eq!(read(alone)[0], json!({"role": "tool", "content": "7", "tool_call_id": "c9"}));
    assert_eq!(read(json!({"role": "user"}))[0]["content"], "");
}

#[test]
fn items_are_stored_in_one_form_under_their_own_ids() {
    let given = items(json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "id": "msg_1", "content": "b"},
        {"role": "assistant", "id": "msg_1", "content": [{"type": "refusal", "refusal": "no"}]},
        {"type": "function_call_output", "id": "fc_2", "call_id": "c", "output": "7"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ]));
    let mut used_ids = HashSet::from(["fc_2".to_owned()]);
    let kept: Vec<Item> = given.into_iter().filter_map(|item| item.into_item(&mut used_ids)).collect();
    let documents: Vec<StoredItem> = kept.iter().map(Item::document).collect();
    assert_eq!(documents.len(), 4, "reasoning is dropped");
    let ids: HashSet<&str> = documents.iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids.len(), 4, "no id is there twice");
    assert!(documents[1].id == "msg_1" && !ids.contains("fc_2"));
    assert_eq!(documents[0].body["content"], json!([{"type": "input_text", "text": "a"}]));
    assert_eq!(
        documents[1].body,
        json!({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
               "content": [{"type": "output_text", "text": "b", "annotations": [], "logprobs": []}]})
    );
    // What is kept is read again as what was given.
    for document in &documents {
        assert!(serde_json::from_value::<InputItem>(document.body.clone()).is_ok(), "{document:?}");
    }
}

#[test]
fn a_list_is_returned_in_pages() {
    let items: Vec<StoredItem> =
        ["a", "b", "c", "d"].map(|id| StoredItem { id: id.into(), body: json!(id) }).into();
    let check = |after: Option<&str>, limit: u32, order, expected: &[&str], more: bool| {
        let paging = Paging { after: after.map(str::to_owned), limit: Some(limit), order };
        let page = ItemList::page(items.clone(), &paging).unwrap();
        let end = |id: Option<&&str>| id.copied().unwrap_or_default().to_owned();
        let expected = ItemList {
            object: "list",
            data: expected.iter().map(|id| json!(id)).collect(),
            first_id: end(expected.first()),
            last_id: end(expected.last()),
            has_more: more,
        };
        assert_eq!(page, expected);
    };
    check(None, 3, None, &["d", "c", "b"], true);
    check(Some("b"), 3, Some(Order::Desc), &["a"], false);
    check(None, 100, Some(Order::Asc), &["a", "b", "c", "d"], false);
    check(Some("a"), 2, Some(Order::Asc), &["b", "c"], true);
    check(Some("d"), 2, Some(Order::Asc), &[], false);
    let refused = |paging| ItemList::page(items.clone(), &paging).unwrap_err().param;
    assert_eq!(refused(Paging { limit: Some(0), ..Paging::default() }).as_deref(), Some("limit"));
    assert_eq!(refused(Paging { after: Some("x".into()), ..Paging::default() }).as_deref(), Some("after"));
}

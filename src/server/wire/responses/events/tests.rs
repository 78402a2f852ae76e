use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::wire::body::parse;
use crate::wire::responses::request::CreateResponse;

fn new_builder() -> ResponseBuilder {
    let request = parse::<CreateResponse>(br#"{"input": "Hi"}"#).unwrap();
    ResponseBuilder::new(request.0.check("m".into()).unwrap().response)
}

fn content(text: &str) -> Part {
    Part::Content(text.into())
}

fn reasoning(text: &str) -> Part {
    Part::Reasoning(text.into())
}

fn call(index: u32, name: &str, arguments: &[&str]) -> Vec<Part> {
    let mut parts = vec![Part::CallBegin { index, name: name.into() }];
    parts.extend(arguments.iter().map(|&text| Part::CallArguments { index, text: text.into() }));
    parts
}

fn events_of(parts: Vec<Part>, finish: Finish) -> Vec<Value> {
    let mut builder = new_builder();
    let mut events = builder.opening();
    for part in parts {
        events.extend(builder.push(vec![part], Vec::new()));
    }
    events.extend(builder.end(finish, Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() }));
    events.extend(builder.final_event());
    events.iter().map(|event| serde_json::to_value(event).unwrap()).collect()
}

/// Plays the stream as a client reads it: what is open, what the deltas add up to; every claim of an event is checked.
fn replayed(events: &[Value]) -> Vec<Value> {
    let mut items: Vec<Value> = Vec::new();
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at as u64);
        let id = event["item_id"].as_str().unwrap_or_default().to_owned();
        let text_so_far = texts.get(&id).cloned();
        if !id.is_empty() {
            let index = event["output_index"].as_u64().unwrap() as usize;
            assert_eq!((index + 1, &items[index]["id"]), (items.len(), &event["item_id"]), "{event}");
        }
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => {
                assert_eq!(event["output_index"], items.len() as u64);
                assert_eq!(event["item"]["status"], "in_progress");
                texts.insert(event["item"]["id"].as_str().unwrap().to_owned(), String::new());
                items.push(event["item"].clone());
            }
            "response.output_item.done" => {
                let index = event["output_index"].as_u64().unwrap() as usize;
                let item = &event["item"];
                let text = match item["type"].as_str().unwrap() {
                    "function_call" => item["arguments"].as_str(),
                    _ => item["content"][0]["text"].as_str(),
                };
                assert_eq!(text, texts.get(item["id"].as_str().unwrap()).map(String::as_str));
                items[index] = item.clone();
            }
            name if name.ends_with(".delta") => {
                texts.get_mut(&id).unwrap().push_str(event["delta"].as_str().unwrap());
            }
            "response.output_text.done" | "response.reasoning_text.done" => {
                assert_eq!(event["text"].as_str(), text_so_far.as_deref());
            }
            "response.function_call_arguments.done" => {
                assert_eq!(event["arguments"].as_str(), text_so_far.as_deref())
            }
            "response.content_part.added" => assert_eq!(event["part"]["text"], ""),
            "response.content_part.done" => {
                assert_eq!(event["part"]["text"].as_str(), text_so_far.as_deref())
            }
            _ => {}
        }
    }
    assert_eq!(events.last().unwrap()["response"]["output"], json!(items));
    items
}

/// Names without `response.`, the same one after the other told once.
fn names(events: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> =
        events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect();
    names.dedup();
    names
}

const TEXT: [&str; 6] = [
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
];
const REASONING: [&str; 6] = [
    "output_item.added",
    "content_part.added",
    "reasoning_text.delta",
    "reasoning_text.done",
    "content_part.done",
    "output_item.done",
];
const CALL: [&str; 4] = [
    "output_item.added",
    "function_call_arguments.delta",
    "function_call_arguments.done",
    "output_item.done",
];

#[test]
fn events_come_in_order_and_add_up() {
    let check = |parts: Vec<Part>, finish: Finish, groups: &[&[&str]], last: &str| {
        let events = events_of(parts, finish);
        let expected = [&["created", "in_progress"][..], &groups.concat(), &[last]].concat();
        assert_eq!(names(&events), expected);
        replayed(&events)
    };
    let items = check(vec![content("Hel"), content("lo")], Finish::Stop, &[&TEXT], "completed");
    assert_eq!(items[0]["content"][0]["text"], "Hello");

    let both = [call(0, "f", &["{\"x\"", ": 1}"]), call(1, "g", &["{}"])].concat();
    let items = check(both, Finish::ToolCalls, &[&CALL, &CALL], "completed");
    assert_eq!((&items[0]["arguments"], &items[1]["name"]), (&json!("{\"x\": 1}"), &json!("g")));
    assert_ne!(items[0]["call_id"], items[1]["call_id"]);

    let thought = vec![reasoning("hm"), reasoning(" …"), content("Yes")];
    let items = check(thought, Finish::Stop, &[&REASONING, &TEXT], "completed");
    assert_eq!((&items[0]["content"][0]["text"], &items[0]["summary"]), (&json!("hm …"), &json!([])));

    let all = [vec![reasoning("hm"), content("I look.")], call(0, "f", &["{}"])].concat();
    check(all, Finish::ToolCalls, &[&REASONING, &TEXT, &CALL], "completed");

    let items = check(vec![content("Hel")], Finish::Length, &[&TEXT], "incomplete");
    assert_eq!(items[0]["status"], "incomplete");
    // A text that is empty is a text.
    let empty = [TEXT[0], TEXT[1], TEXT[3], TEXT[4], TEXT[5]];
    check(Vec::new(), Finish::Stop, &[&empty], "completed");
}

#[test]
fn the_last_event_says_how_it_ended() {
    let ended = |finish| events_of(vec![content("a")], finish).pop().unwrap()["response"].take();
    let whole = ended(Finish::Stop);
    assert_eq!((&whole["status"], &whole["incomplete_details"]), (&json!("completed"), &Value::Null));
    assert!(whole["completed_at"].is_u64());
    assert_eq!((&whole["usage"]["input_tokens"], &whole["usage"]["total_tokens"]), (&json!(3), &json!(5)));
    let cut = ended(Finish::Length);
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(cut["completed_at"], Value::Null);

    let mut builder = new_builder();
    builder.push(vec![content("a")], Vec::new());
    builder.fail(&ApiError::internal("it broke"));
    let last = serde_json::to_value(builder.final_event()).unwrap();
    assert_eq!(last[0]["type"], "response.failed");
    let broken = &last[0]["response"];
    assert_eq!(broken["error"], json!({"code": "server_error", "message": "it broke"}));
    assert_eq!((&broken["status"], &broken["output"][0]["status"]), (&json!("failed"), &json!("incomplete")));
}

#[test]
fn log_probabilities_go_with_the_text_of_their_tokens() {
    let score =
        |token: &str| TokenLogprob { token: token.into(), logprob: -1.0, bytes: None, top_logprobs: vec![] };
    let mut builder = new_builder();
    // The first token is half a character: its text comes with the second.
    assert!(builder.push(vec![], vec![score("1")]).is_empty());
    let events = builder.push(vec![content("ö")], vec![score("2")]);
    let told = serde_json::to_value(events.last().unwrap()).unwrap();
    assert_eq!(told["logprobs"].as_array().unwrap().len(), 2);
    // Those of a call are nobody's.
    builder.push(call(0, "f", &["{}"]), vec![score("3")]);
    builder.push(vec![content("b")], vec![score("4")]);
    builder.end(Finish::Stop, Usage::default());
    let output = serde_json::to_value(&builder.response().output).unwrap();
    let tokens = |item: usize| -> Vec<&str> {
        let scores = output[item]["content"][0]["logprobs"].as_array().unwrap();
        scores.iter().map(|score| score["token"].as_str().unwrap()).collect()
    };
    assert_eq!((tokens(0), tokens(2)), (vec!["1", "2"], vec!["4"]));
}

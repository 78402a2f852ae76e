use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::http::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::json;

use super::*;
use crate::fixtures::{Running, running};

impl Running {
    async fn ask(&self, more: Value) -> Value {
        self.call(200, "POST", "/v1/responses", asking(more)).await
    }

    async fn refused(&self, status: u16, more: Value, param: &str) {
        let answer = self.call(status, "POST", "/v1/responses", asking(more)).await;
        assert_eq!(answer["error"]["param"], param, "{answer}");
    }
}

fn asking(more: Value) -> Value {
    let mut request = json!({"input": "Hi", "temperature": 0});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

fn says(list: &Value) -> Vec<&str> {
    let items = list["data"].as_array().unwrap().iter();
    items.map(|item| item["content"][0]["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_answer_is_stored_until_it_is_deleted() {
    let server = running("Hello!");
    let answer = server.ask(json!({"metadata": {"a": "b"}})).await;
    assert_eq!(
        (text(&answer), &answer["status"], &answer["model"]),
        ("Hello!", &json!("completed"), &json!("parrot"))
    );
    let path = format!("/v1/responses/{}", answer["id"].as_str().unwrap());
    assert_eq!(server.call(200, "GET", &path, Value::Null).await, answer);
    let input = server.call(200, "GET", &format!("{path}/input_items?order=asc"), Value::Null).await;
    assert_eq!(says(&input), ["Hi"]);
    server.call(400, "GET", &format!("{path}/input_items?limit=x"), Value::Null).await;
    server.call(400, "GET", &format!("{path}?stream=true"), Value::Null).await;
    server.call(400, "POST", &format!("{path}/cancel"), Value::Null).await;
    let removed = server.call(200, "DELETE", &path, Value::Null).await;
    assert_eq!(removed, json!({"id": answer["id"], "object": "response", "deleted": true}));
    for (method, path) in
        [("GET", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/cancel"))]
    {
        server.call(404, method, &path, Value::Null).await;
    }

    let unkept = server.ask(json!({"store": false})).await;
    let path = format!("/v1/responses/{}", unkept["id"].as_str().unwrap());
    server.call(404, "GET", &path, Value::Null).await;
}

#[tokio::test]
async fn a_conversation_continues_with_its_messages_but_without_the_instructions() {
    let server = running("Hello!");
    let first = server.ask(json!({"instructions": "Be brief, please, and kind."})).await;
    let second = server.ask(json!({"previous_response_id": first["id"], "input": "More"})).await;
    let whole =
        json!([{"role": "user", "content": "Hi"}, first["output"][0], {"role": "user", "content": "More"}]);
    let sent = server.ask(json!({"input": whole, "store": false})).await;
    let tokens = |answer: &Value| answer["usage"]["input_tokens"].as_u64().unwrap();
    assert_eq!(tokens(&second), tokens(&sent));
    assert_eq!(second["instructions"], Value::Null);
    // A reference has the same effect as the item itself.
    let reference = json!({"type": "item_reference", "id": first["output"][0]["id"]});
    let referring =
        json!([{"role": "user", "content": "Hi"}, reference, {"role": "user", "content": "More"}]);
    assert_eq!(tokens(&server.ask(json!({"input": referring})).await), tokens(&sent));

    server.refused(400, json!({"previous_response_id": "resp_none"}), "previous_response_id").await;
    server
        .refused(400, json!({"input": [{"type": "item_reference", "id": "msg_none"}]}), "input[0].id")
        .await;
    let id = first["id"].as_str().unwrap().to_owned();
    assert!(server.journal.write(move |journal| journal.delete_response(&id)).await.unwrap());
    server.refused(400, json!({"previous_response_id": second["id"]}), "previous_response_id").await;
}

#[tokio::test]
async fn input_and_output_are_appended_to_the_conversation() {
    let server = running("Hello!");
    let begun = json!({"metadata": {"a": "b"}, "items": [{"role": "user", "content": "I am Ada."}]});
    let talk = server.call(200, "POST", "/v1/conversations", begun).await;
    let id = talk["id"].as_str().unwrap();
    let (path, items) = (format!("/v1/conversations/{id}"), format!("/v1/conversations/{id}/items"));
    let alone = server.ask(json!({"store": false})).await;
    let answer = server.ask(json!({"conversation": {"id": id}, "store": false})).await;
    assert_eq!(answer["conversation"], json!({"id": id}));
    assert!(answer["usage"]["input_tokens"].as_u64() > alone["usage"]["input_tokens"].as_u64());
    server.refused(404, json!({"conversation": "conv_none"}), "conversation").await;

    let more = json!({"items": [{"role": "assistant", "content": "Yes?", "id": answer["output"][0]["id"]}]});
    let added = server.call(200, "POST", &items, more).await;
    let listed = server.call(200, "GET", &format!("{items}?order=asc&limit=3"), Value::Null).await;
    assert_eq!((says(&listed), &listed["has_more"]), (vec!["I am Ada.", "Hi", "Hello!"], &json!(true)));
    let item = format!("{items}/{}", added["first_id"].as_str().unwrap());
    assert_eq!(server.call(200, "GET", &item, Value::Null).await, added["data"][0]);
    assert_eq!(server.call(200, "DELETE", &item, Value::Null).await, talk);
    server.call(404, "GET", &item, Value::Null).await;
    server.call(404, "DELETE", &item, Value::Null).await;
    let listed = server.call(200, "GET", &items, Value::Null).await;
    assert_eq!(says(&listed), ["Hello!", "Hi", "I am Ada."]);

    let noted = server.call(200, "POST", &path, json!({"metadata": {"c": "d"}})).await;
    assert_eq!(noted["metadata"], json!({"c": "d"}));
    assert_eq!(server.call(200, "GET", &path, Value::Null).await, noted);
    for nothing in [json!({}), json!({"metadata": null})] {
        assert_eq!(server.call(200, "POST", &path, nothing).await, noted);
    }
    let cleared = server.call(200, "POST", &path, json!({"metadata": {}})).await;
    assert_eq!(cleared["metadata"], json!({}));
    let removed = server.call(200, "DELETE", &path, Value::Null).await;
    assert_eq!(removed, json!({"id": id, "object": "conversation.deleted", "deleted": true}));
    for (method, path) in [("GET", &path), ("DELETE", &path), ("GET", &items)] {
        server.call(404, method, path, Value::Null).await;
    }
    server.call(404, "POST", &path, json!({"metadata": {}})).await;
    server.call(404, "POST", &items, json!({"items": []})).await;
}

#[tokio::test]
async fn a_stream_describes_the_answer_that_is_stored() {
    let server = running("Hello!");
    let body = asking(json!({"stream": true, "max_output_tokens": 4}));
    let (status, stream) = server.respond("POST", "/v1/responses", &body).await;
    assert_eq!(status, 200);
    let mut last = Value::Null;
    let mut said = String::new();
    for event in stream.trim_end().split("\n\n") {
        let (name, data) = event.split_once('\n').unwrap();
        last = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(Some(last["type"].as_str().unwrap()), name.strip_prefix("event: "));
        said.push_str(last["delta"].as_str().unwrap_or_default());
    }
    assert_eq!(last["type"], "response.incomplete");
    let answer = &last["response"];
    assert_eq!((text(answer), answer["status"].as_str()), (said.as_str(), Some("incomplete")));
    let id = answer["id"].as_str().unwrap().to_owned();
    let kept = server.journal.read(move |journal| journal.response(&id)).await.unwrap().unwrap();
    assert_eq!(kept, *answer);
}

#[tokio::test]
async fn an_answer_whose_client_leaves_is_not_stored() {
    let server = running("on and on and on");
    let body = asking(json!({"stream": true, "max_output_tokens": 40}));
    let request = Request::post("/v1/responses")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(HttpBody::from(body.to_string()))
        .unwrap();
    let response = TowerToHyperService::new(server.router.clone()).call(request).await.unwrap();
    let mut chunks = response.into_body().into_data_stream();
    let opening = String::from_utf8(chunks.next().await.unwrap().unwrap().to_vec()).unwrap();
    let data = opening.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let begun: Value = serde_json::from_str(data).unwrap();
    assert_eq!(begun["type"], "response.created");
    drop(chunks);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let id = begun["response"]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.journal.read(move |journal| journal.response(&id)).await.unwrap(), None);
}

#[tokio::test]
async fn errors_name_the_fields_of_this_route() {
    let server = running("Hello!");
    server.refused(404, json!({"model": "bandmaster"}), "model").await;
    server.refused(400, json!({"input": "long ".repeat(600)}), "input").await;
    let schema = json!({"type": "json_schema", "name": "n", "schema": {"type": "nonsense"}});
    server.refused(400, json!({"text": {"format": schema}}), "text.format").await;
}

#[tokio::test]
async fn log_probabilities_are_returned_on_request() {
    let server = running("Hey");
    let wanted = json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2});
    let answer = server.ask(wanted).await;
    let scores = answer["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    let tokens: String = scores.iter().map(|score| score["token"].as_str().unwrap()).collect();
    assert_eq!(tokens.trim_end_matches("<|im_end|>"), "Hey");
    assert!(scores.iter().all(|score| score["top_logprobs"].as_array().unwrap().len() == 2));
    assert_eq!(server.ask(json!({})).await["output"][0]["content"][0]["logprobs"], json!([]));
}

#[tokio::test]
async fn the_description_refers_to_nothing_that_is_missing() {
    let api = running("Hello!").call(200, "GET", "/openapi.json", Value::Null).await;
    let text = api.to_string();
    let names = text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap());
    let missing: HashSet<&str> =
        names.filter(|name| api["components"]["schemas"].get(*name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn referenced_items_have_a_limit_on_their_total_size() {
    let server = running("Hello!");
    let text = "x".repeat(BODY_BYTES_MAX / 4);
    let items = json!({"items": [{"type": "message", "role": "user", "content": text}]});
    let begun = server.call(200, "POST", "/v1/conversations", items).await;
    let path = format!("/v1/conversations/{}/items", begun["id"].as_str().unwrap());
    let paging = format!("{path}?limit=1");
    let response = server.begin("GET", &paging, &Value::Null).await;
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let listed: Value = serde_json::from_slice(&bytes).unwrap();
    let id = listed["data"][0]["id"].clone();
    let referred = |count: usize| json!({"input": vec![json!({"type": "item_reference", "id": id}); count]});
    let refused = server.call(400, "POST", "/v1/responses", referred(5)).await;
    assert_eq!(refused["error"]["param"], "input[3].id", "{}", refused["error"]["message"]);
    let refused = server.call(400, "POST", "/v1/responses", referred(1)).await;
    assert_eq!(refused["error"]["code"], "context_length_exceeded", "one alone is looked up");
}

//! Every part of a conversation is measured.

use bandmaster_text::{Role, ToolCall};
use serde_json::json;

use super::*;
use crate::fixtures::{Running, running};

fn variables(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// The size of a conversation of one message with a call, a tool and variables.
fn size(call: Option<Value>, tool: Option<Value>, beside: Value) -> PromptSize {
    let tool_calls = call.map(|arguments| ToolCall { id: "c".into(), name: "f".into(), arguments });
    let message =
        Message { tool_calls: tool_calls.into_iter().collect(), ..Message::new(Role::Assistant, "Hi") };
    let tool = tool.map(|parameters| Tool { name: "f".into(), description: None, parameters, strict: false });
    PromptSize::of(&[message], &tool.into_iter().collect::<Vec<_>>(), &variables(beside))
}

#[test]
fn every_part_of_a_conversation_is_measured() {
    let nothing = size(None, None, json!({})).bytes();
    assert_eq!(nothing, VALUE_BYTES + 2);
    let long = "x".repeat(1000);
    for value in [json!(long), json!({"a": long}), json!({long.as_str(): 1}), json!([[[long]]])] {
        for (size, field) in [
            (size(Some(value.clone()), None, json!({})), "messages"),
            (size(None, Some(value.clone()), json!({})), "tools"),
            (size(None, None, json!({"x": value})), "chat_template_kwargs"),
            (size(None, None, json!({"documents": value})), "documents"),
        ] {
            assert!(size.bytes() > nothing + 1000, "{value} {size:?}");
            assert_eq!(size.field(), field);
        }
    }
    let many = size(None, None, json!({"documents": vec![json!({"a": "b"}); 1000]}));
    assert_eq!((many.values, many.documents), (3001, 16 + 9 + 16 + 1000 * (3 * 16 + 2)));
    let described =
        Tool { name: "f".into(), description: Some(long.clone()), parameters: json!(null), strict: false };
    assert!(PromptSize::of(&[], &[described], &Map::new()).bytes() > 1000);
}

impl Running {
    async fn refuses(&self, path: &str, body: &Value) -> (u16, String) {
        let (status, text) = self.respond("POST", path, body).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        (status, answer["error"]["param"].as_str().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn no_route_accepts_tools_or_variables_larger_than_a_prompt() {
    let server = running("Hello!");
    let hello = json!([{"role": "user", "content": "Hi"}]);
    // One is larger than the parrot's context, the other has more values than any prompt may have.
    let text = "x".repeat(20 << 10);
    let many = json!(vec![json!({"a": "b"}); 30_000]);
    for value in [json!(text), many] {
        let call = json!({"id": "c", "function": {"name": "f", "arguments": {"x": value}}});
        let tool = json!({"function": {"name": "f", "parameters": {"type": "object", "x": value}}});
        for (field, body) in [
            ("tools", json!({"messages": hello, "tools": [tool]})),
            ("messages", json!({"messages": [{"role": "assistant", "tool_calls": [call]}]})),
            ("chat_template_kwargs", json!({"messages": hello, "chat_template_kwargs": {"x": value}})),
            ("documents", json!({"messages": hello, "documents": [value]})),
        ] {
            assert_eq!(server.refuses("/v1/chat/completions", &body).await, (400, field.to_owned()));
            if value.is_array() {
                for path in ["/apply-template", "/v1/chat/completions/input_tokens"] {
                    assert_eq!(server.refuses(path, &body).await, (400, field.to_owned()), "{path}");
                }
                // This route has no field for documents.
                if field != "documents" {
                    assert_eq!(server.refuses("/tokenize", &body).await, (400, field.to_owned()));
                }
            }
        }
        let tool = json!({"name": "f", "parameters": {"type": "object", "x": value}});
        let body = json!({"input": "Hi", "tools": [tool]});
        assert_eq!(server.refuses("/v1/responses", &body).await, (400, "tools".to_owned()));
    }
}

#[tokio::test]
async fn a_conversation_that_no_model_answers_is_measured_whole() {
    let server = running("Hello!");
    let long = "x".repeat(jobs::TEXT_BYTES_MAX);
    let body = json!({"messages": [{"role": "user", "content": "Hi"}], "chat_template_kwargs": {"x": long}});
    for path in ["/apply-template", "/tokenize", "/v1/chat/completions/input_tokens"] {
        assert_eq!(server.refuses(path, &body).await, (413, "chat_template_kwargs".to_owned()), "{path}");
    }
}

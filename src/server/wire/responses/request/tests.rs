use serde_json::{Value, json};

use super::*;
use crate::wire::body::parse;

fn read(request: &Value) -> Result<CheckedRequest, ApiError> {
    parse::<CreateResponse>(request.to_string().as_bytes())?.0.check("m".into())
}

fn with(more: Value) -> Value {
    let mut request = json!({"input": "Hi"});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

#[test]
fn unsupported_requests_are_refused_with_their_field() {
    let check = |more: Value, param: &str| {
        let error = read(&with(more.clone())).err().unwrap_or_else(|| panic!("{more} is taken"));
        assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(param)), "{more}: {error:?}");
    };
    let tool = json!({"type": "function", "name": "f", "parameters": {"type": "object"}});
    check(json!({"input": 1}), "input");
    check(json!({"input": [{"role": "wizard", "content": "a"}]}), "input[0].role");
    check(
        json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}),
        "input[0].content[0].type",
    );
    check(json!({"input": [{"type": "web_search_call", "id": "ws_1"}]}), "input[0].type");
    check(json!({"input": [{"type": "function_call_output", "output": "a"}]}), "input[0].call_id");
    check(json!({"temperature": -1}), "temperature");
    check(json!({"temperature": 1e300}), "temperature");
    check(json!({"top_p": 1.5}), "top_p");
    check(json!({"max_output_tokens": 0}), "max_output_tokens");
    check(json!({"max_output_tokens": -2}), "max_output_tokens");
    check(json!({"background": true}), "background");
    check(json!({"prompt": {"id": "p"}}), "prompt");
    check(json!({"context_management": [{"type": "compaction"}]}), "context_management");
    check(json!({"text": {"format": {"type": "xml"}}}), "text.format.type");
    check(json!({"text": {"format": {"type": "json_schema", "schema": {}}}}), "text.format.name");
    check(json!({"text": {"format": {"type": "json_schema", "name": "n"}}}), "text.format.schema");
    check(json!({"tools": [{"type": "web_search"}]}), "tools[0].type");
    check(json!({"tools": [{"type": "function"}]}), "tools[0].name");
    check(json!({"tools": [tool, tool]}), "tools[1].name");
    check(json!({"tools": [{"type": "function", "name": "f", "parameters": 1}]}), "tools[0].parameters");
    check(json!({"tool_choice": "required"}), "tool_choice");
    check(json!({"tools": [tool], "tool_choice": "perhaps"}), "tool_choice");
    check(json!({"tools": [tool], "tool_choice": {"type": "function", "name": "g"}}), "tool_choice");
    check(json!({"tools": [tool], "tool_choice": {"type": "file_search"}}), "tool_choice");
    check(json!({"top_logprobs": 2}), "top_logprobs");
    check(json!({"top_logprobs": 21, "include": [LOGPROBS]}), "top_logprobs");
    check(json!({"include": ["everything"]}), "include[0]");
    check(json!({"metadata": {"a": 1}}), "metadata.a");
    check(json!({"metadata": {"a": "x".repeat(513)}}), "metadata");
    check(json!({"conversation": "conv_1", "previous_response_id": "resp_1"}), "conversation");
}

#[test]
fn fields_without_effect_are_accepted() {
    let checked = read(&with(json!({
        "reasoning": {"effort": "none", "summary": null}, "background": false, "truncation": "disabled", "user": "u",
        "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h", "service_tier": "auto",
        "stream_options": {"include_obfuscation": false}, "max_tool_calls": 3, "metadata": {"a": "b"},
        "include": ["reasoning.encrypted_content"], "text": {"verbosity": "medium"}, "parallel_tool_calls": null,
        "tools": null, "store": null, "previous_response_id": null, "conversation": null, "prompt": null
    })));
    let response = serde_json::to_value(checked.unwrap().response).unwrap();
    for (field, value) in
        [("user", json!("u")), ("metadata", json!({"a": "b"})), ("max_tool_calls", json!(3))]
    {
        assert_eq!(response[field], value);
    }
    assert!(response.get("usage").is_none(), "a usage that isn't there yet is no usage");
}

#[test]
fn the_request_determines_the_question() {
    let schema = json!({"type": "object"});
    let tool =
        json!({"type": "function", "name": "f", "description": "d", "parameters": schema, "strict": true});
    let checked = read(&json!({
        "input": [{"role": "user", "content": "a"}], "tools": [tool], "temperature": 0.7, "max_output_tokens": 9,
        "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false, "seed": 3, "stop": "x",
        "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}},
        "include": [LOGPROBS], "top_logprobs": 2, "conversation": {"id": "conv_1"}
    }))
    .unwrap();
    assert_eq!(checked.continues, Continuation::Conversation("conv_1".into()));
    let question = &checked.question;
    assert_eq!(question.choice, ToolChoice::Named("f".into()));
    assert!(question.tools[0].strict && !question.parallel);
    assert_eq!(question.format, Format::Schema(schema));
    let params = &question.params;
    assert_eq!((params.tokens_max, params.top_logprobs, params.stop.len()), (Some(9), Some(2), 1));
    assert_eq!((params.sampling.seed, params.sampling.temperature), (3, 0.7));
    let response = serde_json::to_value(&checked.response).unwrap();
    assert_eq!(response["tools"][0], tool);
    assert_eq!(response["tool_choice"], json!({"type": "function", "name": "f"}));
    assert_eq!(
        (&response["temperature"], &response["conversation"]),
        (&json!(0.7), &json!({"id": "conv_1"}))
    );
    assert_eq!(response["text"]["format"]["name"], "n");
}

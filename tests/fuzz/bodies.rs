//! Fuzzes what comes over the network: bodies of clients' requests, and event streams of other servers.

use bandmaster::client::SseParser;
use bandmaster::server::{ApiError, ChatRequest, CompletionRequest, CreateResponse, parse_body};

use crate::harness::{Target, fuzz};

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u12",
    "messages",
    "role",
    "user",
    "assistant",
    "system",
    "developer",
    "tool",
    "function",
    "content",
    "type",
    "text",
    "image_url",
    "tool_calls",
    "arguments",
    "tool_call_id",
    "parameters",
    "properties",
    "response_format",
    "json_schema",
    "json_object",
    "schema",
    "max_tokens",
    "stop",
    "logit_bias",
    "50256",
    "n",
    "seed",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "logprobs",
    "tool_choice",
    "required",
    "auto",
    "none",
    "input",
    "instructions",
    "previous_response_id",
    "conversation",
    "include",
    "reasoning",
    "prompt",
    "echo",
    "suffix",
];

/// Checks that a refusal is a client error with a message.
fn refused(error: &ApiError) -> bool {
    assert!(error.status.is_client_error(), "{error:?}");
    assert!(!error.message.trim().is_empty(), "{error:?}");
    false
}

#[test]
fn chat_bodies() {
    fuzz(&Target {
        name: "chat body",
        seeds: &[
            r#"{"model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "n": 2, "stop": ["a", "b"], "logit_bias": {"50256": -100}, "seed": 7, "stream": true, "stream_options": {"include_usage": true}}"#,
            r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1, {\"b\": null}]}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "3"}], "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}}}], "tool_choice": {"type": "function", "function": {"name": "f"}}}"#,
            r#"{"messages": [{"role": "user", "content": "Hi"}], "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": true, "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false}}}, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "logprobs": true, "top_logprobs": 3, "max_completion_tokens": 20}"#,
        ],
        words: WORDS,
        read: &|bytes| match parse_body::<ChatRequest>(bytes).and_then(|(body, _)| body.question()) {
            Ok((question, _)) => {
                assert!(!question.messages.is_empty() && question.choices > 0);
                true
            }
            Err(error) => refused(&error),
        },
    });
}

#[test]
fn completion_bodies() {
    fuzz(&Target {
        name: "completion body",
        seeds: &[
            r#"{"model": "m", "prompt": ["Once", "upon"], "max_tokens": 5, "echo": true, "logprobs": 3, "stop": "\n", "n": 2, "best_of": 2}"#,
            r#"{"prompt": [[1, 2, 3], [4]], "max_tokens": 0, "echo": true, "temperature": 0, "seed": -1}"#,
        ],
        words: WORDS,
        read: &|bytes| match parse_body::<CompletionRequest>(bytes).and_then(|(body, _)| body.question()) {
            Ok(_) => true,
            Err(error) => refused(&error),
        },
    });
}

#[test]
fn responses_bodies() {
    fuzz(&Target {
        name: "responses body",
        seeds: &[
            r#"{"model": "m", "input": "Hi", "instructions": "Be brief.", "previous_response_id": "resp_1", "max_output_tokens": 20, "store": false, "text": {"format": {"type": "json_object"}}, "metadata": {"a": "b"}}"#,
            r#"{"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "3"}, {"type": "reasoning", "id": "r", "summary": []}, {"type": "item_reference", "id": "msg_1"}], "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}], "tool_choice": "auto", "conversation": {"id": "conv_1"}, "stream": true}"#,
        ],
        words: WORDS,
        read: &|bytes| match parse_body::<CreateResponse>(bytes)
            .and_then(|(body, _)| body.check("m".to_owned()))
        {
            Ok(_) => true,
            Err(error) => refused(&error),
        },
    });
}

/// The data of all complete events of a stream that arrives in portions of so many bytes.
fn data_of(stream: &[u8], portion: usize) -> Vec<String> {
    let mut frames = SseParser::default();
    let mut all = Vec::new();
    for bytes in stream.chunks(portion) {
        frames.push(bytes);
        while let Ok(Some(data)) = frames.next_data() {
            all.push(data);
        }
    }
    all
}

#[test]
fn event_streams() {
    fuzz(&Target {
        name: "event stream",
        seeds: &[
            ": hello\r\n\r\nevent: x\nid: 4\ndata: {\"a\": \"ü\"}\n\ndata:one\r\ndata: two\r\n\r\ndata: [DONE]\n\n",
            "data: {\"choices\": [{\"delta\": {\"content\": \"Hi\"}}]}\r\rretry: 10\rdata: 2\r\r",
        ],
        words: &[
            "data", "data:", "data: ", "event:", "id:", "retry:", ":", "\n", "\r", "\r\n", "\n\n", "\r\r",
            "[DONE]",
        ],
        read: &|bytes| {
            let whole = data_of(bytes, bytes.len().max(1));
            for portion in [1, 2, 3, 7] {
                assert_eq!(data_of(bytes, portion), whole, "portions of {portion}");
            }
            !whole.is_empty()
        },
    });
}

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::server::wire::body::parse;
use crate::server::wire::chat::ChatRequest;
use crate::server::wire::completions::CompletionRequest;
use crate::server::wire::embeddings::EmbeddingRequest;
use crate::server::wire::infill::InfillRequest;
use crate::server::wire::responses::conversation::{ConversationAsked, ConversationNoted, ItemsGiven};
use crate::server::wire::responses::request::CreateResponse;
use crate::server::wire::runs::{AnswerGiven, RunAsked};
use crate::server::wire::tokens::{DetokenizeRequest, TemplateRequest, TokenizeRequest};

/// What became of a body: the names of what was ignored.
type Read = Result<Vec<String>, ApiError>;
/// A route's reader, and the least it takes.
type Route = (&'static str, fn(&Value) -> Read, Value);

/// Routes that write nothing to a conversation.
const UNANSWERED: [&str; 2] = ["tokenize", "apply-template"];

fn read<T: Body>(body: &Value) -> Read {
    parse::<T>(body.to_string().as_bytes()).map(|(_, ignored)| ignored)
}

fn chat(body: &Value) -> Read {
    let (request, ignored) = parse::<ChatRequest>(body.to_string().as_bytes())?;
    request.question().map(|_| ignored)
}

fn completion(body: &Value) -> Read {
    let (request, ignored) = parse::<CompletionRequest>(body.to_string().as_bytes())?;
    request.question().map(|_| ignored)
}

fn response(body: &Value) -> Read {
    let (request, mut ignored) = parse::<CreateResponse>(body.to_string().as_bytes())?;
    let asked = request.understood("m".into())?;
    ignored.extend(asked.ignored.into_iter().map(str::to_owned));
    Ok(ignored)
}

fn routes() -> Vec<Route> {
    let hello = json!([{"role": "user", "content": "Hi"}]);
    vec![
        ("chat", chat, json!({"messages": hello})),
        ("completions", completion, json!({"prompt": "Hi"})),
        ("responses", response, json!({"input": "Hi"})),
        ("infill", |body| read::<InfillRequest>(body), json!({"input_prefix": "Hi"})),
        ("embeddings", |body| read::<EmbeddingRequest>(body), json!({"input": "Hi"})),
        ("tokenize", |body| read::<Unanswered<TokenizeRequest>>(body), json!({"content": "Hi"})),
        ("detokenize", |body| read::<DetokenizeRequest>(body), json!({"tokens": [1]})),
        ("apply-template", |body| read::<Unanswered<TemplateRequest>>(body), json!({"messages": hello})),
        ("runs", |body| read::<RunAsked>(body), json!({"goal": "Hi"})),
        ("answer", |body| read::<AnswerGiven>(body), json!({"text": "Hi"})),
        ("conversations", |body| read::<ConversationAsked>(body), json!({})),
        ("notes", |body| read::<ConversationNoted>(body), json!({})),
        ("items", |body| read::<ItemsGiven>(body), json!({"items": []})),
    ]
}

fn with(body: &Value, field: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[field] = value;
    body
}

fn chat_with(field: &str, value: Value) -> Read {
    chat(&with(&json!({"messages": [{"role": "user", "content": "Hi"}]}), field, value))
}

#[test]
fn fields_that_other_servers_take_are_taken_and_named() {
    let named = [
        ("cache_prompt", json!(true)),
        ("id_slot", json!(-1)),
        ("slot_id", json!(0)),
        ("n_keep", json!(4)),
        ("samplers", json!(["top_k", "temperature"])),
        ("typical_p", json!(1.0)),
        ("tfs_z", json!(1.0)),
        ("top_a", json!(0.2)),
        ("mirostat", json!(0)),
        ("mirostat_tau", json!(5.0)),
        ("dynatemp_range", json!(0.5)),
        ("repeat_last_n", json!(64)),
        ("dry_multiplier", json!(0.8)),
        ("xtc_probability", json!(0.1)),
        ("t_max_predict_ms", json!(1000)),
        ("reasoning_effort", json!("high")),
        ("reasoning_format", json!("auto")),
        ("verbosity", json!("low")),
        ("thinking", json!({"type": "disabled"})),
        ("enable_thinking", json!(false)),
        ("guided_decoding_backend", json!("xgrammar")),
        ("spaces_between_special_tokens", json!(true)),
        ("priority", json!(0)),
        ("request_id", json!("r1")),
        ("length_penalty", json!(1.0)),
        ("early_stopping", json!(false)),
        ("kv_transfer_params", json!({})),
        ("keep_alive", json!("5m")),
        ("transforms", json!(["middle-out"])),
        ("provider", json!({"order": ["a"]})),
        ("models", json!(["a"])),
        ("usage", json!({"include": true})),
        ("do_sample", json!(true)),
        ("watermark", json!(false)),
        ("temprature", json!(0.5)),
        ("max_token", json!(5)),
        ("mm_processor_kwargs", json!({})),
    ];
    for (field, value) in named {
        let ignored = chat_with(field, value.clone()).unwrap_or_else(|error| panic!("{field}: {error:?}"));
        assert_eq!(ignored, [field], "{value}");
    }
}

#[test]
fn what_changes_nothing_is_taken_whatever_it_is_called() {
    let harmless = [
        ("best_of", json!(1)),
        ("n_probs", json!(0)),
        ("guided_json", json!(null)),
        ("guided_regex", json!("")),
        ("guided_choice", json!([])),
        ("grammar", json!("")),
        ("json_schema", json!(null)),
        ("structured_outputs", json!({})),
        ("structured_outputs", json!({"regex": null})),
        ("stop_token_ids", json!([])),
        ("logits_processors", json!(null)),
        ("logits_processors", json!([])),
        ("bad_words", json!([])),
        ("chat_template_kwargs", json!({})),
        ("chat_template", json!(null)),
        ("logprobs", json!(false)),
        ("logit_bias", json!({})),
        ("logit_bias", json!([])),
        ("use_beam_search", json!(false)),
        ("num_beams", json!(1)),
        ("echo", json!(false)),
        ("functions", json!([])),
        ("function_call", json!("auto")),
        ("modalities", json!(["text"])),
        ("audio", json!(null)),
        ("web_search_options", json!(null)),
        ("skip_special_tokens", json!(true)),
        ("prompt_logprobs", json!(null)),
        ("truncate_prompt_tokens", json!(-1)),
        ("max_new_tokens", json!(-1)),
        ("lora", json!([])),
        ("tools", json!([])),
        ("tool_choice", json!("auto")),
        ("tool_choice", json!("none")),
        ("response_format", json!({"type": "text"})),
        ("ignore_eos", json!(false)),
        ("min_tokens", json!(0)),
        ("seed", json!(-1)),
        ("max_tokens", json!(-1)),
        ("n_predict", json!(-1)),
        ("add_generation_prompt", json!(true)),
        ("continue_final_message", json!(false)),
    ];
    for (field, value) in harmless {
        let read = chat_with(field, value.clone());
        let ignored = read.unwrap_or_else(|error| panic!("{field} {value}: {error:?}"));
        assert!(ignored.iter().all(|name| name == field), "{field} {value}: {ignored:?}");
    }
}

#[test]
fn what_would_change_a_promise_is_refused_by_name() {
    let promised = [
        ("logits_processors", json!(["a"])),
        ("bad_words", json!(["a"])),
        ("allowed_token_ids", json!([1])),
        ("best_of", json!(3)),
        ("use_beam_search", json!(true)),
        ("num_beams", json!(4)),
        ("echo", json!(true)),
        ("suffix", json!("a")),
        ("functions", json!([{"name": "f"}])),
        ("function_call", json!({"name": "f"})),
        ("audio", json!({"voice": "alloy"})),
        ("modalities", json!(["text", "audio"])),
        ("web_search_options", json!({})),
        ("chat_template", json!("{{ messages }}")),
        ("prompt_logprobs", json!(0)),
        ("skip_special_tokens", json!(false)),
        ("truncate_prompt_tokens", json!(10)),
        ("max_new_tokens", json!(10)),
        ("min_new_tokens", json!(10)),
        ("stop_sequences", json!(["a"])),
        ("structural_tag", json!({"a": 1})),
        ("guided_whitespace_pattern", json!("[ ]?")),
        ("format", json!("json")),
        ("lora_request", json!({"a": 1})),
        ("prompt_embeds", json!("AAAA")),
        ("options", json!({"num_predict": 3})),
        ("extra_body", json!({"top_k": 3})),
        ("post_sampling_probs", json!(true)),
        ("details", json!(true)),
        ("raw", json!(true)),
    ];
    for (field, value) in promised {
        let error =
            chat_with(field, value.clone()).err().unwrap_or_else(|| panic!("{field} {value} is taken"));
        assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(field)), "{error:?}");
        assert_eq!(error.code, Some("unsupported_parameter"), "{field}");
        assert!(error.message.contains(field), "{}", error.message);
    }
    let outputs = chat_with("structured_outputs", json!({"structural_tag": "a"})).unwrap_err();
    assert_eq!(outputs.param.as_deref(), Some("structured_outputs.structural_tag"));
}

#[test]
fn every_route_refuses_or_honours_a_form() {
    for (route, read, least) in routes() {
        for field in ["grammar", "guided_regex", "regex"] {
            let read = read(&with(&least, field, json!("start: \"a\"")));
            if UNANSWERED.contains(&route) {
                assert_eq!(read.unwrap(), [field], "{route}");
                continue;
            }
            let honours = ["chat", "completions", "responses"].contains(&route);
            assert_eq!(read.is_ok(), honours, "{route} {field}: {read:?}");
            assert!(honours || read.unwrap_err().param.as_deref() == Some(field), "{route}");
        }
        assert_eq!(read(&with(&least, "grammar", json!(null))).unwrap(), Vec::<String>::new(), "{route}");
        assert_eq!(read(&with(&least, "temprature", json!(1))).unwrap(), ["temprature"], "{route}");
        assert_eq!(read(&with(&least, "temprature", json!(null))).unwrap(), Vec::<String>::new(), "{route}");
    }
}

#[test]
fn what_is_only_rendered_or_counted_takes_the_body_of_a_chat() {
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stop": ["a"], "stream": true,
                      "n": 2, "response_format": {"type": "json_object"}, "logprobs": true, "temperature": 0.5});
    let named = ["logprobs", "max_tokens", "n", "response_format", "stop", "stream", "temperature"];
    for (route, read, _) in routes().into_iter().filter(|(route, ..)| UNANSWERED.contains(route)) {
        assert_eq!(read(&chat).unwrap(), named, "{route}");
        let shapes = [
            ("chat_template", json!("{{ messages }}")),
            ("functions", json!([{"name": "f"}])),
            ("truncate_prompt_tokens", json!(9)),
            ("lora", json!([{"id": 0}])),
        ];
        for (field, value) in shapes {
            let error = read(&with(&chat, field, value)).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(field), "{route}");
        }
    }
}

#[test]
fn fields_further_inside_are_named_with_their_place() {
    let check = |read: fn(&Value) -> Read, body: Value, expected: &[&str]| {
        assert_eq!(read(&body).unwrap_or_else(|error| panic!("{body}: {error:?}")), expected, "{body}");
    };
    let message = |more: Value| {
        let mut message = json!({"role": "user", "content": "Hi"});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    let two = json!([message(json!({"name": "ann", "zip": null})), message(json!({"name": "bob"}))]);
    check(chat, json!({"messages": two}), &["messages[].name"]);
    let part = json!([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]);
    check(
        chat,
        json!({"messages": [message(json!({"content": part}))]}),
        &["messages[].content[].cache_control"],
    );
    let call = json!([{"id": "a", "type": "function", "index": 0, "function": {"name": "f", "arguments": {"x": null}, "extra": 1}}]);
    check(
        chat,
        json!({"messages": [message(json!({"role": "assistant", "tool_calls": call}))]}),
        &[
            "messages[].tool_calls[].function.extra",
            "messages[].tool_calls[].index",
            "messages[].tool_calls[].type",
        ],
    );
    let tool = json!({"type": "function", "cache_control": {}, "function": {"name": "f", "parameters": {"type": "object", "new": 1}, "returns": 1}});
    check(
        chat,
        json!({"messages": [message(json!({}))], "tools": [tool],
               "tool_choice": {"type": "function", "function": {"name": "f"}, "why": 1}, "stream_options": {"continuous_usage_stats": true},
               "response_format": {"type": "text", "strict": true}}),
        &[
            "response_format.strict",
            "stream_options.continuous_usage_stats",
            "tool_choice.why",
            "tools[].cache_control",
            "tools[].function.returns",
        ],
    );
    check(
        response,
        json!({"input": [{"role": "user", "phase": 1, "content": [{"type": "input_text", "text": "a", "detail": 1}]}],
               "reasoning": {"effort": "high", "depth": 2}, "text": {"format": {"type": "text", "indent": 1}}, "truncation": "auto"}),
        &[
            "input[].content[].detail",
            "input[].phase",
            "reasoning.depth",
            "text.format.indent",
            "truncation",
            "reasoning.effort",
        ],
    );
    check(
        response,
        json!({"input": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                          "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]}]}),
        &[],
    );
}

#[test]
fn names_are_few_short_and_plain() {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    for at in 0..1000 {
        body[format!("field_{at}")] = json!(1);
    }
    assert_eq!(chat(&body).unwrap().len(), NAMES_MAX);
    let mut more = body.clone();
    more["logits_processors"] = json!(["a"]);
    assert!(chat(&more).is_err(), "a promise is seen among however many fields");
    let odd = format!("x\r\nset-cookie: a=b {}", "y".repeat(500));
    let ignored = chat_with(&odd, json!(1)).unwrap();
    assert!(ignored[0].len() <= NAME_CHARS_MAX && ignored[0].starts_with("x??set-cookie?"), "{ignored:?}");
}

proptest! {
    #[test]
    fn any_name_that_is_no_promise_is_taken_and_named_everywhere(
        name in "[a-z_]{1,24}",
        value in prop_oneof![Just(json!(1)), Just(json!("a")), Just(json!([1, {"a": null}])), Just(json!({"b": [true]}))],
    ) {
        let field = format!("zz_{name}");
        for (route, read, least) in routes() {
            let ignored = read(&with(&least, &field, value.clone()));
            prop_assert_eq!(ignored.map_err(|error| error.message), Ok(vec![field.clone()]), "{}", route);
        }
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::wire::body::parse;
use crate::wire::chat::ChatRequest;
use crate::wire::completions::CompletionRequest;
use crate::wire::embeddings::EmbeddingRequest;
use crate::wire::infill::InfillRequest;
use crate::wire::responses::conversation::{AppendItems, CreateConversation, UpdateConversation};
use crate::wire::responses::request::CreateResponse;
use crate::wire::runs::{CreateRun, RunAnswer};
use crate::wire::tokens::{DetokenizeRequest, TemplateRequest, TokenizeRequest};

/// Names of ignored fields, or why the body is refused.
type Read = Result<Vec<String>, ApiError>;
/// Name of a route, its reader, and the least it accepts.
type Route = (&'static str, fn(&Value) -> Read, Value);

/// Routes that render a prompt and generate nothing.
const RENDERED: [&str; 2] = ["tokenize", "apply-template"];
/// All routes that generate nothing.
const UNANSWERED: [&str; 7] =
    ["tokenize", "apply-template", "detokenize", "embeddings", "conversations", "notes", "items"];

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
    let checked = request.check("m".into())?;
    ignored.extend(checked.ignored.into_iter().map(str::to_owned));
    Ok(ignored)
}

fn routes() -> Vec<Route> {
    let hello = json!([{"role": "user", "content": "Hi"}]);
    vec![
        ("chat", chat, json!({"messages": hello})),
        ("completions", completion, json!({"prompt": "Hi"})),
        ("responses", response, json!({"input": "Hi"})),
        ("infill", |body| read::<InfillRequest>(body), json!({"input_prefix": "Hi"})),
        ("embeddings", |body| read::<ForEmbeddings<EmbeddingRequest>>(body), json!({"input": "Hi"})),
        ("tokenize", |body| read::<WithoutGeneration<TokenizeRequest>>(body), json!({"content": "Hi"})),
        ("detokenize", |body| read::<WithoutGeneration<DetokenizeRequest>>(body), json!({"tokens": [1]})),
        (
            "apply-template",
            |body| read::<WithoutGeneration<TemplateRequest>>(body),
            json!({"messages": hello}),
        ),
        ("runs", |body| read::<CreateRun>(body), json!({"goal": "Hi"})),
        ("answer", |body| read::<RunAnswer>(body), json!({"text": "Hi"})),
        ("conversations", |body| read::<WithoutGeneration<CreateConversation>>(body), json!({})),
        ("notes", |body| read::<WithoutGeneration<UpdateConversation>>(body), json!({})),
        ("items", |body| read::<WithoutGeneration<AppendItems>>(body), json!({"items": []})),
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
fn fields_of_other_servers_are_accepted_and_reported() {
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
fn values_that_change_nothing_are_accepted_in_every_field() {
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
        ("web_search_options", json!({})),
        ("cache_salt", json!("mine")),
        ("audio", json!({})),
        ("tool_choice", json!({})),
        ("response_format", json!({})),
        ("grammar", json!({})),
        ("structured_outputs", json!({"structural_tag": {}})),
        ("suffix", json!("")),
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
fn unsupported_fields_are_refused_by_name() {
    let unsupported = [
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
        ("web_search_options", json!({"search_context_size": "low"})),
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
    for (field, value) in unsupported {
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
fn every_route_refuses_or_honours_an_output_format() {
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
fn routes_that_only_render_accept_the_body_of_a_chat() {
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stop": ["a"], "stream": true,
                      "n": 2, "response_format": {"type": "json_object"}, "logprobs": true, "temperature": 0.5});
    let named = ["logprobs", "max_tokens", "n", "response_format", "stop", "stream", "temperature"];
    for (route, read, _) in routes().into_iter().filter(|(route, ..)| RENDERED.contains(route)) {
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
fn an_unsupported_field_is_accepted_if_its_value_is_empty_and_of_its_type() {
    for name in unsupported::names() {
        // An empty schema allows any JSON, and an empty conversation is none.
        if ["messages", "json_schema", "guided_json"].contains(&name) || unsupported::asks_when_empty(name) {
            continue;
        }
        for value in [json!({}), json!([]), json!(""), json!(false)] {
            for (route, read, least) in routes() {
                if least.get(name).is_some() {
                    continue;
                }
                let Err(error) = read(&with(&least, name, value.clone())) else { continue };
                // A route that honours the field says that it is of another kind.
                let said = (error.status.as_u16(), error.param.as_deref(), error.code);
                assert_eq!(said, (400, Some(name), None), "{route} {value}: {error:?}");
            }
        }
    }
    let is_taken = |name: &str, value: &Value| {
        let mut routes = routes().into_iter().filter(|(_, _, least)| least.get(name).is_none());
        routes.all(|(_, read, least)| read(&with(&least, name, value.clone())).is_ok())
    };
    let (object, list, text, no) = (json!({}), json!([]), json!(""), json!(false));
    for (name, kinds) in [
        ("max_tokens", vec![]),
        ("max_completion_tokens", vec![]),
        ("max_output_tokens", vec![]),
        ("min_tokens", vec![]),
        ("n_predict", vec![]),
        ("top_logprobs", vec![]),
        ("n_probs", vec![]),
        ("logprobs", vec![&no]),
        ("stream", vec![&no]),
        ("ignore_eos", vec![&no]),
        ("echo", vec![&no]),
        ("stop", vec![&list, &text]),
        ("stop_token_ids", vec![&list]),
        ("tools", vec![&list]),
        ("tool_choice", vec![&object, &text]),
        ("response_format", vec![&object]),
        ("structured_outputs", vec![&object]),
        ("logit_bias", vec![&object, &list]),
        ("grammar", vec![&object, &text]),
        ("regex", vec![&text]),
        ("guided_choice", vec![&list]),
        ("suffix", vec![&text]),
        ("audio", vec![&object, &list, &text, &no]),
        ("max_new_tokens", vec![&object, &list, &text, &no]),
    ] {
        for value in [&object, &list, &text, &no] {
            assert_eq!(is_taken(name, value), kinds.contains(&value), "{name} {value}");
        }
    }
    for (field, value) in
        [("prompt", json!({})), ("moderation", json!(false)), ("context_management", json!({}))]
    {
        assert!(response(&with(&json!({"input": "Hi"}), field, value)).is_ok(), "{field}");
    }
    for (field, value) in [("conversation", json!("")), ("previous_response_id", json!(""))] {
        assert!(response(&with(&json!({"input": "Hi"}), field, value)).is_ok(), "{field}");
    }
}

#[test]
fn white_space_is_not_empty() {
    for field in ["stop", "suffix", "regex"] {
        for space in ["\n", " ", "\n\n"] {
            let body = with(&json!({"prompt": "Hi"}), field, json!(space));
            let fields = Fields::new(body).unwrap();
            assert_eq!(fields.body[field], space, "{field}");
        }
    }
    let error = chat_with("stop_strings", json!("\n")).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("stop_strings"));
}

#[test]
fn fields_about_generation_are_accepted_where_nothing_is_generated() {
    let foreign = json!({"max_tokens": 5, "stop": ["a"], "stream": true, "n": 2, "temperature": 0.5, "logprobs": true,
                         "response_format": {"type": "json_object"}, "tools": [{"function": {"name": "f"}}]});
    for (route, read, least) in routes().into_iter().filter(|(route, ..)| UNANSWERED.contains(route)) {
        for (name, value) in foreign.as_object().unwrap() {
            let knows = route == "tokenize" || route == "apply-template";
            let named = if knows && name == "tools" { vec![] } else { vec![name.clone()] };
            assert_eq!(read(&with(&least, name, value.clone())).unwrap(), named, "{route}");
        }
    }
    let vector = |field: &str, value: Value| {
        let least = json!({"input": "Hi"});
        read::<ForEmbeddings<EmbeddingRequest>>(&with(&least, field, value)).unwrap_err().param
    };
    for (field, value) in [
        ("normalize", json!(false)),
        ("output_dimension", json!(8)),
        ("truncate_prompt_tokens", json!(9)),
        ("lora", json!([{"id": 0}])),
    ] {
        assert_eq!(vector(field, value).as_deref(), Some(field));
    }
}

#[test]
fn texts_are_accepted_in_every_equivalent_form() {
    let message = |content: Value| {
        let body = json!({"messages": [{"role": "user", "content": content}]});
        let (request, ignored) = parse::<ChatRequest>(body.to_string().as_bytes()).unwrap();
        assert!(ignored.is_empty(), "{ignored:?}");
        request.question().unwrap().0.messages[0].content.clone()
    };
    for content in [
        json!("ab"),
        json!(["ab"]),
        json!(["a", "b"]),
        json!({"type": "text", "text": "ab"}),
        json!({"text": "ab"}),
        json!([{"text": "a"}, "b"]),
    ] {
        assert_eq!(message(content.clone()), "ab", "{content}");
    }
    let input = |input: Value| {
        let body = json!({"input": input});
        let (request, _) = parse::<CreateResponse>(body.to_string().as_bytes()).unwrap();
        let checked = request.check("m".into()).unwrap();
        crate::wire::responses::items::messages(None, &checked.input).unwrap()
    };
    let said = |text: &str| bandmaster_text::Message::new(bandmaster_text::Role::User, text);
    for given in [
        json!("ab"),
        json!(["ab"]),
        json!({"role": "user", "content": "ab"}),
        json!([{"role": "user", "content": ["a", "b"]}]),
        json!([{"role": "user", "content": {"type": "input_text", "text": "ab"}}]),
        json!([{"role": "user", "content": {"text": "ab"}}]),
    ] {
        assert_eq!(input(given.clone()), [said("ab")], "{given}");
    }
    let wrong = json!({"messages": [{"role": "user", "content": [1]}]});
    let error = chat(&wrong).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages[0].content[0]"), "{}", error.message);
}

#[test]
fn results_of_many_calls_find_their_calls_in_linear_time() {
    let call = |id: usize| json!({"id": format!("c{id}"), "function": {"name": "f"}});
    let calls: Vec<Value> = (0..60_000).map(call).collect();
    let mut messages = vec![json!({"role": "assistant", "tool_calls": calls})];
    messages.extend((0..60_000).rev().map(|id| match id % 3 {
        0 => json!({"role": "tool", "content": "", "tool_call_id": format!("c{id}")}),
        _ => json!({"role": "tool", "content": ""}),
    }));
    let body = json!({"messages": messages}).to_string();
    let request = parse::<ChatRequest>(body.as_bytes()).unwrap().0;
    let started = std::time::Instant::now();
    let read = crate::wire::chat::read_messages(request.own.messages).unwrap();
    assert!(started.elapsed().as_secs() < 3, "{:?}", started.elapsed());
    let ids = |range: std::ops::Range<usize>| -> Vec<&str> {
        read[range].iter().map(|message| message.tool_call_id.as_deref().unwrap_or_default()).collect()
    };
    // Results come last call first: those with an id keep it, the others get the first call that still waits.
    assert_eq!(ids(1..5), ["c0", "c1", "c59997", "c2"]);
}

#[test]
fn arguments_of_too_many_values_stay_text() {
    use crate::wire::tools::read_arguments;
    let list = |values: usize| format!("[{}1]", "1,".repeat(values));
    assert!(read_arguments(list(19_000)).is_array());
    for text in [
        list(21_000),
        format!("{{\"a\":{}}}", "[".repeat(21_000)),
        format!("{{{}}}", "\"a\":1,".repeat(20_000)),
    ] {
        assert_eq!(read_arguments(text.clone()), Value::String(text));
    }
}

#[test]
fn a_suffix_counts_with_every_prompt() {
    let check = |prompt: Value, suffix: &str, bytes: usize, longest: usize| {
        let body = json!({"prompt": prompt, "suffix": suffix}).to_string();
        let question = parse::<CompletionRequest>(body.as_bytes()).unwrap().0.question().unwrap();
        assert_eq!((question.bytes(), question.longest_text()), (bytes, longest), "{body}");
    };
    check(json!("ab"), "xyz", 5, 5);
    check(json!(["ab", "c", ""]), "xyz", 3 + 3 * 3, 5);
    check(json!(["ab", "c", ""]), "", 3, 2);
}

#[test]
fn nested_unknown_fields_are_reported_with_their_path() {
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
fn reported_names_are_few_short_and_plain() {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    for at in 0..1000 {
        body[format!("field_{at}")] = json!(1);
    }
    assert_eq!(chat(&body).unwrap().len(), NAMES_MAX);
    let mut more = body.clone();
    more["logits_processors"] = json!(["a"]);
    assert!(chat(&more).is_err(), "an unsupported field is seen among however many fields");
    let odd = format!("x\r\nset-cookie: a=b {}", "y".repeat(500));
    let ignored = chat_with(&odd, json!(1)).unwrap();
    assert!(ignored[0].len() <= NAME_CHARS_MAX && ignored[0].starts_with("x??set-cookie?"), "{ignored:?}");
}

proptest! {
    #[test]
    fn any_other_unknown_name_is_accepted_and_reported_everywhere(
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

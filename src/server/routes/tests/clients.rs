//! Requests as clients of other servers send them, and the fields they need in the responses.

use std::sync::Arc;

use axum::body::to_bytes;
use bandmaster_text::fixtures::{parrot, parrot_with};
use serde_json::{Value, json};

use crate::fixtures::{Running, running};
use crate::jobs;
use crate::registry::Alias;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn chat(more: Value) -> Value {
    merged(json!({"messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "max_tokens": 40}), more)
}

fn completion(more: Value) -> Value {
    merged(json!({"prompt": "Hi", "temperature": 0, "max_tokens": 40}), more)
}

fn merged(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

impl Running {
    async fn says(&self, more: Value) -> String {
        let answer = self.call(200, "POST", CHAT, chat(more)).await;
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    }

    async fn prompt(&self, body: Value) -> String {
        let answer = self.call(200, "POST", "/apply-template", body).await;
        answer["prompt"].as_str().unwrap().to_owned()
    }

    async fn header(&self, path: &str, body: &Value, name: &str) -> (u16, Option<String>) {
        let response = self.begin("POST", path, body).await;
        let header = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), header)
    }

    async fn chunks(&self, path: &str, body: Value) -> Vec<Value> {
        let (status, text) = self.respond("POST", path, &body).await;
        assert_eq!(status, 200, "{text}");
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_header_names_what_was_ignored_once() {
    let server = running("Hello!");
    let ignored = "x-bandmaster-ignored";
    let two =
        json!([{"role": "user", "content": "a", "name": "x"}, {"role": "user", "content": "b", "name": "y"}]);
    for stream in [false, true] {
        let body = chat(json!({"messages": two, "cache_prompt": true, "temprature": 1, "stream": stream}));
        let named = Some("cache_prompt, temprature, messages[].name".to_owned());
        assert_eq!(server.header(CHAT, &body, ignored).await, (200, named), "{stream}");
    }
    let body = json!({"input": "Hi", "temprature": 1, "reasoning": {"effort": "high"}});
    let named = Some("temprature, reasoning.effort".to_owned());
    assert_eq!(server.header("/v1/responses", &body, ignored).await, (200, named));
    assert_eq!(server.header(CHAT, &chat(json!({"guided_json": null})), ignored).await, (200, None));
    let (status, _) = server.header(CHAT, &chat(json!({"logits_processors": ["a"]})), ignored).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn one_model_answers_under_any_name_and_says_so() {
    let model = parrot("Hello!");
    let load = move |_: &_| Ok(Arc::clone(&model));
    let aliases = vec![Alias { name: "gpt-4o".into(), model: "parrot".into() }];
    let server = Running::with_aliases(Box::new(load), aliases);
    let instead = Some("parrot".to_owned());
    for (name, header) in [("gpt-3.5-turbo", instead), ("gpt-4o", None), ("parrot", None), ("", None)] {
        let found = server.header(CHAT, &chat(json!({"model": name})), "x-bandmaster-model").await;
        assert_eq!(found, (200, header), "{name}");
    }
    let answer = server.call(200, "POST", CHAT, chat(json!({"model": "gpt-4o"}))).await;
    assert_eq!(answer["model"], "parrot");
    for path in ["/tokenize", "/apply-template"] {
        let body = json!({"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(server.header(path, &body, "x-bandmaster-model").await.0, 200, "{path}");
    }
    server.call(404, "POST", CHAT, chat(json!({"model": "bandmaster"}))).await;
    server.call(404, "POST", CHAT, chat(json!({"model": "bandmaster:map"}))).await;
    let listed = server.call(200, "GET", "/v1/models", Value::Null).await;
    let ids: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["gpt-4o", "parrot"]);
    server.call(200, "GET", "/v1/models/gpt-4o", Value::Null).await;
    server.call(404, "GET", "/v1/models/gpt-3.5-turbo", Value::Null).await;
}

#[tokio::test]
async fn routes_are_found_however_they_are_written() {
    let server = running("Hello!");
    for path in
        ["/chat/completions", "/v1/chat/completions/", "//v1//chat/completions", "/chat/completions//"]
    {
        server.call(200, "POST", path, chat(json!({}))).await;
    }
    for path in ["/models", "/v1/models/", "/models/parrot", "/v1/health", "/health/", "/ping", "/v1/version"]
    {
        server.call(200, "GET", path, Value::Null).await;
    }
    for path in ["/nothing", "/v1/nothing", "/v1", "/"] {
        server.call(404, "GET", path, Value::Null).await;
    }
}

#[tokio::test]
async fn output_formats_hold_under_every_name() {
    let server = running("certainly not");
    let schema = json!({"type": "object", "properties": {"ok": {"const": true}}, "required": ["ok"], "additionalProperties": false});
    let json_text = "{\"ok\": true}";
    for (more, expected) in [
        (json!({"guided_choice": ["positive"]}), "positive"),
        (json!({"guided_regex": "abc"}), "abc"),
        (json!({"regex": "^abc$"}), "abc"),
        (json!({"guided_grammar": "root ::= \"x\" \"y\""}), "xy"),
        (json!({"grammar": "root ::= a a\na ::= \"z\""}), "zz"),
        (json!({"grammar": "start: \"lark\""}), "lark"),
        (json!({"ebnf": "root ::= \"e\""}), "e"),
        (json!({"grammar": {"type": "regex", "value": "tgi"}}), "tgi"),
        (json!({"grammar": {"type": "json", "value": schema}}), json_text),
        (json!({"guided_json": schema}), json_text),
        (json!({"guided_json": schema.to_string()}), json_text),
        (json!({"json_schema": schema}), json_text),
        (json!({"structured_outputs": {"json": schema}}), json_text),
        (json!({"structured_outputs": {"choice": ["one"]}}), "one"),
        (json!({"structured_outputs": {"regex": "r{3}"}}), "rrr"),
        (json!({"structured_outputs": {"grammar": "root ::= \"g\""}}), "g"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}),
            json_text,
        ),
        (json!({"response_format": {"type": "json_schema", "schema": schema}}), json_text),
        (json!({"response_format": {"type": "json_object", "schema": schema}}), json_text),
        (json!({"response_format": {"type": "json", "value": schema}}), json_text),
        (json!({"response_format": {"type": "grammar", "grammar": "root ::= \"f\""}}), "f"),
        (json!({"response_format": {"type": "regex", "pattern": "p"}}), "p"),
    ] {
        assert_eq!(server.says(more.clone()).await, expected, "{more}");
        let answer = server.call(200, "POST", COMPLETIONS, completion(more.clone())).await;
        assert_eq!(answer["choices"][0]["text"], expected, "{more}");
    }
    let answer =
        server.call(200, "POST", "/v1/responses", json!({"input": "Hi", "guided_choice": ["yes"]})).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], "yes");
    let tool = json!({"function": {"name": "f"}});
    for (more, param) in [
        (json!({"grammar": "root ::= nothing"}), "grammar"),
        (json!({"guided_regex": "("}), "guided_regex"),
        (json!({"guided_json": {"type": "nonsense"}}), "guided_json"),
        (json!({"guided_json": "no JSON"}), "guided_json"),
        (json!({"grammar": {"type": "abnf", "value": "a"}}), "grammar.type"),
        (json!({"guided_choice": ["a"], "grammar": "root ::= \"a\""}), "guided_choice"),
        (json!({"response_format": {"type": "json_object"}, "guided_regex": "a"}), "guided_regex"),
        (json!({"grammar": "root ::= \"a\"", "tools": [tool]}), "grammar"),
    ] {
        let answer = server.call(400, "POST", CHAT, chat(more.clone())).await;
        assert_eq!(answer["error"]["param"], param, "{more}: {answer}");
    }
}

#[tokio::test]
async fn histories_of_every_client_are_accepted() {
    let server = running("Hello!");
    let call = |function: Value| json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "function": function}]});
    let result = json!({"role": "tool", "content": "7"});
    let mut prompts = Vec::new();
    for function in [
        json!({"name": "f"}),
        json!({"name": "f", "arguments": null}),
        json!({"name": "f", "arguments": ""}),
        json!({"name": "f", "arguments": "{}"}),
        json!({"name": "f", "arguments": {}}),
    ] {
        let messages = json!([{"role": "user", "content": "Hi"}, call(function), result]);
        prompts.push(server.prompt(json!({"messages": messages})).await);
        running("Hello!").call(200, "POST", CHAT, chat(json!({"messages": messages}))).await;
    }
    let old = json!([{"role": "user", "content": "Hi"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "7"}]);
    prompts.push(server.prompt(json!({"messages": old})).await);
    assert!(prompts.iter().all(|prompt| *prompt == prompts[0]), "{prompts:?}");
    assert!(prompts[0].contains("<tool_response>\n7"), "{}", prompts[0]);
    let kept =
        json!([{"role": "user", "content": "Hi"}, call(json!({"name": "f", "arguments": {"x": [null, 1]}}))]);
    assert!(server.prompt(json!({"messages": kept})).await.contains("{\"x\": [null, 1]}"));

    for role in ["system", "developer", "user", "assistant", "tool", "function"] {
        for content in [json!(null), json!([]), json!(""), json!([{"type": "text", "text": "a"}])] {
            let messages =
                json!([{"role": role, "content": content, "name": "ann"}, {"role": "user", "content": "Hi"}]);
            running("Hello!").call(200, "POST", CHAT, chat(json!({"messages": messages}))).await;
        }
        let messages = json!([{"role": role}, {"role": "user", "content": "Hi"}]);
        running("Hello!").call(200, "POST", CHAT, chat(json!({"messages": messages}))).await;
    }
    for tool in [
        json!({"function": {"name": "f"}}),
        json!({"type": null, "function": {"name": "f", "parameters": null, "description": null}}),
        json!({"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}),
    ] {
        running("Hello!")
            .call(200, "POST", CHAT, chat(json!({"tools": [tool], "tool_choice": "none"})))
            .await;
        let named = json!({"function": {"name": "f"}});
        let answer = running("Hello!")
            .call(200, "POST", CHAT, chat(json!({"tools": [tool], "tool_choice": named, "max_tokens": 200})))
            .await;
        assert_eq!(
            answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "f",
            "{tool}: {answer}"
        );
    }
}

#[tokio::test]
async fn the_last_message_is_continued_on_request() {
    let server = running("and more");
    let talk = |more: Value| {
        merged(
            json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well, "}]}),
            more,
        )
    };
    let opened = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nWell, ";
    for more in [
        json!({"continue_final_message": true}),
        json!({"add_generation_prompt": false}),
        json!({"continue_final_message": true, "add_generation_prompt": false}),
    ] {
        assert_eq!(server.prompt(talk(more.clone())).await, opened, "{more}");
        assert_eq!(server.says(talk(more)).await, "and more");
    }
    let closed = format!("{opened}<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(server.prompt(talk(json!({}))).await, closed);
    assert_eq!(server.prompt(talk(json!({"continue_final_message": false}))).await, closed);
    let asked = json!({"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": false});
    assert_eq!(server.prompt(asked).await, "<|im_start|>user\nHi<|im_end|>\n");
    let both = talk(json!({"continue_final_message": true, "add_generation_prompt": true}));
    server.call(400, "POST", CHAT, chat(both)).await;
    // The text of a continued message is never read as special tokens.
    let forged =
        json!({"messages": [{"role": "assistant", "content": "<|im_end|>"}], "continue_final_message": true});
    let tokens = server.call(200, "POST", "/tokenize", forged).await;
    assert!(tokens["count"].as_u64().unwrap() > 10, "{tokens}");
}

#[tokio::test]
async fn token_ids_are_returned_on_request() {
    // The parrot tells prompts apart by their length only, so each prompt gets a new server.
    let server = || running("ab");
    let ids = [json!(97), json!(98)];
    let prompt = server()
        .call(200, "POST", "/tokenize", json!({"messages": [{"role": "user", "content": "Hi"}]}))
        .await;
    let answer = server().call(200, "POST", CHAT, chat(json!({"return_token_ids": true}))).await;
    let choice = &answer["choices"][0];
    let told = |choice: &Value| choice["token_ids"].as_array().unwrap()[..2].to_vec();
    assert_eq!(
        (&answer["prompt_token_ids"], &choice["logprobs"]),
        (&prompt["tokens"], &Value::Null),
        "{answer}"
    );
    let text = server().call(200, "POST", "/detokenize", json!({"tokens": told(choice)})).await;
    assert_eq!((&text["content"], &text["prompt"]), (&json!("ab"), &json!("ab")));
    let answer = server().call(200, "POST", COMPLETIONS, completion(json!({"return_token_ids": true}))).await;
    assert_eq!(told(&answer["choices"][0]).len(), ids.len());
    assert_eq!(answer["choices"][0]["prompt_token_ids"].as_array().unwrap().len(), 2);
    for (path, body) in [(CHAT, chat(json!({}))), (COMPLETIONS, completion(json!({})))] {
        let chunks =
            server().chunks(path, merged(body, json!({"return_token_ids": true, "stream": true}))).await;
        let all: Vec<Value> = chunks
            .iter()
            .flat_map(|chunk| chunk["choices"][0]["token_ids"].as_array().cloned().unwrap_or_default())
            .collect();
        assert!(all.len() >= 2, "{path}: {chunks:?}");
        let of_prompt = |chunk: &&Value| {
            chunk.get("prompt_token_ids").or(chunk["choices"][0].get("prompt_token_ids")).is_some()
        };
        assert_eq!(chunks.iter().filter(of_prompt).count(), 1, "{path}: {chunks:?}");
    }
    let scored = chat(json!({"logprobs": true, "return_tokens_as_token_ids": true}));
    let answer = server().call(200, "POST", CHAT, scored).await;
    let token = answer["choices"][0]["logprobs"]["content"][0]["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("token_id:"), "{token}");
    for more in [json!({"n_probs": 2}), json!({"n_probs": 2, "logprobs": true})] {
        let answer = server().call(200, "POST", CHAT, chat(more.clone())).await;
        let tops = &answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"];
        assert_eq!(tops.as_array().unwrap().len(), 2, "{more}");
    }
}

#[tokio::test]
async fn lengths_and_stops_of_other_servers_hold() {
    let server = running("one two! three");
    let cut = server.call(200, "POST", "/tokenize", json!({"content": "!"})).await;
    let stop = cut["tokens"][0].clone();
    assert_eq!(server.says(json!({"stop_token_ids": [stop]})).await.trim_end_matches('!'), "one two");
    assert_eq!(server.says(json!({"stop": "two", "include_stop_str_in_output": true})).await, "one two");
    assert_eq!(server.says(json!({"max_tokens": -1})).await, "one two! three");
    assert_eq!(server.says(json!({"max_tokens": null, "n_predict": 3})).await, "one");
    assert_eq!(server.says(json!({"max_tokens": -1, "max_completion_tokens": 3})).await, "one");
    for (more, param) in [
        (json!({"max_tokens": -2}), "max_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"stop_token_ids": [1_000_000]}), "stop_token_ids"),
        (json!({"best_of": 2}), "best_of"),
    ] {
        let answer = server.call(400, "POST", CHAT, chat(more.clone())).await;
        assert_eq!(answer["error"]["param"], param, "{more}");
    }
    let answer = server.call(200, "POST", COMPLETIONS, completion(json!({"max_tokens": -1}))).await;
    assert_eq!(answer["choices"][0]["text"], "one two! three");
    let answer = server.call(200, "POST", COMPLETIONS, completion(json!({"max_tokens": 0}))).await;
    assert_eq!(
        (&answer["choices"][0]["text"], &answer["usage"]["completion_tokens"]),
        (&json!(""), &json!(0))
    );
    let forbidden = json!({"logit_bias": [[stop, false]], "max_tokens": 9});
    assert!(!server.says(forbidden).await.contains('!'));
    let timed = server.call(200, "POST", CHAT, chat(json!({"timings_per_token": true}))).await;
    assert_eq!(timed["timings"]["predicted_n"], timed["usage"]["completion_tokens"], "{timed}");
    let chunks = server.chunks(CHAT, chat(json!({"timings_per_token": true, "stream": true}))).await;
    assert_eq!(chunks.iter().filter(|chunk| chunk.get("timings").is_some()).count(), 1);
    let counted =
        json!({"timings_per_token": true, "stream": true, "stream_options": {"include_usage": true}});
    for (path, body) in [(CHAT, chat(counted.clone())), (COMPLETIONS, completion(counted))] {
        let chunks = server.chunks(path, body).await;
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"], json!([]), "{last}");
        assert_eq!(last["timings"]["predicted_n"], last["usage"]["completion_tokens"], "{last}");
    }
    let plain = server.call(200, "POST", CHAT, chat(json!({}))).await;
    assert!(plain.get("timings").is_none());
}

#[tokio::test]
async fn evaluation_harnesses_find_what_they_request_first() {
    let server = running("Hello!");
    let info = server.call(200, "GET", "/tokenizer_info", Value::Null).await;
    assert_eq!(info["eos_token"], "<|im_end|>", "{info}");
    assert!(info["chat_template"].as_str().unwrap().contains("messages"));
    let cut = server
        .call(
            200,
            "POST",
            "/tokenize",
            json!({"prompt": "Hi", "add_special_tokens": false, "return_token_strs": true}),
        )
        .await;
    assert_eq!(
        (&cut["count"], &cut["token_strs"], &cut["max_model_len"]),
        (&json!(2), &json!(["H", "i"]), &json!(1024))
    );
    let hello = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let cut = server.call(200, "POST", "/tokenize", hello.clone()).await;
    let asked = merged(hello, json!({"max_tokens": 5, "stop": ["a"], "stream": true}));
    let counted = server.call(200, "POST", "/chat/completions/input_tokens", asked).await;
    assert_eq!(counted, json!({"input_tokens": cut["count"]}));
    server.call(400, "POST", "/tokenize", json!({})).await;
    server.call(400, "POST", "/tokenize", json!({"prompt": "a", "content": "b"})).await;
    let props = server.call(200, "GET", "/props", Value::Null).await;
    assert_eq!(props["default_generation_settings"]["n_ctx"], 1024, "{props}");
    assert_eq!(props["chat_template"], info["chat_template"]);
    let version = server.call(200, "GET", "/version", Value::Null).await;
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    server.call(200, "GET", "/ping", Value::Null).await;
}

#[tokio::test]
async fn models_with_fill_in_tokens_fill_in_and_others_refuse() {
    let marks = [
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
    ];
    let model = parrot_with("return a", &marks);
    let server = Running::new(Box::new(move |_| Ok(Arc::clone(&model))));
    let mark = async |text: &str| {
        let cut = server.call(200, "POST", "/tokenize", json!({"content": text})).await;
        cut["tokens"][0].clone()
    };
    let asked = completion(json!({"prompt": "def f(a):\n", "suffix": "\n\nf(1)", "return_token_ids": true}));
    let answer = server.call(200, "POST", COMPLETIONS, asked).await;
    let choice = &answer["choices"][0];
    assert_eq!(choice["text"], "return a", "{answer}");
    let ids = choice["prompt_token_ids"].as_array().unwrap();
    assert_eq!((&ids[0], &ids[ids.len() - 1]), (&mark(marks[0]).await, &mark(marks[2]).await));
    let infill = json!({"input_prefix": "def f(a):\n", "input_suffix": "\n", "input_extra": [{"filename": "a.py", "text": "x = 1"}],
                        "prompt": "", "n_predict": 8, "temperature": 0, "cache_prompt": true, "t_max_predict_ms": 500, "samplers": ["top_k"]});
    let answer = server.call(200, "POST", "/infill", infill.clone()).await;
    assert_eq!((&answer["content"], &answer["stop"]), (&json!("return a"), &json!(true)), "{answer}");
    assert_eq!(answer["timings"]["predicted_n"], answer["tokens_predicted"]);
    let few =
        merged(infill.clone(), json!({"response_fields": ["content", "timings/prompt_n", "nothing/x"]}));
    let answer = server.call(200, "POST", "/infill", few).await;
    let names: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(names, ["content", "timings/prompt_n"]);
    let chunks = server.chunks("/infill", merged(infill.clone(), json!({"stream": true}))).await;
    let text: String = chunks.iter().map(|chunk| chunk["content"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), &chunks.last().unwrap()["stop"]), ("return a", &json!(true)));
    let warmed = server.call(200, "POST", "/infill", merged(infill.clone(), json!({"n_predict": 0}))).await;
    assert_eq!((&warmed["content"], &warmed["tokens_predicted"]), (&json!(""), &json!(0)));

    let plain = running("Hello!");
    for (path, body, param) in
        [(COMPLETIONS, completion(json!({"suffix": "a"})), "suffix"), ("/infill", infill, "input_suffix")]
    {
        let answer = plain.call(400, "POST", path, body).await;
        assert_eq!(answer["error"]["param"], param, "{answer}");
    }
    plain.call(200, "POST", COMPLETIONS, completion(json!({"suffix": ""}))).await;
    let response = plain.begin("POST", COMPLETIONS, &completion(json!({"suffix": null}))).await;
    assert!(to_bytes(response.into_body(), 1 << 20).await.is_ok());
}

#[tokio::test]
async fn every_route_that_reads_a_text_does_so_in_a_job() {
    let server = running("Hello!");
    let hello = json!([{"role": "user", "content": "Hi"}]);
    for (path, body) in [
        (CHAT, chat(json!({}))),
        (COMPLETIONS, completion(json!({}))),
        ("/v1/responses", json!({"input": "Hi"})),
        ("/infill", json!({"input_prefix": "Hi"})),
        ("/tokenize", json!({"content": "Hi"})),
        ("/tokenize", json!({"messages": hello})),
        ("/detokenize", json!({"tokens": [72]})),
        ("/apply-template", json!({"messages": hello})),
        ("/v1/chat/completions/input_tokens", json!({"messages": hello})),
    ] {
        let before = jobs::JOBS_STARTED.get();
        let (status, text) = server.respond("POST", path, &body).await;
        // The parrot has no infill tokens, which is noticed only when the prompt is rendered.
        assert_eq!(status, if path == "/infill" { 400 } else { 200 }, "{path}: {text}");
        assert_eq!(jobs::JOBS_STARTED.get(), before + 1, "{path}");
    }
}

#[tokio::test]
async fn a_salt_separates_the_prefix_cache() {
    let server = running("Hello!");
    let long = "river stone ".repeat(40);
    let cached = async |more: Value| {
        let body = merged(chat(json!({"messages": [{"role": "user", "content": long}]})), more);
        let answer = server.call(200, "POST", CHAT, body).await;
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(cached(json!({})).await, 0);
    assert!(cached(json!({})).await > 0);
    assert_eq!(cached(json!({"cache_salt": "mine"})).await, 0);
    assert!(cached(json!({"cache_salt": "mine"})).await > 0);
    assert_eq!(cached(json!({"cache_salt": "theirs"})).await, 0);
    assert!(cached(json!({"cache_salt": ""})).await > 0);
}

#[tokio::test]
async fn many_answers_to_one_request_compile_its_grammar_once() {
    let model = parrot_with("certainly not", &[]);
    let loaded = Arc::clone(&model);
    let server = Running::new(Box::new(move |_| Ok(Arc::clone(&loaded))));
    // Large enough not to be cached for the next request.
    let names: Vec<String> = (0..300).map(|n| format!("name-{n}-{}", "x".repeat(250))).collect();
    let schema = json!({"enum": names});
    for (answers, compiled) in [(1, 1), (32, 2)] {
        let body = chat(json!({"json_schema": schema, "n": answers, "max_tokens": 2}));
        server.call(200, "POST", CHAT, body).await;
        assert_eq!(model.grammars_compiled(), compiled, "{answers} answers");
    }
}

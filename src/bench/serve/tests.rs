use std::time::Duration;

use super::call::Call;
use super::*;
use bandmaster_client::{FakeServer, Prompt, Script};
use serde_json::{Value, json};

const LIMITS: LatencyLimits = LatencyLimits { ttft_limit_ms: 1000.0, itl_limit_ms: 50.0 };

fn content(message: &Value) -> &str {
    message["content"].as_str().expect("a text")
}

fn load(url: &str, calls: Vec<Call>, mode: Mode, stop: &Cancel) -> Result<LoadResult, ClientError> {
    load_of("fake", url, calls, mode, stop)
}

fn load_of(
    model: &str,
    url: &str,
    calls: Vec<Call>,
    mode: Mode,
    stop: &Cancel,
) -> Result<LoadResult, ClientError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let client = Client::new(Duration::from_secs(1)).expect("a client");
    let endpoint = Endpoint::new(url, model, None, true).expect("it is here");
    let target = Target { client, endpoint };
    runtime.expect("a runtime").block_on(run_load(&target, calls.into_iter(), mode, 1, stop, &mut |_| {}))
}

fn calls(count: usize, output_tokens: u32) -> Vec<Call> {
    let call = |index: usize| Call::with_length(Prompt::Text(format!(" call {index}")), output_tokens, None);
    (0..count).map(call).collect()
}

/// The figures of a server with this script for six calls, three at a time.
fn report(script: Script) -> LoadReport {
    let server = FakeServer::start(script);
    let mode = Mode::Closed { concurrency: 3 };
    LoadReport::new(load(&server.url, calls(6, 5), mode, &Cancel::new()).expect("it is there"), LIMITS)
}

#[test]
fn times_of_a_closed_loop_are_those_of_the_server() {
    // Five tokens, 20 ms before each; two calls one after the other on each of three connections.
    let report = report(Script::Good { ms: 20 });
    assert_eq!((report.requests, report.errors, report.output_tokens, report.prompt_tokens), (6, 0, 30, 42));
    // The upper bounds allow for a busy machine.
    assert!((20.0..500.0).contains(&report.ttft_ms.p50), "{:?}", report.ttft_ms);
    assert!((15.0..500.0).contains(&report.itl_ms.p50), "{:?}", report.itl_ms);
    assert!((100.0..2000.0).contains(&report.e2e_ms.p50), "{:?}", report.e2e_ms);
    assert!((0.2..4.0).contains(&report.wall_s), "{}", report.wall_s);
    assert!((report.output_tokens_per_s - 30.0 / report.wall_s).abs() < 1e-9);
    assert!((report.goodput.share - 1.0).abs() < 1e-9);
}

#[test]
fn a_call_that_had_to_wait_counts_from_when_it_was_due() {
    let server = FakeServer::start(Script::Good { ms: 1 });
    let at = |ms| Some(Duration::from_millis(ms));
    let mut recorded = calls(3, 2);
    (recorded[0].at, recorded[1].at, recorded[2].at) = (at(0), at(150), at(300));
    let done = load(&server.url, recorded, Mode::Recorded, &Cancel::new()).expect("it is there");
    let at_ms: Vec<u64> = done.samples.iter().map(|sample| sample.at_ms.round() as u64).collect();
    assert_eq!(at_ms, [0, 150, 300], "when they were due, not when they were sent");
    assert!(done.wall >= Duration::from_millis(300));
    // Due 200 ms ago, first token now.
    let due = Instant::now() - Duration::from_millis(200);
    let waited = sample(&calls(1, 2)[0], Duration::ZERO, due, Instant::now(), &[Instant::now()], None, None);
    assert!(waited.ttft_ms.expect("a token came") >= 200.0);
}

#[test]
fn arrivals_follow_the_seed_and_the_rate() {
    let times: Vec<Duration> = arrivals(50.0, 3).take(2001).collect();
    assert_eq!(times, arrivals(50.0, 3).take(2001).collect::<Vec<_>>());
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
    let mean = times[2000].as_secs_f64() / 2000.0;
    assert!((0.018..0.022).contains(&mean), "mean {mean} of 0.02");
    // An exponential distribution's standard deviation is its mean.
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let spread = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
    assert!((0.9..1.1).contains(&(spread / mean)), "spread {spread}");
}

#[test]
fn calls_that_fail_are_counted_by_kind_and_leave_the_figures_alone() {
    let check = |script: Script, kind: &str| {
        let report = report(script);
        assert_eq!((report.requests, report.errors), (6, 6));
        assert_eq!(report.errors_by.get(kind), Some(&6), "{:?}", report.errors_by);
        assert_eq!((report.output_tokens, report.ttft_ms.max, report.goodput.share), (0, 0.0, 0.0));
    };
    check(Script::Status(429, "{}"), "status");
    check(Script::Closes, "closed");
    check(Script::Stalls, "stalled");
    check(Script::Counts { output_tokens: 99 }, "counts");
    let short = report(Script::Short { tokens: 2 });
    assert_eq!((short.errors, short.short_answers, short.output_tokens), (0, 6, 12));
}

#[test]
fn a_band_is_measured_by_the_pieces_of_its_answers() {
    let server = FakeServer::start(Script::Counts { output_tokens: 99 });
    let mode = Mode::Closed { concurrency: 3 };
    let done = load_of("bandmaster", &server.url, calls(6, 5), mode, &Cancel::new());
    let report = LoadReport::new(done.expect("it is there"), LIMITS);
    assert_eq!((report.errors, report.output_tokens, report.pieces), (0, 30, 30), "{:?}", report.errors_by);
    // A band refuses `ignore_eos`.
    let bodies = server.bodies.lock().expect("whole");
    assert!(bodies.iter().all(|body| body.get("ignore_eos").is_none()), "{bodies:?}");
}

#[test]
fn a_server_that_is_not_there_ends_it_at_once() {
    let mode = Mode::Closed { concurrency: 2 };
    let error = load("http://127.0.0.1:9", calls(1000, 5), mode, &Cancel::new());
    assert_eq!(error.expect_err("nobody listens there").kind(), "unreachable");
}

#[test]
fn an_interrupt_keeps_the_calls_that_have_ended() {
    let server = FakeServer::start(Script::Good { ms: 10 });
    let cancel = Cancel::new();
    let thrower = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1000));
        thrower.cancel();
    });
    let done =
        load(&server.url, calls(1000, 5), Mode::Closed { concurrency: 2 }, &cancel).expect("it is there");
    assert!(done.interrupted && !done.samples.is_empty() && done.samples.len() < 100);
}

#[test]
fn the_knee_is_below_the_first_rate_that_is_too_much() {
    let row = |rate: f64, share: f64| {
        let mut load = report(Script::Short { tokens: 1 });
        load.goodput.share = share;
        SweepRow { rate, load }
    };
    let sweep = Sweep::new(vec![row(3.0, 0.99), row(1.0, 1.0), row(2.0, 0.9)]);
    assert_eq!(sweep.knee_rate, Some(1.0));
    assert!(sweep.rows.iter().all(|row| row.load.samples.is_empty()));
    assert_eq!(Sweep::new(vec![row(1.0, 0.5)]).knee_rate, None);
}

#[test]
fn random_calls_have_their_lengths_and_common_prefixes() {
    let words = |call: &Call| match &call.prompt {
        Prompt::Chat(messages) => {
            messages.iter().map(|message| content(message).split_whitespace().count()).collect()
        }
        Prompt::Text(text) => vec![text.split_whitespace().count()],
    };
    assert_eq!(calls_of(&Workload::Chat, 5, 1), calls_of(&Workload::Chat, 5, 1));
    assert_ne!(calls_of(&Workload::Chat, 5, 1), calls_of(&Workload::Chat, 5, 2));
    for call in calls_of(&Workload::Chat, 50, 1) {
        let counts: Vec<usize> = words(&call);
        assert!(counts[0] == 60 && (40..200).contains(&counts[1]) && (32..96).contains(&call.output_tokens));
    }
    let fanout = calls_of(&Workload::Fanout, 2, 1);
    assert_eq!(words(&fanout[0]), [1060]);
    assert_ne!(fanout[0], fanout[1]);
    let long = calls_of(&Workload::Mixed, 10, 1).iter().filter(|call| words(call) == [2000]).count();
    assert_eq!(long, 2);
}

#[test]
fn a_recording_is_read_or_its_line_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls.jsonl");
    let find = |text: &str| {
        std::fs::write(&file, text).expect("written");
        Workload::find(file.to_str().expect("UTF-8"))
    };
    let good = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":3,\"at_ms\":40,\"user\":\"x\"}\n\n{\"prompt\":\"a\",\"max_tokens\":2}\n";
    let recording = find(good).expect("two calls");
    assert_eq!((recording.name(), recording.sha256().map(str::len)), ("calls.jsonl", Some(64)));
    let text = |call: &Call| match &call.prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Chat(messages) => content(&messages[0]).to_owned(),
    };
    let calls = calls_of(&recording, 4, 1);
    assert_eq!((calls[0].at, calls[0].output_tokens), (Some(Duration::from_millis(40)), 3));
    assert!(text(&calls[1]).ends_with(" a") || text(&calls[1]).ends_with('a'));
    assert_eq!(calls[2].at, Some(Duration::from_millis(120)), "the second pass follows the first");
    let opening = |call: &Call| text(call).split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    assert_ne!(opening(&calls[2]), opening(&calls[0]), "no pass finds what another left in a cache");
    assert_ne!(opening(&calls_of(&recording, 1, 2)[0]), opening(&calls[0]));
    let refuse = |text: &str, says: &str| {
        let error = find(text).expect_err(says).to_string();
        assert!(error.contains(says) && error.contains("calls.jsonl"), "{error}");
    };
    refuse("", "holds no calls");
    refuse("{\"prompt\":\"a\",\"max_tokens\":2}\n{broken", "line 2");
    let note = &recording.notes()[0];
    assert!(note.contains("calls.jsonl") && note.contains("user"), "what is not sent is told: {note}");
    refuse("{\"prompt\":\"a\",\"max_tokens\":2,\"n\":2}", "one answer");
    refuse("{\"max_tokens\":2}", "either `messages` or `prompt`");
    refuse("{\"prompt\":\"a\"}", "max_tokens");
    refuse("{\"prompt\":\"a\",\"max_tokens\":0}", "between 1 and");
    refuse("{\"prompt\":\"a\",\"max_tokens\":4294967295}", "between 1 and");
    refuse("{\"messages\":[{\"role\":\"robot\",\"content\":\"\"}],\"max_tokens\":1}", "unknown role `robot`");
    assert!(Workload::find("nowhere").expect_err("no file").to_string().contains("chat, fanout, mixed"));
}

fn calls_of(workload: &Workload, count: usize, seed: u64) -> Vec<Call> {
    workload.calls(count, seed).collect()
}

/// The workload in a file with this name and text.
fn workload(name: &str, text: &str) -> Result<Workload, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    std::fs::write(&file, text).expect("written");
    Workload::find(file.to_str().expect("UTF-8")).map_err(|error| error.to_string())
}

#[test]
fn a_recorded_call_is_sent_with_its_tools_and_its_form() {
    let call = json!({
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "How warm is it?"}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function",
             "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "21"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto", "response_format": {"type": "json_object"}, "temperature": 0.5, "max_tokens": 4, "stream": true,
    });
    let recording = workload("calls.jsonl", &call.to_string()).expect("a call");
    assert!(recording.notes().is_empty(), "{:?}", recording.notes());
    let server = FakeServer::start(Script::Good { ms: 0 });
    let mode = Mode::Closed { concurrency: 1 };
    let done = load(&server.url, calls_of(&recording, 1, 1), mode, &Cancel::new()).expect("it is there");
    let bodies = server.bodies.lock().expect("whole");
    for name in ["tools", "tool_choice", "response_format", "temperature"] {
        assert_eq!(bodies[0][name], call[name], "{name}");
    }
    assert!(bodies[0].get("ignore_eos").is_none(), "the form says where it ends");
    assert_eq!(done.samples[0].asked_tokens, 0);
    assert_eq!(bodies[0]["messages"][1], call["messages"][1]);
    let first = bodies[0]["messages"][0]["content"][0]["text"].as_str().expect("a text");
    assert!(first.ends_with("How warm is it?") && first.len() > 20, "{first}");
}

#[test]
fn conversations_of_sharegpt_are_asked_by_their_first_question() {
    let turn = |from: &str, value: &str| json!({"from": from, "value": value});
    let text = json!([
        {"id": "a", "conversations": [turn("human", "Why?"), turn("gpt", "Because it is so."), turn("human", "Oh.")]},
        {"id": "b", "conversations": [turn("system", "Be kind."), turn("user", "Who?"), turn("assistant", "Me.")]},
        {"id": "c", "conversations": [turn("gpt", "Hello."), turn("human", "Hi.")]},
        {"id": "d", "conversations": []},
    ]);
    let recording = workload("sharegpt.json", &text.to_string()).expect("two calls");
    let calls = calls_of(&recording, 3, 1);
    let asked = |call: &Call| match &call.prompt {
        Prompt::Chat(messages) => content(&messages[0]).to_owned(),
        Prompt::Text(text) => text.clone(),
    };
    assert!(asked(&calls[0]).ends_with("Why?") && asked(&calls[1]).ends_with("Who?"));
    assert!(asked(&calls[2]).ends_with("Why?"), "the third is the first again");
    assert_eq!((calls[0].output_tokens, calls[1].output_tokens), (5, 1));
    assert!(
        recording.notes().iter().any(|note| note.contains("2 of 4 conversations")),
        "{:?}",
        recording.notes()
    );
}

#[test]
fn traces_without_texts_have_their_lengths_times_and_common_beginnings() {
    let words = |call: &Call| match &call.prompt {
        Prompt::Chat(messages) => {
            content(&messages[0]).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        }
        Prompt::Text(text) => vec![text.clone()],
    };
    let burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n\
                 45.5,GPT-4,20,0,20,API log\n118,GPT-4,1087,230,1317,API log\n90000,GPT-4,10,10,20,API log\n";
    let recording = workload("BurstGPT.csv", burst).expect("two calls");
    let calls = calls_of(&recording, 2, 1);
    // Four opening words come first.
    assert_eq!((words(&calls[0]).len(), words(&calls[1]).len()), (476, 1091));
    assert_eq!((calls[0].output_tokens, calls[1].output_tokens), (18, 230));
    assert_eq!((calls[0].at, calls[1].at), (Some(Duration::ZERO), Some(Duration::from_secs(113))));
    let notes = recording.notes().join("\n");
    assert!(
        notes.contains("1 of 4 calls") && notes.contains("first day") && notes.contains("2 of 3"),
        "{notes}"
    );
    let mooncake = "{\"timestamp\": 27482, \"input_length\": 1200, \"output_length\": 5, \"hash_ids\": [46, 47, 48]}\n\
                    {\"timestamp\": 30535, \"input_length\": 1100, \"output_length\": 6, \"hash_ids\": [46, 47, 99]}\n";
    let calls = calls_of(&workload("mooncake_trace.jsonl", mooncake).expect("two calls"), 2, 1);
    let (first, second) = (words(&calls[0]), words(&calls[1]));
    assert_eq!((first.len(), second.len()), (1204, 1104));
    assert_eq!(first[..1028], second[..1028], "two blocks of 512 are the same");
    assert_ne!(first[1028..1104], second[1028..1104]);
    assert_eq!(calls[1].at, Some(Duration::from_millis(3053)));
    for (name, text, says) in [
        ("a.csv", "Timestamp,Model\n1,x\n", "no column `Request tokens`"),
        ("a.csv", "Timestamp,Request tokens,Response tokens\n1,x,2\n", "line 2: Request tokens is `x`"),
        ("a.json", "[{\"conversations\": 3}]", "line 1"),
        ("a.json", "[]", "holds no calls"),
    ] {
        let error = workload(name, text).expect_err(says);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn calls_are_generated_when_they_are_sent() {
    // A million prompts of a million words each.
    let line = "{\"timestamp\": 0, \"input_length\": 1000000, \"output_length\": 5}\n";
    let recording = workload("mooncake_trace.jsonl", line).expect("a call");
    let began = Instant::now();
    let mut calls = recording.calls(1_000_000, 1);
    assert_eq!((calls.len(), began.elapsed() < Duration::from_secs(1)), (1_000_000, true));
    assert_eq!(calls.next().expect("the first").output_tokens, 5);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn recorded_calls_are_made_in_the_order_of_their_times() {
    let line = |at: u32, tokens: u32| json!({"prompt": "a", "max_tokens": tokens, "at_ms": at}).to_string();
    let text = [line(50, 3), line(0, 1), line(50, 4), line(10, 2)].join("\n");
    let recording = workload("calls.jsonl", &text).expect("four calls");
    let calls = calls_of(&recording, 6, 1);
    assert_eq!(calls.iter().map(|call| call.output_tokens).collect::<Vec<_>>(), [1, 2, 3, 4, 1, 2]);
    assert!(calls.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let server = FakeServer::start(Script::Good { ms: 0 });
    let done = load(&server.url, calls, Mode::Recorded, &Cancel::new()).expect("it is there");
    assert_eq!(done.samples.iter().map(|sample| sample.asked_tokens).collect::<Vec<_>>(), [1, 2, 3, 4, 1, 2]);
}

#[test]
fn prompts_longer_than_any_model_reads_are_left_out_of_a_trace() {
    let most = 4 << 20;
    let text = format!(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
         0,m,{most},1,1,x\n1,m,{},1,1,x\n2,m,1e18,1,1,x\n3,m,0,1,1,x\n",
        most + 1
    );
    let recording = workload("BurstGPT.csv", &text).expect("one call");
    assert!(
        recording
            .notes()
            .join("\n")
            .contains("3 of 4 calls have no input or output tokens, or too many for any model")
    );
    let calls = calls_of(&recording, 2, 1);
    assert_eq!(calls[1].at, Some(Duration::ZERO), "the second is the first again: there is no other");
}

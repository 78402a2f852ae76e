use super::*;
use crate::fake::{FakeServer, Script};
use bandmaster_orchestrator::Role;

fn completion_request() -> CompletionRequest {
    let prompt = Prompt::Text(" the river".to_owned());
    CompletionRequest {
        prompt,
        max_tokens: 5,
        temperature: 0.0,
        seed: Some(1),
        ignore_eos: true,
        schema: None,
        extra: Map::new(),
    }
}

/// The result of asking a server with this script, and the text received on the way.
fn complete(url: &str, request: &CompletionRequest) -> (Result<Completion, ClientError>, String) {
    complete_with("fake", url, request)
}

fn complete_with(
    model: &str,
    url: &str,
    request: &CompletionRequest,
) -> (Result<Completion, ClientError>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = Client::new(Duration::from_secs(1)).expect("a client");
    let endpoint = Endpoint::new(url, model, Some("key".to_owned()), false).expect("a URL");
    let mut received = String::new();
    let answer =
        runtime.block_on(client.complete(&endpoint, request, &mut |text: &str| received.push_str(text)));
    (answer, received)
}

#[test]
fn an_answer_is_streamed_whatever_the_chunk_size() {
    for script in [Script::Good { ms: 0 }, Script::Chopped { bytes: 1 }, Script::Chopped { bytes: 7 }] {
        for prompt in [completion_request().prompt, Prompt::chat(&[Message::new(Role::User, "the river")])] {
            let server = FakeServer::start(script.clone());
            let (answer, received) =
                complete(&server.url, &CompletionRequest { prompt, ..completion_request() });
            let answer = answer.expect("a good server");
            assert_eq!((answer.text.as_str(), received.as_str()), (" w0 w1 w2 w3 w4", " w0 w1 w2 w3 w4"));
            let usage = Usage { prompt_tokens: 7, cached_tokens: 2, completion_tokens: 5 };
            assert_eq!((answer.usage, answer.pieces), (Some(usage), 5));
        }
    }
}

/// A server may close an idle connection at the moment it is reused: llama-server did.
#[test]
fn each_call_has_a_connection_of_its_own() {
    let server = FakeServer::start(Script::KeepsOpen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = Client::new(Duration::from_secs(2)).expect("a client");
    let endpoint = Endpoint::new(&server.url, "fake", None, true).expect("a URL");
    for _ in 0..2 {
        let answer = runtime.block_on(client.complete(&endpoint, &completion_request(), &mut |_: &str| {}));
        assert_eq!(answer.expect("a whole answer").text, "a");
    }
}

#[test]
fn the_request_body_has_openais_fields() {
    let server = FakeServer::start(Script::Good { ms: 0 });
    complete(&server.url, &completion_request()).0.expect("a good server");
    let body = server.bodies.lock().expect("whole")[0].clone();
    let expected = json!({"model": "fake", "prompt": " the river", "max_tokens": 5, "temperature": 0.0, "stream": true,
                          "stream_options": {"include_usage": true}, "seed": 1, "ignore_eos": true});
    assert_eq!(body, expected);
}

#[test]
fn a_bad_server_is_an_error_that_says_what_it_did() {
    let check = |script: Script, kind: &str, says: &str| {
        let server = FakeServer::start(script.clone());
        let error = complete(&server.url, &completion_request()).0.expect_err(says);
        assert_eq!(error.kind(), kind, "{script:?}: {error}");
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(&server.url), "{script:?}: {text}");
    };
    check(Script::Status(500, r#"{"error":{"message":"out of slots"}}"#), "status", "500: out of slots");
    check(Script::Status(404, "<html>no</html>"), "status", "<html>no</html>");
    check(Script::Status(503, ""), "status", "nothing more");
    check(Script::Body("application/json", "{}"), "protocol", "application/json, not text/event-stream");
    check(Script::Body("text/event-stream", "data: {\"choices\":\n\n"), "protocol", "EOF");
    check(Script::Body("text/event-stream", "data: {\"hello\":1}\n\n"), "protocol", "no `choices`");
    check(
        Script::Body("text/event-stream", "data: {\"error\":{\"message\":\"slot lost\"}}\n\n"),
        "failed",
        "slot lost",
    );
    check(Script::Body("text/event-stream", ""), "closed", "after 0 pieces");
    check(Script::Silent, "stalled", "nothing for 1 s");
    check(Script::Stalls, "stalled", "nothing for 1 s");
    check(Script::Closes, "closed", "after 3 pieces");
    check(Script::Counts { output_tokens: 2 }, "counts", "2 tokens for 5 pieces");
    check(Script::Counts { output_tokens: 99 }, "counts", "a limit of 5");
    check(Script::Endless, "counts", "for 7 pieces");
    check(Script::Comments, "stalled", "nothing for 1 s");
    check(Script::HangsUp, "closed", "after 0 pieces");
}

#[test]
fn reasoning_is_streamed_but_not_part_of_the_answer() {
    let stream = "data: {\"choices\": [{\"delta\": {\"reasoning_content\": \"hm \"}}]}\n\n\
                  data: {\"choices\": [{\"delta\": {\"content\": \"yes\"}, \"finish_reason\": \"stop\"}]}\n\n\
                  data: [DONE]\n\n";
    let server = FakeServer::start(Script::Body("text/event-stream", stream));
    let (answer, received) = complete(&server.url, &completion_request());
    let answer = answer.expect("it is whole");
    assert_eq!((answer.text.as_str(), received.as_str(), answer.pieces), ("yes", "hm yes", 2));
}

#[test]
fn a_band_counts_the_tokens_of_all_its_tasks() {
    let check = |model: &str, output_tokens: u32, expected: Result<u32, &str>| {
        let server = FakeServer::start(Script::Counts { output_tokens });
        let answered =
            complete_with(model, &server.url, &completion_request()).0.map_err(|error| error.kind());
        let counts = answered.map(|answered| (answered.pieces, answered.completion_tokens()));
        assert_eq!(counts, expected.map(|tokens| (5, tokens)), "{model}, {output_tokens} tokens");
    };
    check("bandmaster", 99, Ok(99));
    check("bandmaster:map", 99, Ok(99));
    check("bandmaster", 2, Err("counts"));
    check("bandmasters", 99, Err("counts"));
    check("fake", 99, Err("counts"));
    let server = FakeServer::start(Script::Endless);
    let endless =
        complete_with("bandmaster", &server.url, &completion_request()).0.expect_err("it does not end");
    assert_eq!(endless.kind(), "counts");
}

#[test]
fn progress_of_a_band_is_no_part_of_its_answer() {
    let progress =
        "data: {\"choices\": [{\"delta\": {\"reasoning_content\": \"Plan: 9 tasks.\"}}]}\n\n".repeat(9);
    let stream = progress
        + "data: {\"choices\": [{\"delta\": {\"content\": \"yes\"}, \"finish_reason\": \"stop\"}]}\n\ndata: [DONE]\n\n";
    let server = FakeServer::start(Script::Body("text/event-stream", stream.leak()));
    let (answer, received) = complete_with("bandmaster", &server.url, &completion_request());
    let answer = answer.expect("nine lines of progress are not nine tokens");
    assert_eq!((answer.text.as_str(), received.as_str(), answer.pieces), ("yes", "yes", 1));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let (answer, _) = complete("http://127.0.0.1:9", &completion_request());
    let error = answer.expect_err("nobody listens on the discard port");
    assert_eq!(error.kind(), "unreachable");
    assert!(error.to_string().contains("127.0.0.1:9") && error.to_string().contains("is the server running"));
}

#[test]
fn urls_are_checked_when_they_are_given() {
    let check = |url: &str, offline: bool, expected: Result<&str, &str>| {
        let made = Endpoint::new(url, "m", None, offline).map_err(|error| error.to_string());
        match expected {
            Ok(base) => assert_eq!(made.expect(url).base(), base),
            Err(says) => assert!(made.expect_err(url).contains(says), "{url}"),
        }
    };
    check("http://127.0.0.1:8080", true, Ok("http://127.0.0.1:8080/v1"));
    check("http://[::1]:8080/", true, Ok("http://[::1]:8080/v1"));
    check("http://localhost:8080/v1/", true, Ok("http://localhost:8080/v1"));
    check("https://example.org/openai/v1", false, Ok("https://example.org/openai/v1"));
    check("https://example.org", true, Err("--offline forbids"));
    check("ftp://example.org", false, Err("neither http nor https"));
    check("http://user:key@127.0.0.1:1", false, Err("OPENAI_API_KEY"));
    check("http://127.0.0.1:1/v1?key=1", false, Err("a query or a fragment"));
    check("127.0.0.1:8080", false, Err("--url 127.0.0.1:8080"));
    check("", false, Err("--url"));
}

//! Addresses of collectors and names of spans. The exported spans are tested in `tests/otel.rs`.

use super::*;

#[test]
fn collectors_are_checked_when_they_are_named() {
    let check = |url: &str, offline: bool, expected: Result<&str, &str>| {
        let made = OtlpEndpoint::new(url, offline);
        match expected {
            Ok(url) => assert_eq!(made.unwrap().url(), url),
            Err(says) => assert!(made.as_ref().is_err_and(|error| error.contains(says)), "{url}: {made:?}"),
        }
    };
    check("http://127.0.0.1:4318", true, Ok("http://127.0.0.1:4318/v1/traces"));
    check("http://[::1]:4318/", true, Ok("http://[::1]:4318/v1/traces"));
    check("http://localhost:4318/v1/traces", true, Ok("http://localhost:4318/v1/traces"));
    check("https://example.org/otlp/", false, Ok("https://example.org/otlp/v1/traces"));
    for elsewhere in ["https://example.org", "http://127.0.0.1.example.org", "http://10.0.0.1:4318"] {
        check(elsewhere, true, Err("--offline forbids it"));
        assert!(OtlpEndpoint::new(elsewhere, false).is_ok());
    }
    check("grpc://127.0.0.1:4317", false, Err("neither http nor https"));
    check("127.0.0.1:4318", false, Err("expected e.g. http://127.0.0.1:4318"));
    check("http://127.0.0.1:1?key=1", false, Err("a query or a fragment"));
    check("", false, Err("expected e.g."));
    let refused = OtlpEndpoint::new("http://me:secret@127.0.0.1:1", false).unwrap_err();
    assert!(refused.contains("OTEL_EXPORTER_OTLP_HEADERS") && !refused.contains("secret"), "{refused}");
}

#[test]
fn spans_are_named_by_method_and_route() {
    assert_eq!(name("POST", Some("/v1/runs/{id}/cancel")), "POST /v1/runs/{id}/cancel");
    assert_eq!(name("GET", None), "GET");
    assert_eq!(name("_OTHER", None), "HTTP");
}

#[test]
fn long_paths_are_cut_between_characters() {
    assert_eq!(truncated("/health"), "/health");
    assert_eq!(truncated(&"/ä".repeat(1000)), "/ä".repeat(128));
}

#[cfg(not(feature = "otel"))]
#[test]
fn a_build_without_it_says_what_to_do() {
    let endpoint = OtlpEndpoint::new("http://127.0.0.1:4318", false).unwrap();
    assert!(SpanExport::start(&endpoint).unwrap_err().contains("--features otel"));
}

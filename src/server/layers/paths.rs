//! Normalizes request paths, so that it does not matter how a client joined its base URL and a route: with or without
//! `/v1`, with trailing or double slashes. Of the routes only their first segments are known here.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::{Parts, PathAndQuery};
use tower::ServiceExt;

/// First segments of routes below `/v1`.
const VERSIONED: [&str; 7] =
    ["chat", "completions", "conversations", "embeddings", "models", "responses", "runs"];
/// First segments of routes outside `/v1`.
const PLAIN: [&str; 11] = [
    "apply-template",
    "detokenize",
    "health",
    "infill",
    "metrics",
    "openapi.json",
    "ping",
    "props",
    "tokenize",
    "tokenizer_info",
    "version",
];

/// Wraps a router so that it also accepts the other spellings of its paths.
pub(super) fn normalize(router: Router) -> Router {
    let handle = move |mut request: Request| {
        if let Some(path) = normalized(request.uri().path()) {
            *request.uri_mut() = with_path(request.uri(), &path);
        }
        router.clone().oneshot(request)
    };
    Router::new().fallback_service(tower::service_fn(handle))
}

/// The normalized path; `None` if it is normalized already.
fn normalized(path: &str) -> Option<String> {
    let mut words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["v1", word, ..] if PLAIN.contains(word) => drop(words.remove(0)),
        [word, ..] if VERSIONED.contains(word) => words.insert(0, "v1"),
        _ => {}
    }
    let found = format!("/{}", words.join("/"));
    (found != path).then_some(found)
}

fn with_path(uri: &Uri, path: &str) -> Uri {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = Parts::from(uri.clone());
    // Always valid, since it consists of segments of a valid path.
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized() {
        let check = |path: &str, expected: &str| {
            assert_eq!(normalized(path).as_deref().unwrap_or(path), expected, "{path}");
        };
        for (given, expected) in [
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/chat/completions", "/v1/chat/completions"),
            ("/v1/chat/completions/", "/v1/chat/completions"),
            ("//v1//chat//completions", "/v1/chat/completions"),
            ("/models", "/v1/models"),
            ("/v1/models/", "/v1/models"),
            ("/models/a/", "/v1/models/a"),
            ("/responses/resp_1/input_items", "/v1/responses/resp_1/input_items"),
            ("/runs/last/events", "/v1/runs/last/events"),
            ("/v1/health", "/health"),
            ("/health/", "/health"),
            ("/v1/tokenize", "/tokenize"),
            ("/", "/"),
            ("//", "/"),
            ("/v1", "/v1"),
            ("/v1/v1/models", "/v1/v1/models"),
            ("/nothing/", "/nothing"),
            ("/chatter", "/chatter"),
            ("/models/%2F..", "/v1/models/%2F.."),
        ] {
            check(given, expected);
        }
    }

    #[test]
    fn the_query_stays() {
        let uri: Uri = "http://localhost:1//models/?a=b&c=%20".parse().unwrap();
        assert_eq!(with_path(&uri, "/v1/models").to_string(), "http://localhost:1/v1/models?a=b&c=%20");
    }
}

//! Server-sent events: what comes is sent as it comes, with a comment now and then while nothing does.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Serialize;

/// So often a client hears that the connection lives.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// A stream of events as an answer.
pub fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let events = events.map(Ok::<Event, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT_EVERY)).into_response();
    // Proxies that gather an answer before they pass it on are told not to.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

/// A value as an event's data.
pub fn data(value: &impl Serialize) -> Event {
    Event::default().data(serde_json::to_string(value).unwrap_or_default())
}

/// The same under a name, which comes first: some clients read line by line.
pub fn named(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(value).unwrap_or_default())
}

/// The end of OpenAI's streams.
pub fn done() -> Event {
    Event::default().data("[DONE]")
}

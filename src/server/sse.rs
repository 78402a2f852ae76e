//! Server-sent events: a stream begins within a second, whatever must be loaded before; what comes is sent as it comes,
//! with a comment now and then while nothing does. What the events tell is not known here.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;

use super::App;
use super::error::ApiError;
use super::layers::Notes;
use super::track::CUT;

/// A stream begins after this long at the latest.
const SILENCE_MAX: Duration = Duration::from_millis(700);
/// So often a client hears that the connection lives.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// A stream of events as an answer: `opening`, then what `write` makes of what `asked` gives. Where that takes long, as it
/// does when a model must be loaded first, the stream begins before it is there; an error then comes within the stream, as
/// `write` tells it.
///
/// # Errors
/// Of `asked`, where they come before the stream has begun.
pub async fn begin<A, S>(
    app: &App,
    notes: Notes,
    opening: Vec<Event>,
    asked: impl Future<Output = Result<A, ApiError>> + Send + 'static,
    write: impl FnOnce(Result<A, ApiError>) -> S + Send + 'static,
) -> Result<Response, ApiError>
where
    S: Stream<Item = Event> + Send + 'static,
{
    let opening = stream::iter(opening);
    let mut asked = Box::pin(asked);
    if let Ok(asked) = tokio::time::timeout(SILENCE_MAX, &mut asked).await {
        return Ok(respond(opening.chain(write(Ok(asked?)))));
    }
    let (metrics, cut) = (app.metrics.clone(), app.ending.clone().cut());
    let late = async move {
        let asked = tokio::select! {
            asked = asked => asked,
            () = cut => Err(ApiError::unavailable(CUT).code("cut")),
        };
        if let Err(error) = &asked {
            // The status has said that all is well: nobody else counts it.
            let kind = error.code.unwrap_or(error.kind);
            metrics.error("", kind);
            notes.broke(kind);
        }
        write(asked)
    };
    Ok(respond(opening.chain(stream::once(late).flatten())))
}

/// A stream of events as an answer.
pub fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
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

/// An event that is none to clients: the first bytes of a stream that has nothing to tell yet.
pub fn comment() -> Event {
    Event::default().comment("")
}

/// The end of a completion's stream that broke.
pub fn failed(error: &ApiError) -> [Event; 2] {
    [data(&error.object()), done()]
}

/// The end of OpenAI's streams.
pub fn done() -> Event {
    Event::default().data("[DONE]")
}

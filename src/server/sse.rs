//! Server-sent events. A stream begins within a second, even if a model must be loaded first, and sends a comment now
//! and then while there are no events. The content of the events is not known here.

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

/// A stream begins after this time at the latest.
const SILENCE_MAX: Duration = Duration::from_millis(700);
/// How often an idle stream sends a comment, which keeps the connection open.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// A response that streams `opening` and then the events that `write` makes of the outcome of `asked`. If `asked` takes
/// long, for instance because a model must be loaded, the stream begins without it; an error of `asked` is then sent
/// within the stream, as `write` formats it.
///
/// # Errors
/// Those of `asked`, if they occur before the stream has begun.
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
            // The status was 200, so no layer counts this error.
            let kind = error.code.unwrap_or(error.kind);
            metrics.error("", kind);
            notes.broke(kind);
        }
        write(asked)
    };
    Ok(respond(opening.chain(stream::once(late).flatten())))
}

pub fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(Ok::<Event, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT_EVERY)).into_response();
    // Asks proxies such as nginx not to buffer the response.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

/// An event with `value` as JSON.
pub fn data(value: &impl Serialize) -> Event {
    Event::default().data(serde_json::to_string(value).unwrap_or_default())
}

/// A named event with `value` as JSON. The name is sent first, because some clients parse line by line.
pub fn named(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(value).unwrap_or_default())
}

/// An empty comment, which clients ignore: the first bytes of a stream that has no event yet.
pub fn comment() -> Event {
    Event::default().comment("")
}

/// The last events of a completion's stream that failed.
pub fn failed(error: &ApiError) -> [Event; 2] {
    [data(&error.object()), done()]
}

/// The event that ends OpenAI's streams.
pub fn done() -> Event {
    Event::default().data("[DONE]")
}

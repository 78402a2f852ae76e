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
use super::answer::{Answers, Update};
use super::error::ApiError;
use super::layers::RequestContext;
use super::tracker::SHUTDOWN_MESSAGE;

/// A stream begins after this time at the latest.
const SILENCE_MAX: Duration = Duration::from_millis(700);
/// How often an idle stream sends a comment, which keeps the connection open.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// How a route writes the events of a streamed answer.
pub(crate) trait EventWriter: Send + 'static {
    /// The events for an update of choice `index`. Failures go to [`EventWriter::fail`] instead.
    fn update(&mut self, index: u32, update: Update) -> impl Future<Output = Vec<Event>> + Send;

    /// The last events, when all choices are complete.
    fn finish(&mut self) -> Vec<Event>;

    /// The last events of a stream that failed.
    fn fail(&mut self, error: &ApiError) -> Vec<Event>;
}

/// A response that streams `opening` and then the events that a route's writer makes of the answers. If `started` takes
/// long, for instance because a model must be loaded, the stream begins without it; an error of `started` then becomes
/// the events that `failed` makes of it.
///
/// # Errors
/// Those of `started`, if they occur before the stream has begun.
pub(crate) async fn stream_answers<W: EventWriter>(
    app: &App,
    context: RequestContext,
    opening: Vec<Event>,
    started: impl Future<Output = Result<(Answers, W), ApiError>> + Send + 'static,
    failed: impl FnOnce(&ApiError) -> Vec<Event> + Send + 'static,
) -> Result<Response, ApiError> {
    let opening = stream::iter(opening);
    let mut started = Box::pin(started);
    if let Ok(started) = tokio::time::timeout(SILENCE_MAX, &mut started).await {
        let (answers, writer) = started?;
        return Ok(respond(opening.chain(events(answers, writer))));
    }
    let (metrics, deadline) = (app.metrics.clone(), app.shutdown.clone().deadline());
    let late = async move {
        let started = tokio::select! {
            started = started => started,
            () = deadline => Err(ApiError::unavailable(SHUTDOWN_MESSAGE).code("cut")),
        };
        match started {
            Ok((answers, writer)) => events(answers, writer).boxed(),
            Err(error) => {
                // The status was 200, so no layer counts this error.
                let kind = error.code.unwrap_or(error.kind);
                metrics.error("", kind);
                context.set_stream_error(kind);
                stream::iter(failed(&error)).boxed()
            }
        }
    };
    Ok(respond(opening.chain(stream::once(late).flatten())))
}

/// Writes updates until all choices are complete or one has failed.
fn events<W: EventWriter>(answers: Answers, writer: W) -> impl Stream<Item = Event> + Send + 'static {
    let next = |state: Option<(Answers, W)>| async move {
        let (mut answers, mut writer) = state?;
        Some(match answers.next().await {
            Some((_, Update::Failed(error))) => (writer.fail(&error), None),
            Some((index, update)) => (writer.update(index, update).await, Some((answers, writer))),
            None => (writer.finish(), None),
        })
    };
    stream::unfold(Some((answers, writer)), next).flat_map(stream::iter)
}

pub(crate) fn respond(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(Ok::<Event, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT_EVERY)).into_response();
    // Asks proxies such as nginx not to buffer the response.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    response
}

/// An event with `value` as JSON.
pub(crate) fn data(value: &impl Serialize) -> Event {
    Event::default().data(serde_json::to_string(value).unwrap_or_default())
}

/// A named event with `value` as JSON. The name is sent first, because some clients parse line by line.
pub(crate) fn named(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(value).unwrap_or_default())
}

/// An empty comment, which clients ignore: the first bytes of a stream that has no event yet.
pub(crate) fn comment() -> Event {
    Event::default().comment("")
}

/// The last events of a completion's stream that failed.
pub(crate) fn failed(error: &ApiError) -> Vec<Event> {
    vec![data(&error.object()), done()]
}

/// The event that ends OpenAI's streams.
pub(crate) fn done() -> Event {
    Event::default().data("[DONE]")
}

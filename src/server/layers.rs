//! The middleware around every route: request ids, the access log, metrics, API keys, checks of host and origin, and
//! errors in OpenAI's format whatever happens.
//!
//! What the routes do is not known here.

mod browser;
mod observe;
mod paths;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};

pub use browser::{Hosts, Origins};
pub use observe::Notes;

use super::auth::{Admitted, Denied, Keys};
use super::error::{ApiError, INVALID_REQUEST};
use super::metrics::Metrics;
use super::serve::{Crowded, Guest};

/// The only route that needs no key, so that monitoring needs none.
const OPEN_ROUTE: &str = "/health";
/// How long a request on a connection beyond the limit waits for a place.
const PLACE_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Layers {
    pub metrics: Arc<Metrics>,
    /// The accepted API keys; `None` lets everybody in.
    pub keys: Option<Arc<Keys>>,
    /// Web pages that may read answers (CORS).
    pub origins: Arc<Origins>,
    /// Host names under which requests are accepted.
    pub hosts: Arc<Hosts>,
}

/// Puts the layers around `router`, with error responses for unknown routes and methods. A request passes them in this
/// order: normalizing the path; id, log and metrics; CORS; catching panics; host check; connection limit; API key.
///
/// A request's extensions then hold its [`Notes`], in which its handler records the model and the tokens.
pub fn around(router: Router, layers: &Layers) -> Router {
    let observed = Arc::new(observe::Observer::new(Arc::clone(&layers.metrics)));
    let router = router.fallback(unknown_route).method_not_allowed_fallback(wrong_method);
    let router = match &layers.keys {
        Some(keys) => router.layer(from_fn_with_state(Arc::clone(keys), authenticate)),
        None => router,
    };
    let router = router
        .layer(from_fn(seat))
        .layer(from_fn_with_state(Arc::clone(&layers.hosts), browser::known_host))
        .layer(from_fn(recover))
        .layer(from_fn_with_state(Arc::clone(&layers.origins), browser::cors))
        .layer(from_fn_with_state(observed, observe::observe));
    paths::forgiving(router)
}

async fn unknown_route(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    ApiError::not_found(format!("there is no route {method} {path}: /openapi.json lists all routes"))
        .code("unknown_url")
}

async fn wrong_method(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    let message =
        format!("{path} does not allow {method}: the `Allow` header lists the methods that it allows");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST, message).code("method_not_allowed")
}

/// Turns a panic in a handler into a 500 response, so that it affects only that request.
async fn recover(request: Request, next: Next) -> Response {
    let mut answer = std::pin::pin!(next.run(request));
    let answered = std::future::poll_fn(|context| {
        // After a panic the handler's future is dropped and never polled again, so its broken state is not observed.
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    });
    answered.await.unwrap_or_else(|| {
        let message = "internal error: the server's log has the details; other requests are not affected";
        ApiError::internal(message).code("internal_error").into_response()
    })
}

/// Makes requests on connections beyond the limit wait for a place. Health checks are answered without waiting.
async fn seat(request: Request, next: Next) -> Response {
    let guest =
        request.extensions().get::<Arc<Guest>>().filter(|_| request.uri().path() != OPEN_ROUTE).cloned();
    let seated = match guest {
        Some(guest) => guest.seated(PLACE_TIME_MAX).await,
        None => Ok(()),
    };
    match seated {
        Ok(()) => next.run(request).await,
        Err(Crowded::Server(max)) => ApiError::unavailable(format!(
            "all {max} connections are busy: try again later (--max-connections of `bandmaster serve`)"
        ))
        .code("too_many_connections")
        .into_response(),
        Err(Crowded::Address(max)) => ApiError::too_many(
            format!(
                "{max} connections of this address are busy: try again later (--max-connections-per-address of `bandmaster serve`)"
            ),
            Duration::from_secs(1),
        )
        .code("too_many_connections")
        .into_response(),
    }
}

/// Checks the API key. The request counts as running for its key until the last byte of its response is sent.
async fn authenticate(State(keys): State<Arc<Keys>>, request: Request, next: Next) -> Response {
    if request.uri().path() == OPEN_ROUTE {
        return next.run(request).await;
    }
    let guest = request.extensions().get::<Arc<Guest>>().cloned();
    match admit(&keys, guest.as_deref(), Keys::presented(request.headers())).await {
        Ok(admitted) => {
            if let Some(notes) = request.extensions().get::<Notes>() {
                notes.admit(admitted);
            }
            next.run(request).await
        }
        Err(denied) => ApiError::from(denied).into_response(),
    }
}

/// Checks a key; if many wrong keys came from the same address, only after a delay.
async fn admit(keys: &Keys, guest: Option<&Guest>, presented: Option<&str>) -> Result<Admitted, Denied> {
    let Some(guest) = guest.filter(|_| presented.is_some()) else { return keys.admit(presented) };
    if !guest.is_trusted()
        && let Some(waiting) = keys.arrive(guest.who())?
    {
        guest.waits(true);
        tokio::time::sleep(waiting.wait).await;
        guest.waits(false);
    }
    let admitted = keys.admit(presented);
    let is_wrong = matches!(admitted, Err(Denied::Wrong));
    guest.trust(!is_wrong);
    if is_wrong {
        keys.guessed(guest.who());
    }
    admitted
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::Missing | Denied::Wrong => Self::unauthorized(message),
            Denied::TooManyWrong { retry_after } => {
                Self::too_many(message, retry_after).code("too_many_wrong_keys")
            }
            Denied::TooManyRequests { retry_after, .. }
            | Denied::TooManyTokens { retry_after, .. }
            | Denied::TooManyAtOnce { retry_after, .. } => Self::too_many(message, retry_after),
        }
    }
}

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
pub use observe::RequestContext;

use super::auth::{ApiKeys, AuthError, Permit};
use super::error::{ApiError, INVALID_REQUEST};
use super::metrics::Metrics;
use super::serve::{Connection, ConnectionLimit};

/// The only route that needs no key, so that monitoring needs none.
const HEALTH_ROUTE: &str = "/health";
/// How long a request on a connection beyond the limit waits for a slot.
const SLOT_TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Layers {
    pub metrics: Arc<Metrics>,
    /// The accepted API keys; `None` lets everybody in.
    pub keys: Option<Arc<ApiKeys>>,
    /// Web pages that may read answers (CORS).
    pub origins: Arc<Origins>,
    /// Host names under which requests are accepted.
    pub hosts: Arc<Hosts>,
}

/// Puts the layers around `router`, with error responses for unknown routes and methods. A request passes them in this
/// order: normalizing the path; id, log and metrics; CORS; catching panics; host check; connection limit; API key.
///
/// A request's extensions then hold its [`RequestContext`], in which its handler records the model and the tokens.
pub fn with_layers(router: Router, layers: &Layers) -> Router {
    let observer = Arc::new(observe::Observer::new(Arc::clone(&layers.metrics)));
    let router = router.fallback(unknown_route).method_not_allowed_fallback(wrong_method);
    let router = match &layers.keys {
        Some(keys) => router.layer(from_fn_with_state(Arc::clone(keys), authenticate)),
        None => router,
    };
    let router = router
        .layer(from_fn(wait_for_slot))
        .layer(from_fn_with_state(Arc::clone(&layers.hosts), browser::known_host))
        .layer(from_fn(catch_panics))
        .layer(from_fn_with_state(Arc::clone(&layers.origins), browser::cors))
        .layer(from_fn_with_state(observer, observe::observe));
    paths::normalize(router)
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
async fn catch_panics(request: Request, next: Next) -> Response {
    let mut response = std::pin::pin!(next.run(request));
    let caught = std::future::poll_fn(|context| {
        // After a panic the handler's future is dropped and never polled again, so its broken state is not observed.
        match catch_unwind(AssertUnwindSafe(|| response.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    });
    caught.await.unwrap_or_else(|| {
        let message = "internal error: the server's log has the details; other requests are not affected";
        ApiError::internal(message).code("internal_error").into_response()
    })
}

/// Makes requests on connections beyond the limit wait for a slot. Health checks are answered without waiting.
async fn wait_for_slot(request: Request, next: Next) -> Response {
    let connection = request
        .extensions()
        .get::<Arc<Connection>>()
        .filter(|_| request.uri().path() != HEALTH_ROUTE)
        .cloned();
    let slot = match connection {
        Some(connection) => connection.wait_for_slot(SLOT_TIME_MAX).await,
        None => Ok(()),
    };
    match slot {
        Ok(()) => next.run(request).await,
        Err(ConnectionLimit::Server(max)) => ApiError::unavailable(format!(
            "all {max} connections are busy: try again later (--max-connections of `bandmaster serve`)"
        ))
        .code("too_many_connections")
        .into_response(),
        Err(ConnectionLimit::Address(max)) => ApiError::too_many(
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
async fn authenticate(State(keys): State<Arc<ApiKeys>>, request: Request, next: Next) -> Response {
    if request.uri().path() == HEALTH_ROUTE {
        return next.run(request).await;
    }
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    match admit(&keys, connection.as_deref(), ApiKeys::presented(request.headers())).await {
        Ok(permit) => {
            if let Some(context) = request.extensions().get::<RequestContext>() {
                context.set_permit(permit);
            }
            next.run(request).await
        }
        Err(error) => ApiError::from(error).into_response(),
    }
}

/// Checks a key; if many wrong keys came from the same address, only after a delay.
async fn admit(
    keys: &ApiKeys,
    connection: Option<&Connection>,
    presented: Option<&str>,
) -> Result<Permit, AuthError> {
    let Some(connection) = connection.filter(|_| presented.is_some()) else { return keys.admit(presented) };
    if !connection.is_trusted()
        && let Some(delay) = keys.delay_for(connection.client())?
    {
        connection.set_waiting(true);
        tokio::time::sleep(delay.time).await;
        connection.set_waiting(false);
    }
    let permit = keys.admit(presented);
    let is_wrong = matches!(permit, Err(AuthError::Wrong));
    connection.trust(!is_wrong);
    if is_wrong {
        keys.record_wrong_key(connection.client());
    }
    permit
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::Missing | AuthError::Wrong => Self::unauthorized(message),
            AuthError::TooManyWrong { retry_after } => {
                Self::too_many(message, retry_after).code("too_many_wrong_keys")
            }
            AuthError::TooManyRequests { retry_after, .. }
            | AuthError::TooManyTokens { retry_after, .. }
            | AuthError::TooManyAtOnce { retry_after, .. } => Self::too_many(message, retry_after),
        }
    }
}

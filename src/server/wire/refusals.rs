//! Error responses that several routes have, for the description at `/openapi.json`. When one is sent, and with which
//! message, is up to the route.
#![expect(dead_code, reason = "the responses are described here and built as `ApiError`")]

use utoipa::IntoResponses;

use crate::error::ErrorResponse;

/// Errors of routes that read a body.
#[derive(IntoResponses)]
pub(crate) enum BadBody {
    /// The request is invalid or not supported
    #[response(status = 400)]
    Invalid(ErrorResponse),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorResponse),
    /// The body is not sent as JSON
    #[response(status = 415)]
    NoJson(ErrorResponse),
}

/// Errors of routes that read a query.
#[derive(IntoResponses)]
pub(crate) enum BadQuery {
    /// The query is invalid or not supported
    #[response(status = 400)]
    Invalid(ErrorResponse),
}

/// Errors of routes that compute.
#[derive(IntoResponses)]
pub(crate) enum Busy {
    /// Too many requests are waiting
    #[response(status = 429)]
    TooMany(ErrorResponse),
    /// The server is loading, shutting down, or out of memory for requests
    #[response(status = 503)]
    Unavailable(ErrorResponse),
}

/// Errors of routes that look for a model.
#[derive(IntoResponses)]
pub(crate) enum NoModel {
    /// There is no such model
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Errors of routes that look for a response.
#[derive(IntoResponses)]
pub(crate) enum NoResponse {
    /// There is no such response
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Errors of routes that look for a conversation.
#[derive(IntoResponses)]
pub(crate) enum NoConversation {
    /// There is no such conversation
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Errors of routes that look for an item of a conversation.
#[derive(IntoResponses)]
pub(crate) enum NoItem {
    /// There is no such conversation or item
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Errors of routes that look for a run.
#[derive(IntoResponses)]
pub(crate) enum NoRun {
    /// There is no such run
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

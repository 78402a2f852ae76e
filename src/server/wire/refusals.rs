//! What a route may be refused with, for the description at `/openapi.json`. When it is, and what is said then, is the
//! route's.

use utoipa::IntoResponses;

use crate::server::error::ErrorResponse;

/// Of routes that read a body.
#[derive(IntoResponses)]
pub enum BadBody {
    /// What was sent can't be done
    #[response(status = 400)]
    Invalid(ErrorResponse),
    /// The body is too large
    #[response(status = 413)]
    TooLarge(ErrorResponse),
    /// The body is no JSON
    #[response(status = 415)]
    NoJson(ErrorResponse),
}

/// Of routes that read a query.
#[derive(IntoResponses)]
pub enum BadQuery {
    /// What was asked can't be done
    #[response(status = 400)]
    Invalid(ErrorResponse),
}

/// Of routes that compute.
#[derive(IntoResponses)]
pub enum Busy {
    /// Too many wait
    #[response(status = 429)]
    TooMany(ErrorResponse),
    /// The server is loading or ending
    #[response(status = 503)]
    Unavailable(ErrorResponse),
}

/// Of routes that look for a model.
#[derive(IntoResponses)]
pub enum NoModel {
    /// No such model
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Of routes that look for an answer.
#[derive(IntoResponses)]
pub enum NoAnswer {
    /// No such answer
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Of routes that look for a conversation.
#[derive(IntoResponses)]
pub enum NoConversation {
    /// No such conversation
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Of routes that look for an item of a conversation.
#[derive(IntoResponses)]
pub enum NoItem {
    /// No such conversation or item
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

/// Of routes that look for a run.
#[derive(IntoResponses)]
pub enum NoRun {
    /// No such run
    #[response(status = 404)]
    NotFound(ErrorResponse),
}

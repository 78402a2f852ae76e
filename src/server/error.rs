//! Errors in OpenAI's format: `{"error": {"message", "type", "param", "code"}}` with a status.
//!
//! The messages come from the code that found the error.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::journal::JournalError;
use crate::text::{GrammarError, Rejected, SessionError, TemplateError};

/// `type` of errors that the client can fix.
pub const INVALID_REQUEST: &str = "invalid_request_error";
/// `type` of errors from rate limits and full queues.
pub const RATE_LIMIT: &str = "rate_limit_error";
/// `type` of errors that are not the client's fault.
pub const SERVER_ERROR: &str = "server_error";

/// A response that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    /// Sent as `type`.
    pub kind: &'static str,
    /// Says what is wrong, where, and what to do about it.
    pub message: String,
    /// The field of the request that is wrong.
    pub param: Option<String>,
    /// Tells programs which error this is.
    pub code: Option<&'static str>,
    /// Sent as `retry-after`, in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
}

/// The body of an error response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorResponse {
    /// The error.
    pub error: ErrorObject,
}

/// Describes an error for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorObject {
    /// Says what is wrong, where, and what to do about it.
    pub message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field of the request that is wrong, as a path such as `messages[0].content`; null if there is none.
    #[schema(required)]
    pub param: Option<String>,
    /// Identifies the error for programs, e.g. `model_not_found`; null for errors that `type` describes well enough.
    #[schema(required)]
    pub code: Option<&'static str>,
}

/// How long a client should wait when the queue is full or the server is not ready.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Put into the extensions of an error response for the metrics: its `code`, or its `type` if it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorKind(pub &'static str);

impl ApiError {
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, retry_after: None }
    }

    /// 400: the value of `param` is invalid.
    #[must_use]
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message);
        Self { param: Some(param.into()), ..error }
    }

    /// 400: the request as a whole is invalid.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
    }

    /// 400: `param` asks for something that is not supported and that would change the answer if it were ignored.
    #[must_use]
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(param, message).code("unsupported_parameter")
    }

    #[must_use]
    pub fn no_model(name: &str, there: &[String]) -> Self {
        let error = Self::not_found(format!("no model {name:?}; there are {}", there.join(", ")));
        Self { param: Some("model".into()), ..error.code("model_not_found") }
    }

    /// 503 with `retry-after`: the server can't answer now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, message);
        Self { retry_after: Some(RETRY_AFTER), ..error }
    }

    /// For a job that ends early because its client has left; nobody receives it.
    #[must_use]
    pub fn left() -> Self {
        Self::unavailable("the client left")
    }

    /// Converts a session's error. `prompt` and `output` name the fields that set the prompt and the output's format.
    #[must_use]
    pub fn of_session(error: &SessionError, prompt: &str, output: &str) -> Self {
        let message = error.to_string();
        match error {
            SessionError::Ended
            | SessionError::Template(TemplateError::Ended)
            | SessionError::Grammar(GrammarError::Ended) => ApiError::left(),
            SessionError::Template(TemplateError::TooLong { .. }) => {
                Self::invalid(prompt, message).code("context_length_exceeded")
            }
            SessionError::Template(_) => Self::invalid(prompt, message),
            SessionError::Grammar(GrammarError::NoEndToken | GrammarError::Vocabulary(_)) => {
                Self::internal(message)
            }
            SessionError::Grammar(GrammarError::Busy) => {
                Self::too_many(message, RETRY_AFTER).code("queue_full")
            }
            SessionError::Grammar(_) => Self::invalid(output, message),
            SessionError::Rejected(rejected) => Self::of_rejected(rejected, prompt),
            SessionError::Failed(reason) => Self::of_failure(reason, output),
            _ => Self::internal(message),
        }
    }

    /// Converts the engine's refusal of a request. `prompt` names the field that set the prompt.
    #[must_use]
    pub fn of_rejected(rejected: &Rejected, prompt: &str) -> Self {
        let message = rejected.to_string();
        match rejected {
            Rejected::QueueFull { .. } => Self::too_many(message, RETRY_AFTER).code("queue_full"),
            Rejected::PromptTooLong { .. } => Self::invalid(prompt, message).code("context_length_exceeded"),
            Rejected::Invalid(_) => {
                // The prompt's tokens were checked before, so the unknown token is in `logit_bias`.
                if message.starts_with("token ") {
                    return Self::invalid("logit_bias", format!("logit_bias: {message}"));
                }
                // "temperature is -1: it must be 0 or more"
                let field =
                    message.split(' ').next().filter(|word| word.contains('_') || *word == "temperature");
                Self::invalid(field.unwrap_or(prompt).to_owned(), message)
            }
            Rejected::Ended(_) | Rejected::UnknownModel(_) => Self::internal(message),
            Rejected::Stopped => Self::unavailable("the server is ending"),
        }
    }

    /// Converts the failure of a generation. If a grammar could not continue, the requested format is at fault.
    #[must_use]
    pub fn of_failure(reason: &str, output: &str) -> Self {
        if reason.starts_with("logit_bias") {
            return Self::invalid("logit_bias", reason);
        }
        if reason.starts_with("grammar") {
            return Self::invalid(
                output,
                format!("the output can't be held to what was asked for: {reason}"),
            );
        }
        Self::internal(format!("generation failed: {reason}"))
    }

    #[must_use]
    pub fn object(&self) -> ErrorResponse {
        ErrorResponse {
            error: ErrorObject {
                message: self.message.clone(),
                kind: self.kind,
                param: self.param.clone(),
                code: self.code,
            },
        }
    }

    /// 401: the API key is missing or wrong.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, INVALID_REQUEST, message).code("invalid_api_key")
    }

    /// 403: the request comes from a page or host name that is not allowed.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, INVALID_REQUEST, message).code("forbidden")
    }

    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, message)
    }

    /// 429: too many requests.
    #[must_use]
    pub fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, message).code("rate_limit_exceeded");
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 500: a fault of the server.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR, message)
    }

    #[must_use]
    pub fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.object())).into_response();
        response.extensions_mut().insert(ErrorKind(self.code.unwrap_or(self.kind)));
        if let Some(wait) = self.retry_after {
            let seconds = (wait.as_secs_f64().ceil() as u64).max(1);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<JournalError> for ApiError {
    /// Unknown ids are the client's error (404), temporary failures of the record are 503, all others 500.
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::UnknownRun { id } => {
                Self::not_found(format!("no run {id}; GET /v1/runs lists those there are"))
            }
            JournalError::Ambiguous { .. } => Self::not_found(error.to_string()),
            error if error.may_pass() => Self::unavailable(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn check(error: ApiError, headers: &[(&str, &str)], expected: serde_json::Value) {
        let status = error.status;
        let response = error.into_response();
        assert_eq!(response.status(), status);
        for (name, value) in headers {
            assert_eq!(response.headers()[*name], *value);
        }
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body, json!({"error": expected}));
    }

    #[tokio::test]
    async fn errors_are_openais_object_with_all_four_fields() {
        check(
            ApiError::invalid("temperature", "`temperature` is -1: from 0 to 2"),
            &[("content-type", "application/json")],
            json!({"message": "`temperature` is -1: from 0 to 2", "type": "invalid_request_error",
                   "param": "temperature", "code": null}),
        )
        .await;
        check(
            ApiError::too_many("the queue is full", Duration::from_millis(1200)),
            &[("retry-after", "2")],
            json!({"message": "the queue is full", "type": "rate_limit_error", "param": null,
                   "code": "rate_limit_exceeded"}),
        )
        .await;
        check(
            ApiError::unauthorized("no key"),
            &[("www-authenticate", "Bearer")],
            json!({"message": "no key", "type": "invalid_request_error", "param": null,
                   "code": "invalid_api_key"}),
        )
        .await;
    }
}

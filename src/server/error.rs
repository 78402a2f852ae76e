//! An error as OpenAI's clients read it: `{"error": {"message", "type", "param", "code"}}` with the fitting status.
//!
//! What went wrong is said by whoever noticed it.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::journal::JournalError;
use crate::text::{GrammarError, Rejected, SessionError, TemplateError};

/// `type` of what the client can mend.
pub const INVALID_REQUEST: &str = "invalid_request_error";
/// `type` of what comes too fast or too often.
pub const RATE_LIMIT: &str = "rate_limit_error";
/// `type` of what is not the client's fault.
pub const SERVER_ERROR: &str = "server_error";

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status line.
    pub status: StatusCode,
    /// OpenAI's `type`.
    pub kind: &'static str,
    /// What, where and what now.
    pub message: String,
    /// The field that is wrong, as the request spells it.
    pub param: Option<String>,
    /// What a program tells errors apart by.
    pub code: Option<&'static str>,
    /// When asking again makes sense; told in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
}

/// The error as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorResponse {
    /// What went wrong.
    pub error: ErrorObject,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorObject {
    /// What, where and what now.
    pub message: String,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field that is wrong, as a path: `messages[0].content`.
    #[schema(required)]
    pub param: Option<String>,
    /// What a program tells errors apart by.
    #[schema(required)]
    pub code: Option<&'static str>,
}

/// How long a client should wait when the queue is full, or the server not ready.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Left in the extensions of an error's response for the metrics: its `code`, or its `type` where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorKind(pub &'static str);

impl ApiError {
    /// An error with a message and nothing else.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, retry_after: None }
    }

    /// 400: `param` can't be what it is.
    #[must_use]
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message);
        Self { param: Some(param.into()), ..error }
    }

    /// 400: what was sent is not to be read at all.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
    }

    /// 400: it would change the answer, and isn't there.
    #[must_use]
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(param, message).code("unsupported_parameter")
    }

    /// 404: no such model.
    #[must_use]
    pub fn no_model(name: &str, there: &[String]) -> Self {
        let error = Self::not_found(format!("no model {name:?}; there are {}", there.join(", ")));
        Self { param: Some("model".into()), ..error.code("model_not_found") }
    }

    /// 503: later.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, SERVER_ERROR, message);
        Self { retry_after: Some(RETRY_AFTER), ..error }
    }

    /// For a job that ends early; nobody is there to hear it.
    #[must_use]
    pub fn left() -> Self {
        Self::unavailable("the client left")
    }

    /// What a model's session says; `prompt` and `output` name the fields that made the prompt and shape the answer.
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

    /// What the engine says of a request.
    #[must_use]
    pub fn of_rejected(rejected: &Rejected, prompt: &str) -> Self {
        let message = rejected.to_string();
        match rejected {
            Rejected::QueueFull { .. } => Self::too_many(message, RETRY_AFTER).code("queue_full"),
            Rejected::PromptTooLong { .. } => Self::invalid(prompt, message).code("context_length_exceeded"),
            Rejected::Invalid(_) => {
                // The prompt's tokens were made or checked before.
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

    /// A generation that broke: where a grammar could not go on, that is the fault of what was asked for.
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

    /// The object that is sent.
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

    /// 401: no key, or a wrong one.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, INVALID_REQUEST, message).code("invalid_api_key")
    }

    /// 403: not from there.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, INVALID_REQUEST, message).code("forbidden")
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, message)
    }

    /// 429: too much at a time, or too often.
    #[must_use]
    pub fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, message).code("rate_limit_exceeded");
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 500: a mistake of this program.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, SERVER_ERROR, message)
    }

    /// The same with a `code`.
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
    /// The record's errors are not the client's fault, but for what isn't there. What may pass is worth another try.
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

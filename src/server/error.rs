//! Errors in OpenAI's format: `{"error": {"message", "type", "param", "code"}}` with a status.
//!
//! The messages come from the code that found the error.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bandmaster_journal::JournalError;
use bandmaster_text::{Failure, GrammarError, Rejected, SessionError, TemplateError};
use serde::Serialize;
use utoipa::ToSchema;

/// `type` of errors that the client can fix.
pub(crate) const INVALID_REQUEST: &str = "invalid_request_error";
/// `type` of errors from rate limits and full queues.
pub(crate) const RATE_LIMIT: &str = "rate_limit_error";
/// `type` of errors that are not the client's fault.
pub(crate) const SERVER_ERROR: &str = "server_error";

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
pub(crate) struct ErrorKind(pub &'static str);

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
    pub fn no_model(name: &str, available: &[String]) -> Self {
        let error = Self::not_found(format!("no model {name:?}; available models: {}", available.join(", ")));
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
    pub fn client_left() -> Self {
        Self::unavailable("the client left")
    }

    /// Converts a session's error. `prompt` and `output` name the fields that set the prompt and the output's format.
    #[must_use]
    pub fn of_session(error: &SessionError, prompt: &str, output: &str) -> Self {
        let message = error.to_string();
        match error {
            SessionError::Cancelled
            | SessionError::Template(TemplateError::Cancelled)
            | SessionError::Grammar(GrammarError::Cancelled) => ApiError::client_left(),
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
            Rejected::EmptyPrompt | Rejected::UnknownPromptToken { .. } => Self::invalid(prompt, message),
            Rejected::UnknownBiasToken { .. } | Rejected::Bias { .. } => Self::invalid("logit_bias", message),
            Rejected::OutOfRange { field, .. } => Self::invalid(*field, message),
            Rejected::UnknownModel(_) => Self::internal(message),
            Rejected::Stopped => Self::unavailable("the server is shutting down"),
        }
    }

    /// Converts the failure of a generation. If a grammar could not continue, the requested format is at fault.
    #[must_use]
    pub fn of_failure(failure: &Failure, output: &str) -> Self {
        match failure {
            Failure::LogitBias => Self::invalid("logit_bias", failure.to_string()),
            Failure::Grammar(_) | Failure::GrammarPanicked(_) => {
                Self::invalid(output, format!("the output can't be constrained as requested: {failure}"))
            }
            Failure::NoFiniteLogit
            | Failure::Forward { .. }
            | Failure::ModelPanicked { .. }
            | Failure::Load { .. }
            | Failure::Rejected(_)
            | Failure::Stopped => Self::internal(format!("generation failed: {failure}")),
        }
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

    /// 409: what is asked for can't be done in the present state.
    #[must_use]
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, INVALID_REQUEST, message)
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
                Self::not_found(format!("no run {id}; GET /v1/runs lists all runs"))
            }
            JournalError::Ambiguous { .. } => Self::not_found(error.to_string()),
            JournalError::GoesOn { .. }
            | JournalError::InProgress { .. }
            | JournalError::HasGoneOn { .. } => Self::conflict(error.to_string()),
            error if error.may_pass() => Self::unavailable(error.to_string()),
            _ => Self::internal(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use bandmaster_text::ConstraintError;

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

    /// The error must have this status, field, code and message.
    fn is(error: &ApiError, status: u16, param: Option<&str>, code: Option<&str>, message: &str) {
        let found = (error.status.as_u16(), error.param.as_deref(), error.code, error.message.as_str());
        assert_eq!(found, (status, param, code, message));
    }

    #[test]
    fn every_refusal_of_the_engine_has_its_status_field_and_code() {
        let check = |rejected: Rejected, status, param, code, message: &str| {
            is(&ApiError::of_rejected(&rejected, "messages"), status, param, code, message);
            let session = SessionError::Rejected(rejected);
            is(&ApiError::of_session(&session, "messages", "format"), status, param, code, message);
        };
        let (prompt, bias) = (Some("messages"), Some("logit_bias"));
        let full = "the queue is full (3 waiting): try again later or raise --max-queue";
        check(Rejected::QueueFull { waiting: 3 }, 429, None, Some("queue_full"), full);
        let long = Rejected::PromptTooLong { prompt_tokens: 9, context_tokens: 8, pool_tokens: 7 };
        let said = "9 prompt tokens and one generated token do not fit: the model's context is 8 tokens, \
                    the cache holds 7: shorten the input or raise --context-tokens or --memory";
        check(long, 400, prompt, Some("context_length_exceeded"), said);
        check(Rejected::EmptyPrompt, 400, prompt, None, "the prompt has no tokens");
        let unknown = Rejected::UnknownPromptToken { token: 9, vocab: 8 };
        check(unknown, 400, prompt, None, "token 9 is outside the model's vocabulary of 8");
        let unknown = Rejected::UnknownBiasToken { token: 9, vocab: 8 };
        check(unknown, 400, bias, None, "logit_bias: token 9 is outside the model's vocabulary of 8");
        let wrong = Rejected::Bias { token: 9, bias: f32::NAN };
        check(wrong, 400, bias, None, "logit_bias of token 9 is NaN: it must be a number");
        check(Rejected::Stopped, 503, None, None, "the server is shutting down");
        check(Rejected::UnknownModel(3), 500, None, None, "no model with id 3 is loaded");
    }

    #[test]
    fn a_sampling_parameter_out_of_range_is_named() {
        use bandmaster_text::Sampling;
        let check = |sampling: Sampling, param: &str, message: &str| {
            let error = ApiError::of_rejected(&sampling.check().unwrap_err(), "prompt");
            is(&error, 400, Some(param), None, message);
        };
        let good = Sampling::greedy;
        let cases = [
            (Sampling { temperature: -1.0, ..good() }, "temperature", "is -1: it must be 0 or more"),
            (Sampling { top_p: 0.0, ..good() }, "top_p", "is 0: it must be above 0 and at most 1"),
            (Sampling { min_p: 2.0, ..good() }, "min_p", "is 2: it must be between 0 and 1"),
            (
                Sampling { repetition_penalty: 0.0, ..good() },
                "repetition_penalty",
                "is 0: it must be above 0",
            ),
            (
                Sampling { presence_penalty: f32::NAN, ..good() },
                "presence_penalty",
                "is NaN: it must be a number",
            ),
            (
                Sampling { frequency_penalty: f32::INFINITY, ..good() },
                "frequency_penalty",
                "is inf: it must be a number",
            ),
        ];
        for (sampling, param, said) in cases {
            check(sampling, param, &format!("{param} {said}"));
        }
        let biased = Sampling { logit_bias: vec![(7, f32::INFINITY)], ..good() };
        check(biased, "logit_bias", "logit_bias of token 7 is inf: it must be a number");
    }

    #[test]
    fn every_failure_of_a_generation_has_its_status_field_and_code() {
        let check = |failure: Failure, status, param, message: &str| {
            is(&ApiError::of_failure(&failure, "response_format"), status, param, None, message);
        };
        let (model, why) = (|| "m".to_owned(), || "out of luck".to_owned());
        let stuck = "the output can't be constrained as requested: grammar: out of luck";
        check(Failure::Grammar(ConstraintError(why())), 400, Some("response_format"), stuck);
        let panicked = "the output can't be constrained as requested: grammar panicked: out of luck";
        check(Failure::GrammarPanicked(why()), 400, Some("response_format"), panicked);
        let forbidden = "logit_bias forbids every token that could come next: forbid fewer";
        check(Failure::LogitBias, 400, Some("logit_bias"), forbidden);
        let nothing = "generation failed: no token can be sampled: every logit that the grammar allows is minus \
                       infinity or not a number";
        check(Failure::NoFiniteLogit, 500, None, nothing);
        // What a model says decides nothing, whatever it begins with.
        let misleading = || "grammar: logit_bias".to_owned();
        let said = "generation failed: model grammar: logit_bias: out of luck";
        check(Failure::Forward { model: misleading(), why: why() }, 500, None, said);
        let said = "generation failed: model m: out of luck";
        check(Failure::Load { model: model(), why: why() }, 500, None, said);
        let said = "generation failed: model m panicked: out of luck";
        check(Failure::ModelPanicked { model: model(), why: why() }, 500, None, said);
        check(
            Failure::Rejected(Rejected::EmptyPrompt),
            500,
            None,
            "generation failed: the prompt has no tokens",
        );
        check(Failure::Stopped, 500, None, "generation failed: the engine has stopped");
    }
}

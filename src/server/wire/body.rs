//! From the bytes of a body to a typed request; what is wrong is told with the path of the field.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::fields::{Body, Fields};
use crate::server::error::{ApiError, INVALID_REQUEST};
use crate::server::layers::Notes;

/// A body may have so many bytes; a prompt of a million tokens has some 5 MB.
pub const BODY_BYTES_MAX: usize = 32 << 20;
/// A body must be here after this long.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// The body of a request, read and understood.
pub struct Json<T>(pub T);

/// From here on a body is large: its value takes some ten times its bytes, and reading it keeps a thread busy.
const LARGE_BYTES: usize = 1 << 20;
/// So many large bodies become values at a time; others wait for their turn.
static LARGE_ONES: Semaphore = Semaphore::const_new(4);

impl<T: Body + Send + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        // A page in a browser may send anything else to another's server without asking.
        if !kind.is_some_and(is_json) {
            let sent = kind.unwrap_or("none");
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                INVALID_REQUEST,
                format!("the content type is {sent}: send the body as application/json"),
            ));
        }
        let notes = request.extensions().get::<Notes>().cloned();
        let bytes = read(request).await?;
        let (body, ignored) = if bytes.len() <= LARGE_BYTES {
            parse(&bytes)?
        } else {
            // Taken once it is here: who sends slowly keeps nobody waiting.
            let _turn = LARGE_ONES.acquire().await;
            let parsed = tokio::task::spawn_blocking(move || parse(&bytes)).await;
            parsed.map_err(|error| ApiError::internal(format!("the body could not be read: {error}")))??
        };
        if let Some(notes) = notes {
            notes.ignored(ignored);
        }
        Ok(Self(body))
    }
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

/// What the head says of the body's size.
fn length(request: &Request) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(request: Request) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {} MiB: send less at once", BODY_BYTES_MAX >> 20);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, message)
    };
    if length(&request).is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let body = to_bytes(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_TIME_MAX, body).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if format!("{error:?}").contains("LengthLimit") => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::unreadable(format!("the body broke off: {error}"))),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            INVALID_REQUEST,
            format!("the body was not here after {} s: send it faster", BODY_TIME_MAX.as_secs()),
        )),
    }
}

/// Reads JSON; the error names the field by its path. With the body come the names of fields that were taken without effect.
pub fn parse<T: Body>(bytes: &[u8]) -> Result<(T, Vec<String>), ApiError> {
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::unreadable(format!("the body is not valid JSON: {error}")))?;
    whole_numbers(&mut value);
    let mut fields = Fields::new(value)?;
    let body = T::read(&mut fields)?;
    Ok((body, fields.ignored()?))
}

/// To JSON Schema 5.0 is an integer, to serde it is none.
fn whole_numbers(value: &mut Value) {
    /// From here on not every integer is a float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|x| number.is_f64() && x.fract() == 0.0 && x.abs() < EXACT);
            if let Some(whole) = whole {
                *value = (whole as i64).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        name: String,
        #[serde(default)]
        parts: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        size: u32,
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let check = |body: &str, param: Option<&str>, says: &str| {
            let error = parse::<Outer>(body.as_bytes()).expect_err(body);
            assert_eq!(error.param.as_deref(), param, "{body}: {}", error.message);
            assert!(error.message.contains(says), "{body}: {}", error.message);
        };
        check("{", None, "not valid JSON");
        check("[1]", None, "send an object");
        check("1", None, "send an object");
        check("{}", Some("name"), "missing");
        check(r#"{"name": 1}"#, Some("name"), "expected a string");
        check(r#"{"name": null}"#, Some("name"), "missing");
        check(r#"{"name": "a", "parts": [{"size": 1}, {"size": -1}]}"#, Some("parts[1].size"), "-1");
        check(r#"{"name": "a", "parts": [{}]}"#, Some("parts[0].size"), "missing");
        let whole = parse::<Outer>(br#"{"name": "a", "parts": [{"size": 5.0}]}"#).unwrap().0;
        assert_eq!(whole.parts[0].size, 5);
        check(r#"{"name": "a"} x"#, None, "not valid JSON");
        check("{\"name\": \"\u{1}\"}", None, "not valid JSON");
        assert!(parse::<Outer>(b"{\"name\": \"\xff\"}").is_err());
    }
}

//! Turns the bytes of a body into a typed request. Errors name the path of the field.

mod read;
mod scan;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde_json::Value;

use super::fields::{Body, Fields};
use crate::budget::{BudgetShare, SMALL_BYTES};
use crate::error::{ApiError, INVALID_REQUEST};
use crate::layers::RequestContext;

pub(crate) use read::BODY_BYTES_MAX;

/// Extractor that reads, checks and parses a JSON body.
pub(crate) struct Json<T>(pub T);

impl<T: Body + Send + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        // Browsers let a page send other types to a foreign server without a preflight request.
        if !kind.is_some_and(is_json) {
            let sent = kind.unwrap_or("none");
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                INVALID_REQUEST,
                format!("the content type is {sent}: send the body as application/json"),
            ));
        }
        let context = request.extensions().get::<RequestContext>().cloned();
        let read::ReadBody { bytes, values, mut share } = read::read(request).await?;
        let length = bytes.len();
        share.take_for_parsing(length, values).await?;
        let (parsed, mut share) = if length <= SMALL_BYTES {
            (parse(&bytes), share)
        } else {
            parse_on_blocking_thread(bytes, share).await?
        };
        share.parsed(length, values);
        // The parsed body lives until the answer is finished, and so does its share of the memory budget.
        if let Some(context) = &context {
            context.keep_budget_share(share);
        }
        let (body, ignored) = parsed?;
        if let Some(context) = context {
            context.add_ignored(ignored);
        }
        Ok(Self(body))
    }
}

/// A parsed body, and the names of fields that were accepted without effect.
type Parsed<T> = Result<(T, Vec<String>), ApiError>;

/// Parses on another thread. If the client leaves, its share of the memory budget stays taken until that is done.
async fn parse_on_blocking_thread<T: Body + Send + 'static>(
    bytes: Vec<u8>,
    share: BudgetShare,
) -> Result<(Parsed<T>, BudgetShare), ApiError> {
    let parsed = tokio::task::spawn_blocking(move || (parse(&bytes), share)).await;
    parsed.map_err(|error| ApiError::internal(format!("the body could not be read: {error}")))
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

/// Parses JSON. Errors name the field by its path. Also returns the names of fields accepted without effect.
pub fn parse<T: Body>(bytes: &[u8]) -> Result<(T, Vec<String>), ApiError> {
    // serde would read a list as a struct.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::unreadable("the body is a list: send an object"));
    }
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::unreadable(format!("the body is not valid JSON: {error}")))?;
    normalize_integers(&mut value);
    let mut fields = Fields::new(value)?;
    let body = T::read(&mut fields)?;
    Ok((body, fields.ignored()?))
}

/// Turns 5.0 into 5: JSON Schema counts it as an integer, serde does not.
fn normalize_integers(value: &mut Value) {
    /// 2⁵³: above it, a float can't hold every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|x| number.is_f64() && x.fract() == 0.0 && x.abs() < EXACT);
            if let Some(whole) = whole {
                *value = (whole as i64).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(normalize_integers),
        Value::Object(fields) => fields.values_mut().for_each(normalize_integers),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::budget::tests;

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

    /// A body whose parsing lasts until the test lets it end.
    struct Slow;

    static READING: AtomicBool = AtomicBool::new(false);
    static READ: AtomicBool = AtomicBool::new(false);

    impl Body for Slow {
        fn read(_: &mut Fields) -> Result<Self, ApiError> {
            READING.store(true, Ordering::SeqCst);
            while !READ.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(Self)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_keeps_its_budget_share_while_it_is_parsed() {
        let budget = tests::budget(64 << 10, 1 << 20);
        let mut share = tests::take(budget, 10 << 10).await.unwrap();
        share.take_for_parsing(10 << 10, 100).await.unwrap();
        let held = tests::free(budget);
        let reading = tokio::spawn(parse_on_blocking_thread::<Slow>(b"{}".to_vec(), share));
        let until = async |holds: &dyn Fn() -> bool| {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        until(&|| READING.load(Ordering::SeqCst)).await;
        // The client leaves.
        reading.abort();
        assert!(reading.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(tests::free(budget), held);
        READ.store(true, Ordering::SeqCst);
        until(&|| tests::free(budget) == (64, 1024)).await;
    }

    #[test]
    fn errors_name_the_field() {
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

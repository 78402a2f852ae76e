//! Reads the bytes of a body, packed with gzip or not, within the limits of size, time and content, and the memory
//! budget of all requests.

#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::{Duration, Instant};

use axum::body::BodyDataStream;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;

use super::scan::Scan;
use crate::budget::{BudgetShare, SMALL_BYTES};
use crate::error::{ApiError, INVALID_REQUEST};

/// Largest body, unpacked. A prompt of a million tokens has some 5 MB.
pub(crate) const BODY_BYTES_MAX: usize = 32 << 20;
/// A body must be complete within this time.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// While others wait for the memory that a body holds, it must arrive at least this fast, after `PACE_AFTER`.
const PACE_BYTES_PER_SECOND: f64 = 262_144.0;
const PACE_AFTER: Duration = Duration::from_secs(2);
/// How often the pace of a body is checked while nothing arrives.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How long the rest of a refused body is read and thrown away: a client that still sends doesn't read the error.
const REST_TIME_MAX: Duration = Duration::from_secs(5);
/// Packed bytes unpacked before other tasks get a turn. They become at most a thousand times as many.
const COMPRESSED_CHUNK_BYTES: usize = 1 << 10;

/// A body that was read to its end.
#[derive(Debug)]
pub(crate) struct ReadBody {
    /// The body, unpacked if it was packed.
    pub bytes: Vec<u8>,
    /// Number of values in its JSON, field names included.
    pub values: usize,
    /// Its share of the memory budget of all requests.
    pub share: BudgetShare,
}

/// Reads the body of a request.
///
/// # Errors
/// 400, 408, 413 or 415 for a body that is refused; 503 if there is no room for it.
pub(crate) async fn read(request: Request) -> Result<ReadBody, ApiError> {
    let (head, body) = request.into_parts();
    let mut body = body.into_data_stream();
    let read = tokio::time::timeout(BODY_TIME_MAX, read_limited(&head.headers, &mut body)).await;
    let read = read
        .unwrap_or_else(|_| Err(too_slow(format!("was not complete after {} s", BODY_TIME_MAX.as_secs()))));
    if read.as_ref().is_err_and(|error| error.status != StatusCode::REQUEST_TIMEOUT) {
        let _ = tokio::time::timeout(REST_TIME_MAX, discard(&mut body)).await;
    }
    read
}

async fn read_limited(headers: &HeaderMap, body: &mut BodyDataStream) -> Result<ReadBody, ApiError> {
    let is_gzip = is_gzip(headers)?;
    let length = length(headers);
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    // The announced length. Without one, a body that is no longer small takes the largest share, in `grow`.
    let announced = length.filter(|_| !is_gzip);
    let share = BudgetShare::take(announced.unwrap_or(0)).await?;
    let reader = BodyReader { sink: Sink::default(), share, announced, began: Instant::now() };
    reader.read(body, is_gzip).await
}

async fn discard(body: &mut BodyDataStream) {
    let mut left = BODY_BYTES_MAX;
    while let Some(Ok(bytes)) = body.next().await
        && left > bytes.len()
    {
        left -= bytes.len();
    }
}

fn too_large() -> ApiError {
    let message = format!("the body is larger than {} MiB: send less at once", BODY_BYTES_MAX >> 20);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, message)
}

fn too_slow(what: String) -> ApiError {
    let message = format!("the body {what}: send it faster");
    ApiError::new(StatusCode::REQUEST_TIMEOUT, INVALID_REQUEST, message)
}

/// The length that the headers announce.
fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the body is packed with gzip.
fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    let mut is_gzip = false;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for coding in value.to_str().unwrap_or("?").split(',').map(str::trim) {
            match coding.to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" if !is_gzip => is_gzip = true,
                _ => {
                    let message = format!(
                        "the content encoding is {coding}: send the body compressed with gzip once, or uncompressed"
                    );
                    return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST, message)
                        .code("unsupported_encoding"));
                }
            }
        }
    }
    Ok(is_gzip)
}

/// Collects unpacked bytes and scans them.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    scan: Scan,
    /// Why the last write was refused.
    refused: Option<ApiError>,
}

impl Sink {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        if self.bytes.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        self.scan.push(bytes)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.push(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                let io_error = std::io::Error::other(error.message.clone());
                self.refused = Some(error);
                Err(io_error)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A body that is being read.
struct BodyReader {
    sink: Sink,
    share: BudgetShare,
    announced: Option<usize>,
    began: Instant,
}

impl BodyReader {
    async fn read(mut self, body: &mut BodyDataStream, is_gzip: bool) -> Result<ReadBody, ApiError> {
        if let Some(announced) = self.announced {
            self.sink.bytes.reserve_exact(announced);
        }
        if is_gzip {
            let mut unpack = MultiGzDecoder::new(std::mem::take(&mut self.sink));
            while let Some(bytes) = self.next(body, unpack.get_ref().bytes.len()).await? {
                for piece in bytes.chunks(COMPRESSED_CHUNK_BYTES) {
                    let written = unpack.write_all(piece);
                    written.map_err(|error| unreadable(&mut unpack, &error))?;
                    self.grow(unpack.get_ref().bytes.len()).await?;
                    tokio::task::yield_now().await;
                }
            }
            if let Err(error) = unpack.try_finish() {
                return Err(unreadable(&mut unpack, &error));
            }
            self.sink = std::mem::take(unpack.get_mut());
        } else {
            while let Some(bytes) = self.next(body, self.sink.bytes.len()).await? {
                self.grow(self.sink.bytes.len() + bytes.len()).await?;
                self.sink.push(&bytes)?;
            }
        }
        let Sink { bytes, scan, .. } = self.sink;
        Ok(ReadBody { bytes, values: scan.values(), share: self.share })
    }

    /// Gives a body of unknown length that is no longer small the share of the largest.
    async fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        if self.announced.is_none() && bytes > SMALL_BYTES {
            self.announced = Some(BODY_BYTES_MAX);
            self.share = BudgetShare::take(BODY_BYTES_MAX).await?;
        }
        Ok(())
    }

    /// The next bytes; `None` at the end.
    async fn next(
        &mut self,
        body: &mut BodyDataStream,
        so_far: usize,
    ) -> Result<Option<axum::body::Bytes>, ApiError> {
        loop {
            match tokio::time::timeout(CHECK_EVERY, body.next()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(bytes))) => return Ok(Some(bytes)),
                Ok(Some(Err(error))) => {
                    return Err(ApiError::unreadable(format!("the body was cut off: {error}")));
                }
                Err(_) => {}
            }
            let late = self.began.elapsed().saturating_sub(PACE_AFTER).as_secs_f64();
            if self.share.is_wanted() && (so_far as f64) < late * PACE_BYTES_PER_SECOND {
                return Err(too_slow("is slow while other requests wait for its memory".to_owned()));
            }
        }
    }
}

fn unreadable(unpack: &mut MultiGzDecoder<Sink>, error: &std::io::Error) -> ApiError {
    let refused = unpack.get_mut().refused.take();
    refused.unwrap_or_else(|| ApiError::unreadable(format!("the body can't be unpacked with gzip: {error}")))
}

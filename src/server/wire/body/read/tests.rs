//! Packed bodies, decompression bombs, and bodies larger than they say.

use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;

use super::*;

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn sent(encoding: &str, body: Body) -> Result<ReadBody, ApiError> {
    let request = Request::post("/").header(header::CONTENT_ENCODING, encoding).body(body).unwrap();
    read(request).await
}

fn in_parts(bytes: Vec<u8>, share: usize) -> Body {
    let budget: Vec<Result<Bytes, std::io::Error>> =
        bytes.chunks(share).map(|share| Ok(Bytes::copy_from_slice(share))).collect();
    Body::from_stream(stream::iter(budget))
}

#[tokio::test]
async fn compressed_bodies_are_decompressed_however_they_are_split() {
    let text = format!("{{\"input\": \"{}\"}}", "river stone ".repeat(20_000)).into_bytes();
    for encoding in ["gzip", "GZIP", "x-gzip", "identity, gzip"] {
        for share in [1, 100, 1 << 20] {
            let read = sent(encoding, in_parts(packed(&text), share)).await.unwrap();
            assert!(read.bytes == text && read.values == 3, "{encoding} {share}");
        }
    }
    let two = [packed(b"{\"a\""), packed(b": 1}")].concat();
    assert_eq!(sent("gzip", Body::from(two)).await.unwrap().bytes, b"{\"a\": 1}");
    assert_eq!(sent("identity", Body::from("{}")).await.unwrap().bytes, b"{}");
}

#[tokio::test]
async fn bodies_that_can_not_be_decompressed_are_refused() {
    let check = async |encoding: &str, body: Vec<u8>, status: u16, says: &str| {
        let error = sent(encoding, Body::from(body)).await.unwrap_err();
        assert_eq!(error.status.as_u16(), status, "{encoding} {error:?}");
        assert!(error.message.contains(says), "{error:?}");
    };
    for other in ["deflate", "br", "zstd", "compress", "gzip, gzip", "gzip, br", "nonsense"] {
        check(other, packed(b"{}"), 415, "gzip").await;
    }
    check("gzip", b"{}".to_vec(), 400, "unpacked").await;
    check("gzip", packed(&[b'a'; 1000])[..20].to_vec(), 400, "unpacked").await;
    check("gzip", [packed(b"{}"), b"more".to_vec()].concat(), 400, "unpacked").await;
}

#[tokio::test]
async fn decompression_bombs_are_refused_at_the_limits() {
    let bomb = packed(&vec![b' '; BODY_BYTES_MAX + 1]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(sent("gzip", Body::from(bomb)).await.unwrap_err().status, 413);
    let bomb = packed("[],".repeat(9 << 20).as_bytes());
    let error = sent("gzip", Body::from([b"[".to_vec(), bomb].concat())).await.unwrap_err();
    assert_eq!(error.status, 400, "the first byte is no gzip");
    let bomb = packed(format!("[{}", "[],".repeat(9 << 20)).as_bytes());
    assert_eq!(sent("gzip", Body::from(bomb)).await.unwrap_err().status, 413);
}

#[tokio::test]
async fn bodies_without_a_length_end_at_the_limit_too() {
    let endless = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16])));
    assert_eq!(sent("identity", Body::from_stream(endless)).await.unwrap_err().status, 413);
    let request = Request::post("/").header(header::CONTENT_LENGTH, BODY_BYTES_MAX + 1).body(Body::empty());
    assert_eq!(read(request.unwrap()).await.unwrap_err().status, 413);
}

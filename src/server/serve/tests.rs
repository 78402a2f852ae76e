//! Real sockets: who is cut, who may finish, and what becomes of the socket's file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Extension;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::fixtures::{Server, ask, ask_over, listen, rest};
use super::*;

const SHORT: Duration = Duration::from_millis(200);
/// Nothing here takes so long; what does was not cut.
const LONG: Duration = Duration::from_secs(10);

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

fn slow(delay: Duration) -> Router {
    let answer = move || async move {
        tokio::time::sleep(delay).await;
        "at last"
    };
    Router::new().route("/", get(answer))
}

/// A connection on which a request is being answered.
async fn asked(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(SHORT / 2).await;
    stream
}

#[tokio::test]
async fn who_sends_a_head_too_slowly_is_cut() {
    let server = Server::start(&Listen { header_timeout: SHORT, ..listen() }, hello()).await;
    let (mut reader, mut writer) = TcpStream::connect(server.address).await.unwrap().into_split();
    let began = Instant::now();
    let trickle = tokio::spawn(async move {
        let head = b"GET / HTTP/1.1\r\nx-slow: ".iter().chain(std::iter::repeat(&b'a'));
        for byte in head {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let heard = rest(&mut reader).await;
    assert!(!heard.contains("200"), "{heard}");
    let took = began.elapsed();
    assert!(took >= SHORT && took < LONG / 2, "{took:?}");
    trickle.abort();
    assert_eq!(ask(server.address, "GET /").await.body, "hello", "others don't notice");
}

#[tokio::test]
async fn body_that_stops_is_not_waited_for() {
    let read = |body: String| async move { body.len().to_string() };
    let router = Router::new().route("/", axum::routing::post(read));
    let server = Server::start(&Listen { header_timeout: 2 * SHORT, ..listen() }, router).await;
    let ask = async |bytes: usize| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 12\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..bytes {
            tokio::time::sleep(SHORT / 4).await;
            stream.write_all(b"a").await.unwrap();
        }
        rest(&mut stream).await
    };
    let whole = ask(12).await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("12"), "slow, and whole: {whole}");
    let began = Instant::now();
    assert!(ask(3).await.starts_with("HTTP/1.1 400"));
    assert!(began.elapsed() < LONG);
}

#[tokio::test]
async fn idle_connection_is_kept_and_closed_in_the_end() {
    let server = Server::start(&Listen { header_timeout: 3 * SHORT, ..listen() }, hello()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut bytes = vec![0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(String::from_utf8_lossy(&bytes[..read]).ends_with("hello"));
        tokio::time::sleep(SHORT / 4).await;
    }
    let began = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(began.elapsed() < LONG / 2);
}

#[tokio::test]
async fn heads_have_a_limit() {
    let server = Server::start(&listen(), hello()).await;
    let status = async |headers: String| {
        let stream = TcpStream::connect(server.address).await.unwrap();
        ask_over(stream, &format!("GET /\n{headers}")).await.map(|answer| answer.status)
    };
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: a\n")).collect::<String>();
    assert_eq!(status(headers(50)).await, Some(200));
    assert_eq!(status(headers(70)).await, Some(431));
    assert_eq!(status(format!("x-large: {}", "a".repeat(HEAD_BYTES_MAX / 2))).await, Some(200));
    assert_eq!(status(format!("x-large: {}", "a".repeat(HEAD_BYTES_MAX))).await, Some(431));
}

#[tokio::test]
async fn running_answer_is_finished_and_nobody_new_is_taken() {
    let server = Server::start(&listen(), slow(3 * SHORT)).await;
    let address = server.address;
    let mut running = asked(address).await;
    let ending = server.stop();
    tokio::time::sleep(SHORT / 2).await;
    assert!(TcpStream::connect(address).await.is_err(), "the door is shut");
    assert!(!ending.is_finished());
    assert!(rest(&mut running).await.ends_with("at last"));
    assert_eq!(ending.await.unwrap(), Ended { cut: 0 });
}

#[tokio::test]
async fn answer_that_does_not_end_in_time_is_cut() {
    let server = Server::start(&Listen { drain: SHORT, ..listen() }, slow(6 * LONG)).await;
    let (mut first, mut second) = (asked(server.address).await, asked(server.address).await);
    let began = Instant::now();
    assert_eq!(server.stop().await.unwrap(), Ended { cut: 2 });
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG);
    assert_eq!((rest(&mut first).await, rest(&mut second).await), (String::new(), String::new()));
}

#[tokio::test]
async fn those_who_stream_hear_that_the_end_was_asked_for() {
    let bound = bind(&listen()).await.unwrap();
    let drain = bound.drain();
    let heard = drain.clone();
    let answer = move || async move {
        heard.begun().await;
        "ended properly"
    };
    let router = Router::new().route("/", get(answer));
    let server = Server::serve(bound, router, Router::new());
    let mut running = asked(server.address).await;
    assert!(!drain.has_begun());
    let ending = server.stop();
    assert!(rest(&mut running).await.ends_with("ended properly"));
    assert_eq!(ending.await.unwrap(), Ended { cut: 0 });
    assert!(drain.has_begun());
    drain.begun().await;
}

#[tokio::test]
async fn connections_without_a_request_do_not_delay_the_end() {
    let server = Server::start(&listen(), hello()).await;
    let fresh = TcpStream::connect(server.address).await.unwrap();
    let idle = asked(server.address).await;
    let began = Instant::now();
    assert_eq!(server.stop().await.unwrap(), Ended { cut: 0 });
    assert!(began.elapsed() < LONG);
    drop((fresh, idle));
}

#[tokio::test]
async fn one_connection_too_many_waits_for_its_turn() {
    let server = Server::start(&Listen { connections_max: 2, ..listen() }, slow(2 * SHORT)).await;
    let began = Instant::now();
    let asking = (0..5).map(|_| tokio::spawn(ask(server.address, "GET /")));
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().body, "at last");
    }
    assert!(began.elapsed() >= 6 * SHORT, "two at a time: {:?}", began.elapsed());
}

#[tokio::test]
async fn client_that_leaves_ends_its_request() {
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let answer = move || async move {
        let _guard = Guard(flag);
        tokio::time::sleep(6 * LONG).await;
    };
    let server = Server::start(&listen(), Router::new().route("/", get(answer))).await;
    let client = asked(server.address).await;
    assert!(!dropped.load(Ordering::SeqCst));
    drop(client);
    let began = Instant::now();
    while !dropped.load(Ordering::SeqCst) {
        assert!(began.elapsed() < LONG, "it goes on for nobody");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn taken_and_foreign_addresses_are_told_with_the_way_out() {
    let bound = bind(&listen()).await.unwrap();
    let check = async |address: SocketAddr, expected: &[&str]| {
        let message = bind(&Listen { address, ..listen() }).await.map(|_| ()).unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    };
    let taken = bound.address();
    check(taken, &[&taken.to_string(), "taken", "--port"]).await;
    check("192.0.2.1:0".parse().unwrap(), &["192.0.2.1", "--host"]).await;
}

#[cfg(unix)]
mod private_socket {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use tokio::net::UnixStream;

    use super::*;

    fn at(path: &Path) -> Listen {
        Listen { socket: Some(path.to_owned()), ..listen() }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    async fn peer(Extension(peer): Extension<Peer>) -> String {
        match peer {
            Peer::Tcp(address) => format!("tcp {}", address.ip()),
            Peer::Socket => "socket".to_owned(),
        }
    }

    #[tokio::test]
    async fn socket_is_private_and_gone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home/socket");
        let server = Server::start(&at(&path), Router::new().route("/", get(peer))).await;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(ask_over(stream, "GET /").await.unwrap().body, "socket");
        assert_eq!(ask(server.address, "GET /").await.body, "tcp 127.0.0.1");
        server.stop().await.unwrap();
        assert!(!path.exists());
        drop(bind(&at(&path)).await.unwrap());
        assert!(!path.exists(), "also when it never served");
    }

    #[tokio::test]
    async fn home_has_one_server_until_the_last_answer_is_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let server = Server::start(&at(&path), slow(3 * SHORT)).await;
        let running = tokio::spawn(ask_over(UnixStream::connect(&path).await.unwrap(), "GET /"));
        tokio::time::sleep(SHORT).await;
        let ending = server.stop();
        tokio::time::sleep(SHORT / 2).await;
        assert!(UnixStream::connect(&path).await.is_err(), "the door is shut");
        assert!(matches!(bind(&at(&path)).await, Err(ServeError::AlreadyServing { .. })));
        assert_eq!(running.await.unwrap().unwrap().body, "at last");
        assert_eq!(ending.await.unwrap(), Ended { cut: 0 });
        drop(bind(&at(&path)).await.unwrap());
    }

    #[tokio::test]
    async fn socket_that_a_killed_server_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists() && std::os::unix::net::UnixStream::connect(&path).is_err(), "it is stale");
        let server = Server::start(&at(&path), hello()).await;
        let stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(ask_over(stream, "GET /").await.unwrap().body, "hello");
        assert_eq!(server.stop().await.unwrap(), Ended { cut: 0 });
    }

    #[tokio::test]
    async fn living_server_keeps_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let check = async |path: &Path, expected: &str| {
            let message = bind(&at(path)).await.map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(path.to_str().unwrap()), "{message}");
        };
        let path = dir.path().join("ours");
        let server = Server::start(&at(&path), hello()).await;
        check(&path, "runs already").await;
        let stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(ask_over(stream, "GET /").await.unwrap().body, "hello", "the second try did no harm");
        server.stop().await.unwrap();

        // Somebody answers who holds no lock.
        let path = dir.path().join("theirs");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        check(&path, "runs already").await;

        let path = dir.path().join("file");
        fs::write(&path, "mine").unwrap();
        check(&path, "in the way").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");

        check(&dir.path().join("long".repeat(30)), "too long").await;
    }
}

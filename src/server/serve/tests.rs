//! Tests on real sockets: which connections are cut off, which may finish, and what becomes of the socket's file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Extension;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::fixtures::{Server, ask, ask_over, listen, rest};
use super::super::layers::{Layers, with_layers};
use super::super::metrics::Metrics;
use super::*;

const SHORT: Duration = Duration::from_millis(200);
/// Longer than anything here should take: whatever takes this long was not cut off.
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

async fn asked(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(SHORT / 2).await;
    stream
}

#[tokio::test]
async fn a_head_that_arrives_too_slowly_is_cut_off() {
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
async fn a_body_that_stops_arriving_is_an_error() {
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
async fn shutdown_finishes_running_answers_and_accepts_no_connection() {
    let server = Server::start(&listen(), slow(3 * SHORT)).await;
    let address = server.address;
    let mut running = asked(address).await;
    let ending = server.stop();
    tokio::time::sleep(SHORT / 2).await;
    assert!(TcpStream::connect(address).await.is_err(), "the door is shut");
    assert!(!ending.is_finished());
    assert!(rest(&mut running).await.ends_with("at last"));
    assert_eq!(ending.await.unwrap(), ShutdownReport { cut: 0 });
}

#[tokio::test]
async fn an_answer_that_outlasts_the_drain_time_is_cut_off() {
    let server = Server::start(&Listen { drain_timeout: SHORT, ..listen() }, slow(6 * LONG)).await;
    let (mut first, mut second) = (asked(server.address).await, asked(server.address).await);
    let began = Instant::now();
    assert_eq!(server.stop().await.unwrap(), ShutdownReport { cut: 2 });
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG);
    assert_eq!((rest(&mut first).await, rest(&mut second).await), (String::new(), String::new()));
}

#[tokio::test]
async fn handlers_learn_that_shutdown_was_requested() {
    let bound = bind(&listen()).await.unwrap();
    let signal = bound.shutdown_signal();
    let heard = signal.clone();
    let answer = move || async move {
        heard.wait().await;
        "ended properly"
    };
    let router = Router::new().route("/", get(answer));
    let server = Server::serve(bound, router, Router::new());
    let mut running = asked(server.address).await;
    assert!(!signal.is_set());
    let ending = server.stop();
    assert!(rest(&mut running).await.ends_with("ended properly"));
    assert_eq!(ending.await.unwrap(), ShutdownReport { cut: 0 });
    assert!(signal.is_set());
    signal.wait().await;
}

#[tokio::test]
async fn connections_without_a_request_do_not_delay_shutdown() {
    let server = Server::start(&listen(), hello()).await;
    let fresh = TcpStream::connect(server.address).await.unwrap();
    let idle = asked(server.address).await;
    let began = Instant::now();
    assert_eq!(server.stop().await.unwrap(), ShutdownReport { cut: 0 });
    assert!(began.elapsed() < LONG);
    drop((fresh, idle));
}

fn layered(router: Router) -> Router {
    let layers = Layers {
        metrics: Arc::new(Metrics::new()),
        keys: None,
        origins: Arc::default(),
        hosts: Arc::default(),
    };
    with_layers(router.route("/health", get(|| async { "lives" })), &layers)
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_its_turn() {
    let router = layered(slow(2 * SHORT));
    let server = Server::start(&Listen { connections_max: 2, ..listen() }, router).await;
    let began = Instant::now();
    let asking = (0..5).map(|_| tokio::spawn(ask(server.address, "GET /")));
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().body, "at last");
    }
    assert!(began.elapsed() >= 6 * SHORT, "two at a time: {:?}", began.elapsed());
}

#[tokio::test]
async fn connections_without_a_request_lock_nobody_out() {
    let post = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{";
    let whole = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for sent in ["", "GET / HTTP/1.1\r\nx-slow: a", whole, post, "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03"]
    {
        let read = |body: String| async move { body.len().to_string() };
        let router = layered(hello().route("/", axum::routing::post(read)));
        let server = Server::start(&Listen { connections_max: 4, ..listen() }, router).await;
        let mut held = Vec::new();
        for _ in 0..50 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let _ = stream.write_all(sent.as_bytes()).await;
            held.push(stream);
            if held.len() % 10 == 0 {
                let began = Instant::now();
                assert_eq!(ask(server.address, "GET /").await.body, "hello", "{sent:?}");
                assert_eq!(ask(server.address, "GET /health").await.body, "lives", "{sent:?}");
                assert!(began.elapsed() < LONG / 5, "{sent:?}: {:?}", began.elapsed());
            }
        }
    }
}

#[tokio::test]
async fn health_is_reported_while_all_connections_are_busy() {
    let server = Server::start(&Listen { connections_max: 2, ..listen() }, layered(slow(6 * LONG))).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        let stream = asked(server.address).await;
        held.push(stream);
        let began = Instant::now();
        assert_eq!(ask(server.address, "GET /health").await.body, "lives");
        assert!(began.elapsed() < LONG / 5);
    }
    let began = Instant::now();
    let refused = ask(server.address, "GET /").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["error"]["code"], "too_many_connections");
    assert!(began.elapsed() < LONG);
    // Connections that had a place keep it.
    drop(held.split_off(2));
    assert!(tokio::time::timeout(SHORT, held[0].read(&mut [0; 8])).await.is_err());
}

#[tokio::test]
async fn an_address_beyond_its_limit_is_refused() {
    let listening = Listen { per_address_max: Some(2), ..listen() };
    let server = Server::start(&listening, layered(slow(6 * LONG))).await;
    let _held = (asked(server.address).await, asked(server.address).await);
    assert_eq!(ask(server.address, "GET /health").await.body, "lives");
    let refused = ask(server.address, "GET /").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
}

struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Connects with a small receive buffer and sends the request.
async fn asked_with_little_room(address: SocketAddr, request: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_and_its_answer_ended() {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    let endless = move || {
        let guard = Guard(Arc::clone(&flag));
        let chunks = futures_util::stream::repeat_with(move || {
            let _held = &guard;
            Ok::<_, Infallible>("a".repeat(4096))
        });
        async { axum::body::Body::from_stream(chunks) }
    };
    let write_timeout = 2 * SHORT;
    let router = Router::new().route("/", get(endless));
    let server = Server::start(&Listen { write_timeout, ..listen() }, router).await;
    let mut client =
        asked_with_little_room(server.address, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;

    // A slow reader is not cut off. Each read must be large enough for the kernel to announce the free space.
    let mut taken = vec![0; 256 << 10];
    for _ in 0..8 {
        tokio::time::sleep(write_timeout / 2).await;
        client.read_exact(&mut taken).await.expect("it goes on as long as something is taken");
    }
    assert!(!ended.load(Ordering::SeqCst));

    let began = Instant::now();
    while !ended.load(Ordering::SeqCst) {
        assert!(began.elapsed() < LONG, "it goes on for nobody");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= write_timeout / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_cancelled() {
    let app = super::super::fixtures::running("on and on");
    let server = Server::start(&Listen { write_timeout: 2 * SHORT, ..listen() }, app.router.clone()).await;
    // Long chunks, so that unread data soon exceeds what the kernel buffers.
    let body = serde_json::json!({
        "messages": [{"role": "user", "content": "Hi"}], "stream": true, "ignore_eos": true,
        "logprobs": true, "top_logprobs": 20, "n": 16,
    });
    let body = body.to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let _client = asked_with_little_room(server.address, &request).await;
    let began = Instant::now();
    let cancelled = |metrics: &str| {
        let count = "bandmaster_cancelled_requests_total{model=\"parrot\"} 1";
        metrics.lines().any(|line| line == count)
    };
    while !cancelled(&app.respond("GET", "/metrics", &serde_json::Value::Null).await.1) {
        assert!(began.elapsed() < LONG, "it goes on for nobody");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn client_that_leaves_ends_its_request() {
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

const POST: &[u8] =
    b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";

async fn ends_soon(dropped: &AtomicBool) {
    let began = Instant::now();
    while !dropped.load(Ordering::SeqCst) {
        assert!(began.elapsed() < LONG / 4, "it goes on for nobody");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// After `delay`, answers with the length of the request's body.
fn slow_reader(delay: Duration) -> Router {
    let read = move |body: String| async move {
        tokio::time::sleep(delay).await;
        body.len().to_string()
    };
    Router::new().route("/", axum::routing::post(read))
}

#[tokio::test]
async fn a_client_that_closed_its_sending_side_gets_its_answer() {
    for delay in [Duration::ZERO, 3 * SHORT] {
        let server = Server::start(&listen(), slow_reader(delay)).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(POST).await.unwrap();
        stream.shutdown().await.unwrap();
        let heard = rest(&mut stream).await;
        let answer = heard.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&heard);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n4"), "{delay:?}: {heard}");
        assert_eq!(heard.len() > answer.len(), !delay.is_zero(), "asked once, after a while: {heard}");
    }
}

#[tokio::test]
async fn an_unread_body_does_not_cost_the_client_its_answer() {
    let server = Server::start(&listen(), hello()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 6\r\n\r\n";
    stream.write_all(head).await.unwrap();
    tokio::time::sleep(SHORT / 2).await;
    stream.write_all(b"unread").await.unwrap();
    tokio::time::sleep(SHORT / 2).await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the connection is not reset");
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn client_that_leaves_is_noticed_before_it_is_answered() {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let answer = move |_: String| async move {
        let _guard = Guard(flag);
        tokio::time::sleep(6 * LONG).await;
    };
    let router = hello().route("/long", axum::routing::post(answer));
    let server = Server::start(&listen(), router).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    // The connection has served a request before.
    client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
    let post = String::from_utf8_lossy(POST).replace("POST /", "POST /long");
    client.write_all(post.as_bytes()).await.unwrap();
    tokio::time::sleep(SHORT).await;
    drop(client);
    ends_soon(&dropped).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_its_request() {
    let server = Server::start(&listen(), slow_reader(Duration::ZERO)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&POST[..POST.len() - 2]).await.unwrap();
    stream.shutdown().await.unwrap();
    let began = Instant::now();
    let heard = rest(&mut stream).await;
    assert!(!heard.contains(" 200 ") && began.elapsed() < LONG / 2, "{heard}");
}

#[tokio::test]
async fn errors_about_addresses_name_the_flag_to_use() {
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
    async fn socket_is_answered_after_its_sending_side_closed_and_left_when_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&dropped);
        let long = move || async move {
            let _guard = Guard(flag);
            tokio::time::sleep(6 * LONG).await;
        };
        let router = slow_reader(2 * SHORT).route("/long", get(long));
        let _server = Server::start(&at(&path), router).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(POST).await.unwrap();
        stream.shutdown().await.unwrap();
        let heard = rest(&mut stream).await;
        assert!(heard.starts_with("HTTP/1.1 200"), "nobody asks whether it is there: {heard}");
        let mut leaving = UnixStream::connect(&path).await.unwrap();
        leaving.write_all(b"GET /long HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        tokio::time::sleep(SHORT).await;
        drop(leaving);
        ends_soon(&dropped).await;
    }

    #[tokio::test]
    async fn the_socket_has_no_limit_per_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listening = Listen { per_address_max: Some(1), ..at(&path) };
        let _server = Server::start(&listening, layered(slow(3 * SHORT))).await;
        let began = Instant::now();
        let asking = (0..5).map(|_| {
            let path = path.clone();
            tokio::spawn(async move { ask_over(UnixStream::connect(&path).await.unwrap(), "GET /").await })
        });
        for answer in asking.collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap().unwrap().body, "at last");
        }
        assert!(began.elapsed() < 5 * 3 * SHORT, "one after the other: {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_home_has_one_server_until_the_last_answer_is_sent() {
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
        assert_eq!(ending.await.unwrap(), ShutdownReport { cut: 0 });
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
        assert_eq!(server.stop().await.unwrap(), ShutdownReport { cut: 0 });
    }

    #[tokio::test]
    async fn a_running_server_keeps_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let check = async |path: &Path, expected: &str| {
            let message = bind(&at(path)).await.map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(path.to_str().unwrap()), "{message}");
        };
        let path = dir.path().join("ours");
        let server = Server::start(&at(&path), hello()).await;
        check(&path, "is already running").await;
        let stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(ask_over(stream, "GET /").await.unwrap().body, "hello", "the second try did no harm");
        server.stop().await.unwrap();

        // Another program listens there without holding the lock.
        let path = dir.path().join("theirs");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        check(&path, "is already running").await;

        let path = dir.path().join("file");
        fs::write(&path, "mine").unwrap();
        check(&path, "can't be replaced").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");

        check(&dir.path().join("long".repeat(30)), "too long").await;
    }
}

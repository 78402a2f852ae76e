use std::time::Duration;

use super::report::{Limits, LoadReport, Sweep, SweepRow};
use super::workload::{Call, Workload};
use super::*;
use crate::bench::client::Prompt;
use crate::bench::fake::{FakeServer, Script};

const LIMITS: Limits = Limits { ttft_limit_ms: 1000.0, itl_limit_ms: 50.0 };

fn loaded(url: &str, calls: Vec<Call>, mode: Mode, stop: &Cancel) -> Result<Loaded, ClientError> {
    loaded_of("fake", url, calls, mode, stop)
}

fn loaded_of(
    model: &str,
    url: &str,
    calls: Vec<Call>,
    mode: Mode,
    stop: &Cancel,
) -> Result<Loaded, ClientError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let client = Client::new(Duration::from_secs(1)).expect("a client");
    let endpoint = Endpoint::new(url, model, None, true).expect("it is here");
    let target = Target { client, endpoint };
    runtime.expect("a runtime").block_on(load(&target, calls, mode, 1, stop, &mut |_| {}))
}

fn calls(count: usize, output_tokens: u32) -> Vec<Call> {
    let call =
        |place: usize| Call { prompt: Prompt::Text(format!(" call {place}")), output_tokens, at: None };
    (0..count).map(call).collect()
}

/// Sums what a server of this script comes to under six calls, three at a time.
fn report(script: Script) -> LoadReport {
    let server = FakeServer::start(script);
    let mode = Mode::Closed { concurrency: 3 };
    LoadReport::new(loaded(&server.url, calls(6, 5), mode, &Cancel::new()).expect("it is there"), LIMITS)
}

#[test]
fn times_of_a_closed_loop_are_those_of_the_server() {
    // Five tokens, 20 ms before each; two after the other on each of three connections.
    let report = report(Script::Good { ms: 20 });
    assert_eq!((report.requests, report.errors, report.output_tokens, report.prompt_tokens), (6, 0, 30, 42));
    // Upper ends are for a busy machine.
    assert!((20.0..500.0).contains(&report.ttft_ms.p50), "{:?}", report.ttft_ms);
    assert!((15.0..500.0).contains(&report.itl_ms.p50), "{:?}", report.itl_ms);
    assert!((100.0..2000.0).contains(&report.e2e_ms.p50), "{:?}", report.e2e_ms);
    assert!((0.2..4.0).contains(&report.wall_s), "{}", report.wall_s);
    assert!((report.output_tokens_per_s - 30.0 / report.wall_s).abs() < 1e-9);
    assert!((report.goodput.share - 1.0).abs() < 1e-9);
}

#[test]
fn a_call_that_had_to_wait_counts_from_when_it_was_due() {
    let server = FakeServer::start(Script::Good { ms: 1 });
    let at = |ms| Some(Duration::from_millis(ms));
    let mut recorded = calls(3, 2);
    (recorded[0].at, recorded[1].at, recorded[2].at) = (at(0), at(150), at(300));
    let done = loaded(&server.url, recorded, Mode::Recorded, &Cancel::new()).expect("it is there");
    let at_ms: Vec<u64> = done.samples.iter().map(|sample| sample.at_ms.round() as u64).collect();
    assert_eq!(at_ms, [0, 150, 300], "when they were due, not when they were sent");
    assert!(done.wall >= Duration::from_millis(300));
    // Due 200 ms ago, first token now.
    let due = Instant::now() - Duration::from_millis(200);
    let waited = sample(&calls(1, 2)[0], Duration::ZERO, due, Instant::now(), &[Instant::now()], None, None);
    assert!(waited.ttft_ms.expect("a token came") >= 200.0);
}

#[test]
fn arrivals_follow_the_seed_and_the_rate() {
    let times: Vec<Duration> = arrivals(50.0, 3).take(2001).collect();
    assert_eq!(times, arrivals(50.0, 3).take(2001).collect::<Vec<_>>());
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
    let mean = times[2000].as_secs_f64() / 2000.0;
    assert!((0.018..0.022).contains(&mean), "mean {mean} of 0.02");
    // An exponential's standard deviation is its mean.
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let spread = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
    assert!((0.9..1.1).contains(&(spread / mean)), "spread {spread}");
}

#[test]
fn calls_that_fail_are_counted_by_kind_and_leave_the_figures_alone() {
    let check = |script: Script, kind: &str| {
        let report = report(script);
        assert_eq!((report.requests, report.errors), (6, 6));
        assert_eq!(report.errors_by.get(kind), Some(&6), "{:?}", report.errors_by);
        assert_eq!((report.output_tokens, report.ttft_ms.max, report.goodput.share), (0, 0.0, 0.0));
    };
    check(Script::Status(429, "{}"), "status");
    check(Script::Closes, "closed");
    check(Script::Stalls, "stalled");
    check(Script::Counts { output_tokens: 99 }, "counts");
    let short = report(Script::Short { tokens: 2 });
    assert_eq!((short.errors, short.short_answers, short.output_tokens), (0, 6, 12));
}

#[test]
fn a_band_is_measured_by_the_pieces_of_its_answers() {
    let server = FakeServer::start(Script::Counts { output_tokens: 99 });
    let mode = Mode::Closed { concurrency: 3 };
    let done = loaded_of("bandmaster", &server.url, calls(6, 5), mode, &Cancel::new());
    let report = LoadReport::new(done.expect("it is there"), LIMITS);
    assert_eq!((report.errors, report.output_tokens, report.pieces), (0, 30, 30), "{:?}", report.errors_by);
    // A band refuses `ignore_eos`.
    let bodies = server.bodies.lock().expect("whole");
    assert!(bodies.iter().all(|body| body.get("ignore_eos").is_none()), "{bodies:?}");
}

#[test]
fn a_server_that_is_not_there_ends_it_at_once() {
    let mode = Mode::Closed { concurrency: 2 };
    let error = loaded("http://127.0.0.1:9", calls(1000, 5), mode, &Cancel::new());
    assert_eq!(error.expect_err("nobody listens there").kind(), "unreachable");
}

#[test]
fn an_interrupt_keeps_the_calls_that_have_ended() {
    let server = FakeServer::start(Script::Good { ms: 10 });
    let cancel = Cancel::new();
    let thrower = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1000));
        thrower.cancel();
    });
    let done =
        loaded(&server.url, calls(1000, 5), Mode::Closed { concurrency: 2 }, &cancel).expect("it is there");
    assert!(done.interrupted && !done.samples.is_empty() && done.samples.len() < 100);
}

#[test]
fn the_knee_is_below_the_first_rate_that_is_too_much() {
    let row = |rate: f64, share: f64| {
        let mut load = report(Script::Short { tokens: 1 });
        load.goodput.share = share;
        SweepRow { rate, load }
    };
    let sweep = Sweep::new(vec![row(3.0, 0.99), row(1.0, 1.0), row(2.0, 0.9)]);
    assert_eq!(sweep.knee_rate, Some(1.0));
    assert!(sweep.rows.iter().all(|row| row.load.samples.is_empty()));
    assert_eq!(Sweep::new(vec![row(1.0, 0.5)]).knee_rate, None);
}

#[test]
fn made_up_calls_have_their_lengths_and_share_what_they_should() {
    let words = |call: &Call| match &call.prompt {
        Prompt::Chat(messages) => {
            messages.iter().map(|message| message.content.split_whitespace().count()).collect()
        }
        Prompt::Text(text) => vec![text.split_whitespace().count()],
    };
    assert_eq!(Workload::Chat.calls(5, 1), Workload::Chat.calls(5, 1));
    assert_ne!(Workload::Chat.calls(5, 1), Workload::Chat.calls(5, 2));
    for call in Workload::Chat.calls(50, 1) {
        let counts: Vec<usize> = words(&call);
        assert!(counts[0] == 60 && (40..200).contains(&counts[1]) && (32..96).contains(&call.output_tokens));
    }
    let fanout = Workload::Fanout.calls(2, 1);
    assert_eq!(words(&fanout[0]), [1060]);
    assert_ne!(fanout[0], fanout[1]);
    let long = Workload::Mixed.calls(10, 1).iter().filter(|call| words(call) == [2000]).count();
    assert_eq!(long, 2);
}

#[test]
fn a_recording_is_read_or_its_line_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("calls.jsonl");
    let find = |text: &str| {
        std::fs::write(&file, text).expect("written");
        Workload::find(file.to_str().expect("UTF-8"))
    };
    let good = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":3,\"at_ms\":40,\"user\":\"x\"}\n\n{\"prompt\":\"a\",\"max_tokens\":2}\n";
    let recording = find(good).expect("two calls");
    assert_eq!((recording.name(), recording.sha256().map(str::len)), ("calls.jsonl", Some(64)));
    let text = |call: &Call| match &call.prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Chat(messages) => messages[0].content.clone(),
    };
    let calls = recording.calls(4, 1);
    assert_eq!((calls[0].at, calls[0].output_tokens), (Some(Duration::from_millis(40)), 3));
    assert!(text(&calls[1]).ends_with(" a") || text(&calls[1]).ends_with('a'));
    assert_eq!(calls[2].at, Some(Duration::from_millis(120)), "the second pass follows the first");
    let opening = |call: &Call| text(call).split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    assert_ne!(opening(&calls[2]), opening(&calls[0]), "no pass finds what another left in a cache");
    assert_ne!(opening(&recording.calls(1, 2)[0]), opening(&calls[0]));
    let refuse = |text: &str, says: &str| {
        let error = find(text).expect_err(says).to_string();
        assert!(error.contains(says) && error.contains("calls.jsonl"), "{error}");
    };
    refuse("", "holds no calls");
    refuse("{\"prompt\":\"a\",\"max_tokens\":2}\n{broken", "line 2");
    refuse("{\"max_tokens\":2}", "either `messages` or `prompt`");
    refuse("{\"prompt\":\"a\"}", "max_tokens");
    refuse("{\"prompt\":\"a\",\"max_tokens\":0}", "between 1 and");
    refuse("{\"prompt\":\"a\",\"max_tokens\":4294967295}", "between 1 and");
    refuse("{\"messages\":[{\"role\":\"robot\",\"content\":\"\"}],\"max_tokens\":1}", "no role `robot`");
    assert!(Workload::find("nowhere").expect_err("no file").to_string().contains("chat, fanout, mixed"));
}

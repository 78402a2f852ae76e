//! The engine's thread and its handles, in real time.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bandmaster::engine::{
    Engine, EngineConfig, EngineError, EngineHandle, Event, Failure, FinishReason, Job, JobEnd, JobKind,
    ModelId, OnJobEnd, Rejected, Request,
};

use bandmaster_kernels::Cpu;
use bandmaster_models::tiny::{TinyShape, gguf_bytes};
use bandmaster_models::{LoadOptions, load, packed_path};

use super::fake::{FakeModel, FaultInjector};
use super::steps::request;

const PATIENCE: Duration = Duration::from_secs(20);

fn engine(queue_max: usize) -> (EngineHandle, FaultInjector) {
    let config = EngineConfig { queue_max, ..EngineConfig::with_memory_bytes(100_000) };
    let handle = Engine::start(config).expect("a thread");
    let faults = FaultInjector::default();
    let of_model = faults.clone();
    let loader =
        move || Ok(Box::new(FakeModel::new(3, 50, 4096, 100, 4096).with_faults(of_model.clone())) as _);
    handle.load("fake", 0, Arc::new(loader)).expect("the fake loads");
    (handle, faults)
}

fn listened(prompt: Vec<u32>, tokens_max: u32) -> (Request, Receiver<Event>) {
    let (sender, receiver) = sync_channel(10_000);
    let (mut request, _) = request(prompt, tokens_max);
    request.sink = Box::new(move |event| sender.send(event).is_ok());
    (request, receiver)
}

/// A job of one piece.
fn job(run: impl Fn() + Send + 'static) -> Job {
    let run = move |_| {
        run();
        true
    };
    Job {
        kind: JobKind(0),
        pieces: vec![1],
        deadline: None,
        run: Box::new(run),
        on_end: OnJobEnd::new(|_| {}),
    }
}

fn last(events: &Receiver<Event>) -> Event {
    loop {
        let event = events.recv_timeout(PATIENCE).expect("every request hears its end");
        if matches!(event, Event::Finished { .. } | Event::Failed(_)) {
            return event;
        }
    }
}

#[test]
fn many_threads_submit_and_all_hear_their_end() {
    let (handle, _) = engine(1000);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let handle = handle.clone();
            scope.spawn(move || {
                for turn in 0..20 {
                    let (request, events) = listened(vec![thread, turn, 1], 10);
                    let id = handle.submit(request).expect("there is room");
                    if turn % 3 == 0 {
                        handle.cancel(id);
                    }
                    assert!(matches!(last(&events), Event::Finished { .. }));
                }
            });
        }
    });
    let (done, wait) = sync_channel(1);
    handle.job(job(move || done.send(()).expect("the test waits"))).expect("there is room");
    wait.recv_timeout(PATIENCE).expect("the job runs");
    let stats = handle.stats();
    assert_eq!((stats.requests, stats.running, stats.waiting, stats.kv_bytes_held), (80, 0, 0, 0));
    handle.shutdown();
}

#[test]
fn a_model_that_panics_fails_its_requests_and_serves_the_next() {
    let (handle, faults) = engine(10);
    for _ in 0..3 {
        faults.panic_next();
        let (request, events) = listened(vec![1, 2, 3], 5);
        handle.submit(request).expect("there is room");
        assert!(matches!(last(&events), Event::Failed(Failure::ModelPanicked { .. })));
        let (request, events) = listened(vec![1, 2, 3], 5);
        handle.submit(request).expect("there is room");
        assert!(matches!(last(&events), Event::Finished { reason: FinishReason::Length, .. }));
    }
}

#[test]
fn a_model_whose_file_changes_is_loaded_again_and_its_requests_go_on() {
    let tokens = |events: &Receiver<Event>| {
        let mut tokens = Vec::new();
        loop {
            match events.recv_timeout(PATIENCE).expect("every request hears its end") {
                Event::Token { id, .. } => tokens.push(id),
                Event::Finished { .. } => return tokens,
                Event::Failed(message) => panic!("{message}"),
                _ => {}
            }
        }
    };
    let (handle, faults) = engine(10);
    let ask = || {
        let (request, events) = listened(vec![1, 2, 3], 50);
        handle.submit(request).expect("there is room");
        events
    };
    let expected = tokens(&ask());
    assert_eq!(handle.stats().loads, 1);
    for losses in 1..4 {
        faults.change_file_next();
        assert_eq!(tokens(&ask()), expected);
        assert_eq!(handle.stats().loads, 1 + losses);
    }
}

#[test]
fn a_listener_that_leaves_or_panics_ends_its_request_alone() {
    let (handle, _) = engine(10);
    let (mut panics, _) = request(vec![1, 2], 1000);
    panics.sink = Box::new(|_| panic!("a listener panics"));
    handle.submit(panics).expect("there is room");
    let (leaves, events) = listened(vec![1, 2, 3], 1000);
    handle.submit(leaves).expect("there is room");
    drop(events);
    let (request, events) = listened(vec![3], 10);
    handle.submit(request).expect("there is room");
    assert!(matches!(last(&events), Event::Finished { reason: FinishReason::Length, .. }));
    handle.job(job(|| panic!("a job panics"))).expect("there is room");
    let (request, events) = listened(vec![3], 10);
    handle.submit(request).expect("there is room");
    assert!(matches!(last(&events), Event::Finished { .. }));
}

#[test]
fn a_full_queue_answers_at_once() {
    let (handle, _) = engine(3);
    let (hold, release) = sync_channel::<()>(0);
    handle.job(job(move || assert!(release.recv().is_err()))).expect("there is room");
    let queued: Vec<_> = (0..3)
        .map(|_| {
            let (request, events) = listened(vec![1], 1);
            handle.submit(request).expect("there is room for three");
            events
        })
        .collect();
    let refused = handle.submit(listened(vec![1], 1).0);
    assert_eq!(refused, Err(Rejected::QueueFull { waiting: 3 }));
    drop(hold);
    for events in &queued {
        assert!(matches!(last(events), Event::Finished { .. }));
    }
    let (request, events) = listened(vec![1], 1);
    handle.submit(request).expect("there is room again");
    assert!(matches!(last(&events), Event::Finished { .. }));
}

#[test]
fn jobs_have_a_limit_of_their_own_and_end_when_they_are_cancelled() {
    let (handle, _) = engine(3);
    let (hold, release) = sync_channel::<()>(0);
    handle.job(job(move || assert!(release.recv().is_err()))).expect("there is room");
    let (tell, told) = sync_channel(10);
    let pieces = |number: u32| {
        let (ran, broke) = (tell.clone(), tell.clone());
        Job {
            pieces: vec![1; 1000],
            run: Box::new(move |_| ran.send((number, None)).is_ok()),
            on_end: OnJobEnd::new(move |end| broke.send((number, Some(end))).expect("the test waits")),
            ..job(|| {})
        }
    };
    let waiting: Vec<_> = (0..2).map(|number| handle.job(pieces(number)).expect("there is room")).collect();
    assert_eq!(handle.job(pieces(9)), Err(Rejected::QueueFull { waiting: 3 }));
    let (request, events) = listened(vec![1], 1);
    handle.submit(request).expect("requests have places of their own");
    waiting.iter().for_each(|&id| handle.cancel(id));
    drop(hold);
    for number in 0..2 {
        let ended = told.recv_timeout(PATIENCE).expect("it hears its end");
        assert_eq!(ended, (number, Some(JobEnd::Cancelled)), "no piece of it ran");
    }
    assert!(matches!(last(&events), Event::Finished { .. }));
    handle.job(job(|| {})).expect("there is room again");
}

#[test]
fn ten_thousand_tiny_requests_do_not_stop_a_stream_and_those_that_leave_are_gone() {
    let (handle, _) = engine(10_000);
    let (stream, events) = listened(vec![1], 3000);
    handle.submit(stream).expect("there is room");
    let mut others = Vec::new();
    for number in 0..9_000u32 {
        let (request, events) = listened(vec![number % 50, 2, 3], 1);
        let id = handle.submit(request).expect("there is room");
        if number % 2 == 0 {
            handle.cancel(id);
        }
        others.push(events);
    }
    assert!(matches!(last(&events), Event::Finished { reason: FinishReason::Length, .. }));
    for (number, events) in others.iter().enumerate() {
        let Event::Finished { reason, .. } = last(events) else { panic!("it broke") };
        assert!(number % 2 == 0 || reason == FinishReason::Length);
    }
}

#[test]
fn loading_neither_stops_streams_nor_breaks_when_it_fails() {
    let (handle, _) = engine(10);
    let (request, events) = listened(vec![1], 3000);
    handle.submit(request).expect("there is room");
    let reason = |result: Result<ModelId, EngineError>| result.expect_err("it cannot load").to_string();
    let streams = events;
    let loader = handle.clone();
    let failed = std::thread::spawn(move || {
        let streams = Mutex::new(streams);
        reason(loader.load(
            "broken",
            0,
            Arc::new(move || {
                // Loads for as long as the stream takes.
                let end = last(&streams.lock().expect("one loader at a time"));
                Err(format!("no such file, but {}", matches!(end, Event::Finished { .. })).into())
            }),
        ))
    });
    assert_eq!(failed.join().expect("no panic"), "model broken: no such file, but true");
    assert!(reason(handle.load("worse", 0, Arc::new(|| panic!("out of luck")))).contains("out of luck"));
    let large = || Ok(Box::new(FakeModel::new(1, 50, 64, 1 << 40, 4)) as _);
    assert!(reason(handle.load("large", 0, Arc::new(large))).contains("--memory"));
    let heavy = || Ok(Box::new(FakeModel::new(1, 50, 64, 100, 4).weighing(1 << 40)) as _);
    assert!(reason(handle.load("heavy", 1 << 40, Arc::new(heavy))).contains("--memory"));
    let (request, events) = listened(vec![1], 3);
    handle.submit(request).expect("the first model is still there");
    assert!(matches!(last(&events), Event::Finished { .. }));
}

#[test]
fn what_lives_when_the_engine_ends_fails() {
    let (handle, _) = engine(10);
    let (request, events) = listened(vec![1], 4000);
    handle.submit(request).expect("there is room");
    handle.shutdown();
    assert_eq!(last(&events), Event::Failed(Failure::Stopped));
    assert_eq!(handle.submit(listened(vec![1], 1).0), Err(Rejected::Stopped));

    let (handle, _) = engine(10);
    let (request, events) = listened(vec![1], 4000);
    handle.submit(request).expect("there is room");
    drop(handle);
    assert_eq!(last(&events), Event::Failed(Failure::Stopped));
}

#[test]
fn every_job_that_was_taken_in_hears_its_end_when_the_engine_stops() {
    let (handle, _) = engine(10);
    let ((begins, begun), (hold, release)) = (sync_channel(1), sync_channel::<()>(0));
    let first = move || {
        begins.send(()).expect("the test waits");
        // Blocks until the test releases it.
        let _ = release.recv();
    };
    handle.job(job(first)).expect("there is room");
    begun.recv_timeout(PATIENCE).expect("it runs");
    let (tell, told) = sync_channel(10);
    for number in 0..5 {
        let tell = tell.clone();
        let on_end = OnJobEnd::new(move |end| tell.send((number, end)).expect("the test waits"));
        handle.job(Job { on_end, ..job(|| {}) }).expect("there is room");
    }
    // The commands stay in the channel: the thread is busy, and once it is to stop it reads no more.
    std::thread::scope(|scope| {
        scope.spawn(|| handle.shutdown());
        std::thread::sleep(Duration::from_millis(100));
        drop(hold);
    });
    let mut ended: Vec<(i32, JobEnd)> =
        (0..5).map(|_| told.recv_timeout(PATIENCE).expect("every job hears its end")).collect();
    ended.sort_by_key(|(number, _)| *number);
    assert_eq!(ended, (0..5).map(|number| (number, JobEnd::Cancelled)).collect::<Vec<_>>());
    let refused = OnJobEnd::new(|_| panic!("a refused job hears nothing"));
    assert_eq!(handle.job(Job { on_end: refused, ..job(|| {}) }), Err(Rejected::Stopped));
}

#[test]
fn bad_requests_are_refused_with_a_reason() {
    let (handle, _) = engine(10);
    let refuse = |change: &dyn Fn(&mut Request), expected: &str| {
        let (mut request, _) = request(vec![1], 1);
        change(&mut request);
        let message = handle.submit(request).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    };
    refuse(&|r| r.model = ModelId(9), "no model with id 9");
    refuse(&|r| r.prompt.clear(), "no tokens");
    refuse(&|r| r.prompt = vec![50], "token 50 is outside");
    refuse(&|r| r.prompt = vec![0; 5000], "5000 prompt tokens");
    refuse(&|r| r.sampling.temperature = f32::NAN, "temperature is NaN");
    refuse(&|r| r.sampling.top_p = 0.0, "top_p is 0");
    refuse(&|r| r.sampling.logit_bias = vec![(60, 1.0)], "token 60 is outside");
}

/// An answer of a tiny real model in a file. `harm` damages the file during generation.
fn answer_while(handle: &EngineHandle, harm: Option<Box<dyn Fn() + Send>>) -> Result<Vec<u32>, String> {
    let (sender, events) = sync_channel(10_000);
    let (mut request, _) = request(vec![3, 1, 4, 1, 5], 40);
    let mut harm = harm;
    let mut seen = 0;
    request.sink = Box::new(move |event| {
        seen += 1;
        if seen == 8
            && let Some(harm) = harm.take()
        {
            harm();
        }
        sender.send(event).is_ok()
    });
    handle.submit(request).expect("there is room");
    let mut tokens = Vec::new();
    loop {
        match events.recv_timeout(PATIENCE).expect("every request hears its end") {
            Event::Token { id, .. } => tokens.push(id),
            Event::Finished { .. } => return Ok(tokens),
            Event::Failed(failure) => return Err(failure.to_string()),
            _ => {}
        }
    }
}

#[test]
fn files_cut_in_the_middle_of_an_answer_end_no_process_and_change_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("m.gguf");
    let good = gguf_bytes(5, &TinyShape::llama());
    std::fs::write(&path, &good).expect("written");
    let handle = Engine::start(EngineConfig::with_memory_bytes(64 << 20)).expect("a thread");
    let file = path.clone();
    let loader = move || {
        let options = LoadOptions { keep_packed: true, ..LoadOptions::new(Arc::new(Cpu::new(2)), 16 << 20) };
        Ok(Box::new(load(&file, &options)?) as _)
    };
    handle.load("tiny", 0, Arc::new(loader)).expect("the tiny model loads");
    let expected = answer_while(&handle, None).expect("an answer");
    let cut = |path: std::path::PathBuf, bytes: u64| -> Option<Box<dyn Fn() + Send>> {
        Some(Box::new(move || {
            let file = std::fs::File::options().write(true).open(&path).expect("it is there");
            file.set_len(bytes).expect("it is cut");
        }))
    };
    for bytes in [0, 10_000, 300_000] {
        assert_eq!(
            answer_while(&handle, cut(packed_path(&path), bytes)).as_ref(),
            Ok(&expected),
            "cut to {bytes}"
        );
    }
    let message = answer_while(&handle, cut(path.clone(), 5_000)).expect_err("the model itself is gone");
    for part in ["m.gguf", "download the file again"] {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
    let again = path.with_extension("new");
    std::fs::write(&again, &good).expect("written");
    std::fs::rename(&again, &path).expect("replaced");
    assert_eq!(answer_while(&handle, None), Ok(expected), "once the file is mended the model answers again");
}

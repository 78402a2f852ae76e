//! Explores many interleavings of the engine's threads. Whoever asks hears exactly one end, as the last event; nobody
//! waits for ever; cancelling, expecting and shutting down at any moment leave nothing behind.
//! `BANDMASTER_ORDERS` sets the number of interleavings; the test is compiled with `RUSTFLAGS="--cfg shuttle"`.

#![cfg(shuttle)]

#[path = "it/engine/fake.rs"]
#[allow(dead_code)]
mod fake;

use std::sync::Arc;

use bandmaster::engine::{
    Engine, EngineConfig, EngineHandle, Event, ExpectedPrefix, ModelId, Priority, Rejected, Request,
};
use fake::{FakeModel, FaultInjector};
use shuttle::sync::Mutex;
use shuttle::sync::mpsc::{Receiver, channel};
use shuttle::thread;

fn orders() -> usize {
    std::env::var("BANDMASTER_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(2_000)
}

fn engine(memory_bytes: usize, queue_max: usize, weights: &[usize]) -> (EngineHandle, Vec<ModelId>) {
    let config = EngineConfig { queue_max, ..EngineConfig::with_memory_bytes(memory_bytes) };
    let handle = Engine::start(config).expect("a thread");
    let load = |&weight_bytes: &usize| {
        let model = move || {
            FakeModel::new(3, 50, 256, 100, 64).weighing(weight_bytes).with_faults(FaultInjector::default())
        };
        let loader = Arc::new(move || Ok(Box::new(model()) as _));
        handle.load("fake", weight_bytes, loader).expect("the fake loads")
    };
    let models = weights.iter().map(load).collect();
    (handle, models)
}

fn asked(model: ModelId, prompt: Vec<u32>, tokens_max: u32) -> (Request, Receiver<Event>) {
    let (sender, events) = channel();
    // A lock, because shuttle's senders can't be shared.
    let sender = Mutex::new(sender);
    let request = Request {
        tokens_max,
        priority: Priority::default(),
        sink: Box::new(move |event| sender.lock().expect("no sink panics").send(event).is_ok()),
        ..Request::warm(model, prompt, 0, None)
    };
    (request, events)
}

/// Receives all events and returns whether the request ended without an error.
fn hear(events: &Receiver<Event>) -> bool {
    let events: Vec<Event> = events.iter().collect();
    let is_end = |event: &Event| matches!(event, Event::Finished { .. } | Event::Failed(_));
    assert_eq!(events.iter().filter(|event| is_end(event)).count(), 1, "{events:?}");
    assert!(events.last().is_some_and(is_end), "{events:?}");
    matches!(events.last(), Some(Event::Finished { .. }))
}

#[test]
fn everybody_hears_an_end() {
    let world = || {
        let (handle, models) = engine(10_000, 100, &[0]);
        let askers: Vec<_> = (0..3u32)
            .map(|place| {
                let (handle, model) = (handle.clone(), models[0]);
                thread::spawn(move || {
                    let (request, events) = asked(model, vec![1, 2, place], 3);
                    let id = handle.submit(request).expect("there is room");
                    match place {
                        0 => handle.cancel(id),
                        1 => {
                            let tokens = vec![1; 40];
                            let prefix = ExpectedPrefix { model, cache_salt: 0, tokens, steps: 0 };
                            let id = handle.expect_prefix(prefix);
                            handle.release_prefix(id);
                        }
                        _ => {}
                    }
                    assert!(hear(&events));
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().expect("no asker panics"));
        handle.shutdown();
        let stats = handle.stats();
        assert_eq!((stats.running, stats.waiting, stats.kv_bytes_held), (0, 0, 0));
    };
    shuttle::check_random(world, orders());
}

#[test]
fn a_full_queue_answers_and_what_was_taken_ends() {
    let world = || {
        let (handle, models) = engine(10_000, 1, &[0]);
        let askers: Vec<_> = (0..3u32)
            .map(|place| {
                let (handle, model) = (handle.clone(), models[0]);
                thread::spawn(move || {
                    let (request, events) = asked(model, vec![place + 1], 2);
                    match handle.submit(request) {
                        Ok(_) => assert!(hear(&events)),
                        Err(Rejected::QueueFull { .. }) => assert_eq!(events.iter().count(), 0),
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().expect("no asker panics"));
        // Later requests find room again.
        let (request, events) = asked(models[0], vec![9], 2);
        handle.submit(request).expect("there is room");
        assert!(hear(&events));
    };
    shuttle::check_random(world, orders());
}

#[test]
fn models_that_do_not_fit_together_take_turns_and_shutdown_ends_all() {
    let world = || {
        let (handle, models) = engine(10_000, 10, &[6_000, 6_000]);
        let (first, heard_first) = asked(models[0], vec![1, 2], 2);
        let (second, heard_second) = asked(models[1], vec![1, 2], 2);
        handle.submit(first).expect("there is room");
        handle.submit(second).expect("there is room");
        let stopper = {
            let handle = handle.clone();
            thread::spawn(move || handle.shutdown())
        };
        hear(&heard_first);
        hear(&heard_second);
        stopper.join().expect("shutdown ends");
        assert_eq!(handle.submit(asked(models[0], vec![1], 1).0), Err(Rejected::Stopped));
    };
    shuttle::check_random(world, orders() / 4);
}

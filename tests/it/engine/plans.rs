//! How the engine uses what a plan tells it. Each test is a small world whose clock only models advance.

use std::time::Duration;

use bandmaster::engine::{
    Class, Core, EngineConfig, Event, ExpectedPrefix, ExpectedPrefixId, FinishReason, ModelId, Order,
    RequestId, RunId,
};

use super::fake::{FakeClock, FakeModel, FaultInjector};
use super::simulation::Random;
use super::steps::{Events, finish, random_tokens, request, tokens};

const VOCAB: usize = 50;
const BLOCK_BYTES: usize = 100;

struct World {
    core: Core,
    clock: FakeClock,
    random: Random,
    asked: u64,
}

impl World {
    /// A model whose steps take 10 ms plus 1 ms per token.
    fn new(config: EngineConfig) -> Self {
        let clock = FakeClock::default();
        let mut core = Core::new(EngineConfig { speculate: false, ..config });
        let model = FakeModel::new(3, VOCAB, 4096, BLOCK_BYTES, 4096).taking(&clock, 10_000, 1_000);
        core.add_model("fake", Box::new(model));
        Self { core, clock, random: Random(7), asked: 0 }
    }

    fn ask(&mut self, prompt: Vec<u32>, tokens_max: u32, run: Option<u64>, class: Class) -> Events {
        self.ask_model(ModelId(0), prompt, tokens_max, run, class)
    }

    fn ask_model(
        &mut self,
        model: ModelId,
        prompt: Vec<u32>,
        tokens_max: u32,
        run: Option<u64>,
        class: Class,
    ) -> Events {
        let (mut request, events) = request(prompt, tokens_max);
        request.model = model;
        request.priority.run = run.map(RunId);
        request.priority.class = class;
        self.asked += 1;
        let taken = self.core.submit(RequestId(self.asked), request, self.clock.now());
        taken.unwrap_or_else(|refused| panic!("{}", refused.0));
        events
    }

    fn prompt(&mut self, tokens: usize) -> Vec<u32> {
        random_tokens(&mut self.random, tokens)
    }

    fn step(&mut self) -> bool {
        let stepped = self.core.step(&|| self.clock.now());
        self.core.audit().expect("accounts add up");
        stepped
    }
}

/// Memory for the models' weights and this many blocks.
fn blocks(blocks: usize) -> EngineConfig {
    let cache_bytes_max = blocks * BLOCK_BYTES;
    EngineConfig { cache_bytes_max, ..EngineConfig::with_memory_bytes(1_000_000_000) }
}

fn plenty() -> EngineConfig {
    blocks(4000)
}

#[test]
fn a_later_run_joins_a_step_only_where_that_is_nearly_free() {
    for (order, most) in [(Order::Plan, 12), (Order::Arrival, 31)] {
        let mut world = World::new(EngineConfig { order, ..plenty() });
        let prompt = world.prompt(20);
        let first = world.ask(prompt, 200, Some(1), Class::Run);
        for _ in 0..30 {
            let prompt = world.prompt(20);
            world.ask(prompt, 60, Some(2), Class::Run);
        }
        let mut largest = 0;
        while finish(&first).is_none() {
            world.step();
            let last = world.core.stats().last;
            if last.prefill_tokens == 0 {
                largest = largest.max(last.batch);
            }
        }
        assert!(largest > 2 && largest <= most, "{order:?}: {largest}");
        while world.step() {}
        assert!(world.core.is_idle(), "the later run ends too");
    }
}

#[test]
fn the_first_run_ends_first_although_the_second_asked_for_less() {
    let mut world = World::new(plenty());
    let prompt = world.prompt(600);
    let first = world.ask(prompt, 30, Some(1), Class::Run);
    world.clock.pass(Duration::from_millis(5));
    let seconds: Vec<Events> = (0..8)
        .map(|_| {
            let prompt = world.prompt(400);
            world.ask(prompt, 5, Some(2), Class::Run)
        })
        .collect();
    while finish(&first).is_none() {
        world.step();
    }
    assert!(seconds.iter().any(|events| finish(events).is_none()));
    while world.step() {}
    assert!(seconds.iter().all(|events| finish(events) == Some(FinishReason::Length)));
}

#[test]
fn what_is_expected_outlives_what_was_used_since() {
    for keep in [true, false] {
        // There is room for 40 blocks; the prefix takes 10.
        let mut world = World::new(blocks(40));
        let prefix = world.prompt(160);
        if keep {
            let expected =
                ExpectedPrefix { model: ModelId(0), cache_salt: 0, tokens: prefix.clone(), steps: 1 };
            world.core.expect_prefix(ExpectedPrefixId(1), &expected);
        }
        let use_prefix = |world: &mut World| {
            let prompt = [prefix.clone(), world.prompt(10)].concat();
            let events = world.ask(prompt, 2, None, Class::Run);
            while world.step() {}
            let last = events.lock().expect("no sink panics").last().cloned();
            match last {
                Some(Event::Finished { usage, .. }) => usage.cached_tokens,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(use_prefix(&mut world), 0);
        for _ in 0..10 {
            let prompt = world.prompt(200);
            world.ask(prompt, 2, None, Class::Run);
            while world.step() {}
        }
        assert_eq!(use_prefix(&mut world), if keep { 160 } else { 0 });
        world.core.release_prefix(ExpectedPrefixId(1));
        for _ in 0..10 {
            let prompt = world.prompt(200);
            world.ask(prompt, 2, None, Class::Run);
            while world.step() {}
        }
        assert_eq!(use_prefix(&mut world), 0, "released, it is like any other");
    }
}

#[test]
fn what_is_computed_ahead_waits_for_nobody_and_is_found() {
    let mut world = World::new(plenty());
    let prefix = world.prompt(320);
    let prompt = world.prompt(20);
    let first = world.ask(prompt, 100, Some(1), Class::Run);
    world.step();
    world.ask(prefix.clone(), 0, Some(1), Class::Background);
    while finish(&first).is_none() {
        world.step();
        let last = world.core.stats().last;
        assert!(last.decode_tokens == 0 || last.run_us <= 2 * 10_000 + 1_000, "{last:?}");
    }
    let before = world.core.stats().cached_tokens;
    let prompt = [prefix, world.prompt(5)].concat();
    world.ask(prompt, 1, Some(1), Class::Run);
    while world.step() {}
    assert!(
        world.core.stats().cached_tokens - before >= 319,
        "{}",
        world.core.stats().cached_tokens - before
    );
}

#[test]
fn a_long_prompt_on_one_model_leaves_another_models_replies_their_pace() {
    let mut world = World::new(plenty());
    let slow = FakeModel::new(4, VOCAB, 4096, BLOCK_BYTES, 4096).taking(&world.clock, 20_000, 4_000);
    let (slow, _) = world.core.add_model("slow", Box::new(slow));
    let replies: Vec<Events> = (0..8)
        .map(|_| {
            let prompt = world.prompt(30);
            world.ask(prompt, 400, None, Class::Run)
        })
        .collect();
    for _ in 0..20 {
        world.step();
    }
    let prompt = world.prompt(2000);
    let asked = world.clock.now();
    let long = world.ask_model(slow, prompt, 1, None, Class::Run);
    let (mut said, mut since, mut longest) = (tokens(&replies[0]).len(), world.clock.now(), Duration::ZERO);
    while finish(&long).is_none() {
        world.step();
        let now_said = tokens(&replies[0]).len();
        if now_said > said {
            longest = longest.max(world.clock.now() - since);
            (said, since) = (now_said, world.clock.now());
        }
    }
    assert!(longest <= Duration::from_millis(150), "{longest:?}");
    // Alone it takes four steps of 20 ms and 2,000 tokens of 4 ms.
    let took = world.clock.now() - asked;
    assert!(took <= Duration::from_millis(8_080).mul_f64(1.8), "{took:?}");
}

#[test]
fn models_that_do_not_fit_together_take_turns_and_loads_are_few() {
    take_turns(Duration::ZERO, 4);
    // The loads take longer than anybody's patience, so each model gets its time once it is loaded.
    take_turns(Duration::from_secs(20), 6);
}

/// Two models with twenty requests each, of which only one fits into memory.
fn take_turns(load: Duration, loads_max: u64) {
    let clock = FakeClock::default();
    let mut core = Core::new(EngineConfig { speculate: false, ..EngineConfig::with_memory_bytes(10_000) });
    let model = |clock: &FakeClock| {
        FakeModel::new(3, VOCAB, 4096, BLOCK_BYTES, 64).taking(clock, 10_000, 1_000).weighing(6_000)
    };
    let ids = [core.register_model("a", 6_000, true), core.register_model("b", 6_000, true)];
    let finish_loads = |core: &mut Core, clock: &FakeClock| {
        drop(core.take_unloaded());
        for id in core.take_loads() {
            clock.pass(load);
            core.finish_load(id, Ok(Box::new(model(clock))), clock.now()).expect("it fits");
        }
    };
    for id in ids {
        core.request_load(id, clock.now());
        core.step(&|| clock.now());
        finish_loads(&mut core, &clock);
    }
    let mut random = Random(9);
    let mut events = Vec::new();
    for number in 0..40u64 {
        let (mut request, new_events) = request(random_tokens(&mut random, 30), 20);
        request.model = ids[number as usize % 2];
        core.submit(RequestId(number), request, clock.now())
            .unwrap_or_else(|refused| panic!("{}", refused.0));
        events.push(new_events);
    }
    while !core.is_idle() {
        assert!(
            clock.now() < Duration::from_secs(600),
            "models are loaded and loaded and nothing is computed"
        );
        if !core.step(&|| clock.now()) {
            clock.pass(Duration::from_millis(10));
        }
        finish_loads(&mut core, &clock);
        core.audit().expect("accounts add up");
    }
    assert!(events.iter().all(|events| finish(events) == Some(FinishReason::Length)));
    let loads = core.stats().loads;
    assert!(
        loads <= loads_max,
        "{loads} loads: each once to begin with, and one change for each model's work"
    );
}

#[test]
fn a_run_gets_its_model_although_interactive_requests_never_end() {
    let clock = FakeClock::default();
    let mut core = Core::new(EngineConfig { speculate: false, ..EngineConfig::with_memory_bytes(10_000) });
    let ids = [core.register_model("a", 6_000, true), core.register_model("b", 6_000, true)];
    let model =
        || FakeModel::new(3, VOCAB, 4096, BLOCK_BYTES, 64).taking(&clock, 10_000, 1_000).weighing(6_000);
    let finish_loads = |core: &mut Core| {
        drop(core.take_unloaded());
        for id in core.take_loads() {
            core.finish_load(id, Ok(Box::new(model())), clock.now()).expect("it fits");
        }
    };
    for id in ids {
        core.request_load(id, clock.now());
        core.step(&|| clock.now());
        finish_loads(&mut core);
    }
    let (mut run, events) = request(vec![1, 2, 3], 5);
    run.model = ids[0];
    core.submit(RequestId(0), run, clock.now()).unwrap_or_else(|refused| panic!("{}", refused.0));
    let mut number = 0;
    while finish(&events).is_none() {
        assert!(clock.now() < Duration::from_secs(300), "it waits for ever");
        while core.sequence_count() < 4 {
            number += 1;
            let (mut chat, _) = request(vec![number as u32 % VOCAB as u32, 7], 30);
            chat.model = ids[1];
            chat.priority.class = Class::Interactive;
            core.submit(RequestId(number), chat, clock.now())
                .unwrap_or_else(|refused| panic!("{}", refused.0));
        }
        if !core.step(&|| clock.now()) {
            clock.pass(Duration::from_millis(10));
        }
        finish_loads(&mut core);
        core.audit().expect("accounts add up");
    }
}

#[test]
fn a_model_that_comes_back_another_is_refused() {
    let clock = FakeClock::default();
    let mut core = Core::new(EngineConfig::with_memory_bytes(10_000));
    let ids = [core.register_model("a", 6_000, true), core.register_model("b", 6_000, true)];
    let model = |vocab| FakeModel::new(3, vocab, 4096, BLOCK_BYTES, 64).weighing(6_000);
    for id in ids {
        core.request_load(id, clock.now());
        core.step(&|| clock.now());
        assert_eq!(core.take_loads(), [id]);
        drop(core.take_unloaded());
        core.finish_load(id, Ok(Box::new(model(VOCAB))), clock.now()).expect("it fits");
    }
    let (mut asked, events) = request(vec![VOCAB as u32 - 1], 3);
    asked.model = ids[0];
    core.submit(RequestId(0), asked, clock.now()).unwrap_or_else(|refused| panic!("{}", refused.0));
    core.step(&|| clock.now());
    assert_eq!(core.take_loads(), [ids[0]]);
    drop(core.take_unloaded());
    let refused = core.finish_load(ids[0], Ok(Box::new(model(VOCAB - 1))), clock.now());
    assert!(refused.is_err_and(|reason| reason.to_string().contains("differs from the one first loaded")));
    assert!(matches!(events.lock().expect("no sink panics").last(), Some(Event::Failed(_))));
    core.audit().expect("accounts add up");
}

#[test]
fn a_model_that_is_lost_again_at_once_fails_who_waits_for_it() {
    let clock = FakeClock::default();
    let mut core = Core::new(EngineConfig::with_memory_bytes(10_000));
    let id = core.register_model("a", 100, true);
    let faults = FaultInjector::default();
    let finish_loads = |core: &mut Core| {
        core.step(&|| clock.now());
        assert_eq!(core.take_loads(), [id]);
        drop(core.take_unloaded());
        let model = FakeModel::new(3, VOCAB, 4096, BLOCK_BYTES, 64).with_faults(faults.clone());
        core.finish_load(id, Ok(Box::new(model)), clock.now()).expect("it fits");
    };
    core.request_load(id, clock.now());
    finish_loads(&mut core);
    let (mut asked, events) = request(vec![1, 2, 3], 3);
    asked.model = id;
    core.submit(RequestId(0), asked, clock.now()).unwrap_or_else(|refused| panic!("{}", refused.0));
    let failed = || match events.lock().expect("no sink panics").last() {
        Some(Event::Failed(failure)) => Some(failure.to_string()),
        _ => None,
    };
    faults.change_file_next();
    core.step(&|| clock.now());
    assert_eq!(failed(), None, "it is loaded again first");
    core.audit().expect("accounts add up");
    finish_loads(&mut core);
    faults.change_file_next();
    core.step(&|| clock.now());
    let message = failed().expect("it would go on for ever");
    assert!(message.contains("fake.gguf") && message.contains("renaming"), "{message}");
    core.audit().expect("accounts add up");
}

//! Single properties of the schedule, each in a small world of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bandmaster::engine::{
    Class, Core, EngineConfig, Event, FinishReason, ModelId, Priority, Rejected, Request, RequestId, Sampling,
};

use super::fake::{FakeClock, FakeModel, FaultInjector};
use super::simulation::Random;

const VOCAB: usize = 50;

pub type Events = Arc<Mutex<Vec<Event>>>;

pub fn request(prompt: Vec<u32>, tokens_max: u32) -> (Request, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let request = Request {
        model: ModelId(0),
        prompt,
        sampling: Sampling::greedy(),
        tokens_max,
        stop_tokens: Vec::new(),
        constraint: None,
        priority: Priority::default(),
        deadline: None,
        top_logprobs: None,
        score_prompt_from: None,
        cache_salt: 0,
        sink: Box::new(move |event| {
            sink.lock().expect("no sink panics").push(event);
            true
        }),
    };
    (request, events)
}

pub fn tokens(events: &Events) -> Vec<u32> {
    let events = events.lock().expect("no sink panics");
    let ids = events.iter().filter_map(|event| match event {
        Event::Token { id, .. } => Some(*id),
        _ => None,
    });
    ids.collect()
}

pub fn finish(events: &Events) -> Option<FinishReason> {
    match events.lock().expect("no sink panics").last() {
        Some(Event::Finished { reason, .. }) => Some(*reason),
        _ => None,
    }
}

fn core(blocks: usize, step_tokens_max: usize) -> Core {
    // This test counts steps, so each must give one token.
    let config = EngineConfig::with_memory_bytes(blocks * 100);
    let mut core = Core::new(EngineConfig { step_tokens_max, speculate: false, ..config });
    core.add_model("fake", Box::new(FakeModel::new(3, VOCAB, 4096, 100, 4096)));
    core
}

fn submit(core: &mut Core, id: u64, request: Request) {
    core.submit(RequestId(id), request, Duration::ZERO).unwrap_or_else(|refused| panic!("{}", refused.0));
}

fn step(core: &mut Core) -> bool {
    let stepped = core.step(&|| Duration::from_millis(1));
    core.audit().unwrap_or_else(|message| panic!("{message}"));
    stepped
}

pub fn random_tokens(random: &mut Random, count: usize) -> Vec<u32> {
    (0..count).map(|_| random.below(VOCAB) as u32).collect()
}

#[test]
fn sixteen_siblings_compute_their_common_prefix_once() {
    let mut random = Random(1);
    let shared = random_tokens(&mut random, 1019);
    let mut core = core(4000, 512);
    for wave in 0..2 {
        let before = core.stats().prefill_tokens;
        for sibling in 0..16 {
            let prompt = [&shared[..], &random_tokens(&mut random, 64)].concat();
            submit(&mut core, wave * 16 + sibling, request(prompt, 8).0);
        }
        while step(&mut core) {}
        let computed = core.stats().prefill_tokens - before;
        let unique = if wave == 0 { 1019 + 16 * 64 } else { 16 * 64 };
        // A little less where the own tokens of two siblings start alike.
        assert!(
            computed >= unique * 98 / 100 && computed <= unique * 102 / 100,
            "wave {wave}: {computed} of {unique}"
        );
    }
}

#[test]
fn a_long_prefill_is_cut_so_that_nobody_waits_long() {
    let mut random = Random(2);
    let clock = FakeClock::default();
    let mut core =
        Core::new(EngineConfig { speculate: false, ..EngineConfig::with_memory_bytes(200_000_000) });
    // 100 ms are 90 tokens beside the fixed cost of a step.
    let model = FakeModel::new(3, VOCAB, 4096, 100, 4096).taking(&clock, 10_000, 1_000);
    core.add_model("fake", Box::new(model));
    let step = |core: &mut Core| {
        core.step(&|| clock.now());
        core.audit().expect("accounts add up");
        core.stats().last
    };
    submit(&mut core, 0, request(random_tokens(&mut random, 2000), 1).0);
    // Alone a token takes 11 ms; five times that are 45 tokens.
    let alone = step(&mut core).prefill_tokens;
    assert!((40..=60).contains(&alone), "{alone}");
    while !core.is_idle() {
        step(&mut core);
    }
    let (reply, events) = request(random_tokens(&mut random, 5), 60);
    submit(&mut core, 1, reply);
    step(&mut core);
    submit(&mut core, 2, request(random_tokens(&mut random, 2000), 1).0);
    for said in 1..20 {
        assert_eq!(tokens(&events).len(), said);
        let last = step(&mut core);
        assert!(last.decode_tokens == 1 && (60..110).contains(&last.prefill_tokens), "{last:?}");
        assert!(last.predicted_us.abs_diff(last.run_us) < last.run_us / 5, "{last:?}");
    }
}

#[test]
fn beyond_so_many_replies_others_wait_and_all_are_served() {
    for (slowdown_max, most) in [(1, 1), (3, 16), (8, 60)] {
        let mut random = Random(4);
        let clock = FakeClock::default();
        let config =
            EngineConfig { speculate: false, slowdown_max, ..EngineConfig::with_memory_bytes(200_000_000) };
        let mut core =
            Core::new(EngineConfig { batch_max: 200, shared_step: Duration::from_secs(1), ..config });
        // Alone a token takes 11 ms. Of 3 times that, less the margin and the share of prefill, 12 tokens fit beside
        // the fixed cost of a step.
        let model = FakeModel::new(3, VOCAB, 4096, 100, 4096).taking(&clock, 10_000, 1_000);
        core.add_model("fake", Box::new(model));
        let mut events = Vec::new();
        let mut longest = 0;
        for id in 0..400 {
            let (request, said) = request(random_tokens(&mut random, 3 + id % 5), 100);
            submit(&mut core, id as u64, request);
            events.push(said);
            core.step(&|| clock.now());
            core.audit().expect("accounts add up");
        }
        while !core.is_idle() {
            core.step(&|| clock.now());
            let last = core.stats().last;
            longest = longest.max(last.decode_tokens);
            let limit_us = u64::from(slowdown_max) * 11_000;
            assert!(last.decode_tokens == 0 || last.run_us <= limit_us + 2_000, "{slowdown_max}: {last:?}");
        }
        assert!((most / 2..=most).contains(&longest), "{slowdown_max}: {longest} at once");
        assert!(events.iter().all(|events| tokens(events).len() == 100));
    }
}

#[test]
fn a_full_hit_computes_the_last_token_only() {
    let mut random = Random(3);
    for length in [32, 33, 40, 47] {
        let mut core = core(100, 512);
        let prompt = random_tokens(&mut random, length);
        let mut answers = Vec::new();
        for id in 0..2 {
            let before = core.stats().prefill_tokens;
            let (request, events) = request(prompt.clone(), 5);
            submit(&mut core, id, request);
            while step(&mut core) {}
            let computed = core.stats().prefill_tokens - before;
            assert_eq!(computed as usize, if id == 0 { length } else { 1 }, "prompt of {length}");
            answers.push(tokens(&events));
        }
        assert_eq!(answers[0], answers[1]);
    }
}

#[test]
fn salts_share_nothing() {
    let mut core = core(100, 512);
    let prompt: Vec<u32> = (0..40).collect();
    for salt in 0..3 {
        let (mut request, _) = request(prompt.clone(), 2);
        request.cache_salt = salt;
        submit(&mut core, salt, request);
        while step(&mut core) {}
    }
    assert_eq!(core.stats().cached_tokens, 0);
}

#[test]
fn a_cancelled_request_frees_its_blocks_at_once() {
    let mut core = core(100, 512);
    let (request, events) = request((0..40).collect(), 50);
    submit(&mut core, 7, request);
    step(&mut core);
    assert!(core.stats().kv_bytes_held > 0);
    core.cancel(RequestId(7));
    core.audit().expect("accounts add up");
    assert_eq!((core.stats().kv_bytes_held, core.is_idle()), (0, true));
    assert_eq!(finish(&events), Some(FinishReason::Cancelled));
}

#[test]
fn a_deadline_ends_what_runs_and_what_waits() {
    let mut core = core(100, 512);
    let (mut request, events) = request(vec![1, 2, 3], 50);
    request.deadline = Some(Duration::from_millis(10));
    submit(&mut core, 0, request);
    for ms in 0..20 {
        core.step(&|| Duration::from_millis(ms));
    }
    assert_eq!(finish(&events), Some(FinishReason::Deadline));
    assert_eq!(tokens(&events).len(), 10);
}

#[test]
fn what_can_never_fit_is_refused_with_the_numbers() {
    let mut core = core(4, 512);
    let (request, events) = request(vec![1; 64], 1);
    let refused = core.submit(RequestId(0), request, Duration::ZERO).expect_err("64 tokens fill the pool");
    let expected = Rejected::PromptTooLong { prompt_tokens: 64, context_tokens: 4096, pool_tokens: 64 };
    assert_eq!(refused.0, expected);
    assert!(events.lock().expect("no sink panics").is_empty());
}

#[test]
fn a_background_request_is_not_starved_by_a_stream_of_others() {
    let mut random = Random(4);
    // There is room for one and a half: the background request can't even keep its blocks.
    let mut core = core(6, 512);
    let (mut background, events) = request(random_tokens(&mut random, 50), 20);
    background.priority.class = Class::Background;
    submit(&mut core, 0, background);
    let mut id = 0;
    for ms in (0..300_000).step_by(50) {
        let now = Duration::from_millis(ms);
        if core.stats().waiting < 2 {
            id += 1;
            let (mut other, _) = request(random_tokens(&mut random, 50), 20);
            other.priority.class = Class::Interactive;
            core.submit(RequestId(id), other, now).unwrap_or_else(|refused| panic!("{}", refused.0));
        }
        core.step(&|| now);
        core.audit().expect("accounts add up");
    }
    assert_eq!(finish(&events), Some(FinishReason::Length));
}

#[test]
fn models_take_turns_and_the_higher_class_goes_first() {
    let mut core = core(1000, 512);
    core.add_model("other", Box::new(FakeModel::new(4, VOCAB, 4096, 100, 4096)));
    let mut steps = [0, 0];
    for (id, class) in [(0, Class::Run), (1, Class::Run)] {
        let (mut request, _) = request(vec![1, 2, 3], 1000);
        request.model = ModelId(id);
        request.priority.class = class;
        submit(&mut core, u64::from(id), request);
    }
    for ms in (0..4000).step_by(20) {
        core.step(&|| Duration::from_millis(ms));
        steps[core.stats().last.model.0 as usize] += 1;
    }
    assert!(steps.iter().all(|&steps| steps > 70), "{steps:?}");
    let (mut request, events) = request(vec![4, 5, 6], 5);
    request.model = ModelId(1);
    request.priority.class = Class::Interactive;
    core.submit(RequestId(2), request, Duration::from_millis(4000))
        .unwrap_or_else(|refused| panic!("{}", refused.0));
    for ms in (4000..4100).step_by(20) {
        core.step(&|| Duration::from_millis(ms));
    }
    assert_eq!(finish(&events), Some(FinishReason::Length));
}

#[test]
fn a_steps_share_leaves_out_what_a_failed_step_took_from_the_cache() {
    let faults = FaultInjector::default();
    let mut core = Core::new(EngineConfig { speculate: false, ..EngineConfig::with_memory_bytes(100_000) });
    core.add_model("fake", Box::new(FakeModel::new(3, VOCAB, 4096, 100, 4096).with_faults(faults.clone())));
    let prompt = random_tokens(&mut Random(5), 100);
    submit(&mut core, 0, request(prompt.clone(), 1).0);
    while step(&mut core) {}
    let (sibling, events) = request(prompt, 1);
    submit(&mut core, 1, sibling);
    faults.fail_next();
    step(&mut core);
    assert!(matches!(events.lock().expect("no sink panics").last(), Some(Event::Failed(_))));
    assert_eq!((core.stats().steps_failed, core.stats().last.cached_tokens), (1, 99));
    submit(&mut core, 2, request(random_tokens(&mut Random(6), 100), 1).0);
    step(&mut core);
    let last = core.stats().last;
    assert!(last.prefill_tokens > 0 && last.cached_tokens == 0, "{last:?}");
}

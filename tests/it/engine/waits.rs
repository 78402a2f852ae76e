//! Who waits for whom, and how long at most: short prompts beside long ones, streams beside jobs. Models take time by a
//! clock that nothing else advances.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bandmaster::engine::{
    Class, Core, EngineConfig, Job, JobEnd, JobKind, ModelId, OnJobEnd, RequestId, RunId,
};

use super::fake::{FakeClock, FakeModel};
use super::simulation::Random;
use super::steps::{Events, finish, random_tokens, request, tokens};

const VOCAB: usize = 50;
const STEP_US: u64 = 4_000;
const TOKEN_US: u64 = 400;
/// Tokens of a short question in a chat template.
const SHORT: usize = 30;
const LONG: usize = 7_000;

struct World {
    core: Core,
    clock: FakeClock,
    random: Random,
    asked: u64,
}

impl World {
    fn new(models: usize, slowdown_max: u32) -> Self {
        let clock = FakeClock::default();
        let config = EngineConfig {
            speculate: false,
            slowdown_max,
            ..EngineConfig::with_memory_bytes(100_000_000_000)
        };
        let mut core = Core::new(config);
        for seed in 0..models as u64 {
            let model = FakeModel::new(seed * 3 + 1, VOCAB, 8192, 100, 2000);
            core.add_model("fake", Box::new(model.taking(&clock, STEP_US, TOKEN_US).with_rows_taking(200)));
        }
        let mut world = Self { core, clock, random: Random(3), asked: 0 };
        // The cost of a token is known once one was measured.
        for model in 0..models as u32 {
            let events = world.ask(model, SHORT, 5, None, 0);
            world.until(|_| finish(&events).is_some());
        }
        world
    }

    fn ask(&mut self, model: u32, prompt: usize, tokens_max: u32, run: Option<u64>, path: u32) -> Events {
        let prompt = random_tokens(&mut self.random, prompt);
        let (mut request, events) = request(prompt, tokens_max);
        request.model = ModelId(model);
        request.priority.class = if run.is_some() { Class::Run } else { Class::Interactive };
        request.priority.run = run.map(RunId);
        request.priority.critical_path_tokens = path;
        self.asked += 1;
        let taken = self.core.submit(RequestId(self.asked), request, self.clock.now());
        taken.unwrap_or_else(|refused| panic!("{}", refused.0));
        events
    }

    fn step(&mut self) {
        assert!(self.core.step(&|| self.clock.now()), "nothing goes on");
        self.core.audit().expect("accounts add up");
    }

    /// Runs steps until `over` and returns how long that took.
    fn until(&mut self, over: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.clock.now();
        while !over(self) {
            self.step();
        }
        self.clock.now() - begun
    }

    fn first_token(&mut self, events: &Events) -> Duration {
        self.until(|_| !tokens(events).is_empty())
    }

    /// A job whose pieces take 100 µs per token. Counts those that ran.
    fn job(&mut self, pieces: &[u32]) -> (RequestId, Arc<AtomicUsize>) {
        let ran = Arc::new(AtomicUsize::new(0));
        let (count, clock, lengths) = (Arc::clone(&ran), self.clock.clone(), pieces.to_vec());
        let run = move |range: Range<usize>| {
            let tokens: u32 = lengths[range.clone()].iter().sum();
            clock.pass(Duration::from_micros(500 + 100 * u64::from(tokens)));
            count.fetch_add(range.len(), Ordering::SeqCst);
            true
        };
        self.asked += 1;
        let id = RequestId(self.asked);
        let on_end = OnJobEnd::new(|end| assert_eq!(end, JobEnd::Cancelled));
        let job =
            Job { kind: JobKind(1), pieces: pieces.to_vec(), deadline: None, run: Box::new(run), on_end };
        self.core.submit_job(id, job, self.clock.now());
        (id, ran)
    }
}

#[test]
fn a_short_question_waits_a_step_or_two_for_a_long_prompt_of_its_model() {
    for (models, slowdown_max, run) in
        [(1, 10, None), (1, u32::MAX, None), (1, u32::MAX, Some(7)), (2, 10, None), (2, u32::MAX, None)]
    {
        let mut world = World::new(models, slowdown_max);
        let question = world.ask(0, SHORT, 1, run, 0);
        let alone = world.first_token(&question);
        let long = world.ask(0, LONG, 1, run, 0);
        let long_alone = world.first_token(&long);
        // Meanwhile another model generates.
        let other = (models > 1).then(|| world.ask(1, SHORT, 100_000, None, 0));
        let long = world.ask(0, LONG, 1, run, 0);
        let begun = world.clock.now();
        let mut waits = Vec::new();
        while finish(&long).is_none() {
            let asked = world.ask(0, SHORT, 1, run, 0);
            waits.push(world.first_token(&asked));
            for _ in 0..7 {
                if finish(&long).is_none() {
                    world.step();
                }
            }
        }
        let took = world.clock.now() - begun;
        waits.sort_unstable();
        let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        let case = format!(
            "{models} models, {slowdown_max}, {run:?}: alone {alone:?}, beside {median:?}, {worst:?}"
        );
        assert!(median <= 5 * alone && worst <= 10 * alone, "{case}");
        if other.is_none() {
            let most = (long_alone + alone * waits.len() as u32).mul_f64(1.2);
            assert!(took <= most, "{case}; the long prompt {long_alone:?} alone, {took:?} beside");
        }
    }
}

#[test]
fn a_cached_conversation_is_as_short_as_what_is_new_of_it() {
    let mut world = World::new(1, 10);
    let said = random_tokens(&mut world.random, 6_000);
    let submit = |world: &mut World, prompt: Vec<u32>| {
        let (mut request, events) = request(prompt, 1);
        request.priority.class = Class::Interactive;
        world.asked += 1;
        let taken = world.core.submit(RequestId(world.asked), request, world.clock.now());
        assert!(taken.is_ok());
        events
    };
    let events = submit(&mut world, said.clone());
    world.first_token(&events);
    world.ask(0, LONG, 1, None, 0);
    for _ in 0..5 {
        world.step();
    }
    let events = submit(&mut world, [said, vec![1, 2, 3, 4, 5]].concat());
    let waited = world.first_token(&events);
    assert!(waited <= Duration::from_millis(100), "{waited:?}");
}

#[test]
fn any_stream_of_short_prompts_leaves_long_ones_half_of_the_time() {
    for seed in 0..20 {
        let mut world = World::new(1, [10, u32::MAX][seed as usize % 2]);
        world.random = Random(seed << 8);
        let longs: Vec<usize> =
            (0..1 + world.random.below(3)).map(|_| 1000 + world.random.below(3000)).collect();
        let long: Vec<Events> = longs.iter().map(|&tokens| world.ask(0, tokens, 1, None, 0)).collect();
        let work: u64 = longs.iter().map(|&tokens| tokens as u64 * TOKEN_US).sum();
        let begun = world.clock.now();
        let (most, mut waiting) = (1 + world.random.below(20), Vec::<Events>::new());
        while long.iter().any(|events| finish(events).is_none()) {
            waiting.retain(|events| finish(events).is_none());
            while waiting.len() < most {
                let tokens = 5 + world.random.below(200);
                waiting.push(world.ask(0, tokens, 1, None, 0));
            }
            world.step();
        }
        // Half of the time, plus the reading of the weights in each step.
        let took = (world.clock.now() - begun).as_micros() as u64;
        assert!(took <= 2 * work * 14 / 10 + 200_000, "seed {seed}: {took} us for {work} us of work");
    }
}

#[test]
fn within_a_run_the_longer_path_goes_first_and_a_lower_class_overtakes_nobody() {
    let mut world = World::new(1, 10);
    let long = world.ask(0, 2_000, 1, Some(1), 500);
    let short = world.ask(0, SHORT, 1, Some(1), 20);
    world.first_token(&short);
    assert!(finish(&long).is_some(), "the long one has the longer path");
    let long = world.ask(0, 2_000, 1, Some(1), 500);
    let short = world.ask(0, SHORT, 1, Some(1), 500);
    world.first_token(&short);
    assert!(finish(&long).is_none(), "of two whose paths are as long the shorter prompt goes first");
    world.until(|_| finish(&long).is_some());
    let long = world.ask(0, 2_000, 1, None, 0);
    let short = world.ask(0, SHORT, 1, Some(1), 0);
    world.first_token(&short);
    assert!(finish(&long).is_some(), "a person waits for the long one");
}

#[test]
fn a_short_prompt_overtakes_no_longer_path_of_its_run_whatever_comes_before_that() {
    let mut world = World::new(1, 10);
    let first = world.ask(0, SHORT, 1, Some(1), 0);
    world.first_token(&first);
    // The run is now so old that its requests rank by arrival, and the one with the longest path is not the first.
    world.clock.pass(Duration::from_secs(200));
    world.ask(0, LONG, 1, Some(1), 20);
    world.clock.pass(Duration::from_millis(1));
    let longest = world.ask(0, 2_000, 1, Some(1), 500);
    world.clock.pass(Duration::from_millis(1));
    let short = world.ask(0, SHORT, 1, Some(1), 100);
    world.first_token(&short);
    assert!(finish(&longest).is_some(), "a short prompt overtook one with a longer path");
}

#[test]
fn jobs_beside_a_stream_have_half_of_the_time_and_the_stream_no_long_gaps() {
    for (slowdown_max, prompts) in [(10, false), (u32::MAX, false), (3, false), (10, true)] {
        let mut world = World::new(1, slowdown_max);
        let stream = world.ask(0, SHORT, 100_000, None, 0);
        world.first_token(&stream);
        let jobs: Vec<_> = (0..48).map(|number| world.job(&vec![20 + number * 5; 400])).collect();
        if prompts {
            world.ask(0, LONG, 1, None, 0);
        }
        let (begun, mut before, mut longest) = (world.clock.now(), world.clock.now(), Duration::ZERO);
        let mut said = tokens(&stream).len();
        while world.clock.now() - begun < Duration::from_secs(12) {
            world.step();
            if tokens(&stream).len() > said {
                said = tokens(&stream).len();
                longest = longest.max(world.clock.now() - before);
                before = world.clock.now();
            }
        }
        // A token alone takes 4.6 ms. The longest piece takes 26 ms.
        let slowed =
            Duration::from_micros(4_600).saturating_mul(slowdown_max).min(Duration::from_millis(100));
        let limit = slowed.max(Duration::from_millis(31)).mul_f64(1.1);
        assert!(longest <= limit, "{slowdown_max}: {longest:?}, at most {limit:?}");
        let share = world.core.stats().jobs_us as f64 / 12e6;
        assert!((0.4..0.56).contains(&share), "{slowdown_max}: jobs had {share} of the time");
        let ran: Vec<usize> = jobs.iter().map(|(_, ran)| ran.load(Ordering::SeqCst)).collect();
        assert!(ran.iter().all(|&pieces| pieces > 0), "every client's job goes on: {ran:?}");
        // A cancelled job is gone at once.
        jobs.iter().for_each(|&(id, _)| world.core.cancel(id));
        (0..20).for_each(|_| world.step());
        let after: Vec<usize> = jobs.iter().map(|(_, ran)| ran.load(Ordering::SeqCst)).collect();
        assert_eq!(after, ran, "no piece of a job that was cancelled runs");
    }
}

#[test]
fn jobs_alone_have_the_whole_machine_and_whoever_comes_does_not_wait_for_them() {
    let mut world = World::new(1, 10);
    let (_, ran) = world.job(&[25; 4000]);
    let begun = world.clock.now();
    while world.clock.now() - begun < Duration::from_secs(1) {
        world.step();
    }
    assert!(ran.load(Ordering::SeqCst) >= 370, "{ran:?}");
    let question = world.ask(0, SHORT, 1, None, 0);
    let waited = world.first_token(&question);
    assert!(waited <= Duration::from_millis(90), "{waited:?}");
}

#[test]
fn scores_of_a_prompt_are_part_of_what_a_step_takes() {
    let mut world = World::new(1, 10);
    let stream = world.ask(0, SHORT, 100_000, None, 0);
    world.first_token(&stream);
    let (mut scored, events) = request(random_tokens(&mut world.random, 2_000), 1);
    (scored.score_prompt_from, scored.priority.class) = (Some(1), Class::Interactive);
    world.asked += 1;
    let taken = world.core.submit(RequestId(world.asked), scored, world.clock.now());
    assert!(taken.is_ok());
    let mut steps = 0;
    while finish(&events).is_none() {
        world.step();
        steps += 1;
        let last = world.core.stats().last;
        // The cost of rows is a guess until the first rows of scores were measured.
        assert!(steps < 10 || last.run_us <= 46_000, "{last:?}");
    }
}

//! Seeded worlds of random requests on a fake model, stepped one by one. After every step the accounts must add up.
//! Every answer must equal what the request gets alone, and nobody may wait for ever.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bandmaster::engine::hash::mix;
use bandmaster::engine::{
    Class, Core, EngineConfig, Event, ExpectedPrefix, ExpectedPrefixId, Failure, FinishReason, Job, JobEnd,
    JobKind, LoadResult, ModelId, OnJobEnd, Order, Priority, Request, RequestId, RunId, Sampling, Sink,
};

use super::alone::{Answer, Ask, alone};
use super::fake::{BLOCK, FakeModel, FaultInjector, row_after};
use super::grammar::FakeGrammar;

const VOCAB: usize = 37;
/// Steps within which everything must have ended once nothing new arrives.
const DRAIN_STEPS_MAX: usize = 60_000;

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(1);
        (mix(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) % n.max(1) as u64) as usize
    }
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone)]
struct ModelSetup {
    seed: u64,
    context: usize,
    block_bytes: usize,
    weight_bytes: usize,
    faults: FaultInjector,
}

impl ModelSetup {
    fn model(&self) -> Box<FakeModel> {
        let model = FakeModel::new(self.seed, VOCAB, self.context, self.block_bytes, 64);
        Box::new(model.weighing(self.weight_bytes).with_faults(self.faults.clone()))
    }
}

struct TrackedRequest {
    ask: Ask,
    id: RequestId,
    events: Arc<Mutex<Vec<Event>>>,
    /// Cancelled, closed by its sink, or on a model that failed: the tokens received must be a prefix of the answer.
    disturbed: bool,
    deadline: bool,
}

/// A job, and what happened to it.
struct TrackedJob {
    id: RequestId,
    pieces: usize,
    deadline: bool,
    cancelled: bool,
    /// The number of pieces that ran, and its early end.
    progress: Arc<Mutex<(usize, Option<JobEnd>)>>,
}

/// How long a step, a turn of a job, and each phase take.
const TICK: Duration = Duration::from_millis(3);
/// Ids of jobs start here.
const FIRST_JOB: u64 = 1 << 32;

struct World {
    random: Random,
    core: Core,
    models: Vec<ModelSetup>,
    requests: Vec<TrackedRequest>,
    now: Duration,
    /// Prefixes that prompts share.
    stems: Vec<Vec<u32>>,
    failures: bool,
    /// Models being loaded, and in how many steps they arrive.
    loading: Vec<(ModelId, usize)>,
    expected: u64,
    /// Consecutive steps in which nothing could run.
    stuck: usize,
    jobs: Vec<TrackedJob>,
    /// Run time of the models when a job last had a turn, or when there was none.
    run_us_at_turn: u64,
    job_turns: u64,
    shared_step: Duration,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed << 20);
        let models = 1 + random.below(3);
        let block_bytes: Vec<usize> = (0..models).map(|_| 100 * (1 + random.below(4))).collect();
        // From barely one context to plenty.
        let contexts: Vec<usize> = (0..models).map(|_| 40 + random.below(160)).collect();
        let needs: Vec<usize> =
            block_bytes.iter().zip(&contexts).map(|(b, c)| b * c.div_ceil(BLOCK)).collect();
        // Weights that stay, or that are loaded and unloaded: together they may exceed the memory by far.
        let come_and_go = random.one_in(2);
        let weights: Vec<usize> =
            (0..models).map(|_| if come_and_go { random.below(4000) } else { 0 }).collect();
        let least = needs.iter().zip(&weights).map(|(need, weight)| need + weight).max();
        let cache = needs.iter().max().copied().unwrap_or(0);
        let budget = least.unwrap_or(0) * (4 + random.below(8)) / 4;
        let config = EngineConfig {
            memory_bytes_max: budget,
            cache_bytes_max: if random.one_in(3) { 2 * cache } else { usize::MAX },
            batch_max: 1 + random.below(12),
            step_tokens_max: [1, 3, 16, 40, 200][random.below(5)],
            shared_step: Duration::from_millis(10 + random.below(200) as u64),
            slowdown_max: 1 + random.below(10) as u32,
            queue_max: 1000,
            order: if random.one_in(4) { Order::Arrival } else { Order::Plan },
            speculate: !random.one_in(3),
        };
        let shared_step = config.shared_step;
        let mut core = Core::new(config);
        let models: Vec<ModelSetup> = (0..models)
            .map(|place| ModelSetup {
                seed: seed * 10 + place as u64,
                context: contexts[place],
                block_bytes: block_bytes[place],
                weight_bytes: weights[place],
                faults: FaultInjector::default(),
            })
            .collect();
        for model in &models {
            if come_and_go {
                let id = core.register_model("fake", model.weight_bytes / 2, true);
                core.request_load(id, Duration::ZERO);
            } else {
                core.add_model("fake", model.model());
            }
        }
        let stems = (0..4).map(|_| (0..90).map(|_| random.below(VOCAB) as u32).collect()).collect();
        let failures = random.one_in(3);
        let (requests, now, loading) = (Vec::new(), Duration::ZERO, Vec::new());
        let world = Self {
            random,
            core,
            models,
            requests,
            now,
            stems,
            failures,
            loading,
            expected: 0,
            stuck: 0,
            jobs: Vec::new(),
            run_us_at_turn: 0,
            job_turns: 0,
            shared_step,
        };
        world.loaded()
    }

    /// Loads every model once; before that none can be asked.
    fn loaded(mut self) -> Self {
        for _ in 0..10_000 {
            if self.core.is_idle() {
                break;
            }
            self.step();
        }
        assert!(self.core.is_idle(), "a model is never loaded");
        self
    }

    fn sampling(&mut self) -> Sampling {
        let r = &mut self.random;
        let seed = r.below(1000) as u64;
        if r.one_in(2) {
            return Sampling { seed, ..Sampling::greedy() };
        }
        Sampling {
            temperature: [0.5, 1.0, 2.0][r.below(3)],
            top_k: [0, 0, 5][r.below(3)],
            top_p: [1.0, 0.8][r.below(2)],
            min_p: [0.0, 0.1][r.below(2)],
            repetition_penalty: [1.0, 1.3][r.below(2)],
            presence_penalty: [0.0, 0.5][r.below(2)],
            frequency_penalty: [0.0, 0.2][r.below(2)],
            logit_bias: if r.one_in(4) { vec![(r.below(VOCAB) as u32, 2.0)] } else { Vec::new() },
            seed,
        }
    }

    fn ask(&mut self) -> Ask {
        let model = self.random.below(self.models.len());
        let context = self.models[model].context;
        let sampling = self.sampling();
        let r = &mut self.random;
        let stem = r.below(self.stems.len());
        let shared = r.below(90).min(context - 2);
        let mut prompt = self.stems[stem][..shared].to_vec();
        let own = (1 + r.below(20)).min(context - 1 - shared);
        prompt.extend((0..own).map(|_| r.below(VOCAB) as u32));
        let grammar = r.one_in(4).then(|| FakeGrammar {
            seed: r.below(1 << 20) as u64,
            vocab: VOCAB,
            accepted: Vec::new(),
            complete_at: 1 + r.below(30),
            fails_at: r.one_in(4).then(|| r.below(12)),
            broken: false,
        });
        let stop_tokens =
            if r.one_in(3) && grammar.is_none() { vec![r.below(VOCAB) as u32] } else { Vec::new() };
        Ask {
            model,
            tokens_max: r.below(40) as u32,
            sampling,
            stop_tokens,
            grammar,
            top_logprobs: r.one_in(5).then(|| r.below(4) as u32),
            score_prompt_from: r.one_in(6).then(|| r.below(prompt.len()) as u32),
            prompt,
        }
    }

    fn submit(&mut self) {
        let ask = self.ask();
        let id = RequestId(self.requests.len() as u64);
        let events = Arc::new(Mutex::new(Vec::new()));
        let r = &mut self.random;
        let closes_after = r.one_in(12).then(|| r.below(10));
        let deadline = r.one_in(12).then(|| Duration::from_millis(r.below(3000) as u64));
        let run = r.one_in(2).then(|| RunId(r.below(5) as u64));
        let class = [Class::Background, Class::Run, Class::Run, Class::Interactive][r.below(4)];
        let request = Request {
            model: ModelId(ask.model as u32),
            prompt: ask.prompt.clone(),
            sampling: ask.sampling.clone(),
            tokens_max: ask.tokens_max,
            stop_tokens: ask.stop_tokens.clone(),
            constraint: ask.grammar.clone().map(|grammar| Box::new(grammar) as _),
            priority: Priority { class, run, critical_path_tokens: r.below(300) as u32 },
            deadline,
            top_logprobs: ask.top_logprobs,
            score_prompt_from: ask.score_prompt_from,
            cache_salt: u64::from(r.one_in(8)),
            sink: sink(&events, closes_after),
        };
        self.core.submit(id, request, self.now).unwrap_or_else(|refused| panic!("{}", refused.0));
        let disturbed = closes_after.is_some();
        self.requests.push(TrackedRequest { ask, id, events, disturbed, deadline: deadline.is_some() });
    }

    fn submit_job(&mut self) {
        let r = &mut self.random;
        let pieces: Vec<u32> = (0..1 + r.below(20)).map(|_| 1 + r.below(250) as u32).collect();
        let deadline = r.one_in(6).then(|| Duration::from_millis(r.below(1000) as u64));
        let panics_at = r.one_in(10).then(|| r.below(20));
        let progress = Arc::new(Mutex::new((0, None)));
        let (ran, ended) = (Arc::clone(&progress), Arc::clone(&progress));
        let count = pieces.len();
        let job = Job {
            kind: JobKind(r.below(2) as u64),
            pieces,
            deadline,
            run: Box::new(move |range| {
                let mut ran = ran.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                assert!(
                    ran.0 == range.start && !range.is_empty() && ran.1.is_none(),
                    "{range:?} after {ran:?}"
                );
                ran.0 = range.end;
                drop(ran);
                assert!(!panics_at.is_some_and(|at| range.contains(&at)), "out of luck");
                true
            }),
            on_end: OnJobEnd::new(move |end| {
                let mut ended = ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                assert!(ended.1.replace(end).is_none(), "it ended twice");
            }),
        };
        let id = RequestId(FIRST_JOB + self.jobs.len() as u64);
        self.core.submit_job(id, job, self.now);
        let (deadline, cancelled) = (deadline.is_some(), false);
        self.jobs.push(TrackedJob { id, pieces: count, deadline, cancelled, progress });
    }

    /// Jobs never get more than their share or than may run at once, and never wait for more than their share.
    fn check_shares(&mut self) {
        let stats = self.core.stats();
        let most_us = (self.shared_step + 3 * TICK).as_micros() as u64;
        assert!(stats.jobs_shared_us <= stats.run_us + most_us, "jobs had too much: {stats:?}");
        if stats.jobs == 0 || stats.job_turns != self.job_turns {
            (self.job_turns, self.run_us_at_turn) = (stats.job_turns, stats.run_us);
        }
        // A turn takes as long as a step here, and a turn may follow another.
        let waited_us = stats.run_us - self.run_us_at_turn;
        assert!(waited_us <= most_us, "jobs waited for {waited_us} us: {stats:?}");
    }

    fn check_jobs(&self) {
        for job in &self.jobs {
            let progress = job.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match &progress.1 {
                None => assert_eq!(progress.0, job.pieces, "{:?} is not done", job.id),
                Some(JobEnd::Deadline) => assert!(job.deadline),
                Some(JobEnd::Cancelled) => assert!(job.cancelled),
                Some(JobEnd::Failed(message)) => assert!(message.contains("out of luck"), "{message}"),
            }
        }
    }

    fn disturb(&mut self) {
        if self.random.one_in(25) {
            self.submit_job();
        }
        if self.random.one_in(60) && !self.jobs.is_empty() {
            let place = self.random.below(self.jobs.len());
            self.jobs[place].cancelled = true;
            self.core.cancel(self.jobs[place].id);
        }
        if self.random.one_in(30) && !self.requests.is_empty() {
            let recent = self.requests.len().min(20);
            let place = self.requests.len() - 1 - self.random.below(recent);
            self.requests[place].disturbed = true;
            self.core.cancel(self.requests[place].id);
        }
        if self.random.one_in(20) {
            let r = &mut self.random;
            let stem = r.below(self.stems.len());
            let expected = ExpectedPrefix {
                model: ModelId(r.below(self.models.len()) as u32),
                cache_salt: 0,
                tokens: self.stems[stem][..r.below(90)].to_vec(),
                steps: r.below(4) as u32,
            };
            self.core.expect_prefix(ExpectedPrefixId(self.expected), &expected);
            self.core.release_prefix(ExpectedPrefixId(self.expected.saturating_sub(r.below(6) as u64 + 1)));
            self.expected += 1;
        }
        if self.failures && self.random.one_in(50) {
            let model = self.random.below(self.models.len());
            if self.random.one_in(2) {
                self.models[model].faults.fail_next()
            } else {
                self.models[model].faults.panic_next()
            }
        }
    }

    /// One step; the model takes time by its tokens.
    fn step(&mut self) -> bool {
        let tick = std::cell::Cell::new(self.now);
        let clock = || {
            tick.set(tick.get() + TICK);
            tick.get()
        };
        let stepped = self.core.step(&clock);
        self.now = tick.get();
        drop(self.core.take_unloaded());
        let loads = self.core.take_loads();
        let any_loads = !loads.is_empty();
        self.loading.extend(loads.into_iter().map(|id| (id, self.random.below(30))));
        self.finish_loads();
        if let Err(message) = self.core.audit() {
            panic!("{message}");
        }
        self.check_shares();
        let stuck = !stepped && !any_loads && self.loading.is_empty() && !self.core.is_idle();
        self.stuck = if stuck { self.stuck + 1 } else { 0 };
        if stuck {
            // Somebody may be waiting for a model, which takes patience but not for ever.
            self.now += Duration::from_millis(100);
        }
        assert!(self.stuck < 100, "sequences live and none can go on: {:?}", self.core.stats());
        stepped || !self.core.is_idle()
    }

    fn finish_loads(&mut self) {
        for place in (0..self.loading.len()).rev() {
            let (id, steps) = &mut self.loading[place];
            if *steps > 0 {
                *steps -= 1;
                continue;
            }
            let id = *id;
            self.loading.swap_remove(place);
            let fails = self.failures && !self.requests.is_empty() && self.random.one_in(4);
            let model: LoadResult =
                if fails { Err("no such file".into()) } else { Ok(self.models[id.0 as usize].model()) };
            let finished = self.core.finish_load(id, model, self.now);
            assert_eq!(finished.is_err(), fails);
        }
    }

    fn check_answers(&self) {
        for asked in &self.requests {
            let model = &self.models[asked.ask.model];
            check_answer(asked, model, self.failures);
        }
    }
}

fn sink(events: &Arc<Mutex<Vec<Event>>>, closes_after: Option<usize>) -> Sink {
    let events = Arc::clone(events);
    Box::new(move |event| {
        let mut events = events.lock().expect("no test panics while it holds this");
        events.push(event);
        closes_after.is_none_or(|count| events.len() <= count)
    })
}

fn log_probability(row: &[f32], token: u32) -> f32 {
    let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
    (f64::from(row[token as usize]) - sum.ln()) as f32
}

fn check_answer(asked: &TrackedRequest, model: &ModelSetup, failures: bool) {
    let events = asked.events.lock().expect("no sink panics");
    let (wanted, answer) = alone(&asked.ask, model.seed, VOCAB, model.context);
    let prompt = &asked.ask.prompt;
    let mut got = Vec::new();
    let mut scores = asked.ask.score_prompt_from.map_or(prompt.len(), |from| from.max(1) as usize);
    let mut progress = 0;
    let mut end = None;
    for event in events.iter() {
        assert!(end.is_none(), "{:?} after the end", event);
        match event {
            Event::Prefill { computed, total, cached } => {
                assert!(*computed > progress && *cached <= *total && *total as usize == prompt.len());
                progress = *computed;
            }
            Event::PromptScore { index, logprobs } => {
                assert_eq!(*index as usize, scores, "scores come in order, once");
                scores += 1;
                let row = row_after(model.seed, &prompt[..*index as usize], VOCAB);
                let expected = log_probability(&row, prompt[*index as usize]);
                assert!((logprobs.logprob - expected).abs() < 1e-4);
            }
            Event::Token { id, logprobs } => {
                assert_eq!(logprobs.is_some(), asked.ask.top_logprobs.is_some());
                if let Some(logprobs) = logprobs {
                    let row = row_after(model.seed, &[&prompt[..], &got].concat(), VOCAB);
                    assert!((logprobs.logprob - log_probability(&row, *id)).abs() < 1e-4);
                    assert_eq!(logprobs.top.len(), asked.ask.top_logprobs.unwrap_or(0) as usize);
                }
                got.push(*id);
            }
            Event::Finished { reason, usage } => {
                assert_eq!(usage.completion_tokens as usize, got.len());
                end = Some(Answer::Ends(*reason));
            }
            Event::Failed(failure) => {
                let of_grammar = matches!(failure, Failure::Grammar(_) | Failure::GrammarPanicked(_));
                assert!(failures || of_grammar, "{failure}");
                end = Some(Answer::Fails);
            }
        }
    }
    assert_eq!(got, wanted[..got.len()], "request {:?}: another answer than alone", asked.id);
    let late = asked.deadline && end == Some(Answer::Ends(FinishReason::Deadline));
    let broken = failures && end == Some(Answer::Fails);
    if asked.disturbed || late || broken {
        return;
    }
    assert_eq!(
        (got.len(), end),
        (wanted.len(), Some(answer.clone())),
        "request {:?} ends otherwise",
        asked.id
    );
    assert!(answer == Answer::Fails || scores == prompt.len(), "scores are missing");
}

/// Runs one world for about `steps` steps and drains it.
pub fn simulate(seed: u64, steps: usize) -> bandmaster::engine::Stats {
    let mut world = World::new(seed);
    let rush = 4 + world.random.below(20);
    for _ in 0..steps {
        while world.random.one_in(rush) {
            for _ in 0..=world.random.below(4) {
                world.submit();
            }
        }
        world.disturb();
        world.step();
    }
    let drained = (0..DRAIN_STEPS_MAX).any(|_| !world.step());
    assert!(drained, "somebody starves: {:?}", world.core.stats());
    world.check_answers();
    world.check_jobs();
    let stats = world.core.stats().clone();
    assert_eq!((stats.running, stats.waiting, stats.kv_bytes_held), (0, 0, 0));
    stats
}

#[test]
fn every_answer_is_the_one_alone() {
    let seeds = std::env::var("BANDMASTER_SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let first = std::env::var("BANDMASTER_SIMULATION_FIRST").ok().and_then(|first| first.parse().ok());
    let mut sums = [0; 8];
    for seed in first.unwrap_or(0)..seeds.unwrap_or(100) {
        let stats = std::panic::catch_unwind(|| simulate(seed, 300)).unwrap_or_else(|panic| {
            eprintln!("simulation seed {seed} failed");
            std::panic::resume_unwind(panic)
        });
        sums[0] += stats.steps;
        sums[1] += stats.preemptions;
        sums[2] += stats.cached_tokens;
        sums[3] += stats.recomputed_tokens;
        sums[4] += stats.drafted_tokens;
        sums[5] += stats.accepted_tokens;
        sums[6] += stats.loads;
        sums[7] += stats.job_turns;
    }
    // A simulation without contention would show nothing.
    assert!(
        sums.iter().all(|&sum| sum > 100),
        "steps, preemptions, cached, recomputed, drafted, accepted, loads, turns of jobs: {sums:?}"
    );
    eprintln!("steps, preemptions, cached, recomputed, drafted, accepted, loads, turns of jobs: {sums:?}");
}

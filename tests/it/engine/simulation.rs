//! Seeded worlds of random requests on a fake model, step by step. After every step the accounts add up; every answer is
//! the one the request gets alone; nobody waits for ever.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bandmaster::engine::hash::mix;
use bandmaster::engine::{
    Class, Core, EngineConfig, Event, FinishReason, ModelId, Priority, Request, RequestId, Sampling, Sink,
};

use super::alone::{Answer, Ask, alone};
use super::fake::{BLOCK, FakeModel, Mood, row_after};
use super::grammar::FakeGrammar;

const VOCAB: usize = 37;
/// Steps within which everything that was asked must have ended once nothing new comes.
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

struct Lane {
    seed: u64,
    context: usize,
    mood: Mood,
}

struct Asked {
    ask: Ask,
    id: RequestId,
    heard: Arc<Mutex<Vec<Event>>>,
    /// Cancelled, deaf or on a model that failed: what it heard must be a beginning of the answer.
    disturbed: bool,
    deadline: bool,
}

struct World {
    random: Random,
    core: Core,
    lanes: Vec<Lane>,
    asked: Vec<Asked>,
    now: Duration,
    /// Leading parts that prompts share.
    stems: Vec<Vec<u32>>,
    failures: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed << 20);
        let lanes = 1 + random.below(3);
        let block_bytes: Vec<usize> = (0..lanes).map(|_| 100 * (1 + random.below(4))).collect();
        // From barely one context to plenty.
        let contexts: Vec<usize> = (0..lanes).map(|_| 40 + random.below(160)).collect();
        let least = block_bytes.iter().zip(&contexts).map(|(b, c)| b * c.div_ceil(BLOCK)).max();
        let budget = least.unwrap_or(0) * (4 + random.below(8)) / 4;
        let config = EngineConfig {
            kv_bytes_max: budget,
            batch_max: 1 + random.below(12),
            step_tokens_max: [1, 3, 16, 40, 200][random.below(5)],
            shared_step: Duration::from_millis(10 + random.below(200) as u64),
            queue_max: 1000,
        };
        let mut core = Core::new(config);
        let lanes = (0..lanes).map(|place| {
            let seed = seed * 10 + place as u64;
            let model = FakeModel::new(seed, VOCAB, contexts[place], block_bytes[place], 64);
            let mood = model.mood();
            core.add_model("fake", Box::new(model));
            Lane { seed, context: contexts[place], mood }
        });
        let lanes = lanes.collect();
        let stems = (0..4).map(|_| (0..90).map(|_| random.below(VOCAB) as u32).collect()).collect();
        let failures = random.one_in(3);
        Self { random, core, lanes, asked: Vec::new(), now: Duration::ZERO, stems, failures }
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
        let model = self.random.below(self.lanes.len());
        let context = self.lanes[model].context;
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
        let id = RequestId(self.asked.len() as u64);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let r = &mut self.random;
        let deaf_after = r.one_in(12).then(|| r.below(10));
        let deadline = r.one_in(12).then(|| Duration::from_millis(r.below(3000) as u64));
        let class = [Class::Background, Class::Run, Class::Run, Class::Interactive][r.below(4)];
        let request = Request {
            model: ModelId(ask.model as u32),
            prompt: ask.prompt.clone(),
            sampling: ask.sampling.clone(),
            tokens_max: ask.tokens_max,
            stop_tokens: ask.stop_tokens.clone(),
            constraint: ask.grammar.clone().map(|grammar| Box::new(grammar) as _),
            priority: Priority { class, critical_path_tokens: r.below(300) as u32 },
            deadline,
            top_logprobs: ask.top_logprobs,
            score_prompt_from: ask.score_prompt_from,
            cache_salt: u64::from(r.one_in(8)),
            sink: sink(&heard, deaf_after),
        };
        self.core.submit(id, request, self.now).unwrap_or_else(|refused| panic!("{}", refused.0));
        let disturbed = deaf_after.is_some();
        self.asked.push(Asked { ask, id, heard, disturbed, deadline: deadline.is_some() });
    }

    fn disturb(&mut self) {
        if self.random.one_in(30) && !self.asked.is_empty() {
            let recent = self.asked.len().min(20);
            let place = self.asked.len() - 1 - self.random.below(recent);
            self.asked[place].disturbed = true;
            self.core.cancel(self.asked[place].id);
        }
        if self.failures && self.random.one_in(50) {
            let lane = self.random.below(self.lanes.len());
            if self.random.one_in(2) {
                self.lanes[lane].mood.fail_next()
            } else {
                self.lanes[lane].mood.panic_next()
            }
        }
    }

    /// One step; the model takes time by its tokens.
    fn step(&mut self) -> bool {
        let tick = std::cell::Cell::new(self.now);
        let clock = || {
            tick.set(tick.get() + Duration::from_millis(3));
            tick.get()
        };
        let stepped = self.core.step(&clock);
        self.now = tick.get();
        if let Err(message) = self.core.audit() {
            panic!("{message}");
        }
        assert!(stepped || self.core.is_idle(), "sequences live and none can go on");
        stepped
    }

    fn check_answers(&self) {
        for asked in &self.asked {
            let lane = &self.lanes[asked.ask.model];
            check_answer(asked, lane, self.failures);
        }
    }
}

fn sink(heard: &Arc<Mutex<Vec<Event>>>, deaf_after: Option<usize>) -> Sink {
    let heard = Arc::clone(heard);
    Box::new(move |event| {
        let mut heard = heard.lock().expect("no test panics while it holds this");
        heard.push(event);
        deaf_after.is_none_or(|events| heard.len() <= events)
    })
}

fn log_probability(row: &[f32], token: u32) -> f32 {
    let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
    (f64::from(row[token as usize]) - sum.ln()) as f32
}

fn check_answer(asked: &Asked, lane: &Lane, failures: bool) {
    let heard = asked.heard.lock().expect("no sink panics");
    let (wanted, answer) = alone(&asked.ask, lane.seed, VOCAB, lane.context);
    let prompt = &asked.ask.prompt;
    let mut got = Vec::new();
    let mut scores = asked.ask.score_prompt_from.map_or(prompt.len(), |from| from.max(1) as usize);
    let mut progress = 0;
    let mut end = None;
    for event in heard.iter() {
        assert!(end.is_none(), "{:?} after the end", event);
        match event {
            Event::Prefill { computed, total, cached } => {
                assert!(*computed > progress && *cached <= *total && *total as usize == prompt.len());
                progress = *computed;
            }
            Event::PromptScore { index, logprobs } => {
                assert_eq!(*index as usize, scores, "scores come in order, once");
                scores += 1;
                let row = row_after(lane.seed, &prompt[..*index as usize], VOCAB);
                let expected = log_probability(&row, prompt[*index as usize]);
                assert!((logprobs.logprob - expected).abs() < 1e-4);
            }
            Event::Token { id, logprobs } => {
                assert_eq!(logprobs.is_some(), asked.ask.top_logprobs.is_some());
                if let Some(logprobs) = logprobs {
                    let row = row_after(lane.seed, &[&prompt[..], &got].concat(), VOCAB);
                    assert!((logprobs.logprob - log_probability(&row, *id)).abs() < 1e-4);
                    assert_eq!(logprobs.top.len(), asked.ask.top_logprobs.unwrap_or(0) as usize);
                }
                got.push(*id);
            }
            Event::Finished { reason, usage } => {
                assert_eq!(usage.completion_tokens as usize, got.len());
                end = Some(Answer::Ends(*reason));
            }
            Event::Failed(message) => {
                assert!(failures || message.contains("grammar"), "{message}");
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
    assert!(drained, "somebody starves");
    world.check_answers();
    let stats = world.core.stats().clone();
    assert_eq!((stats.running, stats.waiting, stats.kv_bytes_held), (0, 0, 0));
    stats
}

#[test]
fn every_answer_is_the_one_alone() {
    let seeds = std::env::var("BANDMASTER_SIMULATION_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let mut sums = [0; 4];
    for seed in 0..seeds.unwrap_or(100) {
        let stats = std::panic::catch_unwind(|| simulate(seed, 300)).unwrap_or_else(|panic| {
            eprintln!("simulation seed {seed} failed");
            std::panic::resume_unwind(panic)
        });
        sums[0] += stats.steps;
        sums[1] += stats.preemptions;
        sums[2] += stats.cached_tokens;
        sums[3] += stats.recomputed_tokens;
    }
    // A simulation in which nothing is contended shows nothing.
    assert!(sums.iter().all(|&sum| sum > 100), "steps, preemptions, cached, recomputed: {sums:?}");
    eprintln!("steps, preemptions, cached, recomputed: {sums:?}");
}

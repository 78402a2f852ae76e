//! On real arithmetic, tokens and log-probabilities depend on the prompt alone: not on the batch, the number of
//! threads, where a prompt is chunked, what the cache holds, or who was preempted.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bandmaster::engine::{Core, EngineConfig, Event, RequestId, RunId, Sampling};
use bandmaster_kernels::Cpu;
use bandmaster_models::gguf::Gguf;
use bandmaster_models::tiny::{TinyShape, gguf_bytes};
use bandmaster_models::{CpuModel, LoadOptions, load, load_gguf};

use super::simulation::Random;
use super::steps::{Events, request};

const KV_BYTES: usize = 64 << 20;
/// Generated tokens per request.
const ANSWER_TOKENS: u32 = 12;

/// Token ids and the bits of their log-probabilities.
type Answer = Vec<(u32, u32)>;

struct World {
    /// Accepted draft tokens in all ways so far. A test without any would not cover speculation.
    guessed: Cell<u64>,
    load: Box<dyn Fn(usize) -> CpuModel>,
    prompts: Vec<Vec<u32>>,
}

/// One way of running the same requests.
#[derive(Debug, Clone, Copy)]
struct Way {
    batch: usize,
    threads: usize,
    chunk: usize,
    /// Blocks of cache; `None` means plenty.
    blocks: Option<usize>,
    /// Whether to use speculative decoding.
    speculate: bool,
}

fn answer(events: &Events) -> Answer {
    let events = events.lock().expect("no sink panics");
    assert!(matches!(events.last(), Some(Event::Finished { .. })), "{:?}", events.last());
    let tokens = events.iter().filter_map(|event| match event {
        Event::Token { id, logprobs } => Some((*id, logprobs.as_ref()?.logprob.to_bits())),
        _ => None,
    });
    tokens.collect()
}

fn sampling(place: usize) -> Sampling {
    if place.is_multiple_of(2) {
        return Sampling::greedy();
    }
    Sampling {
        temperature: 1.0,
        top_p: 0.95,
        frequency_penalty: 0.1,
        seed: place as u64,
        ..Sampling::greedy()
    }
}

impl World {
    /// The answers to all prompts, run in `way`, for each of `rounds` rounds over one cache.
    fn run(&self, way: Way, rounds: usize) -> Vec<Vec<Answer>> {
        let model = (self.load)(way.threads);
        let info = bandmaster_models::Model::info(&model);
        let (block_bytes, weight_bytes) = (info.kv_block_bytes, info.weight_bytes);
        let mut core = Core::new(EngineConfig {
            batch_max: way.batch,
            step_tokens_max: way.chunk,
            speculate: way.speculate,
            ..EngineConfig::with_memory_bytes(
                weight_bytes + way.blocks.map_or(KV_BYTES, |blocks| blocks * block_bytes),
            )
        });
        core.add_model("tiny", Box::new(model));
        let round = |round: usize, core: &mut Core| {
            let events: Vec<Events> = (0..self.prompts.len())
                .map(|place| {
                    let (mut request, events) = request(self.prompts[place].clone(), ANSWER_TOKENS);
                    request.sampling = sampling(place);
                    request.top_logprobs = Some(0);
                    // One run, so that the second round drafts from the output of the first.
                    request.priority.run = Some(RunId(0));
                    let id = RequestId((round * self.prompts.len() + place) as u64);
                    let taken = core.submit(id, request, Duration::ZERO);
                    taken.unwrap_or_else(|refused| panic!("{}", refused.0));
                    events
                })
                .collect();
            while core.step(&|| Duration::ZERO) {}
            events.iter().map(answer).collect()
        };
        let answers = (0..rounds).map(|place| round(place, &mut core)).collect();
        let stats = core.stats();
        assert_eq!(stats.preemptions > 0, way.blocks.is_some(), "{way:?} preempts {}", stats.preemptions);
        self.guessed.set(self.guessed.get() + stats.accepted_tokens);
        answers
    }

    fn check(&self, ways: &[Way]) {
        let alone = Way { batch: 1, threads: 1, chunk: 512, blocks: None, speculate: false };
        let expected: Vec<Answer> = (0..self.prompts.len())
            .map(|place| {
                // Alone in an engine of its own: nothing is cached or shared.
                let model = (self.load)(alone.threads);
                let weight_bytes = bandmaster_models::Model::info(&model).weight_bytes;
                let memory = EngineConfig::with_memory_bytes(weight_bytes + KV_BYTES);
                let mut core = Core::new(EngineConfig { speculate: alone.speculate, ..memory });
                core.add_model("tiny", Box::new(model));
                let (mut request, events) = request(self.prompts[place].clone(), ANSWER_TOKENS);
                request.sampling = sampling(place);
                request.top_logprobs = Some(0);
                let taken = core.submit(RequestId(0), request, Duration::ZERO);
                taken.unwrap_or_else(|refused| panic!("{}", refused.0));
                while core.step(&|| Duration::ZERO) {}
                answer(&events)
            })
            .collect();
        for &way in ways {
            for (round, answers) in self.run(way, 2).into_iter().enumerate() {
                for (place, answer) in answers.iter().enumerate() {
                    assert_eq!(answer, &expected[place], "{way:?}, round {round}, prompt {place}");
                }
            }
        }
        assert!(self.guessed.get() > 0, "nothing was guessed right");
    }
}

/// Prompts of many lengths, half of them with a common prefix.
fn prompts(count: usize, vocab: usize) -> Vec<Vec<u32>> {
    let mut random = Random(99);
    let mut tokens = |count: usize| -> Vec<u32> { (0..count).map(|_| random.below(vocab) as u32).collect() };
    let stem = tokens(75);
    (0..count)
        .map(|place| {
            let own = tokens(1 + place * 37 % 90);
            if place.is_multiple_of(2) { [&stem[..], &own].concat() } else { own }
        })
        .collect()
}

fn tiny(shape: TinyShape, prompts: Vec<Vec<u32>>) -> World {
    let bytes = gguf_bytes(5, &shape);
    let load = Box::new(move |threads| {
        let gguf = Gguf::from_bytes(bytes.clone()).expect("the file is well formed");
        let options = LoadOptions::new(Arc::new(Cpu::new(threads)), KV_BYTES);
        load_gguf(gguf, &options).expect("the file describes a decoder that is run")
    });
    World { guessed: Cell::new(0), load, prompts }
}

#[test]
fn batch_threads_chunks_cache_and_preemption_change_no_bit() {
    for shape in [TinyShape::llama(), TinyShape::qwen2()] {
        let mut ways = Vec::new();
        for threads in [1, 2, 3] {
            for chunk in [1, 7, 16, 50, 512] {
                let batch = [1, 2, 5, 12, 32][(chunk + threads) % 5];
                ways.push(Way { batch, threads, chunk, blocks: None, speculate: true });
            }
        }
        ways.push(Way { batch: 32, threads: 2, chunk: 1, blocks: None, speculate: true });
        ways.push(Way { batch: 32, threads: 2, chunk: 512, blocks: None, speculate: true });
        ways.push(Way { batch: 1, threads: 2, chunk: 512, blocks: None, speculate: true });
        ways.push(Way { batch: 16, threads: 2, chunk: 64, blocks: Some(14), speculate: true });
        tiny(shape, prompts(32, 300)).check(&ways);
    }
}

#[test]
fn a_real_model_gives_the_same_bits_in_every_batch() {
    let Some(path) = bandmaster_test_support::model("smollm2-135m.gguf") else { return };
    let load = Box::new(move |threads| {
        load(&path, &LoadOptions::new(Arc::new(Cpu::new(threads)), 1 << 30))
            .expect("a model of the band loads")
    });
    let ways = [(1, 2, 512), (8, 1, 33), (8, 3, 100), (3, 2, 16)].map(|(batch, threads, chunk)| Way {
        batch,
        threads,
        chunk,
        blocks: None,
        speculate: true,
    });
    World { guessed: Cell::new(0), load, prompts: prompts(8, 40_000) }.check(&ways);
}

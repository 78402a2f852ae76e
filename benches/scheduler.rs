//! The cost of a step apart from the model: schedule and commit of 1 to 4,096 decoding sequences on a model whose rows
//! cost nothing; and the cost of sampling a token from a large vocabulary. `cargo bench --bench scheduler`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bandmaster::engine::hash::uniform;
use bandmaster::engine::{
    Core, EngineConfig, ModelId, Priority, Request, RequestId, Sampler, SamplerScratch, Sampling, sample,
};
use bandmaster_models::{Batch, ForwardError, Model, ModelInfo, OnRow};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CONTEXT_TOKENS: usize = 1 << 20;

struct FreeRows(ModelInfo);

impl FreeRows {
    fn new(blocks: usize) -> Self {
        Self(ModelInfo {
            architecture: "free".into(),
            vocab: 8,
            context_tokens_max: CONTEXT_TOKENS,
            kv_block_bytes: 1,
            kv_blocks_max: blocks,
            weight_bytes: 0,
            parameters: 0,
        })
    }
}

impl Model for FreeRows {
    fn info(&self) -> &ModelInfo {
        &self.0
    }
    fn forward(&mut self, batch: &Batch, on_row: OnRow<'_>) -> Result<(), ForwardError> {
        let mut logits = [0.0; 8];
        for (row, &token) in batch.rows.iter().enumerate() {
            logits.fill(0.0);
            logits[(batch.tokens[token as usize] as usize * 5 + 3) % 8] = 1.0;
            on_row(row, &mut logits);
        }
        Ok(())
    }
    fn commit_block(&mut self, _block: u32) {}
    fn decommit_block(&mut self, _block: u32) {}
}

fn request(id: u64) -> Request {
    Request {
        model: ModelId(0),
        prompt: (0..24).map(|place| ((id >> (3 * (place % 8))) & 7) as u32).collect(),
        sampling: Sampling::greedy(),
        tokens_max: 500,
        stop_tokens: Vec::new(),
        constraint: None,
        priority: Priority::default(),
        deadline: None,
        top_logprobs: None,
        score_prompt_from: None,
        cache_salt: id,
        sink: Box::new(|_| true),
    }
}

/// An engine that keeps `sequences` decoding. Finished ones are replaced, so that arrivals, prefills and evictions are
/// part of the measurement.
struct Busy {
    core: Core,
    sequences: usize,
    submitted: u64,
    clock: Cell<Duration>,
}

impl Busy {
    fn new(sequences: usize) -> Self {
        let mut core = Core::new(EngineConfig {
            batch_max: sequences,
            step_tokens_max: 1 << 16,
            // The free model repeats itself, so with speculative decoding one step would do the work of many.
            speculate: false,
            ..EngineConfig::with_memory_bytes(sequences * 40 + 64)
        });
        core.add_model("free", Box::new(FreeRows::new(sequences * 40 + 64)));
        let mut busy = Self { core, sequences, submitted: 0, clock: Cell::default() };
        while busy.step() < sequences {}
        busy
    }

    /// Runs a step; returns the number of sequences in it.
    fn step(&mut self) -> usize {
        while self.core.sequence_count() < self.sequences {
            self.submitted += 1;
            let taken =
                self.core.submit(RequestId(self.submitted), request(self.submitted), self.clock.get());
            assert!(taken.is_ok());
        }
        let before = self.core.batch_sum();
        let clock = || self.clock.replace(self.clock.get() + Duration::from_micros(1));
        assert!(self.core.step(&clock));
        (self.core.batch_sum() - before) as usize
    }
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("sequence-steps");
    for sequences in [1usize, 16, 64, 256, 1024, 4096] {
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::from_parameter(sequences), |b| {
            let mut busy = Busy::new(sequences);
            b.iter_custom(|wanted| {
                let start = Instant::now();
                let mut done = 0;
                while done < wanted as usize {
                    done += busy.step();
                }
                start.elapsed().mul_f64(wanted as f64 / done as f64)
            });
        });
    }
    group.finish();
}

/// Bell-shaped logits with a few peaks, like those of real models.
fn peaked(vocab: u64) -> Vec<f32> {
    let unit = |token: u64, part: u64| uniform(1, token, part) as f32 - 0.5;
    let bell = |token| (0..6).map(|part| unit(token, part)).sum::<f32>() * 3.5;
    let peak = |token: u64| if token % 1499 == 7 { 6.0 + 8.0 * unit(token, 9) } else { 0.0 };
    (0..vocab).map(|token| bell(token) + peak(token)).collect()
}

fn sampling(c: &mut Criterion) {
    let vocab = 151_936;
    let peaked = peaked(vocab);
    // The worst case of top-p: a nucleus of a tenth of the vocabulary.
    let flat: Vec<f32> = (0..vocab).map(|token| ((token * 7919) % 10_007) as f32 / 500.0).collect();
    let top = |top_k, top_p| Sampling { temperature: 0.7, top_k, top_p, ..Sampling::greedy() };
    let cases = [
        ("greedy", &peaked, Sampling::greedy()),
        ("all", &peaked, top(0, 1.0)),
        ("top-p", &peaked, top(0, 0.9)),
        ("top-k-p", &peaked, top(20, 0.8)),
        ("top-p-flat", &flat, top(0, 0.9)),
    ];
    let mut group = c.benchmark_group("draw-151936");
    for (name, row, sampling) in cases {
        let sampler = Sampler::new(sampling, None, &[]);
        let mut scratch = SamplerScratch::default();
        let mut row = row.clone();
        let mut position = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                position += 1;
                sample(&mut row, &sampler, None, position, &mut scratch)
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = steps, sampling
}
criterion_main!(benches);

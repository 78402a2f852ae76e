//! What a step costs besides the model: schedule and commit of decoding sequences, from 1 to 4,096 of them, on a model
//! whose rows are free. `cargo bench --bench scheduler`; elements are sequence-steps.

use std::time::Duration;

use bandmaster::engine::sampler::{Drawing, Scratch, draw};
use bandmaster::engine::{Core, EngineConfig, ModelId, Priority, Request, RequestId, Sampling};
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
    fn commit(&mut self, _block: u32) {}
    fn decommit(&mut self, _block: u32) {}
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

/// Sequences that end are replaced, so that arrivals, prefills and evictions are in the figure.
fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    for sequences in [1usize, 16, 64, 256, 1024, 4096] {
        group.throughput(Throughput::Elements(sequences as u64));
        group.bench_function(BenchmarkId::from_parameter(sequences), |b| {
            let mut core = Core::new(EngineConfig {
                batch_max: sequences,
                ..EngineConfig::with_kv_bytes(sequences * 40 + 64)
            });
            core.add_model("free", Box::new(FreeRows::new(sequences * 40 + 64)));
            let mut submitted = 0;
            let clock = || Duration::from_millis(1);
            b.iter(|| {
                while core.live() < sequences {
                    submitted += 1;
                    let taken = core.submit(RequestId(submitted), request(submitted), clock());
                    assert!(taken.is_ok());
                }
                core.step(&clock)
            });
        });
    }
    group.finish();
}

fn sampling(c: &mut Criterion) {
    let vocab = 151_936;
    let row: Vec<f32> = (0..vocab).map(|token| ((token * 7919) % 10_007) as f32 / 500.0 - 10.0).collect();
    let top = |top_k, top_p| Sampling { temperature: 0.7, top_k, top_p, ..Sampling::greedy() };
    let cases = [
        ("greedy", Sampling::greedy()),
        ("all", top(0, 1.0)),
        ("top-p", top(0, 0.9)),
        ("top-k-p", top(20, 0.8)),
    ];
    let mut group = c.benchmark_group("draw-151936");
    for (name, sampling) in cases {
        let drawing = Drawing::new(sampling, None, &[]);
        let mut scratch = Scratch::default();
        let mut row = row.clone();
        let mut position = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                position += 1;
                draw(&mut row, &drawing, None, position, &mut scratch)
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

use std::collections::HashMap;

use bandmaster_models::{Batch, ForwardError, Model, ModelInfo, OnRow};

use super::limits::{Costs, MachineLimits};
use super::measure::{MeasureError, measure};
use super::report::{ModelFacts, ThroughputReport};
use super::row::{Bound, Row};
use super::workload::{Workload, WorkloadError};
use crate::compare::{Side, compare};
use crate::machine::Machine;
use crate::origin::{Build, Origin};
use crate::percentiles::median;
use crate::random::TokenSource;

/// Records what was computed and checks that each position is computed once, after those before it.
struct Counting {
    info: ModelInfo,
    /// Number of tokens written, by block.
    written: HashMap<u32, usize>,
    computed: usize,
    committed: i64,
    steps: Vec<(usize, usize)>,
}

impl Counting {
    fn new(kv_blocks_max: usize) -> Self {
        let info = ModelInfo {
            architecture: "counting".into(),
            vocab: 32,
            context_tokens_max: 4096,
            kv_block_bytes: 4096,
            kv_blocks_max,
            weight_bytes: 0,
            parameters: 0,
        };
        Self { info, written: HashMap::new(), computed: 0, committed: 0, steps: Vec::new() }
    }
}

impl Model for Counting {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn forward(&mut self, batch: &Batch, on_row: OnRow<'_>) -> Result<(), ForwardError> {
        for span in &batch.spans {
            let table = &batch.tables[span.table.clone()];
            for position in span.context..span.context + span.tokens.len() {
                let filled = self.written.entry(table[position / 16]).or_default();
                assert_eq!(*filled, position % 16, "position {position} computed out of order");
                *filled += 1;
            }
        }
        self.computed += batch.tokens.len();
        self.steps.push((batch.spans.len(), batch.tokens.len()));
        for row in 0..batch.rows.len() {
            on_row(row, &mut vec![0.0; self.info.vocab]);
        }
        Ok(())
    }

    fn commit_block(&mut self, block: u32) {
        assert!((block as usize) < self.info.kv_blocks_max);
        self.written.insert(block, 0);
        self.committed += 1;
    }

    fn decommit_block(&mut self, _block: u32) {
        self.committed -= 1;
    }
}

fn workload() -> Workload {
    Workload {
        prompt_tokens: 50,
        gen_tokens: 20,
        batches: vec![3],
        depth_tokens: 0,
        shared_prefix_tokens: 0,
        warmup: 0,
        repeat: 1,
        threads: 2,
        seed: 0,
    }
}

#[test]
fn every_token_is_computed_once_and_decode_passes_hold_the_whole_batch() {
    let mut model = Counting::new(100);
    let rows = measure(&mut model, 64, &workload(), &mut |_, _| true).unwrap();
    assert_eq!(model.computed, 3 * 50 + 3 * 20);
    assert_eq!(rows[0].computed_tokens, 150);
    assert_eq!(model.steps.iter().filter(|step| **step == (3, 3)).count(), 20);
    assert_eq!(model.committed, 0, "blocks are given back");
    assert_eq!(rows[0].kv_pool_bytes, 3 * 5 * 4096);
}

#[test]
fn a_shared_prefix_is_computed_once_in_whole_blocks() {
    let mut model = Counting::new(100);
    let workload = Workload { shared_prefix_tokens: 40, ..workload() };
    let rows = measure(&mut model, 1024, &workload, &mut |_, _| true).unwrap();
    assert_eq!(rows[0].cached_tokens, 2 * 32);
    assert_eq!(rows[0].computed_tokens, 150 - 64);
    assert_eq!(model.computed, 150 - 64 + 60);
}

#[test]
fn depth_is_computed_but_not_counted() {
    let mut model = Counting::new(100);
    let workload = Workload { depth_tokens: 100, warmup: 2, ..workload() };
    let mut rounds = 0;
    let rows = measure(&mut model, 64, &workload, &mut |_, _| {
        rounds += 1;
        true
    })
    .unwrap();
    assert_eq!(rounds, 3);
    assert_eq!(model.computed, 3 * 3 * (100 + 50 + 20));
    assert_eq!(rows[0].computed_tokens, 150);
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let mut model = Counting::new(14);
    let refused = measure(&mut model, 64, &workload(), &mut |_, _| true);
    assert!(matches!(refused, Err(MeasureError::Pool { batch: 3, needed: 15, available: 14 })));
    let long = Workload { prompt_tokens: 5000, ..workload() };
    assert!(matches!(measure(&mut model, 64, &long, &mut |_, _| true), Err(MeasureError::Context { .. })));
    assert_eq!(Workload { repeat: 0, ..workload() }.validate(), Err(WorkloadError::Zero("--repeat")));
    let shared = Workload { shared_prefix_tokens: 50, ..workload() };
    assert!(matches!(shared.validate(), Err(WorkloadError::SharedTooLong { .. })));
}

#[test]
fn tokens_follow_the_seed_and_the_median_is_the_middle() {
    assert_eq!(TokenSource::new(1, 1000).take(8), TokenSource::new(1, 1000).take(8));
    assert_ne!(TokenSource::new(1, 1000).take(8), TokenSource::new(2, 1000).take(8));
    assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
    assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
}

fn report(rows: Vec<Row>) -> ThroughputReport {
    ThroughputReport {
        interrupted: false,
        schema: ThroughputReport::SCHEMA,
        origin: Origin {
            machine: Machine::here("scalar"),
            command: "bandmaster bench throughput".to_owned(),
            version: "0.1.0".to_owned(),
            build: Build::default(),
        },
        threads: 2,
        kv_type: "f16".to_owned(),
        model: ModelFacts { name: "counting".into(), file: "c.gguf".into(), bytes: 5_000_000, parameters: 1 },
        rows,
        limits: Vec::new(),
        left_out: Vec::new(),
    }
}

#[test]
fn rows_keep_their_rounds_and_settings() {
    let mut model = Counting::new(100);
    let workload = Workload { depth_tokens: 32, warmup: 1, repeat: 3, ..workload() };
    let rows = measure(&mut model, 64, &workload, &mut |_, _| true).unwrap();
    let row = &rows[0];
    assert_eq!((row.prefill_rounds_s.len(), row.decode_rounds_s.len()), (3, 3));
    assert_eq!(median(row.prefill_rounds_s.clone()).to_bits(), row.prefill_s.to_bits());
    assert_eq!(median(row.decode_rounds_s.clone()).to_bits(), row.decode_s.to_bits());
    assert_eq!((row.depth_tokens, row.shared_prefix_tokens, row.threads), (32, 0, 2));
}

#[test]
fn a_report_can_be_compared_with_itself() {
    let mut model = Counting::new(100);
    let rows = measure(&mut model, 64, &Workload { repeat: 3, ..workload() }, &mut |_, _| true).unwrap();
    let json = serde_json::to_string(&report(rows)).unwrap();
    let side = || Side::parse("r.json", &json).unwrap();
    let comparison = compare(side(), side(), false, 0.05).unwrap();
    assert_eq!(comparison.rows.len(), 2);
    for row in &comparison.rows {
        assert_eq!((row.a_samples, row.refused.as_deref()), (3, None));
        assert!(row.ratio.is_some_and(|ratio| (ratio - 1.0).abs() < 1e-9), "{row:?}");
    }
}

#[test]
fn a_sweep_loads_each_number_of_threads_once() {
    let workloads = Workload::sweep(2, 8, 1, 3);
    let threads: Vec<usize> =
        workloads.chunk_by(|a, b| a.threads == b.threads).map(|workloads| workloads[0].threads).collect();
    assert_eq!(threads, [2, 1, 4, 8]);
    let depths: Vec<usize> =
        workloads.iter().map(|workload| workload.depth_tokens).filter(|depth| *depth > 0).collect();
    assert_eq!(depths, [1024, 4096]);
    let batches: Vec<usize> = workloads.iter().flat_map(|workload| workload.batches.clone()).collect();
    assert_eq!(batches, [1, 4, 8, 16, 1, 1, 16, 1, 1, 1]);
    assert!(workloads.iter().any(|workload| workload.shared_prefix_tokens > 0));
    assert!(workloads.iter().all(|workload| workload.validate().is_ok() && workload.repeat == 3));
    let single = Workload::sweep(3, 1, 1, 1);
    assert_eq!(single.last().map(|workload| workload.threads), Some(1), "threads stay within the cores");
}

fn row_of(batch: usize, prefill_s: f64, decode_s: f64) -> Row {
    let mut model = Counting::new(100);
    let workload = Workload { batches: vec![batch], ..workload() };
    let mut rows = measure(&mut model, 64, &workload, &mut |_, _| true).unwrap();
    Row { prefill_s, decode_s, ..rows.remove(0) }
}

#[test]
fn shares_are_of_the_slower_limit() {
    let limits = MachineLimits { threads: 2, memory_bytes_per_s: 1000.0, int8_macs_per_s: Some(10_000.0) };
    let costs = Costs { layer_macs: 100, output_macs: 50, weight_bytes: 90 };
    let near = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value} for {expected}");
    // A single sequence: 0.09 s to read, 0.015 s to multiply; 20 passes.
    let alone = limits.shares(&costs, &row_of(1, 1.0, 3.6));
    assert_eq!(alone.decode_bound, Bound::Memory);
    near(alone.decode, 0.5);
    near(alone.prefill.unwrap(), (50.0 * 100.0 + 50.0) / 10_000.0);
    // Ten sequences: 0.15 s to multiply.
    let together = limits.shares(&costs, &row_of(10, 10.0, 6.0));
    assert_eq!(together.decode_bound, Bound::Int8);
    near(together.decode, 0.5);
    near(together.prefill.unwrap(), (500.0 * 100.0 + 500.0) / 100_000.0);
    let portable = MachineLimits { int8_macs_per_s: None, ..limits };
    let shares = portable.shares(&costs, &row_of(10, 1.0, 3.6));
    assert_eq!((shares.prefill, shares.decode_bound), (None, Bound::Memory));
    let better =
        limits.or_better(MachineLimits { memory_bytes_per_s: 1500.0, int8_macs_per_s: Some(1.0), ..limits });
    near(better.memory_bytes_per_s, 1500.0);
    near(better.int8_macs_per_s.unwrap(), 10_000.0);
}

#[test]
fn costs_are_the_weights_of_the_matrices() {
    let cpu = std::sync::Arc::new(bandmaster_models::Cpu::new(1));
    let model = bandmaster_models::tiny::model(1, cpu);
    let costs = Costs::new(model.spec(), model.info().weight_bytes);
    // Three layers of width 256, four heads of 64, two KV heads, MLP width 352; vocabulary 320.
    assert_eq!(costs.layer_macs, 3 * 256 * (256 + 2 * 128 + 256 + 3 * 352));
    assert_eq!(costs.output_macs, 320 * 256);
    assert_eq!(costs.weight_bytes, model.info().weight_bytes as u64);
    // The file's weights: these, a separate embedding, and seven norms.
    assert_eq!(model.info().parameters, costs.layer_macs + 2 * costs.output_macs + 7 * 256);
}

#[test]
fn columns_appear_if_rows_differ_in_them() {
    let row = row_of(1, 1.0, 1.0);
    let plain = report(vec![row.clone()]);
    assert!(plain.table().contains(" batch   prompt    gen  prefill tok/s   decode tok/s   peak MiB\n"));
    let head = "| batch | prompt | gen | prefill tok/s | decode tok/s |\n| --- |";
    assert!(plain.markdown().contains(head), "{}", plain.markdown());
    let json = serde_json::to_string(&plain).unwrap();
    for absent in ["limits", "left_out", "limit_shares", "memory_bytes_per_s", "int8_macs_per_s"] {
        assert!(!json.contains(absent), "{absent} in {json}");
    }
    let limits = MachineLimits { threads: 1, memory_bytes_per_s: 2e9, int8_macs_per_s: Some(3e9) };
    let costs = Costs { layer_macs: 30_000_000, output_macs: 0, weight_bytes: 50_000_000 };
    let shares = Some(limits.shares(&costs, &row));
    let mut full = report(vec![Row { threads: 1, limit_shares: shares, ..row }]);
    full.limits.push(limits);
    full.left_out.push("depth 4096: too deep".to_owned());
    for text in [full.table(), full.markdown()] {
        for part in ["threads", "50 %", "50 % memory", "2.0 GB/s", "3 G int8", "left out: depth 4096"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}

#[test]
fn an_interrupt_keeps_the_rows_that_are_whole() {
    let mut model = Counting::new(100);
    let mut rounds = 0;
    let workload = Workload { batches: vec![1, 2], warmup: 1, repeat: 2, ..workload() };
    let mut progress = |_, _| {
        rounds += 1;
        rounds <= 4
    };
    let rows = measure(&mut model, 64, &workload, &mut progress).unwrap();
    assert_eq!(rows.iter().map(|row| row.batch).collect::<Vec<_>>(), [1]);
}

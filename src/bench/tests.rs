use std::collections::HashMap;

use bandmaster_models::{Batch, ForwardError, Model, ModelInfo, OnRow};

use super::measure::{MeasureError, median, throughput};
use super::workload::{Throughput, TokenSource, WorkloadError};

/// Remembers what was computed and insists that each position is computed once, behind what came before it.
struct Counting {
    info: ModelInfo,
    /// Tokens written, by block.
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

    fn commit(&mut self, block: u32) {
        assert!((block as usize) < self.info.kv_blocks_max);
        self.written.insert(block, 0);
        self.committed += 1;
    }

    fn decommit(&mut self, _block: u32) {
        self.committed -= 1;
    }
}

fn work() -> Throughput {
    Throughput {
        prompt_tokens: 50,
        gen_tokens: 20,
        batches: vec![3],
        depth_tokens: 0,
        shared_prefix_tokens: 0,
        warmup: 0,
        repeat: 1,
    }
}

#[test]
fn every_token_is_computed_once_and_decode_passes_hold_the_whole_batch() {
    let mut model = Counting::new(100);
    let rows = throughput(&mut model, 64, &work(), &mut |_, _| {}).unwrap();
    assert_eq!(model.computed, 3 * 50 + 3 * 20);
    assert_eq!(rows[0].computed_tokens, 150);
    assert_eq!(model.steps.iter().filter(|step| **step == (3, 3)).count(), 20);
    assert_eq!(model.committed, 0, "blocks are given back");
    assert_eq!(rows[0].kv_pool_bytes, 3 * 5 * 4096);
}

#[test]
fn a_shared_prefix_is_computed_once_in_whole_blocks() {
    let mut model = Counting::new(100);
    let work = Throughput { shared_prefix_tokens: 40, ..work() };
    let rows = throughput(&mut model, 1024, &work, &mut |_, _| {}).unwrap();
    assert_eq!(rows[0].cached_tokens, 2 * 32);
    assert_eq!(rows[0].computed_tokens, 150 - 64);
    assert_eq!(model.computed, 150 - 64 + 60);
}

#[test]
fn depth_is_computed_but_not_counted() {
    let mut model = Counting::new(100);
    let work = Throughput { depth_tokens: 100, warmup: 2, ..work() };
    let mut rounds = 0;
    let rows = throughput(&mut model, 64, &work, &mut |_, _| rounds += 1).unwrap();
    assert_eq!(rounds, 3);
    assert_eq!(model.computed, 3 * 3 * (100 + 50 + 20));
    assert_eq!(rows[0].computed_tokens, 150);
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let mut model = Counting::new(14);
    let refused = throughput(&mut model, 64, &work(), &mut |_, _| {});
    assert!(matches!(refused, Err(MeasureError::Pool { batch: 3, needed: 15, available: 14 })));
    let long = Throughput { prompt_tokens: 5000, ..work() };
    assert!(matches!(throughput(&mut model, 64, &long, &mut |_, _| {}), Err(MeasureError::Context { .. })));
    assert_eq!(Throughput { repeat: 0, ..work() }.validate(), Err(WorkloadError::Zero("--repeat")));
    let shared = Throughput { shared_prefix_tokens: 50, ..work() };
    assert!(matches!(shared.validate(), Err(WorkloadError::SharedTooLong { .. })));
}

#[test]
fn tokens_follow_the_seed_and_the_median_is_the_middle() {
    assert_eq!(TokenSource::new(1, 1000).take(8), TokenSource::new(1, 1000).take(8));
    assert_ne!(TokenSource::new(1, 1000).take(8), TokenSource::new(2, 1000).take(8));
    assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
    assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
}

//! A model whose "keys and values" are hashes of all positions before, read through the block table; logits depend on
//! everything stored. One wrong block, one stale token or one write into a shared block changes the tokens.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bandmaster::engine::hash::mix;
use bandmaster_models::{Batch, FileChanged, ForwardError, Model, ModelInfo, OnRow};

pub const BLOCK: usize = 16;
const EMPTY: u64 = 0x5eed;

/// Makes the next forward pass fail, panic, or lose its file.
#[derive(Clone, Default)]
pub struct FaultInjector(Arc<AtomicU32>);

impl FaultInjector {
    pub fn fail_next(&self) {
        self.0.store(1, Ordering::SeqCst);
    }
    pub fn panic_next(&self) {
        self.0.store(2, Ordering::SeqCst);
    }
    pub fn change_file_next(&self) {
        self.0.store(3, Ordering::SeqCst);
    }
}

/// A clock that only models advance.
#[derive(Clone, Default)]
pub struct FakeClock(Arc<AtomicU64>);

impl FakeClock {
    pub fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
    pub fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_micros() as u64, Ordering::SeqCst);
    }
}

pub struct FakeModel {
    info: ModelInfo,
    time: Option<(FakeClock, u64, u64)>,
    /// Microseconds per row of logits.
    row_us: u64,
    seed: u64,
    slots: Vec<[u64; BLOCK]>,
    resident: Vec<bool>,
    faults: FaultInjector,
    /// Forward passes so far; also varies the garbage.
    forwards: u64,
    /// Whether rows are handed over from two threads.
    threaded: bool,
}

/// What a position stores: a function of the token, the position and everything before it.
fn store(seed: u64, before: u64, token: u32, position: usize) -> u64 {
    mix(seed ^ mix(before ^ mix(u64::from(token) << 32 | position as u64)))
}

fn fold(states: impl Iterator<Item = u64>) -> u64 {
    states.fold(EMPTY, |sum, state| mix(sum ^ state))
}

/// If the seed is a multiple of three, each token has a likely successor, so that drafts are often right.
fn logits(seed: u64, sum: u64, last: u32, vocab: usize) -> Vec<f32> {
    let unit = |token: usize| (mix(sum ^ seed ^ mix(token as u64)) >> 40) as f32 / (1u64 << 24) as f32;
    let habit = seed.is_multiple_of(3).then(|| (mix(u64::from(last)) % vocab as u64) as usize);
    let habitual = |token: usize| if habit == Some(token) { 10.0 } else { 0.0 };
    (0..vocab).map(|token| unit(token) * 8.0 - 4.0 + habitual(token)).collect()
}

/// The row of logits after `tokens`, computed without blocks, batches or chunks.
pub fn row_after(seed: u64, tokens: &[u32], vocab: usize) -> Vec<f32> {
    let mut sum = EMPTY;
    for (position, &token) in tokens.iter().enumerate() {
        let state = store(seed, sum, token, position);
        sum = mix(sum ^ state);
    }
    logits(seed, sum, tokens[tokens.len() - 1], vocab)
}

impl FakeModel {
    pub fn new(seed: u64, vocab: usize, context: usize, block_bytes: usize, blocks: usize) -> Self {
        let info = ModelInfo {
            architecture: "fake".into(),
            vocab,
            context_tokens_max: context,
            kv_block_bytes: block_bytes,
            kv_blocks_max: blocks,
            weight_bytes: 0,
            parameters: 0,
        };
        Self {
            info,
            time: None,
            row_us: 0,
            seed,
            slots: vec![[1; BLOCK]; blocks],
            resident: vec![false; blocks],
            faults: FaultInjector::default(),
            forwards: 0,
            threaded: seed.is_multiple_of(2),
        }
    }

    /// A model with weights of this size.
    pub fn weighing(mut self, weight_bytes: usize) -> Self {
        self.info.weight_bytes = weight_bytes;
        self
    }

    /// A model that shares another's faults.
    pub fn with_faults(mut self, faults: FaultInjector) -> Self {
        self.faults = faults;
        self
    }

    /// A model whose steps take time on `clock`.
    pub fn taking(mut self, clock: &FakeClock, step_us: u64, token_us: u64) -> Self {
        self.time = Some((clock.clone(), step_us, token_us));
        // The sizes a model of that speed would have.
        self.info.parameters = token_us * 300_000;
        self.info.weight_bytes = step_us as usize * 10_000;
        self
    }

    /// A model whose rows of logits take time as well.
    pub fn with_rows_taking(mut self, row_us: u64) -> Self {
        self.row_us = row_us;
        self
    }

    fn garble(&mut self, batch: &Batch, whole: bool) {
        for span in &batch.spans {
            let table = &batch.tables[span.table.clone()];
            let first = if whole { 0 } else { span.context };
            for position in first..table.len() * BLOCK {
                self.slots[table[position / BLOCK] as usize][position % BLOCK] = mix(self.forwards);
            }
        }
        for copy in &batch.copies {
            self.slots[copy.to as usize] = [mix(self.forwards); BLOCK];
        }
    }

    /// What must hold for every batch.
    fn check(&self, batch: &Batch) {
        let mut written = HashSet::new();
        let mut next = 0;
        for span in &batch.spans {
            assert_eq!(span.tokens.start, next, "spans have gaps");
            next = span.tokens.end;
            let table = &batch.tables[span.table.clone()];
            let end = span.context + span.tokens.len();
            assert!(
                !span.tokens.is_empty() && end <= table.len() * BLOCK && end <= self.info.context_tokens_max
            );
            for position in span.context..end {
                assert!(written.insert((table[position / BLOCK], position % BLOCK)), "written twice");
            }
        }
        assert_eq!(next, batch.tokens.len());
        for span in &batch.spans {
            for position in 0..span.context {
                let block = batch.tables[span.table.start + position / BLOCK];
                assert!(self.resident[block as usize], "block {block} has no memory");
                assert!(!written.contains(&(block, position % BLOCK)), "read and written in one step");
            }
        }
        let targets: HashSet<u32> = batch.copies.iter().map(|copy| copy.to).collect();
        for copy in &batch.copies {
            assert!(self.resident[copy.from as usize] && self.resident[copy.to as usize]);
            assert!(copy.tokens > 0 && copy.tokens < BLOCK && !targets.contains(&copy.from));
        }
        assert_eq!(targets.len(), batch.copies.len(), "two copies into one block");
        assert!(batch.rows.is_sorted_by(|a, b| a < b), "rows out of order");
    }
}

impl Model for FakeModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn forward(&mut self, batch: &Batch, on_row: OnRow<'_>) -> Result<(), ForwardError> {
        self.forwards += 1;
        self.check(batch);
        if let Some((clock, step_us, token_us)) = &self.time {
            let rows_us = self.row_us * batch.rows.len() as u64;
            clock.pass(Duration::from_micros(step_us + token_us * batch.tokens.len() as u64 + rows_us));
        }
        match self.faults.0.swap(0, Ordering::SeqCst) {
            1 => {
                self.garble(batch, false);
                return Err(ForwardError::Failed("the fake fails".into()));
            }
            2 => {
                self.garble(batch, true);
                panic!("the fake panics");
            }
            3 => {
                self.garble(batch, true);
                return Err(ForwardError::FileChanged(FileChanged {
                    file: "fake.gguf".into(),
                    how: "was cut short",
                }));
            }
            _ => {}
        }
        for copy in &batch.copies {
            let from = self.slots[copy.from as usize];
            self.slots[copy.to as usize][..copy.tokens].copy_from_slice(&from[..copy.tokens]);
        }
        let mut sums = Vec::with_capacity(batch.tokens.len());
        for span in &batch.spans {
            let table = &batch.tables[span.table.clone()];
            let read = |slots: &[[u64; BLOCK]], at: usize| slots[table[at / BLOCK] as usize][at % BLOCK];
            let mut sum = fold((0..span.context).map(|position| read(&self.slots, position)));
            for (place, &token) in batch.tokens[span.tokens.clone()].iter().enumerate() {
                let position = span.context + place;
                let state = store(self.seed, sum, token, position);
                self.slots[table[position / BLOCK] as usize][position % BLOCK] = state;
                sum = mix(sum ^ state);
                sums.push(sum);
            }
        }
        let give = |row: usize| {
            let token = batch.rows[row] as usize;
            on_row(row, &mut logits(self.seed, sums[token], batch.tokens[token], self.info.vocab));
        };
        let half = batch.rows.len() / 2;
        if self.threaded && half > 0 && self.forwards.is_multiple_of(8) {
            std::thread::scope(|scope| {
                scope.spawn(|| (0..half).rev().for_each(give));
                (half..batch.rows.len()).for_each(give);
            });
        } else {
            (0..batch.rows.len()).for_each(give);
        }
        Ok(())
    }

    fn commit_block(&mut self, block: u32) {
        assert!(!std::mem::replace(&mut self.resident[block as usize], true), "block {block} taken twice");
        self.slots[block as usize] = [mix(self.forwards); BLOCK];
    }

    fn decommit_block(&mut self, block: u32) {
        assert!(
            std::mem::replace(&mut self.resident[block as usize], false),
            "block {block} given back twice"
        );
        self.slots[block as usize] = [mix(!self.forwards); BLOCK];
    }
}

//! A token's logits depend on its prefix alone: not on the batch, the threads, the chunks of the prompt, which blocks
//! hold the cache, or what was in them.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bandmaster_kernels::{Cpu, Isa};
use bandmaster_models::gguf::Gguf;
use bandmaster_models::tiny::{self, TinyShape};
use bandmaster_models::{Batch, BlockCopy, CpuModel, KvType, LoadOptions, Model, load, load_gguf};
use support::{BLOCK_TOKENS, Sequence, model_path, step};

/// A seeded generator, good enough for shuffling (SplitMix64).
struct Mix(u64);

impl Mix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn tiny_model(shape: &TinyShape, threads: usize) -> CpuModel {
    tiny_model_with(shape, threads, KvType::F16)
}

fn tiny_model_with(shape: &TinyShape, threads: usize, kv_type: KvType) -> CpuModel {
    tiny_model_on(shape, Cpu::new(threads), kv_type)
}

fn tiny_model_on(shape: &TinyShape, cpu: Cpu, kv_type: KvType) -> CpuModel {
    let gguf = Gguf::from_bytes(tiny::gguf_bytes(7, shape)).unwrap();
    let options = LoadOptions { step_tokens_max: 4096, kv_type, ..LoadOptions::new(Arc::new(cpu), 64 << 20) };
    load_gguf(gguf, &options).unwrap()
}

/// Sequences of different lengths. The first is examined in every way.
fn prompts(vocab: usize, count: usize, length: usize) -> Vec<Vec<u32>> {
    let mut mix = Mix(1);
    let lengths = (0..count).map(|i| if i == 0 { length } else { 1 + mix.below(length) }).collect::<Vec<_>>();
    lengths.into_iter().map(|length| (0..length).map(|_| mix.below(vocab) as u32).collect()).collect()
}

/// A fingerprint of each row of logits, keyed by (sequence, index).
type Rows = BTreeMap<(usize, usize), u64>;

fn fingerprint(logits: &[f32]) -> u64 {
    assert!(logits.iter().all(|logit| logit.is_finite()), "a logit is not finite");
    // FNV-1a over the bits.
    logits.iter().fold(0xcbf2_9ce4_8422_2325, |hash, logit| {
        (hash ^ u64::from(logit.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// How a set of sequences is computed.
#[derive(Debug, Clone, Copy)]
struct Way {
    batch: usize,
    chunk: usize,
    /// Seed for the order of the blocks; 0 leaves them in order.
    shuffle: u64,
}

/// Computes the first `way.batch` prompts together. Returns the rows of each from index `from` on.
fn computed(model: &mut CpuModel, prompts: &[Vec<u32>], way: Way, from: usize) -> Rows {
    let mut free: Vec<u32> = (0..model.info().kv_blocks_max as u32).rev().collect();
    if way.shuffle > 0 {
        Mix(way.shuffle).shuffle(&mut free);
    }
    let mut sequences: Vec<Sequence> =
        prompts[..way.batch].iter().map(|tokens| Sequence::new(tokens.clone(), 0, &mut free)).collect();
    let rows = Mutex::new(Rows::new());
    while sequences.iter().any(|sequence| sequence.pending() > 0) {
        step(model, &mut sequences, way.chunk, from, &|sequence, index, logits| {
            rows.lock().unwrap().insert((sequence, index), fingerprint(logits));
        });
    }
    rows.into_inner().unwrap()
}

fn check_same(wanted: &Rows, found: &Rows, how: &str) {
    for (row, bits) in found {
        assert_eq!(wanted.get(row), Some(bits), "sequence and token {row:?}: other bits with {how}");
    }
}

#[test]
fn bits_are_the_same_for_any_batch_threads_chunk_and_blocks() {
    check_all_ways(TinyShape::llama(), KvType::F16);
    check_all_ways(TinyShape::qwen2(), KvType::F16);
    check_all_ways(TinyShape::llama(), KvType::Q8);
    check_all_ways(TinyShape::qwen2(), KvType::Q8);
}

fn check_all_ways(shape: TinyShape, kv_type: KvType) {
    let mut one = tiny_model_with(&shape, 1, kv_type);
    let prompts = prompts(one.info().vocab, 32, 600.min(one.info().context_tokens_max));
    // Each sequence alone, in one chunk where it fits.
    let mut wanted = Rows::new();
    for (number, prompt) in prompts.iter().enumerate() {
        let way = Way { batch: 1, chunk: 4096, shuffle: 0 };
        let rows = computed(&mut one, std::slice::from_ref(prompt), way, 0);
        wanted.extend(rows.into_iter().map(|((_, index), bits)| ((number, index), bits)));
    }
    for threads in [1, 2, 3, 8] {
        let mut model = tiny_model_with(&shape, threads, kv_type);
        let ways = [(1, 512), (2, 1), (3, 7), (5, 16), (8, 33), (17, 100), (32, 64), (32, 1)];
        for (batch, chunk) in ways {
            let way = Way { batch, chunk, shuffle: 100 + batch as u64 };
            let found = computed(&mut model, &prompts, way, 0);
            check_same(&wanted, &found, &format!("{threads} threads, {way:?}"));
        }
    }
}

/// This is more than is promised. It makes the portable kernels a reference for the fast ones in whole models.
#[test]
fn bits_are_the_same_on_every_instruction_set_of_this_machine() {
    for shape in [TinyShape::llama(), TinyShape::qwen2()] {
        for kv_type in [KvType::F16, KvType::Q8] {
            let mut wanted = None;
            for cpu in Isa::ALL.into_iter().filter_map(|isa| Cpu::with_isa(2, isa)) {
                let isa = cpu.isa();
                let mut model = tiny_model_on(&shape, cpu, kv_type);
                let prompts = prompts(model.info().vocab, 5, 300);
                let found = computed(&mut model, &prompts, Way { batch: 5, chunk: 64, shuffle: 0 }, 0);
                check_same(wanted.get_or_insert_with(|| found.clone()), &found, isa.name());
            }
        }
    }
}

#[test]
fn bits_are_the_same_for_any_chunk_from_1_to_512() {
    let mut model = tiny_model(&TinyShape::llama(), 2);
    let prompts = prompts(model.info().vocab, 1, 530.min(model.info().context_tokens_max));
    let last = prompts[0].len() - 1;
    let whole = computed(&mut model, &prompts, Way { batch: 1, chunk: 4096, shuffle: 0 }, last);
    for chunk in (1..=512_usize).filter(|chunk| chunk % 31 == 1 || chunk.is_power_of_two()) {
        let way = Way { batch: 1, chunk, shuffle: chunk as u64 };
        check_same(&whole, &computed(&mut model, &prompts, way, last), &format!("{way:?}"));
    }
}

/// Prompts, decoding and wanted rows of every kind in one step, as in the engine.
#[test]
fn bits_are_the_same_when_only_some_rows_are_wanted() {
    let mut model = tiny_model(&TinyShape::llama(), 2);
    let prompts = prompts(model.info().vocab, 6, 90);
    let wanted = computed(&mut model, &prompts, Way { batch: 6, chunk: 4096, shuffle: 0 }, 0);
    let mut mix = Mix(5);
    for _ in 0..20 {
        let mut free: Vec<u32> = (0..200).collect();
        let mut batch = Batch::default();
        let mut owners = Vec::new();
        for (number, prompt) in prompts.iter().enumerate() {
            let sequence = Sequence::new(prompt.clone(), 0, &mut free);
            let first = batch.tokens.len();
            batch.push_span(prompt, 0, &sequence.table);
            for index in (0..prompt.len()).filter(|_| mix.below(3) == 0) {
                batch.rows.push((first + index) as u32);
                owners.push((number, index));
            }
        }
        let found = Mutex::new(Rows::new());
        let see = |row: usize, logits: &mut [f32]| {
            found.lock().unwrap().insert(owners[row], fingerprint(logits));
        };
        model.forward(&batch, &see).unwrap();
        let found = found.into_inner().unwrap();
        assert_eq!(found.len(), owners.len());
        check_same(&wanted, &found, "some rows wanted");
    }
}

#[test]
fn bits_are_the_same_after_a_fork_and_in_used_blocks() {
    [KvType::F16, KvType::Q8].into_iter().for_each(check_forks);
}

fn check_forks(kv_type: KvType) {
    let mut model = tiny_model_with(&TinyShape::llama(), 2, kv_type);
    let prompts = prompts(model.info().vocab, 1, 41);
    let wanted = computed(&mut model, &prompts, Way { batch: 1, chunk: 4096, shuffle: 0 }, 40);
    // Fill all blocks with something else, then give some back.
    computed(&mut model, &self::prompts(300, 20, 60), Way { batch: 20, chunk: 50, shuffle: 3 }, 0);
    (10..20).for_each(|block| model.commit_block(block));
    (10..15).for_each(|block| model.decommit_block(block));
    // 40 tokens in blocks 10, 11, 12. The last block is half full and is copied to 13.
    let mut batch = Batch::default();
    batch.push_span(&prompts[0][..40], 0, &[10, 11, 12]);
    model.forward(&batch, &|_, _| panic!("no row is wanted")).unwrap();
    batch.clear();
    batch.copies.push(BlockCopy { from: 12, to: 13, tokens: 40 % BLOCK_TOKENS });
    batch.push_span(&prompts[0][40..], 40, &[10, 11, 13]);
    batch.rows.push(0);
    let found = Mutex::new(Rows::new());
    let see = |_: usize, logits: &mut [f32]| {
        found.lock().unwrap().insert((0, 40), fingerprint(logits));
    };
    model.forward(&batch, &see).unwrap();
    check_same(&wanted, &found.into_inner().unwrap(), "a fork");
}

#[test]
fn bits_are_the_same_on_a_real_model() {
    let Some(path) = model_path("smollm2-135m") else { return };
    let model = |threads| {
        let cpu = Arc::new(Cpu::new(threads));
        load(&path, &LoadOptions { step_tokens_max: 1024, ..LoadOptions::new(cpu, 256 << 20) }).unwrap()
    };
    let mut one = model(1);
    let prompts = prompts(one.info().vocab, 16, 300);
    let wanted = computed(&mut one, &prompts, Way { batch: 16, chunk: 64, shuffle: 0 }, 0);
    for (threads, batch, chunk) in [(1, 1, 512), (2, 1, 1), (2, 3, 300), (3, 16, 17), (3, 2, 100)] {
        let way = Way { batch, chunk, shuffle: 9 };
        let found = computed(&mut model(threads), &prompts, way, 0);
        check_same(&wanted, &found, &format!("{threads} threads, {way:?}"));
    }
}

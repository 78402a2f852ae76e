use super::*;
use crate::isa::Isa;
use crate::kv::{KvShape, KvSlot, KvType, kv_write};
use crate::naive;
use crate::ops::{Rope, RopeFreqs, RopeStyle, rope};

/// NaN in f16: what a block holds before it is written must not matter.
const UNWRITTEN: u16 = 0x7e01;

/// One sequence: its queries, and a cache with its keys and values in scattered blocks.
struct Sequence {
    layer: KvLayer,
    heads: usize,
    tokens: usize,
    q: Vec<f32>,
    pool: Vec<u16>,
    table: Vec<u32>,
}

/// Numbers in -1..1 from a seed.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn cpu(threads: usize) -> Cpu {
    Cpu::new(threads)
}

impl Sequence {
    fn new(seed: u64, heads: usize, kv_heads: usize, head_dim: usize, tokens: usize) -> Sequence {
        Sequence::of_type(KvType::F16, seed, heads, kv_heads, head_dim, tokens)
    }

    fn of_type(
        kv_type: KvType,
        seed: u64,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        tokens: usize,
    ) -> Sequence {
        let shape = KvShape { kv_heads, head_dim, kv_type };
        let elems = shape.layer_elems();
        let layer = KvLayer { shape, block_stride_elems: 2 * elems + 32, offset_elems: elems + 16 };
        let blocks = tokens.div_ceil(BLOCK_TOKENS);
        // Odd multiples modulo a power of two visit every block once, out of order.
        let pool_blocks = (blocks + 1).next_power_of_two();
        let table = (0..blocks).map(|i| ((i * 5 + seed as usize) % pool_blocks) as u32).collect();
        let q = noise(seed, tokens * heads * head_dim).iter().map(|x| x * 3.0).collect();
        let pool = vec![UNWRITTEN; pool_blocks * layer.block_stride_elems];
        let mut sequence = Sequence { layer, heads, tokens, q, pool, table };
        let k = noise(seed + 1, tokens * kv_heads * head_dim);
        let v = noise(seed + 2, tokens * kv_heads * head_dim);
        sequence.write(&k, &v);
        sequence
    }

    fn write(&mut self, k: &[f32], v: &[f32]) {
        self.write_turned(k, v, None);
    }

    fn write_turned(&mut self, k: &[f32], v: &[f32], rope: Option<Rope>) {
        let slots: Vec<KvSlot> = (0..self.tokens)
            .map(|t| KvSlot { block: self.table[t / BLOCK_TOKENS], index: (t % BLOCK_TOKENS) as u32 })
            .collect();
        kv_write(&cpu(2), &mut self.pool, self.layer, k, v, rope, &slots);
    }

    fn width(&self) -> usize {
        self.heads * self.layer.shape.head_dim
    }

    fn scale(&self) -> f32 {
        1.0 / (self.layer.shape.head_dim as f32).sqrt()
    }

    fn span(&self, first_row: usize, tokens: std::ops::Range<usize>) -> AttentionSpan<'_> {
        let table = &self.table[..tokens.end.div_ceil(BLOCK_TOKENS)];
        AttentionSpan { first_row, rows: tokens.len(), context: tokens.start, table }
    }

    /// Attention of some tokens, with those before them in the cache.
    fn attend(&self, cpu: &Cpu, tokens: std::ops::Range<usize>) -> Vec<f32> {
        let q = &self.q[tokens.start * self.width()..tokens.end * self.width()];
        let mut out = vec![f32::NAN; q.len()];
        let mut scratch = AttentionScratch::default();
        let spans = [self.span(0, tokens)];
        attention(cpu, &self.pool, self.layer, self.heads, self.scale(), q, &spans, &mut scratch, &mut out);
        out
    }

    fn naive(&self, tokens: std::ops::Range<usize>) -> Vec<f32> {
        let q = &self.q[tokens.start * self.width()..tokens.end * self.width()];
        let mut out = vec![f32::NAN; q.len()];
        let spans = [self.span(0, tokens)];
        naive::attention::attention(&self.pool, self.layer, self.heads, self.scale(), q, &spans, &mut out);
        out
    }
}

fn assert_same_bits(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let differ = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(differ, None, "{what}: first difference");
}

/// (query heads, kv heads, head width): those of known models, and unusual ones.
const SHAPES: [(usize, usize, usize); 8] =
    [(14, 2, 64), (12, 2, 128), (9, 3, 64), (4, 1, 256), (2, 2, 32), (16, 2, 48), (71, 1, 64), (3, 3, 112)];

/// Each shape with a cache of each type.
fn shapes_and_types() -> impl Iterator<Item = (KvType, usize, usize, usize)> {
    let of_type = |kv_type| SHAPES.map(|(heads, kv_heads, dim)| (kv_type, heads, kv_heads, dim));
    [KvType::F16, KvType::Q8].into_iter().flat_map(of_type)
}

#[test]
fn it_is_its_naive_twin() {
    for (i, (kv_type, heads, kv_heads, head_dim)) in shapes_and_types().enumerate() {
        for tokens in [0..1, 0..5, 0..17, 30..33, 250..262, 511..512, 512..513, 0..40, 1023..1030] {
            let sequence = Sequence::of_type(kv_type, 7 * i as u64, heads, kv_heads, head_dim, tokens.end);
            let expected = sequence.naive(tokens.clone());
            for (i, out) in sequence.attend(&cpu(2), tokens.clone()).into_iter().enumerate() {
                let error = (out - expected[i]).abs();
                assert!(error < 3e-6, "{heads}/{kv_heads} x {head_dim}, {tokens:?}: {i} is off by {error}");
            }
        }
    }
}

/// Bytes are read as they were written. How accurate they are is tested where they are written.
#[test]
fn attention_over_bytes_is_near_that_over_half_precision() {
    let (kv_heads, dim, tokens) = (2, 48, 20);
    let full = Sequence::of_type(KvType::F16, 21, 2, kv_heads, dim, tokens);
    let bytes = Sequence::of_type(KvType::Q8, 21, 2, kv_heads, dim, tokens);
    let (full, bytes) = (full.attend(&cpu(1), 0..tokens), bytes.attend(&cpu(1), 0..tokens));
    let worst = full.iter().zip(&bytes).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!((1e-6..0.03).contains(&worst), "{worst}");
}

#[test]
fn large_scores_stay_finite_and_right() {
    let mut sequence = Sequence::new(5, 6, 2, 64, 700);
    sequence.q.iter_mut().for_each(|q| *q *= 400.0);
    let (out, expected) = (sequence.attend(&cpu(2), 600..700), sequence.naive(600..700));
    let worst = out.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Scores in the hundreds are known to 5e-5 in f32, and so are their exponentials.
    assert!(worst < 2e-3, "{worst}");
}

#[test]
fn same_bits_however_a_prompt_is_cut() {
    for (kv_type, heads, kv_heads, head_dim) in shapes_and_types() {
        let sequence = Sequence::of_type(kv_type, 3, heads, kv_heads, head_dim, 600);
        let whole = sequence.attend(&cpu(1), 0..600);
        for chunk in [1, 2, 7, 16, 100, 255, 256, 257, 512] {
            // Token by token from the start would take long; the second half passes all the same places.
            let first = if chunk < 16 { 500 } else { 0 };
            for threads in [1, 2, 3] {
                let cpu = cpu(threads);
                for start in (first..600).step_by(chunk) {
                    let end = 600.min(start + chunk);
                    let part = sequence.attend(&cpu, start..end);
                    let expected = &whole[start * sequence.width()..end * sequence.width()];
                    assert_same_bits(
                        &part,
                        expected,
                        &format!("{start}..{end}, {threads} threads, {heads} heads"),
                    );
                }
            }
        }
    }
}

#[test]
fn same_bits_in_any_company() {
    let sequence = Sequence::new(11, 14, 2, 64, 1500);
    let width = sequence.width();
    let parts = [1400..1500, 3..4, 700..701, 0..33, 1499..1500, 255..258, 900..950];
    for count in 1..=parts.len() {
        let (mut spans, mut q) = (Vec::new(), Vec::new());
        for part in &parts[..count] {
            spans.push(sequence.span(q.len() / width, part.clone()));
            q.extend_from_slice(&sequence.q[part.start * width..part.end * width]);
        }
        for threads in [1, 2, 3] {
            let mut out = vec![f32::NAN; q.len()];
            // The second pass uses scratch from another call.
            let mut scratch = AttentionScratch::default();
            for _ in 0..2 {
                let (cpu, pool, layer) = (cpu(threads), &sequence.pool, sequence.layer);
                attention(&cpu, pool, layer, 14, sequence.scale(), &q, &spans, &mut scratch, &mut out);
            }
            for (part, span) in parts.iter().zip(&spans) {
                let rows = &out[span.first_row * width..(span.first_row + span.rows) * width];
                assert_same_bits(
                    rows,
                    &sequence.attend(&cpu(1), part.clone()),
                    &format!("{part:?} of {count}"),
                );
            }
        }
    }
}

#[test]
fn same_bits_on_every_instruction_set() {
    let Some(fast) = Cpu::with_isa(2, Isa::Avx512Vnni) else {
        return bandmaster_test_support::skip("this processor has no AVX-512 VNNI");
    };
    let scalar = Cpu::with_isa(2, Isa::Scalar).expect("scalar code runs everywhere");
    for (kv_type, heads, kv_heads, head_dim) in shapes_and_types() {
        let sequence = Sequence::of_type(kv_type, 13, heads, kv_heads, head_dim, 530);
        for tokens in [500..530, 529..530] {
            let (a, b) = (sequence.attend(&fast, tokens.clone()), sequence.attend(&scalar, tokens));
            assert_same_bits(&a, &b, "scalar and AVX-512");
        }
    }
}

#[test]
fn what_comes_after_a_row_does_not_reach_it() {
    for kv_type in [KvType::F16, KvType::Q8] {
        what_comes_after_a_row_of_this_type(kv_type);
    }
}

fn what_comes_after_a_row_of_this_type(kv_type: KvType) {
    let (heads, kv_heads, dim, tokens) = (6, 2, 64, 300);
    let mut sequence = Sequence::of_type(kv_type, 17, heads, kv_heads, dim, tokens);
    let before = sequence.attend(&cpu(2), 0..200);
    let mut k = noise(18, tokens * kv_heads * dim);
    let mut v = noise(19, tokens * kv_heads * dim);
    for from_200 in [&mut k, &mut v] {
        from_200[200 * kv_heads * dim..].fill(f32::NAN);
    }
    sequence.write(&k, &v);
    // Computed as one chunk, so that rows before and after 200 share tiles.
    let after = sequence.attend(&cpu(2), 0..tokens);
    assert_same_bits(&after[..200 * sequence.width()], &before, "rows before the NaN");
}

#[test]
fn rows_outside_the_spans_stay() {
    let sequence = Sequence::new(1, 4, 2, 32, 40);
    let width = sequence.width();
    let mut out = vec![7.0; 10 * width];
    let spans = [sequence.span(2, 10..13), sequence.span(6, 0..2)];
    let q = &sequence.q[..10 * width];
    let mut scratch = AttentionScratch::default();
    attention(&cpu(2), &sequence.pool, sequence.layer, 4, 1.0, q, &spans, &mut scratch, &mut out);
    for (row, values) in out.chunks(width).enumerate() {
        let untouched = values.iter().all(|&x| x == 7.0);
        assert_eq!(untouched, ![2, 3, 4, 6, 7].contains(&row), "row {row}");
    }
}

#[test]
#[should_panic(expected = "spans ascend")]
fn overlapping_spans_are_refused() {
    let sequence = Sequence::new(1, 4, 2, 32, 40);
    let spans = [sequence.span(0, 10..13), sequence.span(2, 0..2)];
    let mut out = vec![0.0; 10 * sequence.width()];
    let q = out.clone();
    let mut scratch = AttentionScratch::default();
    attention(&cpu(1), &sequence.pool, sequence.layer, 4, 1.0, &q, &spans, &mut scratch, &mut out);
}

#[test]
fn keys_are_turned_on_their_way_to_the_cache() {
    for kv_type in [KvType::F16, KvType::Q8] {
        let (kv_heads, dim, tokens) = (3, 48, 37);
        let mut on_the_way = Sequence::of_type(kv_type, 31, 3, kv_heads, dim, tokens);
        let mut before = Sequence::of_type(kv_type, 31, 3, kv_heads, dim, tokens);
        let (mut k, v) = (noise(32, tokens * kv_heads * dim), noise(33, tokens * kv_heads * dim));
        let radians: Vec<f32> = (0..dim / 2).map(|i| 0.7 / (i + 1) as f32).collect();
        let freqs = RopeFreqs::new(&radians);
        let positions: Vec<u32> = (100..100 + tokens as u32).collect();
        let turn = Rope { freqs: &freqs, style: RopeStyle::Halves, positions: &positions };
        on_the_way.write_turned(&k, &v, Some(turn));
        rope(&cpu(1), &mut k, kv_heads, dim, turn);
        before.write(&k, &v);
        assert!(on_the_way.pool == before.pool, "{kv_type:?}");
    }
}

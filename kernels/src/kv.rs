//! How a block of the key-value cache is laid out, and writing to it. Whose block it is, is not known here.

use std::ops::Range;

use crate::disjoint::Disjoint;
use crate::dispatch::Cpu;
use crate::simd::{Kernel, LANES, Simd};

/// Tokens of a cache block.
pub const BLOCK_TOKENS: usize = 16;

/// What one layer keeps of a token: a key and a value of `head_dim` for each kv head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Heads of keys and values; several query heads share one.
    pub kv_heads: usize,
    /// Width of a head, a multiple of 16, at most [`KvShape::HEAD_DIM_MAX`].
    pub head_dim: usize,
}

impl KvShape {
    /// The widest head the kernels take.
    pub const HEAD_DIM_MAX: usize = 256;

    /// Elements (f16) that one layer of one block takes: keys as `[kv_head][dim / 2][16 tokens][2]`, so that a load holds the same two
    /// dimensions of all tokens, then values as `[kv_head][16 tokens][dim]`.
    pub fn layer_elems(&self) -> usize {
        2 * self.kv_heads * self.head_elems()
    }

    fn head_elems(&self) -> usize {
        BLOCK_TOKENS * self.head_dim
    }

    pub(crate) fn check(&self) {
        let dim = self.head_dim;
        let fits = dim > 0 && dim.is_multiple_of(LANES) && dim <= Self::HEAD_DIM_MAX;
        assert!(fits, "head_dim is a multiple of 16 up to {}, not {dim}", Self::HEAD_DIM_MAX);
    }
}

/// Where one layer of block b lives in the pool: [`KvShape::layer_elems`] elements from `b * block_stride_elems + offset_elems`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayer {
    /// Heads and their width.
    pub shape: KvShape,
    /// Elements from one block to the next.
    pub block_stride_elems: usize,
    /// Elements from the beginning of a block to this layer.
    pub offset_elems: usize,
}

impl KvLayer {
    /// The keys of one head in one block, as elements of the pool.
    pub(crate) fn keys(&self, block: u32, kv_head: usize) -> Range<usize> {
        let start =
            block as usize * self.block_stride_elems + self.offset_elems + kv_head * self.shape.head_elems();
        start..start + self.shape.head_elems()
    }

    /// The values of one head in one block, as elements of the pool.
    pub(crate) fn values(&self, block: u32, kv_head: usize) -> Range<usize> {
        self.keys(block, self.shape.kv_heads + kv_head)
    }
}

/// The place of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvSlot {
    /// Block id.
    pub block: u32,
    /// Which of the block's 16 tokens.
    pub index: u32,
}

/// Rounds `k[rows, kv_heads, head_dim]` and `v`, alike, to f16 (nearest, ties to even) and stores row r in `slots[r]`.
///
/// # Panics
/// If the shapes do not fit, or a slot is outside the pool.
pub fn kv_write(cpu: &Cpu, pool: &mut [u16], layer: KvLayer, k: &[f32], v: &[f32], slots: &[KvSlot]) {
    layer.shape.check();
    let (heads, head_dim) = (layer.shape.kv_heads, layer.shape.head_dim);
    let len = slots.len() * heads * head_dim;
    assert!(k.len() == len && v.len() == len, "kv_write: {} rows need {len} keys and values", slots.len());
    assert!(
        layer.block_stride_elems >= layer.offset_elems + layer.shape.layer_elems(),
        "a block holds the layer"
    );
    let pool = Disjoint::new(pool);
    // A head's keys and a head's values are one chunk each: they lie apart whatever the slots are.
    cpu.run(2 * heads, &|chunk| {
        let head = chunk % heads;
        let (keys, rows) = (chunk < heads, if chunk < heads { k } else { v });
        for (row, slot) in rows.chunks_exact(heads * head_dim).zip(slots) {
            let row = &row[head * head_dim..][..head_dim];
            let range = if keys { layer.keys(slot.block, head) } else { layer.values(slot.block, head) };
            // SAFETY: ranges of different heads, and of keys and values, do not overlap, as blocks are at least a layer apart;
            // within a chunk one is taken after the other.
            let to = unsafe { pool.part(range) };
            cpu.vectorise(Write { row, to, index: slot.index as usize, keys });
        }
    });
}

/// One head of one token.
struct Write<'a> {
    row: &'a [f32],
    /// That head in the block.
    to: &'a mut [u16],
    index: usize,
    keys: bool,
}

impl Kernel for Write<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(self.index < BLOCK_TOKENS, "a block has {BLOCK_TOKENS} tokens, not token {}", self.index);
        let rows = self.row.as_chunks::<LANES>().0;
        if self.keys {
            let pairs = self.to.as_chunks_mut::<{ 2 * BLOCK_TOKENS }>().0;
            for (row, pairs) in rows.iter().zip(pairs.chunks_exact_mut(LANES / 2)) {
                let mut rounded = [0; LANES];
                s.store_f16(s.load(row), &mut rounded);
                for (from, to) in rounded.as_chunks::<2>().0.iter().zip(pairs) {
                    to[2 * self.index..2 * self.index + 2].copy_from_slice(from);
                }
            }
        } else {
            let to = &mut self.to[self.index * self.row.len()..][..self.row.len()];
            for (row, to) in rows.iter().zip(to.as_chunks_mut::<LANES>().0) {
                s.store_f16(s.load(row), to);
            }
        }
    }
}

//! The layout of KV cache blocks, and writing to them. Which sequence owns a block is not known here.

use std::ops::Range;

use half::f16;

use crate::disjoint::Disjoint;
use crate::dispatch::Cpu;
use crate::ops::{CHUNK_VALUES, Rope, Rotation};
use crate::simd::{Kernel, LANES, Simd};

/// Tokens per cache block.
pub const BLOCK_TOKENS: usize = 16;

/// In [`KvType::Q8`], this many dimensions share a scale.
pub(crate) const SCALE_DIMS: usize = 32;

/// Element type of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    /// Half precision, two bytes per element.
    #[default]
    F16,
    /// One signed byte per element, and an f16 scale per 32 dimensions: about half the memory of F16.
    Q8,
}

/// What one layer stores per token: a key and a value of `head_dim` elements for each kv head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Number of key and value heads; several query heads share one.
    pub kv_heads: usize,
    /// Elements per head: a multiple of 16, at most [`KvShape::HEAD_DIM_MAX`].
    pub head_dim: usize,
    /// Element type of keys and values.
    pub kv_type: KvType,
}

impl KvShape {
    /// The widest head that the kernels support, in elements.
    pub const HEAD_DIM_MAX: usize = 256;

    /// Two-byte elements of one layer in one block: keys as `[kv_head][dim / 2][16 tokens][2]`, so that one load holds
    /// the same two dimensions of all tokens, then values as `[kv_head][16 tokens][dim]`. In Q8 these are bytes, and
    /// scales follow each head's keys and each head's values, as `[dim / 32][16 tokens]`.
    pub fn layer_elems(&self) -> usize {
        2 * self.kv_heads * self.head_elems()
    }

    fn head_elems(&self) -> usize {
        match self.kv_type {
            KvType::F16 => BLOCK_TOKENS * self.head_dim,
            KvType::Q8 => {
                BLOCK_TOKENS * self.head_dim / 2 + BLOCK_TOKENS * self.head_dim.div_ceil(SCALE_DIMS)
            }
        }
    }

    pub(crate) fn check(&self) {
        let dim = self.head_dim;
        let fits = dim > 0 && dim.is_multiple_of(LANES) && dim <= Self::HEAD_DIM_MAX;
        assert!(fits, "head_dim is a multiple of 16 up to {}, not {dim}", Self::HEAD_DIM_MAX);
    }
}

/// Where one layer of block `b` lies in the pool: [`KvShape::layer_elems`] elements from
/// `b * block_stride_elems + offset_elems` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayer {
    /// The layer's heads and their width.
    pub shape: KvShape,
    /// Distance between the starts of two blocks, in elements.
    pub block_stride_elems: usize,
    /// Distance from the start of a block to this layer, in elements.
    pub offset_elems: usize,
}

impl KvLayer {
    pub(crate) fn keys(&self, block: u32, kv_head: usize) -> Range<usize> {
        let start =
            block as usize * self.block_stride_elems + self.offset_elems + kv_head * self.shape.head_elems();
        start..start + self.shape.head_elems()
    }

    pub(crate) fn values(&self, block: u32, kv_head: usize) -> Range<usize> {
        self.keys(block, self.shape.kv_heads + kv_head)
    }
}

/// The codes and scales of one head's keys or values in a Q8 block; `dim` is the head's width.
#[inline(always)]
pub(crate) fn q8_parts(head: &[u16], dim: usize) -> (&[i8], &[[u16; BLOCK_TOKENS]]) {
    let (codes, scales) = head.split_at(BLOCK_TOKENS * dim / 2);
    // SAFETY: the same bytes, of a type without alignment or forbidden values.
    let codes = unsafe { std::slice::from_raw_parts(codes.as_ptr().cast(), 2 * codes.len()) };
    (codes, scales.as_chunks().0)
}

#[inline(always)]
fn q8_parts_mut(head: &mut [u16], dim: usize) -> (&mut [i8], &mut [[u16; BLOCK_TOKENS]]) {
    let (codes, scales) = head.split_at_mut(BLOCK_TOKENS * dim / 2);
    // SAFETY: as in `q8_parts`.
    let codes = unsafe { std::slice::from_raw_parts_mut(codes.as_mut_ptr().cast(), 2 * codes.len()) };
    (codes, scales.as_chunks_mut().0)
}

/// The place of one token in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvSlot {
    /// Id of the block.
    pub block: u32,
    /// Index of the token in the block, below 16.
    pub index: u32,
}

/// Applies `rope` to the heads of `k[rows, kv_heads, head_dim]`, rounds them and those of `v` to the cache's type (to
/// nearest, ties to even), and stores row r in `slots[r]`.
///
/// # Panics
/// If the shapes do not fit, or a slot is outside the pool.
pub fn kv_write(
    cpu: &Cpu,
    pool: &mut [u16],
    layer: KvLayer,
    k: &[f32],
    v: &[f32],
    rope: Option<Rope<'_>>,
    slots: &[KvSlot],
) {
    layer.shape.check();
    let (heads, head_dim) = (layer.shape.kv_heads, layer.shape.head_dim);
    let len = slots.len() * heads * head_dim;
    assert!(k.len() == len && v.len() == len, "kv_write: {} rows need {len} keys and values", slots.len());
    assert!(
        layer.block_stride_elems >= layer.offset_elems + layer.shape.layer_elems(),
        "a block holds the layer"
    );
    if let Some(rope) = &rope {
        rope.assert_fits(slots.len(), head_dim);
    }
    let pool = Disjoint::new(pool);
    // One chunk per head's keys and one per head's values: these never overlap, and less would be too little work.
    let write = |chunk: usize| {
        let (head, keys) = (chunk / 2, chunk.is_multiple_of(2));
        let rows = if keys { k } else { v };
        for (r, (row, slot)) in rows.chunks_exact(heads * head_dim).zip(slots).enumerate() {
            let row = &row[head * head_dim..][..head_dim];
            let range = if keys { layer.keys(slot.block, head) } else { layer.values(slot.block, head) };
            // SAFETY: ranges of different heads, and of keys and values, do not overlap, as blocks are at least a layer
            // apart. Within a chunk one part is taken after the other.
            let to = unsafe { pool.part(range) };
            let index = slot.index as usize;
            assert!(index < BLOCK_TOKENS, "a block has {BLOCK_TOKENS} tokens, not token {index}");
            let rotation = rope.as_ref().filter(|_| keys).map(|rope| rope.rotation(r));
            let kv_type = layer.shape.kv_type;
            cpu.vectorise(Write { row, to, index, keys, rotation, kv_type });
        }
    };
    if 2 * len < CHUNK_VALUES { (0..2 * heads).for_each(write) } else { cpu.run(2 * heads, &write) }
}

struct Write<'a> {
    row: &'a [f32],
    /// The head's part of the block.
    to: &'a mut [u16],
    index: usize,
    keys: bool,
    rotation: Option<Rotation<'a>>,
    kv_type: KvType,
}

impl Kernel for Write<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut rotated = [0.0; KvShape::HEAD_DIM_MAX];
        let rotated = &mut rotated[..self.row.len()];
        let row = if let Some(rotation) = self.rotation {
            rotated.copy_from_slice(self.row);
            rotation.apply(rotated);
            rotated
        } else {
            self.row
        };
        match (self.kv_type, self.keys) {
            (KvType::F16, true) => write_keys(s, row, self.to, self.index),
            (KvType::F16, false) => write_values(s, row, self.to, self.index),
            (KvType::Q8, keys) => write_q8(row, self.to, self.index, keys),
        }
    }
}

#[inline(always)]
fn write_keys<S: Simd>(s: S, row: &[f32], to: &mut [u16], index: usize) {
    let pairs = to.as_chunks_mut::<{ 2 * BLOCK_TOKENS }>().0;
    for (row, pairs) in row.as_chunks::<LANES>().0.iter().zip(pairs.chunks_exact_mut(LANES / 2)) {
        let mut rounded = [0; LANES];
        s.store_f16(s.load(row), &mut rounded);
        for (from, to) in rounded.as_chunks::<2>().0.iter().zip(pairs) {
            to[2 * index..2 * index + 2].copy_from_slice(from);
        }
    }
}

#[inline(always)]
fn write_values<S: Simd>(s: S, row: &[f32], to: &mut [u16], index: usize) {
    let to = &mut to[index * row.len()..][..row.len()];
    for (row, to) in row.as_chunks::<LANES>().0.iter().zip(to.as_chunks_mut::<LANES>().0) {
        s.store_f16(s.load(row), to);
    }
}

#[inline(always)]
fn write_q8(row: &[f32], to: &mut [u16], index: usize, keys: bool) {
    let (codes, scales) = q8_parts_mut(to, row.len());
    for (group, (x, scales)) in row.chunks(SCALE_DIMS).zip(scales).enumerate() {
        // Compared as integers, so that a NaN wins.
        let amax = x.iter().fold(0, |amax, x| amax.max(x.to_bits() & 0x7fff_ffff));
        let scale = f16::from_f32(f32::from_bits(amax) / 127.0);
        scales[index] = scale.to_bits();
        let inverse = if scale.to_f32() > 0.0 { 1.0 / scale.to_f32() } else { 0.0 };
        for (d, x) in (group * SCALE_DIMS..).zip(x) {
            let at = if keys { (d / 2 * BLOCK_TOKENS + index) * 2 + d % 2 } else { index * row.len() + d };
            // The scale is rounded: a code may come out a little above 127, or far above it where the scale is tiny.
            codes[at] = (x * inverse).clamp(-127.0, 127.0).round_ties_even() as i8;
        }
    }
}

#[cfg(test)]
mod tests;

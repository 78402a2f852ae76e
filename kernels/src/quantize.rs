//! Quantizes blocks of activations to int8 codes with scales and sums. [`crate::activations`] decides which rows form a
//! tile.

use std::ops::Range;

use crate::disjoint::Disjoint;
use crate::matrix::layout::{BLOCK, Layout, Scales};
use crate::pointwise::{norm_scale, normed, silu_product};
use crate::shapes::{Sums, TILE_ROWS_MAX};
use crate::simd::{LANES, Simd};

/// Blocks of one row that are quantized before the next row's.
pub(crate) const RUN_BLOCKS: usize = 8;

/// Where rows of activations come from. A norm is computed during quantization; its result is never stored.
#[derive(Clone, Copy)]
pub enum ActivationSource<'a> {
    /// The rows as they are, `[rows, k]`.
    Plain(&'a [f32]),
    /// `ops::rms_norm` of the rows `x`.
    Normed {
        /// The rows before the norm, `[rows, k]`.
        x: &'a [f32],
        /// The norm's weights, `k` of them.
        weight: &'a [f32],
        /// Added to the mean square, before the root.
        eps: f32,
    },
}

impl<'a> ActivationSource<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            ActivationSource::Plain(x) | ActivationSource::Normed { x, .. } => x.len(),
        }
    }

    pub(crate) fn assert_fits(&self, k: usize) {
        assert!(k > 0 && self.len().is_multiple_of(k), "{} activations are not rows of {k}", self.len());
        let whole_blocks = k.is_multiple_of(BLOCK);
        match self {
            ActivationSource::Plain(_) => {}
            _ if !whole_blocks => panic!("rows of {k} are made on the way: they must be blocks of {BLOCK}"),
            ActivationSource::Normed { weight, .. } => assert_eq!(weight.len(), k, "weights of the norm"),
        }
    }

    /// The values in `range`, which must be whole rows.
    pub(crate) fn part(self, range: Range<usize>) -> ActivationSource<'a> {
        match self {
            ActivationSource::Plain(x) => ActivationSource::Plain(&x[range]),
            ActivationSource::Normed { x, weight, eps } => {
                ActivationSource::Normed { x: &x[range], weight, eps }
            }
        }
    }

    /// The factor of the norm for each row of `k`.
    #[inline(always)]
    pub(crate) fn row_scales<S: Simd>(self, s: S, k: usize) -> [f32; TILE_ROWS_MAX] {
        let mut scales = [1.0; TILE_ROWS_MAX];
        if let ActivationSource::Normed { x, eps, .. } = self {
            for (scale, x) in scales.iter_mut().zip(x.chunks_exact(k)) {
                *scale = norm_scale(s, x, eps);
            }
        }
        scales
    }

    /// Block `block` of row `r`.
    #[inline(always)]
    pub(crate) fn block<S: Simd>(self, s: S, k: usize, r: usize, block: usize, scale: f32) -> [f32; BLOCK] {
        let mut out = [0.0; BLOCK];
        let at = r * k + block * BLOCK..r * k + (block + 1) * BLOCK;
        let outs = out.as_chunks_mut::<LANES>().0.iter_mut();
        match self {
            ActivationSource::Plain(x) => out.copy_from_slice(&x[at]),
            ActivationSource::Normed { x, weight, .. } => {
                let weight = &weight[block * BLOCK..][..BLOCK];
                let lanes = x[at].as_chunks::<LANES>().0.iter().zip(weight.as_chunks::<LANES>().0);
                for (out, (x, weight)) in outs.zip(lanes) {
                    s.store(normed(s, s.load(x), s.splat(scale), s.load(weight)), out);
                }
            }
        }
        out
    }
}

/// The offsets of codes in use, and whether each needs sums per half block.
pub(crate) const OFFSETS: [(u8, bool); 5] = [(8, false), (16, false), (128, false), (32, true), (4, true)];

/// Which forms of the activations some matrices need.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Forms {
    pub(crate) codes: bool,
    pub(crate) starts: [bool; OFFSETS.len()],
    pub(crate) half_sums: bool,
    pub(crate) floats: bool,
}

impl Forms {
    pub(crate) fn of<'a>(layouts: impl Iterator<Item = Layout> + 'a) -> Forms {
        let mut forms = Forms::default();
        for layout in layouts {
            let Layout::Codes { scales, .. } = layout else {
                forms.floats = true;
                continue;
            };
            forms.codes = true;
            forms.half_sums |= scales == Scales::GroupHalfMins;
            if let Some(index) = offset_index(layout) {
                forms.starts[index] = true;
            }
        }
        forms
    }

    pub(crate) fn include(&self, other: Forms) -> bool {
        (self.codes || !other.codes)
            && (self.floats || !other.floats)
            && (self.half_sums || !other.half_sums)
            && self.starts.iter().zip(other.starts).all(|(have, want)| *have || !want)
    }
}

pub(crate) fn offset_index(layout: Layout) -> Option<usize> {
    match layout {
        Layout::Codes { offset, scales, .. } => {
            OFFSETS.iter().position(|&known| known == (offset, scales.of_halves()))
        }
        _ => None,
    }
}

/// The buffers for quantized rows.
pub(crate) struct Quantized<'a> {
    pub(crate) k: usize,
    pub(crate) wanted: Forms,
    pub(crate) codes: Disjoint<'a, i8>,
    pub(crate) scales: Disjoint<'a, f32>,
    pub(crate) sums: Disjoint<'a, f32>,
    pub(crate) half_sums: Disjoint<'a, f32>,
    pub(crate) starts: [Disjoint<'a, i32>; OFFSETS.len()],
    pub(crate) floats: Disjoint<'a, f32>,
}

/// Quantizes block `block` of silu(gate) · up in the tile at row `row`. Both are sums of two panels,
/// `[panel][row][16]`.
///
/// # Safety
/// No other thread may quantize this block of these rows.
#[inline(always)]
pub(crate) unsafe fn quantize_gated<S: Simd>(
    s: S,
    out: &Quantized,
    gate: &Sums,
    up: &Sums,
    row: usize,
    block: usize,
    quantize: impl Fn(&[f32; BLOCK], &mut [i8; BLOCK]) -> (f32, [i32; 2]),
) {
    let rows = gate.len() / 2;
    let at = row * (out.k / BLOCK) + block * rows;
    let part = |size: usize| at * size..(at + rows) * size;
    if out.wanted.floats {
        // SAFETY: the caller's promise; each block of a tile has its own part.
        let floats = unsafe { out.floats.part(part(BLOCK)) };
        for r in 0..rows {
            floats[r..].iter_mut().step_by(rows).zip(gated_block(s, gate, up, r)).for_each(|(to, x)| *to = x);
        }
    }
    if out.wanted.codes {
        // SAFETY: as above.
        let (codes, scales, sums) =
            unsafe { (out.codes.part(part(BLOCK)), out.scales.part(part(1)), out.sums.part(part(1))) };
        let mut code_sums = [[0; 2]; TILE_ROWS_MAX];
        for (r, codes) in codes.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let (scale, sum) = quantize(&gated_block(s, gate, up, r), codes);
            (code_sums[r], scales[r]) = (sum, scale);
            sums[r] = scale * (sum[0] + sum[1]) as f32;
        }
        // SAFETY: as above.
        unsafe { put_sums(out, at, &code_sums[..rows], scales) };
    }
}

/// silu(gate) · up of row `r`.
#[inline(always)]
fn gated_block<S: Simd>(s: S, gate: &Sums, up: &Sums, r: usize) -> [f32; BLOCK] {
    let rows = gate.len() / 2;
    let mut x = [0.0; BLOCK];
    for (half, x) in x.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let at = half * rows + r;
        s.store(silu_product(s, s.load(&gate[at]), s.load(&up[at])), x);
    }
    x
}

/// Quantizes `blocks` of the tile of rows `x`, which starts at row `row`; `quantize` does what [`quantize_block`] does.
///
/// # Safety
/// No other thread may quantize these blocks of these rows.
#[inline(always)]
pub(crate) unsafe fn quantize_tile<S: Simd>(
    s: S,
    out: &Quantized,
    x: ActivationSource<'_>,
    row: usize,
    blocks: Range<usize>,
    quantize: impl Fn(&[f32; BLOCK], &mut [i8; BLOCK]) -> (f32, [i32; 2]),
) {
    let (k, rows, per_row) = (out.k, x.len() / out.k, out.k / BLOCK);
    let at = |size: usize| {
        (row * per_row + blocks.start * rows) * size..(row * per_row + blocks.end * rows) * size
    };
    // SAFETY: the caller's promise; each tile and block has its own part of each buffer.
    let (codes, scales, sums) =
        unsafe { (out.codes.part(at(BLOCK)), out.scales.part(at(1)), out.sums.part(at(1))) };
    let row_scales = x.row_scales(s, k);
    let mut code_sums = [[[0i32; 2]; TILE_ROWS_MAX]; RUN_BLOCKS];
    for run in blocks.clone().step_by(RUN_BLOCKS) {
        let run = run..(run + RUN_BLOCKS).min(blocks.end);
        for r in 0..rows {
            for block in run.clone() {
                let at = (block - blocks.start) * rows + r;
                let codes = (&mut codes[at * BLOCK..][..BLOCK]).try_into().expect("a block");
                let (scale, sum) = quantize(&x.block(s, k, r, block, row_scales[r]), codes);
                code_sums[block - run.start][r] = sum;
                scales[at] = scale;
                sums[at] = scale * (sum[0] + sum[1]) as f32;
            }
        }
        for block in run.clone() {
            let code_sums = &code_sums[block - run.start][..rows];
            let scales = &scales[(block - blocks.start) * rows..][..rows];
            // SAFETY: as above.
            unsafe { put_sums(out, row * per_row + block * rows, code_sums, scales) };
        }
    }
}

/// Writes what follows from the sums of a block's codes. `at` is the index of its first row among all.
///
/// # Safety
/// No other thread may write this block of these rows.
#[inline(always)]
unsafe fn put_sums(out: &Quantized, at: usize, code_sums: &[[i32; 2]], scales: &[f32]) {
    let rows = scales.len();
    if out.wanted.half_sums {
        // SAFETY: the caller's promise; each block of a tile has its own part.
        let half_sums = unsafe { out.half_sums.part(2 * at..2 * (at + rows)) };
        for (r, (sum, scale)) in code_sums.iter().zip(scales).enumerate() {
            (half_sums[r], half_sums[rows + r]) = (scale * sum[0] as f32, scale * sum[1] as f32);
        }
    }
    for (i, &(offset, halves)) in OFFSETS.iter().enumerate().filter(|&(i, _)| out.wanted.starts[i]) {
        let (size, offset) = (if halves { 2 } else { 1 }, -i32::from(offset));
        // SAFETY: as above.
        let starts = unsafe { out.starts[i].part(size * at..size * (at + rows)) };
        for (r, sum) in code_sums.iter().enumerate() {
            if halves {
                (starts[r], starts[rows + r]) = (offset * sum[0], offset * sum[1]);
            } else {
                starts[r] = offset * (sum[0] + sum[1]);
            }
        }
    }
}

/// A block whose largest magnitude is below this counts as zero: the inverse of its scale would overflow.
pub(crate) const AMAX_MIN: f32 = 1e-30;
/// Adding this to a number of magnitude below 2^22 rounds it to even and leaves it in the low bits (two's complement).
pub(crate) const ROUND_TO_EVEN: f32 = 12_582_912.0;

/// The scale of a block whose largest magnitude is `amax`, rounded to f16 as in GGUF's int8 blocks. Outside f16's
/// normal range it is not rounded, because codes must not exceed ±127. Codes are made with this scale.
pub(crate) fn scale_of(amax: f32) -> f32 {
    let scale = amax / 127.0;
    let rounded = half::f16::from_f32(scale);
    if rounded.is_normal() { rounded.to_f32() } else { scale }
}

/// Writes the codes of a block. Returns their scale and the sums of the first and second 16 codes.
#[inline(always)]
pub(crate) fn quantize_block(x: &[f32; BLOCK], codes: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    // Compared as integers, so that the maximum needs no order and a NaN is not lost.
    let amax = x.iter().fold(0, |amax, x| amax.max(x.to_bits() & 0x7fff_ffff));
    let amax = f32::from_bits(amax);
    if amax < AMAX_MIN {
        codes.fill(0);
        return (0.0, [0; 2]);
    }
    let scale = scale_of(amax);
    let inverse = 1.0 / scale;
    for (q, x) in codes.iter_mut().zip(x) {
        *q = (x * inverse + ROUND_TO_EVEN).to_bits() as i8;
    }
    let sums = [0, 16].map(|half| codes[half..half + 16].iter().map(|&q| i32::from(q)).sum());
    (scale, sums)
}

//! Rope, and for tests the norm and silu that other kernels compute on the fly. A row's result depends on that row
//! alone.

use std::sync::OnceLock;

use crate::disjoint::Disjoint;
use crate::dispatch::Cpu;
#[cfg(test)]
use crate::pointwise::{norm_scale, normed, silu_product};
use crate::simd::{Kernel, Simd};
#[cfg(test)]
use crate::simd::{LANES, load_partial, store_partial};

/// Values per chunk. That is some microseconds of work, enough to be worth sharing.
pub(crate) const CHUNK_VALUES: usize = 4096;

/// `out[r, i] = x[r, i] / sqrt(mean(x[r, ..]²) + eps) · weight[i]`, with `x.len() / weight.len()` rows: what
/// [`crate::quantize::ActivationSource::Normed`] does on the fly.
///
/// # Panics
/// If `x` isn't whole rows or `out` isn't as long as `x`.
#[cfg(test)]
pub(crate) fn rms_norm(cpu: &Cpu, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "rms_norm: lengths of input and output");
    if x.is_empty() {
        return;
    }
    let width = weight.len();
    assert!(
        width > 0 && x.len().is_multiple_of(width),
        "rms_norm: {} values are not rows of {width}",
        x.len()
    );
    let rows_per_chunk = (CHUNK_VALUES / width).max(1);
    for_chunks_mut(cpu, out, rows_per_chunk * width, &|first, out| {
        let x = &x[first..first + out.len()];
        cpu.vectorise(RmsNorm { x, weight, eps, out });
    });
}

/// `out[i] = silu(gate[i]) · up[i]` with silu(g) = g / (1 + e⁻ᵍ): what [`crate::matmul::gated_matmul`] does on the fly.
#[cfg(test)]
pub(crate) fn silu_mul(cpu: &Cpu, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(gate.len() == up.len() && up.len() == out.len(), "silu_mul: lengths differ");
    for_chunks_mut(cpu, out, CHUNK_VALUES, &|first, out| {
        let range = first..first + out.len();
        cpu.vectorise(SiluMul { gate: &gate[range.clone()], up: &up[range], out });
    });
}

/// Which two values of a head form the pair that rope rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// 2i and 2i + 1, as in Llama's GGUF files.
    Interleaved,
    /// i and i + head_dim / 2, as in NeoX and Qwen2.
    Halves,
}

/// The angle per position of each pair, and a cache of the sines and cosines of positions used so far.
#[derive(Debug)]
pub struct RopeFreqs {
    radians_per_position: Vec<f64>,
    /// Made when first needed. Page p has positions `256 p ..`, for each the cosines of all pairs, then their sines.
    pages: Box<[OnceLock<Box<[f32]>>]>,
}

impl RopeFreqs {
    /// Positions must be below this.
    pub const POSITIONS_MAX: usize = 1 << 20;
    const PAGE_POSITIONS: usize = 256;

    /// Takes radians per position for each pair, half as many as a head is wide, with any scaling applied.
    pub fn new(radians_per_position: &[f32]) -> RopeFreqs {
        let pages = (0..Self::POSITIONS_MAX / Self::PAGE_POSITIONS).map(|_| OnceLock::new()).collect();
        RopeFreqs {
            radians_per_position: radians_per_position.iter().map(|&f| f64::from(f)).collect(),
            pages,
        }
    }

    /// Cosines and sines at a position, by pair. Computed in f64: f32 angles are off by 0.004 at position 32,768.
    fn at(&self, position: u32) -> (&[f32], &[f32]) {
        let (page, row) =
            (position as usize / Self::PAGE_POSITIONS, position as usize % Self::PAGE_POSITIONS);
        let pairs = self.radians_per_position.len();
        let page = self.pages[page].get_or_init(|| self.page(page));
        page[2 * pairs * row..2 * pairs * (row + 1)].split_at(pairs)
    }

    fn page(&self, page: usize) -> Box<[f32]> {
        let first = page * Self::PAGE_POSITIONS;
        let row = |position: usize| {
            let angles = self.radians_per_position.iter().map(move |f| f * position as f64);
            angles.clone().map(|a| a.cos() as f32).chain(angles.map(|a| a.sin() as f32))
        };
        (first..first + Self::PAGE_POSITIONS).flat_map(row).collect()
    }
}

/// A rotation of heads by each row's position.
#[derive(Debug, Clone, Copy)]
pub struct Rope<'a> {
    /// The angles, for half as many pairs as a head is wide.
    pub freqs: &'a RopeFreqs,
    /// Which values form a pair.
    pub style: RopeStyle,
    /// The position of each row, below [`RopeFreqs::POSITIONS_MAX`].
    pub positions: &'a [u32],
}

impl Rope<'_> {
    pub(crate) fn assert_fits(&self, rows: usize, head_dim: usize) {
        assert_eq!(rows, self.positions.len(), "rope: rows and positions");
        assert_eq!(head_dim, 2 * self.freqs.radians_per_position.len(), "rope: head_dim and frequencies");
    }

    pub(crate) fn rotation(&self, row: usize) -> Rotation<'_> {
        let (cos, sin) = self.freqs.at(self.positions[row]);
        Rotation { cos, sin, style: self.style }
    }
}

/// Rotates each pair of each head in place: `x[rows, heads, head_dim]`, with one position per row.
///
/// # Panics
/// If the shapes do not fit, or a position is not below [`RopeFreqs::POSITIONS_MAX`].
pub fn rope(cpu: &Cpu, x: &mut [f32], heads: usize, head_dim: usize, rope: Rope<'_>) {
    let width = heads * head_dim;
    assert_eq!(x.len(), rope.positions.len() * width, "rope: rows and positions");
    rope.assert_fits(rope.positions.len(), head_dim);
    if x.is_empty() {
        return;
    }
    let rows = rope.positions.len();
    let rows_each = (CHUNK_VALUES / head_dim).min(rows);
    let parts = rows.div_ceil(rows_each);
    let x = Disjoint::new(x);
    // Head by head, so that a thread rotates the heads it made in the matmul before.
    let rotate = |chunk: usize| {
        let (head, part) = (chunk / parts, chunk % parts);
        for row in part * rows_each..rows.min((part + 1) * rows_each) {
            let first = row * width + head * head_dim;
            // SAFETY: each chunk has other rows of a head, or another head.
            let head = unsafe { x.part(first..first + head_dim) };
            cpu.vectorise(RotateHead { head, rotation: rope.rotation(row) });
        }
    };
    if rows * width < CHUNK_VALUES {
        (0..heads * parts).for_each(rotate)
    } else {
        cpu.run(heads * parts, &rotate)
    }
}

/// Distributes `out` over the threads in parts of `chunk` values, each with its offset.
#[cfg(test)]
fn for_chunks_mut(cpu: &Cpu, out: &mut [f32], chunk: usize, f: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    let len = out.len();
    let out = Disjoint::new(out);
    cpu.run(len.div_ceil(chunk), &|i| {
        let range = i * chunk..len.min((i + 1) * chunk);
        // SAFETY: the ranges of different chunks do not overlap.
        f(range.start, unsafe { out.part(range.clone()) });
    });
}

#[cfg(test)]
struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

#[cfg(test)]
impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let scale = s.splat(norm_scale(s, x, self.eps));
            let ((x, x_tail), (w, w_tail)) = (x.as_chunks::<LANES>(), self.weight.as_chunks::<LANES>());
            let (out, out_tail) = out.as_chunks_mut::<LANES>();
            for ((x, w), out) in x.iter().zip(w).zip(out) {
                s.store(normed(s, s.load(x), scale, s.load(w)), out);
            }
            let (x, w) = (load_partial(s, x_tail), load_partial(s, w_tail));
            store_partial(s, normed(s, x, scale, w), out_tail);
        }
    }
}

#[cfg(test)]
struct SiluMul<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

#[cfg(test)]
impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ((gate, gate_tail), (up, up_tail)) =
            (self.gate.as_chunks::<LANES>(), self.up.as_chunks::<LANES>());
        let (out, out_tail) = self.out.as_chunks_mut::<LANES>();
        for ((gate, up), out) in gate.iter().zip(up).zip(out) {
            s.store(silu_product(s, s.load(gate), s.load(up)), out);
        }
        let (gate, up) = (load_partial(s, gate_tail), load_partial(s, up_tail));
        store_partial(s, silu_product(s, gate, up), out_tail);
    }
}

/// The rotation of one position.
#[derive(Clone, Copy)]
pub(crate) struct Rotation<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    style: RopeStyle,
}

impl Rotation<'_> {
    /// Rotates one head. The compiler vectorizes these plain loops and never fuses, so the bits stay the same.
    #[inline(always)]
    pub(crate) fn apply(&self, head: &mut [f32]) {
        let rotate = |a: f32, b: f32, cos: f32, sin: f32| (a * cos - b * sin, a * sin + b * cos);
        let angles = self.cos.iter().zip(self.sin);
        match self.style {
            RopeStyle::Interleaved => {
                for (pair, (&cos, &sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                    (pair[0], pair[1]) = rotate(pair[0], pair[1], cos, sin);
                }
            }
            RopeStyle::Halves => {
                let (a, b) = head.split_at_mut(self.cos.len());
                for ((a, b), (&cos, &sin)) in a.iter_mut().zip(b).zip(angles) {
                    (*a, *b) = rotate(*a, *b, cos, sin);
                }
            }
        }
    }
}

struct RotateHead<'a> {
    head: &'a mut [f32],
    rotation: Rotation<'a>,
}

impl Kernel for RotateHead<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.rotation.apply(self.head);
    }
}

#[cfg(test)]
mod tests;

//! Int8 activations, quantized once and shared by several matmuls.
//!
//! A row is divided into blocks of 32 codes in -127..=127, each with one f32 scale, amax/127. Weight formats with
//! minimums also need the scaled sum of the codes. Those whose codes are unsigned need -offset times the sum, where the
//! integer accumulator starts, so that the offset costs nothing.
//!
//! Rows lie in balanced tiles of at most 64 (10 rows are one tile, 65 are 33 + 32), block by block, so that all a
//! kernel needs for a block is contiguous.

use crate::disjoint::Disjoint;
use crate::dispatch::{Cpu, quantizer};
use crate::matrix::Matrix;
use crate::matrix::layout::{BLOCK, Layout, Scales};
use crate::quantize::{ActivationSource, Forms, OFFSETS, Quantized, RUN_BLOCKS, offset_index};
use crate::shapes::{TILE_ROWS_MAX, Tile};
use crate::simd::{Kernel, Simd};

/// Blocks per chunk of work, over all rows; that takes microseconds.
const CHUNK_BLOCKS: usize = 128;
/// Activations in the forms that the kernels read. The buffers are reused and never shrink.
#[derive(Default)]
pub struct Activations {
    rows: usize,
    k: usize,
    /// `[tile][block][row of tile][32]`
    codes: Vec<i8>,
    /// `[tile][block][row of tile]`
    scales: Vec<f32>,
    /// Scale times sum of codes, shaped as `scales`.
    sums: Vec<f32>,
    /// The same for each half of a block: `[tile][block][half][row of tile]`
    half_sums: Vec<f32>,
    /// For each offset in use, -offset times sum of codes: `[tile][block][row]`, or `[tile][block][half][row]`.
    starts: [Vec<i32>; OFFSETS.len()],
    /// The activations as floats: `[tile][k][row of tile]`
    floats: Vec<f32>,
    /// Which of the forms above are valid for the current rows.
    forms: Forms,
}

impl Activations {
    /// Holds no rows until [`Activations::fill`] is called.
    pub fn new() -> Activations {
        Activations::default()
    }

    /// The number of rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The length of a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Converts the rows of `x`, each `k` long, to the forms that these matrices multiply.
    ///
    /// # Panics
    /// If `x` is not whole rows of `k`, or a matrix has another k.
    pub fn fill(&mut self, cpu: &Cpu, x: ActivationSource<'_>, k: usize, consumers: &[&Matrix]) {
        x.assert_fits(k);
        let rows = x.len() / k;
        let out = self.begin(rows, k, consumers);
        if out.wanted.codes {
            fill_codes(cpu, rows, x, &out);
        }
        if out.wanted.floats {
            fill_floats(cpu, rows, x, &out);
        }
    }

    /// Makes room for rows of `k`, in the forms that these matrices multiply, to be filled block by block.
    pub(crate) fn begin(&mut self, rows: usize, k: usize, consumers: &[&Matrix]) -> Quantized<'_> {
        for matrix in consumers {
            assert_eq!(matrix.k(), k, "activations for {matrix:?}");
        }
        let blocks = k / BLOCK;
        (self.rows, self.k) = (rows, k);
        self.forms = Forms::of(consumers.iter().map(|matrix| matrix.layout()));
        if self.forms.codes {
            grow(&mut self.codes, rows * k);
            grow(&mut self.scales, rows * blocks);
            grow(&mut self.sums, rows * blocks);
        }
        for (i, starts) in self.starts.iter_mut().enumerate() {
            if self.forms.starts[i] {
                grow(starts, rows * blocks * if OFFSETS[i].1 { 2 } else { 1 });
            }
        }
        if self.forms.half_sums {
            grow(&mut self.half_sums, rows * blocks * 2);
        }
        if self.forms.floats {
            grow(&mut self.floats, rows * k);
        }
        Quantized {
            k,
            wanted: self.forms,
            codes: Disjoint::new(&mut self.codes),
            scales: Disjoint::new(&mut self.scales),
            sums: Disjoint::new(&mut self.sums),
            half_sums: Disjoint::new(&mut self.half_sums),
            starts: self.starts.each_mut().map(|starts| Disjoint::new(starts)),
            floats: Disjoint::new(&mut self.floats),
        }
    }

    pub(crate) fn tiles(&self) -> usize {
        tiles(self.rows)
    }

    /// Panics unless `fill` was called for a matrix of this layout.
    pub(crate) fn assert_filled_for(&self, matrix: &Matrix) {
        assert_eq!(self.k, matrix.k(), "activations of {} for {matrix:?}", self.k);
        let wanted = Forms::of(std::iter::once(matrix.layout()));
        assert!(self.forms.include(wanted), "activations were not filled for {matrix:?}");
    }

    /// Tile `tile`, in the forms that weights of this layout are multiplied with.
    pub(crate) fn tile(&self, tile: usize, layout: Layout) -> Tile<'_> {
        let (row, rows) = tile_of(self.rows, tile);
        let mut out = Tile { row, rows, codes: &[], scales: &[], sums: &[], starts: &[], floats: &[] };
        if !matches!(layout, Layout::Codes { .. }) {
            out.floats = &self.floats[row * self.k..][..rows * self.k];
            return out;
        }
        let blocks = self.k / BLOCK;
        out.codes = &self.codes[row * self.k..][..rows * self.k];
        out.scales = &self.scales[row * blocks..][..rows * blocks];
        out.sums = match layout {
            Layout::Codes { scales: Scales::GroupHalfMins, .. } => {
                &self.half_sums[row * blocks * 2..][..rows * blocks * 2]
            }
            _ => &self.sums[row * blocks..][..rows * blocks],
        };
        if let Some(index) = offset_index(layout) {
            let halves = if OFFSETS[index].1 { 2 } else { 1 };
            out.starts = &self.starts[index][row * blocks * halves..][..rows * blocks * halves];
        }
        out
    }
}

fn fill_codes(cpu: &Cpu, rows: usize, x: ActivationSource<'_>, out: &Quantized<'_>) {
    let (k, blocks, tiles) = (out.k, out.k / BLOCK, tiles(rows));
    let parts = parts(cpu.threads(), rows, blocks, x);
    let quantize = quantizer(cpu);
    // Ordered by part, so that a thread quantizes the outputs it made in the matmul before.
    cpu.run(tiles * parts, &|chunk| {
        let (row, tile_rows) = tile_of(rows, chunk % tiles);
        let part = chunk / tiles;
        let part = part * blocks / parts..(part + 1) * blocks / parts;
        // SAFETY: `quantizer` checked the instructions, and each chunk has another tile or other blocks.
        unsafe { quantize(out, x.part(row * k..(row + tile_rows) * k), row, part) }
    });
}

fn parts(threads: usize, rows: usize, blocks: usize, x: ActivationSource<'_>) -> usize {
    let tiles = tiles(rows);
    let parts = (rows * blocks / CHUNK_BLOCKS).div_ceil(tiles.max(1));
    // With a norm, each part first goes over its whole rows.
    let most = if matches!(x, ActivationSource::Normed { .. }) {
        threads.div_ceil(tiles.max(1))
    } else {
        usize::MAX
    };
    parts.min(most).min(blocks.div_ceil(RUN_BLOCKS)).max(1)
}

fn fill_floats(cpu: &Cpu, rows: usize, x: ActivationSource<'_>, out: &Quantized<'_>) {
    let k = out.k;
    cpu.run(tiles(rows), &|tile| {
        let (row, tile_rows) = tile_of(rows, tile);
        let range = row * k..(row + tile_rows) * k;
        // SAFETY: each chunk has another tile.
        let out = unsafe { out.floats.part(range.clone()) };
        cpu.vectorise(ToFloats { x: x.part(range), k, out });
    });
}

fn tiles(rows: usize) -> usize {
    rows.div_ceil(TILE_ROWS_MAX)
}

fn tile_of(rows: usize, tile: usize) -> (usize, usize) {
    let (least, longer) = (rows / tiles(rows), rows % tiles(rows));
    (tile * least + tile.min(longer), least + usize::from(tile < longer))
}

/// Never shrinks: a smaller batch uses a part.
fn grow<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
}

/// Converts a tile's rows to floats, `[k][row]`.
struct ToFloats<'a> {
    x: ActivationSource<'a>,
    k: usize,
    out: &'a mut [f32],
}

impl Kernel for ToFloats<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.out.len() / self.k;
        let scales = self.x.row_scales(s, self.k);
        for r in 0..rows {
            for (block, out) in self.out.chunks_mut(BLOCK * rows).enumerate() {
                let whole = out.len() == BLOCK * rows;
                let to = out[r..].iter_mut().step_by(rows);
                match self.x {
                    // The end of a row that is not whole blocks.
                    ActivationSource::Plain(x) if !whole => {
                        to.zip(&x[r * self.k + block * BLOCK..]).for_each(|(to, x)| *to = *x);
                    }
                    x => to.zip(x.block(s, self.k, r, block, scales[r])).for_each(|(to, x)| *to = x),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantize::quantize_block;

    #[test]
    fn tiles_are_balanced_and_cover_all_rows() {
        for rows in 1..200 {
            let mut next = 0;
            for tile in 0..tiles(rows) {
                let (row, len) = tile_of(rows, tile);
                assert_eq!(row, next);
                assert!(len.abs_diff(rows / tiles(rows)) <= 1 && len <= TILE_ROWS_MAX && len > 0);
                next += len;
            }
            assert_eq!(next, rows);
        }
        assert_eq!((tile_of(65, 0), tile_of(65, 1)), ((0, 33), (33, 32)));
    }

    proptest! {
        #[test]
        fn a_block_is_within_half_a_step(x in prop::array::uniform32(-1e4f32..1e4)) {
            let mut codes = [0; 32];
            let (scale, _) = quantize_block(&x, &mut codes);
            for (x, q) in x.iter().zip(codes) {
                prop_assert!((x - scale * f32::from(q)).abs() <= scale * 0.5001, "{x} as {q} times {scale}");
            }
        }
    }

    #[test]
    fn odd_numbers_are_not_hidden() {
        let mut codes = [1; 32];
        assert_eq!(quantize_block(&[0.0; 32], &mut codes).0, 0.0);
        assert_eq!(codes, [0; 32]);
        assert_eq!(quantize_block(&[1e-38; 32], &mut codes).0, 0.0);
        let mut x = [1.0; 32];
        x[7] = f32::NAN;
        assert!(quantize_block(&x, &mut codes).0.is_nan());
        x[7] = f32::INFINITY;
        assert!(quantize_block(&x, &mut codes).0.is_infinite());
    }
}

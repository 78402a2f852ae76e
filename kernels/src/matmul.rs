//! y = x · wᵀ with one accumulation order, for any number of rows.
//!
//! An output is the sum over blocks of 32, in order. Each block adds an exact int32 dot product,
//! `acc = fma(dot · w_scale, x_scale, acc)`, and if the format has minimums, `acc = fma(w_min, x_sum, acc)` (per half
//! block, where halves have their own). Formats with a scale per half block use
//! `fma(dot_1, w_scale_1, dot_0 · w_scale_0)` as the product. Float weights take one fma per k, in order. Every kernel
//! keeps to this, so a row's bits depend on that row alone. Threads split outputs and rows, never k.

use std::cell::RefCell;
use std::ops::Range;

use crate::activations::Activations;
use crate::disjoint::Disjoint;
use crate::dispatch::{Cpu, gated_quantizer, kernel};
use crate::isa::Isa;
use crate::matrix::Matrix;
use crate::matrix::layout::{BLOCK, LANES};
use crate::shapes::{Kernel, PANELS_MAX, Sums, TILE_ROWS_MAX, Tile};

/// One product of a [`matmul`]: `y[rows, n] = x · wᵀ + bias`, or `y += ...` with `add`.
pub struct MatmulOutput<'a> {
    /// The weights `[n, k]`.
    pub w: &'a Matrix,
    /// Added to each row if present; `n` long.
    pub bias: Option<&'a [f32]>,
    /// Adds to what `y` holds (a residual) instead of overwriting it.
    pub add: bool,
    /// The result, `[rows, n]`.
    pub y: &'a mut [f32],
}

/// Sums, aligned to cache lines: many rows read and write them at every block.
#[repr(align(64))]
struct SumsBuffer([[f32; LANES]; STORE_PANELS * TILE_ROWS_MAX]);

thread_local! {
    /// Used by one chunk at a time; kept, since zeroing it takes as long as a small chunk.
    static SUMS: RefCell<SumsBuffer> = const { RefCell::new(SumsBuffer([[0.0; LANES]; STORE_PANELS * TILE_ROWS_MAX])) };
}

/// Panels whose sums are stored together, so that several cache lines of a row of y are written at once.
const STORE_PANELS: usize = 8;

/// Outputs that share one fork-join.
const OUTPUTS_MAX: usize = 8;

/// Multiplies the same activations by the weights of each output, in one fork-join for up to eight outputs.
///
/// # Panics
/// If a shape does not fit, or `x` was not filled for a matrix.
pub fn matmul(cpu: &Cpu, x: &Activations, outputs: &mut [MatmulOutput]) {
    for output in outputs.iter() {
        x.assert_filled_for(output.w);
        assert_eq!(output.y.len(), x.rows() * output.w.n(), "y of {:?}", output.w);
        assert!(output.bias.is_none_or(|bias| bias.len() == output.w.n()), "bias of {:?}", output.w);
    }
    if x.rows() == 0 {
        return;
    }
    let isa = cpu.isa();
    for outputs in outputs.chunks_mut(OUTPUTS_MAX) {
        let mut products = [const { None }; OUTPUTS_MAX];
        for (product, output) in products.iter_mut().zip(outputs) {
            *product =
                Some(Product { w: output.w, bias: output.bias, add: output.add, y: Disjoint::new(output.y) });
        }
        let products = &products;
        let chunks = chunks(cpu.threads(), x.rows(), products.iter().flatten().map(|product| product.w));
        cpu.run(chunks, &|chunk| {
            SUMS.with_borrow_mut(|sums| {
                for product in products.iter().flatten() {
                    product.run(isa, x, product.panels_of(chunk, chunks), &mut sums.0);
                }
            });
        });
    }
}

/// Fills `into` with silu(x · gateᵀ) · (x · upᵀ), for the matrices that multiply it next. No product is stored whole.
///
/// # Panics
/// If a shape does not fit, outputs are not whole blocks of 32, or `x` was not filled for a matrix.
pub fn gated_matmul(
    cpu: &Cpu,
    x: &Activations,
    gate: &Matrix,
    up: &Matrix,
    into: &mut Activations,
    consumers: &[&Matrix],
) {
    [gate, up].into_iter().for_each(|w| x.assert_filled_for(w));
    let n = gate.n();
    assert!(up.n() == n && n.is_multiple_of(BLOCK), "{gate:?} and {up:?} are not of whole blocks");
    let out = into.begin(x.rows(), n, consumers);
    if x.rows() == 0 {
        return;
    }
    let (blocks, chunks) = (n / BLOCK, chunks(cpu.threads(), x.rows(), [gate, up].into_iter()));
    let kernels = [gate, up].map(|w| kernel(cpu.isa(), w.layout()));
    let quantize = gated_quantizer(cpu);
    cpu.run(chunks, &|chunk| {
        SUMS.with_borrow_mut(|sums| {
            let share = blocks * chunk / chunks..blocks * (chunk + 1) / chunks;
            for tile in 0..x.tiles() {
                let tiles = [gate, up].map(|w| x.tile(tile, w.layout()));
                let (row, each) = (tiles[0].row, 2 * tiles[0].rows);
                // As many blocks as there is room for, so that each matrix is read in long runs.
                let together = sums.0.len() / (2 * each);
                for first in share.clone().step_by(together) {
                    let some = first..(first + together).min(share.end);
                    let (gates, ups) = sums.0.split_at_mut(together * each);
                    // SAFETY: the kernels were chosen by the instructions this machine has.
                    unsafe {
                        multiply(kernels[0], gate, some.clone(), &tiles[0], gates);
                        multiply(kernels[1], up, some.clone(), &tiles[1], ups);
                    }
                    for (block, (gates, ups)) in some.zip(gates.chunks(each).zip(ups.chunks(each))) {
                        // SAFETY: as above; each chunk has its own blocks.
                        unsafe { quantize(&out, gates, ups, row, block) };
                    }
                }
            }
        });
    });
}

/// The sums of some blocks of outputs, two panels per block.
///
/// # Safety
/// The machine must have the kernel's instructions.
unsafe fn multiply(kernel: Kernel, w: &Matrix, blocks: Range<usize>, tile: &Tile, sums: &mut Sums) {
    for (block, sums) in blocks.zip(sums.chunks_mut(PANELS_MAX * tile.rows)) {
        // SAFETY: the caller's promise.
        unsafe { kernel(w.layout(), w.panels_in(2 * block..2 * block + 2), tile, sums) };
    }
}

/// One output, cut into chunks. A chunk is the same share of every output, so that what belongs together (gate and up,
/// the heads of q and k) is made by one thread and is in its cache for the next op.
struct Product<'a> {
    w: &'a Matrix,
    bias: Option<&'a [f32]>,
    add: bool,
    y: Disjoint<'a, f32>,
}

/// Least chunks per thread, so that a thread that lost its core for a while holds up little work.
const CHUNKS_PER_THREAD: usize = 12;
/// A chunk's weights, counted once per [`ROWS_PER_READ`] rows, should have this many bytes: microseconds of work.
const CHUNK_BYTES_MIN: usize = 24 << 10;
/// Multiplying this many rows takes about as long as reading the weights.
const ROWS_PER_READ: usize = 8;
/// Most bytes of a chunk's weights, so that they stay in the second-level cache while all tiles pass.
const CHUNK_BYTES_MAX: usize = 384 << 10;

/// The best number of chunks for these matrices: a multiple of the threads, if there is work for all.
fn chunks<'a>(threads: usize, rows: usize, matrices: impl Iterator<Item = &'a Matrix>) -> usize {
    let sizes = matrices.map(|w| (w.panels() * w.panel_bytes(), w.panels()));
    let (bytes, panels) = sizes.fold((0, 0), |(bytes, most), (b, panels)| (bytes + b, most.max(panels)));
    let most = (bytes * rows.div_ceil(ROWS_PER_READ)).div_ceil(CHUNK_BYTES_MIN);
    let least = bytes.div_ceil(CHUNK_BYTES_MAX);
    let wanted = (threads * CHUNKS_PER_THREAD).min(most).max(least);
    let wanted = if wanted < threads { wanted } else { wanted.next_multiple_of(threads) };
    wanted.min(panels.div_ceil(PANELS_MAX))
}

impl Product<'_> {
    /// The panels of chunk `chunk` of `chunks`, in whole pairs if there are enough.
    fn panels_of(&self, chunk: usize, chunks: usize) -> Range<usize> {
        let panels = self.w.panels();
        let unit = if panels >= chunks * PANELS_MAX { PANELS_MAX } else { 1 };
        let first =
            |chunk: usize| if chunk == chunks { panels } else { panels * chunk / chunks / unit * unit };
        first(chunk)..first(chunk + 1)
    }

    /// Panels inside, tiles outside: a tile's activations stay in the cache while the chunk's few panels pass.
    fn run(&self, isa: Isa, x: &Activations, panels: Range<usize>, sums: &mut Sums) {
        let layout = self.w.layout();
        let kernel = kernel(isa, layout);
        for tile in 0..x.tiles() {
            let tile = x.tile(tile, layout);
            for first in panels.clone().step_by(STORE_PANELS) {
                let some = first..(first + STORE_PANELS).min(panels.end);
                let pairs = some.clone().step_by(PANELS_MAX);
                for (first, sums) in pairs.zip(sums.chunks_mut(PANELS_MAX * tile.rows)) {
                    let pair = first..(first + PANELS_MAX).min(some.end);
                    // SAFETY: `kernel` was chosen by the instructions this machine has.
                    unsafe { kernel(layout, self.w.panels_in(pair), &tile, sums) };
                }
                self.store(some, &tile, sums);
            }
        }
    }

    fn store(&self, panels: Range<usize>, tile: &Tile, sums: &Sums) {
        let n = self.w.n();
        let outputs = panels.start * LANES..(panels.end * LANES).min(n);
        for row in 0..tile.rows {
            let first = (tile.row + row) * n;
            // SAFETY: each chunk has its own panels, and rows of one chunk follow one another.
            let y = unsafe { self.y.part(first + outputs.start..first + outputs.end) };
            for (i, y) in y.chunks_mut(LANES).enumerate() {
                let bias = self.bias.map(|bias| &bias[outputs.start + i * LANES..][..y.len()]);
                let sums = &sums[i * tile.rows + row];
                match <&mut [f32; LANES]>::try_from(&mut *y) {
                    // The known length makes this a few vector instructions.
                    Ok(y) => store_row(y, sums, bias, self.add),
                    Err(_) => store_row(y, sums, bias, self.add),
                }
            }
        }
    }
}

#[inline(always)]
fn store_row(y: &mut [f32], sums: &[f32; LANES], bias: Option<&[f32]>, add: bool) {
    let mut sums = *sums;
    if let Some(bias) = bias {
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
    }
    match add {
        true => y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum),
        false => y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum),
    }
}

#[cfg(test)]
mod tests;

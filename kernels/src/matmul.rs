//! y = x · wᵀ in three shapes of work with one accumulation order.
//!
//! An output is the sum over blocks of 32 in order: an exact int32 dot product, then `acc = fma(dot · w_scale, x_scale, acc)`,
//! then `acc = fma(w_min, x_sum, acc)` where the format has minimums. Formats with a scale for each half block take
//! `fma(dot_1, w_scale_1, dot_0 · w_scale_0)` for the product. Float weights: one fma for each k in order. Every kernel keeps to this, for any number of rows,
//! so a row's bits depend on that row alone. Threads split outputs and rows, never k.

use crate::activations::{Activations, TILE_ROWS_MAX, Tile};
use crate::disjoint::Disjoint;
use crate::dispatch::{Cpu, Isa};
use crate::matrix::Matrix;
use crate::matrix::layout::{BLOCK, LANES, Layout, unpack_block};

/// One product of a [`matmul`]: `y[rows, n] = x · wᵀ + bias`, or `y += ...` with `add`.
pub struct Output<'a> {
    /// Weights `[n, k]`.
    pub w: &'a Matrix,
    /// Added to each row; `n` long.
    pub bias: Option<&'a [f32]>,
    /// Adds to what `y` holds (a residual) in place of overwriting it.
    pub add: bool,
    /// `[rows, n]`
    pub y: &'a mut [f32],
}

/// Sums of 16 outputs for each row of a tile.
pub(crate) type Sums = [[f32; LANES]; TILE_ROWS_MAX];

/// Writes the sums of one panel for the rows of one tile.
pub(crate) type Kernel = unsafe fn(layout: Layout, panel: &[u8], x: &Tile, sums: &mut Sums);

/// Outputs that share one fork-join.
const OUTPUTS_MAX: usize = 8;

/// Multiplies the same activations by the weights of each output, in one fork-join.
///
/// # Panics
/// If a shape does not fit, or if `x` was not filled for a matrix.
pub fn matmul(cpu: &Cpu, x: &Activations, outputs: &mut [Output]) {
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
        let mut jobs = [const { None }; OUTPUTS_MAX];
        for (job, output) in jobs.iter_mut().zip(outputs) {
            *job = Some(Job::new(cpu, x, output));
        }
        let jobs = &jobs;
        cpu.run(jobs.iter().flatten().map(Job::chunks).sum(), &|mut chunk| {
            for job in jobs.iter().flatten() {
                if chunk < job.chunks() {
                    return job.run(isa, x, chunk);
                }
                chunk -= job.chunks();
            }
        });
    }
}

/// The kernel for weights of this layout and tiles of this many rows.
fn kernel(isa: Isa, layout: Layout, rows: usize) -> Kernel {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => crate::x86_64::matmul::kernel(layout, rows),
        #[cfg(target_arch = "x86_64")]
        Isa::Scalar if crate::x86_64::has_fma() => crate::x86_64::scalar_kernel_with_fma,
        _ => scalar_kernel,
    }
}

/// One output cut into chunks.
struct Job<'a> {
    w: &'a Matrix,
    bias: Option<&'a [f32]>,
    add: bool,
    y: Disjoint<'a, f32>,
    chunk_panels: usize,
}

/// Chunks a thread should get at least, so that one that lost its core for a while leaves little to wait for.
const CHUNKS_PER_THREAD: usize = 12;
/// A chunk's weights, counted once for each [`ROWS_PER_READ`] rows, should be this many bytes at least ...
const CHUNK_BYTES_MIN: usize = 24 << 10;
/// ... and no more than this, if that leaves more than a panel.
const CHUNK_BYTES_MAX: usize = 192 << 10;
/// Rows that cost about as much time to multiply as the weights cost to read.
const ROWS_PER_READ: usize = 8;

impl<'a> Job<'a> {
    fn new(cpu: &Cpu, x: &Activations, output: &'a mut Output) -> Job<'a> {
        let w = output.w;
        let panel_cost = w.panel_bytes() * x.rows().div_ceil(ROWS_PER_READ);
        let share = w.panels() * panel_cost / (cpu.threads() * CHUNKS_PER_THREAD);
        let chunk_panels = share.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX) / panel_cost.max(1);
        Job {
            w,
            bias: output.bias,
            add: output.add,
            y: Disjoint::new(output.y),
            chunk_panels: chunk_panels.max(1),
        }
    }

    fn chunks(&self) -> usize {
        self.w.panels().div_ceil(self.chunk_panels)
    }

    /// Panels inside, tiles outside: the tile's activations stay near while the chunk's few panels pass.
    fn run(&self, isa: Isa, x: &Activations, chunk: usize) {
        let panels = chunk * self.chunk_panels..((chunk + 1) * self.chunk_panels).min(self.w.panels());
        let mut sums = [[0.0; LANES]; TILE_ROWS_MAX];
        for tile in 0..x.tiles() {
            let tile = x.tile(tile, self.w.layout());
            let kernel = kernel(isa, self.w.layout(), tile.rows);
            for panel in panels.clone() {
                // SAFETY: `kernel` was chosen by the instructions this machine has.
                unsafe { kernel(self.w.layout(), self.w.panel(panel), &tile, &mut sums) };
                self.store(panel, &tile, &sums);
            }
        }
    }

    fn store(&self, panel: usize, tile: &Tile, sums: &Sums) {
        let n = self.w.n();
        let outputs = panel * LANES..((panel + 1) * LANES).min(n);
        for (row, sums) in (tile.row..).zip(&sums[..tile.rows]) {
            // SAFETY: each chunk has its own panels, and rows of one chunk follow one another.
            let y = unsafe { self.y.part(row * n + outputs.start..row * n + outputs.end) };
            let mut sums = *sums;
            if let Some(bias) = self.bias {
                sums.iter_mut().zip(&bias[outputs.clone()]).for_each(|(sum, bias)| *sum += bias);
            }
            match self.add {
                true => y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum),
                false => y.copy_from_slice(&sums[..y.len()]),
            }
        }
    }
}

/// The kernel that runs anywhere, and the twin that every other must equal to the bit.
#[inline(always)]
pub(crate) fn scalar_kernel(layout: Layout, panel: &[u8], x: &Tile, sums: &mut Sums) {
    sums[..x.rows].fill([0.0; LANES]);
    match layout {
        Layout::F32 => multiply_floats::<4>(panel, x, sums, f32::from_le_bytes),
        Layout::F16 => multiply_floats::<2>(panel, x, sums, |b| half::f16::from_le_bytes(b).to_f32()),
        Layout::BF16 => multiply_floats::<2>(panel, x, sums, |b| half::bf16::from_le_bytes(b).to_f32()),
        Layout::Codes { .. } => multiply_codes(layout, panel, x, sums),
    }
}

#[inline(always)]
fn multiply_floats<const SIZE: usize>(
    panel: &[u8],
    x: &Tile,
    sums: &mut Sums,
    value: impl Fn([u8; SIZE]) -> f32,
) {
    for (column, x) in panel.chunks_exact(SIZE * LANES).zip(x.floats.chunks_exact(x.rows)) {
        let mut w = [0.0; LANES];
        for (w, bytes) in w.iter_mut().zip(column.chunks_exact(SIZE)) {
            *w = value(bytes.try_into().expect("chunks of this size"));
        }
        for (sums, &x) in sums.iter_mut().zip(x) {
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = w.mul_add(x, *sum);
            }
        }
    }
}

#[inline(always)]
fn multiply_codes(layout: Layout, panel: &[u8], x: &Tile, sums: &mut Sums) {
    let Layout::Codes { planes, scales, offset } = layout else { unreachable!("floats have no codes") };
    for (b, x_block) in x.codes.chunks_exact(x.rows * BLOCK).enumerate() {
        let block = unpack_block(planes, scales, panel, b);
        for (r, codes) in x_block.chunks_exact(BLOCK).enumerate() {
            let at = b * x.rows + r;
            let (x_scale, x_sum) = (x.scales[at], x.sums[at]);
            let [first, second] = dots(&block.codes, codes.try_into().expect("a block"), offset);
            let halves = scales == crate::matrix::layout::Scales::GroupHalves;
            for (lane, sum) in sums[r].iter_mut().enumerate() {
                let product = if halves {
                    let product = first[lane] as f32 * block.scales[0][lane];
                    (second[lane] as f32).mul_add(block.scales[1][lane], product)
                } else {
                    (first[lane] + second[lane]) as f32 * block.scales[0][lane]
                };
                *sum = product.mul_add(x_scale, *sum);
                if scales.have_mins() {
                    *sum = block.mins[lane].mul_add(x_sum, *sum);
                }
            }
        }
    }
}

/// The exact dot products of 16 rows of weights with one block, for each half of it.
#[inline(always)]
fn dots(weights: &[[u8; 4 * LANES]; 8], codes: &[i8; BLOCK], offset: u8) -> [[i32; LANES]; 2] {
    let mut dots = [[0; LANES]; 2];
    for (v, weights) in weights.iter().enumerate() {
        let codes = &codes[4 * v..][..4];
        for (dot, weights) in dots[v / 4].iter_mut().zip(weights.chunks_exact(4)) {
            for (&w, &x) in weights.iter().zip(codes) {
                *dot += (i32::from(w) - i32::from(offset)) * i32::from(x);
            }
        }
    }
    dots
}

#[cfg(test)]
mod tests;

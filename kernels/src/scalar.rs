//! The matmul kernel that needs no special instructions.

use crate::matrix::layout::{BLOCK, LANES, Layout, unpack_block};
use crate::shapes::{Sums, Tile};

/// Runs on any machine. Every other kernel must give the same bits.
#[inline(always)]
pub(crate) fn scalar_kernel(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
    let k = x.codes.len().max(x.floats.len()) / x.rows;
    for (panel, sums) in panels.chunks_exact(layout.panel_bytes(k)).zip(sums.chunks_mut(x.rows)) {
        sums.fill([0.0; LANES]);
        match layout {
            Layout::F32 => multiply_floats::<4>(panel, x, sums, f32::from_le_bytes),
            Layout::F16 => multiply_floats::<2>(panel, x, sums, |b| half::f16::from_le_bytes(b).to_f32()),
            Layout::BF16 => multiply_floats::<2>(panel, x, sums, |b| half::bf16::from_le_bytes(b).to_f32()),
            Layout::Codes { .. } => multiply_codes(layout, panel, x, sums),
        }
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
            let x_scale = x.scales[at];
            let [first, second] = dots(&block.codes, codes.try_into().expect("a block"), offset);
            let halves = scales.of_halves();
            for (lane, sum) in sums[r].iter_mut().enumerate() {
                let product = if halves {
                    let product = first[lane] as f32 * block.scales[0][lane];
                    (second[lane] as f32).mul_add(block.scales[1][lane], product)
                } else {
                    (first[lane] + second[lane]) as f32 * block.scales[0][lane]
                };
                *sum = product.mul_add(x_scale, *sum);
                if scales.have_mins() && halves {
                    let at = 2 * b * x.rows + r;
                    *sum = block.mins[0][lane].mul_add(x.sums[at], *sum);
                    *sum = block.mins[1][lane].mul_add(x.sums[at + x.rows], *sum);
                } else if scales.have_mins() {
                    *sum = block.mins[0][lane].mul_add(x.sums[at], *sum);
                }
            }
        }
    }
}

/// The exact dot products of 16 rows of weights with each half of a block.
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

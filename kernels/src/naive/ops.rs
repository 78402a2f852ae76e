//! Row-wise ops in f64.

use crate::ops::RopeStyle;

/// The reference for [`crate::ops::rms_norm`], with the same shapes.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / width as f64;
        let scale = 1.0 / (mean + f64::from(eps)).sqrt();
        for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
            *out = (f64::from(x) * scale * f64::from(w)) as f32;
        }
    }
}

/// The reference for the silu(gate) · up inside [`crate::matmul::gated_matmul`].
pub(crate) fn silu_mul(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        let gate = f64::from(gate);
        *out = (gate / (1.0 + (-gate).exp()) * f64::from(up)) as f32;
    }
}

/// The reference for [`crate::ops::rope`]; angles are given directly.
pub(crate) fn rope(
    x: &mut [f32],
    heads: usize,
    head_dim: usize,
    positions: &[u32],
    radians_per_position: &[f32],
    style: RopeStyle,
) {
    for (row, &position) in x.chunks_exact_mut(heads * head_dim).zip(positions) {
        for head in row.chunks_exact_mut(head_dim) {
            for (i, &radians) in radians_per_position.iter().enumerate() {
                let (a, b) = match style {
                    RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                    RopeStyle::Halves => (i, i + head_dim / 2),
                };
                let (sin, cos) = (f64::from(radians) * f64::from(position)).sin_cos();
                let (x_a, x_b) = (f64::from(head[a]), f64::from(head[b]));
                head[a] = (x_a * cos - x_b * sin) as f32;
                head[b] = (x_a * sin + x_b * cos) as f32;
            }
        }
    }
}

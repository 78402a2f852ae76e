//! y = x · wᵀ on dequantized weights.

use crate::formats::Format;

/// `y[rows, n] = x[rows, k] · w[n, k]ᵀ` in f64.
pub(crate) fn matmul(w: &[f32], k: usize, x: &[f32], y: &mut [f32]) {
    let n = w.len() / k;
    for (x, y) in x.chunks_exact(k).zip(y.chunks_exact_mut(n)) {
        for (w, y) in w.chunks_exact(k).zip(y) {
            *y = w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>() as f32;
        }
    }
}

/// All weights of a tensor as floats. `raw` holds them as in the GGUF file.
pub(crate) fn dequantize(format: Format, k: usize, raw: &[u8]) -> Vec<f32> {
    let mut w = vec![0.0; raw.len() / format.row_bytes(k) * k];
    format.dequantize(raw, &mut w);
    w
}

/// Activations after rounding each block of 32 to int8 with scale amax/127, itself rounded to f16 where that is normal.
pub(crate) fn round_to_int8(x: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(x.len());
    for block in x.chunks(32) {
        let amax = block.iter().fold(0.0f32, |amax, x| amax.max(x.abs()));
        let scale = if amax > 0.0 { amax / 127.0 } else { 1.0 };
        let half = half::f16::from_f32(scale);
        let scale = if half.is_normal() { half.to_f32() } else { scale };
        let inverse = 1.0 / scale;
        out.extend(block.iter().map(|x| (x * inverse).round_ties_even() * scale));
    }
    out
}

//! y = x · wᵀ on dequantized weights.

use crate::formats::Format;

/// `y[rows, n] = x[rows, k] · w[n, k]ᵀ` in f64.
pub fn matmul(w: &[f32], k: usize, x: &[f32], y: &mut [f32]) {
    let n = w.len() / k;
    for (x, y) in x.chunks_exact(k).zip(y.chunks_exact_mut(n)) {
        for (w, y) in w.chunks_exact(k).zip(y) {
            *y = w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>() as f32;
        }
    }
}

/// All weights of a tensor as floats. `raw` holds them as in the GGUF file.
pub fn dequantize(format: Format, k: usize, raw: &[u8]) -> Vec<f32> {
    let mut w = vec![0.0; raw.len() / format.row_bytes(k) * k];
    format.dequantize(raw, &mut w);
    w
}

/// Activations after rounding each block of 32 to int8 with scale amax/127, itself rounded to f16 where that is normal.
pub fn round_to_int8(x: &[f32]) -> Vec<f32> {
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

/// Random weights in the file's format, with scales of ordinary magnitude, for tests and benchmarks.
pub fn random_weights(format: Format, n: usize, k: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut raw = vec![0u8; n * format.row_bytes(k)];
    for bytes in raw.chunks_mut(8) {
        bytes.copy_from_slice(&next().to_le_bytes()[..bytes.len()]);
    }
    let scales: &[usize] = match format {
        Format::F32 | Format::F16 | Format::BF16 => &[0],
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q2K => &[80, 82],
        Format::Q3K => &[108],
        Format::Q6K => &[208],
    };
    for block in raw.chunks_exact_mut(format.block_bytes()) {
        for &at in scales {
            let value = (next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
            match format {
                Format::F32 => block.copy_from_slice(&value.to_le_bytes()),
                Format::BF16 => block.copy_from_slice(&half::bf16::from_f32(value).to_le_bytes()),
                _ => block[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
            }
        }
    }
    raw
}

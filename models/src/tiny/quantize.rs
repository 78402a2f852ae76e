//! Quantizes weights to valid blocks of GGUF's formats. It rounds plainly, without the search for better scales that
//! converters do: tiny models need valid blocks, not accurate ones.

use half::f16;

/// Quantizes a block of weights and appends its bytes.
type WriteBlock = fn(&[f32], &mut Vec<u8>);

/// The formats that tiny models are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TinyFormat {
    F32,
    F16,
    Q4_1,
    Q5_0,
    Q8_0,
    Q4K,
    Q6K,
}

impl TinyFormat {
    /// The format's number in a file.
    pub(super) fn ggml_type(self) -> u32 {
        match self {
            TinyFormat::F32 => 0,
            TinyFormat::F16 => 1,
            TinyFormat::Q4_1 => 3,
            TinyFormat::Q5_0 => 6,
            TinyFormat::Q8_0 => 8,
            TinyFormat::Q4K => 12,
            TinyFormat::Q6K => 14,
        }
    }

    /// Quantizes `weights`, whose length must be whole blocks: 32 for the `_0` and `_1` formats, 256 for the `K` ones.
    pub(super) fn quantize(self, weights: &[f32]) -> Vec<u8> {
        let (block_len, write): (usize, WriteBlock) = match self {
            TinyFormat::F32 => (1, |block, out| out.extend_from_slice(&block[0].to_le_bytes())),
            TinyFormat::F16 => {
                (1, |block, out| out.extend_from_slice(&f16::from_f32(block[0]).to_le_bytes()))
            }
            TinyFormat::Q4_1 => (32, q4_1),
            TinyFormat::Q5_0 => (32, q5_0),
            TinyFormat::Q8_0 => (32, q8_0),
            TinyFormat::Q4K => (256, q4_k),
            TinyFormat::Q6K => (256, q6_k),
        };
        let mut out = Vec::new();
        weights.chunks(block_len).for_each(|block| write(block, &mut out));
        out
    }
}

/// Appends `value` as f16 and returns the rounded value.
fn push_f16(value: f32, out: &mut Vec<u8>) -> f32 {
    let rounded = f16::from_f32(value);
    out.extend_from_slice(&rounded.to_le_bytes());
    rounded.to_f32()
}

/// `x / step` rounded to an integer in `low..=high`; 0 when `step` is 0.
fn level(x: f32, step: f32, low: i32, high: i32) -> i32 {
    if step == 0.0 { 0 } else { ((x / step).round() as i32).clamp(low, high) }
}

fn max(block: &[f32]) -> f32 {
    block.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn min(block: &[f32]) -> f32 {
    block.iter().copied().fold(f32::INFINITY, f32::min)
}

fn max_abs(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// x = d q + m. The low nibbles are the first half.
fn q4_1(block: &[f32], out: &mut Vec<u8>) {
    let d = push_f16((max(block) - min(block)) / 15.0, out);
    let m = push_f16(min(block), out);
    let q = |x: f32| level(x - m, d, 0, 15) as u8;
    out.extend((0..16).map(|i| q(block[i]) | q(block[i + 16]) << 4));
}

/// x = d (q - 16). The fifth bits are stored apart.
fn q5_0(block: &[f32], out: &mut Vec<u8>) {
    let d = push_f16(max_abs(block) / 15.0, out);
    let q = |i: usize| (level(block[i], d, -16, 15) + 16) as u32;
    let high = (0..32).fold(0u32, |bits, i| bits | (q(i) >> 4) << i);
    out.extend_from_slice(&high.to_le_bytes());
    out.extend((0..16).map(|i| (q(i) & 15 | (q(i + 16) & 15) << 4) as u8));
}

/// x = d q.
fn q8_0(block: &[f32], out: &mut Vec<u8>) {
    let d = push_f16(max_abs(block) / 127.0, out);
    out.extend(block.iter().map(|&x| level(x, d, -127, 127) as i8 as u8));
}

/// x = d s q - dmin m in eight parts of 32, with six-bit s and m.
fn q4_k(block: &[f32], out: &mut Vec<u8>) {
    let parts: [&[f32]; 8] = std::array::from_fn(|i| &block[32 * i..32 * i + 32]);
    let lows = parts.map(|part| -min(part).min(0.0));
    let steps: [f32; 8] = std::array::from_fn(|i| (max(parts[i]) + lows[i]).max(0.0) / 15.0);
    let d = push_f16(max(&steps) / 63.0, out);
    let dmin = push_f16(max(&lows) / 63.0, out);
    let s = steps.map(|step| level(step, d, 0, 63) as u8);
    let m = lows.map(|low| level(low, dmin, 0, 63) as u8);
    // The first four s and m take six bits each. Of the last four, the low nibbles are stored together and the high two
    // bits above the first four.
    out.extend((0..4).map(|i| s[i] | (s[i + 4] >> 4) << 6));
    out.extend((0..4).map(|i| m[i] | (m[i + 4] >> 4) << 6));
    out.extend((4..8).map(|i| s[i] & 15 | (m[i] & 15) << 4));
    let q = |part: usize, i: usize| {
        level(parts[part][i] + dmin * f32::from(m[part]), d * f32::from(s[part]), 0, 15) as u8
    };
    for pair in [0, 2, 4, 6] {
        out.extend((0..32).map(|i| q(pair, i) | q(pair + 1, i) << 4));
    }
}

/// x = d s (q - 32) in sixteen parts of 16, with signed eight-bit s.
fn q6_k(block: &[f32], out: &mut Vec<u8>) {
    let steps: [f32; 16] = std::array::from_fn(|i| max_abs(&block[16 * i..16 * i + 16]) / 31.0);
    let d = f16::from_f32(max(&steps) / 127.0);
    let s = steps.map(|step| level(step, d.to_f32(), 0, 127) as i8);
    let q = |i: usize| (level(block[i], d.to_f32() * f32::from(s[i / 16]), -32, 31) + 32) as u8;
    for half in [0, 128] {
        for i in half..half + 64 {
            out.push(q(i) & 15 | (q(i + 64) & 15) << 4);
        }
    }
    for half in [0, 128] {
        for i in half..half + 32 {
            out.push(q(i) >> 4 | q(i + 32) >> 4 << 2 | q(i + 64) >> 4 << 4 | q(i + 96) >> 4 << 6);
        }
    }
    out.extend(s.map(|s| s as u8));
    out.extend_from_slice(&d.to_le_bytes());
}

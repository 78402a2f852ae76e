//! Weight formats of GGUF files: sizes, and exact dequantization of rows. How weights lie in memory for the kernels is
//! not known here (see `matrix`).

use half::{bf16, f16};

/// The storage format of a tensor in a GGUF file. Names and block layouts are ggml's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the variants are the format's own names
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl Format {
    /// All formats that are supported.
    pub const ALL: [Format; 13] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q8_0,
        Format::Q2K,
        Format::Q3K,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
    ];

    /// The format with this number in a GGUF tensor table, if it is supported.
    pub fn from_ggml(type_id: u32) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.ggml_type() == type_id)
    }

    /// The format's number in a GGUF tensor table.
    pub fn ggml_type(self) -> u32 {
        match self {
            Format::F32 => 0,
            Format::F16 => 1,
            Format::Q4_0 => 2,
            Format::Q4_1 => 3,
            Format::Q5_0 => 6,
            Format::Q5_1 => 7,
            Format::Q8_0 => 8,
            Format::Q2K => 10,
            Format::Q3K => 11,
            Format::Q4K => 12,
            Format::Q5K => 13,
            Format::Q6K => 14,
            Format::BF16 => 30,
        }
    }

    /// The usual name: `Q4_K`, `F16`.
    pub fn name(self) -> &'static str {
        match self {
            Format::F32 => "F32",
            Format::F16 => "F16",
            Format::BF16 => "BF16",
            Format::Q4_0 => "Q4_0",
            Format::Q4_1 => "Q4_1",
            Format::Q5_0 => "Q5_0",
            Format::Q5_1 => "Q5_1",
            Format::Q8_0 => "Q8_0",
            Format::Q2K => "Q2_K",
            Format::Q3K => "Q3_K",
            Format::Q4K => "Q4_K",
            Format::Q5K => "Q5_K",
            Format::Q6K => "Q6_K",
        }
    }

    /// Weights in one block. A row's length must be a multiple of it.
    pub fn block_len(self) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::BF16 => 1,
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 | Format::Q8_0 => 32,
            Format::Q2K | Format::Q3K | Format::Q4K | Format::Q5K | Format::Q6K => 256,
        }
    }

    /// Bytes of one block in the file.
    pub fn block_bytes(self) -> usize {
        match self {
            Format::F32 => 4,
            Format::F16 | Format::BF16 => 2,
            Format::Q4_0 => 18,
            Format::Q4_1 => 20,
            Format::Q5_0 => 22,
            Format::Q5_1 => 24,
            Format::Q8_0 => 34,
            Format::Q2K => 84,
            Format::Q3K => 110,
            Format::Q4K => 144,
            Format::Q5K => 176,
            Format::Q6K => 210,
        }
    }

    /// Bytes of a row of `k` weights in the file. `k` must be a multiple of `block_len`.
    pub fn row_bytes(self, k: usize) -> usize {
        debug_assert_eq!(k % self.block_len(), 0);
        k / self.block_len() * self.block_bytes()
    }

    /// Whether weights are kept as floats, so that activations are not quantized either.
    pub fn is_float(self) -> bool {
        matches!(self, Format::F32 | Format::F16 | Format::BF16)
    }

    /// Writes the exact values of `raw`, which holds whole blocks as in the file, to `out`.
    ///
    /// # Panics
    /// If `raw` does not have `row_bytes(out.len())` bytes, or `out` is not whole blocks.
    pub fn dequantize(self, raw: &[u8], out: &mut [f32]) {
        assert_eq!(out.len() % self.block_len(), 0, "{}: whole blocks", self.name());
        assert_eq!(raw.len(), self.row_bytes(out.len()), "{}: bytes of {} weights", self.name(), out.len());
        let block: fn(&[u8], &mut [f32]) = match self {
            Format::F32 => |raw, y| y[0] = f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]),
            Format::F16 => |raw, y| y[0] = f16_at(raw, 0),
            Format::BF16 => |raw, y| y[0] = bf16::from_le_bytes([raw[0], raw[1]]).to_f32(),
            Format::Q4_0 => q4_0,
            Format::Q4_1 => q4_1,
            Format::Q5_0 => q5_0,
            Format::Q5_1 => q5_1,
            Format::Q8_0 => q8_0,
            Format::Q2K => q2_k,
            Format::Q3K => q3_k,
            Format::Q4K => q4_k,
            Format::Q5K => q5_k,
            Format::Q6K => q6_k,
        };
        for (raw, y) in raw.chunks_exact(self.block_bytes()).zip(out.chunks_exact_mut(self.block_len())) {
            block(raw, y);
        }
    }
}

fn f16_at(raw: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([raw[offset], raw[offset + 1]]).to_f32()
}

fn q4_0(raw: &[u8], y: &mut [f32]) {
    let d = f16_at(raw, 0);
    for (j, &byte) in raw[2..18].iter().enumerate() {
        y[j] = (f32::from(byte & 15) - 8.0) * d;
        y[j + 16] = (f32::from(byte >> 4) - 8.0) * d;
    }
}

fn q4_1(raw: &[u8], y: &mut [f32]) {
    let (d, m) = (f16_at(raw, 0), f16_at(raw, 2));
    for (j, &byte) in raw[4..20].iter().enumerate() {
        y[j] = f32::from(byte & 15) * d + m;
        y[j + 16] = f32::from(byte >> 4) * d + m;
    }
}

/// The 5-bit codes of a block: nibbles in `low`, fifth bits in `high`.
fn five_bits(high: &[u8], low: &[u8]) -> [f32; 32] {
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    std::array::from_fn(|j| {
        let nibble = if j < 16 { low[j] & 15 } else { low[j - 16] >> 4 };
        f32::from(nibble | (((high >> j) & 1) as u8) << 4)
    })
}

fn q5_0(raw: &[u8], y: &mut [f32]) {
    let d = f16_at(raw, 0);
    for (y, q) in y.iter_mut().zip(five_bits(&raw[2..6], &raw[6..22])) {
        *y = (q - 16.0) * d;
    }
}

fn q5_1(raw: &[u8], y: &mut [f32]) {
    let (d, m) = (f16_at(raw, 0), f16_at(raw, 2));
    for (y, q) in y.iter_mut().zip(five_bits(&raw[4..8], &raw[8..24])) {
        *y = q * d + m;
    }
}

fn q8_0(raw: &[u8], y: &mut [f32]) {
    let d = f16_at(raw, 0);
    for (y, &q) in y.iter_mut().zip(&raw[2..34]) {
        *y = f32::from(q as i8) * d;
    }
}

fn q2_k(raw: &[u8], y: &mut [f32]) {
    let (scales, codes) = (&raw[..16], &raw[16..80]);
    let (d, dmin) = (f16_at(raw, 80), f16_at(raw, 82));
    for (j, y) in y.iter_mut().enumerate() {
        let scale = scales[j / 16];
        let q = codes[j / 128 * 32 + j % 32] >> (j % 128 / 32 * 2) & 3;
        *y = d * f32::from(scale & 15) * f32::from(q) - dmin * f32::from(scale >> 4);
    }
}

fn q3_k(raw: &[u8], y: &mut [f32]) {
    let (high, codes, scales) = (&raw[..32], &raw[32..96], &raw[96..108]);
    let d = f16_at(raw, 108);
    for (j, y) in y.iter_mut().enumerate() {
        let scale = q3_scale(scales, j / 16);
        let q = codes[j / 128 * 32 + j % 32] >> (j % 128 / 32 * 2) & 3;
        let minus = if high[j % 32] >> (j / 32) & 1 == 1 { 0.0 } else { 4.0 };
        *y = d * f32::from(scale) * (f32::from(q) - minus);
    }
}

/// The scale of group `i` of 16 weights in Q3_K, from the 12 bytes that 16 groups share: 6 bits each, less 32.
pub(crate) fn q3_scale(scales: &[u8], i: usize) -> i8 {
    let low = if i < 8 { scales[i] & 15 } else { scales[i - 8] >> 4 };
    (low | (scales[8 + i % 4] >> (i / 4 * 2) & 3) << 4) as i8 - 32
}

/// The 6-bit scale and minimum of block `i` in Q4_K and Q5_K, from the 12 bytes that 8 blocks share.
pub(crate) fn scale_and_min(scales: &[u8], i: usize) -> (u8, u8) {
    if i < 4 {
        (scales[i] & 63, scales[i + 4] & 63)
    } else {
        ((scales[i + 4] & 15) | (scales[i - 4] >> 6) << 4, (scales[i + 4] >> 4) | (scales[i] >> 6) << 4)
    }
}

fn q4_k(raw: &[u8], y: &mut [f32]) {
    let (d, dmin) = (f16_at(raw, 0), f16_at(raw, 2));
    for (i, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(&raw[4..16], i);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        let codes = &raw[16 + i / 2 * 32..][..32];
        for (y, &byte) in y.iter_mut().zip(codes) {
            *y = scale * f32::from(byte >> (i % 2 * 4) & 15) - min;
        }
    }
}

fn q5_k(raw: &[u8], y: &mut [f32]) {
    let (d, dmin) = (f16_at(raw, 0), f16_at(raw, 2));
    for (i, y) in y.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(&raw[4..16], i);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        let (high, low) = (&raw[16..48], &raw[48 + i / 2 * 32..][..32]);
        for (j, y) in y.iter_mut().enumerate() {
            let q = (low[j] >> (i % 2 * 4) & 15) | (high[j] >> i & 1) << 4;
            *y = scale * f32::from(q) - min;
        }
    }
}

fn q6_k(raw: &[u8], y: &mut [f32]) {
    let (low, high, scales) = (&raw[..128], &raw[128..192], &raw[192..208]);
    let d = f16_at(raw, 208);
    for (j, y) in y.iter_mut().enumerate() {
        let (half, i, l) = (j / 128, j % 128 / 32, j % 32);
        let nibble = low[half * 64 + i % 2 * 32 + l] >> (i / 2 * 4) & 15;
        let q = nibble | (high[half * 32 + l] >> (i * 2) & 3) << 4;
        *y = d * f32::from(scales[j / 16] as i8) * (f32::from(q) - 32.0);
    }
}

#[cfg(test)]
mod tests;

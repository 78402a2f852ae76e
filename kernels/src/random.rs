//! Random numbers and weights from a seed, for tests, benchmarks and generated models.

use crate::formats::Format;

/// The SplitMix64 generator (Steele, Lea, Flood 2014), from a seed.
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next number, any of the 64-bit ones.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Random weights in the file's format, with scales of ordinary magnitude.
pub fn random_weights(format: Format, n: usize, k: usize, seed: u64) -> Vec<u8> {
    let mut random = SplitMix64(seed);
    let mut raw = vec![0u8; n * format.row_bytes(k)];
    for bytes in raw.chunks_mut(8) {
        bytes.copy_from_slice(&random.next_u64().to_le_bytes()[..bytes.len()]);
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
            let value = (random.next_u64() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
            match format {
                Format::F32 => block.copy_from_slice(&value.to_le_bytes()),
                Format::BF16 => block.copy_from_slice(&half::bf16::from_f32(value).to_le_bytes()),
                _ => block[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
            }
        }
    }
    raw
}

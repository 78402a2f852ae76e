//! Quantizes activations to int8 with AVX-512; the same bits as the portable `quantize_block`.

use std::arch::x86_64::*;
use std::ops::Range;

use super::simd::Avx512;
use crate::matrix::layout::BLOCK;
use crate::quantize::{self as portable, AMAX_MIN, ActivationSource, Quantized, ROUND_TO_EVEN};
use crate::shapes::Sums;
use crate::simd::Portable;

/// [`portable::quantize_tile`] with AVX-512.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,f16c")]
pub(crate) unsafe fn quantize_tile(
    out: &Quantized,
    x: ActivationSource<'_>,
    row: usize,
    blocks: Range<usize>,
) {
    // SAFETY: the caller's promise is the same; the closure inherits this function's instructions.
    unsafe {
        let s = Avx512::assume();
        portable::quantize_tile(s, out, x, row, blocks, |x, codes| quantize_block(x, codes));
    }
}

/// [`portable::quantize_tile`] compiled for AVX2 and FMA.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn quantize_tile_with_fma(
    out: &Quantized,
    x: ActivationSource<'_>,
    row: usize,
    blocks: Range<usize>,
) {
    // SAFETY: the caller's promise is the same.
    unsafe { portable::quantize_tile(Portable, out, x, row, blocks, portable::quantize_block) }
}

/// [`portable::quantize_gated`] with AVX-512.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,f16c")]
pub(crate) unsafe fn quantize_gated(out: &Quantized, gate: &Sums, up: &Sums, row: usize, block: usize) {
    // SAFETY: the caller's promise is the same; the closure inherits this function's instructions.
    unsafe {
        let s = Avx512::assume();
        portable::quantize_gated(s, out, gate, up, row, block, |x, codes| quantize_block(x, codes));
    }
}

/// [`portable::quantize_gated`] compiled for AVX2 and FMA.
///
/// # Safety
/// As there.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn quantize_gated_with_fma(
    out: &Quantized,
    gate: &Sums,
    up: &Sums,
    row: usize,
    block: usize,
) {
    // SAFETY: the caller's promise is the same.
    unsafe { portable::quantize_gated(Portable, out, gate, up, row, block, portable::quantize_block) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,f16c")]
#[inline]
fn quantize_block(x: &[f32; BLOCK], codes: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    // SAFETY: `x` is two vectors long and `codes` two half ones.
    unsafe {
        let x = [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))];
        let magnitude = |x| _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fff_ffff));
        let amax = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitude(x[0]), magnitude(x[1])));
        let amax = f32::from_bits(amax);
        if amax < AMAX_MIN {
            codes.fill(0);
            return (0.0, [0; 2]);
        }
        let scale = scale_of(amax);
        let inverse = _mm512_set1_ps(1.0 / scale);
        let mut sums = [0; 2];
        for half in 0..2 {
            // One multiplication and one addition as in the portable code: not fused.
            let rounded = _mm512_add_ps(_mm512_mul_ps(x[half], inverse), _mm512_set1_ps(ROUND_TO_EVEN));
            let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(rounded));
            _mm_storeu_si128(codes.as_mut_ptr().add(16 * half).cast(), bytes);
            sums[half] = sum(bytes);
        }
        (scale, sums)
    }
}

/// [`portable::scale_of`] with one instruction for each conversion.
#[target_feature(enable = "avx512f,avx512vl,f16c")]
#[inline]
fn scale_of(amax: f32) -> f32 {
    const F16_NORMAL_MIN: f32 = 6.103_515_6e-5;
    let scale = amax / 127.0;
    let half = _mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(scale));
    let rounded = _mm_cvtss_f32(_mm_cvtph_ps(half));
    if rounded >= F16_NORMAL_MIN && rounded.is_finite() { rounded } else { scale }
}

/// The sum of 16 signed bytes. `psadbw` sums unsigned ones, so each is raised by 128.
#[target_feature(enable = "sse2")]
#[inline]
fn sum(bytes: __m128i) -> i32 {
    let unsigned = _mm_xor_si128(bytes, _mm_set1_epi8(-128));
    let halves = _mm_sad_epu8(unsigned, _mm_setzero_si128());
    _mm_cvtsi128_si32(_mm_add_epi64(halves, _mm_unpackhi_epi64(halves, halves))) - 16 * 128
}

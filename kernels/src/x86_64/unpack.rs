//! Loads packed blocks into registers: the codes of 16 rows as bytes, their scales as floats. Everything here is
//! inlined into a kernel that enables AVX-512 F, BW, DQ and VL.

use std::arch::x86_64::*;

use crate::matrix::layout;

/// How the codes of a block are stored; the loading side of [`layout::Planes`].
pub(crate) trait Codes {
    const PLANES: layout::Planes;

    /// The 8 vectors of a block.
    ///
    /// # Safety
    /// `PLANES.bytes()` bytes can be read at `planes`; AVX-512 F and BW.
    unsafe fn load(planes: *const u8) -> [__m512i; 8];
}

/// How the scales of a block are stored; the loading side of [`layout::Scales`].
pub(crate) trait Factors {
    const SCALES: layout::Scales;

    /// The factors of block `i` of a group.
    ///
    /// # Safety
    /// `SCALES.bytes()` bytes can be read at `header`, and `i` is below `SCALES.blocks()`; AVX-512 F.
    unsafe fn load(header: *const u8, i: usize) -> BlockFactors;
}

/// The factors on a block's dot products (scales) and on its activation sums (minimums).
#[derive(Clone, Copy)]
pub(crate) struct BlockFactors {
    /// For the whole block, or for its first half.
    pub(crate) scale: __m512,
    /// For the second half; meaningful if `SCALES.of_halves()`.
    pub(crate) scale_second: __m512,
    /// As `scale`, for minimums; meaningful if `SCALES.have_mins()`.
    pub(crate) min: __m512,
    /// As `scale_second`, for minimums.
    pub(crate) min_second: __m512,
}

impl BlockFactors {
    /// # Safety
    /// AVX-512 F.
    #[inline(always)]
    pub(crate) unsafe fn zero() -> BlockFactors {
        // SAFETY: the caller's promise.
        let zero = unsafe { _mm512_setzero_ps() };
        BlockFactors { scale: zero, scale_second: zero, min: zero, min_second: zero }
    }
}

pub(crate) struct Two;
pub(crate) struct Three;
pub(crate) struct Four;
pub(crate) struct Five;
pub(crate) struct Six;
pub(crate) struct Eight;
pub(crate) struct D;
pub(crate) struct Dm;
pub(crate) struct Group;
pub(crate) struct GroupHalves;
pub(crate) struct GroupHalfMins;

/// Bitwise `a | (b & c)`, as an immediate of `vpternlogd`.
const OR_AND: i32 = 0xf8;

#[inline(always)]
unsafe fn nibbles(planes: *const u8) -> [__m512i; 8] {
    // SAFETY: the caller lets 256 bytes be read.
    unsafe {
        let mask = _mm512_set1_epi8(15);
        let pair = |v: usize| _mm512_loadu_si512(planes.add(64 * v).cast());
        let low = |v: usize| _mm512_and_si512(pair(v), mask);
        let high = |v: usize| _mm512_and_si512(_mm512_srli_epi16::<4>(pair(v)), mask);
        [low(0), low(1), low(2), low(3), high(0), high(1), high(2), high(3)]
    }
}

/// Bit pairs, four vectors per plane.
#[inline(always)]
unsafe fn pairs(planes: *const u8) -> [__m512i; 8] {
    // SAFETY: the caller lets 128 bytes be read.
    unsafe {
        let planes = [0, 64].map(|at| _mm512_loadu_si512(planes.add(at).cast()));
        let mask = _mm512_set1_epi8(3);
        let [a, b] = planes.map(|bits| {
            [
                _mm512_and_si512(bits, mask),
                _mm512_and_si512(_mm512_srli_epi16::<2>(bits), mask),
                _mm512_and_si512(_mm512_srli_epi16::<4>(bits), mask),
                _mm512_and_si512(_mm512_srli_epi16::<6>(bits), mask),
            ]
        });
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
    }
}

impl Codes for Two {
    const PLANES: layout::Planes = layout::Planes::Two;

    #[inline(always)]
    unsafe fn load(planes: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller's promise.
        unsafe { pairs(planes) }
    }
}

impl Codes for Three {
    const PLANES: layout::Planes = layout::Planes::Three;

    #[inline(always)]
    unsafe fn load(planes: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller lets 192 bytes be read.
        unsafe {
            let p = pairs(planes);
            let bits = _mm512_loadu_si512(planes.add(128).cast());
            let third = _mm512_set1_epi8(4);
            // Shifts of 16-bit lanes carry bits over from the neighbour, but never into bit 2 of a byte.
            let with = |p: __m512i, bits: __m512i| _mm512_ternarylogic_epi32::<OR_AND>(p, bits, third);
            [
                with(p[0], _mm512_slli_epi16::<2>(bits)),
                with(p[1], _mm512_slli_epi16::<1>(bits)),
                with(p[2], bits),
                with(p[3], _mm512_srli_epi16::<1>(bits)),
                with(p[4], _mm512_srli_epi16::<2>(bits)),
                with(p[5], _mm512_srli_epi16::<3>(bits)),
                with(p[6], _mm512_srli_epi16::<4>(bits)),
                with(p[7], _mm512_srli_epi16::<5>(bits)),
            ]
        }
    }
}

impl Codes for Four {
    const PLANES: layout::Planes = layout::Planes::Four;

    #[inline(always)]
    unsafe fn load(planes: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller's promise.
        unsafe { nibbles(planes) }
    }
}

impl Codes for Five {
    const PLANES: layout::Planes = layout::Planes::Five;

    #[inline(always)]
    unsafe fn load(planes: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller lets 320 bytes be read.
        unsafe {
            let n = nibbles(planes);
            let bits = _mm512_loadu_si512(planes.add(256).cast());
            let fifth = _mm512_set1_epi8(16);
            // Shifts of 16-bit lanes carry bits over from the neighbour, but never into bit 4 of a byte.
            let with = |n: __m512i, bits: __m512i| _mm512_ternarylogic_epi32::<OR_AND>(n, bits, fifth);
            [
                with(n[0], _mm512_slli_epi16::<4>(bits)),
                with(n[1], _mm512_slli_epi16::<3>(bits)),
                with(n[2], _mm512_slli_epi16::<2>(bits)),
                with(n[3], _mm512_slli_epi16::<1>(bits)),
                with(n[4], bits),
                with(n[5], _mm512_srli_epi16::<1>(bits)),
                with(n[6], _mm512_srli_epi16::<2>(bits)),
                with(n[7], _mm512_srli_epi16::<3>(bits)),
            ]
        }
    }
}

impl Codes for Six {
    const PLANES: layout::Planes = layout::Planes::Six;

    #[inline(always)]
    unsafe fn load(planes: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller lets 384 bytes be read.
        unsafe {
            let n = nibbles(planes);
            let pairs = [256, 320].map(|at| _mm512_loadu_si512(planes.add(at).cast()));
            let upper = _mm512_set1_epi8(0x30);
            let with = |n: __m512i, bits: __m512i| _mm512_ternarylogic_epi32::<OR_AND>(n, bits, upper);
            [
                with(n[0], _mm512_slli_epi16::<4>(pairs[0])),
                with(n[1], _mm512_slli_epi16::<2>(pairs[0])),
                with(n[2], pairs[0]),
                with(n[3], _mm512_srli_epi16::<2>(pairs[0])),
                with(n[4], _mm512_slli_epi16::<4>(pairs[1])),
                with(n[5], _mm512_slli_epi16::<2>(pairs[1])),
                with(n[6], pairs[1]),
                with(n[7], _mm512_srli_epi16::<2>(pairs[1])),
            ]
        }
    }
}

impl Codes for Eight {
    const PLANES: layout::Planes = layout::Planes::Eight;

    #[inline(always)]
    unsafe fn load(planes: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller lets 512 bytes be read.
        unsafe { std::array::from_fn(|v| _mm512_loadu_si512(planes.add(64 * v).cast())) }
    }
}

/// 16 f16 numbers: entry `entry` of a header.
#[inline(always)]
unsafe fn halves(header: *const u8, entry: usize) -> __m512 {
    // SAFETY: the caller lets 32 bytes be read there.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(header.add(32 * entry).cast())) }
}

impl Factors for D {
    const SCALES: layout::Scales = layout::Scales::D;

    #[inline(always)]
    unsafe fn load(header: *const u8, _: usize) -> BlockFactors {
        // SAFETY: the caller's promise.
        let scale = unsafe { halves(header, 0) };
        BlockFactors { scale, scale_second: scale, min: scale, min_second: scale }
    }
}

impl Factors for Dm {
    const SCALES: layout::Scales = layout::Scales::DM;

    #[inline(always)]
    unsafe fn load(header: *const u8, _: usize) -> BlockFactors {
        // SAFETY: the caller's promise.
        let (scale, min) = unsafe { (halves(header, 0), halves(header, 1)) };
        BlockFactors { scale, scale_second: scale, min, min_second: min }
    }
}

impl Factors for Group {
    const SCALES: layout::Scales = layout::Scales::Group;

    #[inline(always)]
    unsafe fn load(header: *const u8, i: usize) -> BlockFactors {
        // SAFETY: the caller's promise; 64 bytes of d and dmin, then 32 for each block.
        unsafe {
            let small = |at: usize| {
                let bytes = _mm_loadu_si128(header.add(64 + 32 * i + at).cast());
                _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
            };
            let scale = _mm512_mul_ps(halves(header, 0), small(0));
            let min = _mm512_mul_ps(halves(header, 1), small(16));
            let min = _mm512_xor_ps(min, _mm512_set1_ps(-0.0));
            BlockFactors { scale, scale_second: scale, min, min_second: min }
        }
    }
}

impl Factors for GroupHalves {
    const SCALES: layout::Scales = layout::Scales::GroupHalves;

    #[inline(always)]
    unsafe fn load(header: *const u8, i: usize) -> BlockFactors {
        // SAFETY: the caller's promise; 32 bytes of d, then 32 for each block.
        unsafe {
            let d = halves(header, 0);
            let small = |at: usize| {
                let bytes = _mm_loadu_si128(header.add(32 + 32 * i + at).cast());
                _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
            };
            BlockFactors { scale: small(0), scale_second: small(16), min: d, min_second: d }
        }
    }
}

impl Factors for GroupHalfMins {
    const SCALES: layout::Scales = layout::Scales::GroupHalfMins;

    #[inline(always)]
    unsafe fn load(header: *const u8, i: usize) -> BlockFactors {
        // SAFETY: the caller's promise; 64 bytes of d and dmin, then 32 for each block.
        unsafe {
            let (d, dmin) = (halves(header, 0), halves(header, 1));
            let small =
                |at: usize| _mm512_cvtepu8_epi32(_mm_loadu_si128(header.add(64 + 32 * i + at).cast()));
            let low = |small| _mm512_and_si512(small, _mm512_set1_epi32(15));
            let times = |factor, small| _mm512_mul_ps(factor, _mm512_cvtepi32_ps(small));
            let min = |small| {
                let min = times(dmin, _mm512_srli_epi32::<4>(small));
                _mm512_xor_ps(min, _mm512_set1_ps(-0.0))
            };
            let (first, second) = (small(0), small(16));
            BlockFactors {
                scale: times(d, low(first)),
                scale_second: times(d, low(second)),
                min: min(first),
                min_second: min(second),
            }
        }
    }
}

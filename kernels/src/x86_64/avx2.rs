//! Matmul with 256-bit registers: a panel's 16 outputs as two halves of 8, one after the other. A register of codes
//! takes one instruction to multiply with AVX-VNNI, three with AVX2 alone. The bits are those of `scalar_kernel`: dot
//! products are exact either way.

use std::arch::x86_64::*;

use super::scalar::scalar_kernel_with_fma;
use super::unpack::{D, Dm, Eight, Five, Four, Group, GroupHalfMins, GroupHalves, Six, Three, Two};
use crate::matrix::layout::{BLOCK, LANES, Layout, Planes, Scales};
use crate::shapes::{Kernel, Sums, Tile};

/// The kernel for weights of this layout, for a machine with AVX2, FMA and F16C.
pub(crate) fn avx2_kernel(layout: Layout) -> Kernel {
    match layout {
        Layout::Codes { planes, scales, .. } => kernel::<Multiply>(planes, scales),
        _ => scalar_kernel_with_fma,
    }
}

/// The same for a machine that also has AVX-VNNI.
pub(crate) fn avx_vnni_kernel(layout: Layout) -> Kernel {
    match layout {
        Layout::Codes { planes, scales, .. } => kernel::<Vnni>(planes, scales),
        _ => scalar_kernel_with_fma,
    }
}

fn kernel<M: Dot>(planes: Planes, scales: Scales) -> Kernel {
    match (planes, scales) {
        (Planes::Four, Scales::D) => M::run::<Four, D>,
        (Planes::Four, Scales::DM) => M::run::<Four, Dm>,
        (Planes::Five, Scales::D) => M::run::<Five, D>,
        (Planes::Five, Scales::DM) => M::run::<Five, Dm>,
        (Planes::Eight, Scales::D) => M::run::<Eight, D>,
        (Planes::Four, Scales::Group) => M::run::<Four, Group>,
        (Planes::Five, Scales::Group) => M::run::<Five, Group>,
        (Planes::Six, Scales::GroupHalves) => M::run::<Six, GroupHalves>,
        (Planes::Three, Scales::GroupHalves) => M::run::<Three, GroupHalves>,
        (Planes::Two, Scales::GroupHalfMins) => M::run::<Two, GroupHalfMins>,
        _ => unreachable!("`Layout::of` makes no {planes:?} with {scales:?}"),
    }
}

/// Multiplies four codes of a row by four activations and adds up the products.
trait Dot {
    /// Codes of 8 bits must be signed: unsigned ones would overflow on the way.
    const SIGNED_BYTES: bool;

    /// `acc` plus products in groups of four. `w` is unsigned below 64, or anything if `SIGNED` or not `SIGNED_BYTES`.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn dot<const SIGNED: bool>(acc: __m256i, w: __m256i, x: __m256i) -> __m256i;

    /// Multiplies panels of weights by a tile of activations, as [`Kernel`] does.
    ///
    /// # Safety
    /// The machine has the instructions.
    unsafe fn run<C: Codes, F: Factors>(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums);
}

struct Multiply;
struct Vnni;

impl Dot for Multiply {
    const SIGNED_BYTES: bool = true;

    #[inline(always)]
    unsafe fn dot<const SIGNED: bool>(acc: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe {
            // Pairs fit in 16 bits: 2 · 63 · 127, and 2 · 128 · 127 with the sign moved to the activation.
            let pairs = if SIGNED {
                _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
            } else {
                _mm256_maddubs_epi16(w, x)
            };
            _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run<C: Codes, F: Factors>(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
        // SAFETY: this function's instructions.
        unsafe { multiply::<Multiply, C, F>(layout, panels, x, sums) }
    }
}

impl Dot for Vnni {
    const SIGNED_BYTES: bool = false;

    #[inline(always)]
    unsafe fn dot<const SIGNED: bool>(acc: __m256i, w: __m256i, x: __m256i) -> __m256i {
        // SAFETY: the caller's promise.
        unsafe { _mm256_dpbusd_avx_epi32(acc, w, x) }
    }

    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn run<C: Codes, F: Factors>(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
        // SAFETY: this function's instructions.
        unsafe { multiply::<Vnni, C, F>(layout, panels, x, sums) }
    }
}

/// Outputs per register.
const HALF_LANES: usize = LANES / 2;

/// # Safety
/// The machine has AVX2, FMA, F16C and what `M` asks for.
#[inline(always)]
unsafe fn multiply<M: Dot, C: Codes, F: Factors>(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
    let (rows, blocks) = (x.rows, x.codes.len() / (x.rows * BLOCK));
    let (halves, mins) = (F::SCALES.of_halves(), F::SCALES.have_mins());
    let of_halves = if halves { 2 * rows } else { rows };
    let (sums_each, starts_each) = if mins { (of_halves, 0) } else { (rows, of_halves) };
    assert!(x.codes.len() == blocks * rows * BLOCK && x.scales.len() == blocks * rows);
    assert!(x.sums.len() == blocks * sums_each && (mins || x.starts.len() == blocks * starts_each));
    let panel_bytes = layout.panel_bytes(blocks * BLOCK);
    let group_bytes = F::SCALES.bytes() + F::SCALES.blocks() * C::PLANES.bytes();
    for (panel, sums) in panels.chunks_exact(panel_bytes).zip(sums.chunks_mut(rows)) {
        sums.fill([0.0; LANES]);
        for b in 0..blocks {
            let (group, i) = (b / F::SCALES.blocks(), b % F::SCALES.blocks());
            for half in 0..2 {
                // SAFETY: the panel has as many blocks, and the assertions say what a block of x has.
                unsafe {
                    let header = panel.as_ptr().add(group * group_bytes);
                    let planes = header.add(F::SCALES.bytes() + i * C::PLANES.bytes());
                    let w = C::load::<M>(planes.add(4 * HALF_LANES * half));
                    let factors = F::load(header, i, half);
                    let rows = Rows {
                        count: rows,
                        codes: x.codes.as_ptr().add(b * rows * BLOCK).cast(),
                        scales: x.scales.as_ptr().add(b * rows),
                        sums: x.sums.as_ptr().add(if mins { b * sums_each } else { 0 }),
                        starts: x.starts.as_ptr().add(b * starts_each),
                    };
                    for r in 0..rows.count {
                        let sum = sums.get_unchecked_mut(r).as_mut_ptr().add(HALF_LANES * half);
                        let acc = row::<M, C, F>(&w, &factors, &rows, r, _mm256_loadu_ps(sum));
                        _mm256_storeu_ps(sum, acc);
                    }
                }
            }
        }
    }
}

/// The activations of one block.
struct Rows {
    count: usize,
    codes: *const i32,
    scales: *const f32,
    sums: *const f32,
    starts: *const i32,
}

/// `acc` plus a block's contribution for row `r`.
///
/// # Safety
/// `r` is below `rows.count`, and the pointers of `rows` lead to as many rows; the instructions are there.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "iterators of registers are inlined too late")]
unsafe fn row<M: Dot, C: Codes, F: Factors>(
    w: &[__m256i; 8],
    factors: &HalfFactors,
    rows: &Rows,
    r: usize,
    acc: __m256,
) -> __m256 {
    let (halves, mins) = (F::SCALES.of_halves(), F::SCALES.have_mins());
    // Signed codes have no offset.
    let signed = C::IS_BYTES && M::SIGNED_BYTES;
    // SAFETY: the caller's promise.
    unsafe {
        let (mut first, mut second) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        if !mins && !signed {
            first = _mm256_set1_epi32(*rows.starts.add(r));
        }
        if !mins && halves {
            second = _mm256_set1_epi32(*rows.starts.add(rows.count + r));
        }
        for v in 0..8 {
            let x = _mm256_set1_epi32(rows.codes.add(r * 8 + v).read_unaligned());
            let dot = if v >= 4 && halves { &mut second } else { &mut first };
            *dot = if signed { M::dot::<true>(*dot, w[v], x) } else { M::dot::<false>(*dot, w[v], x) };
        }
        let mut product = _mm256_mul_ps(_mm256_cvtepi32_ps(first), factors.scale[0]);
        if halves {
            product = _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), factors.scale[1], product);
        }
        let mut acc = _mm256_fmadd_ps(product, _mm256_set1_ps(*rows.scales.add(r)), acc);
        if mins {
            acc = _mm256_fmadd_ps(factors.min[0], _mm256_set1_ps(*rows.sums.add(r)), acc);
        }
        if mins && halves {
            acc = _mm256_fmadd_ps(factors.min[1], _mm256_set1_ps(*rows.sums.add(rows.count + r)), acc);
        }
        acc
    }
}

/// How the codes of 8 rows of a block are stored; their planes are 64 bytes apart.
trait Codes {
    const PLANES: Planes;
    /// Whether a code may be 64 or more.
    const IS_BYTES: bool = false;

    /// # Safety
    /// A block's planes can be read from `planes` on; AVX2.
    unsafe fn load<M: Dot>(planes: *const u8) -> [__m256i; 8];
}

#[inline(always)]
unsafe fn plane(planes: *const u8, index: usize) -> __m256i {
    // SAFETY: the caller lets the plane be read.
    unsafe { _mm256_loadu_si256(planes.add(64 * index).cast()) }
}

#[inline(always)]
unsafe fn nibbles(planes: *const u8) -> [__m256i; 8] {
    // SAFETY: the caller lets four planes be read.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        let mut out = [_mm256_setzero_si256(); 8];
        for v in 0..4 {
            let pair = plane(planes, v);
            out[v] = _mm256_and_si256(pair, mask);
            out[v + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(pair), mask);
        }
        out
    }
}

/// Shifts `bits` by `shift`, masks them, and ORs them into `low`.
macro_rules! with {
    ($low:expr, $bits:expr, $mask:expr, <<, $shift:literal) => {
        _mm256_or_si256($low, _mm256_and_si256(_mm256_slli_epi16::<$shift>($bits), $mask))
    };
    ($low:expr, $bits:expr, $mask:expr, >>, $shift:literal) => {
        _mm256_or_si256($low, _mm256_and_si256(_mm256_srli_epi16::<$shift>($bits), $mask))
    };
}

#[inline(always)]
unsafe fn pairs(planes: *const u8) -> [__m256i; 8] {
    // SAFETY: the caller lets two planes be read.
    unsafe {
        let mask = _mm256_set1_epi8(3);
        let mut out = [_mm256_setzero_si256(); 8];
        for h in 0..2 {
            let bits = plane(planes, h);
            out[4 * h] = _mm256_and_si256(bits, mask);
            out[4 * h + 1] = _mm256_and_si256(_mm256_srli_epi16::<2>(bits), mask);
            out[4 * h + 2] = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), mask);
            out[4 * h + 3] = _mm256_and_si256(_mm256_srli_epi16::<6>(bits), mask);
        }
        out
    }
}

impl Codes for Two {
    const PLANES: Planes = Planes::Two;

    #[inline(always)]
    unsafe fn load<M: Dot>(planes: *const u8) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe { pairs(planes) }
    }
}

impl Codes for Three {
    const PLANES: Planes = Planes::Three;

    #[inline(always)]
    unsafe fn load<M: Dot>(planes: *const u8) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe {
            let (p, bits, third) = (pairs(planes), plane(planes, 2), _mm256_set1_epi8(4));
            [
                with!(p[0], bits, third, <<, 2),
                with!(p[1], bits, third, <<, 1),
                with!(p[2], bits, third, <<, 0),
                with!(p[3], bits, third, >>, 1),
                with!(p[4], bits, third, >>, 2),
                with!(p[5], bits, third, >>, 3),
                with!(p[6], bits, third, >>, 4),
                with!(p[7], bits, third, >>, 5),
            ]
        }
    }
}

impl Codes for Four {
    const PLANES: Planes = Planes::Four;

    #[inline(always)]
    unsafe fn load<M: Dot>(planes: *const u8) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe { nibbles(planes) }
    }
}

impl Codes for Five {
    const PLANES: Planes = Planes::Five;

    #[inline(always)]
    unsafe fn load<M: Dot>(planes: *const u8) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe {
            let (n, bits, fifth) = (nibbles(planes), plane(planes, 4), _mm256_set1_epi8(16));
            [
                with!(n[0], bits, fifth, <<, 4),
                with!(n[1], bits, fifth, <<, 3),
                with!(n[2], bits, fifth, <<, 2),
                with!(n[3], bits, fifth, <<, 1),
                with!(n[4], bits, fifth, <<, 0),
                with!(n[5], bits, fifth, >>, 1),
                with!(n[6], bits, fifth, >>, 2),
                with!(n[7], bits, fifth, >>, 3),
            ]
        }
    }
}

impl Codes for Six {
    const PLANES: Planes = Planes::Six;

    #[inline(always)]
    unsafe fn load<M: Dot>(planes: *const u8) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe {
            let n = nibbles(planes);
            let (a, b, upper) = (plane(planes, 4), plane(planes, 5), _mm256_set1_epi8(0x30));
            [
                with!(n[0], a, upper, <<, 4),
                with!(n[1], a, upper, <<, 2),
                with!(n[2], a, upper, <<, 0),
                with!(n[3], a, upper, >>, 2),
                with!(n[4], b, upper, <<, 4),
                with!(n[5], b, upper, <<, 2),
                with!(n[6], b, upper, <<, 0),
                with!(n[7], b, upper, >>, 2),
            ]
        }
    }
}

impl Codes for Eight {
    const PLANES: Planes = Planes::Eight;
    const IS_BYTES: bool = true;

    #[inline(always)]
    unsafe fn load<M: Dot>(planes: *const u8) -> [__m256i; 8] {
        // SAFETY: the caller's promise.
        unsafe {
            let flip = if M::SIGNED_BYTES { _mm256_set1_epi8(-128) } else { _mm256_setzero_si256() };
            let mut out = [_mm256_setzero_si256(); 8];
            for (v, out) in out.iter_mut().enumerate() {
                *out = _mm256_xor_si256(plane(planes, v), flip);
            }
            out
        }
    }
}

/// As [`super::unpack::BlockFactors`], for 8 rows, indexed by half of the block.
struct HalfFactors {
    scale: [__m256; 2],
    min: [__m256; 2],
}

/// How the scales of a block are stored.
trait Factors {
    const SCALES: Scales;

    /// The factors of block `i` of a group, for the first or second 8 rows.
    ///
    /// # Safety
    /// `SCALES.bytes()` bytes can be read at `header`, `i` is below `SCALES.blocks()`; AVX2 and F16C.
    unsafe fn load(header: *const u8, i: usize, half: usize) -> HalfFactors;
}

/// 8 f16 numbers of entry `entry` of a header.
#[inline(always)]
unsafe fn f16s(header: *const u8, entry: usize, half: usize) -> __m256 {
    // SAFETY: the caller lets the entry be read.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(header.add(32 * entry + 16 * half).cast())) }
}

/// 8 one-byte numbers.
#[inline(always)]
unsafe fn bytes(at: *const u8, half: usize) -> __m128i {
    // SAFETY: the caller lets 16 bytes be read.
    unsafe { _mm_loadl_epi64(at.add(HALF_LANES * half).cast()) }
}

#[inline(always)]
unsafe fn negated(x: __m256) -> __m256 {
    // SAFETY: AVX, by the caller.
    unsafe { _mm256_xor_ps(x, _mm256_set1_ps(-0.0)) }
}

impl Factors for D {
    const SCALES: Scales = Scales::D;

    #[inline(always)]
    unsafe fn load(header: *const u8, _: usize, half: usize) -> HalfFactors {
        // SAFETY: the caller's promise.
        let d = unsafe { f16s(header, 0, half) };
        HalfFactors { scale: [d; 2], min: [d; 2] }
    }
}

impl Factors for Dm {
    const SCALES: Scales = Scales::DM;

    #[inline(always)]
    unsafe fn load(header: *const u8, _: usize, half: usize) -> HalfFactors {
        // SAFETY: the caller's promise.
        unsafe { HalfFactors { scale: [f16s(header, 0, half); 2], min: [f16s(header, 1, half); 2] } }
    }
}

impl Factors for Group {
    const SCALES: Scales = Scales::Group;

    #[inline(always)]
    unsafe fn load(header: *const u8, i: usize, half: usize) -> HalfFactors {
        // SAFETY: the caller's promise; 64 bytes of d and dmin, then 32 for each block.
        unsafe {
            let small = header.add(64 + 32 * i);
            let scale = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes(small, half)));
            let min = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes(small.add(16), half)));
            let scale = _mm256_mul_ps(f16s(header, 0, half), scale);
            let min = negated(_mm256_mul_ps(f16s(header, 1, half), min));
            HalfFactors { scale: [scale; 2], min: [min; 2] }
        }
    }
}

impl Factors for GroupHalves {
    const SCALES: Scales = Scales::GroupHalves;

    #[inline(always)]
    unsafe fn load(header: *const u8, i: usize, half: usize) -> HalfFactors {
        // SAFETY: the caller's promise; 32 bytes of d, then 32 for each block.
        unsafe {
            let (d, small) = (f16s(header, 0, half), header.add(32 + 32 * i));
            let first = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes(small, half)));
            let second = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes(small.add(16), half)));
            HalfFactors { scale: [_mm256_mul_ps(d, first), _mm256_mul_ps(d, second)], min: [d; 2] }
        }
    }
}

impl Factors for GroupHalfMins {
    const SCALES: Scales = Scales::GroupHalfMins;

    #[inline(always)]
    unsafe fn load(header: *const u8, i: usize, half: usize) -> HalfFactors {
        // SAFETY: the caller's promise; 64 bytes of d and dmin, then 32 for each block.
        unsafe {
            let (d, dmin) = (f16s(header, 0, half), f16s(header, 1, half));
            let small = header.add(64 + 32 * i);
            let mut out = HalfFactors { scale: [d; 2], min: [d; 2] };
            for sixteen in 0..2 {
                let small = _mm256_cvtepu8_epi32(bytes(small.add(16 * sixteen), half));
                let scale = _mm256_cvtepi32_ps(_mm256_and_si256(small, _mm256_set1_epi32(15)));
                let min = _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(small));
                out.scale[sixteen] = _mm256_mul_ps(d, scale);
                out.min[sixteen] = negated(_mm256_mul_ps(dmin, min));
            }
            out
        }
    }
}

#[cfg(test)]
mod tests;

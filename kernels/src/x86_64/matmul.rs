//! Matmul with AVX-512 VNNI: 16 outputs in the lanes, the codes of a block in 8 registers, the rows of a tile passing by.
//!
//! A block's weights are unpacked once for up to 16 rows and stay in registers; each row brings its codes as 32-bit broadcasts
//! that are operands of `vpdpbusd`. So one row is bound by reading weights, many rows by multiplying, and nothing is written
//! in between. Bits are those of `scalar_kernel`.

use std::arch::x86_64::*;

use super::unpack::{Codes, D, Dm, Eight, Factors, Five, Four, Group, GroupHalves, Six};
use crate::activations::{TILE_ROWS_MAX, Tile};
use crate::matmul::{Kernel, Sums};
use crate::matrix::layout::{BLOCK, LANES, Layout, Planes, Scales};

/// The kernels of one layout, by rows of the tile less one.
type Kernels = [Kernel; TILE_ROWS_MAX];

/// `kernel::<.., R>` for R in 1..=16.
macro_rules! by_rows {
    ($kernel:ident, $($generic:ty),+) => {
        [
            $kernel::<$($generic),+, 1>, $kernel::<$($generic),+, 2>, $kernel::<$($generic),+, 3>,
            $kernel::<$($generic),+, 4>, $kernel::<$($generic),+, 5>, $kernel::<$($generic),+, 6>,
            $kernel::<$($generic),+, 7>, $kernel::<$($generic),+, 8>, $kernel::<$($generic),+, 9>,
            $kernel::<$($generic),+, 10>, $kernel::<$($generic),+, 11>, $kernel::<$($generic),+, 12>,
            $kernel::<$($generic),+, 13>, $kernel::<$($generic),+, 14>, $kernel::<$($generic),+, 15>,
            $kernel::<$($generic),+, 16>,
        ]
    };
}

/// Repeats `body` with `r` = 0, 1, .. below `rows`, a constant: registers can't be indexed by a variable.
macro_rules! unrolled {
    ($rows:expr, $r:ident, $body:block) => {
        unrolled!($rows, $r, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($rows:expr, $r:ident, $body:block, $($i:literal)+) => {
        $(if $i < $rows { let $r: usize = $i; $body })+
    };
}

/// The kernel for weights of this layout and tiles of this many rows.
///
/// The result may be called where `Isa::Avx512Vnni` is available.
pub(crate) fn kernel(layout: Layout, rows: usize) -> Kernel {
    static F32S: Kernels = by_rows!(floats, F32);
    static F16S: Kernels = by_rows!(floats, F16);
    static BF16S: Kernels = by_rows!(floats, Bf16);
    static FOUR_D: Kernels = by_rows!(codes, Four, D);
    static FOUR_DM: Kernels = by_rows!(codes, Four, Dm);
    static FIVE_D: Kernels = by_rows!(codes, Five, D);
    static FIVE_DM: Kernels = by_rows!(codes, Five, Dm);
    static EIGHT_D: Kernels = by_rows!(codes, Eight, D);
    static FOUR_GROUP: Kernels = by_rows!(codes, Four, Group);
    static FIVE_GROUP: Kernels = by_rows!(codes, Five, Group);
    static SIX_GROUP_HALVES: Kernels = by_rows!(codes, Six, GroupHalves);
    let kernels = match layout {
        Layout::F32 => &F32S,
        Layout::F16 => &F16S,
        Layout::BF16 => &BF16S,
        Layout::Codes { planes, scales, .. } => match (planes, scales) {
            (Planes::Four, Scales::D) => &FOUR_D,
            (Planes::Four, Scales::DM) => &FOUR_DM,
            (Planes::Five, Scales::D) => &FIVE_D,
            (Planes::Five, Scales::DM) => &FIVE_DM,
            (Planes::Eight, Scales::D) => &EIGHT_D,
            (Planes::Four, Scales::Group) => &FOUR_GROUP,
            (Planes::Five, Scales::Group) => &FIVE_GROUP,
            (Planes::Six, Scales::GroupHalves) => &SIX_GROUP_HALVES,
            _ => unreachable!("`Layout::of` makes no {layout:?}"),
        },
    };
    kernels[rows - 1]
}

/// How far ahead of their use weights are asked for, into L2.
const PREFETCH_BYTES: usize = 4096;

/// Asks for `bytes` of weights that tiles of `R` rows will read. One or two rows read as fast as memory delivers, and the hardware
/// sees the stream by itself (measured on Zen 4: asking too costs them a fifth); with more rows it falls behind.
#[inline(always)]
fn prefetch<const R: usize>(weights: *const u8, bytes: usize) {
    if R > 2 {
        for line in 0..bytes.div_ceil(64) {
            // SAFETY: a prefetch may point anywhere.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(weights.wrapping_add(PREFETCH_BYTES + 64 * line).cast()) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn codes<C: Codes, F: Factors, const R: usize>(layout: Layout, panel: &[u8], x: &Tile, sums: &mut Sums) {
    let blocks = x.codes.len() / (R * BLOCK);
    let halves = matches!(F::SCALES, Scales::GroupHalves);
    let start_rows = if halves { 2 * R } else { R };
    // Of a block with its share of the header.
    let stream_bytes = C::PLANES.bytes() + F::SCALES.bytes() / F::SCALES.blocks();
    assert_eq!(panel.len(), layout.panel_bytes(blocks * BLOCK));
    assert!(
        x.codes.len() == blocks * R * BLOCK && x.scales.len() == blocks * R && x.sums.len() == blocks * R
    );
    assert!(F::SCALES.have_mins() || x.starts.len() == blocks * start_rows);
    // SAFETY: the assertions; every pointer below stays within these slices for b < blocks.
    unsafe {
        let mut acc = [_mm512_setzero_ps(); R];
        let (mut header, mut planes) = (panel.as_ptr(), panel.as_ptr().add(F::SCALES.bytes()));
        let mut place = 0;
        for b in 0..blocks {
            let w = C::load(planes);
            let factors = F::load(header, place);
            prefetch::<R>(panel.as_ptr().wrapping_add(b * stream_bytes), stream_bytes);
            let codes = x.codes.as_ptr().add(b * R * BLOCK).cast::<i32>();
            let scales = x.scales.as_ptr().add(b * R);
            let x_sums = x.sums.as_ptr().add(b * R);
            unrolled!(R, r, {
                let first = if F::SCALES.have_mins() {
                    _mm512_setzero_si512()
                } else {
                    _mm512_set1_epi32(*x.starts.as_ptr().add(b * start_rows + r))
                };
                let second = if halves {
                    _mm512_set1_epi32(*x.starts.as_ptr().add(b * start_rows + R + r))
                } else {
                    _mm512_setzero_si512()
                };
                let x4 = |v: usize| _mm512_set1_epi32(codes.add(r * 8 + v).read_unaligned());
                let product = if halves {
                    let first = (0..4).fold(first, |dot, v| _mm512_dpbusd_epi32(dot, w[v], x4(v)));
                    let second = (4..8).fold(second, |dot, v| _mm512_dpbusd_epi32(dot, w[v], x4(v)));
                    let product = _mm512_mul_ps(_mm512_cvtepi32_ps(first), factors.scale);
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(second), factors.scale_second, product)
                } else {
                    let dot = (0..8).fold(first, |dot, v| _mm512_dpbusd_epi32(dot, w[v], x4(v)));
                    _mm512_mul_ps(_mm512_cvtepi32_ps(dot), factors.scale)
                };
                acc[r] = _mm512_fmadd_ps(product, _mm512_set1_ps(*scales.add(r)), acc[r]);
                if F::SCALES.have_mins() {
                    acc[r] = _mm512_fmadd_ps(factors.min, _mm512_set1_ps(*x_sums.add(r)), acc[r]);
                }
            });
            place += 1;
            planes = planes.wrapping_add(C::PLANES.bytes());
            if place == F::SCALES.blocks() {
                place = 0;
                header = planes;
                planes = planes.wrapping_add(F::SCALES.bytes());
            }
        }
        unrolled!(R, r, { _mm512_storeu_ps(sums[r].as_mut_ptr(), acc[r]) });
    }
}

/// A column of 16 float weights.
trait Floats {
    const BYTES: usize;

    /// # Safety
    /// `BYTES` bytes can be read; AVX-512 F.
    unsafe fn load(column: *const u8) -> __m512;
}

struct F32;
struct F16;
struct Bf16;

impl Floats for F32 {
    const BYTES: usize = 4 * LANES;

    #[inline(always)]
    unsafe fn load(column: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(column.cast()) }
    }
}

impl Floats for F16 {
    const BYTES: usize = 2 * LANES;

    #[inline(always)]
    unsafe fn load(column: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(column.cast())) }
    }
}

impl Floats for Bf16 {
    const BYTES: usize = 2 * LANES;

    #[inline(always)]
    unsafe fn load(column: *const u8) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(column.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn floats<W: Floats, const R: usize>(_: Layout, panel: &[u8], x: &Tile, sums: &mut Sums) {
    let k = x.floats.len() / R;
    assert!(panel.len() == k * W::BYTES && x.floats.len() == k * R);
    // SAFETY: the assertion; both pointers stay within these slices for i < k.
    unsafe {
        let mut acc = [_mm512_setzero_ps(); R];
        for i in 0..k {
            let column = panel.as_ptr().add(i * W::BYTES);
            let w = W::load(column);
            prefetch::<R>(column, W::BYTES);
            let x = x.floats.as_ptr().add(i * R);
            unrolled!(R, r, { acc[r] = _mm512_fmadd_ps(w, _mm512_set1_ps(*x.add(r)), acc[r]) });
        }
        unrolled!(R, r, { _mm512_storeu_ps(sums[r].as_mut_ptr(), acc[r]) });
    }
}

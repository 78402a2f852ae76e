//! Matmul with AVX-512 VNNI: 16 outputs in the lanes, the codes of a block in 8 registers, row after row of a tile.
//!
//! A block is unpacked once for all rows of a tile and stays in registers; each row's codes are loaded as 32-bit
//! broadcasts. With few rows the sums stay in registers too, and reading weights is the limit. Many rows go past two
//! panels at a time, which share the broadcasts. Their sums go through the first-level cache: by the time a row's turn
//! comes again they have long arrived. Bits are those of `scalar_kernel`.

use std::arch::x86_64::*;
use std::sync::OnceLock;

use super::unpack::{
    BlockFactors, Codes, D, Dm, Eight, Factors, Five, Four, Group, GroupHalfMins, GroupHalves, Six, Three,
    Two,
};
use crate::matrix::layout::{BLOCK, LANES, Layout, Planes, Scales};
use crate::shapes::{Kernel, PANELS_MAX, Sums, TILE_ROWS_MAX, Tile};

/// The kernel for weights of this layout.
///
/// The result may be called where `Isa::Avx512Vnni` is available.
pub(crate) fn kernel(layout: Layout) -> Kernel {
    match layout {
        Layout::F32 => floats::<F32>,
        Layout::F16 => floats::<F16>,
        Layout::BF16 => floats::<Bf16>,
        Layout::Codes { planes, scales, .. } => match (planes, scales) {
            (Planes::Four, Scales::D) => codes::<Four, D>,
            (Planes::Four, Scales::DM) => codes::<Four, Dm>,
            (Planes::Five, Scales::D) => codes::<Five, D>,
            (Planes::Five, Scales::DM) => codes::<Five, Dm>,
            (Planes::Eight, Scales::D) => codes::<Eight, D>,
            (Planes::Four, Scales::Group) => codes::<Four, Group>,
            (Planes::Five, Scales::Group) => codes::<Five, Group>,
            (Planes::Six, Scales::GroupHalves) => codes::<Six, GroupHalves>,
            (Planes::Three, Scales::GroupHalves) => codes::<Three, GroupHalves>,
            (Planes::Two, Scales::GroupHalfMins) => codes::<Two, GroupHalfMins>,
            _ => unreachable!("`Layout::of` makes no {layout:?}"),
        },
    }
}

/// Repeats `body` with the constant `r` = 0, 1, .. below `rows`: registers can't be indexed by a variable.
macro_rules! unrolled {
    ($rows:expr, $r:ident, $body:block) => {
        unrolled!($rows, $r, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($rows:expr, $r:ident, $body:block, $($i:literal)+) => {
        $(if $i < $rows { let $r: usize = $i; $body })+
    };
}

/// Up to this many rows are multiplied at a time with their sums in registers. With more, weights are not the limit.
const FEW_ROWS: usize = 16;

/// How far ahead weights are prefetched.
const PREFETCH_BYTES: usize = 4096;

/// Prefetches `bytes` of weights that lie [`PREFETCH_BYTES`] ahead of `weights`.
#[inline(always)]
fn prefetch(weights: *const u8, bytes: usize) {
    for line in 0..bytes.div_ceil(64) {
        // SAFETY: a prefetch may point anywhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(PREFETCH_BYTES + 64 * line).cast()) };
    }
}

/// Whether prefetching weights pays for this many rows. It does: the hardware falls behind as soon as there is work
/// between the loads (measured on Zen 5: one row of Q4_K reads 30 GB/s without and 50 with it). Only Zen 3 and 4 read
/// one or two rows as fast as memory delivers, and lose a fifth with prefetching.
fn prefetch_pays(rows: usize) -> bool {
    static STREAMS_BY_ITSELF: OnceLock<bool> = OnceLock::new();
    rows > 2 || !STREAMS_BY_ITSELF.get_or_init(is_amd_family_19)
}

fn is_amd_family_19() -> bool {
    let (vendor, version) = (__cpuid(0), __cpuid(1).eax);
    let family = (version >> 8 & 15) + (version >> 20 & 255);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD" && family == 0x19
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn codes<C: Codes, F: Factors>(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
    let (blocks, rows) = (x.codes.len() / (x.rows * BLOCK), x.rows);
    let starts = if F::SCALES.have_mins() { 0 } else { rows_of::<F>(rows) };
    let x_sums = if F::SCALES.have_mins() { rows_of::<F>(rows) } else { rows };
    let panel_bytes = layout.panel_bytes(blocks * BLOCK);
    assert!(x.codes.len() == blocks * rows * BLOCK && x.scales.len() == blocks * rows);
    assert!(x.sums.len() == blocks * x_sums && (starts == 0 || x.starts.len() == blocks * starts));
    assert!(rows <= TILE_ROWS_MAX);
    if rows <= FEW_ROWS {
        for (panel, sums) in panels.chunks_exact(panel_bytes).zip(sums.chunks_mut(rows)) {
            // SAFETY: the assertions: what is read for blocks and rows is there.
            unsafe {
                match rows {
                    1 => few_rows::<C, F, 1>(panel, x, sums),
                    2 => few_rows::<C, F, 2>(panel, x, sums),
                    3 => few_rows::<C, F, 3>(panel, x, sums),
                    4 => few_rows::<C, F, 4>(panel, x, sums),
                    5 => few_rows::<C, F, 5>(panel, x, sums),
                    6 => few_rows::<C, F, 6>(panel, x, sums),
                    7 => few_rows::<C, F, 7>(panel, x, sums),
                    8 => few_rows::<C, F, 8>(panel, x, sums),
                    9 => few_rows::<C, F, 9>(panel, x, sums),
                    10 => few_rows::<C, F, 10>(panel, x, sums),
                    11 => few_rows::<C, F, 11>(panel, x, sums),
                    12 => few_rows::<C, F, 12>(panel, x, sums),
                    13 => few_rows::<C, F, 13>(panel, x, sums),
                    14 => few_rows::<C, F, 14>(panel, x, sums),
                    15 => few_rows::<C, F, 15>(panel, x, sums),
                    _ => few_rows::<C, F, FEW_ROWS>(panel, x, sums),
                }
            }
        }
        return;
    }
    sums[..panels.len() / panel_bytes * rows].fill([0.0; LANES]);
    // SAFETY: as above.
    unsafe {
        match panels.len() / panel_bytes {
            1 => many_rows::<C, F, 1>(panel_bytes, panels, x, sums),
            PANELS_MAX => many_rows::<C, F, PANELS_MAX>(panel_bytes, panels, x, sums),
            count => unreachable!("{count} panels at a time"),
        }
    }
}

/// Numbers per block for these rows, if each half block has its own.
const fn rows_of<F: Factors>(rows: usize) -> usize {
    if F::SCALES.of_halves() { 2 * rows } else { rows }
}

/// All of k for one panel and `R` rows, whose sums stay in registers.
///
/// # Safety
/// `panel` has as many blocks as `x`; `x` has `R` rows and is as long as they and the layout need; AVX-512 VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn few_rows<C: Codes, F: Factors, const R: usize>(panel: &[u8], x: &Tile, sums: &mut Sums) {
    assert!(sums.len() == R && x.rows == R);
    let stream_bytes = C::PLANES.bytes() + F::SCALES.bytes() / F::SCALES.blocks();
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [_mm512_setzero_ps(); R];
        let (mut header, mut planes) = (panel.as_ptr(), panel.as_ptr().add(F::SCALES.bytes()));
        let mut place = 0;
        let prefetches = prefetch_pays(R);
        for b in 0..x.codes.len() / (R * BLOCK) {
            let w = [C::load(planes)];
            let factors = [F::load(header, place)];
            if prefetches {
                prefetch(panel.as_ptr().wrapping_add(b * stream_bytes), stream_bytes);
            }
            let rows = Rows::of::<F>(x, b);
            unrolled!(R, r, {
                let [product] = row_product::<F, 1>(&w, &factors, &rows, r);
                acc[r] = row_sum::<F>(product, &factors[0], &rows, r, acc[r]);
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

/// The activations of one block.
struct Rows {
    count: usize,
    codes: *const i32,
    scales: *const f32,
    sums: *const f32,
    starts: *const i32,
}

impl Rows {
    /// # Safety
    /// `x` is as long as its rows and the layout need, and has a block `b`.
    #[inline(always)]
    unsafe fn of<F: Factors>(x: &Tile, b: usize) -> Rows {
        let (count, of_layout) = (x.rows, b * rows_of::<F>(x.rows));
        // What a layout doesn't use is empty.
        let (sums, starts) = if F::SCALES.have_mins() { (of_layout, 0) } else { (0, of_layout) };
        // SAFETY: the caller's promise.
        unsafe {
            Rows {
                count,
                codes: x.codes.as_ptr().add(b * count * BLOCK).cast(),
                scales: x.scales.as_ptr().add(b * count),
                sums: x.sums.as_ptr().add(sums),
                starts: x.starts.as_ptr().add(starts),
            }
        }
    }
}

/// # Safety
/// `panels` are `P` panels of as many blocks as `x` has; `x` is as long as its rows and the layout need; AVX-512
/// VNNI.
#[inline(always)]
unsafe fn many_rows<C: Codes, F: Factors, const P: usize>(
    panel_bytes: usize,
    panels: &[u8],
    x: &Tile,
    sums: &mut Sums,
) {
    // Bytes of a block with its share of the header.
    let stream_bytes = C::PLANES.bytes() + F::SCALES.bytes() / F::SCALES.blocks();
    let group_bytes = F::SCALES.bytes() + F::SCALES.blocks() * C::PLANES.bytes();
    let count = x.rows;
    // SAFETY: the caller's promise; every pointer stays within its slice for b < blocks and r < rows.
    unsafe {
        for b in 0..x.codes.len() / (count * BLOCK) {
            let (group, i) = (b / F::SCALES.blocks(), b % F::SCALES.blocks());
            let mut w = [[_mm512_setzero_si512(); 8]; P];
            let mut factors = [BlockFactors::zero(); P];
            // Loops instead of closures: what is inlined late isn't compiled for these instructions.
            for p in 0..P {
                let panel = panels.as_ptr().add(p * panel_bytes);
                let header = panel.add(group * group_bytes);
                w[p] = C::load(header.add(F::SCALES.bytes() + i * C::PLANES.bytes()));
                factors[p] = F::load(header, i);
                prefetch(panel.wrapping_add(b * stream_bytes), stream_bytes);
            }
            let rows = Rows::of::<F>(x, b);
            let mut r = 0;
            while r + 1 < count {
                row::<F, P>(&w, &factors, &rows, r, sums);
                row::<F, P>(&w, &factors, &rows, r + 1, sums);
                r += 2;
            }
            if r < count {
                row::<F, P>(&w, &factors, &rows, r, sums);
            }
        }
    }
}

/// Adds a block's part to the sums of row `r`.
///
/// # Safety
/// `r` is below `rows.count`, and the pointers of `rows` lead to as many rows; AVX-512 VNNI.
#[inline(always)]
unsafe fn row<F: Factors, const P: usize>(
    w: &[[__m512i; 8]; P],
    factors: &[BlockFactors; P],
    rows: &Rows,
    r: usize,
    sums: &mut Sums,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let products = row_product::<F, P>(w, factors, rows, r);
        for p in 0..P {
            let sum = sums.get_unchecked_mut(p * rows.count + r);
            let acc = _mm512_loadu_ps(sum.as_ptr());
            let acc = row_sum::<F>(products[p], &factors[p], rows, r, acc);
            _mm512_storeu_ps(sum.as_mut_ptr(), acc);
        }
    }
}

/// The dot products of row `r` with a block, times the scales of its weights.
///
/// # Safety
/// As [`row`].
#[expect(clippy::needless_range_loop, reason = "iterators of registers are inlined too late")]
#[inline(always)]
unsafe fn row_product<F: Factors, const P: usize>(
    w: &[[__m512i; 8]; P],
    factors: &[BlockFactors; P],
    rows: &Rows,
    r: usize,
) -> [__m512; P] {
    let (halves, mins) = (F::SCALES.of_halves(), F::SCALES.have_mins());
    // SAFETY: the caller's promise.
    unsafe {
        let zero = _mm512_setzero_si512();
        let (mut first, mut second) = ([zero; P], [zero; P]);
        if !mins {
            first = [_mm512_set1_epi32(*rows.starts.add(r)); P];
        }
        if !mins && halves {
            second = [_mm512_set1_epi32(*rows.starts.add(rows.count + r)); P];
        }
        for v in 0..8 {
            let x = _mm512_set1_epi32(rows.codes.add(r * 8 + v).read_unaligned());
            for p in 0..P {
                if v >= 4 && halves {
                    second[p] = _mm512_dpbusd_epi32(second[p], w[p][v], x);
                } else {
                    first[p] = _mm512_dpbusd_epi32(first[p], w[p][v], x);
                }
            }
        }
        let mut products = [_mm512_setzero_ps(); P];
        for p in 0..P {
            products[p] = if halves {
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(first[p]), factors[p].scale);
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(second[p]), factors[p].scale_second, product)
            } else {
                _mm512_mul_ps(_mm512_cvtepi32_ps(first[p]), factors[p].scale)
            };
        }
        products
    }
}

/// `acc` plus a block's contribution.
///
/// # Safety
/// As [`row`].
#[inline(always)]
unsafe fn row_sum<F: Factors>(
    product: __m512,
    factors: &BlockFactors,
    rows: &Rows,
    r: usize,
    acc: __m512,
) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = _mm512_fmadd_ps(product, _mm512_set1_ps(*rows.scales.add(r)), acc);
        if F::SCALES.have_mins() {
            acc = _mm512_fmadd_ps(factors.min, _mm512_set1_ps(*rows.sums.add(r)), acc);
        }
        if F::SCALES.have_mins() && F::SCALES.of_halves() {
            let x_sum = _mm512_set1_ps(*rows.sums.add(rows.count + r));
            acc = _mm512_fmadd_ps(factors.min_second, x_sum, acc);
        }
        acc
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

/// Rows whose sums stay in registers while all of k passes.
const FLOAT_ROWS: usize = 16;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn floats<W: Floats>(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
    let k = x.floats.len() / x.rows;
    assert_eq!(x.floats.len(), k * x.rows);
    for (p, panel) in panels.chunks_exact(layout.panel_bytes(k)).enumerate() {
        for first in (0..x.rows).step_by(FLOAT_ROWS) {
            let sums = &mut sums[p * x.rows + first..];
            // SAFETY: the panel has k columns, and from `first` on there are as many rows as the match arm says.
            unsafe {
                match x.rows - first {
                    1 => few_floats::<W, 1>(panel, x, first, sums),
                    2 => few_floats::<W, 2>(panel, x, first, sums),
                    3 => few_floats::<W, 3>(panel, x, first, sums),
                    4 => few_floats::<W, 4>(panel, x, first, sums),
                    5 => few_floats::<W, 5>(panel, x, first, sums),
                    6 => few_floats::<W, 6>(panel, x, first, sums),
                    7 => few_floats::<W, 7>(panel, x, first, sums),
                    8 => few_floats::<W, 8>(panel, x, first, sums),
                    9 => few_floats::<W, 9>(panel, x, first, sums),
                    10 => few_floats::<W, 10>(panel, x, first, sums),
                    11 => few_floats::<W, 11>(panel, x, first, sums),
                    12 => few_floats::<W, 12>(panel, x, first, sums),
                    13 => few_floats::<W, 13>(panel, x, first, sums),
                    14 => few_floats::<W, 14>(panel, x, first, sums),
                    15 => few_floats::<W, 15>(panel, x, first, sums),
                    _ => few_floats::<W, FLOAT_ROWS>(panel, x, first, sums),
                }
            }
        }
    }
}

/// Multiplies `R` rows from row `first` on.
///
/// # Safety
/// `panel` has as many columns as `x.floats`, and `first + R` rows are there; AVX-512 F.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn few_floats<W: Floats, const R: usize>(panel: &[u8], x: &Tile, first: usize, sums: &mut Sums) {
    assert!(sums.len() >= R);
    // SAFETY: the caller's promise; both pointers stay within their slices for i < k.
    unsafe {
        let mut acc = [_mm512_setzero_ps(); R];
        let prefetches = prefetch_pays(R);
        for i in 0..x.floats.len() / x.rows {
            let column = panel.as_ptr().add(i * W::BYTES);
            let w = W::load(column);
            if prefetches {
                prefetch(column, W::BYTES);
            }
            let x = x.floats.as_ptr().add(i * x.rows + first);
            unrolled!(R, r, { acc[r] = _mm512_fmadd_ps(w, _mm512_set1_ps(*x.add(r)), acc[r]) });
        }
        unrolled!(R, r, { _mm512_storeu_ps(sums[r].as_mut_ptr(), acc[r]) });
    }
}

//! Vectors of sixteen f32 lanes. A kernel is generic over [`Simd`] and runs on AVX-512 registers or on plain arrays,
//! with the same bits: every operation is one IEEE operation per lane, fused where it says so, and reductions have a
//! fixed order.

use half::f16;

pub(crate) const LANES: usize = 16;

/// The vector operations of a machine. A value of an implementing type proves that the machine has them.
pub(crate) trait Simd: Copy {
    type V: Copy;
    /// About how many vectors fit into the machine's registers. Only tile sizes depend on it, results don't.
    const REGISTERS: usize;

    fn splat(self, x: f32) -> Self::V;
    /// `x[0], x[1], x[0], x[1], …`
    fn splat_pair(self, x: &[f32; 2]) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, v: Self::V, to: &mut [f32; LANES]);
    fn load_f16(self, x: &[u16; LANES]) -> Self::V;
    fn load_i8(self, x: &[i8; LANES]) -> Self::V;
    /// Rounds to nearest, ties to even.
    fn store_f16(self, v: Self::V, to: &mut [u16; LANES]);

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` where `a < b`, else `b`: a NaN in `b` stays.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `a > b`, else `b`: a NaN in `b` stays.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Zero in lanes where `x < limit`, else `v`.
    fn zero_below(self, x: Self::V, limit: Self::V, v: Self::V) -> Self::V;
    /// The first `n` lanes of `v`, then the other lanes of `other`; `n ≤ 16`.
    fn first(self, n: usize, v: Self::V, other: Self::V) -> Self::V;
    /// 2ⁿ from `1.5 · 2²³ + n`, for n in -126..=127.
    fn power_of_two(self, shifted: Self::V) -> Self::V;
    /// Lane i is `a[2i] + a[2i + 1]` for i below 8, then the same of `b`.
    fn pair_sums(self, a: Self::V, b: Self::V) -> Self::V;
    /// The sum of all lanes. Halves are added to each other, four times.
    fn sum(self, v: Self::V) -> f32;
    /// The greatest lane; unspecified if one is NaN.
    fn max_lane(self, v: Self::V) -> f32;
}

/// Work that is compiled once per instruction set. `run` and all it calls with vectors must be `#[inline(always)]`, and
/// no closure may hold a vector operation: code that is not inlined is compiled without the instruction set, and each
/// of its operations becomes a call.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// eˣ within 2 units in the last place; exactly 0 below -87, and e⁸⁸ above 88. NaN stays. The same bits in every lane.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2. eʳ is its Taylor polynomial of degree 7, whose error is below 2⁻²⁷ there.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    const LOWEST: f32 = -87.0;
    const HIGHEST: f32 = 88.0;
    /// Adding this to a small number leaves its integer part in the last bits.
    const SHIFT: f32 = 12_582_912.0;
    /// ln 2 in two parts. The first has few bits, so that n times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const INVERSE_FACTORIALS: [f32; 8] =
        [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let clamped = s.min(s.splat(HIGHEST), s.max(s.splat(LOWEST), x));
    let shifted = s.mul_add(clamped, s.splat(std::f32::consts::LOG2_E), s.splat(SHIFT));
    let n = s.sub(shifted, s.splat(SHIFT));
    let r = s.mul_add(n, s.splat(-LN_2[0]), clamped);
    let r = s.mul_add(n, s.splat(-LN_2[1]), r);
    let mut e = s.splat(INVERSE_FACTORIALS[0]);
    for &coefficient in &INVERSE_FACTORIALS[1..] {
        e = s.mul_add(e, r, s.splat(coefficient));
    }
    s.zero_below(x, s.splat(LOWEST), s.mul(e, s.power_of_two(shifted)))
}

#[inline(always)]
pub(crate) fn to_array<S: Simd>(s: S, v: S::V) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    s.store(v, &mut out);
    out
}

/// Loads up to sixteen values and fills up with zeros.
#[inline(always)]
pub(crate) fn load_partial<S: Simd>(s: S, x: &[f32]) -> S::V {
    let mut padded = [0.0; LANES];
    padded[..x.len()].copy_from_slice(x);
    s.load(&padded)
}

/// Stores the first `to.len() ≤ 16` lanes.
#[cfg(test)]
#[inline(always)]
pub(crate) fn store_partial<S: Simd>(s: S, v: S::V, to: &mut [f32]) {
    to.copy_from_slice(&to_array(s, v)[..to.len()]);
}

/// Prefetches the cache line that holds element `at` of `data`, if there is one. Does nothing off x86-64.
#[inline(always)]
pub(crate) fn prefetch(data: &[u16], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if at < data.len() {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch may point anywhere, and this is within `data`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(data.as_ptr().wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (data, at);
}

/// Plain arrays, for any machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

type Lanes = [f32; LANES];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> Lanes {
    let mut out = [0.0; LANES];
    for (i, lane) in out.iter_mut().enumerate() {
        *lane = f(i);
    }
    out
}

/// Folds one half onto the other until one lane is left.
#[inline(always)]
fn halve(mut v: Lanes, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            v[i] = f(v[i], v[i + width]);
        }
        width /= 2;
    }
    v[0]
}

/// Exact, and without a branch so that it vectorizes. The exponents differ by 112, which a multiplication corrects.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let finite = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let special = magnitude | 0x7f80_0000;
    let value = if magnitude >= 0x0f80_0000 { special } else { finite.to_bits() };
    f32::from_bits(value | u32::from(bits & 0x8000) << 16)
}

impl Simd for Portable {
    type V = Lanes;
    const REGISTERS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Lanes {
        [x; LANES]
    }
    #[inline(always)]
    fn splat_pair(self, x: &[f32; 2]) -> Lanes {
        each(|i| x[i % 2])
    }
    #[inline(always)]
    fn load(self, x: &Lanes) -> Lanes {
        *x
    }
    #[inline(always)]
    fn store(self, v: Lanes, to: &mut Lanes) {
        *to = v;
    }
    #[inline(always)]
    fn load_i8(self, x: &[i8; LANES]) -> Lanes {
        each(|i| f32::from(x[i]))
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> Lanes {
        each(|i| f16_to_f32(x[i]))
    }
    #[inline(always)]
    fn store_f16(self, v: Lanes, to: &mut [u16; LANES]) {
        for (to, v) in to.iter_mut().zip(v) {
            *to = f16::from_f32(v).to_bits();
        }
    }
    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn mul_add(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        each(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn zero_below(self, x: Lanes, limit: Lanes, v: Lanes) -> Lanes {
        each(|i| if x[i] < limit[i] { 0.0 } else { v[i] })
    }
    #[inline(always)]
    fn first(self, n: usize, v: Lanes, other: Lanes) -> Lanes {
        each(|i| if i < n { v[i] } else { other[i] })
    }
    #[inline(always)]
    fn power_of_two(self, shifted: Lanes) -> Lanes {
        each(|i| f32::from_bits(shifted[i].to_bits().wrapping_add(127) << 23))
    }
    #[inline(always)]
    fn pair_sums(self, a: Lanes, b: Lanes) -> Lanes {
        each(|i| if i < 8 { a[2 * i] + a[2 * i + 1] } else { b[2 * i - 16] + b[2 * i - 15] })
    }
    #[inline(always)]
    fn sum(self, v: Lanes) -> f32 {
        halve(v, |a, b| a + b)
    }
    #[inline(always)]
    fn max_lane(self, v: Lanes) -> f32 {
        halve(v, |a, b| if a > b { a } else { b })
    }
}

#[cfg(test)]
mod tests;

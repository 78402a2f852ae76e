//! Vector arithmetic that several kernels share: the scale of a norm, and silu.

use crate::simd::{LANES, Simd, exp, load_partial};

/// The factor that gives a row a mean square of about one.
#[inline(always)]
pub(crate) fn norm_scale<S: Simd>(s: S, x: &[f32], eps: f32) -> f32 {
    let mean = sum_of_squares(s, x) / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

#[inline(always)]
pub(crate) fn normed<S: Simd>(s: S, x: S::V, scale: S::V, weight: S::V) -> S::V {
    s.mul(s.mul(x, scale), weight)
}

/// Uses four running sums, so that additions need not wait for each other.
#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut sums = [s.splat(0.0); 4];
    let (fours, rest) = x.as_chunks::<{ 4 * LANES }>();
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four.as_chunks::<LANES>().0) {
            let x = s.load(x);
            *sum = s.mul_add(x, x, *sum);
        }
    }
    for x in rest.chunks(LANES) {
        let x = load_partial(s, x);
        sums[0] = s.mul_add(x, x, sums[0]);
    }
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

#[inline(always)]
pub(crate) fn silu_product<S: Simd>(s: S, gate: S::V, up: S::V) -> S::V {
    let denominator = s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), gate)));
    s.mul(s.div(gate, denominator), up)
}

//! The multiply-add rate of a core.

use std::arch::x86_64::*;
use std::hint::black_box;

/// Independent sums, enough to hide the latency of an instruction on two ports.
const SUMS: usize = 12;
/// Multiply-adds of one iteration.
pub(crate) const MACS_PER_ITERATION: usize = SUMS * 64;

/// Nothing but `vpdpbusd`.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(crate) fn multiply_add_loop(iterations: usize) -> i32 {
    let mut sums = [_mm512_setzero_si512(); SUMS];
    let (a, b) = (black_box(_mm512_set1_epi32(3)), black_box(_mm512_set1_epi32(5)));
    for _ in 0..iterations {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_epi32(sum)).fold(0, i32::wrapping_add)
}

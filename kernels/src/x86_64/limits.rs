//! Loops that measure the multiply-add rate of a core.

use std::arch::x86_64::*;
use std::hint::black_box;

/// Independent sums, enough to hide the latency of an instruction on two ports.
pub(crate) const SUMS: usize = 12;

/// Only `vpdpbusd` on registers of 64 codes.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(crate) fn avx512_vnni_loop(iterations: usize) -> i32 {
    let mut sums = [_mm512_setzero_si512(); SUMS];
    let (a, b) = (black_box(_mm512_set1_epi32(3)), black_box(_mm512_set1_epi32(5)));
    for _ in 0..iterations {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_epi32(sum)).fold(0, i32::wrapping_add)
}

/// Only `vpdpbusd` on registers of 32 codes.
#[target_feature(enable = "avx2,avxvnni")]
pub(crate) fn avx_vnni_loop(iterations: usize) -> i32 {
    let mut sums = [_mm256_setzero_si256(); SUMS];
    let (a, b) = (black_box(_mm256_set1_epi32(3)), black_box(_mm256_set1_epi32(5)));
    for _ in 0..iterations {
        for sum in &mut sums {
            *sum = _mm256_dpbusd_avx_epi32(*sum, a, b);
        }
    }
    first_lanes(sums)
}

/// The three instructions that replace it without VNNI.
#[target_feature(enable = "avx2")]
pub(crate) fn avx2_loop(iterations: usize) -> i32 {
    let mut sums = [_mm256_setzero_si256(); SUMS];
    let (mut a, b) = (black_box(_mm256_set1_epi32(3)), black_box(_mm256_set1_epi32(5)));
    let ones = black_box(_mm256_set1_epi16(1));
    for _ in 0..iterations {
        for sum in &mut sums {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
        }
        // Makes the products new in each iteration.
        a = black_box(a);
    }
    first_lanes(sums)
}

#[target_feature(enable = "avx2")]
fn first_lanes(sums: [__m256i; SUMS]) -> i32 {
    let mut total = 0i32;
    for sum in sums {
        total = total.wrapping_add(_mm256_extract_epi32::<0>(sum));
    }
    total
}

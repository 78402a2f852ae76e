//! Kernels for x86-64. A function here says in its `target_feature` what the machine must have; `Isa` is the check.

pub(crate) mod avx2;
pub(crate) mod limits;
pub(crate) mod matmul;
pub(crate) mod quantize;
pub(crate) mod simd;
mod unpack;

use crate::activations::Tile;
use crate::matmul::Sums;
use crate::matrix::layout::Layout;

/// Whether the portable kernels may be run in the form compiled for AVX2 and FMA; they give the same bits.
pub(crate) fn has_fma() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// [`crate::matmul::scalar_kernel`] compiled for a machine of the last ten years.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn scalar_kernel_with_fma(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
    crate::matmul::scalar_kernel(layout, panels, x, sums);
}

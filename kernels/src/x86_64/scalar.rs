//! The scalar kernel, compiled for AVX2 and FMA.

use crate::matrix::layout::Layout;
use crate::scalar::scalar_kernel;
use crate::shapes::{Sums, Tile};

/// [`scalar_kernel`] with instructions that Intel and AMD have had since 2015.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn scalar_kernel_with_fma(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
    scalar_kernel(layout, panels, x, sums);
}

//! The scalar kernel, compiled for a machine of the last ten years.

use crate::matrix::layout::Layout;
use crate::scalar::scalar_kernel;
use crate::shapes::{Sums, Tile};

/// [`scalar_kernel`] with the instructions that every x86-64 machine has had since 2015.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn scalar_kernel_with_fma(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums) {
    scalar_kernel(layout, panels, x, sums);
}

//! Matmul with AVX-512 VNNI.

use crate::activations::Tile;
use crate::matmul::Sums;
use crate::matrix::layout::Layout;

/// Writes the sums of one panel for the rows of one tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
pub(crate) fn kernel(layout: Layout, panel: &[u8], x: &Tile, sums: &mut Sums) {
    crate::matmul::scalar_kernel(layout, panel, x, sums);
}

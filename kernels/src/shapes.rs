//! What a matmul kernel is given and what it fills: a tile of activations, panels of weights, and sums.

use crate::matrix::layout::{LANES, Layout};

/// Most rows of a tile: enough that unpacking weights costs little beside multiplying them, few enough that the sums of two
/// panels lie in the first cache.
pub(crate) const TILE_ROWS_MAX: usize = 64;

/// The rows of one tile, as a matmul with weights of one layout reads them.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// The first of its rows among all.
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    /// By halves of blocks where the layout's minimums are.
    pub(crate) sums: &'a [f32],
    /// Empty where the layout has no offset.
    pub(crate) starts: &'a [i32],
    pub(crate) floats: &'a [f32],
}

/// Sums of 16 outputs, for each panel and each row of a tile.
pub(crate) type Sums = [[f32; LANES]];

/// Panels that a kernel takes at a time.
pub(crate) const PANELS_MAX: usize = 2;

/// Writes the sums of up to [`PANELS_MAX`] panels, one behind the other in `panels`, for the rows of one tile.
pub(crate) type Kernel = unsafe fn(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums);

//! What a matmul kernel gets and fills: a tile of activations, panels of weights, and sums.

use crate::matrix::layout::{LANES, Layout};

/// Most rows of a tile: so many that unpacking weights costs little, so few that two panels' sums fit into the first
/// cache.
pub(crate) const TILE_ROWS_MAX: usize = 64;

/// The rows of one tile, in the forms that weights of one layout are multiplied with.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// Index of the tile's first row among all rows.
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    /// Per half block, if the layout has minimums per half.
    pub(crate) sums: &'a [f32],
    /// Empty if the layout has no offset.
    pub(crate) starts: &'a [i32],
    pub(crate) floats: &'a [f32],
}

/// Sums of 16 outputs, for each panel and each row of a tile.
pub(crate) type Sums = [[f32; LANES]];

/// Most panels that a kernel multiplies at a time.
pub(crate) const PANELS_MAX: usize = 2;

/// Writes the sums of up to [`PANELS_MAX`] adjacent panels for the rows of one tile.
pub(crate) type Kernel = unsafe fn(layout: Layout, panels: &[u8], x: &Tile, sums: &mut Sums);

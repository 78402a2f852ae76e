//! Weights packed for the kernels: 16 output rows in lanes, in about as many bytes as the file. The packed bytes are
//! the same on every machine, so they may be kept in a file and mapped.

pub(crate) mod aligned;
pub(crate) mod layout;

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::formats::Format;
use aligned::AlignedBytes;
use layout::{LANES, Layout};

/// Why a tensor can't be packed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PackError {
    /// The row length is not a multiple of the format's block length.
    #[error("rows of {k} weights do not divide into {} blocks of {block_len}", format.name())]
    RowLength {
        /// Format of the tensor in the file.
        format: Format,
        /// Number of weights in a row.
        k: usize,
        /// Number of weights in a block.
        block_len: usize,
    },
    /// The number of bytes does not match the number of rows.
    #[error("{rows} rows of {k} {} weights are {expected} bytes, got {got}", format.name())]
    Size {
        /// Format of the tensor in the file.
        format: Format,
        /// Number of rows that were announced.
        rows: usize,
        /// Number of weights in a row.
        k: usize,
        /// Bytes that these rows should have.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
}

/// Version of the packed layout. Bytes that were kept from another version can't be used.
pub const PACKED_VERSION: u32 = 1;

/// Bytes with several owners, such as a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The format and dimensions of a matrix, without its bytes.
#[derive(Clone, Copy)]
pub struct MatrixShape {
    format: Format,
    layout: Layout,
    n: usize,
    k: usize,
}

impl MatrixShape {
    /// The shape of `n` rows of `k` weights.
    ///
    /// # Errors
    /// [`PackError::RowLength`] when `k` is not a multiple of the format's block length.
    pub fn new(format: Format, n: usize, k: usize) -> Result<MatrixShape, PackError> {
        let block_len = format.block_len();
        if k.is_multiple_of(block_len) {
            Ok(MatrixShape { format, layout: Layout::of(format), n, k })
        } else {
            Err(PackError::RowLength { format, k, block_len })
        }
    }

    /// Size of the packed bytes, padding included.
    pub fn packed_bytes(&self) -> usize {
        self.n.div_ceil(LANES) * self.layout.panel_bytes(self.k)
    }

    /// Divides zeroed room for the packed bytes into slabs of `panels_each` panels, to be packed by any thread.
    ///
    /// # Panics
    /// If `room` is not as long as the packed bytes.
    pub fn slabs<'a>(
        &self,
        room: &'a mut [u8],
        panels_each: usize,
    ) -> impl ExactSizeIterator<Item = Slab<'a>> + use<'a> {
        assert_eq!(room.len(), self.packed_bytes(), "room for {} {}x{}", self.format.name(), self.n, self.k);
        let MatrixShape { format, layout, n, k } = *self;
        let rows_each = panels_each * LANES;
        let slab_bytes = panels_each * layout.panel_bytes(k);
        room.chunks_mut(slab_bytes.max(1)).enumerate().map(move |(slab, out)| {
            let rows = slab * rows_each..((slab + 1) * rows_each).min(n);
            Slab { format, layout, k, rows, out }
        })
    }
}

/// Packed weights `w[n, k]`: n outputs by k inputs, in panels of 16 outputs.
pub struct Matrix {
    format: Format,
    layout: Layout,
    n: usize,
    k: usize,
    /// Panel after panel. Each is `layout.panel_bytes(k)` long, a multiple of 32 bytes.
    data: Data,
}

enum Data {
    Own(AlignedBytes),
    Shared(SharedBytes, Range<usize>),
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Data::Own(bytes) => bytes,
            Data::Shared(bytes, range) => &(**bytes).as_ref()[range.clone()],
        }
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Matrix({} {}x{})", self.format.name(), self.n, self.k)
    }
}

impl Matrix {
    /// Packs `n` rows of `k` weights. `raw` holds the rows as in the GGUF file, one after the other.
    pub fn pack(format: Format, n: usize, k: usize, raw: &[u8]) -> Result<Matrix, PackError> {
        let mut packer = Matrix::packer(format, n, k)?;
        let panels = n.div_ceil(LANES).max(1);
        packer.slabs(panels).try_for_each(|slab| slab.pack(raw))?;
        Ok(packer.finish())
    }

    /// Zeroed room for `n` rows of `k` weights, to be packed in parts or by several threads.
    pub fn packer(format: Format, n: usize, k: usize) -> Result<Packer, PackError> {
        let shape = MatrixShape::new(format, n, k)?;
        Ok(Packer { shape, data: AlignedBytes::zeroed(shape.packed_bytes()) })
    }

    /// A matrix whose packed bytes exist already, in `range` of `bytes`. Whether they are right is not checked.
    ///
    /// # Panics
    /// If the range is not as long as the packed bytes of this shape.
    pub fn from_packed(shape: MatrixShape, bytes: SharedBytes, range: Range<usize>) -> Matrix {
        assert_eq!(range.len(), shape.packed_bytes(), "packed bytes of {}x{}", shape.n, shape.k);
        assert!(range.end <= (*bytes).as_ref().len(), "packed bytes end at {}", range.end);
        let MatrixShape { format, layout, n, k } = shape;
        Matrix { format, layout, n, k, data: Data::Shared(bytes, range) }
    }

    /// The number of outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The number of inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The format of the weights in the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Size of the packed bytes, padding included.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn panels(&self) -> usize {
        self.n.div_ceil(LANES)
    }

    pub(crate) fn panel_bytes(&self) -> usize {
        self.layout.panel_bytes(self.k)
    }

    /// The packed bytes of some panels, 16 outputs each. Missing rows of the last panel are zero.
    pub(crate) fn panels_in(&self, panels: Range<usize>) -> &[u8] {
        &self.data[panels.start * self.panel_bytes()..panels.end * self.panel_bytes()]
    }

    /// Writes the exact weights of `row` to `out[k]`: the same bits as [`Format::dequantize`] gives for the file's row.
    ///
    /// # Panics
    /// If `row` is not below `n`, or `out` is not `k` long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.n, "row {row} of {}", self.n);
        assert_eq!(out.len(), self.k, "a row of {} weights", self.k);
        let panel = row / LANES;
        self.layout.unpack_lane(self.panels_in(panel..panel + 1), row % LANES, out);
    }
}

/// A matrix whose panels are being packed. Rows that were never packed are zero.
pub struct Packer {
    shape: MatrixShape,
    data: AlignedBytes,
}

impl Packer {
    /// Divides the matrix into slabs, as [`MatrixShape::slabs`].
    pub fn slabs(&mut self, panels_each: usize) -> impl ExactSizeIterator<Item = Slab<'_>> {
        self.shape.slabs(&mut self.data, panels_each)
    }

    /// The finished matrix, ready for the kernels.
    pub fn finish(self) -> Matrix {
        let MatrixShape { format, layout, n, k } = self.shape;
        Matrix { format, layout, n, k, data: Data::Own(self.data) }
    }
}

/// Some panels of a matrix that are still to be packed.
pub struct Slab<'a> {
    format: Format,
    layout: Layout,
    k: usize,
    rows: Range<usize>,
    out: &'a mut [u8],
}

impl Slab<'_> {
    /// The matrix rows that this slab holds.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Where these rows lie among the tensor's bytes in the file.
    pub fn byte_range(&self) -> Range<usize> {
        let row_bytes = self.format.row_bytes(self.k);
        self.rows.start * row_bytes..self.rows.end * row_bytes
    }

    /// Packs `raw`, the bytes of exactly these rows.
    pub fn pack(self, raw: &[u8]) -> Result<(), PackError> {
        let row_bytes = self.format.row_bytes(self.k);
        let expected = self.rows.len() * row_bytes;
        if raw.len() != expected {
            let (format, rows, k) = (self.format, self.rows.len(), self.k);
            return Err(PackError::Size { format, rows, k, expected, got: raw.len() });
        }
        if expected == 0 {
            return Ok(());
        }
        let panels = self.out.chunks_exact_mut(self.layout.panel_bytes(self.k));
        for (panel, rows) in panels.zip(raw.chunks(LANES * row_bytes)) {
            self.layout.pack_panel(self.format, rows, row_bytes, panel);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

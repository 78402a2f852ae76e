//! Bytes aligned to a cache line, so that a kernel's 64-byte loads do not straddle two.

use std::ops::{Deref, DerefMut};

#[repr(C, align(64))]
struct Line([u8; 64]);

/// A fixed number of bytes, initially zero. Pages that are never written take no memory.
pub(crate) struct AlignedBytes {
    lines: Box<[Line]>,
    /// At most `64 * lines.len()`.
    len: usize,
}

impl AlignedBytes {
    pub(crate) fn zeroed(len: usize) -> AlignedBytes {
        // SAFETY: `Line` is plain bytes, for which all zeros is a value.
        let lines = unsafe { Box::<[Line]>::new_zeroed_slice(len.div_ceil(64)).assume_init() };
        AlignedBytes { lines, len }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the box owns `64 * lines.len() >= len` initialised bytes, and `&self` lends them shared.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` lends them alone.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

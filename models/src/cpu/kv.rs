//! Memory of the KV cache: address space for every possible block, pages only for those in use. Which block belongs to
//! whom is not known here.

use bandmaster_kernels::{BLOCK_TOKENS, KvLayer, KvShape};
use memmap2::{MmapMut, MmapOptions};

use crate::batch::BlockCopy;

/// A multiple of every page size in use except 64 KiB. There, a block may share pages with its neighbours, and the
/// system decides whether its memory can be given back.
const PAGE_BYTES: usize = 4096;
const ELEMENT_BYTES: usize = size_of::<u16>();

/// All blocks of one model. A block holds 16 tokens of all layers, layer by layer.
pub(super) struct KvPool {
    map: MmapMut,
    shape: KvShape,
    layers: usize,
    block_bytes: usize,
    /// Indexed by block: whether its memory may be in use.
    committed: Vec<bool>,
}

impl KvPool {
    /// Bytes of a block over all layers, as whole pages. `None` when the size overflows.
    pub(super) fn bytes_of_block(shape: KvShape, layers: usize) -> Option<usize> {
        // Half precision takes the most space, so if this does not overflow, nothing below does.
        let most = [shape.kv_heads, shape.head_dim, BLOCK_TOKENS, 2 * ELEMENT_BYTES];
        most.into_iter().try_fold(layers, usize::checked_mul)?.checked_next_multiple_of(PAGE_BYTES)?;
        Some((layers * shape.layer_elems() * ELEMENT_BYTES).next_multiple_of(PAGE_BYTES))
    }

    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Reserves address space for `blocks` blocks without taking memory.
    pub(super) fn reserve(shape: KvShape, layers: usize, blocks: usize) -> std::io::Result<KvPool> {
        let sizes = Self::bytes_of_block(shape, layers).map(|bytes| (bytes, bytes.checked_mul(blocks)));
        let Some((block_bytes, Some(bytes))) = sizes else {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        };
        let map = MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?;
        Ok(KvPool { map, shape, layers, block_bytes, committed: vec![false; blocks] })
    }

    pub(super) fn blocks(&self) -> usize {
        self.committed.len()
    }

    /// Where `layer` lies in every block.
    pub(super) fn layer(&self, layer: usize) -> KvLayer {
        KvLayer {
            shape: self.shape,
            block_stride_elems: self.block_bytes / ELEMENT_BYTES,
            offset_elems: layer * self.shape.layer_elems(),
        }
    }

    pub(super) fn elements(&self) -> &[u16] {
        // SAFETY: the map is page-aligned, lives as long as `self`, is borrowed with it, and any bits are a valid u16.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.map.len() / ELEMENT_BYTES) }
    }

    pub(super) fn elements_mut(&mut self) -> &mut [u16] {
        // SAFETY: as in `elements`, and `self` is borrowed mutably as long as the slice lives.
        unsafe {
            std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.map.len() / ELEMENT_BYTES)
        }
    }

    /// Marks `block` as used. Its pages are taken when they are first written.
    pub(super) fn commit_block(&mut self, block: u32) {
        self.committed[block as usize] = true;
    }

    /// Gives the pages of `block` back.
    pub(super) fn decommit_block(&mut self, block: u32) {
        if std::mem::replace(&mut self.committed[block as usize], false) {
            self.discard(block as usize * self.block_bytes);
        }
    }

    #[cfg(unix)]
    fn discard(&mut self, offset: usize) {
        // SAFETY: the range is a block of this private anonymous map, which nobody else sees and which is borrowed
        // mutably. Afterwards it reads as zeros, which are valid elements. Where pages are larger than a block's
        // alignment the system refuses, which costs memory but not correctness.
        let _ = unsafe {
            self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, self.block_bytes)
        };
    }

    #[cfg(not(unix))]
    fn discard(&mut self, _offset: usize) {}

    /// Copies leading tokens from one block to another. The whole block is copied: what lies behind the tokens is
    /// written before it is read, and one sequential copy is faster than one per head.
    pub(super) fn copy(&mut self, copy: BlockCopy) {
        debug_assert!(copy.tokens <= BLOCK_TOKENS);
        let used = self.shape.layer_elems() * self.layers * ELEMENT_BYTES;
        let from = copy.from as usize * self.block_bytes;
        self.map.copy_within(from..from + used, copy.to as usize * self.block_bytes);
    }
}

//! Read-only views of how blocks are used.

use super::{Blocks, ModelId, PoolStats, Prefix};

impl Blocks {
    #[must_use]
    pub fn pool_stats(&self, model: ModelId) -> PoolStats {
        let pool = &self.pools[model.0 as usize];
        PoolStats {
            held: pool.held,
            cached: pool.cached.len(),
            empty: pool.empty.len(),
            block_bytes: pool.block_bytes,
        }
    }

    /// Bytes of all blocks that have memory.
    #[must_use]
    pub fn bytes_resident(&self) -> usize {
        self.bytes_resident
    }

    /// Bytes of the blocks that tables hold.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.bytes_held
    }

    /// Bytes that all blocks together may take.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The computed tokens of `block`.
    #[must_use]
    pub fn known_tokens(&self, model: ModelId, block: u32) -> &[u32] {
        let entry = &self.pools[model.0 as usize].blocks[block as usize];
        &entry.tokens[..entry.filled as usize]
    }

    #[must_use]
    pub fn parent(&self, model: ModelId, block: u32) -> Prefix {
        self.pools[model.0 as usize].blocks[block as usize].parent
    }

    #[must_use]
    pub fn refs(&self, model: ModelId, block: u32) -> u32 {
        self.pools[model.0 as usize].blocks[block as usize].refs
    }
}

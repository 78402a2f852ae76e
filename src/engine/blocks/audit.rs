//! Recomputes the block accounts and compares them.

use super::{BLOCK_TOKENS, Blocks, ModelId, Prefix};
use crate::audit::hold;

impl Blocks {
    /// Compares the lists with the blocks. `tables` says how many tables hold a block.
    ///
    /// # Errors
    /// Says which account is wrong.
    pub fn audit(&self, tables: impl Fn(ModelId, u32) -> u32) -> Result<(), String> {
        let (mut resident, mut held) = (0, 0);
        for (index, pool) in self.pools.iter().enumerate() {
            let mut pool_held = 0;
            for (id, block) in pool.blocks.iter().enumerate() {
                let id = id as u32;
                let named = tables(ModelId(index as u32), id);
                hold!(
                    block.refs == named,
                    "model {index} block {id}: {} holders, {named} tables",
                    block.refs
                );
                pool_held += usize::from(block.refs > 0);
                let cached = pool.cached.get(&block.eviction_key) == Some(&id);
                let idle = block.refs == 0 && block.filled > 0;
                hold!(
                    cached == idle,
                    "model {index} block {id}: cached {cached}, but idle with tokens {idle}"
                );
                let found = pool.index.get(&block.hash) == Some(&id);
                hold!(
                    found == block.indexed,
                    "model {index} block {id}: indexed {}, found {found}",
                    block.indexed
                );
                let twin = block.filled as usize == BLOCK_TOKENS && !block.indexed;
                let child = pool.children.contains(&(block.parent, id));
                hold!(
                    twin || child == (block.filled > 0),
                    "model {index} block {id}: child of its prefix {child}"
                );
            }
            let empty = pool.empty.iter().chain(&pool.absent).all(|&id| {
                let block = &pool.blocks[id as usize];
                block.refs == 0 && block.filled == 0 && block.parent == Prefix::Empty(0)
            });
            hold!(empty, "model {index}: an empty block is in use");
            let sum = pool_held + pool.cached.len() + pool.empty.len() + pool.absent.len();
            hold!(
                sum == pool.blocks.len(),
                "model {index}: {sum} of {} blocks accounted for",
                pool.blocks.len()
            );
            hold!(pool_held == pool.held, "model {index}: {pool_held} blocks held, {} counted", pool.held);
            resident += (pool.blocks.len() - pool.absent.len()) * pool.block_bytes;
            held += pool_held * pool.block_bytes;
        }
        hold!(resident == self.bytes_resident, "{resident} bytes resident, {} counted", self.bytes_resident);
        hold!(held == self.bytes_held, "{held} bytes held, {} counted", self.bytes_held);
        hold!(resident <= self.bytes_max, "{resident} bytes resident of {}", self.bytes_max);
        Ok(())
    }
}

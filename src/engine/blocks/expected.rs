//! Which prefixes will be used again, and how soon. A plan knows this; the cache could not guess it. An expectation
//! covers every full block of its prefix, including those computed later.

use std::collections::HashMap;

use super::{BLOCK_TOKENS, Blocks, ExpectedPrefixId, ModelId};
use crate::ExpectedPrefix;
use crate::hash::{chain_hash, root_hash};

/// How near the next use of a block is; larger is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nearness(u32);

impl Nearness {
    /// No expectation covers the block.
    pub(super) const UNEXPECTED: Self = Self(0);

    fn of(steps: u32) -> Self {
        Self(u32::MAX - steps.min(u32::MAX - 1))
    }
}

#[derive(Debug)]
struct Expectation {
    model: ModelId,
    nearness: Nearness,
    /// Hashes of the prefix's full blocks.
    hashes: Vec<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Expectations {
    by_id: HashMap<ExpectedPrefixId, Expectation>,
    /// For each expected block, the nearness of every expectation that covers it.
    uses: HashMap<(ModelId, u64), Vec<Nearness>>,
}

impl Expectations {
    /// Nearness of the full block with this hash.
    pub(super) fn nearness(&self, model: ModelId, hash: u64) -> Nearness {
        let uses = self.uses.get(&(model, hash));
        uses.and_then(|uses| uses.iter().max().copied()).unwrap_or(Nearness::UNEXPECTED)
    }
}

impl Blocks {
    /// Keeps a prefix in preference to others until released. Replaces an expectation with the same id.
    pub fn add_expectation(&mut self, id: ExpectedPrefixId, expected: &ExpectedPrefix) {
        self.end_expectation(id);
        let mut hash = root_hash(expected.cache_salt);
        let (blocks, _) = expected.tokens.as_chunks::<BLOCK_TOKENS>();
        let hashes = blocks.iter().map(|block| {
            hash = chain_hash(hash, block);
            hash
        });
        let expectation = Expectation {
            model: expected.model,
            nearness: Nearness::of(expected.steps),
            hashes: hashes.collect(),
        };
        let expectations = &mut self.expectations;
        for &hash in &expectation.hashes {
            expectations.uses.entry((expectation.model, hash)).or_default().push(expectation.nearness);
        }
        self.reorder(expectation.model, &expectation.hashes);
        self.expectations.by_id.insert(id, expectation);
    }

    /// Ends an expectation. Unknown ids are ignored.
    pub fn end_expectation(&mut self, id: ExpectedPrefixId) {
        let expectations = &mut self.expectations;
        let Some(expectation) = expectations.by_id.remove(&id) else { return };
        for &hash in &expectation.hashes {
            let key = (expectation.model, hash);
            if let Some(uses) = expectations.uses.get_mut(&key) {
                let index = uses.iter().position(|&nearness| nearness == expectation.nearness);
                index.map(|index| uses.swap_remove(index));
                if uses.is_empty() {
                    expectations.uses.remove(&key);
                }
            }
        }
        self.reorder(expectation.model, &expectation.hashes);
    }

    /// Bytes of cached blocks that are expected to be used again.
    #[must_use]
    pub fn bytes_expected(&self) -> usize {
        let expected = (Nearness(Nearness::UNEXPECTED.0 + 1), 0)..;
        self.pools.iter().map(|pool| pool.cached.range(expected.clone()).count() * pool.block_bytes).sum()
    }

    /// Moves cached blocks to their new places in the order of eviction.
    fn reorder(&mut self, model: ModelId, hashes: &[u64]) {
        let pool = &mut self.pools[model.0 as usize];
        for &hash in hashes {
            let Some(&id) = pool.index.get(&hash) else { continue };
            let block = &mut pool.blocks[id as usize];
            if block.refs == 0 {
                pool.cached.remove(&block.eviction_key);
                block.eviction_key.0 = self.expectations.nearness(model, hash);
                pool.cached.insert(block.eviction_key, id);
            }
        }
    }
}

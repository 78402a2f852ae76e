//! Which prefixes will be used again, and how soon. A plan knows this; the cache could not guess it. An expectation
//! covers every full block of its prefix, including those computed later.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::{BLOCK_TOKENS, Blocks, ExpectedId, ModelId};
use crate::Expected;
use crate::hash::{chain_hash, root_hash};

/// How near the next use of a block is; larger is nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nearness(u32);

impl Nearness {
    /// No expectation covers the block.
    pub const UNEXPECTED: Self = Self(0);

    fn of(steps: u32) -> Self {
        Self(u32::MAX - steps.min(u32::MAX - 1))
    }
}

#[derive(Debug)]
struct Standing {
    model: ModelId,
    nearness: Nearness,
    /// Hashes of the prefix's full blocks.
    hashes: Vec<u64>,
    until: Option<Duration>,
}

#[derive(Debug, Default)]
pub struct Expectations {
    standing: HashMap<ExpectedId, Standing>,
    /// For each expected block, the nearness of every expectation that covers it.
    uses: HashMap<(ModelId, u64), Vec<Nearness>>,
    ends: BTreeSet<(Duration, ExpectedId)>,
}

impl Expectations {
    /// Nearness of the full block with this hash.
    pub fn nearness(&self, model: ModelId, hash: u64) -> Nearness {
        let uses = self.uses.get(&(model, hash));
        uses.and_then(|uses| uses.iter().max().copied()).unwrap_or(Nearness::UNEXPECTED)
    }
}

impl Blocks {
    /// Keeps a prefix in preference to others until released or expired. Replaces an expectation with the same id.
    pub fn expect(&mut self, id: ExpectedId, expected: &Expected, now: Duration) {
        self.unexpect(id);
        let mut hash = root_hash(expected.cache_salt);
        let (blocks, _) = expected.tokens.as_chunks::<BLOCK_TOKENS>();
        let hashes = blocks.iter().map(|block| {
            hash = chain_hash(hash, block);
            hash
        });
        let standing = Standing {
            model: expected.model,
            nearness: Nearness::of(expected.steps),
            hashes: hashes.collect(),
            until: expected.for_at_most.and_then(|time| now.checked_add(time)),
        };
        let expectations = &mut self.expectations;
        expectations.ends.extend(standing.until.map(|until| (until, id)));
        for &hash in &standing.hashes {
            expectations.uses.entry((standing.model, hash)).or_default().push(standing.nearness);
        }
        self.reorder(standing.model, &standing.hashes);
        self.expectations.standing.insert(id, standing);
    }

    /// Ends an expectation. Unknown ids are ignored.
    pub fn unexpect(&mut self, id: ExpectedId) {
        let expectations = &mut self.expectations;
        let Some(standing) = expectations.standing.remove(&id) else { return };
        if let Some(until) = standing.until {
            expectations.ends.remove(&(until, id));
        }
        for &hash in &standing.hashes {
            let key = (standing.model, hash);
            if let Some(uses) = expectations.uses.get_mut(&key) {
                let place = uses.iter().position(|&nearness| nearness == standing.nearness);
                place.map(|place| uses.swap_remove(place));
                if uses.is_empty() {
                    expectations.uses.remove(&key);
                }
            }
        }
        self.reorder(standing.model, &standing.hashes);
    }

    pub fn expire(&mut self, now: Duration) {
        while let Some(&(until, id)) = self.expectations.ends.first() {
            if until > now {
                return;
            }
            self.unexpect(id);
        }
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
                pool.cached.remove(&block.turn);
                block.turn.0 = self.expectations.nearness(model, hash);
                pool.cached.insert(block.turn, id);
            }
        }
    }
}

//! Hands out cache blocks and takes them back. All models share one byte budget, and prefixes are shared. Blocks that
//! no plan expects are evicted first, the least recently used before others; then expected ones, the furthest next use
//! first. A block is a number; what lies behind it, and on which device, is not known here.
//!
//! A block is *held* while a table names it, *cached* when no table does but its tokens may be wanted again, and
//! *empty* when it only has memory. Blocks whose tokens are known are children of the prefix they continue. Full ones
//! are found by the chained hash of their tokens, half-full ones by walking the children of a prefix.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bandmaster_models::BLOCK_TOKENS;

use super::{ExpectedPrefixId, ModelId};

mod accounts;
mod audit;
mod expected;

use expected::{Expectations, Nearness};

/// How many children of a prefix are compared before giving up.
const PARTIAL_CANDIDATES_MAX: usize = 32;

/// What a block continues. The content of a full block gets a number that is never reused, so parents are compared
/// exactly and not by hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    /// Nothing; the number is the cache salt.
    Empty(u64),
    /// The full block content with this number.
    Content(u64),
}

/// A block got or lost its memory. The model must be told before its next forward pass, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidencyChange {
    pub model: ModelId,
    pub block: u32,
    pub resident: bool,
}

#[derive(Debug, Clone)]
struct Block {
    /// Tables that hold it, and copies that read it within the running step.
    refs: u32,
    /// Leading tokens that are computed.
    filled: u8,
    /// Whether `index` finds it by its hash. A full block that is not indexed is a twin of one that is.
    indexed: bool,
    /// Number of a full block's content, shared with its twins.
    content: u64,
    parent: Prefix,
    hash: u64,
    /// Its key in `cached` while nobody holds it.
    eviction_key: EvictionKey,
    tokens: [u32; BLOCK_TOKENS],
}

impl Block {
    const NEW: Self = Self {
        refs: 0,
        filled: 0,
        indexed: false,
        content: 0,
        parent: Prefix::Empty(0),
        hash: 0,
        eviction_key: (Nearness::UNEXPECTED, 0),
        tokens: [0; BLOCK_TOKENS],
    };
}

/// Order of eviction: how near the next use is, then when the block was given back. The smallest is evicted first.
type EvictionKey = (Nearness, u64);

#[derive(Debug, Default)]
struct Pool {
    block_bytes: usize,
    blocks_max: usize,
    /// Indexed by block id. Grows when an id is used for the first time.
    blocks: Vec<Block>,
    /// Ids used before that have no memory now.
    absent: Vec<u32>,
    /// Ids with memory and nothing worth keeping.
    empty: Vec<u32>,
    /// Full blocks by the hash of their whole prefix.
    index: HashMap<u64, u32>,
    /// Blocks with known tokens, full or not, by what they continue.
    children: BTreeSet<(Prefix, u32)>,
    /// Cached blocks in the order of eviction.
    cached: BTreeMap<EvictionKey, u32>,
    held: usize,
}

/// How the blocks of one model are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    pub held: usize,
    /// Held by no table, but their tokens may be wanted again.
    pub cached: usize,
    /// With memory, without content.
    pub empty: usize,
    pub block_bytes: usize,
}

#[derive(Debug)]
pub struct Blocks {
    bytes_max: usize,
    bytes_resident: usize,
    bytes_held: usize,
    pools: Vec<Pool>,
    contents: u64,
    stamps: u64,
    expectations: Expectations,
    /// Changes that the models have not been told yet.
    pub residency_changes: Vec<ResidencyChange>,
}

impl Blocks {
    /// Without models. `bytes_max` bounds the memory of all blocks together.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes_resident: 0,
            bytes_held: 0,
            pools: Vec::new(),
            contents: 0,
            stamps: 0,
            expectations: Expectations::default(),
            residency_changes: Vec::new(),
        }
    }

    /// Adds a model's pool. Pools are numbered like models.
    pub fn add_pool(&mut self, block_bytes: usize, blocks_max: usize) {
        self.pools.push(Pool { block_bytes, blocks_max, ..Pool::default() });
    }

    /// Forgets all blocks of a model whose memory is gone. Panics if a table holds one.
    pub fn empty_pool(&mut self, model: ModelId, block_bytes: usize, blocks_max: usize) {
        let pool = &mut self.pools[model.0 as usize];
        assert_eq!(pool.held, 0, "blocks of a model that leaves are held");
        self.bytes_resident -= (pool.blocks.len() - pool.absent.len()) * pool.block_bytes;
        *pool = Pool { block_bytes, blocks_max, ..Pool::default() };
        self.residency_changes.retain(|change| change.model != model);
    }

    /// Changes the byte budget; cached blocks are evicted to fit. It must cover the blocks that tables hold.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        assert!(bytes_max >= self.bytes_held, "tables hold more than there may be");
        self.bytes_max = bytes_max;
        while self.bytes_resident > bytes_max && self.reclaim(None) {}
    }

    /// Blocks of `model` that can be allocated without preempting a sequence.
    #[must_use]
    pub fn available(&self, model: ModelId) -> usize {
        let pool = &self.pools[model.0 as usize];
        ((self.bytes_max - self.bytes_held) / pool.block_bytes).min(pool.blocks_max - pool.held)
    }

    #[must_use]
    pub fn block_bytes(&self, model: ModelId) -> usize {
        self.pools[model.0 as usize].block_bytes
    }

    /// Allocates a block, held once. Evicts a cached one of any model if need be. `None` when tables hold everything.
    pub fn alloc(&mut self, model: ModelId) -> Option<u32> {
        loop {
            let pool = &mut self.pools[model.0 as usize];
            if let Some(block) = pool.empty.pop() {
                self.hold(model, block);
                return Some(block);
            }
            let bytes = pool.block_bytes;
            let has_absent = !pool.absent.is_empty() || pool.blocks.len() < pool.blocks_max;
            if has_absent && self.bytes_resident + bytes <= self.bytes_max {
                let block = pool.absent.pop().unwrap_or_else(|| {
                    pool.blocks.push(Block::NEW);
                    (pool.blocks.len() - 1) as u32
                });
                self.bytes_resident += bytes;
                self.residency_changes.push(ResidencyChange { model, block, resident: true });
                self.hold(model, block);
                return Some(block);
            }
            if !self.reclaim((!has_absent).then_some(model)) {
                return None;
            }
        }
    }

    /// Makes a little room: frees the memory of an empty block, or evicts the next cached one. With `only`, evicts a
    /// block of that model, where memory freed elsewhere does not help.
    fn reclaim(&mut self, only: Option<ModelId>) -> bool {
        let places =
            || (0..self.pools.len()).filter(|&index| only.is_none_or(|only| only.0 as usize == index));
        if only.is_none()
            && let Some(index) = places().find(|&index| !self.pools[index].empty.is_empty())
        {
            let pool = &mut self.pools[index];
            let block = pool.empty.pop().expect("found not empty above");
            pool.absent.push(block);
            self.bytes_resident -= pool.block_bytes;
            self.residency_changes.push(ResidencyChange {
                model: ModelId(index as u32),
                block,
                resident: false,
            });
            return true;
        }
        let first = |index: usize| {
            self.pools[index].cached.first_key_value().map(|(&eviction_key, _)| (eviction_key, index))
        };
        let Some((eviction_key, index)) = places().filter_map(first).min() else { return false };
        self.pools[index].forget(eviction_key);
        true
    }

    /// Holds a block, e.g. one that `find_full` or `find_partial` found.
    pub fn hold(&mut self, model: ModelId, block: u32) {
        let pool = &mut self.pools[model.0 as usize];
        let entry = &mut pool.blocks[block as usize];
        entry.refs += 1;
        if entry.refs == 1 {
            pool.cached.remove(&entry.eviction_key);
            pool.held += 1;
            self.bytes_held += pool.block_bytes;
        }
    }

    /// Gives a block back. Tables are given back from their end, so that a prefix's tail is evicted before its head.
    pub fn release(&mut self, model: ModelId, block: u32) {
        let pool = &mut self.pools[model.0 as usize];
        let entry = &mut pool.blocks[block as usize];
        entry.refs -= 1;
        if entry.refs > 0 {
            return;
        }
        pool.held -= 1;
        self.bytes_held -= pool.block_bytes;
        let is_twin = entry.filled as usize == BLOCK_TOKENS && !entry.indexed;
        if entry.filled == 0 || is_twin {
            pool.clear(block);
        } else {
            self.stamps += 1;
            let nearness = if entry.indexed {
                self.expectations.nearness(model, entry.hash)
            } else {
                Nearness::UNEXPECTED
            };
            entry.eviction_key = (nearness, self.stamps);
            pool.cached.insert(entry.eviction_key, block);
        }
    }

    /// The full block that continues `prefix` with exactly `tokens`. `hash` covers the prefix and the tokens.
    #[must_use]
    pub fn find_full(&self, model: ModelId, prefix: Prefix, hash: u64, tokens: &[u32]) -> Option<u32> {
        let pool = &self.pools[model.0 as usize];
        let block = *pool.index.get(&hash)?;
        let entry = &pool.blocks[block as usize];
        (entry.parent == prefix && entry.tokens == tokens).then_some(block)
    }

    /// The block continuing `prefix` that shares the most leading tokens with `tokens`, and how many.
    #[must_use]
    pub fn find_partial(&self, model: ModelId, prefix: Prefix, tokens: &[u32]) -> Option<(u32, usize)> {
        let pool = &self.pools[model.0 as usize];
        let candidates = pool.children.range((prefix, 0)..=(prefix, u32::MAX)).take(PARTIAL_CANDIDATES_MAX);
        let agreeing = |&(_, block): &(Prefix, u32)| {
            let entry = &pool.blocks[block as usize];
            let known = &entry.tokens[..entry.filled as usize];
            (block, known.iter().zip(tokens).take_while(|(a, b)| a == b).count())
        };
        candidates.map(agreeing).filter(|&(_, tokens)| tokens > 0).max_by_key(|&(_, tokens)| tokens)
    }

    /// The prefix that a full block ends.
    #[must_use]
    pub fn prefix_of(&self, model: ModelId, block: u32) -> Prefix {
        Prefix::Content(self.pools[model.0 as usize].blocks[block as usize].content)
    }

    /// Records that the leading `tokens` of a held block are computed. `hash` covers prefix and block, for a full one.
    pub fn fill(&mut self, model: ModelId, block: u32, prefix: Prefix, tokens: &[u32], hash: u64) {
        let pool = &mut self.pools[model.0 as usize];
        let entry = &mut pool.blocks[block as usize];
        let before = entry.filled as usize;
        if tokens.len() <= before {
            return;
        }
        entry.tokens[before..tokens.len()].copy_from_slice(&tokens[before..]);
        entry.filled = tokens.len() as u8;
        if before == 0 {
            entry.parent = prefix;
            pool.children.insert((prefix, block));
        }
        if tokens.len() < BLOCK_TOKENS {
            return;
        }
        entry.hash = hash;
        let earlier = pool.index.get(&hash).copied();
        if let Some(twin) = earlier.map(|block| &pool.blocks[block as usize])
            && twin.parent == prefix
            && twin.tokens == tokens
        {
            let content = twin.content;
            pool.blocks[block as usize].content = content;
            pool.children.remove(&(prefix, block));
            return;
        }
        if let Some(other) = earlier {
            pool.blocks[other as usize].indexed = false;
        }
        self.contents += 1;
        let entry = &mut pool.blocks[block as usize];
        entry.content = self.contents;
        entry.indexed = true;
        pool.index.insert(hash, block);
    }

    /// Forgets the contents of all cached blocks of `model`, which can't be trusted after a failure.
    pub fn forget_cached(&mut self, model: ModelId) {
        let pool = &mut self.pools[model.0 as usize];
        while let Some((&eviction_key, _)) = pool.cached.first_key_value() {
            pool.forget(eviction_key);
        }
    }
}

impl Pool {
    fn forget(&mut self, eviction_key: EvictionKey) {
        let block = self.cached.remove(&eviction_key).expect("the key was read from this map");
        self.clear(block);
    }

    /// Empties a block that nobody holds.
    fn clear(&mut self, block: u32) {
        let entry = &mut self.blocks[block as usize];
        if entry.indexed {
            self.index.remove(&entry.hash);
        }
        if entry.filled > 0 {
            self.children.remove(&(entry.parent, block));
        }
        *entry = Block::NEW;
        self.empty.push(block);
    }
}

//! What a sequence need not compute: full blocks in the cache, the matching part of a half-full block, and what another
//! sequence computes in the same step. The rest of the plan is not known here.

use std::collections::HashSet;

use bandmaster_models::BlockCopy;

use super::hash::chain_hash;
use super::{BLOCK_TOKENS, Core};

/// Leading tokens of a block that must match before a sequence waits for another to compute them.
const AWAITED_TOKENS_MIN: usize = 4;

/// Hashes of the beginnings of blocks that the planned step computes. Sequences that need the same ones wait a step.
#[derive(Debug, Default)]
pub(crate) struct PlannedPrefixes(HashSet<u64>);

impl PlannedPrefixes {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Core {
    /// Attaches the cached full blocks that continue the sequence.
    pub(super) fn attach_cached(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        let model = sequence.model;
        while sequence.computed == sequence.table.len() * BLOCK_TOKENS {
            let end = sequence.computed + BLOCK_TOKENS;
            if end > sequence.cacheable_tokens() {
                return;
            }
            let hash = sequence.prefix_hash(end / BLOCK_TOKENS);
            let last = sequence.table.last();
            let prefix = last.map_or(sequence.root(), |&block| self.blocks.prefix_of(model, block));
            let tokens = &sequence.tokens[sequence.computed..end];
            let Some(block) = self.blocks.find_full(model, prefix, hash, tokens) else { return };
            self.blocks.hold(model, block);
            sequence.table.push(block);
            self.stats.cached_tokens += sequence.add_cached(BLOCK_TOKENS) as u64;
        }
    }

    /// Counts the leading tokens that full cached blocks could supply to a new sequence, without taking the blocks.
    pub(super) fn count_cached(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        let (model, mut prefix, mut cached) = (sequence.model, sequence.root(), 0);
        while cached + BLOCK_TOKENS <= sequence.cacheable_tokens() {
            let hash = sequence.prefix_hash(cached / BLOCK_TOKENS + 1);
            let tokens = &sequence.tokens[cached..cached + BLOCK_TOKENS];
            let Some(block) = self.blocks.find_full(model, prefix, hash, tokens) else { break };
            prefix = self.blocks.prefix_of(model, block);
            cached += BLOCK_TOKENS;
        }
        sequence.params.cached_tokens = cached;
    }

    /// Plans to copy the part of another block that matches the sequence's next tokens.
    pub(super) fn copy_partial_block(&mut self, slot: u32) {
        let sequence = &mut self.sequences[slot];
        let (model, start) = (sequence.model, sequence.computed);
        let end = sequence.cacheable_tokens().min(start + BLOCK_TOKENS - 1);
        if start != sequence.table.len() * BLOCK_TOKENS || end <= start {
            return;
        }
        let last = sequence.table.last();
        let prefix = last.map_or(sequence.root(), |&block| self.blocks.prefix_of(model, block));
        let found = self.blocks.find_partial(model, prefix, &sequence.tokens[start..end]);
        let Some((from, tokens)) = found else { return };
        // Held until the step ends, so that allocating the target can't evict the source.
        self.blocks.hold(model, from);
        let Some(to) = self.blocks.alloc(model) else {
            self.blocks.release(model, from);
            return;
        };
        sequence.table.push(to);
        self.stats.cached_tokens += sequence.add_cached(tokens) as u64;
        self.plan.copies.push((slot, BlockCopy { from, to, tokens }));
    }

    /// Drops the planned copies of a sequence that was taken out of the step.
    pub(super) fn drop_copies_for(&mut self, slot: u32) {
        let (blocks, model) = (&mut self.blocks, self.plan.model);
        self.plan.copies.retain(|&(owner, copy)| {
            if owner == slot {
                blocks.release(model, copy.from);
            }
            owner != slot
        });
    }

    /// Whether another sequence computes the start of this one's next block in the same step.
    pub(super) fn is_planned_elsewhere(&mut self, slot: u32) -> bool {
        let sequence = &mut self.sequences[slot];
        let start = sequence.computed;
        let at_block = start == sequence.table.len() * BLOCK_TOKENS;
        if self.planned_prefixes.0.is_empty()
            || !at_block
            || sequence.cacheable_tokens() < start + AWAITED_TOKENS_MIN
        {
            return false;
        }
        let prefix = sequence.prefix_hash(start / BLOCK_TOKENS);
        self.planned_prefixes
            .0
            .contains(&chain_hash(prefix, &sequence.tokens[start..start + AWAITED_TOKENS_MIN]))
    }

    /// Notes the blocks whose start is known once `tokens` more are computed.
    pub(super) fn note_planned_prefixes(&mut self, slot: u32, tokens: usize) {
        let sequence = &mut self.sequences[slot];
        let end = sequence.computed + tokens;
        let mut first = sequence.computed / BLOCK_TOKENS * BLOCK_TOKENS;
        while tokens > 0 && first + AWAITED_TOKENS_MIN <= end {
            let prefix = sequence.prefix_hash(first / BLOCK_TOKENS);
            let start = &sequence.tokens[first..first + AWAITED_TOKENS_MIN];
            self.planned_prefixes.0.insert(chain_hash(prefix, start));
            first += BLOCK_TOKENS;
        }
    }
}

//! Recomputes all accounts and compares them. Simulations call this after every step.

use std::collections::HashMap;

use super::model_state::ModelState;
use super::{BLOCK_TOKENS, Core, ModelId};

macro_rules! hold {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}
pub(super) use hold;

impl Core {
    /// Compares every count and list with what it stands for, between steps. Its time is linear in blocks and tokens.
    ///
    /// # Errors
    /// Says what does not add up, which is always a bug in the engine.
    pub fn audit(&self) -> Result<(), String> {
        let mut tables: HashMap<(ModelId, u32), u32> = HashMap::new();
        for (slot, sequence) in self.sequences.iter() {
            let (id, model, computed) = (sequence.id, sequence.model, sequence.computed);
            hold!(self.by_id.get(&id) == Some(&slot), "{id:?} is not found by its id");
            hold!(computed < sequence.tokens.len(), "{id:?} wants nothing");
            let blocks = computed.div_ceil(BLOCK_TOKENS);
            hold!(
                sequence.table.len() == blocks,
                "{id:?}: {computed} tokens, {} blocks",
                sequence.table.len()
            );
            let mut prefix = sequence.root();
            for (&block, tokens) in
                sequence.table.iter().zip(sequence.tokens[..computed].chunks(BLOCK_TOKENS))
            {
                *tables.entry((model, block)).or_default() += 1;
                let known = self.blocks.known_tokens(model, block);
                hold!(known == tokens, "{id:?}: block {block} holds {known:?}, not {tokens:?}");
                hold!(
                    self.blocks.parent(model, block) == prefix,
                    "{id:?}: block {block} continues another prefix"
                );
                let shared = self.blocks.refs(model, block) > 1;
                hold!(!shared || tokens.len() == BLOCK_TOKENS, "{id:?}: block {block} is shared half full");
                prefix = self.blocks.prefix_of(model, block);
            }
        }
        self.audit_orders()?;
        self.audit_memory()?;
        self.blocks.audit(|model, block| tables.get(&(model, block)).copied().unwrap_or(0))
    }

    fn audit_memory(&self) -> Result<(), String> {
        let in_memory = self.models.iter().filter(|entry| !matches!(entry.state, ModelState::Unloaded));
        let weights: usize = in_memory.map(|entry| entry.info.weight_bytes).sum();
        let (blocks, most) = (self.blocks.bytes_resident(), self.config.memory_bytes_max);
        hold!(weights + blocks <= most, "{weights} bytes of weights and {blocks} of blocks, of {most}");
        for (index, entry) in self.models.iter().enumerate() {
            let held = self.blocks.pool_stats(ModelId(index as u32)).held;
            let loaded = matches!(entry.state, ModelState::Loaded(_));
            hold!(loaded || held == 0, "model {index} is not loaded and holds {held} blocks");
        }
        Ok(())
    }

    fn audit_orders(&self) -> Result<(), String> {
        let mut listed = 0;
        for (index, entry) in self.models.iter().enumerate() {
            let ranks = || entry.queue.iter().map(|&slot| self.sequences[slot].rank);
            hold!(ranks().is_sorted(), "model {index}: sequences out of order");
            let own = entry.queue.iter().all(|&slot| self.sequences[slot].model.0 as usize == index);
            hold!(own, "model {index} lists a sequence of another");
            listed += entry.queue.len();
        }
        let live = self.sequences.iter().count();
        hold!(
            listed == live && self.by_id.len() == live,
            "{live} live, {listed} listed, {} by id",
            self.by_id.len()
        );
        self.jobs.audit()?;
        let timed = self.sequences.iter().filter(|(_, s)| s.params.deadline.is_some()).count();
        let timed = timed + self.jobs.deadlines();
        hold!(timed == self.deadlines.len(), "{timed} deadlines, {} listed", self.deadlines.len());
        Ok(())
    }
}

//! The trait through which the engine uses a model, whatever runs it.

use crate::batch::Batch;
use crate::error::ForwardError;

/// What the engine needs to know about a model to plan memory and steps.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// `general.architecture` of the file, e.g. `qwen2`.
    pub architecture: String,
    /// Rows of the output matrix, which is the number of logits per row.
    pub vocab: usize,
    /// Longest context in tokens: the model's own limit, or a lower one set in the options.
    pub context_tokens_max: usize,
    /// Bytes of one cache block (16 tokens, all layers), a multiple of the page size.
    pub kv_block_bytes: usize,
    /// Blocks for which address space is reserved; block ids are `0..kv_blocks_max`.
    pub kv_blocks_max: usize,
    /// Bytes of the weights in memory.
    pub weight_bytes: usize,
    /// Number of weights in the model's file.
    pub parameters: u64,
}

/// Receives one wanted row: its index in [`Batch::rows`] and its logits, which it may change. Called from several
/// threads at once, for each row once.
pub type OnRow<'a> = &'a (dyn Fn(usize, &mut [f32]) + Sync);

/// A decoder that computes rows of logits from batches and keeps keys and values in numbered blocks.
pub trait Model: Send {
    /// The model's sizes and limits.
    fn info(&self) -> &ModelInfo;
    /// Runs one step: first the block copies, then all spans, then the logits of the wanted rows.
    ///
    /// # Errors
    /// [`ForwardError`] when the batch can't be run. The model stays usable.
    fn forward(&mut self, batch: &Batch, on_row: OnRow<'_>) -> Result<(), ForwardError>;
    /// Says that `block` will be used, so that its memory may be taken now.
    fn commit_block(&mut self, block: u32);
    /// Gives the memory of `block` back; its contents are lost.
    fn decommit_block(&mut self, block: u32);
}

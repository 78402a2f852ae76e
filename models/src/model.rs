//! The trait behind which every way of running a model stands: the engine knows a model by this alone.

use crate::batch::Batch;
use crate::error::ForwardError;

/// What the engine must know of a model to plan memory and steps.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// `general.architecture` of the file, e.g. `qwen2`.
    pub architecture: String,
    /// Rows of the output matrix: logits per row.
    pub vocab: usize,
    /// Longest context the model was made for, in tokens.
    pub context_tokens_max: usize,
    /// Bytes one cache block of 16 tokens takes over all layers, a multiple of the page size.
    pub kv_block_bytes: usize,
    /// Blocks for which address space is reserved; block ids are `0..kv_blocks_max`.
    pub kv_blocks_max: usize,
    /// Bytes of the weights in memory.
    pub weight_bytes: usize,
    /// Number of weights.
    pub parameters: u64,
}

/// Receives one wanted row: its place in [`Batch::rows`] and its logits, which it may change. Called from several
/// threads at once, each row once.
pub type OnRow<'a> = &'a (dyn Fn(usize, &mut [f32]) + Sync);

/// A decoder that computes rows of logits from batches and keeps keys and values in numbered blocks.
pub trait Model: Send {
    /// Sizes and limits.
    fn info(&self) -> &ModelInfo;
    /// Runs one step: block copies, then all spans, then logits of the wanted rows.
    ///
    /// # Errors
    /// [`ForwardError`] when the batch cannot be run; the model stays usable.
    fn forward(&mut self, batch: &Batch, on_row: OnRow<'_>) -> Result<(), ForwardError>;
    /// Says that `block` will be used: its memory may be taken now.
    fn commit(&mut self, block: u32);
    /// Gives the memory of `block` back; what it held is lost.
    fn decommit(&mut self, block: u32);
}

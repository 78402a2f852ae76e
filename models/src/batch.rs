//! What a model is asked to compute in one step: plain data, and the only door into a model.
//!
//! Sequences, prompts and requests are not known here; a span is some new tokens with the cache blocks that hold what
//! came before them.

use std::ops::Range;

/// One step's work for one model.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// New token ids of all spans, one span after the other.
    pub tokens: Vec<u32>,
    /// Which of `tokens` belong together, in order, without gaps.
    pub spans: Vec<Span>,
    /// Block ids of all spans; a span names its part.
    pub tables: Vec<u32>,
    /// Cache blocks to copy before anything is computed (forks, half-full blocks).
    pub copies: Vec<BlockCopy>,
    /// Indices into `tokens` whose logits are wanted, ascending.
    pub rows: Vec<u32>,
}

/// The new tokens of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Part of [`Batch::tokens`]; never empty.
    pub tokens: Range<usize>,
    /// Tokens computed before this step: the position of the first new token.
    pub context: usize,
    /// Part of [`Batch::tables`]: entry `i` holds tokens `16 i .. 16 i + 16`; covers `context + tokens.len()`.
    pub table: Range<usize>,
}

/// Copies the first `tokens` tokens of block `from` to block `to`, in every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCopy {
    /// Block to read.
    pub from: u32,
    /// Block to write.
    pub to: u32,
    /// How many leading tokens of the block.
    pub tokens: usize,
}

impl Batch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.spans.clear();
        self.tables.clear();
        self.copies.clear();
        self.rows.clear();
    }

    /// Appends a span; `table` must cover `context + tokens.len()` tokens.
    pub fn push_span(&mut self, tokens: &[u32], context: usize, table: &[u32]) {
        let first = self.tokens.len();
        let first_block = self.tables.len();
        self.tokens.extend_from_slice(tokens);
        self.tables.extend_from_slice(table);
        self.spans.push(Span {
            tokens: first..self.tokens.len(),
            context,
            table: first_block..self.tables.len(),
        });
    }
}

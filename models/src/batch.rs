//! The work a model computes in one step: plain data, and a model's only input.
//!
//! Sequences, prompts and requests are not known here. A span is some new tokens with the cache blocks of those before.

use std::ops::Range;

use crate::error::ForwardError;

/// The work of one model in one step.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// The new token ids of all spans, back to back.
    pub tokens: Vec<u32>,
    /// Divides `tokens` among the sequences: in order, without gaps.
    pub spans: Vec<Span>,
    /// Block ids of all spans; each span refers to its range.
    pub tables: Vec<u32>,
    /// Cache blocks to copy before anything is computed, to share part of a block.
    pub copies: Vec<BlockCopy>,
    /// Indices into `tokens` whose logits are wanted, ascending.
    pub rows: Vec<u32>,
}

/// The new tokens of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Range in [`Batch::tokens`]; never empty.
    pub tokens: Range<usize>,
    /// Number of tokens computed before this step: the position of the first new token.
    pub context: usize,
    /// Range in [`Batch::tables`]. Entry `i` is the block of tokens `16 i .. 16 i + 16`; together they cover
    /// `context + tokens.len()` tokens.
    pub table: Range<usize>,
}

/// Copies the first `tokens` tokens of block `from` to block `to`, in every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCopy {
    /// Id of the block to read.
    pub from: u32,
    /// Id of the block to write.
    pub to: u32,
    /// Leading tokens of the block to copy, at most 16.
    pub tokens: usize,
}

/// The limits a batch is checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Token ids are below this.
    pub vocab: usize,
    /// Block ids are below this.
    pub blocks: usize,
    /// Most tokens of one sequence, context included.
    pub context_tokens: usize,
    /// Most new tokens, all sequences together.
    pub step_tokens: usize,
    /// Tokens per cache block.
    pub block_tokens: usize,
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

    /// Checks that the batch is consistent and within `limits`.
    ///
    /// # Errors
    /// [`ForwardError::Token`] for an id outside the vocabulary, [`ForwardError::Batch`] for an inconsistent batch.
    pub fn check(&self, limits: &BatchLimits) -> Result<(), ForwardError> {
        let wrong = |what: String| Err(ForwardError::Batch(what));
        if let Some(&token) = self.tokens.iter().find(|&&token| token as usize >= limits.vocab) {
            return Err(ForwardError::Token { token, vocab: limits.vocab });
        }
        if self.tokens.len() > limits.step_tokens {
            return wrong(format!(
                "{} tokens, but a step has at most {}",
                self.tokens.len(),
                limits.step_tokens
            ));
        }
        let in_copies = self.copies.iter().flat_map(|copy| [copy.from, copy.to]);
        if let Some(block) =
            self.tables.iter().copied().chain(in_copies).find(|&block| block as usize >= limits.blocks)
        {
            return wrong(format!("block {block}, but there are only {} blocks", limits.blocks));
        }
        let mut next = 0;
        for span in &self.spans {
            self.check_span(span, next, limits)?;
            next = span.tokens.end;
        }
        if next != self.tokens.len() {
            return wrong(format!("the spans cover only {next} of {} tokens", self.tokens.len()));
        }
        let ascending = self.rows.is_sorted_by(|a, b| a < b);
        match self.rows.last() {
            Some(&row) if row as usize >= next => {
                wrong(format!("wanted row {row}, but the batch has {next} tokens"))
            }
            _ if !ascending => wrong("wanted rows are not ascending".to_owned()),
            _ => Ok(()),
        }
    }

    fn check_span(&self, span: &Span, first: usize, limits: &BatchLimits) -> Result<(), ForwardError> {
        let wrong = |what: String| Err(ForwardError::Batch(what));
        if span.tokens.start != first || span.tokens.is_empty() || span.tokens.end > self.tokens.len() {
            return wrong(format!("a span has tokens {:?}, but the next token is {first}", span.tokens));
        }
        let context = span.context + span.tokens.len();
        if context > limits.context_tokens {
            return wrong(format!(
                "a context of {context} tokens, but at most {} fit",
                limits.context_tokens
            ));
        }
        if span.table.start > span.table.end || span.table.end > self.tables.len() {
            return wrong(format!(
                "a span's table is {:?}, but the tables have {} blocks",
                span.table,
                self.tables.len()
            ));
        }
        if span.table.len() * limits.block_tokens < context {
            return wrong(format!("{} blocks are too few for {context} tokens", span.table.len()));
        }
        Ok(())
    }

    /// Appends a span. `table` must cover `context + tokens.len()` tokens.
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

    /// Appends `tokens` to the last span, whose table must cover them too.
    pub fn extend_span(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
        if let Some(span) = self.spans.last_mut() {
            span.tokens.end = self.tokens.len();
        }
    }
}

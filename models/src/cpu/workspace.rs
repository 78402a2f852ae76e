//! The decoder's scratch memory, allocated once for the largest step. What is computed in it is not known here.

use std::ops::{Deref, DerefMut};

use bandmaster_kernels::{Activations, AttentionScratch, AttentionSpan, KvSlot};

use crate::spec::Spec;

/// Rows of logits that are computed at a time.
pub(super) const LOGIT_ROWS: usize = 64;

/// Floats that start at a cache line, so that each 16 fill one line and threads writing side by side share none.
pub(super) struct Buffer {
    memory: Vec<f32>,
    first: usize,
    len: usize,
}

impl Buffer {
    const LINE_FLOATS: usize = 16;

    fn new(len: usize) -> Buffer {
        let memory = vec![0.0; len + Self::LINE_FLOATS];
        let first = memory.as_ptr().align_offset(Self::LINE_FLOATS * size_of::<f32>());
        Buffer { first: first.min(Self::LINE_FLOATS), memory, len }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.first..self.first + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.first..self.first + self.len]
    }
}

/// Buffers for `step_tokens_max` rows. Pages that no step has needed yet take no memory.
pub(super) struct Workspace {
    /// The residual stream, `width` per row.
    pub x: Buffer,
    /// Queries, `heads · head_dim` per row.
    pub q: Buffer,
    /// The result of attention, sized as `q`.
    pub attended: Buffer,
    /// Keys, `kv_heads · head_dim` per row.
    pub k: Buffer,
    /// Values, sized as `k`.
    pub v: Buffer,
    /// [`LOGIT_ROWS`] rows of `vocab`.
    pub logits: Buffer,
    /// The position of each row in its sequence.
    pub positions: Vec<u32>,
    /// Where each row's k and v are stored.
    pub slots: Vec<KvSlot>,
    /// Quantized rows, the input of a matmul.
    pub activations: Activations,
    /// The MLP's hidden layer, quantized: `mlp_width` per row.
    pub hidden: Activations,
    pub attention: AttentionScratch,
    spans: Vec<AttentionSpan<'static>>,
}

impl Workspace {
    pub(super) fn new(spec: &Spec, step_tokens_max: usize) -> Workspace {
        let rows = |width: usize| Buffer::new(step_tokens_max * width);
        let q_width = spec.heads * spec.head_dim;
        let kv_width = spec.kv_heads * spec.head_dim;
        Workspace {
            x: rows(spec.width),
            q: rows(q_width),
            attended: rows(q_width),
            k: rows(kv_width),
            v: rows(kv_width),
            logits: Buffer::new(LOGIT_ROWS.min(step_tokens_max) * spec.vocab),
            positions: Vec::with_capacity(step_tokens_max),
            slots: Vec::with_capacity(step_tokens_max),
            activations: Activations::new(),
            hidden: Activations::new(),
            attention: AttentionScratch::default(),
            spans: Vec::with_capacity(step_tokens_max),
        }
    }

    /// An empty list of spans whose memory is reused. Return it with [`Workspace::put_spans`].
    pub(super) fn take_spans<'a>(&mut self) -> Vec<AttentionSpan<'a>> {
        with_lifetime(std::mem::take(&mut self.spans))
    }

    pub(super) fn put_spans(&mut self, spans: Vec<AttentionSpan<'_>>) {
        self.spans = with_lifetime(spans);
    }
}

/// Empties a list so that it may hold borrows of another lifetime. Collecting in place keeps its memory.
fn with_lifetime<'b>(mut spans: Vec<AttentionSpan<'_>>) -> Vec<AttentionSpan<'b>> {
    spans.clear();
    spans.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

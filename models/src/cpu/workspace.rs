//! The decoder's scratch memory, made once for the largest step. What is computed in it is not known here.

use std::ops::{Deref, DerefMut};

use bandmaster_kernels::activations::Activations;
use bandmaster_kernels::attention::{AttentionScratch, AttentionSpan, KvSlot};

use crate::spec::Spec;

/// Rows of logits that are held at a time.
pub(super) const LOGIT_ROWS: usize = 64;

/// Floats from the beginning of a cache line on, so that 16 of them never straddle two lines and threads that write side by side
/// share none.
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

/// Buffers of `step_tokens_max` rows. Pages that no step has needed yet take no memory.
pub(super) struct Workspace {
    /// The residual stream, `width` a row.
    pub x: Buffer,
    /// `heads · head_dim` a row.
    pub q: Buffer,
    /// As `q`: attention's results, and q before its norm.
    pub mixed: Buffer,
    /// `kv_heads · head_dim` a row.
    pub k: Buffer,
    /// As `k`: k before its norm.
    pub k_raw: Buffer,
    /// As `k`.
    pub v: Buffer,
    /// [`LOGIT_ROWS`] rows of `vocab`.
    pub logits: Buffer,
    /// A row's position in its sequence.
    pub positions: Vec<u32>,
    /// Where a row's k and v go.
    pub slots: Vec<KvSlot>,
    /// Quantized rows.
    pub activations: Activations,
    /// The same, `mlp_width` a row: what the mlp's first half makes for its second.
    pub hidden: Activations,
    /// Attention's own.
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
            mixed: rows(q_width),
            k: rows(kv_width),
            k_raw: if spec.qk_norm { rows(kv_width) } else { Buffer::new(0) },
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

    /// An empty list of spans that keeps its memory from step to step; hand it back to [`Workspace::put_spans`].
    pub(super) fn take_spans<'a>(&mut self) -> Vec<AttentionSpan<'a>> {
        relabel(std::mem::take(&mut self.spans))
    }

    pub(super) fn put_spans(&mut self, spans: Vec<AttentionSpan<'_>>) {
        self.spans = relabel(spans);
    }
}

/// Empties a list so that it may hold borrows of another lifetime; collecting in place keeps its memory.
fn relabel<'b>(mut spans: Vec<AttentionSpan<'_>>) -> Vec<AttentionSpan<'b>> {
    spans.clear();
    spans.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

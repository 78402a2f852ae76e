//! The decoder's scratch memory, made once for the largest step. What is computed in it is not known here.

use bandmaster_kernels::activations::Activations;
use bandmaster_kernels::attention::{AttentionScratch, AttentionSpan, KvSlot};

use crate::spec::Spec;

/// Rows of logits that are held at a time.
pub(super) const LOGIT_ROWS: usize = 64;

/// Buffers of `step_tokens_max` rows. Pages that no step has needed yet take no memory.
pub(super) struct Workspace {
    /// The residual stream, `width` a row.
    pub x: Vec<f32>,
    /// `heads · head_dim` a row.
    pub q: Vec<f32>,
    /// As `q`: attention's results, and q before its norm.
    pub mixed: Vec<f32>,
    /// `kv_heads · head_dim` a row.
    pub k: Vec<f32>,
    /// As `k`: k before its norm.
    pub k_raw: Vec<f32>,
    /// As `k`.
    pub v: Vec<f32>,
    /// `mlp_width` a row.
    pub gate: Vec<f32>,
    /// As `gate`.
    pub up: Vec<f32>,
    /// [`LOGIT_ROWS`] rows of `vocab`.
    pub logits: Vec<f32>,
    /// A row's position in its sequence.
    pub positions: Vec<u32>,
    /// Where a row's k and v go.
    pub slots: Vec<KvSlot>,
    /// Quantized rows.
    pub activations: Activations,
    /// Attention's own.
    pub attention: AttentionScratch,
    spans: Vec<AttentionSpan<'static>>,
}

impl Workspace {
    pub(super) fn new(spec: &Spec, step_tokens_max: usize) -> Workspace {
        let rows = |width: usize| vec![0.0; step_tokens_max * width];
        let q_width = spec.heads * spec.head_dim;
        let kv_width = spec.kv_heads * spec.head_dim;
        Workspace {
            x: rows(spec.width),
            q: rows(q_width),
            mixed: rows(q_width),
            k: rows(kv_width),
            k_raw: if spec.qk_norm { rows(kv_width) } else { Vec::new() },
            v: rows(kv_width),
            gate: rows(spec.mlp_width),
            up: rows(spec.mlp_width),
            logits: vec![0.0; LOGIT_ROWS.min(step_tokens_max) * spec.vocab],
            positions: Vec::with_capacity(step_tokens_max),
            slots: Vec::with_capacity(step_tokens_max),
            activations: Activations::new(),
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

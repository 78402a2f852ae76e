//! One step through the layers. The batch has been checked, and every buffer fits the longest step.

use std::sync::Mutex;

use bandmaster_kernels::{
    ActivationSource, AttentionSpan, BLOCK_TOKENS, KvSlot, MatmulOutput, Rope, attention, gated_matmul,
    kv_write, matmul, rope,
};

use super::CpuModel;
use super::workspace::LOGIT_ROWS;
use crate::batch::Batch;
use crate::model::OnRow;
use crate::weights::{Layer, Linear};

impl CpuModel {
    /// Computes the batch and hands over the wanted rows. Once the last layer's keys and values are in the cache, the
    /// other rows need no more work.
    pub(super) fn run(&mut self, batch: &Batch, on_row: OnRow<'_>) {
        self.locate_rows(batch);
        self.embed(&batch.tokens);
        let last = self.weights.layers.len() - 1;
        for layer in 0..last {
            self.write_kv(layer, batch.tokens.len());
            self.attend(layer, batch, Rows::All);
            self.mlp(layer, batch.tokens.len());
        }
        self.write_kv(last, batch.tokens.len());
        if batch.rows.is_empty() {
            return;
        }
        self.compact_wanted(&batch.rows);
        self.attend(last, batch, Rows::Wanted);
        self.mlp(last, batch.rows.len());
        self.logits(batch.rows.len(), on_row);
    }

    /// Notes each row's position and cache slot.
    fn locate_rows(&mut self, batch: &Batch) {
        let (positions, slots) = (&mut self.space.positions, &mut self.space.slots);
        positions.clear();
        slots.clear();
        for span in &batch.spans {
            let table = &batch.tables[span.table.clone()];
            for position in span.context..span.context + span.tokens.len() {
                positions.push(position as u32);
                slots.push(KvSlot {
                    block: table[position / BLOCK_TOKENS],
                    index: (position % BLOCK_TOKENS) as u32,
                });
            }
        }
    }

    fn embed(&mut self, tokens: &[u32]) {
        let rows = self.space.x.chunks_exact_mut(self.spec.width);
        for (&token, row) in tokens.iter().zip(rows) {
            match &self.weights.embedding {
                Some(embedding) => embedding.read(token as usize, row),
                None => self.weights.output.dequantize_row(token as usize, row),
            }
        }
    }

    /// Computes q, k and v from the residual stream and writes k and v to the cache.
    fn write_kv(&mut self, layer: usize, rows: usize) {
        let (cpu, spec, space) = (&*self.cpu, &self.spec, &mut self.space);
        let weights = &self.weights.layers[layer];
        let (q_len, kv_len) = (rows * spec.heads * spec.head_dim, rows * spec.kv_heads * spec.head_dim);
        let width = spec.width;
        let x = &space.x[..rows * width];
        let normed = ActivationSource::Normed { x, weight: &weights.attention_norm, eps: spec.norm_eps };
        let linears = [&weights.q, &weights.k, &weights.v];
        space.activations.fill(cpu, normed, width, &linears.map(|linear| &linear.weight));
        let results = [&mut space.q[..q_len], &mut space.k[..kv_len], &mut space.v[..kv_len]];
        let mut outputs = zip3(linears, results, |linear, y| MatmulOutput {
            w: &linear.weight,
            bias: linear.bias.as_deref(),
            add: false,
            y,
        });
        matmul(cpu, &space.activations, &mut outputs);
        let rotation = Rope { freqs: &self.rope, style: self.rope_style, positions: &space.positions };
        rope(cpu, &mut space.q[..q_len], spec.heads, spec.head_dim, rotation);
        let (kv_layer, k, v) = (self.kv.layer(layer), &space.k[..kv_len], &space.v[..kv_len]);
        kv_write(cpu, self.kv.elements_mut(), kv_layer, k, v, Some(rotation), &space.slots);
    }

    /// Moves the wanted rows of the residual stream and of q to the front.
    fn compact_wanted(&mut self, wanted: &[u32]) {
        let q_width = self.spec.heads * self.spec.head_dim;
        for (buffer, width) in [(&mut self.space.x, self.spec.width), (&mut self.space.q, q_width)] {
            for (to, &from) in wanted.iter().enumerate() {
                let from = from as usize * width;
                buffer.copy_within(from..from + width, to * width);
            }
        }
    }

    /// Attention: from q and the cache to the residual stream.
    fn attend(&mut self, layer: usize, batch: &Batch, which: Rows) {
        let mut spans = self.space.take_spans();
        let rows = push_spans(batch, which, &mut spans);
        let (cpu, spec, space) = (&*self.cpu, &self.spec, &mut self.space);
        let q_width = spec.heads * spec.head_dim;
        let (q, attended) = (&space.q[..rows * q_width], &mut space.attended[..rows * q_width]);
        let (pool, kv_layer) = (self.kv.elements(), self.kv.layer(layer));
        let scratch = &mut space.attention;
        attention(cpu, pool, kv_layer, spec.heads, self.attention_scale, q, &spans, scratch, attended);
        let Linear { weight: w, bias } = &self.weights.layers[layer].attention_output;
        space.activations.fill(cpu, ActivationSource::Plain(attended), q_width, &[w]);
        let y = &mut space.x[..rows * spec.width];
        matmul(cpu, &space.activations, &mut [MatmulOutput { w, bias: bias.as_deref(), add: true, y }]);
        space.put_spans(spans);
    }

    fn mlp(&mut self, layer: usize, rows: usize) {
        let (cpu, spec, space) = (&*self.cpu, &self.spec, &mut self.space);
        let Layer { mlp_norm, gate, up, down, .. } = &self.weights.layers[layer];
        let x = &mut space.x[..rows * spec.width];
        let normed = ActivationSource::Normed { x, weight: mlp_norm, eps: spec.norm_eps };
        space.activations.fill(cpu, normed, spec.width, &[gate, up]);
        gated_matmul(cpu, &space.activations, gate, up, &mut space.hidden, &[down]);
        matmul(cpu, &space.hidden, &mut [MatmulOutput { w: down, bias: None, add: true, y: x }]);
    }

    /// Applies the last norm and the output matrix to the first `rows` rows, [`LOGIT_ROWS`] at a time.
    fn logits(&mut self, rows: usize, on_row: OnRow<'_>) {
        let (cpu, spec, space) = (&*self.cpu, &self.spec, &mut self.space);
        let panel_rows = space.logits.len() / spec.vocab;
        for first in (0..rows).step_by(panel_rows) {
            let count = panel_rows.min(rows - first);
            let x = &space.x[first * spec.width..][..count * spec.width];
            let normed = ActivationSource::Normed { x, weight: &self.weights.norm, eps: spec.norm_eps };
            let w = &self.weights.output;
            space.activations.fill(cpu, normed, spec.width, &[w]);
            let y = &mut space.logits[..count * spec.vocab];
            matmul(cpu, &space.activations, &mut [MatmulOutput { w, bias: None, add: false, y }]);
            let mut left = space.logits.chunks_exact_mut(spec.vocab);
            // Each lock is taken once, to hand one row to one thread.
            let panel: [_; LOGIT_ROWS] = std::array::from_fn(|_| Mutex::new(left.next()));
            cpu.run(count, &|row| {
                let mut logits = panel[row].lock().expect("nobody else takes this row");
                on_row(first + row, logits.as_deref_mut().expect("the panel has as many rows"));
            });
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    All,
    /// Those of [`Batch::rows`], moved to the front.
    Wanted,
}

/// Pushes a span for each run of consecutive rows of a sequence. Returns the number of rows.
fn push_spans<'a>(batch: &'a Batch, which: Rows, spans: &mut Vec<AttentionSpan<'a>>) -> usize {
    let mut first_row = 0;
    let mut wanted = batch.rows.iter().map(|&row| row as usize).peekable();
    for span in &batch.spans {
        let table = &batch.tables[span.table.clone()];
        let mut push = |tokens: std::ops::Range<usize>| {
            let context = span.context + tokens.start - span.tokens.start;
            spans.push(AttentionSpan { first_row, rows: tokens.len(), context, table });
            first_row += tokens.len();
        };
        if which == Rows::All {
            push(span.tokens.clone());
            continue;
        }
        while let Some(start) = wanted.next_if(|row| *row < span.tokens.end) {
            let mut end = start + 1;
            while end < span.tokens.end && wanted.next_if_eq(&end).is_some() {
                end += 1;
            }
            push(start..end);
        }
    }
    first_row
}

fn zip3<A, B, C>(a: [A; 3], b: [B; 3], f: impl Fn(A, B) -> C) -> [C; 3] {
    let mut b = b.into_iter();
    a.map(|a| f(a, b.next().expect("both have three")))
}

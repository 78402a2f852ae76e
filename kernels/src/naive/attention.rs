//! Attention in f64, one query row at a time.

use half::f16;

use crate::attention::AttentionSpan;
use crate::kv::{BLOCK_TOKENS, KvLayer, KvType, SCALE_DIMS};

/// The reference for [`crate::attention::attention`], with the same shapes.
pub(crate) fn attention(
    pool: &[u16],
    layer: KvLayer,
    heads: usize,
    scale: f32,
    q: &[f32],
    spans: &[AttentionSpan],
    out: &mut [f32],
) {
    let dim = layer.shape.head_dim;
    for span in spans {
        for i in 0..span.rows {
            for head in 0..heads {
                let kv_head = head / (heads / layer.shape.kv_heads);
                let start = ((span.first_row + i) * heads + head) * dim;
                let row = start..start + dim;
                let cache = Head { pool, layer, table: span.table, kv_head };
                cache.attend(&q[row.clone()], scale, span.context + i + 1, &mut out[row]);
            }
        }
    }
}

struct Head<'a> {
    pool: &'a [u16],
    layer: KvLayer,
    table: &'a [u32],
    kv_head: usize,
}

impl Head<'_> {
    fn attend(&self, q: &[f32], scale: f32, tokens: usize, out: &mut [f32]) {
        let score = |token| -> f64 {
            let products = q.iter().enumerate().map(|(d, &q)| f64::from(q) * self.key(token, d));
            products.sum::<f64>() * f64::from(scale)
        };
        let scores: Vec<f64> = (0..tokens).map(score).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        for (d, out) in out.iter_mut().enumerate() {
            let mixed: f64 = weights.iter().enumerate().map(|(token, w)| w * self.value(token, d)).sum();
            *out = (mixed / sum) as f32;
        }
    }

    /// An element of the layer in the token's block. Value heads are numbered after key heads.
    fn element(&self, token: usize, head: usize, d: usize, within: usize) -> f64 {
        let block = self.table[token / BLOCK_TOKENS] as usize;
        let numbers = BLOCK_TOKENS * self.layer.shape.head_dim;
        let head_elems = self.layer.shape.layer_elems() / (2 * self.layer.shape.kv_heads);
        let layer = block * self.layer.block_stride_elems + self.layer.offset_elems;
        let head = &self.pool[layer + head * head_elems..][..head_elems];
        match self.layer.shape.kv_type {
            KvType::F16 => f16::from_bits(head[within]).to_f64(),
            KvType::Q8 => {
                let code = head[within / 2].to_le_bytes()[within % 2] as i8;
                let scale =
                    f16::from_bits(head[numbers / 2 + d / SCALE_DIMS * BLOCK_TOKENS + token % BLOCK_TOKENS]);
                f64::from(code) * scale.to_f64()
            }
        }
    }

    fn key(&self, token: usize, d: usize) -> f64 {
        self.element(token, self.kv_head, d, (d / 2 * BLOCK_TOKENS + token % BLOCK_TOKENS) * 2 + d % 2)
    }

    fn value(&self, token: usize, d: usize) -> f64 {
        let within = token % BLOCK_TOKENS * self.layer.shape.head_dim + d;
        self.element(token, self.layer.shape.kv_heads + self.kv_head, d, within)
    }
}

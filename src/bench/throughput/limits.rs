//! The machine's limits, and what fraction of them a row reached. Rates on shared machines vary from hour to hour, so
//! limits are measured in the same run as the rows.

use std::time::Instant;

use bandmaster_models::{Cpu, Spec, limits};

use super::row::{Bound, Row, Shares};

/// Best rates of this machine with a given number of threads.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct MachineLimits {
    pub threads: usize,
    pub memory_bytes_per_s: f64,
    /// Int8 multiply-adds per second; `None` if the kernels are portable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_macs_per_s: Option<f64>,
}

/// The cost of running a model. Attention is not counted: it grows with the context, which grows during a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// Multiply-adds per token in all layers.
    pub layer_macs: u64,
    /// Multiply-adds per row of logits.
    pub output_macs: u64,
    /// Size of the weights, all of which a forward pass reads once.
    pub weight_bytes: u64,
}

impl MachineLimits {
    /// Measures for a fraction of a second with the threads of `cpu`.
    #[must_use]
    pub fn measure(cpu: &Cpu) -> Self {
        Self {
            threads: cpu.threads(),
            memory_bytes_per_s: memory_read_rate(cpu.threads()),
            int8_macs_per_s: limits::int8_macs_per_s(cpu),
        }
    }

    /// The better of two measurements, because a limit is the best that is possible.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        Self {
            threads: self.threads,
            memory_bytes_per_s: self.memory_bytes_per_s.max(other.memory_bytes_per_s),
            int8_macs_per_s: self
                .int8_macs_per_s
                .map(|rate| other.int8_macs_per_s.map_or(rate, |again| rate.max(again))),
        }
    }

    /// The fraction of these limits that `row` reached. Prefill is compared with the multiply-adds of the tokens it
    /// computed (and of one row of logits per sequence), decoding with the slower of reading the weights once per pass
    /// and multiplying for every sequence. A single sequence is limited by memory, many together by arithmetic.
    #[must_use]
    pub fn shares(&self, costs: &Costs, row: &Row) -> Shares {
        let macs = |tokens: usize, outputs: usize| {
            tokens as f64 * costs.layer_macs as f64 + outputs as f64 * costs.output_macs as f64
        };
        let multiply_s = |macs: f64| self.int8_macs_per_s.map(|rate| macs / rate);
        let read_s = costs.weight_bytes as f64 / self.memory_bytes_per_s;
        let (pass_s, decode_bound) = match multiply_s(macs(row.batch, row.batch)) {
            Some(seconds) if seconds > read_s => (seconds, Bound::Int8),
            _ => (read_s, Bound::Memory),
        };
        Shares {
            prefill: multiply_s(macs(row.computed_tokens, row.batch)).map(|seconds| seconds / row.prefill_s),
            decode: pass_s * row.gen_tokens as f64 / row.decode_s,
            decode_bound,
        }
    }
}

impl Costs {
    /// Of a decoder whose weights take `weight_bytes` in memory.
    #[must_use]
    pub fn new(spec: &Spec, weight_bytes: usize) -> Self {
        let (query, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        // q and the attention output; k and v; then gate, up and down.
        let layer = spec.width * (2 * query + 2 * kv + 3 * spec.mlp_width);
        Self {
            layer_macs: (spec.layers * layer) as u64,
            output_macs: (spec.vocab * spec.width) as u64,
            weight_bytes: weight_bytes as u64,
        }
    }
}

/// Bytes per second that `threads` together read from memory: the best of a few passes over
/// buffers larger than any cache.
#[must_use]
fn memory_read_rate(threads: usize) -> f64 {
    const THREAD_BYTES: usize = 64 << 20;
    const PASSES: usize = 4;
    let buffers: Vec<Vec<u64>> =
        (0..threads).map(|thread| vec![thread as u64 + 1; THREAD_BYTES / 8]).collect();
    let pass = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(|| std::hint::black_box(sum(buffer)));
            }
        });
        (threads * THREAD_BYTES) as f64 / start.elapsed().as_secs_f64()
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}

/// Eight independent sums, so that the additions don't wait for each other.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 8];
    for eight in words.chunks_exact(8) {
        for (sum, word) in sums.iter_mut().zip(eight) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |all, one| all.wrapping_add(*one))
}

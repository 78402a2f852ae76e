//! Tiny random models, made in memory from a seed, so that everything above the loader can be tested without a
//! download. They are valid files, but their output is noise. The same seed and shape give the same bytes.

mod quantize;
mod vocabulary;

use std::sync::Arc;

use bandmaster_kernels::{Cpu, KvShape, SplitMix64};

use crate::cpu::CpuModel;
use crate::gguf::{Gguf, Writer};
use crate::load::load_gguf;
use crate::options::LoadOptions;
use quantize::TinyFormat;

/// Formats of matrices whose rows are whole blocks of 256, used in rotation.
const FORMATS_256: [TinyFormat; 6] =
    [TinyFormat::Q4K, TinyFormat::Q6K, TinyFormat::Q5_0, TinyFormat::Q8_0, TinyFormat::Q4_1, TinyFormat::F16];
/// Formats of the other matrices, used in rotation.
const FORMATS_32: [TinyFormat; 3] = [TinyFormat::Q4_1, TinyFormat::Q5_0, TinyFormat::Q8_0];

/// The architecture that the file is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TinyFamily {
    /// Without biases; rope rotates adjacent elements.
    Llama,
    /// With biases on q, k and v; rope rotates the halves of a head.
    Qwen2,
}

/// The sizes of a tiny model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TinyShape {
    /// The architecture that the file is written for.
    pub family: TinyFamily,
    /// Number of decoder layers.
    pub layers: usize,
    /// Width of the residual stream, a multiple of 32.
    pub width: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Elements per head: a multiple of 16, 256 at most; `heads * head_dim` must be a multiple of 32.
    pub head_dim: usize,
    /// Inner width of the feed-forward part, a multiple of 32.
    pub ffn: usize,
    /// Vocabulary size, at least [`TinyShape::VOCAB_MIN`]. The ids beyond that are unused.
    pub vocab: usize,
    /// Whether the embedding is also the output matrix.
    pub tied: bool,
    /// Context length in tokens, as stated in the file.
    pub context_tokens: usize,
}

impl TinyShape {
    /// The number of ids for the 256 bytes, the merges and the special tokens.
    pub const VOCAB_MIN: usize = vocabulary::TOKENS;

    /// A small Llama with its own output matrix. Most of its rows are whole blocks of 256, so that every format occurs;
    /// `ffn` is an odd multiple of 32.
    pub fn llama() -> TinyShape {
        TinyShape {
            family: TinyFamily::Llama,
            layers: 3,
            width: 256,
            heads: 4,
            kv_heads: 2,
            head_dim: 64,
            ffn: 352,
            vocab: 320,
            tied: false,
            context_tokens: 2048,
        }
    }

    /// A small Qwen2 with biases and a tied embedding. Its width is an odd multiple of 32.
    pub fn qwen2() -> TinyShape {
        TinyShape {
            family: TinyFamily::Qwen2,
            layers: 2,
            width: 224,
            heads: 7,
            kv_heads: 1,
            head_dim: 32,
            ffn: 512,
            vocab: 333,
            tied: true,
            context_tokens: 2048,
        }
    }
}

/// Loads a tiny Llama with 64 MiB of address space for keys and values.
///
/// # Panics
/// When the machine has no threads or address space left.
pub fn model(seed: u64, cpu: Arc<Cpu>) -> CpuModel {
    let gguf = Gguf::from_bytes(gguf_bytes(seed, &TinyShape::llama())).expect("the file is well formed");
    load_gguf(gguf, &LoadOptions::new(cpu, 64 << 20)).expect("the file describes a decoder that is run")
}

/// The bytes of a GGUF file with a tiny model of this shape.
///
/// # Panics
/// When the shape breaks a rule stated at its fields.
pub fn gguf_bytes(seed: u64, shape: &TinyShape) -> Vec<u8> {
    assert!(
        shape.width.is_multiple_of(32) && shape.ffn.is_multiple_of(32),
        "rows are whole blocks: {shape:?}"
    );
    assert!((shape.heads * shape.head_dim).is_multiple_of(32), "rows are whole blocks: {shape:?}");
    assert!(shape.heads.is_multiple_of(shape.kv_heads), "heads share keys and values evenly: {shape:?}");
    assert!(
        shape.head_dim.is_multiple_of(16) && shape.head_dim <= KvShape::HEAD_DIM_MAX,
        "a head is a multiple of 16 elements, {} at most: {shape:?}",
        KvShape::HEAD_DIM_MAX
    );
    assert!(
        shape.vocab >= TinyShape::VOCAB_MIN,
        "the vocabulary needs {} ids: {shape:?}",
        TinyShape::VOCAB_MIN
    );
    let mut file = Writer::new();
    hyperparameters(&mut file, shape);
    let pre = match shape.family {
        TinyFamily::Llama => "smollm",
        TinyFamily::Qwen2 => "qwen2",
    };
    vocabulary::write(&mut file, pre, shape.vocab);
    Weights { file: &mut file, random: SplitMix64(seed), matrices: 0 }.write(shape);
    file.finish()
}

fn hyperparameters(file: &mut Writer, shape: &TinyShape) {
    let (architecture, rope_base) = match shape.family {
        TinyFamily::Llama => ("llama", 1e5f32),
        TinyFamily::Qwen2 => ("qwen2", 1e6f32),
    };
    let key = |name: &str| format!("{architecture}.{name}");
    file.set("general.architecture", architecture)
        .set("general.name", "tiny")
        .set(&key("block_count"), &(shape.layers as u32))
        .set(&key("context_length"), &(shape.context_tokens as u32))
        .set(&key("embedding_length"), &(shape.width as u32))
        .set(&key("feed_forward_length"), &(shape.ffn as u32))
        .set(&key("attention.head_count"), &(shape.heads as u32))
        .set(&key("attention.head_count_kv"), &(shape.kv_heads as u32))
        .set(&key("attention.key_length"), &(shape.head_dim as u32))
        .set(&key("attention.value_length"), &(shape.head_dim as u32))
        .set(&key("attention.layer_norm_rms_epsilon"), &1e-6f32)
        .set(&key("rope.dimension_count"), &(shape.head_dim as u32))
        .set(&key("rope.freq_base"), &rope_base);
}

/// An approximately normal number with mean 0 and deviation 1: the scaled sum of four uniform ones.
fn normal(random: &mut SplitMix64) -> f32 {
    let bits = random.next_u64();
    let sum: f32 = (0..4).map(|i| ((bits >> (16 * i)) & 0xffff) as f32 / 65_535.0 - 0.5).sum();
    sum * 3f32.sqrt()
}

struct Weights<'a> {
    file: &'a mut Writer,
    random: SplitMix64,
    /// Matrices written so far, which select the next one's format.
    matrices: usize,
}

impl Weights<'_> {
    fn write(&mut self, shape: &TinyShape) {
        let (q_width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        self.matrix("token_embd.weight", shape.width, shape.vocab);
        for layer in 0..shape.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            self.vector(&name("attn_norm.weight"), shape.width, 1.0);
            for (part, rows) in [("attn_q", q_width), ("attn_k", kv_width), ("attn_v", kv_width)] {
                self.matrix(&name(&format!("{part}.weight")), shape.width, rows);
                if shape.family == TinyFamily::Qwen2 {
                    self.vector(&name(&format!("{part}.bias")), rows, 0.0);
                }
            }
            self.matrix(&name("attn_output.weight"), q_width, shape.width);
            self.vector(&name("ffn_norm.weight"), shape.width, 1.0);
            self.matrix(&name("ffn_gate.weight"), shape.width, shape.ffn);
            self.matrix(&name("ffn_up.weight"), shape.width, shape.ffn);
            self.matrix(&name("ffn_down.weight"), shape.ffn, shape.width);
        }
        self.vector("output_norm.weight", shape.width, 1.0);
        if !shape.tied {
            self.matrix("output.weight", shape.width, shape.vocab);
        }
    }

    /// `rows` rows of `k` weights with deviation `1 / sqrt(k)`, so that activations keep their magnitude.
    fn matrix(&mut self, name: &str, k: usize, rows: usize) {
        let formats: &[TinyFormat] = if k.is_multiple_of(256) { &FORMATS_256 } else { &FORMATS_32 };
        let format = formats[self.matrices % formats.len()];
        self.matrices += 1;
        let deviation = 1.0 / (k as f32).sqrt();
        let weights: Vec<f32> = (0..rows * k).map(|_| normal(&mut self.random) * deviation).collect();
        self.file.tensor(name, &[k as u64, rows as u64], format.ggml_type(), &format.quantize(&weights));
    }

    /// `len` random numbers around `mean`.
    fn vector(&mut self, name: &str, len: usize, mean: f32) {
        let values: Vec<f32> = (0..len).map(|_| mean + 0.1 * normal(&mut self.random)).collect();
        self.file.tensor(
            name,
            &[len as u64],
            TinyFormat::F32.ggml_type(),
            &TinyFormat::F32.quantize(&values),
        );
    }
}

#[cfg(test)]
mod tests;

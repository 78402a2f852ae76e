//! Describes a decoder as data. The families fill it in from a file; how it is run is not known here.

use crate::gguf::GgufError;

/// A decoder of the Llama shape: norm, attention, residual, norm, MLP with SiLU gate, residual.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The file's `general.architecture`, e.g. `llama`.
    pub architecture: String,
    /// Number of decoder layers.
    pub layers: usize,
    /// Width of the residual stream, in elements.
    pub width: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements per head; a multiple of 16.
    pub head_dim: usize,
    /// Inner width of the MLP, in elements.
    pub mlp_width: usize,
    /// Rows of the embedding and of the output matrix.
    pub vocab: usize,
    /// Longest context the model was made for, in tokens.
    pub context_tokens_max: usize,
    /// Added to the mean square in an RMS norm, before the root.
    pub norm_eps: f32,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub attention_output_bias: bool,
    /// How q and k are rotated by position.
    pub rope: RopeSpec,
    /// Whether the embedding is also the output matrix.
    pub tied_embeddings: bool,
}

/// Rotary position embedding over whole heads.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Which elements of a head rotate together.
    pub pairs: RopePairs,
    /// Base of the geometric series of frequencies.
    pub base: f32,
    /// How frequencies are changed to extend the trained context.
    pub scaling: RopeScaling,
}

/// Which two elements of a head form a rotated pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// `2i` and `2i + 1`, as in Llama files, whose q and k rows were permuted during conversion.
    Adjacent,
    /// `i` and `i + head_dim / 2`, as in NeoX and Qwen.
    Halves,
}

/// Changes to the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// The frequencies the model was trained with.
    None,
    /// All frequencies are divided by this.
    Linear(f32),
    /// Each frequency is divided by its own factor: Llama 3's `rope_freqs.weight`, `head_dim / 2` numbers.
    PerPair(Vec<f32>),
    /// Low frequencies are divided and high ones kept, with a ramp between (YaRN, arXiv:2309.00071).
    Yarn {
        /// The context is extended by this factor.
        factor: f32,
        /// Context length in tokens of the original training.
        original_context_tokens: f32,
    },
}

/// YaRN keeps frequencies with more turns than the first within the original context, and divides those with fewer than
/// the second by the factor.
const YARN_TURNS: (f32, f32) = (32.0, 1.0);

impl RopeSpec {
    /// Radians per position of each of the `head_dim / 2` pairs.
    #[must_use]
    pub fn radians_per_position(&self, head_dim: usize) -> Vec<f32> {
        let pairs = head_dim / 2;
        // Computed in f64, because an error here is multiplied by the position.
        let plain = (0..pairs).map(|i| f64::from(self.base).powf(-2.0 * i as f64 / head_dim as f64) as f32);
        match &self.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear(factor) => plain.map(|f| f / factor).collect(),
            RopeScaling::PerPair(factors) => plain.zip(factors).map(|(f, factor)| f / factor).collect(),
            RopeScaling::Yarn { factor, original_context_tokens } => {
                let (first, last) = self.yarn_ramp(head_dim, *original_context_tokens);
                let blend = |(i, f): (usize, f32)| {
                    let divided = ((i as f32 - first) / (last - first).max(0.001)).clamp(0.0, 1.0);
                    f / factor * divided + f * (1.0 - divided)
                };
                plain.enumerate().map(blend).collect()
            }
        }
    }

    /// A factor on q and k, by which YaRN sharpens attention; otherwise 1.
    #[must_use]
    pub fn magnitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { factor, .. } => 1.0 + 0.1 * factor.ln(),
            _ => 1.0,
        }
    }

    /// The pairs at which YaRN's ramp begins and ends.
    fn yarn_ramp(&self, head_dim: usize, original_context_tokens: f32) -> (f32, f32) {
        let pair_with_turns = |turns: f32| {
            let wavelength = original_context_tokens / (turns * 2.0 * std::f32::consts::PI);
            head_dim as f32 * wavelength.ln() / (2.0 * self.base.ln())
        };
        let first = pair_with_turns(YARN_TURNS.0).floor().max(0.0);
        let last = pair_with_turns(YARN_TURNS.1).ceil().min(head_dim as f32 - 1.0);
        (first, last)
    }
}

/// Why a file's metadata does not describe a supported decoder.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A key or tensor is missing or has the wrong type.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// No family supports this architecture.
    #[error(
        "architecture `{architecture}` is not supported (supported: {known}): use a model of one of these"
    )]
    Architecture {
        /// The architecture named in the file.
        architecture: String,
        /// The supported architectures, comma-separated.
        known: String,
    },
    /// A key's value is impossible or contradicts the rest of the file.
    #[error("metadata key `{key}` is {value}: {problem}; get another conversion of the model")]
    Value {
        /// The full name of the key.
        key: String,
        /// The value in the file.
        value: String,
        /// Why the value is impossible.
        problem: String,
    },
    /// The file needs something that the decoder does not support.
    #[error("metadata key `{key}` is {value}: {feature} is not supported; use another model")]
    Feature {
        /// The full name of the key.
        key: String,
        /// The value in the file.
        value: String,
        /// The feature that the value asks for.
        feature: Feature,
    },
    /// The architecture has no such key, as far as is known here.
    #[error(
        "metadata key `{key}` is {value}: the key is unknown and may change what the model computes; use another conversion of the model"
    )]
    UnknownKey {
        /// The full name of the key.
        key: String,
        /// The value in the file.
        value: String,
    },
    /// A tensor that is read with the metadata has the wrong shape, type or values.
    #[error("tensor `{tensor}` is not {wanted}: get another conversion of the model")]
    Tensor {
        /// Name of the tensor.
        tensor: &'static str,
        /// What it should be.
        wanted: String,
    },
}

/// Features of other decoders that are recognized but not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Attention to recent tokens only. It would need a block table per group of layers.
    SlidingWindow,
    /// `cap · tanh(x / cap)` on scores or logits.
    Softcap,
    /// Mixture of experts: several MLPs per layer, of which each token uses some. It would need grouped matmul.
    Experts,
    /// Rope over a part of each head, or over several sections.
    PartialRope,
    /// A kind of rope scaling other than linear and yarn.
    RopeScaling,
    /// Keys and values of different widths, or another attention scale.
    AttentionShape,
    /// Attention to later tokens, or hidden states as the result instead of logits.
    Encoder,
    /// Factors on embeddings, residuals or logits.
    Scale,
    /// Another nonlinearity, or another order of a layer's parts.
    LayerShape,
    /// Layers that predict several tokens ahead.
    NextTokens,
}

impl std::fmt::Display for Feature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SlidingWindow => "sliding-window attention",
            Self::Softcap => "soft-capping",
            Self::Experts => "mixture of experts",
            Self::PartialRope => "rope over a part of each head",
            Self::RopeScaling => "this kind of rope scaling",
            Self::AttentionShape => "this shape of attention",
            Self::Encoder => "an encoder or embedding model in this form",
            Self::Scale => "a factor on embeddings, residuals, attention or logits",
            Self::LayerShape => "this shape of a layer",
            Self::NextTokens => "prediction of several tokens ahead",
        })
    }
}

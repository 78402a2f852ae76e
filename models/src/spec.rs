//! What a decoder is made of, as data. Where the numbers come from is the family's business; how they are run is not
//! known here.

use crate::gguf::GgufError;

/// A decoder of the Llama shape: norm, attention, residual, norm, gated MLP, residual.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// `general.architecture` of the file.
    pub architecture: String,
    /// Decoder layers.
    pub layers: usize,
    /// Elements of the residual stream.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of one head; even.
    pub head_dim: usize,
    /// Elements between the MLP's matrices.
    pub mlp_width: usize,
    /// Rows of the embedding and of the output matrix.
    pub vocab: usize,
    /// Longest context the model was made for, in tokens.
    pub context_tokens_max: usize,
    /// Added to the mean square under the root.
    pub norm_eps: f32,
    /// Whether q, k and v add a bias.
    pub qkv_bias: bool,
    /// Whether the product with the attention's output matrix adds a bias.
    pub attention_output_bias: bool,
    /// Whether each head of q and k is normalised before rope.
    pub qk_norm: bool,
    /// How positions enter.
    pub rope: Rope,
    /// Between gate and up.
    pub activation: Activation,
    /// Whether the embedding is the output matrix too.
    pub tied_embeddings: bool,
}

/// The nonlinearity of the gated MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `silu(gate) · up`.
    Silu,
}

/// Rotary position embedding over whole heads.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Which elements of a head turn together.
    pub pairs: RopePairs,
    /// Base of the geometric series of frequencies.
    pub base: f32,
    /// What stretches the trained context.
    pub scaling: RopeScaling,
}

/// Which two elements of a head form a rotated pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// `2i` and `2i + 1`: Llama files, whose q and k rows were permuted when they were converted.
    Adjacent,
    /// `i` and `i + head_dim / 2`: NeoX, Qwen.
    Halves,
}

/// Changes to the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// As trained.
    None,
    /// All frequencies divided by this.
    Linear(f32),
    /// Each frequency divided by its own factor: Llama 3's `rope_freqs.weight`, `head_dim / 2` numbers.
    PerPair(Vec<f32>),
    /// Low frequencies divided, high ones kept, with a ramp between (YaRN, arXiv:2309.00071).
    Yarn {
        /// Context is stretched by this much.
        factor: f32,
        /// Tokens of context the model was first trained with.
        original_context_tokens: f32,
    },
}

/// Turns within the original context above which YaRN keeps a frequency, and below which it divides it by the factor.
const YARN_TURNS: (f32, f32) = (32.0, 1.0);

impl Rope {
    /// Radians per position of each of the `head_dim / 2` pairs.
    #[must_use]
    pub fn radians_per_position(&self, head_dim: usize) -> Vec<f32> {
        let pairs = head_dim / 2;
        // In f64: an error here is multiplied by the position.
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

    /// What q and k are multiplied with beside the rotation; YaRN sharpens attention by it.
    #[must_use]
    pub fn magnitude(&self) -> f32 {
        match self.scaling {
            RopeScaling::Yarn { factor, .. } => 1.0 + 0.1 * factor.ln(),
            _ => 1.0,
        }
    }

    /// The pairs between which YaRN goes from keeping to dividing.
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

/// A file whose metadata does not describe a decoder that can be run here.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A key or tensor that is missing or of the wrong type.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// No family maps this architecture.
    #[error(
        "architecture `{architecture}` is not supported (supported: {known}): use a model of one of these"
    )]
    Architecture {
        /// What the file says.
        architecture: String,
        /// What it could say, comma-separated.
        known: String,
    },
    /// A key whose value is impossible or contradicts the rest of the file.
    #[error("metadata key `{key}` is {value}: {problem}; get another conversion of the model")]
    Value {
        /// Full key.
        key: String,
        /// What the file says.
        value: String,
        /// Why that cannot be.
        problem: String,
    },
    /// Something that the decoder does not do.
    #[error("metadata key `{key}` is {value}: {feature} is not supported; use another model")]
    Feature {
        /// Full key.
        key: String,
        /// What the file says.
        value: String,
        /// What it asks for.
        feature: Feature,
    },
    /// A key of the architecture that means nothing here.
    #[error(
        "metadata key `{key}` is {value}: the key is not known here and may change what the model computes; use another conversion of the model"
    )]
    UnknownKey {
        /// Full key.
        key: String,
        /// What the file says.
        value: String,
    },
    /// A tensor of which the metadata's numbers depend is not as it must be.
    #[error("tensor `{tensor}` is not {wanted}: get another conversion of the model")]
    Tensor {
        /// Its name.
        tensor: &'static str,
        /// What it should be.
        wanted: String,
    },
}

/// Parts of other decoders that are known and not run. Each is a place where this crate grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Attention to the last tokens only: needs a block table per group of layers.
    SlidingWindow,
    /// `cap · tanh(x / cap)` on scores or logits.
    Softcap,
    /// Several MLPs a layer of which a token uses some: needs grouped matmul.
    Experts,
    /// Rope over a part of each head, or several sections.
    PartialRope,
    /// A kind of rope scaling other than linear and yarn.
    RopeScaling,
    /// Keys and values of different widths, or other attention scales.
    AttentionShape,
    /// Attention to later tokens, or hidden states in place of logits.
    Encoder,
    /// Factors on embeddings, residuals or logits.
    Scale,
    /// Another nonlinearity or another order of a layer's parts.
    LayerShape,
    /// Layers that guess several tokens ahead.
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

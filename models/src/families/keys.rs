//! Reads metadata that the families have in common. Errors name the whole key.

use bandmaster_kernels::KvShape;

use crate::gguf::{FromValue, Gguf, GgufError};
use crate::spec::{Feature, RopePairs, RopeScaling, RopeSpec, Spec, SpecError};
use crate::tensors::{EMBEDDING, ROPE_FACTORS};

const KV_HEADS: &str = "attention.head_count_kv";

/// The metadata of one architecture.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub gguf: &'a Gguf,
    /// The prefix of its keys.
    pub architecture: &'a str,
}

impl<'a> Keys<'a> {
    /// A spec with the sizes, norm and rope from the metadata; without qkv biases.
    pub(super) fn llama_shape(&self, pairs: RopePairs) -> Result<Spec, SpecError> {
        let context_tokens_max = self.count("context_length")?;
        self.refuse_window(context_tokens_max)?;
        let width = self.blocks("embedding_length")?;
        let heads = self.count("attention.head_count")?;
        let head_dim = self.head_dim(width, heads)?;
        self.refuse_scale(head_dim)?;
        Ok(Spec {
            architecture: self.architecture.to_owned(),
            layers: self.count("block_count")?,
            width,
            heads,
            kv_heads: self.kv_heads(heads)?,
            head_dim,
            mlp_width: self.blocks("feed_forward_length")?,
            vocab: self.vocab()?,
            context_tokens_max,
            norm_eps: self.positive("attention.layer_norm_rms_epsilon")?,
            qkv_bias: false,
            attention_output_bias: self.gguf.tensor("blk.0.attn_output.bias").is_some(),
            rope: self.rope(pairs, head_dim)?,
            tied_embeddings: self.gguf.tensor("output.weight").is_none(),
        })
    }

    pub(super) fn full(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture)
    }

    fn optional<T: FromValue<'a>>(&self, suffix: &str) -> Result<Option<T>, GgufError> {
        self.gguf.value(&self.full(suffix))
    }

    /// An integer above zero.
    fn count(&self, suffix: &str) -> Result<usize, SpecError> {
        match self.gguf.required::<u32>(&self.full(suffix))? {
            0 => Err(self.value_error(suffix, 0, "it must be above zero")),
            n => Ok(n as usize),
        }
    }

    /// A row length in a matmul, which takes whole blocks.
    fn blocks(&self, suffix: &str) -> Result<usize, SpecError> {
        match self.count(suffix)? {
            n if n.is_multiple_of(32) => Ok(n),
            n => Err(self.value_error(suffix, n, "it must be a multiple of 32")),
        }
    }

    /// A finite number above zero.
    fn positive(&self, suffix: &str) -> Result<f32, SpecError> {
        let number: f32 = self.gguf.required(&self.full(suffix))?;
        if number.is_finite() && number > 0.0 {
            Ok(number)
        } else {
            Err(self.value_error(suffix, number, "it must be finite and above zero"))
        }
    }

    fn value_error(&self, suffix: &str, value: impl ToString, problem: impl Into<String>) -> SpecError {
        SpecError::Value { key: self.full(suffix), value: value.to_string(), problem: problem.into() }
    }

    pub(super) fn feature_error(&self, suffix: &str, value: impl ToString, feature: Feature) -> SpecError {
        SpecError::Feature { key: self.full(suffix), value: value.to_string(), feature }
    }

    fn kv_heads(&self, heads: usize) -> Result<usize, SpecError> {
        let absent = self.gguf.get(&self.full(KV_HEADS)).is_none();
        let kv_heads = if absent { heads } else { self.count(KV_HEADS)? };
        if heads.is_multiple_of(kv_heads) {
            Ok(kv_heads)
        } else {
            Err(self.value_error(KV_HEADS, kv_heads, format!("it must divide the {heads} query heads")))
        }
    }

    fn head_dim(&self, width: usize, heads: usize) -> Result<usize, SpecError> {
        const KEY: &str = "attention.key_length";
        let head_dim = match self.optional::<usize>(KEY)? {
            Some(head_dim) => head_dim,
            None => width / heads,
        };
        // Attention is computed in slices of 16 elements of a head.
        if head_dim == 0 || !head_dim.is_multiple_of(16) || head_dim > KvShape::HEAD_DIM_MAX {
            let most = KvShape::HEAD_DIM_MAX;
            let problem = format!("a head must have a multiple of 16 elements, {most} at most");
            return Err(self.value_error(KEY, head_dim, problem));
        }
        match self.optional::<usize>("attention.value_length")? {
            Some(n) if n != head_dim => {
                Err(self.feature_error("attention.value_length", n, Feature::AttentionShape))
            }
            _ => Ok(head_dim),
        }
    }

    /// The number of embedding rows decides, not the tokenizer's list: files pad one or the other.
    fn vocab(&self) -> Result<usize, SpecError> {
        let rows = self.gguf.required_tensor(EMBEDDING)?.shape.get(1).copied().unwrap_or(1);
        u32::try_from(rows).map(|n| n as usize).map_err(|_| SpecError::Tensor {
            tensor: EMBEDDING,
            wanted: "a matrix with a row for each token".to_owned(),
        })
    }

    fn rope(&self, pairs: RopePairs, head_dim: usize) -> Result<RopeSpec, SpecError> {
        match self.optional::<usize>("rope.dimension_count")? {
            Some(n) if n != head_dim => {
                return Err(self.feature_error("rope.dimension_count", n, Feature::PartialRope));
            }
            _ => {}
        }
        let base = self.optional("rope.freq_base")?.unwrap_or(10_000.0_f32);
        if !(base.is_finite() && base > 1.0) {
            return Err(self.value_error("rope.freq_base", base, "it must be above 1"));
        }
        Ok(RopeSpec { pairs, base, scaling: self.rope_scaling(head_dim)? })
    }

    fn rope_scaling(&self, head_dim: usize) -> Result<RopeScaling, SpecError> {
        let stated: Option<&str> = self.optional("rope.scaling.type")?;
        let has = |suffix: &str| self.gguf.get(&self.full(suffix)).is_some();
        // The older key is used if the newer one is missing. A factor without a type means linear scaling.
        let factor = ["rope.scaling.factor", "rope.scale_linear"].into_iter().find(|key| has(key));
        let kind = stated.unwrap_or(if factor.is_some() { "linear" } else { "none" });
        let factor = factor.unwrap_or("rope.scaling.factor");
        let scaling = match kind {
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear(self.positive(factor)?),
            "yarn" => RopeScaling::Yarn {
                factor: self.positive(factor)?,
                original_context_tokens: self.count("rope.scaling.original_context_length")? as f32,
            },
            other => return Err(self.feature_error("rope.scaling.type", other, Feature::RopeScaling)),
        };
        match (self.rope_factors(head_dim)?, scaling) {
            (None, scaling) => Ok(scaling),
            (Some(factors), RopeScaling::None | RopeScaling::Linear(1.0)) => {
                Ok(RopeScaling::PerPair(factors))
            }
            // Both together would have to be applied one after the other.
            (Some(_), _) => Err(self.feature_error("rope.scaling.type", kind, Feature::RopeScaling)),
        }
    }

    /// Llama 3's divisors of the rotary frequencies.
    fn rope_factors(&self, head_dim: usize) -> Result<Option<Vec<f32>>, SpecError> {
        const F32: u32 = 0;
        let Some(tensor) = self.gguf.tensor(ROPE_FACTORS) else { return Ok(None) };
        let (words, _) = self.gguf.data(tensor)?.as_chunks();
        let factors: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let usable = factors.iter().all(|factor| factor.is_finite() && *factor > 0.0);
        if tensor.ggml_type == F32 && factors.len() == head_dim / 2 && usable {
            Ok(Some(factors))
        } else {
            let wanted = format!("{} positive numbers of type F32", head_dim / 2);
            Err(SpecError::Tensor { tensor: ROPE_FACTORS, wanted })
        }
    }

    /// A window as long as the context has no effect.
    fn refuse_window(&self, context_tokens_max: usize) -> Result<(), SpecError> {
        match self.optional::<usize>("attention.sliding_window")? {
            Some(window) if window > 0 && window < context_tokens_max => {
                Err(self.feature_error("attention.sliding_window", window, Feature::SlidingWindow))
            }
            _ => Ok(()),
        }
    }

    /// Scores are divided by the root of the head width. A file may state that scale, but no other.
    fn refuse_scale(&self, head_dim: usize) -> Result<(), SpecError> {
        let usual = 1.0 / (head_dim as f32).sqrt();
        match self.optional::<f32>("attention.scale")? {
            Some(scale) if scale != 0.0 && (scale / usual - 1.0).abs() > 1e-5 => {
                Err(self.feature_error("attention.scale", scale, Feature::AttentionShape))
            }
            _ => Ok(()),
        }
    }
}

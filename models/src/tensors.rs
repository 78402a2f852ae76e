//! The tensors a decoder needs, by name and shape, and the check of a file against them.

use std::collections::HashSet;

use bandmaster_kernels::Format;

use crate::error::LoadError;
use crate::gguf::{Gguf, TensorInfo, shortened};
use crate::spec::{RopeScaling, Spec};

/// A matrix that the decoder needs: `n` rows of `k` elements.
pub(crate) struct MatrixInfo {
    pub name: String,
    pub n: usize,
    pub k: usize,
}

pub(crate) const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output.weight";
pub(crate) const OUTPUT_NORM: &str = "output_norm.weight";
/// Divisors of the rotary frequencies, read with the metadata.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// Suffixes of tensors that can be ignored, with the reason. All other unknown tensors are refused.
const IGNORED: &[(&str, &str)] =
    &[(".attn_rot_embd.weight", "rotary frequencies, which are computed from `rope.freq_base`")];

impl Spec {
    /// The name of the tensor used as output matrix.
    pub(crate) fn output_name(&self) -> &'static str {
        if self.tied_embeddings { EMBEDDING } else { OUTPUT }
    }

    /// Every matrix that is multiplied with.
    pub(crate) fn matrices(&self) -> Vec<MatrixInfo> {
        let (width, mlp) = (self.width, self.mlp_width);
        let (q, kv) = self.qkv_widths();
        let shapes = [
            ("attn_q", q, width),
            ("attn_k", kv, width),
            ("attn_v", kv, width),
            ("attn_output", width, q),
            ("ffn_gate", mlp, width),
            ("ffn_up", mlp, width),
            ("ffn_down", width, mlp),
        ];
        let of_layer = |layer| {
            shapes.map(|(part, n, k)| MatrixInfo { name: format!("blk.{layer}.{part}.weight"), n, k })
        };
        let output = MatrixInfo { name: self.output_name().to_owned(), n: self.vocab, k: width };
        (0..self.layers).flat_map(of_layer).chain([output]).collect()
    }

    /// Widths of q, and of k and v, in elements.
    fn qkv_widths(&self) -> (usize, usize) {
        (self.heads * self.head_dim, self.kv_heads * self.head_dim)
    }

    /// Every vector with its length: scales of norms, and biases.
    pub(crate) fn vectors(&self) -> Vec<(String, usize)> {
        let (q, kv) = self.qkv_widths();
        let mut parts = vec![("attn_norm.weight", self.width), ("ffn_norm.weight", self.width)];
        if self.qkv_bias {
            parts.extend([("attn_q.bias", q), ("attn_k.bias", kv), ("attn_v.bias", kv)]);
        }
        if self.attention_output_bias {
            parts.push(("attn_output.bias", self.width));
        }
        let of_layer = |layer| parts.iter().map(move |(part, len)| (format!("blk.{layer}.{part}"), *len));
        (0..self.layers).flat_map(of_layer).chain([(OUTPUT_NORM.to_owned(), self.width)]).collect()
    }

    /// Refuses a file with a tensor that the decoder would ignore: its effect would be missing from every answer.
    pub(crate) fn refuse_unused(&self, gguf: &Gguf) -> Result<(), LoadError> {
        let matrices = self.matrices().into_iter().map(|matrix| matrix.name);
        let mut used: HashSet<String> =
            matrices.chain(self.vectors().into_iter().map(|(name, _)| name)).collect();
        used.insert(EMBEDDING.to_owned());
        if matches!(self.rope.scaling, RopeScaling::PerPair(_)) {
            used.insert(ROPE_FACTORS.to_owned());
        }
        let is_ignored = |name: &str| IGNORED.iter().any(|(end, _)| name.ends_with(end));
        match gguf.tensors().iter().find(|tensor| !used.contains(&tensor.name) && !is_ignored(&tensor.name)) {
            None => Ok(()),
            Some(tensor) => {
                let block =
                    tensor.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse().ok());
                let why = match block {
                    Some(block @ 0..) if block >= self.layers => {
                        format!(
                            "`{}.block_count` says that there are {} blocks",
                            self.architecture, self.layers
                        )
                    }
                    _ => format!("the `{}` decoder does not use it", self.architecture),
                };
                Err(LoadError::Unused { tensor: shortened(&tensor.name), why })
            }
        }
    }
}

/// The tensor called `name`, if it has this shape and a supported type.
pub(crate) fn checked<'a>(
    gguf: &'a Gguf,
    name: &str,
    shape: &[usize],
) -> Result<(&'a TensorInfo, Format), LoadError> {
    let tensor = gguf.required_tensor(name)?;
    let trimmed = tensor.shape.iter().rposition(|&n| n != 1).map_or(1, |last| last + 1);
    let same = trimmed <= shape.len()
        && shape.iter().enumerate().all(|(i, &n)| tensor.shape.get(i).copied().unwrap_or(1) == n as u64);
    if !same {
        return Err(LoadError::Shape {
            tensor: name.to_owned(),
            wanted: shape.to_vec(),
            found: tensor.shape.clone(),
        });
    }
    let format = Format::from_ggml(tensor.ggml_type)
        .ok_or_else(|| LoadError::Type { tensor: name.to_owned(), found: tensor.type_name() })?;
    Ok((tensor, format))
}

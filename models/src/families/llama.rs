//! Llama 1 to 3, Mistral, SmolLM2 and others saved as `llama`. Conversion permutes q and k: rope takes adjacent
//! elements.

use super::keys::Keys;
use crate::spec::{RopePairs, Spec, SpecError};

/// Some members of the family (InternLM 2) have biases, which shows in the file's tensors.
pub(super) fn spec(keys: &Keys<'_>) -> Result<Spec, SpecError> {
    let qkv_bias = keys.gguf.tensor("blk.0.attn_q.bias").is_some();
    Ok(Spec { qkv_bias, ..keys.llama_shape(RopePairs::Adjacent)? })
}

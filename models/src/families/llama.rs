//! Llama 1 to 3, Mistral, SmolLM2 and others that are saved under `llama`. Converting a file permutes the rows of q and k,
//! so that rope turns adjacent elements.

use super::keys::Keys;
use crate::spec::{RopePairs, Spec, SpecError};

/// Some of the family's members (InternLM 2) have biases; the file shows it.
pub(super) fn spec(keys: &Keys<'_>) -> Result<Spec, SpecError> {
    let qkv_bias = keys.gguf.tensor("blk.0.attn_q.bias").is_some();
    Ok(Spec { qkv_bias, ..keys.llama_shape(RopePairs::Adjacent)? })
}

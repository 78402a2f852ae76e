//! Qwen 2 and 2.5. They have biases on q, k and v, and rope rotates the halves of a head.

use super::keys::Keys;
use crate::spec::{RopePairs, Spec, SpecError};

pub(super) fn spec(keys: &Keys<'_>) -> Result<Spec, SpecError> {
    Ok(Spec { qkv_bias: true, ..keys.llama_shape(RopePairs::Halves)? })
}

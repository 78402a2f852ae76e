//! Kernels for x86-64. A function here says in its `target_feature` what the machine must have; `Isa` is the check.

pub(crate) mod avx2;
pub(crate) mod limits;
pub(crate) mod matmul;
pub(crate) mod quantize;
pub(crate) mod scalar;
pub(crate) mod simd;
mod unpack;

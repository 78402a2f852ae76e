//! Kernels for x86-64. A function's `target_feature` states what the machine must have; `Isa` checks it.

pub(crate) mod avx2;
pub(crate) mod limits;
pub(crate) mod matmul;
pub(crate) mod quantize;
pub(crate) mod scalar;
pub(crate) mod simd;
mod unpack;

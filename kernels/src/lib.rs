//! Quantized kernels: slices in, slices out. Sequences, layers and prompts are not known here.

#![warn(missing_docs)]

pub mod activations;
pub mod attention;
mod disjoint;
pub mod dispatch;
pub mod formats;
pub mod heap;
mod isa;
mod kv;
pub mod limits;
pub mod matmul;
pub mod matrix;
pub mod naive;
pub mod ops;
mod pointwise;
mod quantize;
mod scalar;
mod shapes;
mod simd;
pub mod stdout;
mod team;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

pub use dispatch::{Cpu, Isa};

//! Kernels over slices, and the threads that run them. Sequences, layers and prompts are not known here.

#![warn(missing_docs, unreachable_pub)]

mod activations;
mod attention;
mod disjoint;
mod dispatch;
mod formats;
// `heap`, `limits` and `stdout` are namespaces: their functions are called by `heap::share` and so on.
pub mod heap;
mod isa;
mod kv;
pub mod limits;
mod matmul;
mod matrix;
#[cfg(test)]
mod naive;
mod ops;
mod pointwise;
mod quantize;
mod random;
mod scalar;
mod shapes;
mod simd;
pub mod stdout;
mod thread_pool;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use activations::Activations;
pub use attention::{AttentionScratch, AttentionSpan, attention};
pub use dispatch::Cpu;
pub use formats::Format;
pub use isa::Isa;
pub use kv::{BLOCK_TOKENS, KvLayer, KvShape, KvSlot, KvType, kv_write};
pub use matmul::{MatmulOutput, gated_matmul, matmul};
pub use matrix::{Matrix, MatrixShape, PACKED_VERSION, PackError, Packer, SharedBytes, Slab};
pub use ops::{Rope, RopeFreqs, RopeStyle, rope};
pub use quantize::ActivationSource;
pub use random::{SplitMix64, random_weights};

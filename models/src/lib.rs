//! Turns GGUF files into decoders: one decoder, many families. Text, scheduling and sampling are not known here.

#![warn(missing_docs, unreachable_pub)]

mod batch;
mod cpu;
mod embedder;
mod error;
mod families;
// A namespace for all who read or write model files.
pub mod gguf;
mod load;
mod mapping;
mod model;
mod options;
mod packed;
mod packing;
mod spec;
mod tensors;
// A namespace for tests of the crates above.
pub mod tiny;
mod weights;

pub use bandmaster_kernels::{BLOCK_TOKENS, Cpu, KvType, heap, limits, stdout};
pub use batch::{Batch, BlockCopy, Span};
pub use cpu::CpuModel;
pub use embedder::{Embedder, EmbedderError};
pub use error::{ForwardError, LoadError};
pub use load::{load, load_gguf};
pub use mapping::FileChanged;
pub use model::{Model, ModelInfo, OnRow};
pub use options::{LoadOptions, Progress, STEP_TOKENS_MAX};
pub use packed::packed_path;
pub use spec::{Feature, RopePairs, RopeScaling, RopeSpec, Spec, SpecError};

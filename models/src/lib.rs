//! GGUF files to decoders: one decoder, many families. Text, scheduling and sampling are not known here.

#![warn(missing_docs)]

pub mod batch;
pub mod cpu;
pub mod embedder;
mod error;
pub mod families;
pub mod gguf;
mod load;
mod mapping;
pub mod model;
mod options;
mod packed;
mod packing;
pub mod spec;
mod tensors;
pub mod tiny;
pub mod weights;

pub use bandmaster_kernels::attention::KvType;
pub use bandmaster_kernels::{Cpu, heap, limits, stdout};
pub use batch::{Batch, BlockCopy, Span};
pub use cpu::CpuModel;
pub use error::{ForwardError, LoadError};
pub use load::{load, load_gguf};
pub use mapping::Changed;
pub use model::{Model, ModelInfo, OnRow};
pub use options::{LoadOptions, Progress, STEP_TOKENS_MAX};
pub use packed::packed_path;

//! GGUF files to decoders: one decoder, many families. Text, scheduling and sampling are not known here.

pub mod batch;
pub mod cpu;
pub mod embedder;
pub mod families;
pub mod gguf;
pub mod load;
mod mapping;
pub mod model;
mod packed;
mod packing;
pub mod spec;
pub mod tiny;
pub mod weights;

pub use bandmaster_kernels::attention::KvType;
pub use bandmaster_kernels::{Cpu, heap, limits, stdout};
pub use batch::{Batch, BlockCopy, Span};
pub use cpu::CpuModel;
pub use load::{LoadError, LoadOptions, load, load_gguf};
pub use mapping::Changed;
pub use model::{ForwardError, Model, ModelInfo, OnRow};
pub use packed::packed_path;

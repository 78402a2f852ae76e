//! GGUF files to decoders: one decoder, many families. Text, scheduling and sampling are not known here.

pub mod batch;
pub mod embedder;
pub mod gguf;
pub mod model;
pub mod tiny;

pub use batch::{Batch, BlockCopy, Span};
pub use model::{ForwardError, Model, ModelInfo, OnRow};

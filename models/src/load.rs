//! From a file to a model that is ready to run.

use std::path::Path;
use std::sync::Arc;

use bandmaster_kernels::Cpu;
use bandmaster_kernels::attention::KvType;
use bandmaster_kernels::matrix::PackError;

use crate::cpu::CpuModel;
use crate::gguf::{Gguf, GgufError};
use crate::mapping::Changed;
use crate::spec::SpecError;

/// Receives how far loading is, from 0 to 1, ascending. Called from several threads.
pub type Progress<'a> = &'a (dyn Fn(f32) + Sync);

/// How a model is loaded.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    /// Runs the model; its number of threads also packs the weights.
    pub cpu: Arc<Cpu>,
    /// Longest context wanted, in tokens; the model's own limit holds too.
    pub context_tokens_max: Option<usize>,
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// Address space for keys and values, in bytes; whole blocks are used. Memory is taken block by block, later.
    pub kv_bytes_max: usize,
    /// Most tokens in one step; scratch memory is made for as many.
    pub step_tokens_max: usize,
    /// Turn every matrix into F32: slow and large, and exact arithmetic on the file's weights. An oracle for tests.
    pub exact: bool,
    /// Use the packed form beside the model's file, and leave one there ([`crate::packed_path`]) for the next load.
    pub keep_packed: bool,
    /// Told how far loading is.
    pub progress: Option<Progress<'a>>,
}

/// The default of [`LoadOptions::step_tokens_max`]: long enough that weights are read once for many tokens.
pub const STEP_TOKENS_MAX: usize = 512;

impl LoadOptions<'_> {
    /// A model's whole context with address space for `kv_bytes_max` bytes of keys and values, steps of
    /// [`STEP_TOKENS_MAX`] tokens, weights as they are in the file, nothing written beside it.
    #[must_use]
    pub fn new(cpu: Arc<Cpu>, kv_bytes_max: usize) -> LoadOptions<'static> {
        LoadOptions {
            cpu,
            context_tokens_max: None,
            kv_type: KvType::F16,
            kv_bytes_max,
            step_tokens_max: STEP_TOKENS_MAX,
            exact: false,
            keep_packed: false,
            progress: None,
        }
    }
}

/// A file that can't be made into a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It can't be read, or lacks a key or a tensor.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// It describes a decoder that is not run here.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A tensor that would not be computed with.
    #[error(
        "tensor `{tensor}` is in the file and would not be computed with ({why}): the answers would not be the model's; use another model or another conversion"
    )]
    Unused {
        /// Its name.
        tensor: String,
        /// Why it is not.
        why: String,
    },
    /// A file that was changed while it was read.
    #[error(transparent)]
    Changed(#[from] Changed),
    /// A tensor does not fit the metadata.
    #[error(
        "tensor `{tensor}` has shape {found:?} where {wanted:?} is needed: the file contradicts itself; get another conversion of the model"
    )]
    Shape {
        /// Its name.
        tensor: String,
        /// Shape by the metadata, row length first.
        wanted: Vec<usize>,
        /// Shape in the file.
        found: Vec<u64>,
    },
    /// A quantization that can't be computed with.
    #[error(
        "tensor `{tensor}` has type {found}, which can't be computed with: get the model in another quantization, e.g. Q4_K_M or Q8_0"
    )]
    Type {
        /// Its name.
        tensor: String,
        /// Name of the type.
        found: String,
    },
    /// The kernels refused a matrix.
    #[error("tensor `{tensor}` can't be packed: {source}")]
    Pack {
        /// Its name.
        tensor: String,
        /// Why.
        source: PackError,
    },
    /// An option that leaves no room for one block.
    #[error(
        "{given} bytes for keys and values hold no block of {block_bytes} bytes: give the model more memory"
    )]
    KvBytes {
        /// Bytes given.
        given: usize,
        /// Bytes of one block of 16 tokens.
        block_bytes: usize,
    },
    /// An option that must not be zero.
    #[error("`{0}` must be above zero")]
    Zero(&'static str),
    /// The system refused memory or threads.
    #[error("cannot {what}: {source}")]
    System {
        /// What was asked of it.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Loads the model in the file at `path`; any part of a split file will do.
///
/// # Errors
/// [`LoadError`] says what in the file or the options is wrong.
pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<CpuModel, LoadError> {
    load_gguf(Gguf::open(path)?, options)
}

/// Loads the model in an open file.
///
/// # Errors
/// As [`load`].
pub fn load_gguf(gguf: Gguf, options: &LoadOptions<'_>) -> Result<CpuModel, LoadError> {
    CpuModel::new(gguf, options)
}

#[cfg(test)]
mod tests;

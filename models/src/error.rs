//! What can go wrong when a model is loaded or run.

use bandmaster_kernels::matrix::PackError;

use crate::gguf::GgufError;
use crate::mapping::Changed;
use crate::spec::SpecError;

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
        /// The tensor's name in the file.
        tensor: String,
        /// Why it would not be computed with.
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
        /// The tensor's name in the file.
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
        /// The tensor's name in the file.
        tensor: String,
        /// Name of the type.
        found: String,
    },
    /// The kernels refused a matrix.
    #[error("tensor `{tensor}` can't be packed: {source}")]
    Pack {
        /// The tensor's name in the file.
        tensor: String,
        /// What the kernels say of the matrix.
        source: PackError,
    },
    /// An option that leaves no room for one block.
    #[error(
        "{given} bytes for keys and values hold no block of {block_bytes} bytes: give the model more memory"
    )]
    KvBytes {
        /// Bytes that the options give to keys and values.
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
        /// The system's own error.
        source: std::io::Error,
    },
}

/// A forward pass that could not be done. The batch had no effect that a later batch relies on.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// A token id outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab}: the prompt was made with another tokenizer")]
    Token {
        /// The first id that is too large.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A batch that contradicts itself; a bug of the caller.
    #[error("inconsistent batch: {0}")]
    Batch(String),
    /// A file with weights was changed by somebody else. Nothing that the model computes or keeps can be trusted any more;
    /// loaded again it is what lies there now.
    #[error(transparent)]
    Lost(#[from] Changed),
    /// A device or a test double failed.
    #[error("{0}")]
    Failed(String),
}

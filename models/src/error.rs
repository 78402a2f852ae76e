//! Errors of loading and running a model.

use bandmaster_kernels::PackError;

use crate::gguf::GgufError;
use crate::mapping::FileChanged;
use crate::spec::SpecError;

/// Why a file can't be loaded as a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read, or lacks a key or a tensor.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file describes a decoder that is not supported.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The file has a tensor that the decoder would ignore.
    #[error(
        "tensor `{tensor}` is in the file but would be ignored ({why}): the answers would not be the model's; use another model or another conversion"
    )]
    Unused {
        /// The tensor's name in the file.
        tensor: String,
        /// Why the decoder would ignore it.
        why: String,
    },
    /// The file was changed while it was read.
    #[error(transparent)]
    FileChanged(#[from] FileChanged),
    /// A tensor's shape does not match the metadata.
    #[error(
        "tensor `{tensor}` has shape {found:?} where {wanted:?} is needed: the file contradicts itself; get another conversion of the model"
    )]
    Shape {
        /// The tensor's name in the file.
        tensor: String,
        /// Shape according to the metadata, row length first.
        wanted: Vec<usize>,
        /// Shape in the file, row length first.
        found: Vec<u64>,
    },
    /// A tensor's quantization is not supported.
    #[error(
        "tensor `{tensor}` has type {found}, which is not supported: get the model in another quantization, e.g. Q4_K_M or Q8_0"
    )]
    Type {
        /// The tensor's name in the file.
        tensor: String,
        /// Name of the element type.
        found: String,
    },
    /// A matrix can't be packed for the kernels.
    #[error("tensor `{tensor}` can't be packed: {source}")]
    Pack {
        /// The tensor's name in the file.
        tensor: String,
        /// The kernels' reason for refusing the matrix.
        source: PackError,
    },
    /// The options leave no memory for even one cache block.
    #[error(
        "{given} bytes for the KV cache are less than one block of {block_bytes} bytes: give the model more memory"
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
        /// What the system was asked for.
        what: String,
        /// The system's own error.
        source: std::io::Error,
    },
}

/// Why a forward pass failed. It had no effect that a later batch relies on.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// A token id is outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab}: the prompt was made with another tokenizer")]
    Token {
        /// The first id that is too large.
        token: u32,
        /// Number of ids in the vocabulary.
        vocab: usize,
    },
    /// The batch contradicts itself, which is a bug of the caller.
    #[error("inconsistent batch: {0}")]
    Batch(String),
    /// A file with weights was changed by another program. What the model computes or keeps can't be trusted any more;
    /// loading again uses the new contents.
    #[error(transparent)]
    FileChanged(#[from] FileChanged),
    /// A device or a test double failed.
    #[error("{0}")]
    Failed(String),
}

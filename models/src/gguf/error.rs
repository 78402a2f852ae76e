//! What can be wrong with a GGUF file: where, and what to do about it.

use std::path::PathBuf;

/// A file that can't be read as GGUF, or lacks what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system refused.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The first four bytes are not `GGUF`.
    #[error("{} is not a GGUF file: it begins with {found}; give the path of a .gguf file", file.display())]
    NotGguf {
        /// The file.
        file: PathBuf,
        /// The first bytes, printable.
        found: String,
    },
    /// A version of the format that is not read here.
    #[error(
        "{} is GGUF version {version}{}, and only versions 2 and 3 (little endian) can be read: get a newer conversion of the model",
        file.display(), if *version & 0xffff == 0 { " (it looks big endian)" } else { "" }
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// The version as read in little endian.
        version: u32,
    },
    /// The file ends early.
    #[error(
        "{} is cut off: {place} at byte {offset} needs {needed} bytes and {left} are left; download the file again",
        file.display()
    )]
    Truncated {
        /// The file.
        file: PathBuf,
        /// The key, tensor or part of the header that was being read.
        place: String,
        /// Bytes from the start of the file.
        offset: u64,
        /// Bytes wanted from there.
        needed: u64,
        /// Bytes that are there.
        left: u64,
    },
    /// Something in the header contradicts the format or the file's size.
    #[error("{} is damaged: {place} at byte {offset}: {problem}; download the file again", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The key, tensor or part of the header that was being read.
        place: String,
        /// Bytes from the start of the file.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The metadata lacks a key that is needed.
    #[error(
        "{} has no metadata key `{key}`: it may be another kind of file or an old conversion; get a newer conversion of the model",
        file.display()
    )]
    MissingKey {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
    },
    /// A key holds another type than is needed.
    #[error(
        "{}: metadata key `{key}` at byte {offset} holds {found} where {wanted} is needed; get a newer conversion of the model",
        file.display()
    )]
    WrongType {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// Where its entry begins, in bytes from the start of the file.
        offset: u64,
        /// The type it holds.
        found: String,
        /// The type that was asked for.
        wanted: String,
    },
    /// The tensor table lacks a tensor that is needed.
    #[error("{} has no tensor `{tensor}`: the file is incomplete or made for another architecture; get another conversion", file.display())]
    MissingTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// The data of a tensor was asked for and its element type has no known size.
    #[error(
        "{}: tensor `{tensor}` at byte {offset} has element type {ggml_type}, which is not known here; get a file in another quantization, e.g. Q4_K_M",
        file.display()
    )]
    UnknownType {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Where its data begins, in bytes from the start of the file.
        offset: u64,
        /// The number of the type in the file.
        ggml_type: u32,
    },
    /// The parts of a split model don't make a whole.
    #[error("{}: {problem}", file.display())]
    Split {
        /// The part that is missing or wrong.
        file: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

//! Errors of reading GGUF files. Each says what is wrong, where, and what to do about it.

use std::path::PathBuf;

/// Why a file can't be read as GGUF, or lacks something that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system could not read the file.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// Path of the file.
        file: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The first four bytes are not `GGUF`.
    #[error("{} is not a GGUF file: it begins with {found}; give the path of a .gguf file", file.display())]
    NotGguf {
        /// Path of the file.
        file: PathBuf,
        /// The first bytes, escaped.
        found: String,
    },
    /// The version of the format is not supported.
    #[error(
        "{} is GGUF version {version}{}, and only versions 2 and 3 (little endian) can be read: get a newer conversion of the model",
        file.display(), if *version & 0xffff == 0 { " (it looks big endian)" } else { "" }
    )]
    Version {
        /// Path of the file.
        file: PathBuf,
        /// The version, read as little endian.
        version: u32,
    },
    /// The file is shorter than its contents need.
    #[error(
        "{} is cut off: {place} at byte {offset} needs {needed} bytes, but {left} are left; download the file again",
        file.display()
    )]
    Truncated {
        /// Path of the file.
        file: PathBuf,
        /// The key, tensor or part of the header that was being read.
        place: String,
        /// Offset in bytes from the start of the file.
        offset: u64,
        /// Bytes needed from that offset on.
        needed: u64,
        /// Bytes that the file has from that offset on.
        left: u64,
    },
    /// Something in the header contradicts the format or the file's size.
    #[error("{} is damaged: {place} at byte {offset}: {problem}; download the file again", file.display())]
    Malformed {
        /// Path of the file.
        file: PathBuf,
        /// The key, tensor or part of the header that was being read.
        place: String,
        /// Offset in bytes from the start of the file.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The metadata lacks a required key.
    #[error(
        "{} has no metadata key `{key}`: it may be another kind of file or an old conversion; get a newer conversion of the model",
        file.display()
    )]
    MissingKey {
        /// Path of the file.
        file: PathBuf,
        /// The full name of the key.
        key: String,
    },
    /// A key holds a value of the wrong type.
    #[error(
        "{}: metadata key `{key}` at byte {offset} holds {found} where {wanted} is needed; get a newer conversion of the model",
        file.display()
    )]
    WrongType {
        /// Path of the file.
        file: PathBuf,
        /// The full name of the key.
        key: String,
        /// Offset of its entry in bytes from the start of the file.
        offset: u64,
        /// The type of the value.
        found: String,
        /// The type that was asked for.
        wanted: String,
    },
    /// The tensor table lacks a required tensor.
    #[error("{} has no tensor `{tensor}`: the file is incomplete or made for another architecture; get another conversion", file.display())]
    MissingTensor {
        /// Path of the file.
        file: PathBuf,
        /// Name of the missing tensor.
        tensor: String,
    },
    /// Data was requested of a tensor whose element type is unknown.
    #[error(
        "{}: tensor `{tensor}` at byte {offset} has element type {ggml_type}, which is not supported; get a file in another quantization, e.g. Q4_K_M",
        file.display()
    )]
    UnknownType {
        /// Path of the file.
        file: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Offset of its data in bytes from the start of the file.
        offset: u64,
        /// Number of the element type in the file.
        ggml_type: u32,
    },
    /// The parts of a split model don't belong together.
    #[error("{}: {problem}", file.display())]
    Split {
        /// Path of the missing or wrong part.
        file: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

//! From a file to a model that is ready to run.

use std::path::Path;

use crate::cpu::CpuModel;
use crate::error::LoadError;
use crate::gguf::Gguf;
use crate::options::LoadOptions;

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

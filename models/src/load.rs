//! Loads a model from a file.

use std::path::Path;

use crate::cpu::CpuModel;
use crate::error::LoadError;
use crate::gguf::Gguf;
use crate::options::LoadOptions;

/// Loads the model in the file at `path`, which may be any part of a split model.
///
/// # Errors
/// [`LoadError`] says what is wrong with the file or the options.
pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<CpuModel, LoadError> {
    load_gguf(Gguf::open(path)?, options)
}

/// Loads the model in an open file.
///
/// # Errors
/// The same as those of [`load`].
pub fn load_gguf(gguf: Gguf, options: &LoadOptions<'_>) -> Result<CpuModel, LoadError> {
    CpuModel::new(gguf, options)
}

#[cfg(test)]
mod tests;

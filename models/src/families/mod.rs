//! The supported architectures. Each family's file only maps metadata keys to a [`Spec`]; the decoder is shared.

mod keys;
mod known;
mod llama;
mod qwen2;

use crate::gguf::Gguf;
use crate::spec::{Spec, SpecError};
use keys::Keys;

type SpecOf = fn(&Keys<'_>) -> Result<Spec, SpecError>;

/// Keyed by `general.architecture`.
const FAMILIES: [(&str, SpecOf); 2] = [("llama", llama::spec), ("qwen2", qwen2::spec)];

impl Spec {
    /// Describes the decoder in `gguf`.
    ///
    /// # Errors
    /// [`SpecError`] when the architecture is unknown, a key is missing, or the file needs an unsupported feature.
    pub fn from_gguf(gguf: &Gguf) -> Result<Spec, SpecError> {
        let architecture = gguf.architecture()?;
        let (_, spec) = FAMILIES.iter().find(|(name, _)| *name == architecture).ok_or_else(|| {
            SpecError::Architecture {
                architecture: architecture.to_owned(),
                known: FAMILIES.map(|(name, _)| name).join(", "),
            }
        })?;
        let keys = Keys { gguf, architecture };
        known::check(&keys)?;
        spec(&keys)
    }
}

//! Which architectures there are, and how each names its parts. Nothing is copied per family: a family's file maps keys
//! to a [`Spec`] and says no more.

mod keys;
mod known;
mod llama;
mod qwen2;

use crate::gguf::Gguf;
use crate::spec::{Spec, SpecError};
use keys::Keys;

/// Maps a file's keys to a [`Spec`].
type SpecOf = fn(&Keys<'_>) -> Result<Spec, SpecError>;

/// By `general.architecture`.
const FAMILIES: &[(&str, SpecOf)] = &[("llama", llama::spec), ("qwen2", qwen2::spec)];

/// The architectures that can be run.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(name, _)| *name)
}

/// Describes the decoder in `gguf`.
///
/// # Errors
/// [`SpecError`] when no family knows the architecture, a key is missing, or a feature is asked for that is not run.
pub fn spec(gguf: &Gguf) -> Result<Spec, SpecError> {
    let architecture = gguf.architecture()?;
    let (_, spec) =
        FAMILIES.iter().find(|(name, _)| *name == architecture).ok_or_else(|| SpecError::Architecture {
            architecture: architecture.to_owned(),
            known: names().collect::<Vec<_>>().join(", "),
        })?;
    let keys = Keys { gguf, architecture };
    known::check(&keys)?;
    spec(&keys)
}

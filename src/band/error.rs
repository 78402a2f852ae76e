//! Why a band can't be loaded.

use std::path::PathBuf;

use bandmaster_engine::EngineError;
use bandmaster_hub::{HubError, format_memory_size};

/// A band that can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum BandError {
    /// Not even the largest model fits beside a small cache. `shortage` has the numbers.
    #[error("{shortage}: {choose}")]
    TooLarge { shortage: String, choose: String },
    #[error("{} of memory is too little for any model: raise --memory", format_memory_size(*usable_bytes))]
    TooLittleMemory { usable_bytes: u64 },
    #[error("the engine can't be started")]
    Engine(#[from] EngineError),
    /// The model's files are not those that were installed.
    #[error("{name} can't be loaded")]
    Changed { name: String, source: Box<HubError> },
    #[error("{name} can't be loaded from {path}", path = path.display())]
    Unusable { name: String, path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

impl BandError {
    /// The message with those of its causes.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

//! Where a model's weights are: in memory, being loaded, or only on disk.

use bandmaster_models::Model;

pub enum Place {
    /// They are in memory, and the model computes.
    Here(Box<dyn Model>),
    /// They are being loaded, and memory is reserved for them.
    Coming,
    /// They are only on disk until the model is called.
    Away,
}

/// Why a model was not loaded. How models are loaded is not known here, so the loader's error is only shown.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// What loading a model gave.
pub type Brought = Result<Box<dyn Model>, LoadError>;

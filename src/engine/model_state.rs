//! Where a model's weights are: in memory, being loaded, or only on disk.

use bandmaster_models::Model;

pub(crate) enum ModelState {
    /// They are in memory, and the model computes.
    Loaded(Box<dyn Model>),
    /// They are being loaded, and memory is reserved for them.
    Loading,
    /// They are only on disk until the model is wanted.
    Unloaded,
}

/// Why a model was not loaded. How models are loaded is not known here, so the loader's error is only shown.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// A loaded model, or why it was not loaded.
pub type LoadResult = Result<Box<dyn Model>, LoadError>;

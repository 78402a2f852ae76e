//! Where the weights of a model are.

use bandmaster_models::Model;

/// Where a model's weights are.
pub enum Place {
    /// They are in memory, and the model computes.
    Here(Box<dyn Model>),
    /// On their way; the room is kept.
    Coming,
    /// They are on disk only, until the model is called.
    Away,
}

/// What was brought for a model that was called.
pub type Brought = Result<Box<dyn Model>, String>;

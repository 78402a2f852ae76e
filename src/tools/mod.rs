//! What a worker can call that is not a model.

pub mod calculator;

//! Tools that a worker can call.

pub mod calculator;

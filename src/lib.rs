//! Bandmaster: a large local planner and several small quantized workers on one batched inference scheduler.
//!
//! Rooms and who may import whom are drawn in ARCHITECTURE.md and kept by `tests/it/tidy.rs`.

pub mod bench;
pub mod cli;
pub mod engine;
pub mod hub;
pub mod journal;
pub mod orchestrator;
pub mod server;
pub mod text;
pub mod tools;

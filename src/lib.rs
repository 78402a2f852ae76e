//! Bandmaster: a large local planner and several small quantized workers on one batched inference scheduler.
//!
//! ARCHITECTURE.md describes the modules ("rooms") and which may import which; `tests/it/tidy.rs` checks it.

pub mod band;
pub mod bench;
pub mod cli;
pub mod client;
pub mod engine;
pub mod hub;
pub mod journal;
pub mod orchestrator;
pub mod server;
pub mod text;
pub mod tools;

//! Everything that crosses rooms, a module an area.

mod bench;
mod circles;
mod cli;
mod damage;
mod e2e;
mod engine;
mod hub;
mod journal;
mod orchestrator;
mod server;
#[cfg(unix)]
mod surroundings;
mod tidy;
mod tokenizers;
mod tool_calls;

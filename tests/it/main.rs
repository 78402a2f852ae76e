//! Everything that crosses rooms, a module an area.

mod bench;
mod circles;
mod cli;
mod damage;
mod e2e;
mod engine;
#[cfg(unix)]
mod examples;
mod hub;
mod journal;
mod orchestrator;
#[cfg(unix)]
mod process_limits;
mod server;
mod tidy;
mod tokenizers;
mod tool_calls;

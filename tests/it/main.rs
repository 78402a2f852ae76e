//! Everything that crosses rooms, a module an area.

mod engine;
mod tidy;

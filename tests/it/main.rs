//! Everything that crosses rooms, a module an area.

mod cli;
mod hub;
mod tidy;

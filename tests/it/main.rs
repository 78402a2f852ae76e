//! Everything that crosses rooms, a module an area.

mod tidy;
mod tokenizers;

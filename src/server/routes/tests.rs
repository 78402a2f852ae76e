//! Tests that involve several routes.

mod clients;
mod owners;

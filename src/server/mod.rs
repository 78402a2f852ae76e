//! The OpenAI-compatible endpoint: the only room that knows HTTP and OpenAI's JSON.
//!
//! How a model computes, and who shares a step with whom, is not known here.

pub mod auth;
pub mod error;
pub mod layers;
pub mod metrics;
pub mod serve;

#[cfg(test)]
mod fixtures;

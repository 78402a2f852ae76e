//! Tools that a worker can call.

#![warn(unreachable_pub)]

pub mod calculator;
pub mod links;
pub mod retrieval;
pub mod tables;

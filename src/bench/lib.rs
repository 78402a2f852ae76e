//! Measures models, servers and plans, and prints the results. A result is one struct with three renderings: JSON, a
//! table and Markdown. Flags, files and the catalog are not known here.
//!
//! Each measurement is a namespace, because several of them have a `Workload`, a `Row` or limits.

#![warn(unreachable_pub)]

pub mod accuracy;
mod bootstrap;
pub mod compare;
mod machine;
mod origin;
mod percentiles;
mod random;
pub mod serve;
pub mod throughput;
pub mod workflow;

pub use origin::Origin;

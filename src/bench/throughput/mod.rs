//! Measures one model's prefill and decode speed over batch sizes, and compares it with the machine's limits.

mod limits;
mod measure;
mod report;
mod row;
#[cfg(test)]
mod tests;
mod workload;

pub use limits::{Costs, MachineLimits};
pub use measure::{MeasureError, measure};
pub use report::{ModelFacts, ThroughputReport};
pub use row::Row;
pub use workload::Workload;
